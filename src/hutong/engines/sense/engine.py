"""The sense engine: its verbs. Access is decided here, before anything is read or written."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
import polars as pl

from hutong.engines.sense.changes import scopes_of, types_of
from hutong.engines.sense.followers import Followers
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import (
    Aggregation,
    Alert,
    AlertAction,
    AlertQuery,
    AlertStore,
    AllOf,
    AnyOf,
    Attribute,
    Changed,
    ChangeEntities,
    Entity,
    EntityQuery,
    EntityRow,
    EntityStore,
    Filter,
    HistoryQuery,
    HistoryStore,
)
from hutong.kernel.access import Access, Actor, Grade
from hutong.kernel.commands import Request
from hutong.kernel.errors import AccessDenied, HutongError, NotFound, TooLarge
from hutong.kernel.writer import Writer

READERS = 4
LIMIT_MAX = 1_000
ENTITIES_MAX = 1_000
T = TypeVar("T")

_DOC = msgspec.json.Decoder(dict[str, Attribute])


class SenseEngine:
    """Typed things of the city: what they are now, what they were, and what is wrong with them."""

    def __init__(
        self,
        overlays: Mapping[str, Overlay],
        entities: EntityStore,
        alerts: AlertStore,
        history: HistoryStore,
        writer: Writer,
        access: Access,
        followers: Followers,
    ) -> None:
        self.overlays = overlays
        self._entities, self._alerts, self._history = entities, alerts, history
        self._writer, self._access, self._followers = writer, access, followers
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._guarded = any(overlay.closed for overlay in overlays.values())
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
        types = {name for change in command.changes for name in change.types}
        self._access.require(actor, "sense.write", types=types, source=command.source)
        outcome: list[Changed] = await self._writer.ask(Request(command=command, actor=actor.id, key=key))
        return outcome

    async def acknowledge(self, actor: Actor, alert: str, note: str = "") -> Alert:
        """Say that somebody looks after an alert."""
        return await self._act(actor, AlertAction(alert=alert, acknowledge=True, note=note))

    async def silence(self, actor: Actor, alert: str, until: int, note: str = "") -> Alert:
        """Keep an alert out of lists and messages until an instant; 0 ends that."""
        return await self._act(actor, AlertAction(alert=alert, silence_until=until, note=note))

    async def _act(self, actor: Actor, action: AlertAction) -> Alert:
        self._access.require(actor, "sense.alert.acknowledge")
        outcome = await self._writer.ask(Request(command=action, actor=actor.id))
        if isinstance(outcome, HutongError):
            raise outcome
        assert isinstance(outcome, Alert)
        return outcome

    # --- reading ---

    def entity(self, actor: Actor, tenant: str, id: str) -> Entity:
        """One entity as the actor may see it. Raises NotFound."""
        row = self._entities.get(tenant, id)
        entity = self._seen(actor, row) if row is not None else None
        if entity is None:
            raise NotFound("there is no such entity", where="id", seen=id)
        return entity

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]:
        """Entities in order of creation, as the actor may see them."""
        self._check(actor, query)
        rows = await self._off(lambda: self._entities.find(query))
        return [entity for row in rows if (entity := self._seen(actor, row)) is not None]

    async def count(self, actor: Actor, query: EntityQuery) -> int:
        self._check(actor, query)
        return await self._off(lambda: self._entities.count(query))

    async def types(self, actor: Actor, tenant: str = "") -> Mapping[str, int]:
        """Types in use and how many entities have each, as far as the actor may see any of their properties."""
        found = await self._off(lambda: self._entities.types(tenant))
        return {name: n for name, n in found.items() if self._access.visible(actor, self._least(name))}

    async def history(self, actor: Actor, query: HistoryQuery) -> pl.DataFrame:
        """Observations (HISTORY_SCHEMA), sorted by entity, attribute and time."""
        frame = await self._off(lambda: self._history.read(query))
        return self._open(actor, frame, "type")

    async def aggregate(self, actor: Actor, query: HistoryQuery, how: Aggregation) -> pl.DataFrame:
        """Columns entity, attribute, bucket, and one per method."""
        if self._guarded or not self._access.visible(actor, Grade.CLOSED):
            for id_ in query.entities:
                self.entity(actor, query.tenant, id_)  # what cannot be seen cannot be summed
        frame = await self._off(lambda: self._history.aggregate(query, how))
        if self._guarded:
            types = {id_: self.entity(actor, query.tenant, id_).types[0] for id_ in query.entities}
            frame = frame.with_columns(type=pl.col("entity").replace_strict(types, default=""))
            return self._open(actor, frame, "type").drop("type")
        return frame

    async def alerts(self, actor: Actor, query: AlertQuery) -> list[Alert]:
        """Alerts, newest first, of types that the actor may see."""
        self._bound(query.limit)
        found = await self._off(lambda: self._alerts.find(query))
        return [alert for alert in found if self._access.visible(actor, self._least(alert.type))]

    async def count_alerts(self, actor: Actor, query: AlertQuery) -> int:
        self._access.require(actor, "sense.read")
        return await self._off(lambda: self._alerts.count(query))

    async def follow(
        self, actor: Actor, tenant: str, types: Sequence[str], every_s: float = 1.0
    ) -> AsyncIterator[list[Entity]]:
        """Entities of these types (all when empty) each time that some changed, at most once in `every_s`."""
        with self._followers.join(tenant, types) as changes:
            while True:
                ids = await changes.next()
                query = EntityQuery(tenant=tenant, ids=ids, limit=len(ids))
                rows = await self._off(lambda: self._entities.find(query))  # noqa: B023 - awaited before the next turn
                yield [entity for row in rows if (entity := self._seen(actor, row)) is not None]
                await asyncio.sleep(every_s)

    # --- what an actor may see ---

    def _seen(self, actor: Actor, row: EntityRow) -> Entity | None:
        """The entity without what the actor may not see; None when nothing is left to see."""
        attributes = _DOC.decode(row.doc)
        overlay = self.overlays.get(row.type)
        if overlay is None:
            if not self._access.visible(actor, Grade.CLOSED):
                return None
        elif overlay.closed:
            checks = overlay.checks
            visible = {
                key: one
                for key, one in attributes.items()
                if self._access.visible(
                    actor, checks[name].grade if (name := key.partition("@")[0]) in checks else Grade.CLOSED
                )
            }
            if attributes and not visible:
                return None
            attributes = visible
        return Entity(
            id=row.id,
            types=types_of(row),
            attributes=attributes,
            scopes=scopes_of(row),
            created_at=row.created_at,
            modified_at=row.modified_at,
            observed_at=row.observed_at,
            version=row.version,
            city=row.city,
            place=row.place,
            lon=row.lon,
            lat=row.lat,
            source=row.source,
        )

    def _least(self, type_: str) -> Grade:
        overlay = self.overlays.get(type_)
        return (
            min((check.grade for check in overlay.checks.values()), default=Grade.CLOSED) if overlay else Grade.CLOSED
        )

    def _check(self, actor: Actor, query: EntityQuery) -> None:
        """A question must not tell of what its answer may not show."""
        self._bound(query.limit)
        if self._access.visible(actor, Grade.CLOSED):
            return
        asked = {*query.attributes, *(_names(query.where) if query.where is not None else ())}
        if query.geo is not None:
            asked.add(query.geo.attribute)
        for name in asked:
            grades = [overlay.checks[name].grade for overlay in self.overlays.values() if name in overlay.checks]
            if not grades or not self._access.visible(actor, max(grades)):
                raise AccessDenied(
                    "you may not ask by this property", where="q", seen=name, fix="ask by open properties, or log in"
                )

    def _open(self, actor: Actor, frame: pl.DataFrame, type_: str) -> pl.DataFrame:
        """The rows of a history frame whose properties the actor may see."""
        if self._access.visible(actor, Grade.CLOSED):
            return frame
        open_ = {
            (overlay.name, key)
            for overlay in self.overlays.values()
            for key, check in overlay.checks.items()
            if self._access.visible(actor, check.grade)
        }
        allowed = pl.DataFrame(
            {type_: [one for one, _ in open_], "_name": [name for _, name in open_]},
            schema={type_: pl.String, "_name": pl.String},
        )
        named = frame.with_columns(_name=pl.col("attribute").str.split("@").list.first())
        return named.join(allowed, on=[type_, "_name"], how="semi").drop("_name")

    @staticmethod
    def _bound(limit: int) -> None:
        if limit > LIMIT_MAX:
            raise TooLarge(
                "too many results on one page",
                where="limit",
                seen=str(limit),
                allowed=f"{LIMIT_MAX}",
                fix="ask for fewer and follow the next page",
            )

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


def _names(where: Filter) -> set[str]:
    """Every attribute that a filter looks at."""
    if isinstance(where, AllOf | AnyOf):
        return {name for part in where.parts for name in _names(part)}
    return {where.path[0]}
