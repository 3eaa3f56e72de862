"""The sense engine: its verbs. Access is decided here, before anything is read or written."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

import msgspec
import polars as pl

from hutong.engines.sense.changes import Locate
from hutong.engines.sense.chronicle import Chronicle
from hutong.engines.sense.documents import (
    RULES,
    Document,
    DocumentKind,
    DocumentStore,
    DropDocument,
    KeepDocument,
    missing,
)
from hutong.engines.sense.followers import PAGE, Followers
from hutong.engines.sense.history import HistoryStore, PastStore
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import (
    Aggregation,
    Alert,
    AlertAction,
    AlertQuery,
    AlertStore,
    Changed,
    ChangeEntities,
    Entity,
    EntityQuery,
    EntityRow,
    EntityStore,
    HistoryQuery,
    InUse,
)
from hutong.engines.sense.relations import relations, subscribed
from hutong.engines.sense.sight import Sight
from hutong.engines.sense.subscribers import SUBSCRIPTION_KINDS, AsNow, Subscribers
from hutong.engines.sense.subscriptions import Subscriptions
from hutong.kernel.access import Access, Actor
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, InvalidInput, NotFound, TooLarge
from hutong.kernel.outbox import OutboxStore
from hutong.kernel.relations import Relation
from hutong.kernel.writer import Writer

READERS = 4
LIMIT_MAX = 1_000
OFFSET_MAX = 10_000_000
FOLLOWED_MAX = PAGE
ENTITIES_MAX = 1_000
T = TypeVar("T")


class SenseEngine:
    """Typed things of the city: what they are now, what they were, and what is wrong with them."""

    def __init__(
        self,
        overlays: Mapping[str, Overlay],
        entities: EntityStore,
        alerts: AlertStore,
        documents: DocumentStore,
        past: PastStore,
        history: HistoryStore,
        writer: Writer,
        access: Access,
        followers: Followers,
        locate: Locate,
        subscriptions: Subscriptions,
        outbox: OutboxStore,
        as_now: AsNow,
        history_makes_present: bool = False,
    ) -> None:
        self.overlays = overlays
        self._entities, self._alerts, self._documents, self._history = entities, alerts, documents, history
        self._writer, self._access, self._followers = writer, access, followers
        self._subscriptions, self._outbox = subscriptions, outbox
        self._sight = Sight(overlays, access, locate)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self.subscribers, self.source_subscribers = (
            Subscribers(
                subscriptions, documents, entities, outbox, writer, access, self._sight, as_now, self._off, kind
            )
            for kind in SUBSCRIPTION_KINDS
        )
        self.chronicle = Chronicle(
            entities, past, history, writer, access, self._sight, self._off, history_makes_present
        )
        for overlay in overlays.values():
            for key, check in overlay.checks.items():
                if check.declaration.index:
                    entities.index(overlay.name, key)
            if any(rule.silent_for for rule in overlay.rules):
                entities.index_silence(overlay.name)

    def close(self) -> None:
        self._readers.shutdown()

    # --- writing ---

    async def change(self, actor: Actor, command: ChangeEntities, key: str = "") -> list[Changed]:
        """Apply changes; one outcome each, in order. With a `key` a repeat gets the first answer.

        Raises AccessDenied, TooLarge, Overloaded and StorageFull; what is wrong with one entity is in its outcome.
        """
        if len(command.changes) > ENTITIES_MAX:
            raise TooLarge(
                "too many entities in one batch",
                seen=str(len(command.changes)),
                allowed=f"{ENTITIES_MAX}",
                fix="send several batches",
            )
        tenant = command.tenant
        self._sight.check_change(actor, command, lambda id_: self._entities.get(tenant, id_))
        outcome: list[Changed] = await self._writer.ask(Request(command=command, actor=actor.id, key=key))
        return outcome

    async def acknowledge(self, actor: Actor, alert: str, note: str = "") -> Alert:
        """Say that somebody looks after an alert."""
        return await self._act(actor, AlertAction(alert=alert, acknowledge=True, note=note))

    async def silence(self, actor: Actor, alert: str, until: int, note: str = "") -> Alert:
        """Keep an alert out of lists and messages until an instant; 0 ends that."""
        return await self._act(actor, AlertAction(alert=alert, silence_until=until, note=note))

    async def _act(self, actor: Actor, action: AlertAction) -> Alert:
        if "\0" in action.note:
            raise InvalidInput("the character U+0000 is in the note", where="note", fix="leave it out")
        found = await self._off(lambda: self._alerts.get(action.alert))
        if found is None or not self._sight.alerts(actor, [found], found.id):
            raise NotFound("there is no such alert", where="alert", seen=action.alert)
        self._access.require(
            actor,
            "sense.alert.acknowledge",
            types=(found.type,),
            place=found.place,
            tenant=found.tenant,
            what=found.id,
        )
        outcome = await self._writer.ask(Request(command=action, actor=actor.id))
        if isinstance(outcome, HutongError):
            raise outcome
        assert isinstance(outcome, Alert)
        return outcome

    def check_keeping(self, actor: Actor, tenant: str, kind: DocumentKind) -> None:
        """Raises AccessDenied when the actor may not keep documents of this kind."""
        self._access.require(actor, RULES[kind].write, tenant=tenant)

    async def keep_document(self, actor: Actor, document: Document, only: Literal["new", "known", ""] = "") -> Document:
        """Keep a document; the actor becomes its owner. Raises AccessDenied, AlreadyExists, NotFound, TooLarge."""
        self._access.require(actor, RULES[document.kind].write, tenant=document.tenant, what=document.id)
        owned = msgspec.structs.replace(document, owner=actor)
        command = KeepDocument(document=owned, only=only)
        outcome: Document = await self._writer.ask(Request(command=command, actor=actor.id))
        return outcome

    async def drop_document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str) -> None:
        """Drop a document. Raises AccessDenied, NotFound."""
        self._access.require(actor, RULES[kind].write, tenant=tenant, what=id)
        await self._writer.ask(Request(command=DropDocument(tenant=tenant, kind=kind, id=id), actor=actor.id))

    # --- reading ---

    def entity(self, actor: Actor, tenant: str, id: str) -> Entity:
        """One entity as the actor may see it. Raises NotFound, and AccessDenied for a tenant not the actor's."""
        if actor.tenants:
            self._access.require(actor, "sense.read", tenant=tenant, what=id)
        row = self._entities.get(tenant, id)
        seen = self._sight.entities(actor, (row,), id) if row is not None else []
        if not seen:
            raise NotFound("there is no such entity", where="id", seen=id)
        return seen[0]

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]:
        """Entities in order of creation, as the actor may see them."""
        self._bound(query.limit, query.offset)
        asked = self._sight.narrow(actor, query)
        rows = await self._off(lambda: self._entities.find(asked))
        return self._sight.entities(actor, rows, "query")

    def sees_any(self, actor: Actor, type: str) -> bool:
        """Whether the actor may see anything of things of this type."""
        return self._sight.sees_any(actor, type)

    async def count(self, actor: Actor, query: EntityQuery) -> int:
        """How many entities of types that the actor may see answer the query."""
        asked = self._sight.narrow(actor, query)
        return await self._off(lambda: self._entities.count(asked))

    async def types(self, actor: Actor, tenant: str = "") -> Mapping[str, int]:
        """Types in use and how many entities have each, as far as the actor may see any of their properties."""
        found = await self._off(lambda: self._entities.types(tenant))
        return {name: n for name, n in found.items() if self._access.visible(actor, self._sight.least(name))}

    async def in_use(self, actor: Actor, tenant: str = "", type: str = "", attribute: str = "") -> list[InUse]:
        """Attributes in use, of a type or of a name where given, as far as the actor may see them."""
        self._access.require(actor, "sense.read", tenant=tenant)
        found = await self._off(lambda: self._entities.in_use(tenant, type, attribute))
        return [one for one in found if self._sight.somewhere(actor, one.type, one.attribute)]

    async def history(self, actor: Actor, query: HistoryQuery) -> pl.DataFrame:
        """Observations (HISTORY_SCHEMA), sorted by entity, attribute and time."""
        rows = self._rows(query)
        asked = self._sight.settled(query, rows.values())
        frame = await self._off(lambda: self._history.read(asked))
        return self._sight.history(actor, frame, rows, "history")

    async def aggregate(self, actor: Actor, query: HistoryQuery, how: Aggregation) -> pl.DataFrame:
        """Columns entity, attribute, bucket, and one per method."""
        rows = self._rows(query)
        asked = self._sight.settled(query, rows.values())
        frame = await self._off(lambda: self._history.aggregate(asked, how))
        return self._sight.history(actor, frame, rows, "history")

    async def alerts(self, actor: Actor, query: AlertQuery) -> list[Alert]:
        """Alerts, newest first, whose rules read nothing that the actor may not see."""
        self._bound(query.limit, query.offset)
        asked = self._sight.narrow_alerts(actor, query)
        return self._sight.alerts(actor, await self._off(lambda: self._alerts.find(asked)), "alerts")

    async def count_alerts(self, actor: Actor, query: AlertQuery) -> int:
        asked = self._sight.narrow_alerts(actor, query)
        return await self._off(lambda: self._alerts.count(asked))

    async def follow(
        self, actor: Actor, tenant: str, types: Sequence[str], every_s: float = 1.0
    ) -> AsyncIterator[list[Entity]]:
        """Entities of these types (all when empty) each time that some changed, at most once in `every_s`."""
        self._access.require(actor, "sense.read", tenant=tenant)
        with self._followers.join(tenant, types) as changes:
            while True:
                query = EntityQuery(tenant=tenant, ids=await changes.next(), limit=FOLLOWED_MAX)
                rows = await self._off(partial(self._entities.find, query))
                yield self._sight.entities(actor, rows, "follow")
                await asyncio.sleep(every_s)

    async def document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str) -> Document:
        """A document. Raises AccessDenied, NotFound."""
        self._access.require(actor, RULES[kind].read, tenant=tenant, what=id)
        found = await self._off(lambda: self._documents.get(tenant, kind, id))
        if found is None:
            raise missing(kind, id)
        return found

    async def documents(
        self, actor: Actor, tenant: str, kind: DocumentKind, limit: int, offset: int = 0
    ) -> list[Document]:
        """Documents of a kind in order of creation. Raises AccessDenied."""
        self._access.require(actor, RULES[kind].read, tenant=tenant)
        self._bound(limit, offset)
        return await self._off(lambda: self._documents.list(tenant, kind, limit, offset))

    async def count_documents(self, actor: Actor, tenant: str, kind: DocumentKind) -> int:
        """How many documents of a kind there are. Raises AccessDenied."""
        self._access.require(actor, RULES[kind].read, tenant=tenant)
        return await self._off(lambda: self._documents.count(tenant, kind))

    def relations(self) -> Iterator[Relation]:
        """What the engine publishes for others to read."""
        yield from relations(self.overlays, self._entities, self._alerts, self._access, self._sight)
        yield subscribed(self._subscriptions, self._outbox, self._access)

    def _rows(self, query: HistoryQuery) -> dict[str, EntityRow]:
        """The entities that a question about history names, as they are now."""
        found = ((id_, self._entities.get(query.tenant, id_)) for id_ in query.entities)
        return {id_: row for id_, row in found if row is not None}

    @staticmethod
    def _bound(limit: int, offset: int) -> None:
        if limit > LIMIT_MAX:
            raise TooLarge(
                "too many results on one page",
                where="limit",
                seen=str(limit),
                allowed=f"{LIMIT_MAX}",
                fix="ask for fewer and follow the next page",
            )
        if offset > OFFSET_MAX:
            raise TooLarge("too far down the list", where="offset", seen=str(offset), allowed=f"{OFFSET_MAX}")

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)
