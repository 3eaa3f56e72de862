"""Deadlines in working days and working hours, by a calendar that the caller passes in.

A period begins after the day or the moment that starts it (Civil Code of the PRC, article 201), so one working day
from a Friday is the Monday.
"""

import datetime as dt
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import chinese_calendar
import msgspec

from hutong.kernel.clock import SECOND, moment
from hutong.kernel.errors import InvalidInput, OutOfRange, Unsupported

DAYS_MAX = 10_000
HOURS_MAX = 40_000

_DAY = dt.timedelta(days=1)
_MICROSECOND = dt.timedelta(microseconds=1)

Value = TypeVar("Value")


class Calendar(Protocol):
    """Which days are worked."""

    def works(self, day: dt.date) -> bool | None:
        """Whether the day is worked; None where the calendar does not reach."""

    def gap(self, day: dt.date) -> str:
        """Why it does not reach this day, in words that people act on."""


class StateCouncilCalendar:
    """Working days of mainland China by the State Council's yearly notices, as the package chinesecalendar has them."""

    def works(self, day: dt.date) -> bool | None:
        return chinese_calendar.is_workday(day) if day.year in _years_with_notice() else None

    def gap(self, day: dt.date) -> str:
        years = _years_with_notice()
        return (
            f"the State Council's notice for {day.year} is not in the installed library "
            f"(chinesecalendar carries {min(years)} to {max(years)})"
        )


class OfficeHours(msgspec.Struct, frozen=True):
    """When work is done on a working day, by the clock of `zone`: spans in order that do not overlap."""

    spans: tuple[tuple[dt.time, dt.time], ...] = ((dt.time(9), dt.time(12)), (dt.time(13, 30), dt.time(17, 30)))
    zone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        edges = [edge for span in self.spans for edge in span]
        if not edges or any(a >= b for a, b in pairwise(edges)):
            raise InvalidInput(
                "office hours are not spans in order",
                seen=self.spans,
                allowed="one span or more, each beginning after the one before has ended",
            )
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InvalidInput(
                "not a time zone", seen=self.zone, allowed="a name of the IANA database", fix="write Asia/Shanghai"
            ) from None


class Reckoned(msgspec.Struct, Generic[Value], frozen=True):
    """A day or an instant, and whether it was estimated: by weekends alone where the calendar does not reach."""

    value: Value
    estimated: bool


def is_working_day(calendar: Calendar, day: dt.date) -> bool:
    """Whether the day is worked. Raises Unsupported where the calendar does not reach."""
    return _Walk(calendar, estimate=False).works(day)


def add_working_days(calendar: Calendar, day: dt.date, n: int, *, estimate: bool = False) -> Reckoned[dt.date]:
    """The n-th working day after `day`, before it when n is negative; for 0 the day itself or the next one worked.

    Raises Unsupported where the calendar does not reach, unless `estimate`; OutOfRange beyond DAYS_MAX.
    """
    if abs(n) > DAYS_MAX:
        raise OutOfRange("too many working days", seen=n, allowed=f"{-DAYS_MAX} to {DAYS_MAX}")
    walk, step = _Walk(calendar, estimate), _DAY if n >= 0 else -_DAY
    if n == 0:
        while not walk.works(day):
            day += step
    for _ in range(abs(n)):
        day += step
        while not walk.works(day):
            day += step
    return Reckoned(day, walk.estimated)


def add_working_hours(
    calendar: Calendar, at: int, hours: float, office: OfficeHours | None = None, *, estimate: bool = False
) -> Reckoned[int]:
    """The instant at which `hours` of office time have passed since `at`; outside office hours the clock stands.

    Raises Unsupported where the calendar does not reach, unless `estimate`; OutOfRange outside 0 to HOURS_MAX.
    """
    if not 0 <= hours <= HOURS_MAX:
        raise OutOfRange("not a number of working hours", seen=hours, allowed=f"0 to {HOURS_MAX}")
    office = office or OfficeHours()
    walk, zone, left = _Walk(calendar, estimate), ZoneInfo(office.zone), round(hours * 3600 * SECOND)
    day = moment(at).astimezone(zone).date()
    while True:
        for opens, closes in _open(office.spans, day, zone) if walk.works(day) else ():
            begins = max(opens, at)
            if begins < closes and left <= closes - begins:
                return Reckoned(begins + left, walk.estimated)
            left -= max(0, closes - begins)
        day += _DAY


class _Walk:
    """Asks a calendar day by day, and remembers whether an answer had to be estimated."""

    def __init__(self, calendar: Calendar, estimate: bool) -> None:
        self._calendar, self._estimate, self.estimated = calendar, estimate, False

    def works(self, day: dt.date) -> bool:
        known = self._calendar.works(day)
        if known is not None:
            return known
        if not self._estimate:
            raise Unsupported(
                f"it is not known whether {day} is a working day: {self._calendar.gap(day)}",
                seen=day,
                fix="update the library when the notice is out, or ask for an estimate by weekends",
            )
        self.estimated = True
        return day.weekday() < 5


def _open(spans: Sequence[tuple[dt.time, dt.time]], day: dt.date, zone: ZoneInfo) -> list[tuple[int, int]]:
    epoch = moment(0)
    return [
        (
            (dt.datetime.combine(day, opens, zone) - epoch) // _MICROSECOND,
            (dt.datetime.combine(day, closes, zone) - epoch) // _MICROSECOND,
        )
        for opens, closes in spans
    ]


@cache
def _years_with_notice() -> frozenset[int]:
    # Days of a new year's eve may stand in the notice of the year after, so National Day tells whether a year is there.
    return frozenset(day.year for day in chinese_calendar.holidays if (day.month, day.day) == (10, 1))
