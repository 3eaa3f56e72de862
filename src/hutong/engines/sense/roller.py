"""Makes rollups: when their periods are over, and again when something is heard of a period that was."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.bulk import GRAIN, BulkHistory, KnownQuery, RollQuery
from hutong.engines.sense.merging import NULL
from hutong.engines.sense.overlay import FRAME_TYPES, VALUE_TYPES, Overlay
from hutong.engines.sense.periods import Period, Periods, Unit
from hutong.engines.sense.ports import Attribute, EntityStore, Form, Mark
from hutong.engines.sense.publishing import ACTOR, Documents, Made, Place, Plain, changes, published, send
from hutong.engines.sense.rollups import FROM, SOURCE, TO, Rollup
from hutong.engines.sense.standing import Span, StandingStore, joined
from hutong.kernel.clock import DAY, Clock, iso
from hutong.kernel.commands import Request
from hutong.kernel.expressions import AT, POLARS_TYPES, ValueType
from hutong.kernel.expressions.aggregates import AGGREGATES, METERED, PERIOD, Term
from hutong.kernel.housekeeping import Within
from hutong.kernel.writer import Writer

JOB = "rollups"
MEMBERS_MAX = 1_000_000
CELLS_MAX = 200_000
"""Things times periods of one query: what it gives is held in memory."""
METER_REACH = 40 * DAY
"""How long before a period the reading before may lie; after a longer silence a meter begins anew."""


class Due(msgspec.Struct):
    """What is left to do of one rollup: spans of whole periods of which something was heard."""

    digest: str = ""
    spans: list[Span] = []


class Progress(msgspec.Struct):
    """How far the rollups stand: ledger rows seen of each lane, and what is due."""

    after: dict[str, int] = {}
    since: int = 0
    due: dict[str, Due] = {}


class Roller:
    """All rollups of a city. `pulse` does what is due; what it did is durable, and a repeat of it changes nothing."""

    def __init__(
        self,
        rollups: Sequence[Rollup],
        overlays: Mapping[str, Overlay],
        history: BulkHistory,
        entities: EntityStore,
        standing: StandingStore,
        writer: Writer,
        clock: Clock,
        periods: Callable[[Unit, int], Periods],
    ) -> None:
        self.rollups = tuple(rollups)
        self._overlays, self._history, self._entities = overlays, history, entities
        self._standing, self._writer, self._clock = standing, writer, clock
        self._periods = {one.name: one.periods(periods) for one in rollups}
        self._progress: Progress | None = None
        self._stirred: set[str] = {one.name for one in rollups}  # had news that their running period has not yet seen
        self._stop = threading.Event()

    def close(self) -> None:
        """Stop after the slice at hand."""
        self._stop.set()

    def forget(self) -> None:
        """Look at all history anew the next time, as if nothing were known of how far the work stands."""
        self._save(Progress())

    def pulse(self) -> int:
        """Look for news and make what is due, rollups of rollups too. Gives how many changes were sent."""
        total = 0
        for _ in range(len(self.rollups) + 1):
            self._look()
            sent = sum(self._make(one) for one in self.rollups)
            total += sent
            if not sent or self._stop.is_set():
                break
        return total

    # --- what is due ---

    def _look(self) -> None:
        """Bring the list of what is due up to what history has heard."""
        if not self.rollups:
            return
        before = self._load()
        new = [one for one in self.rollups if before.due.get(one.name, Due()).digest != one.digest]
        found = {one.name: self._heard(one, self._history.news({one.on: one.attributes}, {}, 0).spans) for one in new}
        news = self._history.news(self._read(), before.after, before.since)
        due: dict[str, Due] = {}
        for one in self.rollups:
            if one.name in found:
                due[one.name] = Due(one.digest, joined([*found[one.name], *self._heard(one, news.spans)]))
            else:
                heard, old = self._heard(one, news.spans), before.due[one.name]
                due[one.name] = Due(one.digest, joined([*old.spans, *heard])) if heard else old
                if heard:
                    self._stirred.add(one.name)
        self._save(Progress(dict(news.upto), news.recorded_at, due))

    def _read(self) -> dict[str, list[str]]:
        read: dict[str, dict[str, None]] = {}
        for one in self.rollups:
            read.setdefault(one.on, {}).update(dict.fromkeys(one.attributes))
        return {type_: list(names) for type_, names in read.items()}

    def _heard(self, one: Rollup, spans: pl.DataFrame) -> list[Span]:
        mine = spans.filter((pl.col("type") == one.on) & pl.col("attribute").is_in(list(one.attributes)))
        heard = joined([(at, at + GRAIN) for at in mine["at"].unique().to_list()], mine.height)
        return joined([self._periods[one.name].touched(low, high) for low, high in heard])

    def _load(self) -> Progress:
        if self._progress is None:
            kept = self._standing.get(JOB)
            self._progress = msgspec.json.decode(kept, type=Progress) if kept else Progress()
        return self._progress

    def _save(self, progress: Progress) -> None:
        if progress != self._progress:
            doc = msgspec.json.encode(progress)
            self._ask(Within(kind="", work=lambda tx: self._standing.put(tx, JOB, doc)))
            self._progress = progress

    def _ask(self, command: Any) -> Any:
        return self._writer.submit(Request(command=command, actor=ACTOR)).result()

    # --- one rollup ---

    def _make(self, one: Rollup) -> int:
        now, progress = self._clock.now(), self._load()
        due = progress.due[one.name]
        here = self._periods[one.name].of(now).at
        rest = [(max(low, here), high) for low, high in due.spans if high > here]
        over = [period for period in self._wanted(one, due.spans) if period.at < here]
        stirred = one.declaration.running and one.name in self._stirred
        running = [period for period in self._wanted(one, rest) if period.at == here] if stirred else []
        self._stirred.discard(one.name)
        if not over and not running:
            return 0
        members = self._members(one)
        sent, step = 0, max(1, CELLS_MAX // max(1, members.height))
        for begin in range(0, len(over), step):
            if self._stop.is_set():
                left = joined([*rest, *((period.at, period.at + 1) for period in over[begin:])])
                self._save(self._with(one, left))
                return sent
            sent += self._publish(one, members, over[begin : begin + step])
        if running:
            sent += self._publish(one, members, running)
        self._save(self._with(one, rest))
        return sent

    def _with(self, one: Rollup, spans: list[Span]) -> Progress:
        progress = self._load()
        return msgspec.structs.replace(progress, due=progress.due | {one.name: Due(one.digest, spans)})

    def _wanted(self, one: Rollup, spans: Sequence[Span]) -> Iterator[Period]:
        """The periods in the spans, within the days on which the rollup holds and for which history is kept."""
        periods = self._periods[one.name]
        first = periods.midnight(one.begins) if one.begins else None
        last = periods.midnight(one.ends) if one.ends else None
        kept = self._clock.now() - one.retention if one.retention else None
        for low, high in spans:
            for period in periods.between(low, high):
                early = (first is not None and period.at < first) or (kept is not None and period.begin < kept)
                if not early and (last is None or period.at < last):
                    yield period

    def _members(self, one: Rollup) -> pl.DataFrame:
        """Things and the groups they are in: columns entity, member, and those of `by`."""
        declared = self._overlays[one.on].declaration.property
        columns = list(dict.fromkeys((*one.by, *(one.where.columns if one.where is not None else ()))))
        forms: dict[str, Form] = {key: _form(declared[key].type) for key in columns}
        types = {key: FRAME_TYPES[VALUE_TYPES[declared[key].type]] for key in columns}
        rows = self._entities.table(one.on, ["id", *columns], forms, MEMBERS_MAX)
        frame = pl.DataFrame(rows, schema={"entity": pl.String, **types}, orient="row", strict=False)
        if one.where is not None:
            frame = frame.filter(one.where.polars())
        if one.by:
            frame = frame.drop_nulls(list(one.by))
            return frame.with_columns(member=pl.struct(one.by).rank("dense").cast(pl.Int64))
        return frame.with_row_index("member").with_columns(pl.col("member").cast(pl.Int64))

    def _publish(self, one: Rollup, members: pl.DataFrame, periods: Sequence[Period]) -> int:
        rolled = self._history.roll(
            RollQuery(
                type=one.on,
                terms=one.terms,
                periods=periods,
                members=members,
                ranges=one.ranges,
                suspects=one.declaration.suspects,
                reach=METER_REACH if any(term.function in METERED for term in one.terms) else 0,
            )
        )
        groups = members.unique("member", keep="first", maintain_order=True)
        targets = {row["member"]: one.target(row["entity"], row) for row in groups.iter_rows(named=True)}
        sources = {one.target(row["entity"], row): row for row in groups.iter_rows(named=True)}
        made = self._made(one, rolled, targets, {period.at: period for period in periods})
        overlay, documents = self._overlays[one.into], Documents(self._entities)
        also = tuple(key for key in (*overlay.columns, *overlay.derivations) if key not in one.values)
        known = published(
            self._history.known(
                KnownQuery(
                    type=one.into,
                    attributes=(*one.values, *also),
                    low=min(period.at for period in periods),
                    high=max(period.at for period in periods) + 1,
                    entities=tuple(sources) if len(sources) <= CELLS_MAX else (),
                )
            ).iter_rows()
        )
        dates = {period.at for period in periods}
        for place, values in known.items():
            if place[1] in dates and place[0] in sources and place not in made:
                gone = {key: None for key in one.values if values.get(key) is not None}
                if gone:
                    made[place] = Made(dict.fromkeys(one.values))
        derive(overlay, made, known, documents)

        def along(id_: str, document: Mapping[str, Attribute]) -> dict[str, Attribute]:
            return self._along(one, sources[id_], document)

        return send(
            self._ask,
            changes(one.into, made, known, self._units(one, overlay), documents, along, self._clock.now()),
            f"{SOURCE}{one.name}",
            int(Mark.DERIVED),
        )

    @staticmethod
    def _units(one: Rollup, overlay: Overlay) -> dict[str, str | None]:
        return {key: overlay.declaration.property[key].unit or None for key in overlay.derivations} | one.units

    @staticmethod
    def _made(
        one: Rollup, rolled: pl.DataFrame, targets: Mapping[int, str], periods: Mapping[int, Period]
    ) -> dict[Place, Made]:
        lengths = {at: (period.end - period.begin) / 1e6 for at, period in periods.items()}
        whole = whole_columns(one.terms)
        frame = rolled.with_columns(
            pl.col("at").replace_strict(lengths, return_dtype=pl.Float64).alias(PERIOD),
            pl.col("at").alias(AT),
            *(pl.col(name).cast(POLARS_TYPES[ValueType.INTEGER]) for name in whole),
        )
        values = one.compute(frame)
        made: dict[Place, Made] = {}
        heads = rolled.select("member", "at", "marks").iter_rows()
        for (member, at, marks), row in zip(heads, values.iter_rows(named=True), strict=True):
            period = periods[at]
            for key, edge in ((FROM, period.begin), (TO, period.end)):
                if key in one.dated:
                    row[key] = iso(edge)
            made[targets[member], at] = Made(row, marks & ~int(Mark.DERIVED))
        return made

    def _along(self, one: Rollup, source: Mapping[str, Any], target: Mapping[str, Attribute]) -> dict[str, Attribute]:
        """What the target takes from its thing, or from its group, where it has that not yet."""
        wanted = {key: Attribute(value=source[key]) for key in one.by}
        if one.declaration.carry:
            thing = Documents(self._entities)(source["entity"])
            for key in one.declaration.carry:
                if key in thing:
                    found = thing[key]
                    wanted[key] = Attribute(kind=found.kind, value=found.value, unit=found.unit)
        return {key: new for key, new in wanted.items() if key not in target or target[key].value != new.value}


def derive(
    overlay: Overlay, made: Mapping[Place, Made], known: Mapping[Place, Mapping[str, Plain]], documents: Documents
) -> None:
    """Add to what was made what the target's declared expressions derive from it.

    Besides, they read what is published of the same instant, and what the target says without a time.
    """
    mine = {key for one in made.values() for key in one.values}
    wanted = [key for key in overlay.derivations if _reads(overlay, key) & mine]
    if not wanted or not made:
        return
    rows = []
    for place, one in made.items():
        there, document = known.get(place, {}), documents(place[0])
        row: list[Any] = []
        for key in overlay.columns:
            fixed = document.get(key)
            value = fixed.value if fixed is not None and fixed.observed_at is None and fixed.value != NULL else None
            row.append(one.values[key] if key in one.values else there.get(key, value))
        rows.append(row + [None] * (2 * len(overlay.previous)))
    names = [*overlay.columns, *(f"{key}{end}" for key in overlay.previous for end in ("__previous", "__elapsed_s"))]
    columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*rows, strict=True), strict=True))
    times: dict[str, Sequence[Any]] = {key: [at for _, at in made] for key in overlay.times}
    frame = overlay.frame(columns | times)
    for one, values in zip(made.values(), frame.select(wanted).iter_rows(named=True), strict=True):
        one.values |= values


def whole_columns(terms: Sequence[Term]) -> list[str]:
    """Names of the columns that hold whole numbers."""
    kinds = ((term.column, AGGREGATES[term.function]) for term in terms)
    return [name for name, kind in kinds if kind is not None and kind.type is ValueType.INTEGER]


def _reads(overlay: Overlay, key: str) -> set[str]:
    columns = overlay.derivations[key].columns
    return set(columns).union(*(_reads(overlay, one) for one in columns if one in overlay.derivations))


def _form(kind: str) -> Form:
    return "number" if kind in ("integer", "number") else "boolean" if kind == "boolean" else "text"
