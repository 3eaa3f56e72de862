"""Tokens, grants and the access log on every store."""

from collections.abc import Iterator

import pytest

from hutong.kernel.access import Access, AccessEntry, Actor, Grade, Grant, QueuedAccessLog
from hutong.kernel.clock import HOUR, FrozenClock
from hutong.kernel.errors import NotAuthenticated, NotFound
from hutong.kernel.ids import CountedIds
from hutong.kernel.tokens import Tokens
from hutong.store.sql.access import SqlAccessLog, SqlGrants, SqlTokens
from hutong.store.sql.database import SqlDatabase

ADMIN = Actor(id="root", roles=("admin",))
FIRM = Actor(id="bot", kind="service", organisation="firm", roles=("developer",))
GATE = Actor(id="gate", kind="service", organisation="车场", roles=("device", "developer"), types=("Device", "停车场"))


@pytest.fixture
def database(database_url: str) -> Iterator[SqlDatabase]:
    opened = SqlDatabase(database_url)
    yield opened
    opened.close()


class World:
    def __init__(self, database: SqlDatabase) -> None:
        self.database, self.clock, self.log = database, FrozenClock("2026-05-01T10:00:00+08:00"), QueuedAccessLog()
        self.store, self.ids = SqlTokens(database), CountedIds()
        self.access = Access(self.clock, self.ids, self.log, SqlGrants(database))
        self.tokens = Tokens(self.access, self.store, self.clock, self.ids)


@pytest.fixture
def world(database: SqlDatabase) -> World:
    return World(database)


def test_tokens_survive_a_restart(world: World) -> None:
    with world.database.begin() as tx:
        token, text = world.tokens.issue(tx, ADMIN, "gate 1", GATE, world.clock.now() + HOUR)
        world.tokens.issue(tx, ADMIN, "gate 2", Actor(id="", kind="service", roles=("staff",)))
    again = World(world.database)
    assert again.tokens.verify(text) == GATE
    assert again.store.get(token.id) == token
    assert [kept.name for kept in again.store.all()] == ["gate 2", "gate 1"]
    assert again.store.all()[0].expires_at is None


def test_revocation_and_use_are_kept(world: World) -> None:
    with world.database.begin() as tx:
        token, text = world.tokens.issue(tx, ADMIN, "gate 1", GATE)
    world.tokens.verify(text)
    with world.database.begin() as tx:
        world.tokens.save_use(tx)
        world.tokens.revoke(tx, ADMIN, token.id)
    kept = world.store.get(token.id)
    assert kept is not None
    assert (kept.last_used_at, kept.revoked_at) == (world.clock.now(), world.clock.now())
    with pytest.raises(NotAuthenticated, match="was revoked"):
        World(world.database).tokens.verify(text)
    for id in (token.id, "0" * 26):
        with world.database.begin() as tx, pytest.raises(NotFound):
            world.tokens.revoke(tx, ADMIN, id)


def test_grants_are_kept_until_revoked(world: World) -> None:
    wanted = Grant(id="", to="firm", grade=Grade.CLOSED, purpose="研究", expires_at=world.clock.now() + HOUR,
                   place="330106", types=("Device", "停车场"))  # fmt: skip
    with world.database.begin() as tx:
        grant = world.access.grant(tx, ADMIN, wanted)
        world.access.grant(tx, ADMIN, Grant(id="", to="another", grade=Grade.CLOSED, purpose="研究",
                                            expires_at=world.clock.now() + HOUR))  # fmt: skip
    assert World(world.database).access.for_purpose(FIRM, "研究").grants == (grant,)
    with world.database.begin() as tx:
        world.access.revoke_grant(tx, ADMIN, grant.id)
    assert world.access.for_purpose(FIRM, "研究").grants == ()
    with world.database.begin() as tx, pytest.raises(NotFound):
        world.access.revoke_grant(tx, ADMIN, grant.id)


def test_the_access_log_answers_who_looked(world: World) -> None:
    for n in range(3):
        world.access.decide(
            ADMIN, "sense.read", grade=Grade.CLOSED, purpose="case 7", what=f"urn:{n % 2}", place="330106"
        )
    world.access.decide(FIRM, "admin.tokens", what="urn:0")
    entries = world.log.take()
    store = SqlAccessLog(world.database)
    with world.database.begin() as tx:
        store.write(tx, entries)
    assert store.find() == entries[::-1]
    assert store.find(what="urn:0") == [entries[3], entries[2], entries[0]]
    assert store.find(actor="bot") == [entries[3]]
    assert store.find(what="urn:0", actor="root", limit=1) == [entries[2]]
    assert isinstance(store.find()[0], AccessEntry)
    assert (entries[0].allowed, entries[3].allowed) == (True, False)
