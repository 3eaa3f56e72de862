"""Who may do what: roles, areas, tenants, types, grades, grants, and what is remembered of it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hutong.kernel.access import (
    ACTIONS,
    ANONYMOUS,
    OPEN_ACTOR,
    ROLES,
    SYSTEM,
    UNRECORDED_MAX,
    Access,
    Actor,
    Grade,
    Grant,
    QueuedAccessLog,
)
from hutong.kernel.clock import HOUR, FrozenClock
from hutong.kernel.errors import AccessDenied, InvalidInput, NotAuthenticated, NotFound, Overloaded
from hutong.kernel.ids import CountedIds
from hutong.kernel.transactions import Transaction

STAFF = Actor(id="wang", organisation="transport", roles=("staff",), place="330106")
ADMIN = Actor(id="root", roles=("admin",))
DEVICE = Actor(id="gate", kind="service", roles=("device",), types=("OffStreetParking",))


class HeldInMemory:
    """A grant store for these tests."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}

    def insert(self, tx: Transaction, grant: Grant) -> None:
        self.grants[grant.id] = grant

    def revoke(self, tx: Transaction, id: str, at: int) -> bool:
        return self.grants.pop(id, None) is not None

    def held_by(self, holders: Sequence[str]) -> list[Grant]:
        return [grant for grant in self.grants.values() if grant.to in holders]


class NoTransaction:
    lane = "none"


TX = NoTransaction()
CLOCK = FrozenClock("2026-05-01T10:00:00+08:00")


def new_access(*, open_: bool = False) -> tuple[Access, QueuedAccessLog]:
    log = QueuedAccessLog()
    return Access(CLOCK, CountedIds(), log, HeldInMemory(), open=open_), log


ACCESS, LOG = new_access()


def test_nobody_known_may_read_what_is_open_and_no_more() -> None:
    assert ACCESS.decide(ANONYMOUS, "sense.read").allowed
    assert ACCESS.nobody is ANONYMOUS
    with pytest.raises(NotAuthenticated, match=r"resident does not allow sense.write"):
        ACCESS.require(ANONYMOUS, "sense.write")
    with pytest.raises(NotAuthenticated, match="this is graded agreement"):
        ACCESS.require(ANONYMOUS, "sense.read", grade=Grade.AGREEMENT)


@given(st.sampled_from(sorted(ACTIONS)), st.sampled_from(sorted(ROLES)))
def test_a_role_allows_what_it_lists_and_nothing_else(action: str, role: str) -> None:
    actor = Actor(id="a", roles=(role,), types=("T",))
    decision = ACCESS.decide(actor, action, types=("T",))  # type: ignore[arg-type]  # drawn from the vocabulary
    assert decision.allowed == (action in ROLES[role].actions)


def test_unknown_roles_and_actions_allow_nothing() -> None:
    stranger = Actor(id="x", roles=("emperor",))
    assert not ACCESS.decide(stranger, "sense.read").allowed
    assert ACCESS.clearance(stranger) is Grade.OPEN
    assert not ACCESS.decide(ADMIN, "sense.destroy").allowed  # type: ignore[arg-type]  # what mypy would catch
    assert not ACCESS.decide(Actor(id="x"), "sense.read").allowed


def test_somebody_known_is_told_which_role_it_takes() -> None:
    with pytest.raises(AccessDenied, match=r"staff does not allow admin.tokens.*ask for one of the roles admin"):
        ACCESS.require(STAFF, "admin.tokens")


def test_roles_hold_in_their_area() -> None:
    assert ACCESS.decide(STAFF, "sense.write", place="330106001").allowed
    assert ACCESS.decide(STAFF, "sense.write", place="330108").rule == "place"
    assert ACCESS.decide(STAFF, "sense.write").rule == "place"  # a thing whose place nobody knows
    assert ACCESS.decide(STAFF, "sense.read", place="330108").allowed
    assert ACCESS.decide(STAFF, "sense.read", grade=Grade.CLOSED, place="330106").allowed
    assert ACCESS.decide(STAFF, "sense.read", grade=Grade.CLOSED, place="330108").rule == "grade"


def test_a_device_writes_only_its_types() -> None:
    assert ACCESS.decide(DEVICE, "sense.write", types={"OffStreetParking"}).allowed
    assert not ACCESS.decide(DEVICE, "sense.write", types={"OffStreetParking", "Device"}).allowed
    assert not ACCESS.decide(DEVICE, "sense.write").allowed
    assert not ACCESS.decide(DEVICE, "sense.read").allowed
    assert not ACCESS.decide(replace(DEVICE, types=()), "sense.write", types={"OffStreetParking"}).allowed


def test_roles_hold_in_their_tenants() -> None:
    tenant = replace(STAFF, place="", tenants=("district",))
    assert ACCESS.decide(tenant, "sense.read", tenant="district").allowed
    assert ACCESS.decide(tenant, "sense.read").rule == "tenant"


@pytest.mark.parametrize(
    ("actor", "grade"),
    [
        (ANONYMOUS, Grade.OPEN),
        (DEVICE, Grade.OPEN),
        (Actor(id="o", roles=("operator",)), Grade.AGREEMENT),
        (Actor(id="s", roles=("resident", "staff")), Grade.CLOSED),
        (SYSTEM, Grade.CLOSED),
    ],
)
def test_who_sees_which_grade(actor: Actor, grade: Grade) -> None:
    assert ACCESS.clearance(actor) is grade
    assert [g for g in Grade if ACCESS.visible(actor, g)] == [g for g in Grade if g <= grade]


@given(
    st.sampled_from(list(Grade)), st.sampled_from(["", "330106", "330108"]), st.sampled_from(["", "A", "B"]),
    st.sampled_from([STAFF, ADMIN, replace(STAFF, place="", types=("A",)), ANONYMOUS, replace(ANONYMOUS, grants=(
        Grant(id="g", to="x", grade=Grade.AGREEMENT, purpose="p", expires_at=0, place="330106", types=("A",)),))]),
)  # fmt: skip
def test_filtering_and_deciding_agree(grade: Grade, place: str, type_: str, actor: Actor) -> None:
    decided = ACCESS.decide(actor, "sense.read", grade=grade, place=place, types=(type_,) if type_ else ())
    assert ACCESS.visible(actor, grade, place, type_) == decided.allowed


# --- grants -------------------------------------------------------------------------------------------------------


def test_a_grant_opens_for_its_purpose_until_it_ends() -> None:
    access, _ = new_access()
    firm = Actor(id="bot", kind="service", organisation="firm", roles=("developer",))
    grant = access.grant(
        TX, ADMIN, Grant(id="", to="firm", grade=Grade.AGREEMENT, purpose="study", expires_at=CLOCK.now() + HOUR)
    )
    assert (grant.created_by, grant.created_at) == ("root", CLOCK.now())
    assert access.visible(access.for_purpose(firm, "study"), Grade.AGREEMENT)
    assert not access.visible(access.for_purpose(firm, "study"), Grade.CLOSED)
    assert not access.visible(access.for_purpose(firm, "marketing"), Grade.AGREEMENT)
    assert not access.visible(access.for_purpose(firm, ""), Grade.AGREEMENT)
    assert access.for_purpose(ANONYMOUS, "study") is ANONYMOUS
    decision = access.decide(access.for_purpose(firm, "study"), "sense.read", grade=Grade.AGREEMENT, purpose="study")
    assert decision.rule == f"grant:{grant.id}"
    CLOCK.advance(HOUR)
    assert not access.visible(access.for_purpose(firm, "study"), Grade.AGREEMENT)
    CLOCK.advance(-HOUR)
    access.revoke_grant(TX, ADMIN, grant.id)
    assert not access.visible(access.for_purpose(firm, "study"), Grade.AGREEMENT)
    with pytest.raises(NotFound):
        access.revoke_grant(TX, ADMIN, grant.id)


def test_who_may_grant_and_what_a_grant_needs() -> None:
    access, _ = new_access()
    grant = Grant(id="", to="firm", grade=Grade.CLOSED, purpose="study", expires_at=CLOCK.now() + HOUR)
    with pytest.raises(AccessDenied):
        access.grant(TX, STAFF, grant)
    for wrong in (replace(grant, purpose=""), replace(grant, to=""), replace(grant, expires_at=CLOCK.now())):
        with pytest.raises(InvalidInput, match="names a holder and a purpose, and ends"):
            access.grant(TX, ADMIN, wrong)


# --- the access log, and no authentication -------------------------------------------------------------------------


def test_denials_and_looks_at_what_is_not_open_are_recorded() -> None:
    access, log = new_access()
    access.decide(STAFF, "sense.read", what="urn:a")
    assert log.take() == []
    access.decide(STAFF, "sense.read", grade=Grade.CLOSED, place="330106", purpose="case 7", what="urn:b")
    access.decide(ANONYMOUS, "sense.write", what="urn:c")
    look, denial = log.take()
    assert (look.actor, look.what, look.purpose, look.allowed, look.at) == (
        "wang",
        "urn:b",
        "case 7",
        True,
        CLOCK.now(),
    )
    assert (denial.actor, denial.what, denial.allowed, denial.rule) == ("anonymous", "urn:c", False, "role")
    log.give_back([look, denial])
    assert log.take() == [look, denial]


def test_nothing_is_shown_without_a_trace() -> None:
    access, log = new_access()
    access.decide(STAFF, "sense.read", grade=Grade.CLOSED, place="330106")
    log.give_back(log.take() * UNRECORDED_MAX)
    with pytest.raises(Overloaded, match="nothing is shown without a trace"):
        access.decide(STAFF, "sense.read", grade=Grade.CLOSED, place="330106")


def test_where_authentication_is_off_everybody_may_do_everything() -> None:
    access, log = new_access(open_=True)
    assert access.nobody is OPEN_ACTOR
    for actor in (OPEN_ACTOR, ANONYMOUS, STAFF):
        assert access.decide(actor, "admin.tokens", grade=Grade.CLOSED).allowed
        assert access.visible(actor, Grade.CLOSED)
    assert log.take() == []
