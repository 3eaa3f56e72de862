"""The dispatcher under a clock that is put forward: order, retries, bounds, and what an operator does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hutong.kernel.clock import HOUR, MINUTE, SECOND
from hutong.kernel.dispatching import BATCH_MAX, SENDING_MAX
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, ReceiverAway
from hutong.kernel.outbox import Parcel, PauseChannel, Resend, ResumeChannel, Sent
from tests.outbox import FakeTransport, Post, turns


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    post = Post(f"sqlite:///{tmp_path / 'outbox.db'}")
    yield post
    post.close()


def put(post: Post, *texts: str, channel: str = "a:1") -> None:
    post.put(*(Parcel(channel, text.encode(), post.clock.now()) for text in texts))


def failing(error: Exception, *texts: str) -> FakeTransport:
    """A transport that fails at parcels with these texts (at all when none is named) while they come first."""

    def answer(channel: str, parcels: Sequence[Parcel]) -> Sent | None:
        if not texts or parcels[0].body.decode() in texts:
            raise error
        bad = next((i for i, parcel in enumerate(parcels) if parcel.body.decode() in texts), len(parcels))
        return Sent(bad)

    return FakeTransport(answer)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_what_waits_is_sent_in_order_and_gone(post: Post) -> None:
    transport = FakeTransport()
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        put(post, *map(str, range(3 * BATCH_MAX)))
        put(post, "other", channel="a:2")
        await turns(dispatcher, 6)

    run(work)
    assert transport.got("a:1") == list(map(str, range(3 * BATCH_MAX)))
    assert transport.got("a:2") == ["other"]
    assert post.store.waiting() == {}
    assert post.state("a:1").times_sent == 3 * BATCH_MAX
    dispatcher.close()


def test_a_channel_that_hangs_keeps_no_other_waiting(post: Post) -> None:
    transport = FakeTransport()
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        transport.gates["a:1"] = asyncio.Event()
        put(post, "stuck", "after")
        put(post, "free", channel="a:2")
        for _ in range(4):
            await dispatcher.turn()
            await asyncio.sleep(0)
        assert transport.batches == [("a:2", ["free"])]
        transport.gates["a:1"].set()
        await dispatcher.idle()
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["stuck", "after"]
    dispatcher.close()


def test_failures_are_tried_again_after_growing_pauses(post: Post) -> None:
    transport = failing(DeliveryFailed("answered 500"))
    dispatcher = post.dispatcher(transport)
    pauses = []

    async def work() -> None:
        put(post, "one")
        for _ in range(6):
            await turns(dispatcher)
            state = post.state("a:1")
            pauses.append(state.next_at - post.clock.now())
            post.clock.advance(pauses[-1] - 1)
            before = post.state("a:1").times_failed
            await turns(dispatcher)
            assert post.state("a:1").times_failed == before  # not a moment earlier
            post.clock.advance(1)
        transport.answer = lambda channel, parcels: None
        await turns(dispatcher)

    run(work)
    assert all(0.8 * SECOND * 2**i <= pause <= SECOND * 2**i for i, pause in enumerate(pauses))
    assert transport.got("a:1") == ["one"]
    state = post.state("a:1")
    assert (state.state, state.times_failed, state.failures, state.last_error) == ("active", 6, 0, "answered 500")
    dispatcher.close()


def test_retries_are_scattered(post: Post) -> None:
    dispatcher = post.dispatcher(failing(DeliveryFailed("answered 500")))

    async def work() -> None:
        for i in range(5):
            put(post, "one", channel=f"a:{i}")
        await turns(dispatcher)

    run(work)
    assert len({post.state(f"a:{i}").next_at for i in range(5)}) == 5
    dispatcher.close()


def test_a_message_tried_too_often_is_given_up_and_the_next_goes_on_at_once(post: Post) -> None:
    transport = failing(DeliveryFailed("answered 500"), "poison")
    dispatcher = post.dispatcher(transport, attempts_max=3)

    async def work() -> None:
        put(post, "before", "poison", "after", "more")
        for _ in range(4):
            await turns(dispatcher)
            post.clock.advance(MINUTE)

    run(work)
    assert transport.got("a:1") == ["before", "after", "more"]
    [letter] = post.store.dead("a:1", 10, 0)
    assert (letter.size, letter.attempts, letter.reason) == (len("poison"), 3, "answered 500")
    state = post.state("a:1")
    assert (state.state, state.dead, state.times_sent, state.times_failed) == ("active", 1, 3, 3)
    assert post.kinds() == ["outbox.dead"]
    dispatcher.close()


def test_a_refused_message_is_given_up_at_once(post: Post) -> None:
    transport = failing(DeliveryRefused("answered 400"), "bad")
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        put(post, "bad", "good")
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["good"]
    assert [one.reason for one in post.store.dead("a:1", 10, 0)] == ["answered 400"]
    dispatcher.close()


def test_while_nobody_answers_only_age_gives_messages_up(post: Post) -> None:
    transport = failing(ReceiverAway("no answer within 5 s"))
    dispatcher = post.dispatcher(transport, attempts_max=3, age_max=HOUR)

    async def work() -> None:
        put(post, "old", "older")
        post.clock.advance(30 * MINUTE)
        put(post, "young")
        for _ in range(5):  # more failures than a message that is to blame would get
            await turns(dispatcher)
            post.clock.advance(5 * MINUTE)
        assert post.state("a:1").dead == 0
        for _ in range(3):
            await turns(dispatcher)
            post.clock.advance(5 * MINUTE)
        transport.answer = lambda channel, parcels: None
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["young"]
    reasons = [one.reason for one in post.store.dead("a:1", 10, 0)]
    assert reasons == ["too old: no answer within 5 s", "no answer within 5 s"]
    dispatcher.close()


def test_a_channel_where_too_much_waits_is_closed_and_says_so(post: Post) -> None:
    transport = failing(ReceiverAway("no answer"))
    dispatcher = post.dispatcher(transport, waiting_max=10)

    async def work() -> None:
        put(post, "first")
        await turns(dispatcher)
        put(post, *map(str, range(10)))
        post.clock.advance(MINUTE)
        await turns(dispatcher)
        put(post, "refused")
        transport.answer = lambda channel, parcels: None
        post.clock.advance(MINUTE)
        await turns(dispatcher)
        state = post.state("a:1")
        assert (state.state, state.times_refused, transport.batches) == ("closed", 1, [])
        assert state.last_error.startswith("11 messages wait, 10 is the most")
        post.ask(ResumeChannel(channel="a:1"))
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["first", *map(str, range(10))]
    assert post.kinds() == ["outbox.closed", "outbox.resumed"]
    dispatcher.close()


def test_a_channel_with_too_many_dead_letters_is_closed(post: Post) -> None:
    dispatcher = post.dispatcher(failing(DeliveryRefused("answered 400")), dead_max=3)

    async def work() -> None:
        put(post, *map(str, range(5)))
        await turns(dispatcher, 8)

    run(work)
    state = post.state("a:1")
    assert (state.state, state.dead, post.store.waiting()) == ("closed", 3, {"a:1": 2})
    assert state.last_error.startswith("3 messages could not be delivered, 3 is the most")
    dispatcher.close()


def test_throttled_channels_are_asked_again_when_they_say(post: Post) -> None:
    transport = FakeTransport(lambda channel, parcels: Sent(1, post.clock.now() + 20 * SECOND))
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        put(post, "one", "two")
        await turns(dispatcher)
        post.clock.advance(19 * SECOND)
        put(post, "three")
        await turns(dispatcher)
        assert transport.got("a:1") == ["one"]
        post.clock.advance(SECOND)
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["one", "two"]
    assert post.state("a:1").state == "active"
    dispatcher.close()


def test_a_pause_keeps_and_resuming_sends(post: Post) -> None:
    transport = FakeTransport()
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        post.ask(PauseChannel(channel="a:1"))
        put(post, "one")
        await turns(dispatcher)
        assert transport.batches == []
        post.ask(ResumeChannel(channel="a:1"))
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["one"]
    dispatcher.close()


def test_what_is_resent_goes_last(post: Post) -> None:
    transport = failing(DeliveryRefused("answered 400"), "bad")
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        put(post, "bad", "good")
        await turns(dispatcher)
        transport.answer = lambda channel, parcels: None
        post.ask(Resend(channel="a:1"))
        await turns(dispatcher)

    run(work)
    assert transport.got("a:1") == ["good", "bad"]
    assert post.state("a:1").dead == 0
    dispatcher.close()


def test_faults_and_kinds_that_nothing_sends_are_failures_with_a_reason(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = post.dispatcher(failing(ZeroDivisionError("a bug")))

    async def work() -> None:
        put(post, "one")
        put(post, "two", channel="fax:1")
        await turns(dispatcher)

    run(work)
    assert post.state("a:1").last_error == "a fault inside; it was logged"
    assert post.state("fax:1").last_error == "nothing here sends messages of the kind fax"
    assert "a bug" in caplog.text
    dispatcher.close()


def test_no_more_channels_are_sent_at_a_time_than_the_bound(post: Post) -> None:
    transport = FakeTransport()
    dispatcher = post.dispatcher(transport)

    async def work() -> None:
        gate = asyncio.Event()
        transport.gates = {f"a:{i}": gate for i in range(SENDING_MAX + 20)}
        post.put(*(Parcel(channel, b"x", 1) for channel in transport.gates))
        for _ in range(4):
            await dispatcher.turn()
        assert len(dispatcher._sending) == SENDING_MAX
        gate.set()
        await turns(dispatcher)

    run(work)
    assert len(transport.batches) == SENDING_MAX + 20
    dispatcher.close()


def test_it_runs_by_itself_from_commit_to_sent_and_leaves_cleanly(post: Post) -> None:
    arrived: asyncio.Queue[str] = asyncio.Queue()

    def answer(channel: str, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            arrived.put_nowait(parcel.body.decode())

    dispatcher = post.dispatcher(FakeTransport(answer))
    post.outbox.unfollow(dispatcher.wake)

    async def work() -> None:
        put(post, "before it ran")
        running = asyncio.create_task(dispatcher.run())
        async with asyncio.timeout(30):
            assert await arrived.get() == "before it ran"
            put(post, "while it runs")  # the clock stands: nothing but the commit can have told
            assert await arrived.get() == "while it runs"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(work)
    assert post.store.waiting() == {}
    assert post.state("a:1").held_until == 0  # another process may have it at once
    dispatcher.close()


def test_the_next_one_goes_on_where_it_stood(post: Post) -> None:
    first = post.dispatcher(failing(DeliveryFailed("answered 500")), holder="main")
    transport = FakeTransport()
    second = post.dispatcher(transport, holder="main")  # the same process, started again

    async def work() -> None:
        put(post, "one")
        await turns(first)
        await turns(second)
        assert transport.batches == []  # its pause holds
        post.clock.advance(SECOND)
        await turns(second)

    run(work)
    assert transport.got("a:1") == ["one"]
    assert (post.state("a:1").times_sent, post.state("a:1").times_failed) == (1, 1)
    first.close()
    second.close()
