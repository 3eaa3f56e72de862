"""GeoJSON geometries (RFC 7946) as NGSI-LD allows them (clause 4.7): all but GeometryCollection, WGS 84."""

from typing import Any

import msgspec

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import located

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
        except msgspec.DecodeError:
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
    if depth == 1 and kind.endswith("LineString") and len(coordinates) < 2:
        raise InvalidInput("a line needs two positions", seen=coordinates, allowed="two positions or more")
    if depth == 1 and kind.endswith("Polygon"):
        if len(coordinates) < 4:
            raise InvalidInput("a ring needs four positions", seen=coordinates, allowed="four positions or more")
        if coordinates[0] != coordinates[-1]:
            raise InvalidInput(
                "a ring is not closed",
                seen=coordinates[-1],
                allowed="its first position again",
                fix="repeat the first position at the end",
            )


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
