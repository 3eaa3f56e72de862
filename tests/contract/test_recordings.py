"""What was recorded and is played back raises what it would have raised then, and is kept as it would have been."""

from hutong.engines.sense.ports import Attribute, Change, HistoryQuery, Mark, Verb
from hutong.kernel.clock import DAY, MINUTE, SECOND
from hutong.kernel.errors import InvalidInput
from tests.contract.core import NOON, Core

A, B = "urn:tank:a", "urn:tank:b"
THEN = NOON - 1000 * DAY


def test_a_suspect_value_is_suspect_in_history_too_and_so_is_what_comes_from_it(core: Core) -> None:
    levels = [50.0, 120.0, 130.0, 60.0]
    core.observe(A, capacity=100.0)
    core.change(*(_level(A, THEN + n * MINUTE, level) for n, level in enumerate(levels)))
    for attribute, derived in (("level", 0), ("share", int(Mark.DERIVED))):
        rows = core.lake.read(HistoryQuery(entities=(A,), attributes=(attribute,)))
        assert rows.height == 4
        assert rows["marks"].to_list() == [derived | mark for mark in (0, Mark.SUSPECT, Mark.SUSPECT, 0)]


def test_values_without_a_time_do_not_stand_for_when_a_thing_was_observed(core: Core) -> None:
    core.observe(A, capacity=100.0, name="first")
    assert core.entities.get("", A).observed_at == NOON  # type: ignore[union-attr]  # it was just made
    core.observe(A, THEN, level=50.0)
    core.minutes(1)
    core.observe(A, name="second")
    row = core.entities.get("", A)
    assert row is not None
    assert row.observed_at == THEN
    assert core.document(A)["share"].observed_at == THEN


def test_for_runs_in_the_time_of_the_recording_though_nothing_is_told_meanwhile(core: Core) -> None:
    core.observe(A, capacity=100.0)
    core.observe(A, THEN, level=95.0)
    core.observe(A, THEN + 60 * MINUTE, level=50.0)  # the rule's `for` is 10 minutes
    [alert] = core.raised("resolved")
    assert (alert.rule, alert.pending_since, alert.firing_since, alert.resolved_at) == (
        "full",
        THEN,
        THEN + 10 * MINUTE,
        THEN + 60 * MINUTE,
    )
    core.observe(B, capacity=100.0)
    core.observe(B, THEN, level=95.0)
    core.observe(B, THEN + 9 * MINUTE, level=50.0)
    assert [alert.entity for alert in core.raised("lapsed")] == [B]


def test_a_repeated_command_is_told_again_what_was_refused(core: Core) -> None:
    def send() -> list[object]:
        changes = (_level(A, NOON + DAY, 1.0), _level(B, NOON, "much"), _level(B, NOON - SECOND, 2.0))
        return [(one.created, one.changed, one.refused and str(one.refused["level"]), one.error and str(one.error))
                for one in core.change(*changes, key="once")]  # fmt: skip

    first = send()
    assert send() == first
    assert "observed in the future" in str(first[0])
    [_, again, _] = core.change(key="once")
    assert isinstance(again.error, InvalidInput)


def _level(id: str, at: int, level: object) -> Change:
    attributes = {"level": Attribute(value=level, observed_at=at)}
    return Change(verb=Verb.APPEND, upsert=True, id=id, types=("Tank",), attributes=attributes)
