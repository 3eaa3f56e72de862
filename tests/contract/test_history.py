"""What every history store promises, whether rows are recent, settled in files, or some of each."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hutong.engines.sense.history import HistoryStore
from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, HistoryQuery, Method
from hutong.kernel.clock import HOUR, MINUTE, SECOND, FrozenClock, instant
from hutong.store.lake import LakeHistory

NOON = instant("2026-05-01T12:00:00Z")
LANE = "lane-a"
CAR_PARK = "urn:ngsi-ld:OffStreetParking:one"
ALL_METHODS: tuple[Method, ...] = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq")


@contextmanager
def lake(folder: Path) -> Iterator[tuple[HistoryStore, Callable[[], None]]]:
    store = LakeHistory(folder / "lake", FrozenClock(NOON))

    def settle() -> None:
        store.compact(store.recent().upto)
        assert store.recent().rows == 0

    yield store, settle
    store.close()


STORES = {"lake": lake}


class Fill:
    """Appends frames as ledger rows of their own and settles them as the test's variant says."""

    def __init__(self, store: HistoryStore, settle: Callable[[], None], variant: str) -> None:
        self.store, self._settle, self._variant, self._n = store, settle, variant, 0

    def __call__(self, *frames: pl.DataFrame) -> HistoryStore:
        for frame in frames:
            self._n += 1
            self.store.append(frame.with_columns(lane=pl.lit(LANE), n=pl.lit(self._n, dtype=pl.Int64)))
            if self._variant == "settled" or (self._variant == "mixed" and self._n % 2):
                self._settle()
        return self.store


@pytest.fixture(params=["recent", "settled", "mixed"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=STORES)
def fill(request: pytest.FixtureRequest, variant: str, tmp_path: Path) -> Iterator[Fill]:
    with STORES[request.param](tmp_path) as (store, settle):
        yield Fill(store, settle, variant)


def seen(*values: Any, start: int = NOON, step: int = MINUTE, **columns: Any) -> pl.DataFrame:
    """Observations of one attribute, a step apart. Numbers, booleans, texts as the sense engine lays them down."""
    rows = [
        {
            "at": start + i * step,
            "recorded_at": start + i * step + SECOND,
            "kind": "B" if isinstance(value, bool) else "P",
            "number": float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None,
            "text": str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else None,
        }
        for i, value in enumerate(values)
    ]
    same = {
        "tenant": "", "entity": CAR_PARK, "type": "OffStreetParking", "attribute": "availableSpotNumber",
        "extra": None, "unit": None, "marks": 0, "source": "api", "lane": LANE, "n": 0,
    }  # fmt: skip
    return pl.DataFrame([same | row | columns for row in rows], schema=HISTORY_SCHEMA)


def asking(*entities: str, **conditions: Any) -> HistoryQuery:
    return HistoryQuery(entities=entities or (CAR_PARK,), **conditions)


def numbers(frame: pl.DataFrame) -> list[float | None]:
    return frame["number"].to_list()


def test_rows_come_back_whole_and_in_order(fill: Fill) -> None:
    later = seen(7, 8, attribute="occupancy", unit="C62", marks=5, source="gate")
    odd = seen(
        "满", True, None, entity="urn:é'\"; --", type="https://example.org/types#车位", kind="G",
        extra='{"k":"G","v":{"type":"Point"}}', attribute="https://example.org/terms/location@urn:d:1",
    )  # fmt: skip
    read = fill(later, odd, seen(1, 2)).read(asking("urn:é'\"; --", CAR_PARK))
    expected = pl.concat([seen(1, 2), later, odd])
    assert read.schema == pl.Schema(HISTORY_SCHEMA)
    assert read.drop("n").equals(expected.drop("n"))
    assert read["n"].to_list() == [3, 3, 1, 1, 2, 2, 2]


def test_only_what_is_asked_for(fill: Fill) -> None:
    store = fill(seen(1, 2, 3), seen(4, tenant="other"), seen(5, entity="urn:z"), seen(6, attribute="totalSpotNumber"))
    assert numbers(store.read(asking(attributes=("availableSpotNumber",)))) == [1, 2, 3]
    assert numbers(store.read(asking(tenant="other"))) == [4]
    assert numbers(store.read(asking("urn:z", "urn:none"))) == [5]
    assert numbers(store.read(asking(attributes=("totalSpotNumber", "none")))) == [6]
    for nothing in (asking("urn:none"), asking(attributes=("none",)), asking(tenant="none"), HistoryQuery(entities=())):
        assert store.read(nothing).schema == pl.Schema(HISTORY_SCHEMA)
        assert store.read(nothing).is_empty()


def test_begin_is_in_and_end_is_out(fill: Fill) -> None:
    store = fill(seen(0, 1, 2), seen(3, 4, 5, start=NOON + 3 * MINUTE))
    assert numbers(store.read(asking(begin=NOON + MINUTE, end=NOON + 4 * MINUTE))) == [1, 2, 3]
    assert numbers(store.read(asking(begin=NOON + 4 * MINUTE))) == [4, 5]
    assert numbers(store.read(asking(end=NOON + MINUTE))) == [0]
    assert store.read(asking(begin=NOON + HOUR)).is_empty()


def test_time_may_be_that_of_recording(fill: Fill) -> None:
    late = seen(9, start=NOON - 24 * HOUR, recorded_at=NOON + 30 * MINUTE)
    store = fill(seen(1, 2), late)
    since = asking(begin=NOON + MINUTE, by="recorded_at")
    assert numbers(store.read(since)) == [9, 2]
    assert numbers(store.read(asking(by="recorded_at", last=1))) == [9]
    assert store.aggregate(since, Aggregation(("totalCount",), HOUR)).rows() == [
        (CAR_PARK, "availableSpotNumber", NOON + MINUTE, 2.0)
    ]


def test_the_last_ones_of_each_series(fill: Fill) -> None:
    store = fill(seen(1, 2, 3), seen(4, start=NOON + 3 * MINUTE), seen(5, 6, entity="urn:z"), seen(7, attribute="x"))
    assert numbers(store.read(asking(CAR_PARK, "urn:z", last=2))) == [3, 4, 7, 5, 6]
    assert numbers(store.read(asking(last=2, end=NOON + 3 * MINUTE))) == [2, 3, 7]
    assert numbers(store.read(asking(CAR_PARK, "urn:z", limit=2))) == [1, 2]


def test_an_exact_repeat_appears_once(fill: Fill) -> None:
    twice = pl.concat([seen(1, None, "a"), seen(True, start=NOON + HOUR)])
    store = fill(twice, twice, pl.concat([twice, twice]), twice)
    assert store.read(asking()).height == 4
    counted = store.aggregate(asking(), Aggregation(("totalCount", "sum")))
    assert counted.rows() == [(CAR_PARK, "availableSpotNumber", NOON, 4.0, 2.0)]


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "other"},
        {"attribute": "other"},
        {"at": NOON + 1},
        {"number": 1.5},
        {"number": None},
        {"kind": "J"},
        {"text": "1"},
        {"extra": "{}"},
    ],
)
def test_what_differs_is_no_repeat(fill: Fill, other: dict[str, Any]) -> None:
    store = fill(seen(1), seen(1, **other))
    rows = store.read(asking()).height + store.read(asking(tenant="other")).height
    assert rows == 2
    assert store.repeated(pl.concat([seen(1), seen(1, **other)])).to_list() == [True, True]
    assert store.repeated(seen(1, **{**other, "at": NOON + 2})).to_list() == [False]


def test_repeats_are_recognised(fill: Fill) -> None:
    store = fill(seen(1, 2, None, "a", True), seen(3, entity="urn:z"), seen(4, tenant="other"))
    asked = pl.concat([
        seen(1, 2.5, None, "a", True), seen(3, entity="urn:z"), seen(4), seen(1, start=NOON + HOUR),
        seen(1, start=NOON + HOUR), seen(1, entity="urn:none"),
    ])  # fmt: skip
    assert store.repeated(asked).to_list() == [True, False, True, True, True, True, False, False, True, False]
    assert store.repeated(asked.clear()).to_list() == []


def test_repeats_are_recognised_among_many(fill: Fill) -> None:
    frames = [
        pl.concat([seen(*range(i, i + 20), entity=f"urn:{e}", start=NOON + i * HOUR) for e in range(30)])
        for i in range(4)
    ]
    store = fill(*frames)
    every = pl.concat(frames)
    assert store.repeated(every).all()
    assert not store.repeated(every.with_columns(pl.col("at") + 1)).any()


def buckets(values: Sequence[tuple[int, float]], origin: int, period: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for at, value in values:
        found.setdefault(origin + (at - origin) // period * period if period else origin, []).append(value)
    return found


@pytest.mark.parametrize("period", [0, 7 * MINUTE, HOUR])
@pytest.mark.parametrize("begin", [None, NOON - 13 * MINUTE, NOON + 5 * MINUTE + 1])
def test_aggregates_are_those_of_the_rows(fill: Fill, begin: int | None, period: int) -> None:
    values = [(i * i * 7919 % 101) / 4 for i in range(120)]
    store = fill(*(seen(*values[i : i + 40], start=NOON + i * MINUTE) for i in (0, 40, 80)))
    found = store.aggregate(asking(begin=begin, end=NOON + 110 * MINUTE), Aggregation(ALL_METHODS, period))
    kept = [(NOON + i * MINUTE, v) for i, v in enumerate(values[:110]) if NOON + i * MINUTE >= (begin or 0)]
    expected = buckets(kept, NOON if begin is None else begin, period)
    assert found["bucket"].to_list() == sorted(expected)
    assert found.columns == ["entity", "attribute", "bucket", *ALL_METHODS]
    for row in found.iter_rows(named=True):
        of = expected[row["bucket"]]
        assert row["totalCount"] == len(of)
        assert row["distinctCount"] == len(set(of))
        assert (row["min"], row["max"]) == (min(of), max(of))
        for method, value in (
            ("sum", math.fsum(of)), ("avg", statistics.fmean(of)), ("stddev", statistics.pstdev(of)),
            ("sumsq", math.fsum(v * v for v in of)),
        ):  # fmt: skip
            assert row[method] == pytest.approx(value, abs=1e-9)


def test_aggregates_of_several_series(fill: Fill) -> None:
    store = fill(
        seen(1, 3, step=HOUR), seen(5, entity="urn:z", start=NOON + 90 * MINUTE), seen(7, attribute="x"),
        seen(9, tenant="other"),
    )  # fmt: skip
    hourly = Aggregation(("avg",), HOUR)
    assert store.aggregate(asking("urn:z", CAR_PARK), hourly).rows() == [
        (CAR_PARK, "availableSpotNumber", NOON, 1.0),
        (CAR_PARK, "availableSpotNumber", NOON + HOUR, 3.0),
        (CAR_PARK, "x", NOON, 7.0),
        ("urn:z", "availableSpotNumber", NOON + HOUR, 5.0),
    ]
    assert store.aggregate(asking("urn:z", CAR_PARK, last=1, attributes=("availableSpotNumber",)), hourly).rows() == [
        (CAR_PARK, "availableSpotNumber", NOON + HOUR, 3.0),
        ("urn:z", "availableSpotNumber", NOON + HOUR, 5.0),
    ]
    assert store.aggregate(asking("urn:z", CAR_PARK, limit=1), hourly).height == 1


@pytest.mark.parametrize("period", [0, HOUR])
def test_no_rows_make_no_buckets(fill: Fill, period: int) -> None:
    store = fill(seen(1, 2))
    for nothing in (asking("urn:none"), asking(begin=NOON + HOUR), asking(begin=NOON, attributes=("none",))):
        found = store.aggregate(nothing, Aggregation(("totalCount", "avg"), period))
        assert found.is_empty()
        assert found.dtypes == [pl.String, pl.String, pl.Int64, pl.Float64, pl.Float64]


def test_what_is_no_number_is_counted_only(fill: Fill) -> None:
    store = fill(seen("open", "shut", "open"), seen(True, False, True, attribute="b"), seen(None, 2.0, attribute="c"))
    found = store.aggregate(asking(), Aggregation(ALL_METHODS)).rows()
    assert found == [
        (CAR_PARK, "availableSpotNumber", NOON, 3.0, 2.0, None, None, None, None, None, None),
        (CAR_PARK, "b", NOON, 3.0, 2.0, 2.0, pytest.approx(2 / 3), 0.0, 1.0, pytest.approx(math.sqrt(2) / 3), 2.0),
        (CAR_PARK, "c", NOON, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0, 4.0),
    ]


def test_an_entity_is_forgotten_for_one_tenant(fill: Fill) -> None:
    store = fill(seen(1, 2), seen(3, entity="urn:z"), seen(4, tenant="other"), seen(5, start=NOON + HOUR))
    store.forget("", CAR_PARK)
    store.forget("", "urn:none")
    assert store.read(asking()).is_empty()
    assert not store.repeated(seen(1)).any()
    assert numbers(store.read(asking("urn:z"))) == [3]
    assert numbers(store.read(asking(tenant="other"))) == [4]
    fill(seen(6, start=NOON + 2 * HOUR))
    assert numbers(store.read(asking())) == [6]


def test_a_frame_of_another_shape_is_refused(fill: Fill) -> None:
    with pytest.raises(Exception, match="history frame"):
        fill.store.append(seen(1).drop("extra"))
