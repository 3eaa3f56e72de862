"""Where things are: administrative codes from province to village, and geometry in WGS 84 as GeoJSON has it.

Codes: six digits to county (GB/T 2260), nine to township (GB/T 10114), twelve to village (statistical division
codes). Positions are (longitude, latitude) in degrees, distances are metres on the mean sphere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Literal, TypeVar

import h3
import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from hutong.kernel.errors import InvalidInput

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG

Floats = NDArray[np.float64]
Degrees = TypeVar("Degrees", float, Floats)
Box = tuple[float, float, float, float]


# --- administrative codes -----------------------------------------------------------------------------------------


class Level(IntEnum):
    """Levels of administrative division; a deeper one is greater."""

    PROVINCE = 1
    PREFECTURE = 2
    COUNTY = 3
    TOWNSHIP = 4
    VILLAGE = 5


_PROVINCE = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12]")
_DIGITS = {Level.PROVINCE: 2, Level.PREFECTURE: 4, Level.COUNTY: 6, Level.TOWNSHIP: 9, Level.VILLAGE: 12}


def parse_code(text: str, where: str = "") -> str:
    """The code in its shortest usual length: `330106000000` is `330106`, `330106001000` is `330106001`.

    Raises InvalidInput for what is no code. Whether a division of that code exists only the city's list can tell.
    """
    plain = text.isascii() and text.isdigit() and len(text) in (6, 9, 12)
    code = text
    while plain and len(code) > 6 and code.endswith("000"):
        code = code[:-3]
    orphan = code[2:4] == "00" != code[4:6] or code[6:9] == "000"
    if not plain or orphan or not _PROVINCE.match(code):
        raise InvalidInput(
            "not an administrative code",
            where=where,
            seen=text,
            allowed="6 digits to county, 9 to township or 12 to village, in a province of China",
            fix="write it as 330106, 330106001 or 330106001002",
        )
    return code


def level(code: str) -> Level:
    """The level of a code that `parse_code` has given."""
    if len(code) > 6:
        return Level.TOWNSHIP if len(code) == 9 else Level.VILLAGE
    return Level.COUNTY if code[4:] != "00" else Level.PREFECTURE if code[2:] != "0000" else Level.PROVINCE


def prefix(code: str) -> str:
    """What the codes of everything within begin with: `3301` for 330100; "" for the whole."""
    return code[: _DIGITS[level(code)]] if code else ""


def parent(code: str) -> str:
    """The code one level up; "" above a province."""
    up = level(code) - 1
    return code[: _DIGITS[Level(up)]].ljust(6, "0") if up else ""


def covers(area: str, code: str) -> bool:
    """Whether a place lies within an area or is it. The empty area is the whole, and only it covers the empty code."""
    return code.startswith(prefix(area))


# --- geometry -----------------------------------------------------------------------------------------------------


class Resolution(IntEnum):
    """H3 resolutions by what one cell is about as large as."""

    COUNTY = 5  # 250 km²
    TOWNSHIP = 7  # 5 km²
    NEIGHBOURHOOD = 8  # 0.7 km²
    BLOCK = 9  # 0.1 km²
    BUILDING = 11  # 2,000 m²


_DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_GEOMETRIES = ", ".join((*_DEPTHS, "GeometryCollection"))


def check_geometry(geometry: Any, where: str = "geometry") -> None:
    """See that a decoded JSON value is a GeoJSON geometry (RFC 7946) in WGS 84.

    Raises InvalidInput that names the JSON path of the first fault.
    """
    if not isinstance(geometry, Mapping) or not isinstance(geometry.get("type"), str):
        raise InvalidInput(
            "not a GeoJSON geometry",
            where=where,
            seen=geometry,
            allowed="an object with type and coordinates",
            fix='write it as {"type": "Point", "coordinates": [120.15, 30.28]}',
        )
    kind = geometry["type"]
    if kind in _DEPTHS:
        _check_coordinates(kind, geometry.get("coordinates"), _DEPTHS[kind], f"{where}.coordinates")
    elif kind == "GeometryCollection":
        for i, member in enumerate(_list(geometry.get("geometries"), f"{where}.geometries", 1)):
            if isinstance(member, Mapping) and member.get("type") == kind:
                raise InvalidInput(
                    "a collection within a collection", where=f"{where}.geometries[{i}]", fix="join them"
                )
            check_geometry(member, f"{where}.geometries[{i}]")
    else:
        raise InvalidInput("no such type of geometry", where=f"{where}.type", seen=kind, allowed=_GEOMETRIES)


def _check_coordinates(kind: str, value: Any, depth: int, where: str) -> None:
    if depth == 0:
        _check_position(value, where)
        return
    ring, line = depth == 1 and kind.endswith("Polygon"), depth == 1 and kind.endswith("LineString")
    members = _list(value, where, 4 if ring else 2 if line else 1)
    for i, member in enumerate(members):
        _check_coordinates(kind, member, depth - 1, f"{where}[{i}]")
    if ring and members[0] != members[-1]:
        raise InvalidInput(
            "a ring that is not closed",
            where=where,
            seen=[members[0], members[-1]],
            allowed="a last position equal to the first",
            fix="repeat the first position at the end",
        )


def _check_position(value: Any, where: str) -> None:
    if not isinstance(value, list | tuple) or len(value) not in (2, 3) or not {*map(type, value)} <= {int, float}:
        allowed = "[longitude, latitude] as numbers, and an altitude if there is one"
        raise InvalidInput("not a position", where=where, seen=value, allowed=allowed)
    lon, lat = value[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90 and -1e9 < value[-1] < 1e9):  # no NaN passes a comparison
        swapped = 90 < abs(lat) <= 180 and abs(lon) <= 90
        raise InvalidInput(
            "a position that is nowhere on Earth",
            where=where,
            seen=value,
            allowed="longitude -180 to 180, latitude -90 to 90",
            fix="longitude comes first: swap the two" if swapped else "send WGS 84 degrees",
        )


def _list(value: Any, where: str, least: int) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) < least:
        raise InvalidInput(
            "too little for this geometry", where=where, seen=value, allowed=f"an array of {least} members or more"
        )
    return value


def is_null_island(lon: float, lat: float) -> bool:
    """Whether a position is 0, 0: legal, and nearly always a device that does not know where it is."""
    return abs(lon) < 1e-6 and abs(lat) < 1e-6


def positions(geometry: Mapping[str, Any]) -> Iterator[Sequence[float]]:
    """Every position of a geometry that `check_geometry` has passed."""
    if geometry["type"] == "GeometryCollection":
        for member in geometry["geometries"]:
            yield from positions(member)
        return
    layer = [geometry["coordinates"]]
    for _ in range(_DEPTHS[geometry["type"]]):
        layer = [member for part in layer for member in part]
    yield from layer


def bounding_box(geometry: Mapping[str, Any]) -> Box:
    """West, south, east, north of a geometry that `check_geometry` has passed."""
    lons, lats, *_ = zip(*(position[:2] for position in positions(geometry)), strict=True)
    return min(lons), min(lats), max(lons), max(lats)


def point_of(geometry: Mapping[str, Any]) -> tuple[float, float]:
    """One position that stands for the geometry and lies on it: where a map puts its mark."""
    if geometry["type"] == "Point":
        return geometry["coordinates"][0], geometry["coordinates"][1]
    point = _shape(geometry).point_on_surface()
    return point.x, point.y


def cell(lon: float, lat: float, resolution: Resolution) -> str:
    """The H3 cell in which a position lies."""
    return str(h3.latlng_to_cell(lat, lon, resolution))


def distance_m(lon1: Degrees, lat1: Degrees, lon2: Degrees, lat2: Degrees) -> Degrees:
    """Great-circle distance in metres (haversine); numbers or arrays."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half = (
        np.sin((phi2 - phi1) / 2) ** 2
        + np.cos(phi1) * np.cos(phi2) * np.sin((np.radians(lon2) - np.radians(lon1)) / 2) ** 2
    )
    metres: Degrees = _like(lon1, 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(1.0, np.sqrt(half))))
    return metres


def _like(given: Any, result: Any) -> Any:
    """A plain float where a float was given, since numpy's own cannot be sent as JSON."""
    return result if isinstance(given, np.ndarray) else float(result)


def _shape(geometry: Mapping[str, Any]) -> Any:
    return shapely.from_geojson(msgspec.json.encode(geometry).decode())


# --- districts ----------------------------------------------------------------------------------------------------


class Districts:
    """Answers in which division a position lies; of several that hold it, the deepest."""

    def __init__(self, shapes: Mapping[str, Any]) -> None:
        ordered = sorted(shapes, key=lambda code: (-level(code), code))
        self._codes = np.array([*ordered, ""], dtype=object)
        self._shapes = np.array([shapes[code] for code in ordered], dtype=object)
        shapely.prepare(self._shapes)
        self._tree = shapely.STRtree(self._shapes)

    @classmethod
    def from_geojson(
        cls, features: Iterable[Mapping[str, Any]], *, key: str = "adcode", datum: Literal["wgs84", "gcj02"] = "wgs84"
    ) -> "Districts":
        """Districts from GeoJSON features whose property `key` is their code; in GCJ-02 where that is declared."""
        shapes = {}
        for i, feature in enumerate(features):
            code = parse_code(str(feature.get("properties", {}).get(key, "")), f"features[{i}].properties.{key}")
            check_geometry(feature.get("geometry"), f"features[{i}].geometry")
            shape = _shape(feature["geometry"])
            shapes[code] = (
                shape
                if datum == "wgs84"
                else shapely.transform(shape, lambda xy: np.column_stack(gcj02_to_wgs84(xy[:, 0], xy[:, 1])))
            )
        return cls(shapes)

    def at(self, lon: float, lat: float) -> str:
        """The code of the division that holds a position; "" outside all."""
        return str(self.at_all(np.array([lon]), np.array([lat]))[0])

    def at_all(self, lons: Floats, lats: Floats) -> NDArray[np.object_]:
        """The same for arrays; "" also where a coordinate is missing (NaN)."""
        best = np.full(len(lons), len(self._shapes))
        known = np.flatnonzero(np.isfinite(lons) & np.isfinite(lats))
        which, shape = self._tree.query(shapely.points(lons[known], lats[known]))
        which = known[which]
        inside = shapely.intersects_xy(self._shapes[shape], lons[which], lats[which])
        np.minimum.at(best, which[inside], shape[inside])
        found: NDArray[np.object_] = self._codes[best]
        return found


# --- GCJ-02 -------------------------------------------------------------------------------------------------------

_KRASOVSKY_A, _KRASOVSKY_E2 = 6378245.0, 0.00669342162296594323


def wgs84_to_gcj02(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """A WGS 84 position as maps published in mainland China show it; unchanged outside a box around China."""
    east, north = _gcj02_shift(lon, lat)
    shifted = _in_china(lon, lat)
    return _like(lon, lon + east * shifted), _like(lat, lat + north * shifted)


def gcj02_to_wgs84(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """The WGS 84 position of one in GCJ-02, to well under a millimetre of what the published shift gives."""
    shifted = _in_china(lon, lat)
    true_lon: Any = lon
    true_lat: Any = lat
    for _ in range(8):  # the shift changes by less than 1 % over its own length: each turn gains two digits
        east, north = _gcj02_shift(true_lon, true_lat)
        true_lon, true_lat = lon - east * shifted, lat - north * shifted
    return _like(lon, true_lon), _like(lat, true_lat)


def _in_china(lon: Any, lat: Any) -> Any:
    return (lon >= 72.004) & (lon <= 137.8347) & (lat >= 0.8293) & (lat <= 55.8271)


def _gcj02_shift(lon: Any, lat: Any) -> tuple[Any, Any]:
    """Degrees east and north by which GCJ-02 departs from WGS 84, as reverse-engineered and published in 2010."""
    x, y = lon - 105.0, lat - 35.0
    root, short = np.sqrt(np.abs(x)), 20 * np.sin(6 * x * np.pi) + 20 * np.sin(2 * x * np.pi)
    north = (
        -100
        + 2 * x
        + 3 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + (
            short
            + 20 * np.sin(y * np.pi)
            + 40 * np.sin(y / 3 * np.pi)
            + 160 * np.sin(y / 12 * np.pi)
            + 320 * np.sin(y / 30 * np.pi)
        )
        * 2
        / 3
    )
    east = (
        300
        + x
        + 2 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + (
            short
            + 20 * np.sin(x * np.pi)
            + 40 * np.sin(x / 3 * np.pi)
            + 150 * np.sin(x / 12 * np.pi)
            + 300 * np.sin(x / 30 * np.pi)
        )
        * 2
        / 3
    )
    phi = np.radians(lat)
    bent = 1 - _KRASOVSKY_E2 * np.sin(phi) ** 2
    return (
        np.degrees(east * np.sqrt(bent) / (_KRASOVSKY_A * np.cos(phi))),
        np.degrees(north * bent * np.sqrt(bent) / (_KRASOVSKY_A * (1 - _KRASOVSKY_E2))),
    )
