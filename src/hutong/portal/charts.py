"""History of one property of one thing: what a chart shows, its table, and the same drawn as SVG on the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median
from typing import Literal, TypeAlias

import polars as pl

from hutong.engines.sense.ports import Aggregation, HistoryQuery, Mark
from hutong.kernel.access import Actor
from hutong.kernel.clock import DAY, HOUR, MINUTE, moment
from hutong.portal import figures
from hutong.portal.ports import Portal, ThingType
from hutong.portal.things import Thing
from hutong.portal.words import Language

Span: TypeAlias = Literal["24h", "7d", "30d", "all"]
SPANS: dict[Span, int | None] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "all": None}
POINTS_MAX = 1_500  # more are drawn as means over buckets, with least and greatest as a band
_BUCKETS = (5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY)
WIDTH, HEIGHT = 960, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 28


@dataclass(frozen=True)
class Sample:
    """`low` and `high` differ from `value` only in buckets. `value` None: a gap starts here."""

    at: int
    value: float | None
    low: float | None = None
    high: float | None = None
    suspect: bool = False
    foretold: bool = False


@dataclass(frozen=True)
class Series:
    """Samples from `begin` to `end`. `bucket` in microseconds, 0 for single observations. `past`: ends before now."""

    shown: str
    span: Span
    begin: int
    end: int
    bucket: int
    samples: Sequence[Sample]
    past: bool = False

    @property
    def observed(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.value is not None]


async def series(portal: Portal, actor: Actor, thing: Thing, kind: ThingType, name: str, span: Span) -> Series:
    """Read a property's history. Of a thing long silent the span ends at its last observation, and `past` says so."""
    now = portal.clock.now()
    length = SPANS[span]
    past = length is not None and thing.observed_at is not None and thing.observed_at < now - length
    end = (thing.observed_at or now) + 1 if past else now
    band = kind.bands.get(name)
    query = HistoryQuery(
        tenant=portal.tenant,
        entities=(thing.id,),
        attributes=(name, *band) if band else (name,),
        begin=None if length is None else end - length,
        end=None if band else end,
        limit=POINTS_MAX + 1,
    )
    rows = await portal.sense.history(actor, query)
    if band and rows.height <= POINTS_MAX:
        bucket, samples = 0, _foretold(rows, name, band)
        end = max(end, samples[-1].at if samples else end)
        begin = query.begin if query.begin is not None else samples[0].at if samples else end
    elif rows.height <= POINTS_MAX:
        bucket, samples = 0, _observations(rows)
        begin = query.begin if query.begin is not None else samples[0].at if samples else end
    else:
        begin = query.begin if query.begin is not None else int(rows["at"][0])
        bucket = next((size for size in _BUCKETS if (end - begin) / size <= POINTS_MAX), _BUCKETS[-1])
        samples = _buckets(await portal.sense.aggregate(actor, query, Aggregation(("avg", "min", "max"), bucket)))
    return Series(name, span, begin, end, bucket, with_gaps(samples, bucket, kind.silent_after), past)


def _observations(rows: pl.DataFrame) -> list[Sample]:
    return [
        Sample(at, value, value, value, bool(marks & Mark.SUSPECT))
        for at, value, marks in rows.filter(pl.col("number").is_not_null()).select("at", "number", "marks").iter_rows()
    ]


def _foretold(rows: pl.DataFrame, name: str, band: tuple[str, str]) -> list[Sample]:
    """Forecasts with the ends of their interval."""
    told: dict[str, dict[int, float]] = {key: {} for key in (name, *band)}
    for key, at, value in rows.select("attribute", "at", "number").drop_nulls().iter_rows():
        told[key][at] = value
    low, high = (told[key] for key in band)
    return [
        Sample(at, value, low.get(at, value), high.get(at, value), foretold=True)
        for at, value in sorted(told[name].items())
    ]


def _buckets(rows: pl.DataFrame) -> list[Sample]:
    return [
        Sample(*row)
        for row in rows.filter(pl.col("avg").is_not_null())
        .select("bucket", "avg", "min", "max")
        .sort("bucket")
        .iter_rows()
    ]


def with_gaps(samples: Sequence[Sample], bucket: int, silent_after: int | None) -> list[Sample]:
    """Put an empty sample where nothing came for longer than the source promises.

    Where it promises nothing, five times the median interval counts as a gap.
    """
    steps = [later.at - earlier.at for earlier, later in pairwise(samples)]
    if not steps:
        return list(samples)
    longest = max(silent_after or 5 * median(steps), 2 * bucket)
    broken = [samples[0]]
    for step, sample in zip(steps, samples[1:], strict=True):
        if step > longest:
            broken.append(Sample(broken[-1].at + 1, None))
        broken.append(sample)
    return broken


# --- the same as SVG --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Drawing:
    """Paths in a view box of WIDTH x HEIGHT. `lines` are broken where there is a gap, `gaps` are the bands between."""

    lines: str
    band: str
    gaps: Sequence[tuple[float, float]]
    suspects: Sequence[tuple[float, float]]
    across: Sequence[Tick]
    up: Sequence[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def draw(seen: Series, zone: tzinfo, lang: Language, percent: bool = False) -> Drawing | None:
    """Draw a series; None when it is empty."""
    observed = seen.observed
    if not observed:
        return None
    low = min(sample.low if sample.low is not None else sample.value or 0.0 for sample in observed)
    high = max(sample.high if sample.high is not None else sample.value or 0.0 for sample in observed)
    step = nice((high - low or abs(high) or 1.0) / 4)
    floor, ceiling = step * (low // step), step * -(-high // step)
    if floor == ceiling:
        ceiling += step

    def x(at: int) -> float:
        return round(_LEFT + (at - seen.begin) / max(seen.end - seen.begin, 1) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - floor) / (ceiling - floor) * (HEIGHT - _TOP - _BOTTOM), 1)

    pieces, gaps = _pieces(seen.samples)
    ups = [floor + step * n for n in range(round((ceiling - floor) / step) + 1)]
    band = (
        ""
        if not seen.bucket and not any(sample.foretold for sample in observed)
        else "".join(
            _closed(
                [(x(s.at), y(s.high or 0.0)) for s in piece] + [(x(s.at), y(s.low or 0.0)) for s in reversed(piece)]
            )
            for piece in pieces
        )
    )
    return Drawing(
        "".join(
            "M" + "L".join(f"{x(s.at)} {y(s.value or 0.0)}" for s in piece) + ("h.1" if len(piece) == 1 else "")
            for piece in pieces
        ),
        band,
        [(x(begin), x(end) - x(begin)) for begin, end in gaps],
        [(x(s.at), y(s.value or 0.0)) for s in observed if s.suspect],
        [Tick(x(at), text) for at, text in _times(seen.begin, seen.end, zone, lang)],
        [
            Tick(y(value), f"{figures.percent(value)}%" if percent else figures.number(round(value, 10)))
            for value in ups
        ],
    )


def _pieces(samples: Sequence[Sample]) -> tuple[list[list[Sample]], list[tuple[int, int]]]:
    pieces: list[list[Sample]] = [[]]
    gaps = []
    for sample in samples:
        if sample.value is None:
            pieces.append([])
            continue
        if not pieces[-1] and len(pieces) > 1:
            gaps.append((pieces[-2][-1].at, sample.at))
        pieces[-1].append(sample)
    return [piece for piece in pieces if piece], gaps


def _closed(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points) + "Z"


def nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** _exponent(step)
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)


def _exponent(value: float) -> int:
    return int(f"{value:e}".rpartition("e")[2])


def _times(begin: int, end: int, zone: tzinfo, lang: Language) -> list[tuple[int, str]]:
    """At most eight full local hours or days within the range."""
    span = end - begin
    hours = next(
        (h for h in (1, 2, 3, 6, 12, 24, 48, 24 * 7, 24 * 14, 24 * 30, 24 * 91, 24 * 365) if span / (h * HOUR) <= 8),
        24 * 3650,
    )
    start = moment(begin).astimezone(zone)
    tick = start.replace(minute=0, second=0, microsecond=0, hour=start.hour if hours < 24 else 0)
    ticks = []
    while (at := _instant(tick)) <= end:
        if at >= begin and (hours >= 24 or tick.hour % hours == 0):
            clock = f"{tick:%H:%M}" if hours < 24 and tick.hour else figures.day(tick, lang)
            ticks.append((at, clock.partition("年")[2] or clock.rpartition(" ")[0] or clock))
        tick += timedelta(hours=1 if hours < 24 else hours)
    return ticks


def _instant(local: datetime) -> int:
    return int(local.timestamp() * 1_000_000)
