"""The environment pack on real recordings: counts, indices beside a plain reference, and beside what was published."""

import gzip
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pytest

from hutong.connectors.replay import Recording
from hutong.engines.sense.compile import compile_types
from hutong.engines.sense.overlay import Overlay
from hutong.kernel.clock import instant
from hutong.kernel.packs.faults import Faults
from tests.declared import packaged, sources

Shared: TypeAlias = Callable[[str], Path]
INDEX = (0, 50, 100, 150, 200, 300, 400, 500)
HOURLY = {  # HJ 633-2012, table 1, as a reader of the standard writes it down
    "pm25": (0, 35, 75, 115, 150, 250, 350, 500),
    "pm10": (0, 50, 150, 250, 350, 420, 500, 600),
    "so2": (0, 150, 500, 650, 800),
    "no2": (0, 100, 200, 700, 1200, 2340, 3090, 3840),
    "co": (0, 5, 10, 35, 60, 90, 120, 150),
    "o3": (0, 160, 200, 300, 400, 800, 1000, 1200),
}
SINCE_2026 = {**HOURLY, "pm25": (0, 35, 60, 115, 150, 250, 350, 500), "pm10": (0, 50, 120, 250, 350, 420, 500, 600)}
NAMES = {"pm25": "PM2.5", "pm10": "PM10", "so2": "SO2", "no2": "NO2", "co": "CO", "o3": "O3"}


@pytest.fixture(scope="module")
def overlays() -> Mapping[str, Overlay]:
    return compile_types(packaged(), Faults())


def evaluated(overlay: Overlay, at: Sequence[int], values: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """What the pack derives of observations."""
    nothing = [None] * len(at)
    rows: dict[str, Sequence[Any]] = {key: values.get(key, nothing) for key in overlay.columns}
    rows |= dict.fromkeys(overlay.times, at)
    rows |= {f"{key}__{kind}": nothing for key in overlay.previous for kind in ("previous", "elapsed_s")}
    return overlay.frame(rows)


def sub_index(points: Sequence[float], value: float | None, beyond: int | None) -> int | None:
    """Table, value, what lies above the table: the index in exact tenths, carried up."""
    if value is None or value < 0:
        return None
    for low, high, below, above in zip(points, points[1:], INDEX, INDEX[1:], strict=False):
        if value <= high:
            thousandths = round(value * 1000) - round(low * 1000)
            return below + math.ceil((above - below) * thousandths / round((high - low) * 1000))
    return beyond


def reference(
    row: Mapping[str, float | None], tables: Mapping[str, Sequence[float]], so2: int | None
) -> tuple[int | None, str | None]:
    found = {key: sub_index(tables[key], row[key], so2 if key == "so2" else 500) for key in tables}
    known = {key: value for key, value in found.items() if value is not None}
    index = max(known.values(), default=None)
    if index is None or index <= 50:
        return index, None if index is None else "—"
    return index, ",".join(NAMES[key] for key in tables if known.get(key) == index)


@pytest.mark.parametrize(
    ("day", "tables", "so2"),
    [
        ("2016-05-01T00:00:00Z", HOURLY, None),
        ("2026-02-28T15:59:59Z", HOURLY, None),
        ("2026-02-28T16:00:00Z", SINCE_2026, 200),
    ],
)
def test_the_index_of_the_hour_is_that_of_the_table_of_the_day(
    overlays: Mapping[str, Overlay], day: str, tables: Mapping[str, Sequence[float]], so2: int | None
) -> None:
    edges = sorted({value + step for points in tables.values() for value in points for step in (-0.4, 0, 0.4, 1)})
    rows = [{key: edge if key == one else None for key in tables} for one in tables for edge in edges if edge >= 0]
    at = [instant(day)] * len(rows)
    frame = evaluated(overlays["AirQualityObserved"], at, {key: [row[key] for row in rows] for key in tables})
    wanted = [reference(row, tables, so2) for row in rows]
    assert list(zip(frame["airQualityIndex"], frame["primaryPollutant"], strict=True)) == wanted


def test_beijing_hour_by_hour(overlays: Mapping[str, Overlay], shared: Shared) -> None:
    folder = shared("data/air_beijing_prsa")
    (source,) = [one for one in sources(packaged()) if one.name == "air_quality.beijing"]
    recording = Recording(folder, [source])
    assert (recording.rows, len(recording.files), recording.rejects) == (420_768, 12, [])
    assert recording.span == (instant("2013-03-01T00:00:00+08:00"), instant("2017-02-28T23:00:00+08:00"))

    begin, end = instant("2016-12-01T00:00:00+08:00"), instant("2017-02-01T00:00:00+08:00")
    winter = Recording(folder, [source], begin, end)
    at: list[int] = []
    rows: list[Mapping[str, float | None]] = []
    for moment, _, change in winter.play():
        values = {key: change.attributes.get(key) for key in HOURLY}
        assert all(one is None or one.unit == "GQ" for one in values.values())  # CO too, as the source declares
        assert moment is not None
        at.append(moment)
        rows.append(
            {key: None if one is None else one.value / (1000 if key == "co" else 1) for key, one in values.items()}
        )
    assert len(rows) == 12 * 62 * 24
    frame = evaluated(overlays["AirQualityObserved"], at, {key: [row[key] for row in rows] for key in HOURLY})
    wanted = [reference(row, HOURLY, None) for row in rows]
    assert list(zip(frame["airQualityIndex"], frame["primaryPollutant"], strict=True)) == wanted
    levels = Counter(frame["airQualityLevel"])
    assert levels["severe"] > 500 and levels["excellent"] > 2_000


def test_the_national_snapshot_agrees_with_what_was_published(overlays: Mapping[str, Overlay], shared: Shared) -> None:
    """All 1,475 published indices, once ozone is read from the field that holds it: with the other one 1,285."""
    folder = shared("data/air_china_snapshot")
    with gzip.open(folder / "airnow_20180220T07.geojson.gz") as file:
        stations = [feature["properties"] for feature in json.load(file)["features"]]
    assert len(stations) == 1_495

    def column(key: str) -> list[float | None]:
        return [float(one[key]) if one[key].replace(".", "").isdecimal() else None for one in stations]

    at = [instant("2018-02-20T07:00:00+08:00")] * len(stations)
    values = {key: column({"pm25": "pm2_5", "o3": "o3_24h"}.get(key, key)) for key in HOURLY}
    published = column("aqi")
    same = {}
    for field in ("o3_24h", "o3"):
        own = evaluated(overlays["AirQualityObserved"], at, {**values, "o3": column(field)})["airQualityIndex"]
        same[field] = sum(a == b for a, b in zip(own, published, strict=True) if b is not None)
    assert sum(one is not None for one in published) == 1_475
    assert same == {"o3_24h": 1_475, "o3": 1_285}


def test_the_five_cities_of_the_snapshot_are_mapped(shared: Shared) -> None:
    folder = shared("data/air_china_snapshot")
    (source,) = [one for one in sources(packaged()) if one.name == "air_quality.national"]
    changes = [change for _, _, change in Recording(folder, [source]).play()]
    areas = Counter(change.attributes["areaServed"].value for change in changes)
    assert areas == {"杭州市": 11, "宁波市": 8, "嘉兴市": 3, "绍兴市": 3, "宜春市": 5}
    assert all("location" in change.attributes and "pm25" in change.attributes for change in changes)


def test_estonian_waters_get_classes(overlays: Mapping[str, Overlay], shared: Shared) -> None:
    folder = shared("data/water_estonia")
    (source,) = [one for one in sources(packaged()) if one.name == "air_quality.estonia"]
    recording = Recording(folder, [source])
    assert (recording.rows, recording.rejects) == (254, [])
    changes = [(at or 0, change.attributes) for at, _, change in recording.play()]
    values = {
        key: [one[key].value if key in one else None for _, one in changes]
        for key in overlays["WaterQualityObserved"].columns
    }
    frame = evaluated(overlays["WaterQualityObserved"], [at for at, _ in changes], values)
    classes = Counter(frame["waterClass"])
    judged = sum(count for one, count in classes.items() if one is not None)
    assert 0 < judged < 254  # microbes alone make no class
    assert set(classes) <= {None, 1, 2, 3, 4, 5, 6}
    ammonia = [(a, c) for a, c in zip(values["ammoniaNitrogen"], frame["ammoniaClass"], strict=True) if a is not None]
    limits = (0.15, 0.5, 1.0, 1.5, 2.0)
    assert [c for _, c in ammonia] == [1 + sum(a > limit for limit in limits) for a, _ in ammonia]
