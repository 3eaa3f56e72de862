"""Time as a thing that is passed in. Instants are microseconds since 1970-01-01T00:00:00Z (`int`)."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hutong.kernel.errors import InvalidInput

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

EARLIEST, LATEST = ((end.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND for end in (datetime.min, datetime.max))
"""The first and the last instant that a calendar date in UTC names: years 1 to 9999."""


class Clock(Protocol):
    """Tells the present instant in microseconds since the epoch, UTC."""

    def now(self) -> int: ...


class SystemClock:
    """The machine's clock; the only place that reads it."""

    def now(self) -> int:
        return time.time_ns() // 1000


class FrozenClock:
    """A clock that stands where it is put, for proofs and tests."""

    def __init__(self, at: int | str) -> None:
        self._now = instant(at) if isinstance(at, str) else at

    def now(self) -> int:
        return self._now

    def advance(self, microseconds: int) -> None:
        """Move forward; a negative step is allowed, as real clocks step back too."""
        self._now += microseconds


def instant(text: str, where: str = "") -> int:
    """Read an ISO 8601 date-time with an offset as microseconds since the epoch.

    Raises InvalidInput for a text that is no date-time, that has no offset or that lies outside the years 1 to 9999.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "not a date-time",
            where=where,
            seen=text,
            allowed="ISO 8601 with offset",
            fix="write it as 2026-05-01T10:00:00+08:00",
        ) from None
    if moment.tzinfo is None:
        raise InvalidInput(
            "a date-time without offset names no instant",
            where=where,
            seen=text,
            allowed="ISO 8601 with offset",
            fix="add Z or +08:00",
        )
    at = (moment - _EPOCH) // _MICROSECOND
    if not EARLIEST <= at <= LATEST:
        raise InvalidInput("a date-time outside the calendar", where=where, seen=text, allowed="years 1 to 9999 in UTC")
    return at


def moment(at: int) -> datetime:
    """The instant as an aware `datetime` in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def iso(at: int) -> str:
    """The instant as ISO 8601 in UTC with `Z`, without trailing zero fractions: `2026-05-01T02:00:00Z`."""
    text = moment(at).isoformat()[:-6]
    return (text.rstrip("0") if "." in text else text) + "Z"


_UNITS = {"ms": 1000, "s": SECOND, "min": MINUTE, "h": HOUR, "d": DAY}


def duration(text: str, where: str = "") -> int:
    """Read `10 min`, `36 h` or `400 d` as microseconds. Raises InvalidInput for a text of another form."""
    found = re.fullmatch(r"(\d+) ?(ms|s|min|h|d)", text)
    if found is None:
        raise InvalidInput(
            "not a duration",
            where=where,
            seen=text,
            allowed="a whole number and ms, s, min, h or d",
            fix="write it as 10 min",
        )
    return int(found[1]) * _UNITS[found[2]]
