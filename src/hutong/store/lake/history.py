"""History over the lake and what is not yet in it, as one: a HistoryStore."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from hutong.engines.sense.history import HistoryPage, Struck
from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, Filter, GeoFilter, HistoryQuery
from hutong.kernel.clock import Clock
from hutong.kernel.errors import Fault, IntegrityBroken, InvalidInput, Overloaded, StorageFull
from hutong.store.lake.lake import Lake
from hutong.store.lake.query import IDENTITY, Source, bucket_frame, settled, source
from hutong.store.lake.settings import LakeSettings
from hutong.store.lake.struck import Strikes, frame, struck_rows
from hutong.store.lake.table import Sealed, Snapshot, Span, told
from hutong.store.lake.tail import Tail, extent, reach

_SCHEMA = pl.Schema(HISTORY_SCHEMA)
_Answer = TypeVar("_Answer")


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """How much is not yet in the lake; `upto` is the highest ledger row of each lane among it."""

    rows: int
    bytes: int
    upto: dict[str, int]


class LakeHistory:
    """Delta tables in `folder`, read by DuckDB, and recent rows in memory.

    A row is visible from the lake once its ledger row is at or below the table's mark for its lane, and from memory
    otherwise. Marks move in the very commit that adds the files, so every row is visible exactly once at any moment,
    and after a crash at any moment.

    `append` and `room` are for the writer's thread and return at once. Questions may come from any thread. Upkeep
    belongs on threads of its own: `compact` takes about a second for a million rows; `optimise`, `retain` and `forget`
    wait for each other, for seconds to minutes, and `forget` for a compaction too.
    """

    def __init__(self, folder: Path, clock: Clock, settings: LakeSettings | None = None) -> None:
        self._settings = settings or LakeSettings()
        self._lake = Lake(folder, clock, self._settings)
        self._tail = Tail(self._settings)
        self._rewriting = threading.Lock()  # taken before the other one
        self._sealing = threading.Lock()
        self._strikes = Strikes()
        self._full = ""  # why compaction stands still for want of space

    def close(self) -> None:
        self._lake.close()
        self._tail.close()

    # --- the writer -------------------------------------------------------------------------------------------

    def room(self, rows: int) -> None:
        """Return if so many rows may come. To be asked before they are committed.

        Raises StorageFull when compaction stands still for want of space, Overloaded when it is merely behind.
        """
        self._tail.check()
        bounds = self._settings
        held, held_bytes = self._tail.rows, self._tail.bytes
        if held + rows > bounds.recent_rows_max or held_bytes > bounds.recent_bytes_max:
            if self._full:
                raise StorageFull(
                    "recent observations fill their memory, and the disk takes no more",
                    where="history",
                    seen=self._full,
                    fix="free space on the disk of the history",
                )
            raise Overloaded(
                "recent observations fill their memory",
                where="history",
                seen=f"{held} rows, {held_bytes} bytes",
                allowed=f"{bounds.recent_rows_max} rows, {bounds.recent_bytes_max} bytes",
                fix="send again later; compaction is behind",
            )

    def append(self, rows: pl.DataFrame) -> None:
        """Take committed rows; they are visible at once. Rows that the lake has already are passed over.

        Frames of a lane come in the order of its ledger rows, and all rows of one ledger row in one frame.
        """
        if rows.schema != _SCHEMA:
            raise InvalidInput("not a history frame", where="history", seen=dict(rows.schema), allowed=str(_SCHEMA))
        lanes = reach(rows)
        marks = self._lake.table.watermarks(lanes)
        if any(low <= marks[lane] for lane, (low, _) in lanes.items()):
            rows = rows.filter(_beyond(marks))
        if len(self._strikes) and (struck := self._strikes.of(None, rows["entity"])):
            rows = rows.filter(~struck_rows(struck))
        if rows.height:
            self._tail.append(rows)

    def strike_room(self, strikes: int) -> None:
        """Return if so many strikes may come. Raises Overloaded."""
        self._strikes.room(strikes)

    def strike(self, struck: Sequence[Struck]) -> None:
        """Take rows away by amendments that are committed; those in files are passed over until `amend` has run."""
        self._strikes.add(struck)
        self._tail.discard(struck_rows(struck))

    def recent(self) -> Recent:
        """How much waits to be compacted."""
        return Recent(
            rows=self._tail.rows,
            bytes=self._tail.bytes,
            upto={lane: high for lane, (_, high) in self._tail.reach().items()},
        )

    @property
    def compaction_due(self) -> bool:
        return self._tail.rows >= self._settings.recent_rows_due

    # --- questions --------------------------------------------------------------------------------------------

    def read(self, query: HistoryQuery) -> pl.DataFrame:
        """Rows of HISTORY_SCHEMA, sorted by entity, attribute, at; exact repeats appear once."""
        found = self._asked(query, lambda of: self._lake.reader.rows(query, of))
        return pl.DataFrame(schema=_SCHEMA) if found is None else found

    def page(self, query: HistoryQuery, rows: int) -> HistoryPage:
        """About `rows` of the earliest rows (with `last`, the latest): all of any moment, or none of it.

        Raises TooLarge where more than `query.limit` share a moment.
        """
        found = self._asked(query, lambda of: self._lake.reader.page(query, rows, of))
        return HistoryPage(rows=pl.DataFrame(schema=_SCHEMA)) if found is None else found

    def instance(self, query: HistoryQuery, id: str) -> pl.DataFrame:
        """Rows among those asked for that were given this instance id when they were amended."""
        found = self._asked(query, lambda of: self._lake.reader.instance(query, id, of))
        return pl.DataFrame(schema=_SCHEMA) if found is None else found

    def moments(self, tenant: str, entity: str, moments: Sequence[tuple[str, int]]) -> pl.DataFrame:
        """Rows of an entity that are of one of these attributes (keys) at its instant."""
        asked = pl.DataFrame(moments, schema={"attribute": pl.String, "at": pl.Int64}, orient="row")
        begin, end = extent(asked["at"])
        query = HistoryQuery(tenant=tenant, entities=(entity,), begin=begin, end=end + 1)
        found = self._asked(query, lambda of: self._lake.reader.moments(asked, of))
        return pl.DataFrame(schema=_SCHEMA) if found is None else found

    def matching(self, query: HistoryQuery, where: Filter | None, geo: GeoFilter | None) -> list[str]:
        """Those entities, sorted, that have rows in the range, of these attributes, that pass the filters."""
        whole = msgspec.structs.replace(query, attributes=())
        found = self._asked(whole, lambda of: self._lake.reader.matching(query.attributes, where, geo, of))
        return found or []

    def aggregate(self, query: HistoryQuery, how: Aggregation) -> pl.DataFrame:
        """Columns entity, attribute, bucket (start, microseconds), then one Float64 column per method.

        Buckets start at `query.begin`, else at the first observation found (ETSI GS CIM 009, clause 4.5.19). Booleans
        count as 1 and 0; other values that are no numbers are counted and otherwise left out, unless `how.texts`;
        where no number is, the result is null. `stddev` is that of the population. `last` and `limit` bound the buckets
        given back.
        """
        found = self._asked(query, lambda of: self._lake.reader.buckets(query, how, of))
        return bucket_frame([], how) if found is None else found

    def repeated(self, rows: pl.DataFrame) -> pl.Series:
        """Boolean for each row: an earlier row of the frame, or one that is here already, agrees in all of IDENTITY.

        Cheap when all rows are newer than what is here.
        """
        if rows.is_empty():
            return pl.Series(dtype=pl.Boolean)
        asked = rows.select(IDENTITY).with_row_index("row")

        def ask(snapshot: Snapshot, recent: pl.DataFrame) -> pl.Series:
            in_tail = asked.join(recent, on=IDENTITY, how="semi", nulls_equal=True)["row"]
            return pl.concat([in_tail, self._lake.present(rows, snapshot, self._strikes.of(None, rows["entity"]))])

        low, high = extent(rows["at"])
        there = self._answered(lambda: self._tail.of_entities(rows["entity"], low, high), ask)
        return asked.select(~pl.struct(IDENTITY).is_first_distinct() | pl.col("row").is_in(there.implode())).to_series()

    def over(
        self,
        condition: pl.Expr,
        low: int | None,
        high: int | None,
        ask: Callable[[Snapshot, pl.DataFrame], pl.DataFrame],
    ) -> pl.DataFrame:
        """What `ask` makes of the recent rows for which the condition holds, and a snapshot that has all others.

        `low` and `high` bound the `at` of those rows.
        """
        return self._answered(lambda: self._tail.matching(condition, low, high), ask)

    def paths(self, files: Sequence[str]) -> list[Path]:
        """Files of a snapshot as they lie on the disk."""
        return self._lake.paths(files)

    def struck(self) -> pl.DataFrame | None:
        """What files hold although it is struck, for `query.kept`; None when there is nothing."""
        struck = self._strikes.all()
        return frame(struck) if struck else None

    def frame(self, sql: str, values: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """The answer of a SELECT over such files and frames."""
        return self._lake.reader.frame(sql, values, frames)

    # --- upkeep -----------------------------------------------------------------------------------------------

    def watermarks(self, lanes: Collection[str]) -> dict[str, int]:
        """The highest ledger row of each lane that is in the lake, -1 where none is: after it the tail begins."""
        self._lake.table.snapshot()
        return self._lake.table.watermarks(lanes)

    def compact(self, upto: Mapping[str, int]) -> Sealed | None:
        """Move the recent rows up to and including these ledger rows into the lake; None when there are none.

        Raises StorageFull, and Conflict when another process moved a lane meanwhile. Either leaves all as it was.
        """
        with self._sealing:
            held = self._tail.reach()
            marks = self.watermarks(held)
            self._tail.drop(marks)  # what another process has compacted
            # No further than rows have come: what is committed and still on its way here must not be marked as done.
            upto = {lane: min(n, held[lane][1]) for lane, n in upto.items() if lane in held}
            rows = self._tail.upto(upto)
            if rows.is_empty():
                return None
            try:
                sealed = self._lake.seal(
                    rows,
                    {lane: Span(marks[lane] + 1, n) for lane, n in upto.items() if n > marks[lane]},
                    self._strikes.of(None, rows["entity"]),
                )
            except StorageFull as error:
                self._full = str(error)
                raise
            self._full = ""
            self._tail.drop(upto)
            return sealed

    def amended(self, lanes: Collection[str]) -> dict[str, int]:
        """Up to which ledger row of each lane amendments are in the files: those after it must be struck again."""
        return self._lake.table.amended(lanes)

    def unamended(self) -> dict[str, int]:
        """The first ledger row of each lane whose amendment is not in the files yet."""
        first: dict[str, int] = {}
        for one in self._strikes.all():
            first[one.lane] = min(one.n, first.get(one.lane, one.n))
        return first

    def amend(self) -> Sealed | None:
        """Take struck rows out of the files, as far as every row that they may hit is in there; None when nothing is.

        The commit marks how far it went, so that a crash before it changes nothing and one after it loses nothing.
        """
        with self._rewriting, self._sealing:
            held = self._tail.reach()
            ready = [
                one
                for one in self._strikes.all()
                if all(lane == one.lane and low >= one.n for lane, (low, _) in held.items())
            ]
            if not ready:
                return None
            amended: dict[str, int] = {}
            for one in ready:
                amended[one.lane] = max(one.n, amended.get(one.lane, 0))
            marks = self.watermarks(amended)
            # Rows that were struck before they came into a file are behind the mark too, or a restart would read them.
            lanes = {lane: Span(marks[lane] + 1, n - 1) for lane, n in amended.items() if n - 1 > marks[lane]}
            sealed = self._lake.amend(ready, amended, lanes)
            self._strikes.remove(ready)
            return sealed

    def optimise(self) -> list[Sealed]:
        """Merge small files, delete what nobody can need any more, and write a checkpoint."""
        done: list[Sealed] = []
        while True:
            with self._rewriting:
                merged = self._lake.merge()
                if merged is None:
                    self._lake.table.tidy()
                    return done
            done.append(merged)

    def retain(self, type_name: str, before: int) -> Sealed | None:
        """Delete what entities of a type observed before an instant; None when there is nothing."""
        with self._rewriting:
            self._tail.discard((pl.col("type") == type_name) & (pl.col("at") < before))
            return self._lake.retain(type_name, before)

    def forget(self, tenant: str, entity: str) -> None:
        """Erase an entity's history, its files' bytes included. What was done is among `records`.

        The recent part comes from the ledger: its payload has to be erased there, or a restart brings it back.
        """
        with self._rewriting, self._sealing:
            self._tail.discard((pl.col("tenant") == tenant) & (pl.col("entity") == entity))
            self._lake.erase(tenant, entity)

    def records(self, after: int = -1) -> list[Sealed]:
        """What was done to the lake after a version, oldest first: at start, what the ledger has not heard of."""
        return self._lake.table.records(after)

    def verify(self, files: Mapping[str, str]) -> list[Fault]:
        """Compare the lake with the files that the ledger knows (path: SHA-256); reads every byte of them."""
        return self._lake.verify(files)

    # --- both parts as one ------------------------------------------------------------------------------------

    def _asked(self, query: HistoryQuery, answer: Callable[[Source], _Answer]) -> _Answer | None:
        """The answer from all rows that the query asks for; None when there cannot be any."""
        entities = sorted(set(query.entities))
        conditions = [pl.col("tenant") == query.tenant]
        if query.attributes:
            name = pl.col("attribute").str.split("@").list.first() if query.datasets else pl.col("attribute")
            conditions.append(name.is_in(query.attributes) | pl.col("attribute").is_in(query.attributes))
        if query.begin is not None:
            conditions.append(pl.col(query.by) >= query.begin)
        if query.end is not None:
            conditions.append(pl.col(query.by) < query.end)
        within = (query.begin, query.end) if query.by == "at" else (None, None)

        def ask(snapshot: Snapshot, recent: pl.DataFrame) -> _Answer | None:
            if recent.height:
                recent = recent.filter(conditions).unique(IDENTITY, keep="first", maintain_order=True)
            files = snapshot.covering(query.by, query.begin, query.end, entities)
            if not files and recent.is_empty():
                return None
            overlapping = snapshot.covering("at", *extent(recent["at"]), entities) if recent.height else []
            struck = self._strikes.of(query.tenant, entities)
            gone = frame(struck) if struck else None
            found = source(query, self._lake.paths(files), recent, self._lake.paths(overlapping), gone)
            return answer(settled(found) if query.settled else found)

        return self._answered(lambda: self._tail.of_entities(entities, *within), ask) if entities else None

    def _answered(
        self, recent: Callable[[], pl.DataFrame], ask: Callable[[Snapshot, pl.DataFrame], _Answer]
    ) -> _Answer:
        """Ask with recent rows and a snapshot that together hold every row once."""
        for tries_left in reversed(range(self._settings.query_retries)):
            rows = recent()  # before the snapshot: what is compacted in between is then in both, not in neither
            snapshot = self._lake.table.snapshot()
            try:
                with told(self._lake.table.folder):
                    return ask(snapshot, rows.filter(_beyond(snapshot.watermarks)) if rows.height else rows)
            except IntegrityBroken:
                # A file that was merged or erased since is gone rightly; anything else is an error.
                if not tries_left or self._lake.table.snapshot().version == snapshot.version:
                    raise
        raise AssertionError("query_retries is at least 1")


def _beyond(marks: Mapping[str, int]) -> pl.Expr:
    return pl.all_horizontal(True, *((pl.col("lane") != lane) | (pl.col("n") > n) for lane, n in marks.items()))
