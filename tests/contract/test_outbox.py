"""The outbox on both stores: parcels with what caused them, channels that count, dead letters that come back."""

import asyncio
from collections.abc import Iterator

import pytest

from hutong.kernel.access import Grade
from hutong.kernel.clock import MINUTE
from hutong.kernel.commands import Request
from hutong.kernel.errors import InvalidInput, NotFound, TooLarge
from hutong.kernel.housekeeping import Within
from hutong.kernel.outbox import (
    PARCEL_BYTES_MAX,
    ClaimChannels,
    DropChannel,
    DropDead,
    Outbox,
    Parcel,
    PauseChannel,
    Resend,
    ResumeChannel,
    Settle,
    Settlement,
)
from hutong.kernel.transactions import Transaction
from tests.outbox import NOON, FakeTransport, Post, turns


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.close()


def test_parcels_come_back_in_order_and_whole(post: Post) -> None:
    post.put(
        Parcel("a:1", b"\x00\xff", 5, grade=Grade.OPEN), Parcel("b:1", b"other", 6), Parcel("a:1", "二".encode(), 7)
    )
    first, second = post.taken("a:1")
    assert (first.channel, first.body, first.at, first.grade) == ("a:1", b"\x00\xff", 5, Grade.OPEN)
    assert (second.body, second.grade) == ("二".encode(), Grade.CLOSED)
    assert first.n < second.n
    assert [p.body for p in post.taken("a:1", 1)] == [b"\x00\xff"]
    assert post.store.waiting() == {"a:1": 2, "b:1": 1}
    assert post.store.waiting(["b:1", "c:1"]) == {"b:1": 1}


def test_many_parcels_of_one_command_keep_their_order(post: Post) -> None:
    post.put(*(Parcel(f"a:{i % 7}", str(i).encode(), i) for i in range(3_000)))
    for channel in range(7):
        expected = [str(i).encode() for i in range(channel, 3_000, 7)]
        assert [p.body for p in post.taken(f"a:{channel}", 1_000)] == expected


def test_followers_hear_when_it_is_durable_and_not_of_what_was_undone(post: Post) -> None:
    post.put(Parcel("a:1", b"", 1), Parcel("a:2", b"", 1))
    assert post.told == [{"a:1", "a:2"}]

    def fails(tx: Transaction) -> None:
        post.outbox.put(tx, [Parcel("a:3", b"", 1)])
        raise RuntimeError("the command is faulty")

    with pytest.raises(RuntimeError):
        post.ask(Within(kind="", work=fails))
    assert post.store.waiting() == {"a:1": 1, "a:2": 1}


def test_large_parcels_are_taken_few_at_a_time_but_never_none(post: Post) -> None:
    post.put(*(Parcel("a:1", bytes(700_000), i) for i in range(4)), Parcel("a:2", bytes(PARCEL_BYTES_MAX), 1))
    assert len(post.taken("a:1")) == 2
    assert len(post.taken("a:2")) == 1
    with pytest.raises(TooLarge):
        post.put(Parcel("a:1", bytes(PARCEL_BYTES_MAX + 1), 1))


def test_what_was_put_since_tells_which_channels_to_look_at(post: Post) -> None:
    assert (post.store.last(), post.store.put_since(0)) == (0, [])
    post.put(Parcel("a:1", b"", 1))
    last = post.store.last()
    assert post.store.put_since(0) == ["a:1"]
    post.put(Parcel("a:2", b"", 1))
    assert post.store.put_since(last) == ["a:2"]


def test_numbers_are_never_used_again(post: Post) -> None:
    [parcel] = post.texts("a:1", "one")
    post.ask(Settle(settlements=(Settlement(channel="a:1", at=NOON, done=(parcel.n,)),)))
    [later] = post.texts("a:1", "two")
    assert later.n > parcel.n


def test_settling_deletes_what_is_done_and_counts(post: Post) -> None:
    parcels = post.texts("a:1", "one", "two", "three")
    others = post.texts("a:2", "other")
    done = Settlement(channel="a:1", at=NOON + 1, done=tuple(p.n for p in parcels[:2]))
    failed = Settlement(channel="a:2", at=NOON + 2, error="answered 500", attempts=1, failures=1, next_at=NOON + 9)
    post.ask(Settle(settlements=(failed, done)))
    assert [p.body for p in post.taken("a:1")] == [b"three"]
    assert post.taken("a:2") == others
    one, two = post.state("a:1"), post.state("a:2")
    assert (one.state, one.times_sent, one.last_sent_at, one.times_failed) == ("active", 2, NOON + 1, 0)
    assert (two.state, two.times_sent, two.times_failed, two.last_failed_at) == ("failing", 0, 1, NOON + 2)
    assert (two.last_error, two.attempts, two.failures, two.next_at) == ("answered 500", 1, 1, NOON + 9)
    post.ask(Settle(settlements=(Settlement(channel="a:2", at=NOON + 10, done=(others[0].n,)),)))
    healed = post.state("a:2")
    assert (healed.state, healed.failures, healed.times_sent, healed.times_failed) == ("active", 0, 1, 1)
    assert (healed.last_error, healed.last_failed_at) == ("answered 500", NOON + 2)
    assert post.kinds() == []  # deliveries do not fill the ledger


def test_dead_letters_are_kept_listed_and_resent(post: Post) -> None:
    parcels = post.texts("a:1", "one", "two", "three")
    post.bury("a:1", parcels[:2])
    assert [p.body for p in post.taken("a:1")] == [b"three"]
    letters = post.store.dead("a:1", 10, 0)
    assert [(one.parcel.n, one.parcel.body, one.size, one.reason, one.attempts) for one in letters] == [
        (parcels[1].n, b"", 3, "answered 500", 3),
        (parcels[0].n, b"", 3, "answered 500", 3),
    ]
    assert post.store.dead("", 1, 1) == letters[1:]
    assert (post.store.count_dead("a:1"), post.store.count_dead("a:2"), post.state("a:1").dead) == (2, 0, 2)
    whole = post.store.dead_letter(parcels[0].n)
    assert whole is not None
    assert (whole.parcel, whole.reason, whole.size) == (parcels[0], "answered 500", 3)
    post.told.clear()
    assert post.ask(Resend(channel="a:1", parcels=(parcels[0].n,))) == 1
    assert post.told == [{"a:1"}]
    assert [p.body for p in post.taken("a:1")] == [b"three", b"one"]
    assert post.ask(Resend(channel="a:1")) == 1
    assert [p.body for p in post.taken("a:1")] == [b"three", b"one", b"two"]
    assert post.state("a:1").dead == 0
    with pytest.raises(NotFound):
        post.ask(Resend(channel="a:1", parcels=(parcels[0].n,)))
    assert post.kinds() == ["outbox.dead", "outbox.resent", "outbox.resent"]


def test_dead_letters_are_dropped_only_from_their_channel(post: Post) -> None:
    [one], [two] = post.texts("a:1", "one"), post.texts("a:2", "two")
    post.bury("a:1", [one])
    post.bury("a:2", [two])
    with pytest.raises(NotFound):
        post.ask(DropDead(channel="a:2", parcels=(one.n,)))
    assert post.ask(DropDead(channel="a:1")) == 1
    assert [letter.parcel.n for letter in post.store.dead("", 10, 0)] == [two.n]


def test_a_channel_is_held_by_one_process_until_its_time_is_up(post: Post) -> None:
    now = post.clock.now()
    claim = ClaimChannels(ids=("a:1", "a:2"), holder="first", until=now + MINUTE)
    assert sorted(post.ask(claim)) == ["a:1", "a:2"]
    assert post.ask(ClaimChannels(ids=("a:2",), holder="second", until=now + MINUTE)) == []
    assert sorted(post.ask(claim)) == ["a:1", "a:2"]
    post.clock.advance(MINUTE)
    assert post.ask(ClaimChannels(ids=("a:2",), holder="second", until=now + 2 * MINUTE)) == ["a:2"]
    assert post.state("a:1").holder == "first"
    assert post.state("a:2").holder == "second"


def test_paused_keeps_and_resumed_begins_anew(post: Post) -> None:
    post.ask(PauseChannel(channel="a:1"))
    [parcel] = post.texts("a:1", "one")
    post.ask(Settle(settlements=(Settlement(channel="a:1", at=NOON, error="late", attempts=4, failures=4, next_at=9),)))
    assert post.state("a:1").state == "paused"
    post.told.clear()
    post.ask(ResumeChannel(channel="a:1"))
    found = post.state("a:1")
    assert (found.state, found.attempts, found.failures, found.next_at) == ("active", 0, 0, 0)
    assert (found.last_error, post.told, post.taken("a:1")) == ("late", [{"a:1"}], [parcel])
    assert post.kinds() == ["outbox.paused", "outbox.resumed"]


def test_a_closed_channel_takes_nothing_more_and_counts_it(post: Post) -> None:
    [parcel] = post.texts("a:1", "one")
    post.ask(Settle(settlements=(Settlement(channel="a:1", at=NOON, close="100 messages wait"),)))
    found = post.state("a:1")
    assert (found.state, found.last_error) == ("closed", "100 messages wait")
    assert not post.outbox.takes("a:1")
    post.put(Parcel("a:1", b"two", 1), Parcel("a:2", b"", 1), Parcel("a:1", b"three", 1))
    assert post.taken("a:1") == [parcel]
    assert post.state("a:1").times_refused == 2
    assert not Outbox(post.store).takes("a:1")  # nor after a restart
    post.ask(ResumeChannel(channel="a:1"))
    post.put(Parcel("a:1", b"four", 1))
    assert [p.body for p in post.taken("a:1")] == [b"one", b"four"]
    assert post.kinds() == ["outbox.closed", "outbox.resumed"]


def test_dropping_a_channel_forgets_all_of_it(post: Post) -> None:
    parcels = post.texts("a:1", "one", "two")
    post.bury("a:1", parcels[:1])
    assert post.ask(DropChannel(channel="a:1")) is True
    assert post.store.states(["a:1"]) == {}
    assert (post.store.waiting(), post.store.count_dead("")) == ({}, 0)
    # What was under way when it was dropped leaves no trace.
    post.bury("a:1", parcels[1:])
    assert post.store.states(["a:1"]) == {}
    assert post.store.count_dead("") == 0
    assert post.ask(DropChannel(channel="a:1")) is False


def test_channels_are_listed_those_in_trouble_first(post: Post) -> None:
    for channel in ("a:1", "a:2", "a:3", "a:4"):
        post.texts(channel, "x")
    post.ask(PauseChannel(channel="a:2"))
    failed = Settlement(channel="a:4", at=NOON, error="late", attempts=1, failures=1)
    post.ask(Settle(settlements=(failed, Settlement(channel="a:3", at=NOON, close="too many"))))
    assert [one.id for one in post.store.channels("", 10, 0)] == ["a:3", "a:4", "a:2", "a:1"]
    assert [one.id for one in post.store.channels("", 2, 1)] == ["a:4", "a:2"]
    assert [one.id for one in post.store.channels("paused", 10, 0)] == ["a:2"]
    assert (post.store.count_channels(""), post.store.count_channels("closed")) == (4, 1)


def test_an_error_of_one_command_leaves_its_neighbours_alone(post: Post) -> None:
    def refuses(tx: Transaction) -> None:
        raise InvalidInput("no")

    wanted = post.writer.submit(
        Request(command=Within(kind="", work=lambda tx: post.outbox.put(tx, [Parcel("a:1", b"", 1)])), actor="tester")
    )
    refused = post.writer.submit(Request(command=Within(kind="", work=refuses), actor="tester"))
    wanted.result(60)
    with pytest.raises(InvalidInput):
        refused.result(60)
    assert post.store.waiting() == {"a:1": 1}


async def _two_processes(post: Post) -> None:
    first, second = FakeTransport(), FakeTransport()
    one, other = post.dispatcher(first, "one"), post.dispatcher(second, "other")
    post.put(Parcel("a:1", b"1", NOON))
    await turns(one)
    await turns(other)
    post.put(Parcel("a:1", b"2", NOON))
    post.clock.advance(MINUTE // 3)  # the other sweeps now, and the lease holds
    await turns(other)
    assert (first.got("a:1"), second.got("a:1")) == (["1"], [])
    post.clock.advance(MINUTE)  # the first has not come back
    await turns(other)
    assert (first.got("a:1"), second.got("a:1")) == (["1"], ["2"])
    one.close()
    other.close()


def test_a_channel_is_sent_by_one_process_until_that_does_not_come_back(post: Post) -> None:
    asyncio.run(_two_processes(post))
