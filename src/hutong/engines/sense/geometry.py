"""Exact spatial conditions on geometries: one meaning for what the stores find and what subscriptions match."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
import shapely
from shapely.geometry.base import BaseGeometry

from hutong.engines.sense.ports import Attribute, GeoFilter
from hutong.kernel.place import distance_m

Admits: TypeAlias = Callable[[BaseGeometry], bool]


def admits(geo: GeoFilter) -> Admits:
    """A predicate on geometries."""
    wanted = geometry(geo.geometry)
    if geo.relation != "near":  # distances from prepared geometries break on lines without length
        shapely.prepare(wanted)
    relations: dict[str, Admits] = {
        "within": lambda found: bool(found.within(wanted)),
        "contains": lambda found: bool(found.contains(wanted)),
        "intersects": lambda found: bool(found.intersects(wanted)),
        "equals": lambda found: bool(found.equals(wanted)),
        "disjoint": lambda found: bool(found.disjoint(wanted)),
        "overlaps": lambda found: bool(found.overlaps(wanted)),
        "near": lambda found: _within_distance(geo, wanted, found),
    }
    return relations[geo.relation]


def geometry(geojson: Any) -> BaseGeometry:
    """A GeoJSON geometry as shapely has it."""
    return shapely.from_geojson(msgspec.json.encode(geojson).decode())


def geometry_in(doc: Mapping[str, Attribute], name: str) -> BaseGeometry | None:
    """The geometry of a geo property of a document; None where it has none."""
    found = doc.get(name)
    return None if found is None or found.kind != "G" else geometry(found.value)


def _within_distance(geo: GeoFilter, wanted: BaseGeometry, found: BaseGeometry) -> bool:
    here, there = shapely.shortest_line(wanted, found).coords
    metres = float(distance_m(*here[:2], *there[:2]))
    return (geo.distance_max is None or metres <= geo.distance_max) and (
        geo.distance_min is None or metres >= geo.distance_min
    )


def positions(coordinates: Any) -> Any:
    """Every position in GeoJSON coordinates of any depth."""
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
    else:
        for part in coordinates:
            yield from positions(part)
