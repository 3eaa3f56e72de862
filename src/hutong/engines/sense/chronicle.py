"""The verbs about history: who has one, what it says, and how it is amended."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import polars as pl

from hutong.engines.sense.amend import ALL
from hutong.engines.sense.changes import scopes_of, types_of
from hutong.engines.sense.history import (
    AmendHistory,
    Deletion,
    HistoryPage,
    HistoryStore,
    Instance,
    Past,
    PastStore,
    Strike,
    instance_id,
    instant_of,
    kept_id,
)
from hutong.engines.sense.merging import merged
from hutong.engines.sense.observations import EXACT_INTEGER_MAX, LATE, Block, restored
from hutong.engines.sense.ports import (
    Aggregation,
    Attribute,
    Change,
    ChangeEntities,
    EntityQuery,
    EntityRow,
    EntityStore,
    HistoryQuery,
    Verb,
)
from hutong.engines.sense.sight import Sight
from hutong.kernel.access import Access, Actor
from hutong.kernel.clock import LATEST
from hutong.kernel.commands import Request
from hutong.kernel.errors import InvalidInput, NotFound, TooLarge
from hutong.kernel.writer import Writer

TOLD = "history"  # the source of what is present because its history was told
INSTANCES_MAX = 10_000  # in one amendment
CANDIDATES_MAX = 200_000  # entities whose history one question may look at
CHUNK_MIN, CHUNK_MAX = 200, 5_000  # of them at a time
T = TypeVar("T")


class Off(Protocol):
    """Runs work on a reader's thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page of entities; `count` is how many there are in all, told where it was asked for."""

    entities: list[Past]
    more: bool
    count: int | None = None


class Chronicle:
    """Histories of entities, present and past, as an actor may see and amend them."""

    def __init__(
        self,
        entities: EntityStore,
        past: PastStore,
        history: HistoryStore,
        writer: Writer,
        access: Access,
        sight: Sight,
        off: Off,
        makes_present: bool = False,
    ) -> None:
        self._entities, self._past, self._history = entities, past, history
        self._writer, self._access, self._sight, self._off = writer, access, sight, off
        self._makes_present = makes_present

    # --- reading ---

    async def entity(self, actor: Actor, tenant: str, id: str) -> Past:
        """An entity that is there or was. Raises NotFound, and AccessDenied for a tenant not the actor's."""
        if actor.tenants:
            self._access.require(actor, "sense.read", tenant=tenant, what=id)
        found = await self._off(lambda: self._known(tenant, id))
        if found is None or not self._sight.may_know(actor, found):
            raise NotFound("there is no such entity", where="id", seen=id)
        return found

    async def find(
        self, actor: Actor, query: EntityQuery, span: HistoryQuery, *, deleted: bool = False, count: bool = False
    ) -> Found:
        """Entities by id that have history in the span, and in it values that pass the filters of the query.

        `deleted`: those of which an attribute was deleted in the span. Raises AccessDenied, and TooLarge where too many
        would have to be looked at.
        """
        asked = self._sight.narrow(actor, query)
        return await self._off(lambda: self._find(asked, span, deleted, count))

    async def page(self, actor: Actor, query: HistoryQuery, rows: int, entities: Sequence[Past]) -> HistoryPage:
        """About `rows` observations of these entities, as far as the actor may see them."""
        asked = self._sight.settled(query, entities)
        found = await self._off(lambda: self._history.page(asked, rows))
        seen = self._sight.history(actor, found.rows, {one.id: one for one in entities}, "history")
        by_id = {one.id: one for one in entities}
        there = tuple(one for one in found.there if self._sight.may_see(actor, by_id[one[0]], one[1]))
        return msgspec.structs.replace(found, rows=seen, there=there)

    async def aggregate(
        self, actor: Actor, query: HistoryQuery, how: Aggregation, entities: Sequence[Past]
    ) -> pl.DataFrame:
        """Columns entity, attribute, bucket, and one per method."""
        asked = self._sight.settled(query, entities)
        frame = await self._off(lambda: self._history.aggregate(asked, how))
        return self._sight.history(actor, frame, {one.id: one for one in entities}, "history")

    async def deletions(self, actor: Actor, tenant: str, entities: Sequence[Past]) -> list[Deletion]:
        """Which attributes of these entities were deleted, and when."""
        by_id = {one.id: one for one in entities}
        found = await self._off(lambda: self._past.deletions(tenant, list(by_id)))
        return [one for one in found if self._sight.may_see(actor, by_id[one.entity], one.attribute)]

    def _known(self, tenant: str, id: str) -> Past | None:
        row, past = self._entities.get(tenant, id), self._past.get(tenant, id)
        return past if row is None else _present(row, past)

    def _find(self, query: EntityQuery, span: HistoryQuery, deleted: bool, count: bool) -> Found:
        wanted, found, looked, after = query.offset + query.limit, list[Past](), 0, ""
        size = min(max(CHUNK_MIN, 2 * wanted), CHUNK_MAX)
        while chunk := self._past.known(query, after, size):
            looked, after = looked + len(chunk), chunk[-1].id
            if looked > CANDIDATES_MAX:
                raise TooLarge(
                    "too many things might answer",
                    allowed=f"{CANDIDATES_MAX}",
                    fix="name types or ids, or leave the count out",
                )
            ids = tuple(one.id for one in chunk)
            hits = self._deleted(query.tenant, ids, span) if deleted else self._matching(query, ids, span)
            found += (one for one in chunk if one.id in hits)
            if len(found) > wanted and not count:
                break
            size = CHUNK_MAX
        return Found(
            entities=found[query.offset : wanted], more=len(found) > wanted, count=len(found) if count else None
        )

    def _matching(self, query: EntityQuery, ids: tuple[str, ...], span: HistoryQuery) -> set[str]:
        asked = msgspec.structs.replace(span, entities=ids, attributes=query.attributes, datasets=True)
        return set(self._history.matching(asked, query.where, query.geo))

    def _deleted(self, tenant: str, ids: Sequence[str], span: HistoryQuery) -> set[str]:
        return {one.entity for one in self._past.deletions(tenant, ids) if within(one.at, span)}

    # --- amending ---

    async def write(
        self,
        actor: Actor,
        tenant: str,
        id: str,
        instances: Sequence[Instance],
        *,
        types: tuple[str, ...] = (),
        scopes: tuple[str, ...] | None = None,
        upsert: bool = False,
    ) -> bool:
        """Add instances to an entity's history; gives whether it was unknown.

        One that was observed at the very moment of another corrects it. Raises AccessDenied, InvalidInput, NotFound.
        """
        if len(instances) > INSTANCES_MAX:
            raise TooLarge("too many instances at once", seen=len(instances), allowed=str(INSTANCES_MAX))
        known = await self._may_write(actor, tenant, id, types)
        strikes = await self._off(lambda: self._corrected(tenant, id, instances)) if known is not None else ()
        command = AmendHistory(
            tenant=tenant, id=id, types=types, scopes=scopes, instances=[*instances], strikes=strikes, upsert=upsert
        )
        created = await self._ask(actor, command)
        if created and self._makes_present:
            newest = {one.key: one.value for one in sorted(instances, key=lambda one: one.value.observed_at or LATEST)}
            change = Change(verb=Verb.APPEND, upsert=True, id=id, types=types, scopes=scopes or (), attributes=newest)
            await self._ask(actor, ChangeEntities(changes=[change], tenant=tenant, source=TOLD))
        return created

    async def delete(self, actor: Actor, tenant: str, id: str) -> None:
        """Delete an entity's history; what it is now stays, unless it is so by its history alone.

        Raises AccessDenied, NotFound.
        """
        if await self._may_write(actor, tenant, id) is None:
            raise NotFound("there is no such entity", where="id", seen=id)
        row = await self._off(lambda: self._entities.get(tenant, id))
        if row is not None and row.source == TOLD:
            change = Change(verb=Verb.DELETE, id=id)
            await self._ask(actor, ChangeEntities(changes=[change], tenant=tenant, source=TOLD))
        await self._ask(actor, AmendHistory(tenant=tenant, id=id, strikes=(Strike(entity=id),), forgotten=ALL))

    async def delete_attribute(self, actor: Actor, tenant: str, id: str, key: str, *, datasets: bool = False) -> None:
        """Delete the history of an attribute. Raises AccessDenied, NotFound."""
        await self._may_write(actor, tenant, id)
        query = HistoryQuery(tenant=tenant, entities=(id,), attributes=(key,), datasets=datasets, limit=1)
        if (await self._off(lambda: self._history.read(query))).is_empty():
            raise NotFound("the entity has no history of this attribute", where="attribute", seen=key)
        strike = Strike(entity=id, attribute=key, datasets=datasets)
        await self._ask(actor, AmendHistory(tenant=tenant, id=id, strikes=(strike,), forgotten=key))

    async def delete_instance(self, actor: Actor, tenant: str, id: str, name: str, instance: str) -> None:
        """Delete one instance of an attribute. Raises AccessDenied, NotFound."""
        await self._may_write(actor, tenant, id)
        row = await self._off(lambda: self._instance(tenant, id, name, instance))
        await self._ask(actor, AmendHistory(tenant=tenant, id=id, strikes=(_strike(row),)))

    async def change_instance(
        self, actor: Actor, tenant: str, id: str, name: str, instance: str, change: Attribute
    ) -> None:
        """Change parts of one instance; it keeps its id. Raises AccessDenied, InvalidInput, NotFound."""
        await self._may_write(actor, tenant, id)
        row = await self._off(lambda: self._instance(tenant, id, name, instance))
        old = attribute_of(row)
        if change.kind not in ("", old.kind) and change.value is not None:
            raise InvalidInput("the type of an attribute cannot be changed so", where="type", allowed=old.kind)
        new = merged(old, change, deep=False)
        at = row["at"] if new.observed_at is None else new.observed_at
        replaced = Instance(key=row["attribute"], value=new, id=instance, at=at)
        await self._ask(actor, AmendHistory(tenant=tenant, id=id, instances=[replaced], strikes=(_strike(row),)))

    async def _may_write(self, actor: Actor, tenant: str, id: str, types: tuple[str, ...] = ()) -> Past | None:
        known = await self._off(lambda: self._known(tenant, id))
        every = frozenset((*types, *(known.types if known is not None else ())))
        place = known.place if known is not None else ""
        self._access.require(actor, "sense.write", types=every, place=place, tenant=tenant, source="api")
        return known

    async def _ask(self, actor: Actor, command: AmendHistory | ChangeEntities) -> bool:
        outcome = await self._writer.ask(Request(command=command, actor=actor.id))
        return outcome is True

    def _corrected(self, tenant: str, id: str, instances: Iterable[Instance]) -> tuple[Strike, ...]:
        """Strikes for what was observed at the very moments of new instances, and differs from them."""
        block = Block(tenant, "", 0)
        for one in instances:
            if one.value.observed_at is not None:
                block.add(LATE, id, "", one.key, one.value)
        told: dict[tuple[str, int], list[Any]] = {}
        for _, _, _, key, kind, at, number, text, extra, *_ in block.rows:
            if at is not None:
                told.setdefault((key, at), []).append((kind, number, text, extra))
        found = self._history.moments(tenant, id, list(told)) if told else pl.DataFrame()
        return tuple(
            _strike(row)
            for row in found.iter_rows(named=True)
            if (row["kind"], row["number"], row["text"], row["extra"]) not in told[row["attribute"], row["at"]]
        )

    def _instance(self, tenant: str, id: str, name: str, instance: str) -> dict[str, Any]:
        """The row of an instance. Raises NotFound."""
        query = HistoryQuery(tenant=tenant, entities=(id,), attributes=(name,), datasets=True)
        if (at := instant_of(instance)) is not None:
            then = msgspec.structs.replace(query, begin=at, end=at + 1)
            for row in self._history.read(then).iter_rows(named=True):
                if instance_id(row) == instance:
                    return row
        for row in self._history.instance(query, instance).iter_rows(named=True):
            return row
        raise NotFound("there is no such instance of this attribute", where="instanceId", seen=instance)


def within(at: int, span: HistoryQuery) -> bool:
    """Whether an instant lies in the range of a question."""
    return (span.begin is None or at >= span.begin) and (span.end is None or at < span.end)


def attribute_of(row: dict[str, Any]) -> Attribute:
    """The attribute that a row of history tells of, with its times."""
    attribute = restored(row["kind"], row["number"], row["text"], row["extra"], row["unit"], row["marks"] or 0)
    recorded = attribute.created_at = attribute.modified_at = row["recorded_at"]
    attribute.observed_at = row["at"] if row["at"] != recorded else None
    if type(attribute.value) is float and attribute.value.is_integer() and abs(attribute.value) < EXACT_INTEGER_MAX:
        attribute.value = int(attribute.value)
    if kept_id(row["extra"]):
        kept = msgspec.json.decode(row["extra"], type=Attribute)
        attribute.observed_at, attribute.created_at = kept.observed_at, kept.created_at
    return attribute


def _present(row: EntityRow, past: Past | None) -> Past:
    types = types_of(row) if past is None else tuple(dict.fromkeys((*types_of(row), *past.types)))
    return Past(
        tenant=row.tenant,
        id=row.id,
        type=row.type,
        types=types,
        scopes=scopes_of(row),
        place=row.place,
        created_at=row.created_at,
        modified_at=row.modified_at,
    )


def _strike(row: dict[str, Any]) -> Strike:
    content = {name: row[name] for name in ("entity", "attribute", "at", "kind", "number", "text", "extra")}
    return Strike(**content)
