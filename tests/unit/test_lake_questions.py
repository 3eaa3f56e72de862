"""What bounds a question about history, and periods whose lengths differ."""

import duckdb
import pytest

from hutong.engines.sense.ports import AllOf, Exists
from hutong.kernel.clock import HOUR, LATEST, instant
from hutong.kernel.errors import InvalidInput, TooLarge
from hutong.store.lake.conditions import Conditions
from hutong.store.lake.deadline import Deadline
from hutong.store.lake.periods import edges


def test_a_question_that_takes_too_long_ends_and_the_next_one_does_not() -> None:
    deadline, cursor = Deadline(0.05), duckdb.connect(":memory:")
    with pytest.raises(TooLarge, match="too long"), deadline.of(cursor):
        cursor.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b").fetchall()
    with deadline.of(cursor):
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    deadline.close()
    cursor.close()


def test_months_begin_on_the_same_day_or_the_last_there_is() -> None:
    begin, last = instant("2024-01-31T12:00:00Z"), instant("2024-04-01T00:00:00Z")
    days = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    assert edges(begin, last, 1, 0) == [instant(f"{day}T12:00:00Z") for day in days]
    assert edges(begin, begin, 12, HOUR) == [begin, instant("2025-01-31T13:00:00Z")]
    with pytest.raises(TooLarge):
        edges(instant("0002-01-01T00:00:00Z"), LATEST, 1, 0)


def test_conditions_nested_too_deeply_are_refused() -> None:
    where: AllOf | Exists = Exists(path=("a",))
    for _ in range(40):
        where = AllOf((where,))
    with pytest.raises(InvalidInput, match="too deeply"):
        Conditions().holds(where)
    with pytest.raises(InvalidInput, match="quotes"):
        Conditions().holds(Exists(path=("a", 'b"c'), trail=("d",)))
