"""Working days and hours: the State Council's calendar, and what happens where it ends."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.kernel.calendar import (
    DAYS_MAX,
    HOURS_MAX,
    OfficeHours,
    StateCouncilCalendar,
    add_working_days,
    add_working_hours,
    is_working_day,
)
from hutong.kernel.clock import HOUR, instant
from hutong.kernel.errors import InvalidInput, OutOfRange, Unsupported

CALENDAR = StateCouncilCalendar()
KNOWN = st.dates(dt.date(2005, 1, 1), dt.date(2025, 12, 31))


class EveryDayButSunday:
    """A city's own calendar."""

    def works(self, day: dt.date) -> bool | None:
        return day.weekday() != 6

    def gap(self, day: dt.date) -> str:
        return "it has none"


def test_golden_week_and_the_sunday_that_makes_up_for_it() -> None:
    assert not is_working_day(CALENDAR, dt.date(2025, 10, 1))
    assert is_working_day(CALENDAR, dt.date(2025, 9, 28))  # a Sunday, worked
    assert is_working_day(CALENDAR, dt.date(2025, 10, 9))
    assert not is_working_day(CALENDAR, dt.date(2025, 10, 12))  # a plain Sunday


@pytest.mark.parametrize(
    ("start", "n", "due"),
    [
        ("2025-09-26", 1, "2025-09-28"),
        ("2025-09-30", 1, "2025-10-09"),
        ("2025-09-30", 3, "2025-10-11"),  # Saturday 11 October is worked
        ("2025-10-01", 0, "2025-10-09"),
        ("2025-10-09", 0, "2025-10-09"),
        ("2025-10-09", -1, "2025-09-30"),
        ("2025-12-31", 5, "2026-01-08"),
    ],
)
def test_working_days_from_a_day(start: str, n: int, due: str) -> None:
    found = add_working_days(CALENDAR, dt.date.fromisoformat(start), n)
    assert (found.value.isoformat(), found.estimated) == (due, False)


@given(KNOWN, st.integers(1, 60))
def test_going_forth_and_back_meets_the_same_working_day(day: dt.date, n: int) -> None:
    day = add_working_days(CALENDAR, day, 0).value
    there = add_working_days(CALENDAR, day, n).value
    assert is_working_day(CALENDAR, there)
    assert add_working_days(CALENDAR, there, -n).value == day


def test_a_year_without_notice_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"State Council's notice for 2099 is not in the installed library"):
        is_working_day(CALENDAR, dt.date(2099, 3, 2))
    with pytest.raises(Unsupported, match=r"notice for 2003"):
        add_working_days(CALENDAR, dt.date(2004, 1, 5), -9)


def test_an_estimate_counts_weekends_and_says_that_it_is_one() -> None:
    found = add_working_days(CALENDAR, dt.date(2099, 3, 6), 1, estimate=True)  # a Friday
    assert (found.value, found.estimated) == (dt.date(2099, 3, 9), True)
    assert not add_working_days(CALENDAR, dt.date(2025, 3, 7), 1, estimate=True).estimated


def test_a_city_brings_its_own_calendar() -> None:
    assert add_working_days(EveryDayButSunday(), dt.date(2025, 10, 3), 1).value == dt.date(2025, 10, 4)
    assert add_working_days(EveryDayButSunday(), dt.date(2025, 10, 4), 1).value == dt.date(2025, 10, 6)


@pytest.mark.parametrize(
    ("start", "hours", "due"),
    [
        ("2025-09-29T10:00:00+08:00", 1, "2025-09-29T11:00:00+08:00"),
        ("2025-09-29T11:00:00+08:00", 2, "2025-09-29T14:30:00+08:00"),  # over lunch
        ("2025-09-29T08:00:00+08:00", 3, "2025-09-29T12:00:00+08:00"),  # ends with the span
        ("2025-09-30T17:00:00+08:00", 1, "2025-10-09T09:30:00+08:00"),  # over Golden Week
        ("2025-09-30T17:30:00+08:00", 0, "2025-10-09T09:00:00+08:00"),
        ("2025-09-28T01:00:00Z", 7.5, "2025-09-29T09:30:00+08:00"),
        ("2025-09-28T10:00:00+08:00", 0, "2025-09-28T10:00:00+08:00"),
    ],
)
def test_working_hours_from_an_instant(start: str, hours: float, due: str) -> None:
    found = add_working_hours(CALENDAR, instant(start), hours)
    assert (found.value, found.estimated) == (instant(due), False)


def test_offices_that_never_close_count_plain_hours_on_working_days() -> None:
    night_and_day = OfficeHours(spans=((dt.time(0), dt.time(23, 59, 59, 999999)),))
    at = instant("2025-09-29T10:00:00+08:00")
    assert add_working_hours(CALENDAR, at, 5, night_and_day).value == at + 5 * HOUR


@given(KNOWN, st.floats(0, 200), st.floats(0, 200))
def test_more_hours_never_end_earlier(day: dt.date, hours: float, more: float) -> None:
    at = instant(f"{day}T10:00:00+08:00")
    assert add_working_hours(CALENDAR, at, hours).value <= add_working_hours(CALENDAR, at, hours + more).value


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(OutOfRange):
        add_working_days(CALENDAR, dt.date(2025, 1, 1), DAYS_MAX + 1)
    for hours in (-1, HOURS_MAX + 1, float("nan")):
        with pytest.raises(OutOfRange):
            add_working_hours(CALENDAR, 0, hours)
    with pytest.raises(InvalidInput, match="spans in order"):
        OfficeHours(spans=((dt.time(13), dt.time(12)),))
    with pytest.raises(InvalidInput, match="spans in order"):
        OfficeHours(spans=())
    with pytest.raises(InvalidInput, match="not a time zone"):
        OfficeHours(zone="Asia/Atlantis")


def test_it_agrees_with_the_published_notices(shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("data/holidays_cn").glob("*.json")):
        for entry in json.loads(path.read_text("utf-8"))["days"]:
            day = dt.date.fromisoformat(entry["date"])
            if CALENDAR.works(day) is not None:
                assert is_working_day(CALENDAR, day) != entry["isOffDay"], f"{path.name}: {day} {entry['name']}"
