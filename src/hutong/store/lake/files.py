"""Parquet files of history: sorted by entity, attribute and time, never changed once they are written."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hutong.engines.sense.ports import HISTORY_SCHEMA
from hutong.kernel.ids import Ids
from hutong.store.lake.settings import LakeSettings

ORDER = ("entity", "attribute", "at", "tenant", "n")
"""How rows are sorted within a file."""

BOUNDED = ("entity", "attribute", "at", "recorded_at")
"""Columns whose lowest and highest values stand in the table's log."""

_COUNTING = ("at", "recorded_at", "n")  # steps between neighbours are small: delta encoding beats a dictionary
_PLAIN_NAME = re.compile(r"(?!.*-[0-9a-f]{16}$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # never one that has a hash


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the lake. `path` is relative to the table's folder; `size` is in bytes."""

    path: str
    sha256: str
    size: int
    rows: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its partition and its bounds (`{"at": (lowest, highest)}`), ready to be committed."""

    file: DataFile
    type_key: str
    month: str
    bounds: dict[str, tuple[Any, Any]]


def type_key(type_name: str) -> str:
    """The type as a folder name: itself when that is safe, else its readable end and a hash of the whole."""
    if _PLAIN_NAME.fullmatch(type_name):
        return type_name
    end = re.sub(r"[^A-Za-z0-9_]+", "-", type_name).strip("-")[-40:].strip("-")
    return f"{end or 'type'}-{hashlib.sha256(type_name.encode()).hexdigest()[:16]}"


def partitions(rows: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Rows by type key and month (UTC, `2026-05`) of `at`, in the order they had."""
    keyed = rows.with_columns(month=pl.from_epoch("at", time_unit="us").dt.strftime("%Y-%m"))
    for (type_name, month), part in keyed.partition_by("type", "month", maintain_order=True, as_dict=True).items():
        yield type_key(str(type_name)), str(month), part.drop("month")


def batches(rows: pl.DataFrame, settings: LakeSettings) -> Iterator[pa.RecordBatch]:
    """Sorted rows as Arrow batches of one row group each; only one of them stands in memory as Arrow."""
    columns = [pl.col(name).cast(pl.Int16) if name == "marks" else pl.col(name) for name in HISTORY_SCHEMA]
    for piece in rows.iter_slices(settings.row_group_rows):
        yield from piece.select(columns).to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()


def write(
    folder: Path,
    key: str,
    month: str,
    rows: Iterable[pa.RecordBatch],
    ids: Ids,
    settings: LakeSettings,
    undo: ExitStack,
) -> list[Part]:
    """Write sorted batches into new files of at most `file_rows_max` rows, which `undo` deletes again.

    Their bytes are durable, their names once `sync_names` has run. Raises OSError.
    """
    home = folder / key / month
    home.mkdir(parents=True, exist_ok=True)
    parts: list[Part] = []
    for group in _cut(rows, settings.file_rows_max):
        path = home / f"{ids.new()}.parquet"
        undo.callback(path.unlink, missing_ok=True)
        parts.append(_write_file(path, key, month, group, settings))
    return parts


def sync_names(folder: Path, parts: Iterable[Part]) -> None:
    """Make the names of new files survive a power cut."""
    homes = {(folder / part.file.path).parent for part in parts}
    for place in {folder, *homes, *(home.parent for home in homes)}:
        sync(place)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _cut(rows: Iterable[pa.RecordBatch], rows_max: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """Cut a stream of batches into streams of at most `rows_max` rows; each is to be read before the next."""
    source = (batch for batch in rows if batch.num_rows)
    waiting = next(source, None)

    def one_file() -> Iterator[pa.RecordBatch]:
        nonlocal waiting
        taken = 0
        while waiting is not None and (taken == 0 or taken + waiting.num_rows <= rows_max):
            taken += waiting.num_rows
            yield waiting
            waiting = next(source, None)

    while waiting is not None:
        yield one_file()


def _write_file(path: Path, key: str, month: str, rows: Iterator[pa.RecordBatch], settings: LakeSettings) -> Part:
    first = next(rows)
    bounds: dict[str, tuple[Any, Any]] = {}
    count = 0
    with path.open("xb") as sink:
        with pq.ParquetWriter(sink, first.schema, **_layout(first.schema, settings)) as writer:
            for batch in chain((first,), rows):
                writer.write_batch(batch, row_group_size=settings.row_group_rows)
                count += batch.num_rows
                bounds = _widened(bounds, batch)
        sink.flush()
        os.fsync(sink.fileno())
    file = DataFile(path=f"{key}/{month}/{path.name}", sha256=sha256(path), size=path.stat().st_size, rows=count)
    return Part(file=file, type_key=key, month=month, bounds=bounds)


def _layout(schema: pa.Schema, settings: LakeSettings) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "compression_level": settings.zstd_level,
        "write_page_index": True,
        "max_rows_per_page": settings.page_rows,
        "store_schema": False,
        "use_dictionary": [name for name in schema.names if name not in _COUNTING],
        "column_encoding": dict.fromkeys(_COUNTING, "DELTA_BINARY_PACKED"),
        "sorting_columns": pq.SortingColumn.from_ordering(schema, [(name, "ascending") for name in ORDER]),
    }


def _widened(bounds: dict[str, tuple[Any, Any]], batch: pa.RecordBatch) -> dict[str, tuple[Any, Any]]:
    found = {name: pc.min_max(batch.column(name)).as_py() for name in BOUNDED}
    return {
        name: (min(bounds[name][0], new["min"]), max(bounds[name][1], new["max"]))
        if bounds
        else (new["min"], new["max"])
        for name, new in found.items()
    }
