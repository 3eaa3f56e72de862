"""Documents that clients keep here: subscriptions, registrations and @contexts, by tenant, kind and id."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from hutong.kernel.access import Action, Actor
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import AlreadyExists, HutongError, NotFound, TooLarge
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction

KEPT, DROPPED = "sense.document_kept", "sense.document_dropped"
DOCUMENT_KINDS = (KEPT, DROPPED)
"""Kinds of ledger event that tell of documents."""

DOCUMENT_BYTES_MAX = 1024 * 1024
SUBSCRIPTIONS_MAX = 10_000  # of each tenant, as the others
REGISTRATIONS_MAX = 10_000
REGISTRATION_SUBSCRIPTIONS_MAX = 1_000
CONTEXTS_MAX = 1_000

DocumentKind: TypeAlias = Literal["subscription", "registration", "registration_subscription", "context"]


class Rules(msgspec.Struct, frozen=True):
    """What holds for a kind of document: who reads and writes it, how many a tenant has at most."""

    read: Action
    write: Action
    most: int


RULES: Final[Mapping[DocumentKind, Rules]] = {
    "subscription": Rules("sense.subscribe", "sense.subscribe", SUBSCRIPTIONS_MAX),
    "registration": Rules("sense.read", "sense.register", REGISTRATIONS_MAX),
    "registration_subscription": Rules("sense.subscribe", "sense.subscribe", REGISTRATION_SUBSCRIPTIONS_MAX),
    "context": Rules("sense.read", "sense.context", CONTEXTS_MAX),
}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it is kept. `body` is JSON of a Struct of those who own the kind; `owner` wrote it last.

    What happens because of it (a notification, say) may show what the owner may see.
    """

    tenant: str = ""
    kind: DocumentKind
    id: str
    body: bytes
    created_at: int = 0
    modified_at: int = 0
    owner: Actor | None = None


class KeepDocument(msgspec.Struct, frozen=True, kw_only=True, tag="sense.keep_document"):
    """Command: keep a document; the times are filled in. The outcome is the Document.

    `only` "new": AlreadyExists when the id is taken; "known": NotFound when it is not; "": either way.
    """

    document: Document
    only: Literal["new", "known", ""] = ""


class DropDocument(msgspec.Struct, frozen=True, kw_only=True, tag="sense.drop_document"):
    """Command: drop a document. The outcome is True, or NotFound."""

    tenant: str = ""
    kind: DocumentKind
    id: str


class DocumentStore(Protocol):
    """Where documents are kept."""

    def load(self, tx: Transaction, tenant: str, kind: str, id: str) -> Document | None: ...

    def number(self, tx: Transaction, tenant: str, kind: str) -> int:
        """How many there are, seen from within the transaction."""

    def page(self, tx: Transaction, tenant: str, kind: str, limit: int, offset: int = 0) -> list[Document]:
        """In order of creation, seen from within the transaction."""

    def save(self, tx: Transaction, documents: Iterable[Document]) -> None: ...

    def delete(self, tx: Transaction, tenant: str, kind: str, id: str) -> bool:
        """False when there is no such document."""

    def get(self, tenant: str, kind: str, id: str) -> Document | None: ...

    def list(self, tenant: str, kind: str, limit: int, offset: int = 0) -> list[Document]:
        """In order of creation."""

    def count(self, tenant: str, kind: str) -> int: ...

    def each(self, kind: str = "") -> Iterator[Document]:
        """Every document of a kind, or all, of all tenants, in order of tenant, kind and id."""


Listener: TypeAlias = Callable[[str, str, str], None]
"""Told (kind, tenant, id), on the writer's thread, that a document was kept or dropped and this committed or undone."""
Reaction: TypeAlias = Callable[[Transaction, Document | None, Document | None], None]
"""Called in the append transaction with a document before and after a change, to put what follows from it there too.

What it remembers of this beside the store is to be looked at again when listeners are told, which they are of what was
rolled back too.
"""


class DocumentHandler:
    """Implements the kernel's Handler for the commands about documents."""

    COMMANDS = (KeepDocument, DropDocument)

    def __init__(self, store: DocumentStore, clock: Clock, city: str) -> None:
        self._store, self._clock, self._city = store, clock, city
        self._touched: dict[tuple[str, str, str], None] = {}
        self.listeners: list[Listener] = []
        self.reactions: list[Reaction] = []

    def weight(self, command: Any) -> int:
        return 1

    def encode(self, outcome: Any) -> bytes:
        return msgspec.msgpack.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        return msgspec.msgpack.decode(outcome, type=Document | bool)

    def committed(self) -> None:
        touched, self._touched = self._touched, {}
        for one in touched:
            for listener in self.listeners:
                listener(*one)

    def rolled_back(self) -> None:
        self.committed()

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        return [self._one(tx, request, emit) for request in requests]

    def _one(self, tx: Transaction, request: Request, emit: Callable[[Event], Position]) -> Any | HutongError:
        command, kind, told = request.command, KEPT, b""
        outcome: Document | bool = True
        try:
            if isinstance(command, KeepDocument):
                outcome = self._keep(tx, command)
                told, at = msgspec.msgpack.encode(outcome), outcome
            else:
                self._drop(tx, command)
                kind, told, at = DROPPED, msgspec.msgpack.encode(command), command
        except HutongError as error:
            return error
        self._touched[at.kind, at.tenant, at.id] = None
        emit(request.event(kind, told, self._clock.now(), self._city))
        return outcome

    def _keep(self, tx: Transaction, command: KeepDocument) -> Document:
        document, now = command.document, self._clock.now()
        rules = RULES[document.kind]
        known = self._store.load(tx, document.tenant, document.kind, document.id)
        if known is not None and command.only == "new":
            raise AlreadyExists(f"there is a {document.kind} with this id", where="id", seen=document.id)
        if known is None and command.only == "known":
            raise missing(document.kind, document.id)
        if len(document.body) > DOCUMENT_BYTES_MAX:
            allowed = f"{DOCUMENT_BYTES_MAX} bytes"
            raise TooLarge(f"the {document.kind} is too long", seen=str(len(document.body)), allowed=allowed)
        if known is None and (number := self._store.number(tx, document.tenant, document.kind)) >= rules.most:
            raise TooLarge(
                f"too many of kind {document.kind}", seen=str(number), allowed=f"{rules.most}", fix="delete some first"
            )
        created_at = known.created_at if known is not None else now
        kept = msgspec.structs.replace(document, created_at=created_at, modified_at=now)
        self._store.save(tx, [kept])
        self._react(tx, known, kept)
        return kept

    def _drop(self, tx: Transaction, command: DropDocument) -> None:
        known = self._store.load(tx, command.tenant, command.kind, command.id)
        if known is None:
            raise missing(command.kind, command.id)
        self._store.delete(tx, command.tenant, command.kind, command.id)
        self._react(tx, known, None)

    def _react(self, tx: Transaction, before: Document | None, after: Document | None) -> None:
        for reaction in self.reactions:
            reaction(tx, before, after)


def missing(kind: str, id: str) -> NotFound:
    return NotFound(f"there is no such {kind}", where="id", seen=id)


def follow(tx: Transaction, store: DocumentStore, events: Iterable[tuple[str, bytes]]) -> None:
    """Bring a store to what events (kind, payload) tell of, in order."""
    for kind, payload in events:
        if kind == KEPT:
            store.save(tx, [msgspec.msgpack.decode(payload, type=Document)])
        else:
            gone = msgspec.msgpack.decode(payload, type=DropDocument)
            store.delete(tx, gone.tenant, gone.kind, gone.id)
