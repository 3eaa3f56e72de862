"""Administrative codes, geometry and districts."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.kernel.errors import InvalidInput
from hutong.kernel.place import (
    Districts,
    Level,
    Resolution,
    bounding_box,
    cell,
    check_geometry,
    covers,
    distance_m,
    gcj02_to_wgs84,
    is_null_island,
    level,
    parent,
    parse_code,
    point_of,
    prefix,
    wgs84_to_gcj02,
)

COUNTIES = st.builds(
    lambda p, c, d: f"{p}{c:02}{d:02}", st.sampled_from(["11", "33", "65"]), st.integers(1, 99), st.integers(0, 99)
)
CODES = st.one_of(
    st.sampled_from(["110000", "330000", "650000"]),
    COUNTIES,
    st.builds(lambda county, t: f"{county}{t:03}", COUNTIES, st.integers(1, 999)),
    st.builds(lambda county, t, v: f"{county}{t:03}{v:03}", COUNTIES, st.integers(1, 999), st.integers(1, 999)),
)


@pytest.mark.parametrize(
    ("text", "code", "found"),
    [
        ("330000", "330000", Level.PROVINCE),
        ("330100", "330100", Level.PREFECTURE),
        ("330106", "330106", Level.COUNTY),
        ("330106001", "330106001", Level.TOWNSHIP),
        ("330106001002", "330106001002", Level.VILLAGE),
        ("330106001000", "330106001", Level.TOWNSHIP),
        ("330106000000", "330106", Level.COUNTY),
        ("441900003", "441900003", Level.TOWNSHIP),  # Dongguan has no counties
        ("429004", "429004", Level.COUNTY),  # Xiantao, under the province
    ],
)
def test_codes_of_every_level(text: str, code: str, found: Level) -> None:
    assert (parse_code(text), level(code)) == (code, found)


@pytest.mark.parametrize(
    "text", ["", "33", "3301", "33010", "990000", "３３０１００", "33010a", "330006", "330106000005", "3301060012"]
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"rows\[3\].place: not an administrative code"):
        parse_code(text, "rows[3].place")


def test_an_area_covers_what_lies_within() -> None:
    assert covers("330100", "330106")
    assert covers("330000", "330100")
    assert covers("330106", "330106001")
    assert covers("330106001", "330106001002")
    assert not covers("330100", "330206")
    assert not covers("330106", "330100")
    assert covers("", "330106")
    assert not covers("330106", "")


@given(CODES)
def test_a_code_reads_as_itself_and_lies_in_all_above_it(code: str) -> None:
    assert parse_code(code) == parse_code(code.ljust(12, "0")) == code
    assert covers(code, code)
    assert covers("", code)
    above = parent(code)
    while above:
        assert level(above) == level(code) - 1 or level(above) < level(code)
        assert covers(above, code)
        assert not covers(code, above)
        above = parent(above)


@given(CODES, CODES, CODES)
def test_covering_is_transitive_and_has_no_two_ways(a: str, b: str, c: str) -> None:
    if covers(a, b) and covers(b, c):
        assert covers(a, c)
    if covers(a, b) and covers(b, a):
        assert a == b
    if not covers(a, b) and not covers(b, a):
        assert not (covers(a, c) and covers(b, c))


def test_every_published_code_is_one(shared: Callable[[str], Path]) -> None:
    folder = shared("data/admin_codes")
    for name in ("areas", "streets_33_36"):
        for row in csv.DictReader((folder / f"{name}.csv").read_text("utf-8").splitlines()):
            assert parse_code(row["code"]) == row["code"]
            assert prefix(row["provinceCode"] + "0000") == row["provinceCode"]
            assert covers(row.get("areaCode", row["cityCode"] + "00"), row["code"])


# --- geometry -----------------------------------------------------------------------------------------------------

SQUARE = [[120, 30], [121, 30], [121, 31], [120, 31], [120, 30]]


@pytest.mark.parametrize(
    ("geometry", "box"),
    [
        ({"type": "Point", "coordinates": [120.15, 30.28]}, (120.15, 30.28, 120.15, 30.28)),
        ({"type": "Point", "coordinates": [0, 0, 12]}, (0, 0, 0, 0)),
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, -4]]}, (1, -4, 3, 2)),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, (1, 2, 3, 4)),
        ({"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]], [[0, 9], [1, 1]]]}, (0, 1, 3, 9)),
        ({"type": "Polygon", "coordinates": [SQUARE]}, (120, 30, 121, 31)),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE]]}, (120, 30, 121, 31)),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [5, 6]}]},
            (5, 6, 5, 6),
        ),
    ],
)
def test_geometries_and_their_boxes(geometry: dict[str, Any], box: tuple[float, ...]) -> None:
    check_geometry(geometry)
    assert bounding_box(geometry) == box
    lon, lat = point_of(geometry)
    assert box[0] <= lon <= box[2]
    assert box[1] <= lat <= box[3]


@pytest.mark.parametrize(
    ("geometry", "says"),
    [
        ([1, 2], "location: not a GeoJSON geometry"),
        ({"type": "Circle", "coordinates": [1, 2]}, "location.type: no such type of geometry"),
        ({"type": "Point", "coordinates": [1]}, "location.coordinates: not a position"),
        ({"type": "Point", "coordinates": ["1", "2"]}, "location.coordinates: not a position"),
        ({"type": "Point", "coordinates": [True, 2]}, "location.coordinates: not a position"),
        ({"type": "Point"}, "location.coordinates: not a position"),
        ({"type": "Point", "coordinates": [float("nan"), 2]}, "location.coordinates: a position that is nowhere"),
        ({"type": "Point", "coordinates": [1, float("inf")]}, "location.coordinates: a position that is nowhere"),
        ({"type": "Point", "coordinates": [1, 2, float("nan")]}, "location.coordinates: a position that is nowhere"),
        ({"type": "Point", "coordinates": [10**400, 2]}, "location.coordinates: a position that is nowhere"),
        ({"type": "Point", "coordinates": [30.28, 120.15]}, "longitude comes first: swap the two"),
        ({"type": "LineString", "coordinates": [[1, 2]]}, "location.coordinates: too little"),
        ({"type": "Polygon", "coordinates": []}, "location.coordinates: too little"),
        ({"type": "Polygon", "coordinates": [SQUARE[:3]]}, r"location.coordinates\[0\]: too little"),
        ({"type": "Polygon", "coordinates": [SQUARE[:4]]}, r"location.coordinates\[0\]: a ring that is not closed"),
        (
            {"type": "MultiPolygon", "coordinates": [[[[1, 2, 3, 4]] * 4]]},
            r"coordinates\[0\]\[0\]\[0\]: not a position",
        ),
        ({"type": "GeometryCollection", "geometries": [{"type": "Point"}]}, r"geometries\[0\].coordinates"),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]},
            "a collection within a collection",
        ),
    ],
)
def test_faulty_geometries_are_told_where(geometry: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_geometry(geometry, "location")


def test_a_point_stands_on_its_shape_even_where_the_middle_does_not() -> None:
    horseshoe = [[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], [3, 9], [0, 9], [0, 0]]
    lon, lat = point_of({"type": "Polygon", "coordinates": [horseshoe]})
    assert not (3 < lon < 6 and lat > 3)
    crossing = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]
    assert all(0 <= value <= 1 for value in point_of({"type": "Polygon", "coordinates": [crossing]}))


def test_zero_zero_is_legal_and_suspicious() -> None:
    assert is_null_island(0, 0)
    assert is_null_island(-0.0, 1e-9)
    assert not is_null_island(0, 51.48)


def test_cells() -> None:
    assert cell(-122.418307270836, 37.7752702151959, Resolution.BLOCK) == "8928308280fffff"  # H3's own example
    assert cell(120.1501, 30.28, Resolution.COUNTY) == cell(120.15, 30.28, Resolution.COUNTY)
    assert cell(120.1501, 30.28, Resolution.BUILDING) != cell(120.15, 30.28, Resolution.BUILDING)


def test_distances() -> None:
    assert distance_m(0.0, 0.0, 1.0, 0.0) == pytest.approx(111_195.08, abs=0.01)
    assert distance_m(0.0, -90.0, 0.0, 90.0) == pytest.approx(np.pi * 6_371_008.8)
    assert type(distance_m(1.0, 2.0, 3.0, 4.0)) is float
    many = distance_m(np.array([0.0, 120.0]), np.zeros(2), np.array([1.0, 120.0]), np.zeros(2))
    assert many == pytest.approx([111_195.08, 0.0], abs=0.01)


# --- districts and GCJ-02 -----------------------------------------------------------------------------------------


def _feature(code: str, west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"properties": {"adcode": int(code)}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


DISTRICTS = Districts.from_geojson(
    [_feature("330100", 0, 0, 4, 4), _feature("330106", 1, 1, 2, 2), _feature("330105", 2, 1, 3, 2)]
)


def test_the_deepest_division_answers() -> None:
    assert DISTRICTS.at(1.5, 1.5) == "330106"
    assert DISTRICTS.at(0.5, 0.5) == "330100"
    assert DISTRICTS.at(9, 9) == ""
    assert DISTRICTS.at(2, 1.5) == "330105"  # on the border of two: always the same one


def test_many_positions_at_once_answer_as_one_by_one() -> None:
    lons, lats = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 5, 13), np.linspace(-1, 5, 13)))
    found = DISTRICTS.at_all(lons, lats)
    assert found.tolist() == [DISTRICTS.at(lon, lat) for lon, lat in zip(lons, lats, strict=True)]
    assert DISTRICTS.at_all(np.array([np.nan, 1.5]), np.array([1.5, 1.5])).tolist() == ["", "330106"]
    assert DISTRICTS.at_all(np.array([]), np.array([])).tolist() == []


def test_faulty_districts_are_told_where() -> None:
    with pytest.raises(InvalidInput, match=r"features\[1\].properties.adcode"):
        Districts.from_geojson([_feature("330106", 0, 0, 1, 1), _feature("12", 0, 0, 1, 1)])
    with pytest.raises(InvalidInput, match=r"features\[0\].geometry"):
        Districts.from_geojson([{"properties": {"adcode": "330106"}, "geometry": None}])


def test_districts_of_hangzhou(shared: Callable[[str], Path]) -> None:
    features = json.loads(shared("data/boundaries/330100.json").read_text("utf-8"))["features"]
    districts = Districts.from_geojson(features, datum="gcj02")
    for feature in features:
        lon, lat = gcj02_to_wgs84(*map(float, point_of(feature["geometry"])))
        assert districts.at(lon, lat) == str(feature["properties"]["adcode"])
    assert districts.at(121.47, 31.23) == ""  # Shanghai


def test_the_published_example_of_gcj02() -> None:
    assert wgs84_to_gcj02(121.5272106, 31.1774276) == pytest.approx((121.531541859215, 31.17530398364597), abs=1e-12)
    assert gcj02_to_wgs84(121.531541859215, 31.17530398364597) == pytest.approx((121.5272106, 31.1774276), abs=1e-12)


@given(st.floats(73, 137), st.floats(1, 55))
def test_gcj02_goes_there_and_back(lon: float, lat: float) -> None:
    back = gcj02_to_wgs84(*wgs84_to_gcj02(lon, lat))
    assert distance_m(lon, lat, *back) < 0.001


def test_outside_china_gcj02_changes_nothing() -> None:
    lons, lats = np.array([2.35, 116.4]), np.array([48.85, 39.9])
    shifted = wgs84_to_gcj02(lons, lats)
    assert (shifted[0][0], shifted[1][0]) == (2.35, 48.85)
    assert 100 < distance_m(116.4, 39.9, float(shifted[0][1]), float(shifted[1][1])) < 1_000
