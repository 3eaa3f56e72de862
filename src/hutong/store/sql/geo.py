"""Exact spatial conditions on entities that a bounding box let through."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import shapely
from shapely.geometry.base import BaseGeometry

from hutong.engines.sense.ports import Attribute, EntityRow, GeoFilter
from hutong.kernel.place import EARTH_RADIUS_M, distance_m

_DOC = msgspec.json.Decoder(dict[str, Attribute])

Box = tuple[float, float, float, float]


def reach(geo: GeoFilter) -> Box | None:
    """West, south, east, north of what can match; None when anything can (a least distance, or disjoint)."""
    if geo.relation == "disjoint" or (geo.relation == "near" and geo.distance_max is None):
        return None
    west, south, east, north = shapely.from_geojson(msgspec.json.encode(geo.geometry).decode()).bounds
    if geo.distance_max is None:
        return west, south, east, north
    degrees = math.degrees(geo.distance_max / EARTH_RADIUS_M)
    widest = max(math.cos(math.radians(min(89.0, max(abs(south), abs(north)) + degrees))), 0.01)
    return west - degrees / widest, south - degrees, east + degrees / widest, north + degrees


def matcher(geo: GeoFilter) -> Callable[[EntityRow], bool]:
    """A predicate on rows by their geometry; rows without one never match."""
    wanted = shapely.from_geojson(msgspec.json.encode(geo.geometry).decode())
    if geo.relation != "near":  # distances from prepared geometries break on lines without length
        shapely.prepare(wanted)
    relations: dict[str, Callable[[BaseGeometry], bool]] = {
        "within": lambda found: bool(found.within(wanted)),
        "contains": lambda found: bool(found.contains(wanted)),
        "intersects": lambda found: bool(found.intersects(wanted)),
        "equals": lambda found: bool(found.equals(wanted)),
        "disjoint": lambda found: bool(found.disjoint(wanted)),
        "overlaps": lambda found: bool(found.overlaps(wanted)),
        "near": lambda found: _within_distance(geo, wanted, found),
    }
    matches = relations[geo.relation]

    def admits(row: EntityRow) -> bool:
        geometry = _geometry(row, geo.attribute)
        return geometry is not None and matches(geometry)

    return admits


def _geometry(row: EntityRow, attribute: str) -> BaseGeometry | None:
    if (
        attribute == "location"
        and row.lon is not None
        and row.lat is not None
        and row.west == row.east
        and row.south == row.north
    ):
        return shapely.Point(row.lon, row.lat)
    found = _DOC.decode(row.doc).get(attribute)
    if found is None or found.kind != "G":
        return None
    value: Any = found.value
    return shapely.from_geojson(msgspec.json.encode(value).decode())


def _within_distance(geo: GeoFilter, wanted: BaseGeometry, found: BaseGeometry) -> bool:
    here, there = shapely.shortest_line(wanted, found).coords
    metres = float(distance_m(*here[:2], *there[:2]))
    return (geo.distance_max is None or metres <= geo.distance_max) and (
        geo.distance_min is None or metres >= geo.distance_min
    )
