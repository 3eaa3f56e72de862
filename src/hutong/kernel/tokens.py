"""API tokens: `ht_<id>_<secret>`. Only a hash of the secret is kept; it is shown once, when it is made."""

import difflib
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Protocol

import msgspec

from hutong.kernel.access import Access, Actor
from hutong.kernel.clock import SECOND, Clock
from hutong.kernel.errors import InvalidInput, NotAuthenticated, NotFound
from hutong.kernel.ids import Ids, secret
from hutong.kernel.place import parse_code
from hutong.kernel.transactions import Transaction

CACHE_MAX = 10_000
CACHE_TIME = 10 * SECOND  # how long a token revoked by another process may still be honoured


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept, and the actor that it speaks for. Without `expires_at` it does not expire."""

    id: str
    name: str
    secret_hash: bytes
    actor: Actor
    created_by: str
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


class TokenStore(Protocol):
    """Where tokens are kept."""

    def insert(self, tx: Transaction, token: Token) -> None: ...

    def get(self, id: str) -> Token | None: ...

    def all(self) -> list[Token]:
        """Every token, newest first, revoked ones too."""

    def revoke(self, tx: Transaction, id: str, at: int) -> bool:
        """False when there is no such token, or it was revoked before."""

    def touch(self, tx: Transaction, used: Mapping[str, int]) -> None:
        """Set when tokens were last used."""


class _Verified(msgspec.Struct, frozen=True):
    token: Token
    checked_at: int


class Tokens:
    """Issues, verifies and revokes."""

    def __init__(self, access: Access, store: TokenStore, clock: Clock, ids: Ids) -> None:
        self._access, self._store, self._clock, self._ids = access, store, clock, ids
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._revoked: set[str] = set()
        self._used: dict[str, int] = {}
        self._listed: list[Token] = []
        self._listed_at = -CACHE_TIME
        self._lock = Lock()

    def issue(
        self, tx: Transaction, by: Actor, name: str, actor: Actor, expires_at: int | None = None
    ) -> tuple[Token, str]:
        """A new token for an actor, and its text, which cannot be had again.

        An actor without id is named after the token. Raises AccessDenied, and InvalidInput for an unknown role or area.
        """
        for tenant in actor.tenants or ("",):
            self._access.require(by, "admin.tokens", place=actor.place, tenant=tenant, what=name)
        if actor.kind not in ("person", "service"):
            raise InvalidInput("a token speaks for a person or a service", where="kind", seen=actor.kind)
        for role in actor.roles or ("",):
            if role not in self._access.roles:
                near = difflib.get_close_matches(role, self._access.roles, n=1)
                raise InvalidInput(
                    "no such role",
                    where="role",
                    seen=role,
                    allowed=", ".join(self._access.roles),
                    fix=f"did you mean {near[0]}?" if near else "name one of these",
                )
        if actor.place:
            actor = msgspec.structs.replace(actor, place=parse_code(actor.place, "place"))
        id, text, now = self._ids.new(), secret(), self._clock.now()
        actor = msgspec.structs.replace(actor, id=actor.id or f"token:{id}", grants=())
        token = Token(
            id=id,
            name=name,
            secret_hash=_hash(text),
            actor=actor,
            created_by=by.id,
            created_at=now,
            expires_at=expires_at,
        )
        self._store.insert(tx, token)
        return token, f"ht_{id}_{text}"

    def verify(self, text: str) -> Actor:
        """The actor that a token speaks for. Raises NotAuthenticated."""
        key, now = _hash(text), self._clock.now()
        with self._lock:
            known = self._verified.get(key)
            if known is not None:
                self._verified.move_to_end(key)
        if known is None or not known.checked_at <= now < known.checked_at + CACHE_TIME:
            known = _Verified(self._check(text), now)
        token = known.token
        if token.id in self._revoked:
            raise NotAuthenticated("the token was revoked", fix="ask for a new one")
        if token.expires_at is not None and now >= token.expires_at:
            raise NotAuthenticated("the token has expired", fix="ask for a new one")
        with self._lock:
            self._used[token.id] = now
            self._verified[key] = known
            while len(self._verified) > CACHE_MAX:
                self._verified.popitem(last=False)
        return token.actor

    def actor(self, id: str) -> Actor:
        """The actor of this id, as the newest token that holds speaks for it. Raises NotAuthenticated.

        For what is done in its name later; a token revoked by another process is honoured for CACHE_TIME at most.
        """
        now = self._clock.now()
        if not self._listed_at <= now < self._listed_at + CACHE_TIME:
            self._listed, self._listed_at = self._store.all(), now
        for token in self._listed:
            ended = token.revoked_at is not None or token.id in self._revoked
            if token.actor.id == id and not ended and (token.expires_at is None or now < token.expires_at):
                return token.actor
        raise NotAuthenticated("no token speaks for it any more", seen=id, fix="use a token that holds")

    def _check(self, text: str) -> Token:
        scheme, _, rest = text.partition("_")
        id, _, part = rest.partition("_")
        token = self._store.get(id) if scheme == "ht" else None
        # Compared even when there is no such token, so that time does not tell which ids exist.
        same = hmac.compare_digest(_hash(part), token.secret_hash if token is not None else bytes(32))
        if token is None or not same:
            raise NotAuthenticated(
                "the token is not known here", allowed="ht_<id>_<secret>", fix="send it as Authorization: Bearer ht_…"
            )
        if token.revoked_at is not None:
            raise NotAuthenticated("the token was revoked", fix="ask for a new one")
        return token

    def revoke(self, tx: Transaction, by: Actor, id: str) -> None:
        """End a token; from here on this process does not honour it. Raises NotFound, AccessDenied."""
        token = self._store.get(id)
        self._access.require(by, "admin.tokens", place=token.actor.place if token is not None else "", what=id)
        self._revoked.add(id)
        if not self._store.revoke(tx, id, self._clock.now()):
            raise NotFound("there is no such token, or it was revoked before", where="id", seen=id)

    @property
    def used(self) -> bool:
        """Whether any token was used since the last `save_use`."""
        return bool(self._used)

    def save_use(self, tx: Transaction) -> None:
        """Write when tokens were last used, since the last time this was called."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            self._store.touch(tx, used)


def _hash(text: str) -> bytes:
    # Fast on purpose: the secret has 256 random bits, so there is nothing to guess and stretching would only slow us.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
