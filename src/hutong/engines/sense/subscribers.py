"""The verbs about subscriptions, and what each subscriber may be shown when it is told; access is decided here."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import msgspec

from hutong.engines.sense.documents import (
    RULES,
    Document,
    DocumentKind,
    DocumentStore,
    DropDocument,
    KeepDocument,
    missing,
)
from hutong.engines.sense.ports import Entity, EntityQuery, EntityStore, Selector
from hutong.engines.sense.sight import Sight
from hutong.engines.sense.subscriptions import (
    KIND,
    Kept,
    Notice,
    Subscription,
    Subscriptions,
    channel_of,
    read_document,
)
from hutong.kernel.access import Access, Actor
from hutong.kernel.commands import Request
from hutong.kernel.errors import NotAuthenticated
from hutong.kernel.outbox import ChannelState, DropChannel, OutboxStore
from hutong.kernel.writer import Writer

SUBSCRIPTION_KINDS: Final[tuple[DocumentKind, DocumentKind]] = (KIND, "registration_subscription")
PAGE: Final = 1_000
CURRENT_MAX: Final = 10_000  # entities in one periodic notification

AsNow: TypeAlias = Callable[[Actor], Actor]
"""An actor of the past with the roles and grants that hold now. Raises NotAuthenticated where it is no more."""
Off: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does work that reads a store, away from the event loop."""


class Subscribers:
    """Who subscribes to what, and how telling them fares: to changes, or, by `kind`, to registrations of sources."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        documents: DocumentStore,
        entities: EntityStore,
        outbox: OutboxStore,
        writer: Writer,
        access: Access,
        sight: Sight,
        as_now: AsNow,
        off: Off,
        kind: DocumentKind = KIND,
    ) -> None:
        self._kind = kind
        self._index, self._documents, self._entities, self._outbox = subscriptions, documents, entities, outbox
        self._writer, self._access, self._sight, self._as_now, self._off = writer, access, sight, as_now, off

    # --- for those who subscribe ---

    async def subscribe(
        self, actor: Actor, tenant: str, subscription: Subscription, only: Literal["new", "known"]
    ) -> None:
        """Keep a subscription; the actor becomes its owner, and it is told what the actor may see.

        Raises AccessDenied, also for one that asks by what the actor may not see; AlreadyExists, NotFound, TooLarge.
        """
        self._access.require(actor, RULES[self._kind].write, tenant=tenant, what=subscription.id)
        for query in queries(tenant, subscription) if self._kind == KIND else ():
            self._sight.narrow(actor, query)
        body = msgspec.json.encode(subscription)
        document = Document(tenant=tenant, kind=self._kind, id=subscription.id, body=body, owner=actor)
        await self._writer.ask(Request(command=KeepDocument(document=document, only=only), actor=actor.id))

    async def unsubscribe(self, actor: Actor, tenant: str, id: str) -> None:
        """Drop a subscription and what waits to be told. Raises AccessDenied, NotFound."""
        self._access.require(actor, RULES[self._kind].write, tenant=tenant, what=id)
        await self._writer.ask(Request(command=DropDocument(tenant=tenant, kind=self._kind, id=id), actor=actor.id))
        await self._writer.ask(Request(command=DropChannel(channel=channel_of(tenant, id, self._kind)), actor=actor.id))

    async def one(self, actor: Actor, tenant: str, id: str) -> Kept:
        """A subscription. Raises AccessDenied, NotFound."""
        self._access.require(actor, RULES[self._kind].read, tenant=tenant, what=id)
        found: Document | None = await self._off(lambda: self._documents.get(tenant, self._kind, id))
        if found is None:
            raise missing(self._kind, id)
        return read_document(found)

    async def page(self, actor: Actor, tenant: str, limit: int, offset: int) -> list[Kept]:
        """Subscriptions in order of creation. Raises AccessDenied."""
        self._access.require(actor, RULES[self._kind].read, tenant=tenant)
        found: list[Document] = await self._off(lambda: self._documents.list(tenant, self._kind, limit, offset))
        return [read_document(document) for document in found]

    async def count(self, actor: Actor, tenant: str) -> int:
        """How many subscriptions a tenant has. Raises AccessDenied."""
        self._access.require(actor, RULES[self._kind].read, tenant=tenant)
        number: int = await self._off(lambda: self._documents.count(tenant, self._kind))
        return number

    async def states(self, subscriptions: Iterable[Kept]) -> Mapping[str, ChannelState]:
        """How telling these fares, by channel; those never told are left out."""
        channels = [kept.channel for kept in subscriptions]
        states: dict[str, ChannelState] = await self._off(lambda: self._outbox.states(channels))
        return states

    # --- for those who tell them ---

    def known(self, tenant: str, id: str) -> Kept | None:
        """A subscription as it stands now; None when it was dropped."""
        return self._index.get(tenant, id)

    def reader(self, kept: Kept) -> Actor:
        """For whom a subscription is told. Raises NotAuthenticated where that is nobody any more."""
        if kept.owner is None:
            raise NotAuthenticated("nobody owns the subscription", fix="subscribe again")
        return self._as_now(kept.owner)

    def shown(self, actor: Actor, kept: Kept, notices: Iterable[Notice]) -> list[tuple[Entity, Notice]]:
        """What the actor may see of these; what happened out of its sight is left out. Raises AccessDenied."""
        for query in queries(kept.tenant, kept.subscription):
            self._sight.narrow(actor, query)
        shown = []
        for notice in notices:
            assert notice.row is not None
            if found := self._sight.entities(actor, (notice.row,), kept.subscription.id):
                seen = self._visible(actor, notice, found[0])
                if seen is not None:
                    shown.append((found[0], seen))
        return shown

    def _visible(self, actor: Actor, notice: Notice, entity: Entity) -> Notice | None:
        row = notice.row
        assert row is not None
        if self._access.open:
            return notice
        changed = tuple(key for key in notice.changed if key in entity.attributes)
        gone = {key: one for key, one in notice.gone.items() if self._sight.sees(actor, row, key)}
        if not (changed or gone or notice.created or notice.deleted):
            return None
        before = {key: one for key, one in notice.before.items() if key in entity.attributes}
        return msgspec.structs.replace(notice, changed=changed, gone=gone, before=before)

    async def current(self, actor: Actor, kept: Kept) -> list[Entity]:
        """The entities that a subscription is about, as they are now, at most CURRENT_MAX. Raises AccessDenied."""
        found: dict[str, Entity] = {}
        for query in queries(kept.tenant, kept.subscription):
            asked = self._sight.narrow(actor, query)
            for offset in range(0, CURRENT_MAX, PAGE):
                page = msgspec.structs.replace(asked, limit=PAGE, offset=offset)
                rows = await self._off(partial(self._entities.find, page))
                found |= {one.id: one for one in self._sight.entities(actor, rows, kept.subscription.id)}
                if len(rows) < PAGE or len(found) >= CURRENT_MAX:
                    break
        return list(found.values())[:CURRENT_MAX]

    async def linked(self, actor: Actor, tenant: str, ids: Collection[str]) -> list[Entity]:
        """Entities that others name, as the actor may see them; those that are not there are left out."""
        if not ids:
            return []
        query = EntityQuery(tenant=tenant, ids=tuple(ids), limit=PAGE)
        asked = self._sight.narrow(actor, query)
        return self._sight.entities(actor, await self._off(lambda: self._entities.find(asked)), "linked")


def queries(tenant: str, one: Subscription) -> list[EntityQuery]:
    """The questions that a subscription amounts to, one for each selector."""
    return [
        EntityQuery(
            tenant=tenant,
            ids=selector.ids,
            id_pattern="" if selector.ids else selector.id_pattern,
            types=selector.types,
            attributes=one.watched,
            where=one.where,
            geo=one.geo,
            scopes=one.scopes,
        )
        for selector in one.selectors or (Selector(),)
    ]
