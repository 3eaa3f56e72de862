"""Rows that are in the ledger and not yet in the lake, in memory, found by entity.

What arrives is only listed. In the background it is sorted into chunks with an index of their entities, repetitive
texts as codes: about 70 bytes a row instead of 150 to 350.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

import polars as pl

from hutong.engines.sense.ports import HISTORY_SCHEMA
from hutong.store.lake.settings import LakeSettings

Reach = Mapping[str, tuple[int, int]]
"""Lowest and highest ledger row of each lane."""

_CODED = ("tenant", "type", "attribute", "kind", "unit", "source", "lane")
_EMPTY = pl.DataFrame(schema=HISTORY_SCHEMA)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows as they came."""

    rows: pl.DataFrame
    reach: Reach
    extent: tuple[int, int]
    bytes: int

    @classmethod
    def of(cls, rows: pl.DataFrame) -> "Batch":
        return cls(rows, reach(rows), extent(rows["at"]), int(rows.estimated_size()))

    @property
    def height(self) -> int:
        return self.rows.height

    def all(self) -> pl.DataFrame:
        return self.rows

    def matching(self, condition: pl.Expr) -> pl.DataFrame:
        return self.rows.filter(condition)

    def kept(self, keep: pl.Expr) -> "Batch":
        return Batch.of(self.rows.filter(keep))


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows sorted by entity. `columns` lacks the entity; those of `entities[i]` stand from `starts[i]`."""

    entities: pl.Series
    starts: pl.Series
    columns: pl.DataFrame
    reach: Reach
    extent: tuple[int, int]
    bytes: int

    @classmethod
    def of(cls, rows: pl.DataFrame) -> "Chunk":
        ordered = rows.sort("entity", "attribute", "at")
        runs = ordered["entity"].rle().struct.unnest()
        starts = runs["len"].cum_sum().shift(1, fill_value=0)
        codes = [pl.col(name).cast(pl.Categorical(pl.Categories.random())) for name in _CODED]
        columns = ordered.drop("entity").with_columns(codes).rechunk()
        return cls(
            pl.Series("entity", runs["value"].to_list(), dtype=pl.String),  # a copy: lets go of all the others' bytes
            starts.extend(pl.Series([rows.height], dtype=starts.dtype)),
            columns,
            reach(rows),
            extent(rows["at"]),
            int(columns.estimated_size() + 2 * runs.estimated_size()),
        )

    @property
    def height(self) -> int:
        return self.columns.height

    def of_entities(self, wanted: pl.Series) -> pl.DataFrame:
        """The rows of these entities (distinct, sorted)."""
        slots = self.entities.search_sorted(wanted).clip(upper_bound=len(self.entities) - 1)
        slots = slots.filter(self.entities.gather(slots) == wanted)
        if slots.is_empty():
            return _EMPTY
        return self._rows(self.entities.gather(slots), self.starts.gather(slots), self.starts.gather(slots + 1))

    def all(self) -> pl.DataFrame:
        return self._rows(self.entities, self.starts[:-1], self.starts[1:])

    def matching(self, condition: pl.Expr) -> pl.DataFrame:
        """The rows for which a condition on columns other than the entity holds."""
        rows = self.columns.with_row_index("row").filter(condition)
        slots = self.starts.search_sorted(rows["row"], side="right") - 1
        columns = rows.with_columns(pl.col(_CODED).cast(pl.String), self.entities.gather(slots))
        return columns.select(*HISTORY_SCHEMA)

    def kept(self, keep: pl.Expr) -> "Chunk":
        return Chunk.of(self.all().filter(keep))

    def _rows(self, entities: pl.Series, starts: pl.Series, ends: pl.Series) -> pl.DataFrame:
        runs = pl.DataFrame({"entity": entities, "row": pl.int_ranges(starts, ends, eager=True)}).explode("row")
        columns = self.columns[runs["row"]].with_columns(pl.col(_CODED).cast(pl.String))
        return columns.with_columns(runs["entity"]).select(*HISTORY_SCHEMA)


class Tail:
    """The recent rows. One thread appends; any thread reads; whoever changes chunks waits for the other changers."""

    def __init__(self, settings: LakeSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()  # held for moments
        self._changing = threading.Lock()  # held while chunks are made
        self._chunks: tuple[Chunk, ...] = ()
        self._batches: tuple[Batch, ...] = ()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="history-tail")
        self._sorting: Future[None] | None = None

    @property
    def rows(self) -> int:
        return sum(part.height for part in self._parts())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self._parts())

    def reach(self) -> dict[str, tuple[int, int]]:
        """Lowest and highest ledger row of each lane that has rows here."""
        return reduce(_joined, (part.reach for part in self._parts()), {})

    def append(self, rows: pl.DataFrame) -> None:
        batch = Batch.of(rows)
        with self._lock:
            self._batches += (batch,)
            waiting, count = sum(b.height for b in self._batches), len(self._batches)
        many = waiting >= self._settings.pending_rows_max or count >= self._settings.pending_frames_max
        if many and (self._sorting is None or self._sorting.done()):
            self._sorting = self._background.submit(self.sort)

    def check(self) -> None:
        """Raise what went wrong in the background, if anything did."""
        if self._sorting is not None and self._sorting.done():
            self._sorting.result()

    def of_entities(self, entities: Iterable[str], low: int | None, high: int | None) -> pl.DataFrame:
        """The rows of these entities that may have `at` from low to high, in no particular order."""
        wanted = pl.Series("entity", sorted(set(entities)), dtype=pl.String)

        def timely(part: Chunk | Batch) -> bool:
            return (low is None or part.extent[1] >= low) and (high is None or part.extent[0] <= high)

        with self._lock:
            chunks, batches = self._chunks, self._batches
        found = [chunk.of_entities(wanted) for chunk in chunks if timely(chunk)]
        loose = [batch.rows for batch in batches if timely(batch)]
        if loose:
            hit = pl.col("entity") == wanted[0] if len(wanted) == 1 else pl.col("entity").is_in(wanted.implode())
            found.append(pl.concat(loose, rechunk=False).filter(hit))
        return pl.concat(found) if found else _EMPTY

    def matching(self, condition: pl.Expr, low: int | None, high: int | None) -> pl.DataFrame:
        """The rows with `at` from low to high for which a condition on columns other than the entity holds."""
        found = [
            part.matching(condition)
            for part in self._parts()
            if (low is None or part.extent[1] >= low) and (high is None or part.extent[0] <= high)
        ]
        return pl.concat(found) if found else _EMPTY

    def upto(self, marks: Mapping[str, int]) -> pl.DataFrame:
        """The rows that `marks` cover, lane by lane."""
        covered = _covered(marks)
        taken = [
            part.all() if _inside(part.reach, marks) else part.all().filter(covered)
            for part in self._parts()
            if _touched(part.reach, marks)
        ]
        return pl.concat(taken) if taken else _EMPTY

    def drop(self, marks: Mapping[str, int]) -> None:
        """Forget the rows that `marks` cover: they are in the lake."""
        self._keep(
            ~_covered(marks), lambda part: not _touched(part.reach, marks), lambda part: _inside(part.reach, marks)
        )

    def discard(self, gone: pl.Expr) -> None:
        """Forget the rows for which the expression holds."""
        self._keep(~gone, lambda _: False, lambda _: False)

    def sort(self) -> None:
        """Move what was listed so far into a chunk; a small last chunk is made again with it."""
        with self._changing:
            batches = self._batches
            if not batches:
                return
            young = self._chunks[-1:] if self._chunks and self._chunks[-1].height < self._settings.chunk_rows else ()
            parts: list[Chunk | Batch] = [*young, *batches]
            chunk = Chunk.of(pl.concat([part.all() for part in parts]))
            with self._lock:
                self._chunks = (*self._chunks[: len(self._chunks) - len(young)], chunk)
                self._batches = self._batches[len(batches) :]

    def close(self) -> None:
        self._background.shutdown()
        self.check()

    def _parts(self) -> tuple[Chunk | Batch, ...]:
        with self._lock:
            return (*self._chunks, *self._batches)

    def _keep(
        self, keep: pl.Expr, untouched: Callable[[Chunk | Batch], bool], gone: Callable[[Chunk | Batch], bool]
    ) -> None:
        with self._changing:
            known = self._batches
            chunks = [c if untouched(c) else c.kept(keep) for c in self._chunks if not gone(c)]
            batches = [b if untouched(b) else b.kept(keep) for b in known if not gone(b)]
            with self._lock:
                self._chunks = tuple(c for c in chunks if c.height)
                self._batches = (*(b for b in batches if b.height), *self._batches[len(known) :])


def reach(rows: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Lowest and highest ledger row of each lane in a frame."""
    if rows.height and (rows["lane"] == rows["lane"][0]).all():
        return {rows["lane"][0]: extent(rows["n"])}
    ends = rows.group_by("lane").agg(low=pl.col("n").min(), high=pl.col("n").max())
    return {lane: (low, high) for lane, low, high in ends.iter_rows()}


def extent(numbers: pl.Series) -> tuple[int, int]:
    """The lowest and the highest of integers; (0, -1) when there is none."""
    low, high = numbers.min(), numbers.max()
    return (low, high) if isinstance(low, int) and isinstance(high, int) else (0, -1)


def _covered(marks: Mapping[str, int]) -> pl.Expr:
    return pl.any_horizontal(False, *((pl.col("lane") == lane) & (pl.col("n") <= n) for lane, n in marks.items()))


def _joined(one: Reach, other: Reach) -> dict[str, tuple[int, int]]:
    return {
        **one,
        **{
            lane: (min(low, one[lane][0]), max(high, one[lane][1])) if lane in one else (low, high)
            for lane, (low, high) in other.items()
        },
    }


def _touched(reached: Reach, marks: Mapping[str, int]) -> bool:
    return any(low <= marks.get(lane, -1) for lane, (low, _) in reached.items())


def _inside(reached: Reach, marks: Mapping[str, int]) -> bool:
    return all(high <= marks.get(lane, -1) for lane, (_, high) in reached.items())
