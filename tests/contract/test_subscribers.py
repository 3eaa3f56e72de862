"""What each subscriber may be shown, on every store; decided when it is told, and closed when in doubt."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest

from hutong.engines.sense.declarations import EntityDeclaration
from hutong.engines.sense.engine import SenseEngine
from hutong.engines.sense.followers import Followers
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import Compare, Selector
from hutong.engines.sense.subscribers import Subscribers
from hutong.engines.sense.subscriptions import Subscription, channel_of, read_notice
from hutong.kernel.access import Access, Actor, Grade, Grant, QueuedAccessLog
from hutong.kernel.clock import HOUR
from hutong.kernel.errors import AccessDenied, NotAuthenticated, NotFound
from hutong.kernel.ids import CountedIds
from hutong.kernel.outbox import Parcel
from hutong.kernel.tokens import Tokens
from hutong.store.sql.access import SqlGrants, SqlTokens
from tests.contract.core import NOON, TANK, Core

A = "urn:ngsi-ld:Tank:a"
ID = "urn:ngsi-ld:Subscription:s"
TANKS = (Selector(types=(("Tank",),)),)
ADMIN = Actor(id="root", roles=("admin",))
CLERK = Actor(id="clerk", roles=("operator",))  # cleared for what is by agreement
HEAD = Actor(id="head", roles=("staff",))  # cleared for everything
ANYBODY = Actor(id="anybody", roles=("developer",))
T = TypeVar("T")


class World:
    """A core whose tanks have an open name, a level by agreement and a closed pressure."""

    def __init__(self, url: str, folder: Path) -> None:
        self.core = Core(url, folder)
        grades = {"level": "agreement", "pressure": "closed"}
        properties = cast("dict[str, Any]", TANK["property"])
        named = {name: {**one, "grade": grades.get(name, "open")} for name, one in properties.items()}
        declared = msgspec.convert({**TANK, "property": named}, EntityDeclaration)
        overlays = {"Tank": Overlay("Tank", declared, lambda *_: "", {})}
        self.access = Access(self.core.clock, CountedIds(), QueuedAccessLog(), SqlGrants(self.core.database))
        self.tokens = Tokens(self.access, SqlTokens(self.core.database), self.core.clock, CountedIds())
        core = self.core
        self.engine = SenseEngine(
            overlays,
            core.entities,
            core.alerts,
            core.documents,
            core.past,
            core.lake,
            core.writer,
            self.access,
            Followers(),
            lambda lon, lat: "",
            core.subscriptions,
            core.outbox.store,
            lambda actor: self.access.holding(self.tokens.actor(actor.id), actor.grants),
        )

    @property
    def subscribers(self) -> Subscribers:
        return self.engine.subscribers

    def known(self, actor: Actor) -> str:
        with self.core.database.begin() as tx:
            return self.tokens.issue(tx, ADMIN, actor.id, msgspec.structs.replace(actor, kind="service"))[0].id

    def subscribe(self, actor: Actor, **given: Any) -> None:
        run(self.subscribers.subscribe(actor, "", Subscription(id=ID, selectors=TANKS, **given), "new"))

    def told(self) -> list[set[str]]:
        """The attributes told of each notice that is told at all."""
        kept = self.subscribers.known("", ID)
        assert kept is not None
        channel = channel_of("", ID)
        parcels: list[Parcel] = self.core.outbox.store.take([channel], 100)[channel]
        shown = self.subscribers.shown(
            self.subscribers.reader(kept), kept, [read_notice(parcel.body) for parcel in parcels]
        )
        return [set(entity.attributes) for entity, _ in shown]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    world = World(database_url, tmp_path)
    yield world
    world.engine.close()
    world.core.close()


def test_a_subscriber_is_told_what_it_may_see_and_not_that_anything_else_moved(world: World) -> None:
    world.known(CLERK)
    world.subscribe(CLERK)
    world.core.observe(A, NOON, name="n", level=1.0, pressure=1.0)
    world.core.observe(A, NOON + 1, pressure=2.0)
    assert world.told() == [{"name", "level"}]


def test_one_that_asks_by_what_it_may_not_see_is_refused(world: World) -> None:
    with pytest.raises(AccessDenied):
        world.subscribe(CLERK, where=Compare(("pressure",), ">", (5,)))
    with pytest.raises(AccessDenied):
        world.subscribe(CLERK, watched=("pressure",))
    with pytest.raises(AccessDenied):
        world.subscribe(ANYBODY)


def test_after_its_token_has_ended_nobody_is_told(world: World) -> None:
    token = world.known(HEAD)
    world.subscribe(HEAD, where=Compare(("pressure",), ">", (0,)))
    world.core.observe(A, NOON, pressure=1.0)
    assert world.told() == [{"pressure"}]
    with world.core.database.begin() as tx:
        world.tokens.revoke(tx, ADMIN, token)
    with pytest.raises(NotAuthenticated):
        world.told()


def test_a_lesser_role_since_then_sees_less(world: World) -> None:
    first = world.known(HEAD)
    world.subscribe(HEAD)
    world.core.observe(A, NOON, name="n", pressure=1.0)
    with world.core.database.begin() as tx:
        world.tokens.revoke(tx, ADMIN, first)
        lesser = Actor(id=HEAD.id, kind="service", roles=("operator",))
        world.core.clock.advance(1)
        world.tokens.issue(tx, ADMIN, "again", lesser)
    assert world.told() == [{"name"}]


def test_a_grant_counts_until_it_ends(world: World) -> None:
    world.known(CLERK)
    with world.core.database.begin() as tx:
        given = Grant(id="", to=CLERK.id, grade=Grade.CLOSED, purpose="study", expires_at=NOON + HOUR)
        grant = world.access.grant(tx, ADMIN, given)
    world.subscribe(msgspec.structs.replace(CLERK, grants=(grant,)))
    world.core.observe(A, NOON, name="n", pressure=1.0)
    assert world.told() == [{"name", "pressure"}]
    world.core.clock.advance(HOUR)
    assert world.told() == [{"name"}]


def test_a_dropped_one_is_gone_with_all_that_waited(world: World) -> None:
    world.subscribe(HEAD)
    world.core.observe(A, NOON, level=1.0)
    run(world.subscribers.unsubscribe(HEAD, "", ID))
    assert world.core.outbox.store.waiting() == {}
    with pytest.raises(NotFound):
        run(world.subscribers.one(HEAD, "", ID))


def test_periodic_ones_see_what_is_now(world: World) -> None:
    world.known(CLERK)
    world.subscribe(CLERK, interval=HOUR)
    world.core.observe(A, NOON, name="n", pressure=1.0)
    kept = world.subscribers.known("", ID)
    assert kept is not None
    [entity] = run(world.subscribers.current(CLERK, kept))
    assert set(entity.attributes) == {"name"}


def test_operators_read_who_subscribes(world: World) -> None:
    world.subscribe(HEAD)
    [relation] = [one for one in world.engine.relations() if one.name == "sense.subscription"]
    columns = ("id", "owner", "state", "times_sent")
    assert relation.rows(CLERK, columns, 10).rows() == [(ID, "head", "active", 0)]
    assert relation.rows(ANYBODY, columns, 10).rows() == []
