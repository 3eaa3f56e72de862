"""The list of rows that were not taken: one JSON object in each line, for people to mend and send again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import polars as pl

from hutong.connectors.mapping import ROW, Reject
from hutong.kernel.clock import iso

LINES_MAX: Final = 100_000
"""More are counted, and not listed: such a file was misunderstood as a whole."""
LOG_BYTES_MAX: Final = 8 << 20


class RejectsFile:
    """`<folder>/<name>.ndjson`, which comes to be when it is kept and something was rejected.

    Lines: `row` (0: the file itself), `reason` (code, what, where, seen, allowed, fix), `original` (the row's cells by
    column, or its text). `rows` counts rows.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.ndjson"
        self._part = folder / f".{name}.ndjson.part"
        self._file: IO[bytes] | None = None
        self._lines = 0
        self.rows = 0

    def add(self, reject: Reject, original: Any) -> None:
        """One row that was none."""
        self.rows += 1
        self._write(reject, original)

    def add_rows(self, rejects: Sequence[Reject], frame: pl.DataFrame) -> None:
        """Rows of a raw frame; one may have been rejected for several reasons."""
        if not rejects:
            return
        numbers = {reject.row for reject in rejects}
        self.rows += len(numbers)
        originals = {row.pop(ROW): row for row in frame.filter(pl.col(ROW).is_in(list(numbers))).to_dicts()}
        for reject in rejects:
            self._write(reject, originals[reject.row])

    def keep(self) -> None:
        """Make the list durable under its name; an older one of that name gives way."""
        if self._file is None:
            return
        if self._lines > LINES_MAX:
            self._file.write(msgspec.json.encode({"more": self._lines - LINES_MAX}) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self.path)

    def close(self) -> None:
        """Let go of the file; what was not kept is gone."""
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def _write(self, reject: Reject, original: Any) -> None:
        self._lines += 1
        if self._lines > LINES_MAX:
            return
        if self._file is None:
            self._file = self._part.open("wb")
        line = {"row": reject.row, "reason": reject.fault, "original": original}
        self._file.write(msgspec.json.encode(line) + b"\n")


class RejectsLog:
    """`<folder>/<source>.ndjson` for sources that never end. At LOG_BYTES_MAX it begins anew; the one before stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, source: str, reject: Reject, original: Any, at: int) -> None:
        """Lines are those of RejectsFile, and `at`, when it was rejected."""
        line = {"at": iso(at), "row": reject.row, "reason": reject.fault, "original": original}
        path = self._folder / f"{source}.ndjson"
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            size = 0
        if size > LOG_BYTES_MAX:
            path.replace(self._folder / f"{source}.before.ndjson")
        with path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
