"""Who may do what, decided in this one place. What is not allowed here is denied.

An actor has roles; a role allows actions and clears its holder to a grade. Roles may be limited to an administrative
area, to tenants and to types of things. A grant lifts one actor or organisation to a grade for one purpose, until it
expires. Denials, and every look at what is not open, go to the access log.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from threading import Lock
from typing import Literal, Protocol, TypeAlias, TypedDict, Unpack, get_args

import msgspec

from hutong.kernel.clock import Clock
from hutong.kernel.errors import AccessDenied, InvalidInput, NotAuthenticated, NotFound, Overloaded
from hutong.kernel.ids import Ids
from hutong.kernel.place import covers
from hutong.kernel.transactions import Transaction

Action: TypeAlias = Literal[
    "sense.read",
    "sense.write",
    "sense.alert.acknowledge",
    "sense.subscribe",
    "sense.register",
    "sense.context",
    "ledger.read",
    "ledger.verify",
    "ledger.rebuild",
    "outbox.operate",
    "admin.tokens",
    "admin.grants",
    "admin.access_log",
    "admin.metrics",
]
ACTIONS: frozenset[str] = frozenset(get_args(Action))
UNRECORDED_MAX = 100_000


class Grade(IntEnum):
    """How far something is open: to everybody, by agreement, or only to those whose work it is."""

    OPEN = 0
    AGREEMENT = 1
    CLOSED = 2


class Role(msgspec.Struct, frozen=True):
    """What its holders may do, and the highest grade they may see. `bound`: only to types that the actor names."""

    actions: frozenset[str]
    clearance: Grade = Grade.OPEN
    bound: bool = False


_READ = frozenset({"sense.read"})
_KEEP = frozenset({"sense.subscribe", "sense.register", "sense.context"})
_WORK = _READ | _KEEP | {"sense.write", "sense.alert.acknowledge"}
ROLES: Mapping[str, Role] = {
    "resident": Role(_READ),
    "developer": Role(_READ),
    "device": Role(frozenset({"sense.write"}), bound=True),
    "staff": Role(_WORK, Grade.CLOSED),
    "leader": Role(_READ | {"sense.alert.acknowledge"}, Grade.CLOSED),
    "operator": Role(
        _WORK
        | {"ledger.read", "ledger.verify", "ledger.rebuild", "outbox.operate", "admin.metrics", "admin.access_log"},
        Grade.AGREEMENT,
    ),
    "admin": Role(ACTIONS, Grade.CLOSED),
}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Leave for an actor or an organisation (`to`) to see up to a grade, for a purpose, until an instant.

    An empty `place` is the whole city; no `types` are all types.
    """

    id: str
    to: str
    grade: Grade
    purpose: str
    expires_at: int
    place: str = ""
    types: tuple[str, ...] = ()
    created_by: str = ""
    created_at: int = 0


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody or something behind a request.

    Its roles hold within `place` (administrative code; "" the whole city), in `tenants` and for `types` (none named:
    all). `grants` are those that hold for the purpose of the request at hand, see `Access.for_purpose`.
    """

    id: str
    kind: Literal["person", "service", "anonymous", "system"] = "person"
    organisation: str = ""
    roles: tuple[str, ...] = ()
    place: str = ""
    tenants: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()


ANONYMOUS = Actor(id="anonymous", kind="anonymous", roles=("resident",))
SYSTEM = Actor(id="system", kind="system")
OPEN_ACTOR = Actor(id="open", kind="system")
"""Everybody, where authentication is switched off."""


class Decision(msgspec.Struct, frozen=True):
    """Whether it is allowed, why, and by which rule (a role, a grant, or the check that failed)."""

    allowed: bool
    reason: str
    rule: str
    fix: str = ""


class About(TypedDict, total=False):
    """What is to be done to what: the highest grade involved, where, of which types, in which tenant, what for."""

    grade: Grade
    place: str
    tenant: str
    types: Collection[str]
    purpose: str
    what: str
    source: str


class AccessEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the access log. `what` is the id of the thing looked at, or a query."""

    at: int
    actor: str
    organisation: str
    action: str
    what: str
    grade: Grade
    place: str
    purpose: str
    allowed: bool
    rule: str


class AccessLog(Protocol):
    """Takes what is to be remembered. It must raise rather than lose an entry: no look without a trace."""

    def record(self, entry: AccessEntry) -> None: ...


class GrantStore(Protocol):
    """Where grants are kept."""

    def insert(self, tx: Transaction, grant: Grant) -> None: ...

    def revoke(self, tx: Transaction, id: str, at: int) -> bool:
        """False when there is no such grant, or it was revoked before."""

    def held_by(self, holders: Sequence[str]) -> list[Grant]:
        """Grants of these actors and organisations that were not revoked, expired or not."""


class Access:
    """Decides. With `open` everybody may do everything; the composition root then listens on loopback only."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        log: AccessLog,
        grants: GrantStore,
        *,
        roles: Mapping[str, Role] = ROLES,
        open: bool = False,
    ) -> None:
        self._clock, self._ids, self._log, self._grants = clock, ids, log, grants
        self.roles, self.open = roles, open
        self._clearances: dict[tuple[str, ...], Grade] = {}
        self.nobody = OPEN_ACTOR if open else ANONYMOUS

    def clearance(self, actor: Actor) -> Grade:
        """The highest grade that the actor's roles clear it for; grants come on top."""
        if self.open or actor.kind == "system":
            return Grade.CLOSED
        known = self._clearances.get(actor.roles)
        if known is None:
            held = [self.roles[name].clearance for name in actor.roles if name in self.roles]
            known = max(held, default=Grade.OPEN)
            if len(self._clearances) < 1000:  # as many sets of roles as a city has; more are computed each time
                self._clearances[actor.roles] = known
        return known

    def visible(self, actor: Actor, grade: Grade, place: str = "", type: str = "") -> bool:
        """Whether the actor may see something of this grade, there and of this type; for filtering, not recorded."""
        if grade == 0 or self.open:
            return True
        if grade <= self.clearance(actor) and not (actor.place or actor.types):
            return True
        return self._rule_to_see(actor, grade, place, type) != ""

    def _rule_to_see(self, actor: Actor, grade: Grade, place: str, type: str) -> str:
        within = covers(actor.place, place) and (not actor.types or type in actor.types)
        if grade <= self.clearance(actor) and within:
            return "clearance"
        for grant in actor.grants:
            if grade <= grant.grade and covers(grant.place, place) and (not grant.types or type in grant.types):
                return f"grant:{grant.id}"
        return ""

    def decide(self, actor: Actor, action: Action, **about: Unpack[About]) -> Decision:
        """Whether the actor may do this. Denials, and looks at what is not open, are recorded."""
        decision = self._decide(actor, action, about)
        grade, unwatched = about.get("grade", Grade.OPEN), self.open or actor.kind == "system"
        if not unwatched and (not decision.allowed or grade > Grade.OPEN):
            entry = AccessEntry(
                at=self._clock.now(),
                actor=actor.id,
                organisation=actor.organisation,
                action=action,
                what=about.get("what") or about.get("source", ""),
                grade=grade,
                place=about.get("place", ""),
                purpose=about.get("purpose", ""),
                allowed=decision.allowed,
                rule=decision.rule,
            )
            self._log.record(entry)
        return decision

    def require(self, actor: Actor, action: Action, **about: Unpack[About]) -> Decision:
        """As `decide`; raises NotAuthenticated for nobody known and AccessDenied for somebody known."""
        decision = self.decide(actor, action, **about)
        if not decision.allowed and actor.kind == "anonymous":
            raise NotAuthenticated(
                f"this needs somebody known: {decision.reason}", seen=action, fix="send a token that may do this"
            )
        if not decision.allowed:
            raise AccessDenied(decision.reason, seen=action, fix=decision.fix)
        return decision

    def would_allow(self, actor: Actor, action: Action) -> bool:
        """Whether the actor may do this somewhere; to show or hide a button, so it is not recorded."""
        return self._decide(actor, action, About(place=actor.place, types=actor.types)).allowed

    def looked(self, actor: Actor, action: Action, grade: Grade, what: str, purpose: str = "") -> None:
        """Record a look at what is not open that `visible` has let through."""
        self._log.record(
            AccessEntry(
                at=self._clock.now(),
                actor=actor.id,
                organisation=actor.organisation,
                action=action,
                what=what,
                grade=grade,
                place=actor.place,
                purpose=purpose,
                allowed=True,
                rule="visible",
            )
        )

    def _decide(self, actor: Actor, action: str, about: About) -> Decision:
        if action not in ACTIONS:
            return Decision(False, f"there is no action {action}", "vocabulary", "this is a fault of the program")
        if self.open or actor.kind == "system":
            return Decision(True, "nothing is denied to it", "open" if self.open else "system")
        allowing = [name for name in actor.roles if name in self.roles and action in self.roles[name].actions]
        if not allowing:
            held = " and ".join(actor.roles) or "no role"
            wanted = ", ".join(name for name, role in self.roles.items() if action in role.actions)
            return Decision(False, f"{held} does not allow {action}", "role", f"ask for one of the roles {wanted}")
        if actor.tenants and about.get("tenant", "") not in actor.tenants:
            return Decision(False, "this tenant is not among those of the actor", "tenant", "name one of its own")
        types, place = about.get("types", ()), about.get("place", "")
        if action != "sense.read":
            if not covers(actor.place, place):
                return Decision(False, f"its roles hold in {actor.place} only", "place", "act within that area")
            bound = bool(actor.types) or all(self.roles[name].bound for name in allowing)
            if bound and (not types or not set(types) <= set(actor.types)):
                own = ", ".join(actor.types) or "nothing"
                return Decision(False, f"it may only touch {own}", "types", "use a token that names these types")
        grade = about.get("grade", Grade.OPEN)
        if grade > Grade.OPEN:
            rules = [self._rule_to_see(actor, grade, place, type) for type in (types or ("",))]
            graded = f"this is graded {grade.name.lower()}"
            if not all(rules):
                return Decision(False, graded, "grade", "ask for a grant, and state its purpose")
            return Decision(True, f"{graded}, and the actor is cleared for it", rules[0])
        return Decision(True, f"{allowing[0]} allows {action}", f"role:{allowing[0]}")

    # --- grants ---

    def for_purpose(self, actor: Actor, purpose: str) -> Actor:
        """The actor of a request that states a purpose, with the grants that hold for it now."""
        if not purpose or actor.kind in ("anonymous", "system"):
            return actor
        now = self._clock.now()
        holders = [holder for holder in (actor.id, actor.organisation) if holder]
        held = [g for g in self._grants.held_by(holders) if g.purpose == purpose and now < g.expires_at]
        return msgspec.structs.replace(actor, grants=tuple(held))

    def holding(self, actor: Actor, grants: Iterable[Grant]) -> Actor:
        """The actor with those of these grants that still hold: not revoked, not expired."""
        wanted = {grant.id for grant in grants}
        if not wanted:
            return actor
        now = self._clock.now()
        held = self._grants.held_by([holder for holder in (actor.id, actor.organisation) if holder])
        return msgspec.structs.replace(actor, grants=tuple(g for g in held if g.id in wanted and now < g.expires_at))

    def grant(self, tx: Transaction, by: Actor, grant: Grant) -> Grant:
        """Keep a grant; id, creator and time of creation are filled in. Raises InvalidInput, AccessDenied."""
        self.require(by, "admin.grants", place=grant.place, what=grant.to)
        now = self._clock.now()
        if grant.expires_at <= now or not grant.purpose or not grant.to:
            raise InvalidInput(
                "a grant names a holder and a purpose, and ends",
                seen=grant.to,
                fix="give `to`, `purpose` and an `expires_at` in the future",
            )
        kept = msgspec.structs.replace(grant, id=self._ids.new(), created_by=by.id, created_at=now)
        self._grants.insert(tx, kept)
        return kept

    def revoke_grant(self, tx: Transaction, by: Actor, id: str) -> None:
        """End a grant now. Raises NotFound, AccessDenied."""
        self.require(by, "admin.grants", what=id)
        if not self._grants.revoke(tx, id, self._clock.now()):
            raise NotFound("there is no such grant, or it has ended", where="id", seen=id)


class QueuedAccessLog:
    """Keeps entries until the writer takes them into a transaction. Refuses looks when too many wait."""

    def __init__(self) -> None:
        self._waiting: list[AccessEntry] = []
        self._lock = Lock()

    def record(self, entry: AccessEntry) -> None:
        if len(self._waiting) >= UNRECORDED_MAX:
            raise Overloaded(
                "the access log cannot be written, and nothing is shown without a trace",
                seen=str(len(self._waiting)),
                fix="try again when the store has recovered",
            )
        with self._lock:
            self._waiting.append(entry)

    def take(self) -> list[AccessEntry]:
        """All that wait; they wait no longer."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, entries: Iterable[AccessEntry]) -> None:
        """What could not be written waits again, first in line."""
        with self._lock:
            self._waiting[:0] = entries
