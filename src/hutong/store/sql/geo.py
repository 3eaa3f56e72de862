"""Exact spatial conditions on entities that a bounding box let through."""

import math
from collections.abc import Callable

import msgspec
import shapely
from shapely.geometry.base import BaseGeometry

from hutong.engines.sense.geometry import admits, geometry, geometry_in
from hutong.engines.sense.ports import Attribute, EntityRow, GeoFilter
from hutong.kernel.place import EARTH_RADIUS_M

_DOC = msgspec.json.Decoder(dict[str, Attribute])

Box = tuple[float, float, float, float]


def reach(geo: GeoFilter) -> Box | None:
    """West, south, east, north of what can match; None when anything can (a least distance, or disjoint)."""
    if geo.relation == "disjoint" or (geo.relation == "near" and geo.distance_max is None):
        return None
    west, south, east, north = geometry(geo.geometry).bounds
    if geo.distance_max is None:
        return west, south, east, north
    degrees = math.degrees(geo.distance_max / EARTH_RADIUS_M)
    widest = max(math.cos(math.radians(min(89.0, max(abs(south), abs(north)) + degrees))), 0.01)
    return west - degrees / widest, south - degrees, east + degrees / widest, north + degrees


def matcher(geo: GeoFilter) -> Callable[[EntityRow], bool]:
    """A predicate on rows by their geometry; rows without one never match."""
    matches = admits(geo)

    def admitted(row: EntityRow) -> bool:
        found = _geometry(row, geo.attribute)
        return found is not None and matches(found)

    return admitted


def _geometry(row: EntityRow, attribute: str) -> BaseGeometry | None:
    if (
        attribute == "location"
        and row.lon is not None
        and row.lat is not None
        and row.west == row.east
        and row.south == row.north
    ):
        return shapely.Point(row.lon, row.lat)
    return geometry_in(_DOC.decode(row.doc), attribute)
