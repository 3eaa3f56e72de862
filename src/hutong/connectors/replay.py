"""Recorded data, played through the mapping of declared sources: first what has no time, then rows in order of time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np
import polars as pl

from hutong.connectors.mapping import ROW, Reject, Source
from hutong.connectors.tables import examine, has_head, is_table, read_table
from hutong.engines.sense.ports import Change
from hutong.kernel.clock import SECOND, Clock, iso
from hutong.kernel.errors import Fault, HutongError, NotFound, TooLarge
from hutong.kernel.packs.faults import listed

ROWS_MAX: Final = 20_000_000  # in memory, as columns
ROWS_PER_READ: Final = 50_000
ROWS_PER_BATCH: Final = 1_000
TURN_S: Final = 0.1
"""Rows that are due within so long go together."""


class Origin(msgspec.Struct, frozen=True):
    """Where a row was read."""

    file: str
    row: int


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """How far a recording is. `at` is the time in it; None while things without time are sent."""

    rows: int
    at: int | None
    rejects: Sequence[tuple[Origin, Fault]]


Send: TypeAlias = Callable[[Sequence[Change]], Sequence[tuple[int, Fault]]]
"""Brings changes to where they are kept; gives the position of each that was not taken, and why."""

_Row: TypeAlias = tuple[int | None, Origin, Change]


class Recording:
    """The files of a folder that sources are declared for, mapped and in memory.

    `begin` and `end` (exclusive) bound the time of the rows taken; rows without time are always taken.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Source],
        begin: int | None = None,
        end: int | None = None,
        told: Callable[[str, int], None] | None = None,
    ) -> None:
        self.rejects: list[tuple[Origin, Fault]] = []
        self.files: dict[str, int] = {}
        self._told = told
        self._parts: list[tuple[str, Source, pl.DataFrame]] = []
        window = pl.col("at").is_null()
        timed = pl.lit(True)
        timed = timed & (pl.col("at") >= begin) if begin is not None else timed
        timed = timed & (pl.col("at") < end) if end is not None else timed
        for path, source in matching(folder, sources):
            name = path.relative_to(folder).as_posix()
            frame = self._read(path, name, source).filter(window | timed)
            if frame.height:
                self._parts.append((name, source, frame))
        self.rows = sum(frame.height for *_, frame in self._parts)

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last instant; None when nothing has a time."""
        ends = [(frame["at"].min(), frame["at"].max()) for *_, frame in self._parts]
        known = [(int(low), int(high)) for low, high in ends if isinstance(low, int) and isinstance(high, int)]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def play(self) -> Iterator[_Row]:
        """Every row: without time first, in the order of the files; then by time."""
        ats = [frame["at"].fill_null(-(2**62)).to_numpy() for *_, frame in self._parts]
        order = np.argsort(np.concatenate(ats), kind="stable") if ats else np.empty(0, np.int64)
        part = np.repeat(np.arange(len(ats)), [len(at) for at in ats])
        begins = np.cumsum([0, *(len(at) for at in ats)])
        for n in range(0, len(order), ROWS_PER_BATCH):
            some = order[n : n + ROWS_PER_BATCH]
            found: dict[int, Iterator[_Row]] = {
                int(which): self._rows(int(which), some[part[some] == which] - begins[which])
                for which in np.unique(part[some])
            }
            for position in some:
                yield next(found[int(part[position])])

    def _rows(self, which: int, positions: np.ndarray) -> Iterator[_Row]:
        name, source, frame = self._parts[which]
        rows = frame[positions]
        for at, row, change in zip(rows["at"].to_list(), rows[ROW].to_list(), source.changes(rows), strict=True):
            yield at, Origin(name, row), change

    def _read(self, path: Path, name: str, source: Source) -> pl.DataFrame:
        """A file, mapped. Raises HutongError when it cannot be read."""
        encoding = source.declaration.encoding
        try:
            examine(path, encoding)
            frames = []
            for n, chunk in enumerate(read_table(path, encoding, ROWS_PER_READ)):
                if n == 0 and has_head(path.name):
                    source.check_columns([column for column in chunk.frame.columns if column != ROW])
                mapped = source.map(chunk.frame)
                frames.append(mapped.frame)
                self._reject(name, [*mapped.rejects, *(reject for reject, _ in chunk.rejects)])
                self.files[name] = self.files.get(name, 0) + mapped.frame.height
                if self._told is not None:
                    self._told(name, self.files[name])
                if sum(self.files.values()) > ROWS_MAX:
                    raise TooLarge(
                        "too many rows to sort",
                        where=name,
                        allowed=f"{ROWS_MAX}",
                        fix="play a part of the folder, one source (--source) at a time",
                    )
        except HutongError as error:
            error.fault = msgspec.structs.replace(error.fault, where=f"{name}: {error.fault.where}".rstrip(": "))
            raise
        return pl.concat(frames) if frames else pl.DataFrame(schema={"at": pl.Int64})

    def _reject(self, name: str, rejects: Sequence[Reject]) -> None:
        self.rejects += [(Origin(name, reject.row), reject.fault) for reject in rejects]


def matching(folder: Path, sources: Sequence[Source]) -> list[tuple[Path, Source]]:
    """The files in a folder, and below it, with the sources that read them.

    Raises NotFound with the files seen and the names known when there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [
        (path, source) for source in sources for path in files if is_table(path.name) and source.matches(path.name)
    ]
    if not found:
        patterns = [f"{pattern} ({source.name})" for source in sources for pattern in source.declaration.files]
        raise NotFound(
            "no source reads any file of this folder",
            where=str(folder),
            seen=listed([path.relative_to(folder).as_posix() for path in files]) or "an empty folder",
            allowed=listed(patterns, 30) or "no source of files is declared",
            fix="name the folder that holds such files, or give a mapping of your own with --mapping",
        )
    return found


class Player:
    """Plays a recording at `speed` times real time; 0 is as fast as it is taken.

    An id comes once in a batch, so that what is said of it is said of one row.
    """

    def __init__(
        self, recording: Recording, send: Send, clock: Clock, wait: Callable[[float], None], speed: float
    ) -> None:
        self._recording, self._send, self._clock, self._wait, self._speed = recording, send, clock, wait, speed
        self._rows = 0
        self._at: int | None = None
        self._rejects = list(recording.rejects)
        self._start: tuple[int, int] | None = None

    @property
    def played(self) -> Played:
        return Played(rows=self._rows, at=self._at, rejects=self._rejects)

    def play(self, told: Callable[[Played], None] | None = None) -> Played:
        """Play to the end; `told` hears after each batch. What `send` raises comes through."""
        for batch in self._batches():
            refused = self._send([change for _, _, change in batch])
            self._rejects += [(batch[i][1], fault) for i, fault in refused]
            self._rows += len(batch)
            self._at = batch[-1][0]
            if told is not None:
                told(self.played)
        return self.played

    def _batches(self) -> Iterator[list[_Row]]:
        batch: list[_Row] = []
        ids: set[str] = set()
        for row in self._recording.play():
            at, _, change = row
            full = len(batch) == ROWS_PER_BATCH or change.id in ids or (batch and (batch[0][0] is None) != (at is None))
            if batch and (full or (at is not None and self._ahead_s(at) > 0)):
                yield batch
                batch, ids = [], set()
            if at is not None and (ahead := self._ahead_s(at)) > 0:
                self._wait(max(ahead, TURN_S))
            batch.append(row)
            ids.add(change.id)
        if batch:
            yield batch

    def _ahead_s(self, at: int) -> float:
        """Seconds until an instant of the recording is due."""
        if not self._speed:
            return 0.0
        if self._start is None:
            self._start = at, self._clock.now()
        begin, began = self._start
        return ((at - begin) / self._speed - (self._clock.now() - began)) / SECOND


def summary(played: Played, recording: Recording) -> str:
    """What was played, in a sentence."""
    span = recording.span
    times = f", from {iso(span[0])} to {iso(span[1])}" if span else ""
    rejected = len({origin for origin, _ in played.rejects})
    return f"{played.rows} of {recording.rows} rows of {len(recording.files)} files played{times}; {rejected} rejected"
