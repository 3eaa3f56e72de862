"""Made-up things: what they are, where they stand, and how their values move.

Every reading is a function of the simulation's name, the thing and the time alone, so that a restart goes on where it
was without remembering anything but what is stored.
"""

import math
import zlib
from collections.abc import Mapping
from datetime import date, timedelta, tzinfo
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hutong.connectors.ground import Ground, Spot
from hutong.connectors.plans import PLACEHOLDER, Plan
from hutong.engines.sense.declarations import SeriesDeclaration, SpreadDeclaration
from hutong.kernel.calendar import Calendar
from hutong.kernel.clock import DAY, HOUR, moment
from hutong.kernel.place import Floats

OUTAGE: Final = 2 * HOUR
COUNTERS_BEGAN: Final = (date(2024, 1, 1) - date(1970, 1, 1)).days * 24
"""The local hour at which counters of demonstrations stood at nothing."""
SILENT_SINCE: Final = 3 * HOUR
"""How long silent things have been so at least, when everything starts."""

Integers: TypeAlias = NDArray[np.int64]
_FRAME_TYPES: Final = {"integer": pl.Int64(), "number": pl.Float64()}


class Readings(NamedTuple):
    """Readings of an hour in order of time: which thing, when, and the values of each property."""

    thing: Integers
    at: Integers
    values: Mapping[str, Floats]


class Things:
    """The things of a simulation and how their values move."""

    def __init__(self, plan: Plan, ground: Ground | None, zone: tzinfo, calendar: Calendar) -> None:
        self._plan, self._zone, self._calendar = plan, zone, calendar
        self._seed = zlib.crc32(plan.name.encode())
        declaration = plan.declaration
        self.count = count = declaration.things
        chance = self._chance(0)
        self._spots = ground.spots(count, chance) if ground is not None else []
        self.ids = [self._filled(declaration.id, i) for i in range(count)]
        self.fixed = {key: self._drawn(key, value, chance) for key, value in declaration.fixed.items()}
        self._placed = chance.permutation(count) < round(declaration.placed * count)
        self.silent = chance.permutation(count) < round(declaration.silent * count)
        self.silence = chance.uniform(min(SILENT_SINCE, plan.past), plan.past, count).astype(np.int64)
        self._phase = chance.integers(0, plan.every, count)
        self._shift = np.clip(chance.normal(0, 0.5, count), -1, 1) * HOUR
        self._swing, self._level = chance.uniform(0.85, 1.1, count), chance.normal(0, 0.04, count)
        self._bounds = self._bounded()
        self._sums: dict[str, list[float]] = {}  # of counters: the shares of all hours before each hour

    def place(self, thing: int) -> Spot | None:
        """Where a thing stands; None where that is not known."""
        return self._spots[thing] if self._spots and self._placed[thing] else None

    def hour(self, hour: int) -> Readings:
        """All readings of an hour, counted from the epoch."""
        begin, every = hour * HOUR, self._plan.every
        chance = self._chance(1, hour)
        first = -((self._phase - begin) // every)  # the least k with k * every + phase >= begin
        at = (first[:, None] + np.arange(math.ceil(HOUR / every))) * every + self._phase[:, None]
        told = (at < begin + HOUR) & ~self._out(at)
        values = {}
        for key, series in self._plan.declaration.series.items():
            values[key] = self._values(key, series, hour, at, chance)[told]
        thing = np.broadcast_to(np.arange(self.count)[:, None], at.shape)[told]
        order = np.argsort(at[told], kind="stable")
        return Readings(thing[order], at[told][order], {key: one[order] for key, one in values.items()})

    def _values(
        self, key: str, series: SeriesDeclaration, hour: int, at: Integers, chance: np.random.Generator
    ) -> Floats:
        low, high = (bound[:, None] for bound in self._bounds[key])
        if series.counter:
            hours, shares = self._counted(key, series, at - self._shift[:, None])
            counted: Floats = np.round(low * hours + (high - low) * shares, 1)
            return counted
        shares = self._profile(series, at - self._shift[:, None])
        shares = 0.5 + (shares - 0.5) * self._swing[:, None] + self._level[:, None]
        before, after = self._drift(key, hour), self._drift(key, hour + 1)
        share_of_hour = (at - hour * HOUR) / HOUR
        drift = before[:, None] * (1 - share_of_hour) + after[:, None] * share_of_hour
        shares = np.clip(shares + series.noise * (drift + chance.normal(0, 0.25, at.shape)), 0, 1)
        faulty = chance.random(at.shape) < series.fault
        span = high - low
        values: Floats = np.where(faulty, high + span * chance.uniform(0.02, 0.2, at.shape), low + shares * span)
        if self._plan.entity.property[key].type == "integer":
            return np.where(faulty, np.ceil(values), np.round(values))
        widest = max(float(np.nanmax(span, initial=0)), 1e-9)
        return np.round(values, max(0, 3 - math.floor(math.log10(widest))))

    def _profile(self, series: SeriesDeclaration, at: Floats) -> Floats:
        """The share of the way from low to high that the clock asks for, between the hours declared."""
        offset = moment(int(at.flat[0])).astimezone(self._zone).utcoffset() or timedelta()
        local = (at + offset / timedelta(microseconds=1)) / HOUR
        base = math.floor(local.min())
        hours = range(base, math.floor(local.max()) + 2)
        table = np.array([self._share(series, hour) for hour in hours])
        whole = np.floor(local).astype(np.int64)
        found: Floats = table[whole - base] + (table[whole + 1 - base] - table[whole - base]) * (local - whole)
        return found

    def _counted(self, key: str, series: SeriesDeclaration, at: Floats) -> tuple[Floats, Floats]:
        """Hours since counters began, and the sum of the shares that the clock asks for since then."""
        offset = moment(int(at.flat[0])).astimezone(self._zone).utcoffset() or timedelta()
        local = (at + offset / timedelta(microseconds=1)) / HOUR - COUNTERS_BEGAN
        whole = np.floor(local).astype(np.int64)
        sums = self._sums.setdefault(key, [0.0])
        while len(sums) <= int(whole.max()) + 1:
            sums.append(sums[-1] + self._share(series, COUNTERS_BEGAN + len(sums) - 1))
        table = np.array(sums)
        found: Floats = table[whole] + (table[whole + 1] - table[whole]) * (local - whole)
        return local, found

    def _share(self, series: SeriesDeclaration, local_hour: int) -> float:
        day = date(1970, 1, 1) + timedelta(days=local_hour // 24)
        works = self._calendar.works(day)
        works = day.weekday() < 5 if works is None else works
        return (series.day if works or series.rest is None else series.rest)[local_hour % 24]

    def _drift(self, key: str, hour: int) -> Floats:
        """How far each thing is off its profile at an hour, in standard deviations."""
        return self._chance(2, zlib.crc32(key.encode()), hour).normal(0, 1, self.count)

    def _out(self, at: Integers) -> NDArray[np.bool_]:
        """Whether a thing is out of order then: for two hours of some days (of UTC)."""
        day = int(at.min()) // DAY
        chance = self._chance(3, day)
        fails = chance.random(self.count) < self._plan.declaration.outages
        begins = day * DAY + chance.integers(0, 22 * HOUR, self.count)
        found: NDArray[np.bool_] = fails[:, None] & (at >= begins[:, None]) & (at < begins[:, None] + OUTAGE)
        return found

    def _bounded(self) -> dict[str, tuple[Floats, Floats]]:
        """Least and greatest value of each series, for each thing; NaN where an expression is missing."""
        kinds = {key: self._plan.entity.property[key].type for key in self.fixed}
        numbers = [
            pl.Series(key, values, _FRAME_TYPES[kinds[key]])
            for key, values in self.fixed.items()
            if kinds[key] in _FRAME_TYPES
        ]
        frame = pl.DataFrame([pl.Series("#", range(self.count), pl.Int64), *numbers])
        return {
            key: (low.evaluate(frame).to_numpy(), high.evaluate(frame).to_numpy())
            for key, (low, high) in self._plan.bounds.items()
        }

    def _drawn(self, key: str, value: Any, chance: np.random.Generator) -> list[Any]:
        """A fixed property of all things."""
        match value:
            case SpreadDeclaration(low=low, high=high):
                if self._plan.entity.property[key].type == "integer":
                    return list(chance.integers(math.ceil(low), math.floor(high) + 1, self.count).tolist())
                return list(np.round(chance.uniform(low, high, self.count), 3).tolist())
            case list():
                return [value[i] for i in chance.integers(0, len(value), self.count)]
            case str():
                return [self._filled(value, i) for i in range(self.count)]
        return [value] * self.count

    def _filled(self, template: str, thing: int) -> str:
        spot = self._spots[thing] if self._spots else None
        known = {"number": str(thing + 1), "district": spot.district if spot else "", "code": spot.code if spot else ""}
        return PLACEHOLDER.sub(lambda found: known[found[1]], template)

    def _chance(self, *key: int) -> np.random.Generator:
        """The one place where chance comes from."""
        return np.random.default_rng([self._seed, *key])
