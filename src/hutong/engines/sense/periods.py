"""Periods of the calendar in a time zone: hours, days, weeks from Monday, months, years. Ends are exclusive."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from hutong.kernel.clock import DAY, HOUR, MINUTE, SECOND, moment

Unit: TypeAlias = Literal["hour", "day", "week", "month", "year"]
LENGTHS: Mapping[Unit, int] = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 31 * DAY, "year": 366 * DAY}
"""How long each lasts at most, but for changes of the clock."""
_EPOCH = moment(0)
_MICROSECOND = dt.timedelta(microseconds=1)


class Period(msgspec.Struct, frozen=True, array_like=True):
    """From `begin` to `end`; values are dated by `at`, which is `begin` except for moving windows."""

    at: int
    begin: int
    end: int


class Periods:
    """All periods of one unit; with a `width`, windows of that length that end where the unit does (microseconds)."""

    def __init__(self, unit: Unit, zone: ZoneInfo, width: int = 0) -> None:
        self.unit, self.zone, self.width = unit, zone, width

    def of(self, at: int) -> Period:
        """The period of the unit in which an instant lies."""
        if self.unit == "hour":
            local = moment(at).astimezone(self.zone)
            begin = at - local.minute * MINUTE - local.second * SECOND - local.microsecond
            end = begin + HOUR
        else:
            first = self._first(moment(at).astimezone(self.zone).date())
            begin, end = self.midnight(first), self.midnight(self._next(first))
        return Period(begin, end - self.width if self.width else begin, end)

    def touched(self, low: int, high: int) -> tuple[int, int]:
        """From the first to the end of the last period in which instants from `low` up to `high` may count."""
        return self.of(low).at, self.of(high - 1 + self.width).end

    def between(self, low: int, high: int) -> Iterator[Period]:
        """The periods whose `at` is from `low`, which is one, up to and without `high`, oldest first."""
        period = self.of(low)
        while period.at < high:
            yield period
            period = self.of(period.end)

    def midnight(self, day: dt.date) -> int:
        """When a day begins; where the clock skips midnight, the moment at which it does."""
        return (dt.datetime.combine(day, dt.time(), self.zone) - _EPOCH) // _MICROSECOND

    def _first(self, day: dt.date) -> dt.date:
        match self.unit:
            case "week":
                return day - dt.timedelta(days=day.weekday())
            case "month":
                return day.replace(day=1)
            case "year":
                return day.replace(month=1, day=1)
        return day

    def _next(self, day: dt.date) -> dt.date:
        match self.unit:
            case "month":
                return (day + dt.timedelta(days=32)).replace(day=1)
            case "year":
                return day.replace(year=day.year + 1)
        return day + dt.timedelta(days=7 if self.unit == "week" else 1)
