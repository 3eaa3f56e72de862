"""The Delta table of history: which files are in it, and commits that add, remove and mark how far lanes are in."""

import errno
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from hutong.kernel.clock import Clock
from hutong.kernel.errors import Conflict, HutongError, IntegrityBroken, StorageFull
from hutong.store.lake import log
from hutong.store.lake.files import BOUNDED, DataFile, Part
from hutong.store.lake.settings import LakeSettings

_TEXTS = ("tenant", "entity", "type", "attribute", "kind", "text", "extra", "unit", "source", "lane")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.int64()) for name in ("at", "recorded_at", "n")),
        ("number", pa.float64()),
        ("marks", pa.int16()),
        ("type_key", pa.string()),
        ("month", pa.string()),
    ]
)
_PARTITIONS = ["type_key", "month"]
_AMENDED = "amend:"  # before a lane, in the name of a transaction: how far its amendments are in
_RECORD = "hutong"  # key of a Sealed in the commit information of the Delta log
_BY_HAND = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SPACE_TOLD = ("No space left on device", "os error 28", "File too large", "os error 27", "Disk quota exceeded")

Purpose: TypeAlias = Literal["compact", "optimise", "retain", "forget", "amend"]


class Span(msgspec.Struct, frozen=True):
    """Ledger rows of one lane, both ends included."""

    first: int
    last: int


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit to the lake did: the ledger's word for it, against which files are verified later.

    `lanes`: the ledger rows that the added files now hold (empty unless compacted). `dropped`: rows that are gone,
    being exact repeats (compact), expired (retain), erased (forget) or struck (amend). `amended`: up to which ledger
    row of each lane amendments are in the files.
    """

    version: int
    purpose: Purpose
    lanes: dict[str, Span] = {}
    added: tuple[DataFile, ...] = ()
    removed: tuple[str, ...] = ()
    dropped: int = 0
    amended: dict[str, int] = {}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The files of one version, with their bounds, and the highest ledger row in it of each lane asked for so far."""

    version: int
    files: pl.DataFrame
    watermarks: Mapping[str, int]

    def covering(self, by: str, low: int | None, high: int | None, entities: Sequence[str]) -> list[str]:
        """Paths of files that may hold rows of these entities (sorted; none: any) with `by` from low to high."""
        files = self.files
        if low is not None:
            files = files.filter(files[f"max.{by}"] >= low)
        if high is not None:
            files = files.filter(files[f"min.{by}"] <= high)
        if not entities:
            return files["path"].to_list()
        bounds = zip(files["path"], files["min.entity"], files["max.entity"], strict=True)
        return [path for path, first, last in bounds if bisect_left(entities, first) < bisect_right(entities, last)]


class HistoryTable:
    """One Delta table in a folder. One object for each process; any thread may call it.

    Several processes may commit to the same folder: Delta refuses whoever comes second with the same lane or the
    same replaced file, as Conflict.
    """

    def __init__(self, folder: Path, clock: Clock, settings: LakeSettings) -> None:
        self.folder = folder
        self._clock = clock
        self._log = folder / "_delta_log"
        self._lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        log.mend(self._log)
        if DeltaTable.is_deltatable(str(folder)):
            self._table = DeltaTable(str(folder))
        else:
            self._table = DeltaTable.create(
                str(folder),
                schema=_SCHEMA,
                partition_by=_PARTITIONS,
                mode="ignore",
                name="history",
                configuration={
                    "delta.dataSkippingStatsColumns": ",".join(BOUNDED),
                    "delta.deletedFileRetentionDuration": f"interval {settings.obsolete_hours_kept} hours",
                    "delta.enableExpiredLogCleanup": "false",
                },
            )
        log.persist(self._log, self._table.version(), self._table.version())
        self._persisted = self._table.version()
        self._snapshot = self._look({})

    def snapshot(self) -> Snapshot:
        """The newest version. Costs one look at the folder when nothing has changed."""
        if not log.entry(self._log, self._snapshot.version + 1).exists():
            return self._snapshot
        with self._lock:
            self._table.update_incremental()
            if self._table.version() != self._snapshot.version:
                self._snapshot = self._look(self._snapshot.watermarks)
            return self._snapshot

    def watermarks(self, lanes: Collection[str]) -> dict[str, int]:
        """The highest ledger row of each lane in the newest version that was seen; -1 where there is none."""
        if any(lane not in self._snapshot.watermarks for lane in lanes):
            with self._lock:
                self._table.update_incremental()
                self._snapshot = self._look({*self._snapshot.watermarks, *lanes})
        marks = self._snapshot.watermarks
        return {lane: marks[lane] for lane in lanes}

    def amended(self, lanes: Iterable[str]) -> dict[str, int]:
        """Up to which ledger row of each lane amendments are in the files; 0 where none is."""
        with self._lock:
            self._table.update_incremental()
            return {lane: self._table.transaction_version(_AMENDED + lane) or 0 for lane in lanes}

    def commit(
        self,
        purpose: Purpose,
        parts: Sequence[Part],
        removed: pl.DataFrame | None = None,
        lanes: Mapping[str, Span] | None = None,
        dropped: int = 0,
        amended: Mapping[str, int] | None = None,
    ) -> Sealed:
        """Add and remove files in one step, and mark how far lanes are in. Durable when it returns.

        `removed`: rows of `Snapshot.files`. On failure nothing has changed and the added files are deleted.
        Raises Conflict when somebody else has moved a lane or replaced a file meanwhile, StorageFull.
        """
        gone = self._snapshot.files.clear() if removed is None else removed
        record = Sealed(
            version=0,
            purpose=purpose,
            lanes=dict(lanes or {}),
            dropped=dropped,
            added=tuple(part.file for part in parts),
            removed=tuple(gone["path"]),
            amended=dict(amended or {}),
        )
        with self._lock:
            before = self._table.version()
            try:
                with told(self.folder):
                    self._write(record, parts, gone)
            except (HutongError, OSError, DeltaError):
                # The entry may be in although its writer failed after it: only the log itself can tell.
                if self._found(record, before) is None:
                    for part in parts:
                        (self.folder / part.file.path).unlink(missing_ok=True)
                    raise
            sealed = self._found(record, before)
            assert sealed is not None, "a commit that succeeded stands in the log"
            with told(self.folder):
                log.persist(self._log, self._persisted + 1, self._table.version())
            self._persisted = self._table.version()
            self._snapshot = self._look({*self._snapshot.watermarks, *record.lanes})
            return sealed

    def records(self, after: int = -1) -> list[Sealed]:
        """What was done in versions later than `after`, oldest first."""
        with self._lock:
            self._table.update_incremental()
            entries = (
                self._table.history(max(self._table.version() - after, 0) or None)
                if self._table.version() > after
                else []
            )
        return [
            msgspec.convert({**entry[_RECORD], "version": entry["version"]}, Sealed)
            for entry in reversed(entries)
            if _RECORD in entry and entry["version"] > after
        ]

    def tidy(self) -> None:
        """Delete files that nobody can need any more, and write a checkpoint so that the table opens fast."""
        with self._lock, told(self.folder):
            self._table.update_incremental()
            for path in self._table.vacuum(dry_run=True, full=True):
                (self.folder / path).unlink(missing_ok=True)
            version = self._table.version()
            if not log.checkpoint(self._log, version).exists():
                self._table.cleanup_metadata()  # goes by the checkpoint before this one, which is durable
                self._table.create_checkpoint()
                log.persist_checkpoint(self._log, version)

    def _write(self, record: Sealed, parts: Sequence[Part], gone: pl.DataFrame) -> None:
        now_ms = self._clock.now() // 1000
        changed = record.purpose != "optimise"
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                part.file.path,
                part.file.size,
                {"type_key": part.type_key, "month": part.month},
                now_ms,
                changed,
                _statistics(part),
            )
            for part in parts
        ]
        actions += [
            RemoveAction(path, changed, now_ms, size, {"type_key": key, "month": month})
            for path, size, key, month in gone.select("path", "size_bytes", "type_key", "month").iter_rows()
        ]
        self._table.create_write_transaction(
            actions,
            "append",
            _SCHEMA,
            _PARTITIONS,
            post_commithook_properties=_BY_HAND,
            commit_properties=CommitProperties(
                custom_metadata={_RECORD: msgspec.to_builtins(record)},
                app_transactions=[
                    *(Transaction(lane, span.last) for lane, span in record.lanes.items()),
                    *(Transaction(_AMENDED + lane, n) for lane, n in record.amended.items()),
                ],
            ),
        )

    def _found(self, record: Sealed, after: int) -> Sealed | None:
        return next(
            (entry for entry in self.records(after) if msgspec.structs.replace(entry, version=0) == record), None
        )

    def _look(self, lanes: Iterable[str]) -> Snapshot:
        files = pl.DataFrame(pa.table(self._table.get_add_actions(flatten=True)))
        files = files.rename({"partition.type_key": "type_key", "partition.month": "month"})
        marks = {lane: self._table.transaction_version(lane) for lane in lanes}
        return Snapshot(
            self._table.version(), files, {lane: -1 if mark is None else mark for lane, mark in marks.items()}
        )


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn a full disk, a lost race and a missing file into errors of this house; other errors pass."""
    try:
        yield
    except (OSError, DeltaError, duckdb.Error, pa.ArrowException) as error:
        seen = " ".join(str(error).split())
        if (isinstance(error, OSError) and error.errno in _NO_SPACE) or any(t in seen for t in _NO_SPACE_TOLD):
            fix = "free space on this disk; nothing that was acknowledged is lost"
            raise StorageFull("no space to write history", where=str(folder), seen=seen, fix=fix) from error
        if isinstance(error, CommitFailedError):
            what = "the history was changed by another process meanwhile"
            raise Conflict(what, where=str(folder), seen=seen, fix="do it again") from error
        if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
            what = f"the history cannot be read: {seen}"
            fix = "run `hutong verify`, then restore the file from a backup"
            raise IntegrityBroken(what, where=str(folder), fix=fix) from error
        raise


def _statistics(part: Part) -> str:
    return msgspec.json.encode(
        {
            "numRecords": part.file.rows,
            "nullCount": dict.fromkeys(part.bounds, 0),
            "minValues": {name: low for name, (low, _) in part.bounds.items()},
            "maxValues": {name: high for name, (_, high) in part.bounds.items()},
        }
    ).decode()
