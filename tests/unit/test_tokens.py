"""API tokens: issued once, verified fast, revoked at once."""

from collections.abc import Mapping

import pytest

from hutong.kernel.access import Access, Actor, Grade, QueuedAccessLog
from hutong.kernel.clock import HOUR, SECOND, FrozenClock
from hutong.kernel.errors import AccessDenied, InvalidInput, NotAuthenticated, NotFound
from hutong.kernel.ids import CountedIds
from hutong.kernel.tokens import CACHE_MAX, CACHE_TIME, Token, Tokens
from hutong.kernel.transactions import Transaction
from tests.unit.test_access import HeldInMemory, NoTransaction

ADMIN = Actor(id="root", roles=("admin",))
DEVICE = Actor(id="", kind="service", roles=("device",), types=("OffStreetParking",), place="330106000000")
TX = NoTransaction()


class KeptInMemory:
    """A token store for these tests; counts how often it is asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.revoked: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.asked = 0

    def insert(self, tx: Transaction, token: Token) -> None:
        self.tokens[token.id] = token

    def get(self, id: str) -> Token | None:
        self.asked += 1
        return self.tokens.get(id)

    def all(self) -> list[Token]:
        return list(self.tokens.values())

    def revoke(self, tx: Transaction, id: str, at: int) -> bool:
        return id in self.tokens and self.revoked.setdefault(id, at) == at

    def touch(self, tx: Transaction, used: Mapping[str, int]) -> None:
        self.used.update(used)


class World:
    def __init__(self) -> None:
        self.clock, self.store = FrozenClock("2026-05-01T10:00:00+08:00"), KeptInMemory()
        access = Access(self.clock, CountedIds(), QueuedAccessLog(), HeldInMemory())
        self.tokens = Tokens(access, self.store, self.clock, CountedIds())

    def issue(self, actor: Actor = DEVICE, expires_at: int | None = None) -> tuple[Token, str]:
        return self.tokens.issue(TX, ADMIN, "gate 1", actor, expires_at)


@pytest.fixture
def world() -> World:
    return World()


def test_a_token_speaks_for_its_actor(world: World) -> None:
    token, text = world.issue()
    actor = world.tokens.verify(text)
    assert text.startswith(f"ht_{token.id}_")
    assert (actor.id, actor.place, actor.types) == (f"token:{token.id}", "330106", ("OffStreetParking",))
    assert (token.created_by, token.created_at) == ("root", world.clock.now())
    assert text.rpartition("_")[2].encode() not in token.secret_hash


@pytest.mark.parametrize("change", ["", "x", "ht", "ht_", "ht_1", "ht__", "ht_1_2", "\ud800", "ht_" * 1000])
def test_what_is_no_token_of_ours_is_refused(world: World, change: str) -> None:
    world.issue()
    with pytest.raises(NotAuthenticated, match="not known here"):
        world.tokens.verify(change)


def test_every_character_of_the_secret_counts(world: World) -> None:
    _, text = world.issue()
    for i in (-1, -20, -43):
        wrong = "A" if text[i] != "A" else "B"
        with pytest.raises(NotAuthenticated):
            world.tokens.verify(text[:i] + wrong + (text[i + 1 :] if i != -1 else ""))


def test_a_token_ends_when_it_says(world: World) -> None:
    _, text = world.issue(expires_at=world.clock.now() + SECOND)
    world.tokens.verify(text)
    world.clock.advance(SECOND)
    with pytest.raises(NotAuthenticated, match="has expired"):
        world.tokens.verify(text)


def test_a_revoked_token_is_refused_at_once(world: World) -> None:
    token, text = world.issue()
    world.tokens.verify(text)
    world.tokens.revoke(TX, ADMIN, token.id)
    with pytest.raises(NotAuthenticated, match="was revoked"):
        world.tokens.verify(text)
    world.clock.advance(SECOND)
    with pytest.raises(NotFound):
        world.tokens.revoke(TX, ADMIN, token.id)


def test_one_revoked_by_another_process_is_refused_soon(world: World) -> None:
    token, text = world.issue()
    world.tokens.verify(text)
    world.store.tokens[token.id] = Token(
        **{name: getattr(token, name) for name in Token.__struct_fields__ if name != "revoked_at"}, revoked_at=1
    )
    world.tokens.verify(text)
    world.clock.advance(CACHE_TIME)
    with pytest.raises(NotAuthenticated, match="was revoked"):
        world.tokens.verify(text)


def test_the_store_is_not_asked_each_time(world: World) -> None:
    _, text = world.issue()
    for _ in range(100):
        world.tokens.verify(text)
    assert world.store.asked == 1
    world.clock.advance(-HOUR)  # clocks step back; what was checked in the future is checked again
    world.tokens.verify(text)
    assert world.store.asked == 2


def test_what_is_remembered_of_tokens_is_bounded(world: World) -> None:
    texts = [world.issue()[1] for _ in range(CACHE_MAX + 1)]
    for text in texts:
        world.tokens.verify(text)
    world.store.asked = 0
    world.tokens.verify(texts[-1])
    assert world.store.asked == 0
    world.tokens.verify(texts[0])
    assert world.store.asked == 1


def test_when_tokens_were_used_is_saved_once(world: World) -> None:
    token, text = world.issue()
    world.tokens.verify(text)
    world.tokens.save_use(TX)
    assert world.store.used == {token.id: world.clock.now()}
    world.store.used.clear()
    world.tokens.save_use(TX)
    assert world.store.used == {}


def test_what_may_be_issued_and_by_whom(world: World) -> None:
    with pytest.raises(InvalidInput, match=r"no such role; seen: devise; .*did you mean device"):
        world.issue(Actor(id="", kind="service", roles=("devise",)))
    with pytest.raises(InvalidInput, match="no such role"):
        world.issue(Actor(id="", kind="service"))
    with pytest.raises(InvalidInput, match="not an administrative code"):
        world.issue(Actor(id="", kind="service", roles=("staff",), place="Hangzhou"))
    with pytest.raises(InvalidInput, match="a person or a service"):
        world.issue(Actor(id="system", kind="system", roles=("staff",)))
    with pytest.raises(AccessDenied):
        world.tokens.issue(TX, Actor(id="wang", roles=("staff",)), "mine", DEVICE)
    with pytest.raises(AccessDenied):
        world.tokens.revoke(TX, Actor(id="wang", roles=("staff",)), "1")


def test_an_administrator_of_a_part_gives_no_more_than_that_part(world: World) -> None:
    district = Actor(id="d", roles=("admin",), place="330106", tenants=("west",))
    fine = Actor(id="", kind="service", roles=("staff",), place="330106001", tenants=("west",))
    assert world.tokens.issue(TX, district, "t", fine)[0].actor.place == "330106001"
    for place, tenants in (("", ("west",)), ("330108", ("west",)), ("330106", ()), ("330106", ("west", "east"))):
        with pytest.raises(AccessDenied):
            world.tokens.issue(TX, district, "t", Actor(id="", roles=("staff",), place=place, tenants=tenants))


def test_clearance_comes_with_the_token(world: World) -> None:
    _, text = world.issue(Actor(id="", kind="service", roles=("operator",)))
    access = Access(world.clock, CountedIds(), QueuedAccessLog(), HeldInMemory())
    assert access.clearance(world.tokens.verify(text)) is Grade.AGREEMENT
