"""A map drawn as SVG on the server: it stands without JavaScript, in print, and until the live one is there."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from hutong.portal.things import State, Thing
from hutong.portal.words import Language

WIDTH = 640
POINTS_MAX = 1_000  # drawn on the server, the most urgent; the live map has all
Box: TypeAlias = tuple[float, float, float, float]
_SIZES = {State.GOOD: 3.2, State.WATCH: 4.2, State.ALARM: 5.2, State.SUSPECT: 4.0, State.SILENT: 3.8}


@dataclass(frozen=True)
class Outline:
    """A district as an SVG path, with its name and where to write it; no name where there is no room."""

    code: str
    name: str
    path: str
    x: float
    y: float


@dataclass(frozen=True)
class Point:
    """A thing on the map. `shape` is an SVG path centred on the place; its form tells the state as its colour does,
    unless the pack gives it a `colour` of its own."""

    id: str
    name: str
    state: State
    shape: str
    colour: str = ""


@dataclass(frozen=True)
class Map:
    """`width` and `height` of the view box; points with the most urgent drawn last. `box` in degrees: w, s, e, n."""

    width: int
    height: int
    box: Box
    outlines: Sequence[Outline]
    points: Sequence[Point]
    unplaced: int  # without coordinates
    outside: int  # beyond the box


class Projection:
    """Equirectangular, true at the middle latitude: right to a pixel for a city. Box in degrees: w, s, e, n."""

    def __init__(self, box: Box, width: int = WIDTH, margin: int = 12) -> None:
        self._west, south, east, self._north = box
        self._squeeze = math.cos(math.radians((south + self._north) / 2))
        self._scale = (width - 2 * margin) / ((east - self._west) * self._squeeze)
        self._margin = margin
        self.width, self.height = width, round((self._north - south) * self._scale) + 2 * margin

    def __call__(self, lon: float, lat: float) -> tuple[float, float]:
        return (
            round((lon - self._west) * self._squeeze * self._scale + self._margin, 1),
            round((self._north - lat) * self._scale + self._margin, 1),
        )


def rings(geometry: Mapping[str, Any]) -> list[list[list[float]]]:
    """All rings of a GeoJSON Polygon or MultiPolygon."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return [ring for polygon in polygons for ring in polygon]


def bounds(features: Sequence[Mapping[str, Any]]) -> Box:
    points = [point for feature in features for ring in rings(feature["geometry"]) for point in ring]
    lons, lats = [point[0] for point in points], [point[1] for point in points]
    return min(lons), min(lats), max(lons), max(lats)


class Atlas:
    """Draws the city's districts and things on them."""

    def __init__(self, districts: Mapping[str, Any]) -> None:
        self._features = districts["features"]
        self.box = bounds(self._features)
        self.names: Mapping[str, Mapping[Language, str]] = {
            feature["properties"]["code"]: feature["properties"] for feature in self._features
        }
        self._outlines = lru_cache(maxsize=32)(self._draw)

    def district(self, place: str, lang: Language) -> str:
        """The name of the district that an administrative code lies in, or nothing."""
        name = self.names.get(place[:6])
        return name[lang] if name else ""

    def map(
        self,
        things: Sequence[Thing],
        lang: Language,
        width: int = WIDTH,
        box: Box | None = None,
        colour: Callable[[Thing], str] | None = None,
    ) -> Map:
        """A map with the things on it; without a box given it shows where the city's things are."""
        placed = [thing for thing in things if thing.lon is not None and thing.lat is not None]
        box = box or self.around(placed)
        inside = [thing for thing in placed if _within(thing, box)]
        order = list(State)
        projection = Projection(box, width)
        points = [
            Point(
                thing.id,
                thing.name[lang],
                thing.state,
                shape(thing.state, *projection(thing.lon or 0.0, thing.lat or 0.0)),
                colour(thing) if colour else "",
            )
            for thing in sorted(inside, key=lambda thing: order.index(thing.state))[:POINTS_MAX][::-1]
        ]
        return Map(
            projection.width,
            projection.height,
            box,
            self._outlines(box, width, lang),
            points,
            len(things) - len(placed),
            len(placed) - len(inside),
        )

    def around(self, placed: Sequence[Thing]) -> Box:
        """A box around the things in the city; around all of them if none is there; the city if there is none."""
        near = [thing for thing in placed if _within(thing, self.box)] or placed
        if not near:
            return self.box
        lons, lats = [thing.lon or 0.0 for thing in near], [thing.lat or 0.0 for thing in near]
        margin = max(max(lons) - min(lons), max(lats) - min(lats), 0.02) / 12
        return min(lons) - margin, min(lats) - margin, max(lons) + margin, max(lats) + margin

    def _draw(self, box: Box, width: int, lang: Language) -> Sequence[Outline]:
        projection = Projection(box, width)
        outlines: list[Outline] = []
        taken: list[tuple[float, float, float]] = []
        for feature in sorted(self._features, key=lambda feature: -_area(feature)):
            path = "".join(
                "M" + "L".join(f"{x} {y}" for x, y in (projection(*point) for point in ring)) + "Z"
                for ring in rings(feature["geometry"])
            )
            words = feature["properties"]
            x, y = projection(*words["label"])
            half = len(words[lang]) * (7 if lang == "zh" else 3.6)
            fits = (
                half < x < width - half
                and 10 < y < projection.height - 10
                and all(
                    abs(x - other_x) > half + other_half or abs(y - other_y) > 16
                    for other_x, other_y, other_half in taken
                )
            )
            if fits:
                taken.append((x, y, half))
            outlines.append(Outline(words["code"], words[lang] if fits else "", path, x, y))
        return outlines


def _area(feature: Mapping[str, Any]) -> float:
    west, south, east, north = bounds([feature])
    return (east - west) * (north - south)


def _within(thing: Thing, box: Box) -> bool:
    west, south, east, north = box
    return west <= (thing.lon or 0.0) <= east and south <= (thing.lat or 0.0) <= north


def shape(state: State, x: float, y: float, size: float | None = None) -> str:
    """Circle good, diamond watch, triangle alarm, square suspect, ring silent: forms that hold in print."""
    r = size or _SIZES[state]
    match state:
        case State.ALARM:
            return f"M{x} {y - r:.1f}L{x + r:.1f} {y + r * 0.8:.1f}H{x - r:.1f}Z"
        case State.WATCH:
            return f"M{x} {y - r:.1f}L{x + r:.1f} {y}L{x} {y + r:.1f}L{x - r:.1f} {y}Z"
        case State.SUSPECT:
            return f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}Z"
        case _:
            return f"M{x - r:.1f} {y}a{r} {r} 0 1 0 {2 * r:.1f} 0a{r} {r} 0 1 0 {-2 * r:.1f} 0Z"
