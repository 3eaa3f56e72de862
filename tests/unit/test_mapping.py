"""Declared sources turn rows of text into changes, and say of each bad row what is wrong with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hutong.connectors.mapping import ROW, Mapped, Source
from hutong.connectors.tables import read_table
from hutong.engines.sense.ports import Change, Verb
from hutong.kernel.clock import instant
from hutong.kernel.errors import DeclarationFaults, InvalidInput
from tests.declared import declared, packaged, sources

ENTITIES = """
[entity.Gauge.property]
name = { type = "text" }
level = { type = "number", unit = "MTR" }
count = { type = "integer" }
valve = { type = "boolean" }
checked = { type = "datetime" }
river = { type = "relationship" }
bed = { type = "geometry" }
extra = { type = "json" }
location = { type = "point" }
share = { type = "number", derive = "level / 10" }
"""
SOURCE = """
[source.gauges]
connector = "file"
entity = "Gauge"
files = ["gauges-*.csv"]
"""


def source(rest: str) -> Source:
    return sources(declared(entities=ENTITIES, sources=SOURCE + rest))[0]


def mapped(rest: str, **columns: Sequence[str | None]) -> Mapped:
    """Rows numbered from 2, as in a CSV file, through a source with `id` and the keys given."""
    count = len(next(iter(columns.values())))
    ids = columns.pop("id", [f"g{n}" for n in range(count)])
    frame = pl.DataFrame({ROW: range(2, 2 + count), "id": ids, **columns}, schema_overrides={ROW: pl.Int64})
    return source('id = "urn:gauge:{id}"\n' + rest).map(frame.with_columns(pl.exclude(ROW).cast(pl.String)))


def values(change: Change) -> dict[str, Any]:
    return {key: attribute.value for key, attribute in change.attributes.items()}


def why(found: Mapped) -> list[tuple[int, str, str]]:
    return [(reject.row, reject.fault.where, reject.fault.what) for reject in found.rejects]


def faults(rest: str) -> dict[str, str]:
    """Code and place of what is wrong with a source."""
    with pytest.raises(DeclarationFaults) as raised:
        source(rest)
    return {fault.code: fault.where for fault in raised.value.faults}


def test_a_row_becomes_an_upsert_with_values_of_the_declared_types() -> None:
    found = mapped(
        'at = "t"\nset = { name = "n", level = "l", count = "c", valve = "v", river = "r", location = ["x", "y"] }',
        t=["2026-05-01T10:00:00+08:00"], n=["Old bridge"], l=["2.50"], c=["7.0"], v=["是"], r=["urn:river:1"],
        x=["120.1"], y=["30.2"],
    )  # fmt: skip
    [change] = found.changes()
    assert (change.verb, change.upsert, change.id, change.types) == (Verb.APPEND, True, "urn:gauge:g0", ("Gauge",))
    assert values(change) == {
        "name": "Old bridge",
        "level": 2.5,
        "count": 7,
        "valve": True,
        "river": "urn:river:1",
        "location": {"type": "Point", "coordinates": [120.1, 30.2]},
    }
    assert {key: one.kind for key, one in change.attributes.items()} == {
        "name": "P", "level": "P", "count": "P", "valve": "P", "river": "R", "location": "G"
    }  # fmt: skip
    assert {one.observed_at for one in change.attributes.values()} == {instant("2026-05-01T10:00:00+08:00")}
    assert isinstance(change.attributes["count"].value, int)


def test_what_is_missing_is_left_out_and_never_zero() -> None:
    found = mapped(
        'missing = ["NA"]\nset = { name = "n", level = "l", location = ["x", "y"] }',
        n=["a", None, " ", "d"], l=["", "NA", None, "1"], x=[None, "0", "", "120"], y=["", "0.0", None, "30"],
    )  # fmt: skip
    assert found.rejects == []
    assert [values(change) for change in found.changes()] == [
        {"name": "a"},
        {"name": "d", "level": 1.0, "location": {"type": "Point", "coordinates": [120.0, 30.0]}},
    ]
    assert found.rows == [2, 5]


@pytest.mark.parametrize(
    ("setting", "cells", "where", "what"),
    [
        ('set.level = "l"', {"l": "NaN"}, "l", "not a number"),
        ('set.level = "l"', {"l": "inf"}, "l", "not a number"),
        ('set.level = "l"', {"l": "1,5"}, "l", "not a number"),
        ('set.count = "l"', {"l": "2.5"}, "l", "not a whole number"),
        ('set.valve = "l"', {"l": "perhaps"}, "l", "neither true nor false"),
        ('set.river = "l"', {"l": "no uri"}, "l", "river is no URI"),
        ('set.checked = "l"', {"l": "yesterday"}, "l", "not a date-time"),
        ('set.checked = "l"', {"l": "2026-05-01 10:00"}, "l", "a date-time without offset names no instant"),
        ('set.bed = "l"', {"l": '{"type": "Point", "coordinates": [200, 1]}'}, "l", "no GeoJSON"),
        ('set.extra = "l"', {"l": "{"}, "l", "no JSON"),
        ('set.location = ["x", "y"]', {"x": "30.2", "y": "120.1"}, "location", "a position that is nowhere on Earth"),
        ('set.location = ["x", "y"]', {"x": "120.1", "y": ""}, "location", "half of a position is missing"),
        ('set.location = ["x", "y"]', {"x": "east", "y": "1"}, "x", "not a number"),
        ('set.name = "id"\nat = "t"', {"t": ""}, "t", "the time of observation is missing"),
        ('set.name = "id"\nat = "t"', {"t": "2026-13-01T00:00:00Z"}, "t", "not a date-time"),
        ('set.name = "id"\nat = "t"', {"t": "2026-05-01T00:00:00"}, "t", "a date-time without offset names no instant"),
        ('set.name = "l"', {"id": "", "l": "a"}, "id", "missing, and part of the id"),
    ],
)
def test_a_bad_row_is_told_with_its_column_and_its_neighbours_go_on(
    setting: str, cells: dict[str, str], where: str, what: str
) -> None:
    good = {"x": "120.1", "y": "30.2", "t": "2026-05-01T00:00:00Z", "id": "g"}
    columns = {key: [good.get(key, ""), cell] for key, cell in cells.items()}
    found = mapped(setting, **columns)
    assert why(found) == [(3, where, what)]
    assert 3 not in found.rows


def test_swapped_coordinates_are_told_how_to_mend() -> None:
    found = mapped('set.location = ["x", "y"]', x=["30.2"], y=["120.1"])
    assert found.rejects[0].fault.fix == "longitude comes first: swap the two"


@pytest.mark.parametrize(
    ("keys", "text", "meant"),
    [
        ("", "2026-05-01T02:00:00Z", "2026-05-01T02:00:00Z"),
        ("", "2026-05-01 10:00:00.5+0800", "2026-05-01T02:00:00.5Z"),
        ('zone = "Asia/Shanghai"', "2026-05-01 10:00", "2026-05-01T02:00:00Z"),
        ('zone = "Asia/Shanghai"', "2026-05-01T02:00:00Z", "2026-05-01T02:00:00Z"),
        ('zone = "Asia/Shanghai"', "2026-05-01", "2026-04-30T16:00:00Z"),
        ('zone = "Europe/Berlin"\nformat = "%d.%m.%Y %H:%M"', "21.12.2018 10:20", "2018-12-21T09:20:00Z"),
        ('format = "%s"', "1600000000", "2020-09-13T12:26:40Z"),
    ],
)
def test_times_are_read_with_their_offset_or_that_of_the_zone(keys: str, text: str, meant: str) -> None:
    [change] = mapped(f'{keys}\nat = "t"\nset.name = "id"', t=[text]).changes()
    assert change.attributes["name"].observed_at == instant(meant)


@pytest.mark.parametrize("text", ["2021-03-28 02:30", "2021-10-31 02:30"])
def test_a_local_time_that_was_skipped_or_came_twice_is_refused(text: str) -> None:
    found = mapped('zone = "Europe/Berlin"\nat = "t"\nset.name = "id"', t=[text])
    assert why(found) == [(2, "t", "clocks were changed then: this time names no instant, or two")]


def test_expressions_compute_filter_and_compose_times() -> None:
    found = mapped(
        """
        at = "d || ' ' || \\"clock time\\""
        zone = "UTC"
        where = "state <> 'off'"
        set = { count = "cast(a as integer) - cast(b as integer)", name = "trim(n) || '!'" }
        """,
        **{"clock time": ["10:00", "11:00", "12:00"]}, d=["2026-05-01"] * 3, state=["on", "off", None],
        a=["5", "5", "5"], b=["2", "2", "2"], n=["x", "y", "z"],
    )  # fmt: skip
    [change] = found.changes()
    assert values(change) == {"count": 3, "name": "x!"}
    assert change.attributes["count"].observed_at == instant("2026-05-01T10:00:00Z")


def test_units_stand_with_the_values_fixed_or_from_a_column() -> None:
    fixed = mapped('set.level = "l"\nunit.level = "CMT"', l=["250"])
    assert fixed.changes()[0].attributes["level"].unit == "CMT"
    told = mapped('set.level = "l"\nunit.level = "{u}"', l=["2", "3"], u=["CMT", ""])
    assert [change.attributes["level"].unit for change in told.changes()] == ["CMT", None]


def test_points_in_gcj02_are_moved_to_wgs84() -> None:
    [change, nowhere] = mapped(
        'datum = "gcj02"\nset = { name = "id", location = ["x", "y"] }', x=["120.15", ""], y=["30.25", ""]
    ).changes()
    lon, lat = change.attributes["location"].value["coordinates"]
    assert (lon, lat) == (pytest.approx(120.1453, abs=1e-3), pytest.approx(30.2524, abs=1e-3))
    assert "location" not in nowhere.attributes


def test_ids_are_uris_whatever_stands_in_the_columns() -> None:
    changes = mapped('set.name = "id"', id=["a b", "桥/1"]).changes()
    assert [change.id for change in changes] == ["urn:gauge:a%20b", "urn:gauge:桥/1"]


@pytest.mark.parametrize(
    ("rest", "code", "line"),
    [
        ('id = "urn:g:{a}"\nset = { level = "fre(" }', "expression-syntax", 7),
        ('id = "urn:g:{a}"\nset = { level = "a || b" }', "expression-type", 7),
        ('id = "urn:g:{a}"\nwhere = "a"\nset = { level = "a" }', "expression-type", 7),
        ('id = "urn:g:{a}"\nset = { location = "a" }', "wrong-type", 7),
        ('id = "urn:g:{a}"\nset = { level = ["a", "b"] }', "wrong-type", 7),
        ('id = "urn:g:{a}"\nset = { level = "a" }\nunit = { level = "CEL" }', "invalid-input", 8),
        ('id = "urn:g:{a}"\nset = { level = "a" }\nunit = { count = "C62" }', "unknown-property", 8),
        ('id = "urn:g:one"\nset = { level = "a" }', "no-template", 6),
        ('id = "gauge {a}"\nset = { level = "a" }', "id-is-no-uri", 6),
        ('set = { level = "a" }', "missing-key", 2),
        ('id = "urn:g:{a}"', "missing-key", 2),
    ],
)
def test_a_faulty_declaration_is_told_at_its_line(rest: str, code: str, line: int) -> None:
    assert faults(rest) == {code: f"test/sources.toml:{line}"}


def test_a_zone_must_exist_and_an_http_source_has_no_columns() -> None:
    assert faults('id = "urn:g:{a}"\nzone = "Europe/Nowhere"\nset = { level = "a" }') == {
        "unknown-timezone": "test/sources.toml:7"
    }
    with pytest.raises(DeclarationFaults) as raised:
        sources(declared(entities=ENTITIES, sources='[source.x]\nconnector = "http"\nentity = "Gauge"\nat = "t"'))
    assert [fault.where for fault in raised.value.faults] == ["test/sources.toml:4"]


def test_a_file_without_a_column_that_is_read_is_told_which() -> None:
    with pytest.raises(InvalidInput) as raised:
        source('id = "urn:g:{gauge}"\nset = { level = "level" }').check_columns(["gauge", "levle"])
    assert raised.value.fault.fix == "did you mean `levle`?"


def test_names_of_files_match_patterns_with_gzip_or_without() -> None:
    one = source('id = "urn:g:{a}"\nset = { level = "a" }')
    assert one.matches("gauges-2026.csv")
    assert one.matches("gauges-2026.csv.gz")
    assert not one.matches("gauges.csv")


def test_the_parking_recording_maps_whole(shared: Callable[[str], Path]) -> None:
    places, free = (one for one in sources(packaged()) if one.name.startswith("smart_parking."))
    [*tables] = (chunk.frame for chunk in read_table(shared("data/parking_germany/places.csv")))
    parks = [change for table in tables for change in places.map(table).changes()]
    assert len(parks) == 71
    assert sum("location" not in change.attributes for change in parks) == 47
    assert all(change.attributes["totalSpotNumber"].value > 0 for change in parks)
    rows, known = 0, {change.id for change in parks}
    for chunk in read_table(shared("data/parking_germany/free_places.csv.gz"), rows=50_000):
        found = free.map(chunk.frame)
        assert (found.rejects, chunk.rejects) == ([], [])
        assert {change.id for change in found.changes()} <= known
        rows += found.frame.height
    assert rows == 442_158
