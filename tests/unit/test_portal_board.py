"""The board: state of things, key figures, and what streams tell of changes."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from hutong.kernel.access import ANONYMOUS
from hutong.kernel.clock import DAY, MINUTE, SECOND, FrozenClock
from hutong.portal import board as boards_module
from hutong.portal.board import Board, Boards
from hutong.portal.ports import Portal
from hutong.portal.stream import Streams
from hutong.portal.things import State
from tests.fake_city import NOON, FakeSense, fake_portal

FIRST = "urn:ngsi-ld:OffStreetParking:sim-001"


class Scene:
    """A city, its board and its clock."""

    def __init__(self, portal: Portal, sense: FakeSense, clock: FrozenClock, board: Board) -> None:
        self.portal, self.sense, self.clock, self.board = portal, sense, clock, board

    def state(self, id: str) -> State:
        return next(thing.state for thing in self.board.things() if thing.id == id)

    async def refresh(self) -> None:
        await asyncio.sleep(0)  # let the follower hear
        await asyncio.sleep(0)
        self.clock.advance(2 * SECOND)
        await self.board.refresh()


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def playing() -> None:
        clock = FrozenClock(NOON)
        portal, sense = fake_portal(clock)
        boards = Boards(portal)
        await scene(Scene(portal, sense, clock, await boards.of(portal.platforms[0], ANONYMOUS)))
        await boards.close()

    asyncio.run(playing())


def test_every_thing_has_one_state_and_they_add_up() -> None:
    async def scene(at: Scene) -> None:
        summary = at.board.summary
        assert summary.things == 110
        assert all(summary.states[state] > 0 for state in State)
        assert summary.reporting == 110 - summary.states[State.SILENT]

    play(scene)


def test_key_figures_leave_silent_and_suspect_things_out() -> None:
    async def scene(at: Scene) -> None:
        before = at.board.summary.figures["free"]
        free = at.sense.entities[FIRST].attributes["availableSpotNumber"].value
        total = at.sense.entities[FIRST].attributes["totalSpotNumber"].value
        at.sense.observe(FIRST, total + 5)
        await at.refresh()
        after = at.board.summary.figures["free"]
        assert at.state(FIRST) == State.SUSPECT
        assert before.total is not None
        assert (after.total, after.things) == (before.total - free, before.things - 1)

    play(scene)


def test_silence_comes_with_the_clock_alone_and_goes_with_news() -> None:
    async def scene(at: Scene) -> None:
        assert at.state(FIRST) == State.GOOD
        at.clock.advance(45 * MINUTE)
        await at.board.refresh()
        assert at.state(FIRST) == State.SILENT
        at.sense.observe(FIRST, 30)
        await at.refresh()
        assert at.state(FIRST) == State.GOOD

    play(scene)


def test_history_played_back_is_not_silent() -> None:
    async def scene(at: Scene) -> None:
        entity = at.sense.entities[FIRST]
        entity.observed_at, entity.modified_at = 0, at.clock.now()
        at.sense.observe(FIRST, 30)
        at.sense.entities[FIRST].observed_at = at.clock.now() - 1000 * DAY
        await at.refresh()
        assert at.state(FIRST) == State.GOOD

    play(scene)


def test_changes_tell_only_what_was_not_seen_and_each_thing_once() -> None:
    async def scene(at: Scene) -> None:
        seen = at.board.sequence
        for free in (10, 11, 12):
            at.sense.observe(FIRST, free)
            await at.refresh()
        upto, things, gone = at.board.changes(seen)
        assert [thing.value("availableSpotNumber") for thing in things] == [12]
        assert not gone
        assert at.board.changes(upto) == (upto, [], [])

    play(scene)


def test_what_was_deleted_is_told_of() -> None:
    async def scene(at: Scene) -> None:
        seen = at.board.sequence
        del at.sense.entities[FIRST]
        await at.refresh()
        assert at.board.changes(seen)[2] == [FIRST]
        assert at.board.summary.things == 109

    play(scene)


def test_a_slow_client_gets_many_changes_in_bounded_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards_module, "CHANGES_MAX", 40)

    async def scene(at: Scene) -> None:
        seen, told = 0, []
        while seen < at.board.sequence:
            seen, things, _ = at.board.changes(seen)
            assert len(things) <= 40
            told += [thing.id for thing in things]
        assert sorted(told) == sorted(at.sense.entities)

    play(scene)


def test_a_stream_goes_on_where_the_client_was_and_resets_another_epoch() -> None:
    async def scene(at: Scene) -> None:
        streams = Streams(at.portal)
        since = f"{at.board.epoch}-{at.board.sequence}"
        at.sense.observe(FIRST, 17)
        await at.refresh()
        told = streams.follow(at.board, "en", since)
        await anext(told)  # how soon to come back
        change = json.loads(str((await anext(told)).data))
        assert [thing["id"] for thing in change["things"]] == [FIRST]
        assert change["things"][0]["texts"]["availableSpotNumber"]["text"] == "17"
        assert change["summary"]["things"] == "110"
        await told.aclose()
        old = streams.follow(at.board, "en", "another-5")
        assert (await anext(old)).event == "reset"
        await old.aclose()
        assert at.board.watchers == 0

    play(scene)


def test_a_board_whose_follower_failed_is_replaced() -> None:
    async def scene(at: Scene) -> None:
        boards = Boards(at.portal)
        first = await boards.of(at.portal.platforms[0], ANONYMOUS)
        assert await boards.of(at.portal.platforms[0], ANONYMOUS) is first
        await first.close()
        second = await boards.of(at.portal.platforms[0], ANONYMOUS)
        assert second is not first
        await boards.close()

    play(scene)
