"""Where made-up things may stand: in the districts of a city, denser where districts are small."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from hutong.kernel.place import Districts, Floats, bounding_box, distance_m

CANDIDATES: Final = 2_000  # positions tried in each district
SPREAD_M: Final = 5_000  # standard deviation around a district's middle, in a large one


class Spot(NamedTuple):
    """A position, and the name and code of the district that holds it. Degrees, rounded to a metre or so."""

    district: str
    code: str
    lon: float
    lat: float


class Ground:
    """Positions in the districts of a city: GeoJSON features with `code`, `zh` and the middle as `label`."""

    def __init__(self, features: Sequence[Mapping[str, Any]], key: str = "code") -> None:
        self._features = list(features)
        self._districts = Districts.from_geojson(features, key=key)
        self._key = key

    def spots(self, count: int, chance: np.random.Generator) -> list[Spot]:
        """So many positions; none where there are no districts."""
        found = [self._inside(feature, chance) for feature in self._features]
        whole = [(feature, *inside) for feature, inside in zip(self._features, found, strict=True) if inside[0].size]
        if not whole:
            return []
        weights = np.array([1 / np.sqrt(area) for *_, area in whole])
        spots = []
        for which in chance.choice(len(whole), count, p=weights / weights.sum()):
            feature, lons, lats, area = whole[which]
            label = feature["properties"]["label"]
            spread = min(SPREAD_M, np.sqrt(area) * 300)
            nearness = np.exp(-((distance_m(lons, lats, label[0], label[1]) / spread) ** 2) / 2) + 1e-9
            i = chance.choice(lons.size, p=nearness / nearness.sum())
            properties = feature["properties"]
            spots.append(
                Spot(properties["zh"], str(properties[self._key]), round(float(lons[i]), 5), round(float(lats[i]), 5))
            )
        return spots

    def _inside(self, feature: Mapping[str, Any], chance: np.random.Generator) -> tuple[Floats, Floats, float]:
        """Positions within a district, and about its area in km²."""
        west, south, east, north = bounding_box(feature["geometry"])
        lons, lats = chance.uniform(west, east, CANDIDATES), chance.uniform(south, north, CANDIDATES)
        inside = self._districts.at_all(lons, lats) == str(feature["properties"][self._key])
        across, up = distance_m(west, south, east, south), distance_m(west, south, west, north)
        return lons[inside], lats[inside], across * up / 1e6 * float(inside.mean())
