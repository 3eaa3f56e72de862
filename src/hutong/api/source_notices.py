"""Tells those who subscribe to context sources which begin to match, change, or match no longer (clause 5.11.7).

A change of a registration puts its notices into the outbox in the same transaction. What matches at the beginning,
after the subscription was changed, and at every interval is looked up when it is told.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from hutong.api.courier import Courier
from hutong.engines.sense.documents import Document, DocumentKind, DocumentStore, DropDocument
from hutong.engines.sense.subscriptions import Kept, channel_of, read_channel, read_document
from hutong.kernel.access import Actor
from hutong.kernel.clock import Clock
from hutong.kernel.errors import AccessDenied, DeliveryRefused, HutongError, NotAuthenticated, NotFound
from hutong.kernel.housekeeping import Within
from hutong.kernel.outbox import ChannelState, Outbox, Parcel, Sent
from hutong.kernel.transactions import Transaction
from hutong.standards.ngsi_ld.contexts import Contexts
from hutong.standards.ngsi_ld.discovery import Discoverer, discovery_of
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.notifications import Telling, read_telling
from hutong.standards.ngsi_ld.registrations import Information, Registration, write_registration

KIND: Final[DocumentKind] = "registration_subscription"
REGISTRATION: Final[DocumentKind] = "registration"
REGISTRATIONS_MAX: Final = 500  # in one notification
PAGE: Final = 500  # documents read at once

Reason: TypeAlias = Literal["newlyMatching", "updated", "noLongerMatching"]
Found: TypeAlias = tuple[Registration, tuple[Information, ...]]

log = logging.getLogger(__name__)


class SourceNotice(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a parcel: why a registration is told, as it was then; without one, all that match are told."""

    at: int
    reason: Reason
    registration: Registration | None = None


class _Compiled(msgspec.Struct, frozen=True):
    kept: Kept
    discoverer: Discoverer


class SourceNotices:
    """Puts notices. `react` and `heard` are for the documents' handler and run on the writer's thread."""

    def __init__(self, documents: DocumentStore, outbox: Outbox, clock: Clock) -> None:
        self._documents, self._outbox, self._clock = documents, outbox, clock
        self._compiled: dict[str, dict[str, _Compiled]] = {}  # by tenant and id
        self._beats: dict[str, int] = {}  # by channel: when those with an interval are due
        self._ends: dict[tuple[str, str], int] = {}  # by tenant and id: when registrations expire
        for document in (*documents.each(KIND), *documents.each(REGISTRATION)):
            self._take(document)

    def react(self, tx: Transaction, before: Document | None, after: Document | None) -> None:
        """Put what follows from a change of a registration, or of a subscription to them."""
        document = after or before
        assert document is not None
        now = self._clock.now()
        if document.kind == KIND and after is not None:
            self._take(after)  # so that it hears of registrations in the same transaction
            if self._any_matches(tx, after, now):
                self._put(tx, [(channel_of(after.tenant, after.id, KIND), SourceNotice(now, "newlyMatching"))])
        elif document.kind == REGISTRATION and (compiled := self._compiled.get(document.tenant)):
            old, new = _registration(before), _registration(after)
            self._put(tx, _told(compiled.values(), old, new, now))

    def _any_matches(self, tx: Transaction, document: Document, now: int) -> bool:
        compiled = self._compiled.get(document.tenant, {}).get(document.id)
        if compiled is None or not compiled.kept.subscription.holds(now):
            return False
        offset = 0
        while page := self._documents.page(tx, document.tenant, REGISTRATION, PAGE, offset):
            if any(compiled.discoverer.find(one) for one in map(_registration, page) if one and one.holds(now)):
                return True
            offset += len(page)
        return False

    def heard(self, kind: str, tenant: str, id: str) -> None:
        """A registration, or a subscription to them, was kept or dropped."""
        if kind == KIND:
            self._compiled.get(tenant, {}).pop(id, None)
            self._beats.pop(channel_of(tenant, id, KIND), None)
        elif kind == REGISTRATION:
            self._ends.pop((tenant, id), None)
        else:
            return
        if (document := self._documents.get(tenant, kind, id)) is not None:
            self._take(document)

    def known(self, tenant: str, id: str) -> Kept | None:
        """A subscription as it stands now; from any thread."""
        found = self._compiled.get(tenant, {}).get(id)
        return None if found is None else found.kept

    def pulse(self, ask: Callable[[Any], Any]) -> None:
        """Do what is due: drop registrations that expired, and tell subscriptions whose interval has passed."""
        now = self._clock.now()
        for (tenant, id_), at in list(self._ends.items()):
            if at <= now:
                with suppress(NotFound):  # somebody was faster
                    ask(DropDocument(tenant=tenant, kind=REGISTRATION, id=id_))
        due = [channel for channel, at in list(self._beats.items()) if at <= now]
        for channel in due:
            kept = self.known(*read_channel(channel))
            if kept is not None:
                self._beats[channel] = now + kept.subscription.interval
        if due:
            told = [(channel, SourceNotice(now, "newlyMatching")) for channel in due]
            ask(Within(kind="", work=lambda tx: self._put(tx, told)))

    def _put(self, tx: Transaction, told: Sequence[tuple[str, SourceNotice]]) -> None:
        if told:
            self._outbox.put(tx, [Parcel(channel, msgspec.msgpack.encode(one), one.at) for channel, one in told])

    def _take(self, document: Document) -> None:
        if document.kind == REGISTRATION:
            one = msgspec.json.decode(document.body, type=Registration)
            if one.expires_at is not None:
                self._ends[document.tenant, document.id] = one.expires_at
            return
        try:
            kept = read_document(document)
        except msgspec.DecodeError:  # it stays listed, and whoever asks for it hears that it is broken
            log.exception("the subscription %s cannot be read: nobody is told", document.id)
            return
        compiled = _Compiled(kept, Discoverer(discovery_of(kept.subscription)))
        self._compiled.setdefault(document.tenant, {})[document.id] = compiled
        if kept.subscription.interval:
            self._beats[kept.channel] = document.modified_at + kept.subscription.interval


def _told(
    subscribed: Iterable[_Compiled], old: Registration | None, new: Registration | None, now: int
) -> list[tuple[str, SourceNotice]]:
    told = []
    for one in subscribed:
        subscription = one.kept.subscription
        if not subscription.holds(now) or subscription.interval:
            continue
        was = old is not None and bool(one.discoverer.find(old))
        if new is not None and one.discoverer.find(new):
            told.append((one.kept.channel, SourceNotice(now, "updated" if was else "newlyMatching", new)))
        elif was:
            told.append((one.kept.channel, SourceNotice(now, "noLongerMatching", new or old)))
    return told


def _registration(document: Document | None) -> Registration | None:
    return None if document is None else msgspec.json.decode(document.body, type=Registration)


class Sense(Protocol):
    """The verbs of the sense engine that telling takes."""

    async def documents(
        self, actor: Actor, tenant: str, kind: DocumentKind, limit: int, offset: int, /
    ) -> list[Document]: ...


class Subscribers(Protocol):
    """What the sense engine says of those who subscribe to sources."""

    def reader(self, kept: Kept, /) -> Actor: ...

    async def states(self, subscriptions: Sequence[Kept], /) -> Mapping[str, ChannelState]: ...


class SourceNotifications:
    """Implements the kernel's Transport for channels of kind `registration_subscription`."""

    def __init__(
        self,
        engine: Sense,
        notices: SourceNotices,
        subscribers: Subscribers,
        contexts: Contexts,
        courier: Courier,
        clock: Clock,
    ) -> None:
        self._engine, self._notices, self._subscribers, self._contexts = engine, notices, subscribers, contexts
        self._courier, self._clock = courier, clock

    async def send(self, channel: str, parcels: Sequence[Parcel]) -> Sent:
        """Tell the first parcel. What nobody asks for any more counts as sent."""
        tenant, id_ = read_channel(channel)
        kept, now = self._notices.known(tenant, id_), self._clock.now()
        if kept is None or not kept.subscription.holds(now):
            return Sent(len(parcels))
        if throttling := kept.subscription.throttling:
            state = (await self._subscribers.states([kept])).get(channel)
            if state is not None and (state.last_sent_at or 0) + throttling > now:
                return Sent(0, (state.last_sent_at or 0) + throttling)
        try:
            await self._tell(kept, parcels[0])
        except (AccessDenied, NotAuthenticated) as error:
            raise DeliveryRefused(str(error.fault)) from None
        return Sent(1)

    async def _tell(self, kept: Kept, parcel: Parcel) -> None:
        notice = msgspec.msgpack.decode(parcel.body, type=SourceNotice)
        discoverer = Discoverer(discovery_of(kept.subscription))
        found = await self._found(self._subscribers.reader(kept), kept.tenant, notice, discoverer)
        telling = self._telling(kept)
        for i in range(0, len(found), REGISTRATIONS_MAX):
            name = hashlib.sha256(f"{kept.channel}:{parcel.n}:{i}".encode()).hexdigest()[:32]  # told again, the same
            id_, at = f"urn:ngsi-ld:ContextSourceNotification:{name}", self._clock.now()
            told = _write(telling, found[i : i + REGISTRATIONS_MAX], notice.reason, id_, at)
            await self._courier.deliver(kept.tenant, telling, told)

    async def _found(self, actor: Actor, tenant: str, notice: SourceNotice, discoverer: Discoverer) -> list[Found]:
        """Registrations to be told, each with the parts of its information that match. Raises AccessDenied."""
        page = await self._engine.documents(actor, tenant, REGISTRATION, 1 if notice.registration else PAGE, 0)
        if (one := notice.registration) is not None:
            return [(one, discoverer.find(one) or one.information)]
        found: list[Found] = []
        offset, now = 0, self._clock.now()
        while page:
            for document in page:
                one = _registration(document)
                if one is not None and one.holds(now) and (parts := discoverer.find(one)):
                    found.append((one, parts))
            offset += len(page)
            page = await self._engine.documents(actor, tenant, REGISTRATION, PAGE, offset)
        return found

    def _telling(self, kept: Kept) -> Telling:
        wire = kept.subscription.wire
        try:
            return read_telling(kept.subscription, self._contexts.resolve(wire.get("jsonldContext", wire["@context"])))
        except HutongError as error:  # no words to tell it in
            raise DeliveryRefused(str(error.fault)) from None


def _write(telling: Telling, found: Sequence[Found], reason: Reason, id_: str, at: int) -> dict[str, Any]:
    """A CSourceNotification as JSON-ready mapping (clause 5.3.2)."""
    told: dict[str, Any] = {
        "id": id_,
        "type": "ContextSourceNotification",
        "subscriptionId": telling.subscription.id,
        "notifiedAt": write_instant(at),
        "data": [write_registration(one, telling.context, parts) for one, parts in found],
        "triggerReason": reason,
    }
    if telling.answer.context_in_body:
        told["@context"] = telling.context.source
    return told
