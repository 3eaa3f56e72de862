"""GeoJSON geometries (RFC 7946) as NGSI-LD allows them (clause 4.7): all but GeometryCollection, WGS 84."""

from typing import Any

import msgspec

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.values import read_value

ALTITUDE_MAX_M = 100_000_000  # beyond the satellites that stand still

_DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
GEOMETRY_TYPES = tuple(_DEPTHS)


def is_geometry_like(value: Any) -> bool:
    """Whether a value means to be a geometry: then a concise attribute is a GeoProperty."""
    return type(value) is dict and value.get("type") in GEOMETRY_TYPES


def read_geometry(value: Any) -> dict[str, Any]:
    """A GeoJSON geometry, given as object or as text of one (clause 4.7.2).

    Raises InvalidInput with a path below the geometry where it is none: wrong nesting, open rings, impossible places.
    """
    if type(value) is str:
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            raise InvalidInput("no GeoJSON geometry", seen=value, allowed="an object, or JSON text of one") from None
    if type(value) is not dict:
        raise InvalidInput("no GeoJSON geometry", seen=value, allowed="an object with type and coordinates")
    kind = value.get("type")
    if kind not in GEOMETRY_TYPES:
        raise InvalidInput("no type of geometry", where="type", seen=kind, allowed=", ".join(_DEPTHS))
    try:
        _check(value.get("coordinates"), kind, _DEPTHS[kind])
    except HutongError as error:
        raise located(error, "coordinates") from None
    for member in value.keys() - ("type", "coordinates"):
        try:
            read_value(value[member], False)
        except HutongError as error:
            raise located(error, member) from None
    return value


def _check(coordinates: Any, kind: str, depth: int) -> None:
    if depth == 0:
        _check_position(coordinates)
        return
    if type(coordinates) is not list or not coordinates:
        raise InvalidInput("not an array of coordinates", seen=coordinates, allowed=f"what a {kind} has")
    for i, part in enumerate(coordinates):
        try:
            _check(part, kind, depth - 1)
        except HutongError as error:
            raise located(error, f"[{i}]") from None
    if depth == 1 and kind.endswith("LineString") and _places(coordinates) < 2:
        raise InvalidInput("a line needs two positions", seen=coordinates, allowed="two different positions or more")
    if depth == 1 and kind.endswith("Polygon"):
        if len(coordinates) < 4 or _places(coordinates) < 3:
            raise InvalidInput(
                "a ring needs four positions",
                seen=coordinates,
                allowed="three different positions or more, and the first",
            )
        if coordinates[0] != coordinates[-1]:
            raise InvalidInput(
                "a ring is not closed",
                seen=coordinates[-1],
                allowed="its first position again",
                fix="repeat the first position at the end",
            )


def _places(positions: list[Any]) -> int:
    """How many different places there are, three at most."""
    found: set[tuple[float, float]] = set()
    for position in positions:
        found.add((position[0], position[1]))
        if len(found) == 3:
            break
    return len(found)


def _check_position(position: Any) -> None:
    if type(position) is not list or not 2 <= len(position) <= 3:
        raise InvalidInput("not a position", seen=position, allowed="[longitude, latitude] or with altitude")
    for i, number in enumerate(position):
        if type(number) is not float and type(number) is not int:
            raise InvalidInput("not a number", where=f"[{i}]", seen=number)
    if not -180 <= position[0] <= 180:
        raise InvalidInput("no such longitude", where="[0]", seen=position[0], allowed="-180 to 180")
    if not -90 <= position[1] <= 90:
        raise InvalidInput(
            "no such latitude", where="[1]", seen=position[1], allowed="-90 to 90", fix="longitude comes first"
        )
    if len(position) == 3 and not -ALTITUDE_MAX_M <= position[2] <= ALTITUDE_MAX_M:
        raise InvalidInput("no such altitude", where="[2]", seen=position[2], allowed=f"up to {ALTITUDE_MAX_M} metres")
