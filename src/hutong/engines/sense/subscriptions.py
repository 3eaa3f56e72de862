"""Subscriptions: who is told of which changes, found in memory while a change is in hand.

A subscription is a kept document (`documents.py`); here they stand compiled, by tenant and type, so that a change costs
one look-up where nobody asked for its type. Everything in this module but `get`, `due` and `Notice` runs on the
writer's thread.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from enum import IntFlag
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from hutong.engines.sense.changes import Working, types_of
from hutong.engines.sense.conditions import pattern, predicate
from hutong.engines.sense.documents import Document, DocumentKind, DocumentStore
from hutong.engines.sense.geometry import admits, geometry_in
from hutong.engines.sense.overlay import SUSPECT
from hutong.engines.sense.ports import Attribute, Changed, EntityRow, Filter, GeoFilter, Selector
from hutong.kernel.access import Actor
from hutong.kernel.outbox import Outbox, Parcel
from hutong.kernel.transactions import Transaction

KIND: Final[DocumentKind] = "subscription"
KNOWN_MAX: Final = 50_000  # things of a tenant of which is remembered who asks for them
log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()

Doc: TypeAlias = dict[str, Attribute]


class On(IntFlag):
    """What a subscription is told of (ETSI GS CIM 009, table 5.2.12-1)."""

    ENTITY_CREATED = 1
    ENTITY_DELETED = 2
    ATTRIBUTE_CREATED = 4
    ATTRIBUTE_UPDATED = 8
    ATTRIBUTE_DELETED = 16


_CREATED, _DELETED, _ADDED, _UPDATED, _REMOVED = map(int, On)  # plain numbers are much faster than flags


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who wants to be told of what; the body of a document of kind `subscription`.

    No `selectors`: any entity; no `watched`: any attribute; `datasets`: only instances of these datasetIds ("" is the
    default one). With an `interval` (microseconds) it is told every so often instead of on changes. `previous`: values
    as they were before are told too. `wire` is the subscription in the words of the standard it came by.
    """

    id: str
    selectors: tuple[Selector, ...] = ()
    watched: tuple[str, ...] = ()
    on: int = On.ATTRIBUTE_CREATED | On.ATTRIBUTE_UPDATED
    where: Filter | None = None
    geo: GeoFilter | None = None
    scopes: tuple[tuple[str, ...], ...] = ()
    datasets: tuple[str, ...] = ()
    previous: bool = False
    active: bool = True
    expires_at: int | None = None
    interval: int = 0
    throttling: int = 0
    sources: Filter | None = None  # on properties of context sources
    wire: dict[str, Any] = {}

    def holds(self, now: int) -> bool:
        """Whether it is neither paused nor expired."""
        return self.active and (self.expires_at is None or now < self.expires_at)


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to one entity, as it stood then: the body of a parcel. Without a `row` it is a periodic one.

    `changed` are keys of attributes created or updated, `gone` those deleted as they were, `before` (where asked for)
    what `changed` had been. Of a deleted entity `row` is what it was, and `gone` is empty.
    """

    at: int
    row: EntityRow | None = None
    created: bool = False
    deleted: bool = False
    changed: tuple[str, ...] = ()
    gone: dict[str, Attribute] = {}
    before: dict[str, Attribute] = {}


class Kept(msgspec.Struct, frozen=True):
    """A subscription with whom it belongs to and when it was last written; `kind` is that of its document."""

    tenant: str
    subscription: Subscription
    owner: Actor | None
    created_at: int
    modified_at: int
    kind: str = KIND

    @property
    def channel(self) -> str:
        return channel_of(self.tenant, self.subscription.id, self.kind)


class Remind(msgspec.Struct, frozen=True, kw_only=True, tag="sense.remind"):
    """Command: tell a subscription with an interval once. The outcome is True."""

    tenant: str = ""
    id: str


def channel_of(tenant: str, id: str, kind: str = KIND) -> str:
    """The outbox channel of a subscription."""
    return f"{kind}:{tenant}:{id}"


def read_channel(channel: str) -> tuple[str, str]:
    """Tenant and id of the subscription that a channel is for."""
    _, tenant, id_ = channel.split(":", 2)
    return tenant, id_


def read_document(document: Document) -> Kept:
    """A kept document as a subscription."""
    subscription = msgspec.json.decode(document.body, type=Subscription)
    return Kept(document.tenant, subscription, document.owner, document.created_at, document.modified_at, document.kind)


class Snapshot:
    """An entity before and after one change of a group. What is derived later is followed."""

    __slots__ = ("before", "created", "deleted", "doc", "row")

    def __init__(self, row: EntityRow, before: Doc, doc: Doc | None, created: bool) -> None:
        self.row, self.created, self.deleted = copy(row), created, doc is None
        self.before, self.doc = before, dict(before if doc is None else doc)

    def follow(self, key: str, old: Attribute | None, new: Attribute | None) -> None:
        """An attribute was derived: from what it was before this change to what it is after it."""
        for doc, attribute in ((self.before, old), (self.doc, new)):
            if attribute is None:
                doc.pop(key, None)
            else:
                doc[key] = attribute

    def doubt(self, key: str) -> None:
        """The value lies outside its range."""
        if (attribute := self.doc.get(key)) is not None and not attribute.marks & SUSPECT:
            self.doc[key] = msgspec.structs.replace(attribute, marks=attribute.marks | SUSPECT)


class _Delta(NamedTuple):
    """What a snapshot's change did: by attribute key, and as flags of `On` that an entity or any attribute raises."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    gone: tuple[str, ...]
    of_entity: int
    of_attributes: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Delta":
        before, doc = snapshot.before, snapshot.doc
        created: tuple[str, ...] = ()
        updated: tuple[str, ...] = ()
        if snapshot.deleted:
            gone = tuple(before)
        else:
            created = tuple([key for key in doc if key not in before])
            updated = tuple([key for key, one in doc.items() if before.get(key, one) is not one])
            gone = tuple([key for key in before if key not in doc])
        of_entity = (_CREATED if snapshot.created else 0) | (_DELETED if snapshot.deleted else 0)
        raised = ((created, _ADDED), (updated, _UPDATED), (gone, _REMOVED))
        return cls(created, updated, gone, of_entity, sum(flag for keys, flag in raised if keys))


class _Compiled:
    """A subscription ready to be asked."""

    __slots__ = ("_datasets", "_on", "_selects", "_tests", "_watched", "channel", "kept", "places", "previous")

    def __init__(self, kept: Kept) -> None:
        one = kept.subscription
        self.kept, self.channel, self.previous = kept, kept.channel, one.previous
        self.places: list[list[_Compiled]] = []
        self._on, self._watched, self._datasets = int(one.on), frozenset(one.watched), frozenset(one.datasets)
        self._selects, self._tests = tuple(map(_selects, one.selectors)), tuple(_tests(one))

    def selects(self, row: EntityRow) -> bool:
        """Whether it is about such an entity at all: by its id and types, which hardly ever change."""
        return not self._selects or any(select(row) for select in self._selects)

    def wants(self, snapshot: Snapshot, delta: _Delta) -> bool:
        """Whether it is to be told of this change."""
        on = self._on
        if not on & delta.of_entity:
            common = on & delta.of_attributes
            if not common or ((self._watched or self._datasets) and not self._moved(common, delta)):
                return False
        for test in self._tests:  # noqa: SIM110  # a generator costs as much as a test
            if not test(snapshot):
                return False
        return True

    def _moved(self, flags: int, delta: _Delta) -> bool:
        return (
            (bool(flags & _UPDATED) and self._watches(delta.updated))
            or (bool(flags & _ADDED) and self._watches(delta.created))
            or (bool(flags & _REMOVED) and self._watches(delta.gone))
        )

    def _watches(self, keys: Sequence[str]) -> bool:
        watched, datasets = self._watched, self._datasets
        for key in keys:
            name, _, dataset = key.partition("@")
            if (not watched or name in watched) and (not datasets or dataset in datasets):
                return True
        return False


def _tests(one: Subscription) -> Iterator[Callable[[Snapshot], bool]]:
    if one.scopes:
        matches = [[pattern(_scope_pattern(scope)) for scope in together] for together in one.scopes]
        yield lambda snapshot: any(all(match(snapshot.row.scopes) for match in together) for together in matches)
    if one.where is not None:
        answers = predicate(one.where)
        yield lambda snapshot: answers(snapshot.doc)
    if one.geo is not None:
        yield _lies(one.geo)


def _lies(geo: GeoFilter) -> Callable[[Snapshot], bool]:
    admitted = admits(geo)

    def lies(snapshot: Snapshot) -> bool:
        found = geometry_in(snapshot.doc, geo.attribute)
        return found is not None and admitted(found)

    return lies


def _selects(selector: Selector) -> Callable[[EntityRow], bool]:
    ids = frozenset(selector.ids)
    matches = pattern(selector.id_pattern) if selector.id_pattern and not ids else None
    alternatives = tuple(map(frozenset, selector.types))

    def selects(row: EntityRow) -> bool:
        if (ids and row.id not in ids) or (matches is not None and not matches(row.id)):
            return False
        if not alternatives:
            return True
        types = {row.type} if not row.types else set(types_of(row))
        return any(wanted <= types for wanted in alternatives)

    return selects


def _scope_pattern(scope: str) -> str:
    """A scope query as a pattern over the JSON list of scopes, as the stores have it."""
    inner = f'{scope[:-2]}(/[^"]*)?' if scope.endswith("/#") else scope
    return '"' + inner.replace("+", '[^/"]+') + '"'


class _Bucket:
    """Subscriptions that may concern one type: those that name ids, by id, and the others."""

    __slots__ = ("by_id", "rest")

    def __init__(self) -> None:
        self.by_id: dict[str, list[_Compiled]] = {}
        self.rest: list[_Compiled] = []

    def put(self, compiled: _Compiled, ids: Iterable[str]) -> None:
        for place in [self.by_id.setdefault(id_, []) for id_ in ids] or [self.rest]:
            place.append(compiled)
            compiled.places.append(place)

    def find(self, id_: str) -> list[_Compiled]:
        named = self.by_id.get(id_)
        return self.rest if not named else [*named, *self.rest]


class OfTenant:
    """The subscriptions of one tenant."""

    def __init__(self) -> None:
        self._by_type: dict[str, _Bucket] = {}
        self._any = _Bucket()
        self._known: dict[tuple[str, str, str], tuple[_Compiled, ...]] = {}

    def put(self, compiled: _Compiled) -> None:
        self.forget()
        for selector in compiled.kept.subscription.selectors or (Selector(),):
            for together in selector.types or ((),):
                bucket = self._by_type.setdefault(together[0], _Bucket()) if together else self._any
                bucket.put(compiled, selector.ids)

    def hold(self, entity: Working) -> Doc | None:
        """The document before a change, where somebody may be told of it."""
        doc = entity.doc
        return None if doc is None or not self._concerns(entity.row) else dict(doc)

    def snapshot(self, entity: Working, held: Doc | None, outcome: Changed) -> Snapshot | None:
        """The entity after a change; None where nobody is to be told."""
        if not (outcome.changed or outcome.created):
            return None
        if held is not None or (entity.doc is not None and self._concerns(entity.row)):
            return Snapshot(entity.row, held or {}, entity.doc, outcome.created)
        return None

    def about(self, row: EntityRow) -> Sequence[_Compiled]:
        """Those that are about such an entity; remembered, as the same things change again and again."""
        key = row.id, row.type, row.types
        known = self._known.get(key)
        if known is None:
            found = list(self._any.find(row.id))
            for name in types_of(row):
                if (bucket := self._by_type.get(name)) is not None:
                    found += bucket.find(row.id)
            known = tuple(one for one in dict.fromkeys(found) if one.selects(row))
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = known
        return known

    def forget(self) -> None:
        """Subscriptions have changed."""
        self._known.clear()

    def _concerns(self, row: EntityRow) -> bool:
        by_type, any_type = self._by_type, self._any
        if row.type in by_type or any_type.rest or any_type.by_id:
            return True
        return bool(row.types) and any(name in by_type for name in types_of(row))


class Subscriptions:
    """All subscriptions, kept as the documents are: hand `heard` to the documents' listeners."""

    def __init__(self, documents: DocumentStore, outbox: Outbox) -> None:
        self._documents, self._outbox = documents, outbox
        self._tenants: dict[str, OfTenant] = {}
        self._compiled: dict[tuple[str, str], _Compiled] = {}
        self._beats: dict[tuple[str, str], int] = {}  # of those with an interval: how often it has passed
        for document in documents.each(KIND):
            self._take(document)

    def heard(self, kind: str, tenant: str, id_: str) -> None:
        """A document was kept or dropped."""
        if kind == KIND:
            self._forget(tenant, id_)
            document = self._documents.get(tenant, KIND, id_)
            if document is not None:
                self._take(document)

    def get(self, tenant: str, id_: str) -> Kept | None:
        """A subscription as it stands now; from any thread."""
        found = self._compiled.get((tenant, id_))
        return found.kept if found is not None else None

    def all(self) -> list[Kept]:
        """Every subscription, of all tenants; from any thread."""
        return [compiled.kept for compiled in list(self._compiled.values())]

    def of(self, tenant: str) -> OfTenant | None:
        """Those of a tenant; None where nobody subscribes to changes."""
        return self._tenants.get(tenant)

    def due(self, now: int) -> list[tuple[Remind, int]]:
        """Reminders whose time has come since the last call, each with the number of its beat."""
        found = []
        for (tenant, id_), told in list(self._beats.items()):
            kept = self.get(tenant, id_)
            if kept is not None and (beat := _beat(kept, now)) > told and kept.subscription.holds(now):
                self._beats[tenant, id_] = beat
                found.append((Remind(tenant=tenant, id=id_), beat))
        return found

    def remind(self, tx: Transaction, command: Remind, now: int) -> bool:
        """Put a periodic notice."""
        kept = self.get(command.tenant, command.id)
        if kept is not None and kept.subscription.holds(now):
            self._outbox.put(tx, [Parcel(kept.channel, msgspec.msgpack.encode(Notice(now)), now)])
        return True

    def tell(self, tx: Transaction, snapshots: Sequence[Snapshot], now: int) -> None:
        """Put a notice for each subscription that is to be told, in order."""
        parcels: list[Parcel] = []
        for snapshot in snapshots:
            subscribed = self._tenants.get(snapshot.row.tenant)
            if subscribed is None:
                continue
            delta = _Delta.of(snapshot)
            bodies: dict[bool, bytes] = {}
            for one in subscribed.about(snapshot.row):
                if one.wants(snapshot, delta) and one.kept.subscription.holds(now) and self._outbox.takes(one.channel):
                    body = bodies.get(one.previous)
                    if body is None:
                        body = bodies[one.previous] = _body(snapshot, delta, one.previous, now)
                    parcels.append(Parcel(one.channel, body, now))
        if parcels:
            self._outbox.put(tx, parcels)

    def _take(self, document: Document) -> None:
        try:
            kept = read_document(document)
        except msgspec.DecodeError:  # it stays listed, and whoever asks for it hears that it is broken
            log.exception("the subscription %s cannot be read: nobody is told", document.id)
            return
        compiled = _Compiled(kept)
        key = (document.tenant, document.id)
        self._compiled[key] = compiled
        if kept.subscription.interval:
            self._beats[key] = _beat(kept, document.modified_at)
        else:
            self._tenants.setdefault(document.tenant, OfTenant()).put(compiled)

    def _forget(self, tenant: str, id_: str) -> None:
        self._beats.pop((tenant, id_), None)
        gone = self._compiled.pop((tenant, id_), None)
        if gone is not None:
            for place in gone.places:
                place.remove(gone)
            if tenant in self._tenants:
                self._tenants[tenant].forget()


def _beat(kept: Kept, now: int) -> int:
    return (now - kept.created_at) // kept.subscription.interval


def _body(snapshot: Snapshot, delta: _Delta, previous: bool, now: int) -> bytes:
    row, before = snapshot.row, snapshot.before
    row.doc = _ENCODER.encode(snapshot.doc).decode()
    notice = Notice(
        at=now,
        row=row,
        created=snapshot.created,
        deleted=snapshot.deleted,
        changed=delta.created + delta.updated,
        gone={} if snapshot.deleted else {key: before[key] for key in delta.gone},
        before={key: before[key] for key in delta.updated} if previous else {},
    )
    return msgspec.msgpack.encode(notice)


def read_notice(body: bytes) -> Notice:
    """The notice in a parcel."""
    return msgspec.msgpack.decode(body, type=Notice)
