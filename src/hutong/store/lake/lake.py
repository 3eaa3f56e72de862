"""The compacted part of history: sorted Parquet files in a Delta table, kept few, and their upkeep."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from hutong.engines.sense.history import Struck
from hutong.kernel.clock import Clock, moment
from hutong.kernel.errors import Fault, IntegrityBroken
from hutong.kernel.ids import TimeOrderedIds
from hutong.store.lake.files import ORDER, Part, batches, partitions, sha256, sync, sync_names, type_key, write
from hutong.store.lake.query import IDENTITY, Reader
from hutong.store.lake.settings import LakeSettings
from hutong.store.lake.spill import Spill
from hutong.store.lake.struck import frame
from hutong.store.lake.table import HistoryTable, Purpose, Sealed, Snapshot, Span, told
from hutong.store.lake.tail import extent


class Lake:
    """Files, and who may change them: one that seals and one that rewrites at a time, any number of readers."""

    def __init__(self, folder: Path, clock: Clock, settings: LakeSettings) -> None:
        self._folder = folder
        self._clock = clock
        self._settings = settings
        self._ids = TimeOrderedIds(clock)
        self.table = HistoryTable(folder, clock, settings)
        self._spill = Spill(folder / "_spill", self._ids)
        self.reader = Reader(self._spill.folder, settings)

    def close(self) -> None:
        self.reader.close()
        self._spill.close()

    def paths(self, files: Iterable[str]) -> list[Path]:
        return [self._folder / file for file in files]

    def present(self, rows: pl.DataFrame, snapshot: Snapshot, struck: Sequence[Struck] = ()) -> pl.Series:
        """Positions of those rows that the lake has already, and are not struck there."""
        near = snapshot.covering("at", *extent(rows["at"]), ())
        if near:
            boxes = snapshot.files.filter(pl.col("path").is_in(near))
            suspects = rows.with_row_index("row").filter(
                pl.col("at").is_between(boxes["min.at"].min(), boxes["max.at"].max())
            )
            files = snapshot.covering("at", *extent(suspects["at"]), sorted(set(suspects["entity"])))
            if files and suspects.height:
                gone = frame(struck) if struck else None
                return suspects["row"].gather(self.reader.present(suspects, self.paths(files), gone))
        return pl.Series("row", dtype=pl.get_index_type())

    def seal(self, rows: pl.DataFrame, lanes: Mapping[str, Span], struck: Sequence[Struck] = ()) -> Sealed:
        """Write recent rows into files of their own and commit them with the marks of their lanes."""
        ordered = _without_repeats(rows.sort(ORDER))
        known = self.present(ordered, self.table.snapshot(), struck)
        if len(known):
            ordered = ordered.with_row_index("row").filter(~pl.col("row").is_in(known.implode())).drop("row")
        parts: list[Part] = []
        with ExitStack() as undo, told(self._folder):
            for key, month, part in partitions(ordered):
                parts += write(self._folder, key, month, batches(part, self._settings), self._ids, self._settings, undo)
            sync_names(self._folder, parts)
            undo.pop_all()
        return self.table.commit("compact", parts, lanes=lanes, dropped=rows.height - ordered.height)

    def merge(self) -> Sealed | None:
        """Merge some small files of one type and month, if any are worth it."""
        month = moment(self._clock.now()).strftime("%Y-%m")
        group = next(merges(self.table.snapshot().files, month, self._settings), None)
        return None if group is None else self._rewritten("optimise", [group])

    def retain(self, type_name: str, before: int) -> Sealed | None:
        """Delete rows of a type from before an instant: whole files where possible, others written anew."""
        files = self.table.snapshot().files.filter(
            (pl.col("type_key") == type_key(type_name)) & (pl.col("min.at") < before)
        )
        if files.is_empty():
            return None
        return self._rewritten("retain", files.partition_by("path"), '"at" >= $before', {"before": before})

    def erase(self, tenant: str, entity: str) -> Sealed | None:
        """Delete an entity's rows, and at once the files that held them."""
        snapshot = self.table.snapshot()
        paths = self.paths(snapshot.covering("at", None, None, [entity]))
        holding = self.reader.holding(tenant, entity, paths) if paths else set()
        if not holding:
            return None
        files = snapshot.files.filter(pl.col("path").is_in([str(Path(p).relative_to(self._folder)) for p in holding]))
        sealed = self._rewritten(
            "forget",
            files.partition_by("path"),
            "NOT (tenant = $tenant AND entity = $entity)",
            {"tenant": tenant, "entity": entity},
        )
        for path in self.paths(sealed.removed):
            path.unlink(missing_ok=True)
            sync(path.parent)
        return sealed

    def amend(self, struck: Sequence[Struck], amended: Mapping[str, int], lanes: Mapping[str, Span]) -> Sealed:
        """Write files that hold struck rows anew without them, and mark how far amendments are in: one commit."""
        snapshot = self.table.snapshot()
        paths = self.paths(snapshot.covering("at", None, None, sorted({one.strike.entity for one in struck})))
        gone = frame(struck)
        holding = self.reader.hit(gone, paths) if paths else set()
        files = snapshot.files.filter(pl.col("path").is_in([str(Path(p).relative_to(self._folder)) for p in holding]))
        groups = files.partition_by("path") if files.height else []
        return self._rewritten("amend", groups, struck=gone, amended=amended, lanes=lanes)

    def verify(self, files: Mapping[str, str]) -> list[Fault]:
        """What differs between the lake and the files it should have (path: SHA-256)."""
        active = set(self.table.snapshot().files["path"])
        faults = [
            _fault("file-unknown", "a file of the history that the ledger does not know", path)
            for path in sorted(active - files.keys())
        ]
        for path, expected in sorted(files.items()):
            place = self._folder / path
            if not place.exists():
                faults.append(_fault("file-missing", "a file of the history is missing", path, allowed=expected))
            elif (seen := sha256(place)) != expected:
                faults.append(_fault("file-changed", "a file of the history was changed", path, seen, expected))
            elif path not in active:
                faults.append(_fault("file-dropped", "a file of the history is not in its table", path))
        return faults

    def _rewritten(
        self,
        purpose: Purpose,
        groups: list[pl.DataFrame],
        keep: str = "true",
        values: Mapping[str, Any] | None = None,
        struck: pl.DataFrame | None = None,
        **marks: Any,
    ) -> Sealed:
        """Write each group of files (of one type and month) anew with the rows to keep; one commit for all."""
        parts: list[Part] = []
        with ExitStack() as undo, told(self._folder):
            for group in groups:
                with self.reader.stream(
                    self.paths(group["path"]), keep, values or {}, self._settings.row_group_rows, struck
                ) as rows:
                    parts += write(
                        self._folder,
                        group.item(0, "type_key"),
                        group.item(0, "month"),
                        rows,
                        self._ids,
                        self._settings,
                        undo,
                    )
            sync_names(self._folder, parts)
            removed = pl.concat(groups) if groups else self.table.snapshot().files.clear()
            dropped = int(removed["num_records"].sum()) - sum(part.file.rows for part in parts)
            if purpose == "optimise" and dropped:
                raise IntegrityBroken("a merge of files would lose rows", where=str(self._folder), seen=dropped)
            undo.pop_all()
        return self.table.commit(purpose, parts, removed, dropped=dropped, **marks)


def merges(files: pl.DataFrame, month_now: str, settings: LakeSettings) -> Iterator[pl.DataFrame]:
    """Groups of files that are worth merging: `merge_files_min` of like size, or two in a month that is over.

    Only files of like size are merged: so a row is written anew a few times, however many compactions follow.
    """
    small = files.filter(pl.col("num_records") <= settings.file_rows_max // 2).sort("num_records", "path")
    for (_, month), group in small.partition_by("type_key", "month", as_dict=True, maintain_order=True).items():
        needed = 2 if str(month) < month_now else settings.merge_files_min
        start, held = 0, 0
        for i, rows in enumerate(group["num_records"]):
            if held and (rows > held * settings.merge_growth_max or held + rows > settings.merge_rows_max):
                if i - start >= needed:
                    yield group[start:i]
                start, held = i, 0
            held += rows
        if group.height - start >= needed:
            yield group[start:]


def _without_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    """Sorted rows, each observation once. Looks at neighbours first: nearly always there is nothing to do."""
    close = rows.select(
        pl.all_horizontal(
            pl.col(name) == pl.col(name).shift(1) for name in ("entity", "attribute", "at", "tenant")
        ).any()
    ).item()
    return rows.unique(IDENTITY, keep="first", maintain_order=True) if close else rows


def _fault(code: str, what: str, path: str, seen: str = "", allowed: str = "") -> Fault:
    return Fault(
        code=code,
        what=what,
        where=path,
        seen=seen,
        allowed=allowed,
        fix="restore the file from a backup, or rebuild the history from the ledger",
    )
