"""Periods of calendar months, whose lengths differ."""

from calendar import monthrange
from datetime import timedelta

from hutong.kernel.clock import LATEST, moment
from hutong.kernel.errors import TooLarge

PERIODS_MAX = 100_000


def edges(begin: int, last: int, months: int, rest: int) -> list[int]:
    """Where periods begin (microseconds, UTC), from `begin` until after `last`; each is so many months and `rest` long.

    A day that a month lacks is its last one. Raises TooLarge where there are more than PERIODS_MAX.
    """
    start, found, n = moment(begin), [begin], 0
    while found[-1] <= last:
        n += 1
        if n > PERIODS_MAX:
            raise TooLarge("too many periods", allowed=str(PERIODS_MAX), fix="ask for longer periods")
        year, month = divmod(start.year * 12 + start.month - 1 + n * months, 12)
        if year > 9999:
            return [*found, LATEST]
        day = min(start.day, monthrange(year, month + 1)[1])
        shifted = start.replace(year=year, month=month + 1, day=day) - start
        found.append(begin + shifted // timedelta(microseconds=1) + n * rest)
    return found
