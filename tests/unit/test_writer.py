"""The writer: many commands share a commit, each is answered for itself, and nothing accepted is lost."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from hutong.kernel.clock import FrozenClock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, IntegrityBroken, NotFound, Overloaded, StorageFull
from hutong.kernel.ledger import Entry, Event, Ledger, Position, Row
from hutong.kernel.writer import GROUP_WEIGHT_MAX, QUEUE_WEIGHT_MAX, Writer

PATIENCE_S = 30  # a bound on a hanging test, not an expectation


class Add(msgspec.Struct):
    """Command: add a number to the sum. The outcome is the sum then; 0 is refused, a negative number breaks."""

    number: int
    weight: int = 1


class Memory:
    """A database and a ledger store in memory, whose commits can be held back or made to fail."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.kept: dict[str, bytes] = {}
        self.commits = 0
        self.faults: list[BaseException] = []
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        self._written: list[Row] = []
        self._remembered: dict[str, bytes] = {}

    @contextmanager
    def begin(self) -> Iterator[None]:
        self._written, self._remembered = [], {}
        yield
        self.waiting.set()
        assert self.open.wait(PATIENCE_S)
        if self.faults:
            raise self.faults.pop()
        self.rows += self._written
        self.kept |= self._remembered
        self.commits += 1

    def last(self, lane: str) -> Row | None:
        return self.rows[-1] if self.rows else None

    def lanes(self) -> Mapping[str, int]:
        return {"main": len(self.rows)}

    def insert(self, tx: Any, rows: Sequence[Row], payloads: Sequence[bytes], key_ids: Sequence[str]) -> None:
        self._written += rows

    def read(self, lane: str, after: int, limit: int, kinds: Sequence[str] = ()) -> list[Entry]:
        return [Entry(row, b"") for row in self.rows[after : after + limit]]

    def drop_payloads(self, tx: Any, upto: Mapping[str, int], kinds: Sequence[str]) -> int:
        return 0

    def outcomes(self, tx: Any, command_ids: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self.kept[key] for key in command_ids if key in self.kept}

    def remember(self, tx: Any, outcomes: Iterable[tuple[str, bytes, int]]) -> None:
        self._remembered |= {key: outcome for key, outcome, _ in outcomes}


class Adder:
    """Handles Add."""

    def __init__(self) -> None:
        self.sum = self._new = 0
        self.told: list[int] = []
        self.groups: list[int] = []
        self.deaf = False

    def weight(self, command: Add) -> int:
        return command.weight

    def encode(self, outcome: Any) -> bytes:
        return str(outcome).encode()

    def decode(self, outcome: bytes) -> Any:
        return int(outcome)

    def handle(self, tx: Any, requests: Sequence[Request], emit: Callable[[Event], Position]) -> Sequence[Any]:
        self._new = self.sum
        self.groups.append(len(requests))
        outcomes: list[int | HutongError] = []
        for request in requests:
            number = request.command.number
            if number < 0:
                raise ZeroDivisionError("a fault of the engine")
            if number == 0:
                outcomes.append(NotFound("nothing to add"))
                continue
            self._new += number
            emit(Event(kind="added", payload=b"", at=0, actor=request.actor))
            outcomes.append(self._new)
        return outcomes

    def committed(self) -> None:
        self.sum = self._new
        if self.deaf:
            raise ZeroDivisionError("a follower's fault")
        self.told.append(self.sum)

    def rolled_back(self) -> None:
        self._new = self.sum


class Rig:
    """A writer over memory."""

    def __init__(self) -> None:
        self.memory, self.adder = Memory(), Adder()
        self.ledger = Ledger(self.memory, "main")
        self.writer = Writer(self.memory, self.ledger, self.memory, FrozenClock(0), {Add: self.adder})
        self.writer.start()

    def add(self, number: int, key: str = "", weight: int = 1) -> "Future[Any]":
        return self.writer.submit(Request(command=Add(number, weight), actor="tester", key=key))

    def hold(self) -> "Future[Any]":
        """Submit a command whose commit waits until `release`."""
        self.memory.open.clear()
        self.memory.waiting.clear()
        first = self.add(1)
        assert self.memory.waiting.wait(PATIENCE_S)
        return first

    def release(self) -> None:
        self.memory.open.set()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.release()
    rig.writer.close()
    assert [row.n for row in rig.memory.rows] == list(range(1, len(rig.memory.rows) + 1))
    assert list(rig.ledger.verify()) == []


def results(futures: Iterable["Future[Any]"]) -> list[Any]:
    return [future.result(PATIENCE_S) for future in futures]


def test_what_waits_while_a_commit_runs_shares_the_next_one(rig: Rig) -> None:
    first = rig.hold()
    rest = [rig.add(1) for _ in range(9)]
    rig.release()
    assert results([first, *rest]) == list(range(1, 11))
    assert rig.adder.groups == [1, 9]
    assert rig.memory.commits == 2


def test_a_group_has_a_bound(rig: Rig) -> None:
    first = rig.hold()
    half = GROUP_WEIGHT_MAX // 2
    rest = [rig.add(1, weight=half) for _ in range(5)]
    rig.release()
    results([first, *rest])
    assert rig.adder.groups == [1, 2, 2, 1]


def test_a_repeat_of_a_key_gets_the_first_answer(rig: Rig) -> None:
    assert rig.add(5, key="k").result(PATIENCE_S) == 5
    assert rig.add(5, key="k").result(PATIENCE_S) == 5
    assert rig.add(2).result(PATIENCE_S) == 7


def test_a_repeat_in_the_same_group_does_too(rig: Rig) -> None:
    first = rig.hold()
    rest = [rig.add(5, key="k"), rig.add(5, key="k"), rig.add(2)]
    rig.release()
    assert results([first, *rest]) == [1, 6, 6, 8]


def test_a_refusal_is_not_kept_under_the_key(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.add(0, key="k").result(PATIENCE_S)
    assert rig.add(3, key="k").result(PATIENCE_S) == 3


def test_a_refused_command_leaves_its_group_alone(rig: Rig) -> None:
    first = rig.hold()
    good, bad, other = rig.add(2), rig.add(0), rig.add(3)
    rig.release()
    assert results([first, good, other]) == [1, 3, 6]
    with pytest.raises(NotFound):
        bad.result(PATIENCE_S)
    assert rig.memory.commits == 2


def test_a_command_that_breaks_the_engine_does_not_take_its_neighbours_along(rig: Rig) -> None:
    first = rig.hold()
    good, bad, other = rig.add(2), rig.add(-1), rig.add(3)
    rig.release()
    assert results([first, good, other]) == [1, 3, 6]
    with pytest.raises(ZeroDivisionError):
        bad.result(PATIENCE_S)
    assert len(rig.memory.rows) == 3
    assert rig.adder.sum == 6


def test_a_full_disk_refuses_the_group_and_the_next_one_is_written(rig: Rig) -> None:
    first = rig.hold()
    results_of = [rig.add(2), rig.add(3)]
    rig.memory.faults = [StorageFull("full")]
    rig.release()
    with pytest.raises(StorageFull):
        first.result(PATIENCE_S)
    assert results(results_of) == [2, 5]
    assert rig.adder.told == [5]


def test_a_full_queue_refuses_and_recovers(rig: Rig) -> None:
    first = rig.hold()
    waiting = [rig.add(1, weight=1_000) for _ in range(QUEUE_WEIGHT_MAX // 1_000)]
    assert rig.writer.backlog == QUEUE_WEIGHT_MAX
    with pytest.raises(Overloaded) as refused:
        rig.add(1)
    assert refused.value.fault.fix
    rig.release()
    results([first, *waiting])
    assert rig.writer.backlog == 0
    assert rig.add(1).result(PATIENCE_S) == len(waiting) + 2


def test_one_command_heavier_than_the_queue_is_taken_when_it_is_alone(rig: Rig) -> None:
    assert rig.add(1, weight=QUEUE_WEIGHT_MAX + 1).result(PATIENCE_S) == 1


def test_closing_finishes_what_was_accepted_and_takes_no_more(rig: Rig) -> None:
    first = rig.hold()
    rest = [rig.add(1) for _ in range(5)]
    closing = threading.Thread(target=rig.writer.close)
    closing.start()
    rig.release()
    closing.join(PATIENCE_S)
    assert results([first, *rest]) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(Overloaded, match="shutting down"):
        rig.add(1)


def test_whoever_stops_waiting_harms_nobody(rig: Rig) -> None:
    first = rig.hold()
    gone, other = rig.add(1), rig.add(1)
    assert gone.cancel()
    rig.release()
    assert results([first, other]) == [1, 3]
    assert rig.add(1).result(PATIENCE_S) == 4


def test_an_event_loop_waits_for_many_and_may_give_up(rig: Rig) -> None:
    async def ask() -> list[Any]:
        asked = [
            asyncio.ensure_future(rig.writer.ask(Request(command=Add(number), actor="tester"))) for number in (1, 0, 2)
        ]
        left = asyncio.ensure_future(rig.writer.ask(Request(command=Add(4), actor="tester")))
        await asyncio.sleep(0)
        left.cancel()
        return await asyncio.gather(*asked, return_exceptions=True)

    one, refused, two = asyncio.run(ask())
    assert (one, two) == (1, 3)
    assert isinstance(refused, NotFound)
    assert rig.add(1).result(PATIENCE_S) == 8


def test_what_is_durable_is_acknowledged_even_when_a_follower_breaks_and_then_nothing_more_is_taken(rig: Rig) -> None:
    first = rig.hold()
    rig.adder.deaf = True
    waiting = rig.add(2)
    rig.release()
    assert first.result(PATIENCE_S) == 1
    with pytest.raises(IntegrityBroken):
        waiting.result(PATIENCE_S)
    with pytest.raises(IntegrityBroken, match="restart"):
        rig.add(3)
    assert len(rig.memory.rows) == 1


def test_a_commit_of_which_nobody_knows_stops_the_writer(rig: Rig) -> None:
    rig.memory.faults = [IntegrityBroken("nobody knows")]
    with pytest.raises(IntegrityBroken):
        rig.add(1).result(PATIENCE_S)
    assert rig.writer.failed is not None
    with pytest.raises(IntegrityBroken):
        rig.add(1)
