"""Things of a platform as one actor sees them, read through the engine once and then kept fresh.

Pages, maps, lists and streams of that actor all read one board, so a thousand open pages of the public, which is one
actor, cost one follower.
A client of a stream is a number, the last change it has seen: there is no queue that could grow, and what a slow
client misses arrives merged.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from hutong.engines.sense.ports import Alert, AlertQuery, Entity, EntityQuery
from hutong.kernel.access import Actor
from hutong.kernel.clock import SECOND
from hutong.portal.ports import Platform, Portal, ThingType
from hutong.portal.things import LIVE_ALERTS, State, Thing, state, thing

READ_AT_ONCE = 500  # things asked of the engine in one query
CHANGES_MAX = 2_000  # things in one message of a stream
BOARDS_MAX = 128  # the one looked at longest ago is let go
COALESCE_S = 0.5  # changes this close together become one message
TICK_S = 5.0  # how often silence is looked for while somebody watches
ALERTS_AT_ONCE = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """A key figure: `total`, `of` a whole where declared, over `things` that report. None when none does."""

    total: float | None
    of: float | None
    things: int


@dataclass(frozen=True)
class Summary:
    """Counts of things by state, of alerts that fire, and the platform's key figures by name."""

    states: Mapping[State, int]
    firing: int
    figures: Mapping[str, Figure]

    @property
    def things(self) -> int:
        return sum(self.states.values())

    @property
    def reporting(self) -> int:
        return self.things - self.states[State.SILENT]


class Board:
    """One platform for one actor. `sequence` counts changes; each thing carries that of its last change."""

    def __init__(self, portal: Portal, platform: Platform, actor: Actor) -> None:
        self.platform = platform
        self.sequence = 0
        self.epoch = str(portal.clock.now())
        self.watchers = 0
        self._portal = portal
        self._actor = actor
        self._types = {kind.name: kind for kind in platform.types}
        self._things: OrderedDict[str, tuple[int, Thing | None]] = OrderedDict()  # None: it was deleted
        self._alerts: dict[str, list[Alert]] = {}
        self._changed: dict[str, Entity] = {}
        self._looked_at = self._summarised = self._aged_at = 0
        self._wake, self._news = asyncio.Event(), asyncio.Condition()
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.summary = Summary(Counter(), 0, {})

    async def open(self) -> None:
        """Start following, then read everything there is: nothing falls between the two."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        await asyncio.sleep(0)
        await self._read_alerts()
        await self._read_all()
        await self.refresh()

    @property
    def alive(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._news:
            self._news.notify_all()

    def things(self) -> list[Thing]:
        return [thing for _, thing in self._things.values() if thing]

    def alerts(self) -> list[Alert]:
        """Live alerts, those that fire first, then the most recent."""
        live = [alert for alerts in self._alerts.values() for alert in alerts]
        return sorted(live, key=lambda alert: (alert.state != "firing", -alert.pending_since))

    def changes(self, seen: int) -> tuple[int, list[Thing], list[str]]:
        """What changed after `seen`: the sequence up to which this tells, things, and ids of deleted ones."""
        changed: list[tuple[int, str, Thing | None]] = []
        for id, (sequence, known) in reversed(self._things.items()):
            if sequence <= seen:
                break
            changed.append((sequence, id, known))
        changed = changed[::-1][:CHANGES_MAX]
        upto = changed[-1][0] if changed else self.sequence
        return upto, [known for _, _, known in changed if known], [id for _, id, known in changed if not known]

    async def news(self, seen: int, timeout_s: float) -> bool:
        """Wait until there is more than `seen`; False when `timeout_s` passed first."""
        async with self._news:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait_for(lambda: self.sequence > seen or not self.alive)
            return self.sequence > seen

    async def refresh(self) -> None:
        """Take in what is known to have changed, and see who fell silent."""
        async with self._lock:
            now = self._portal.clock.now()
            if not self._changed and now - self._looked_at < COALESCE_S * SECOND:
                return
            self._looked_at = now
            alarmed = await self._read_alerts()
            changed, self._changed = self._changed, {}
            await self._take([*changed.values(), *await self._find(alarmed - changed.keys())])
            if await self._count() != len(self.things()):  # some were deleted, which nobody tells
                await self._read_all()
            if now - self._aged_at >= TICK_S * SECOND:
                self._age(now)
            self._forget_deleted()
            if self.sequence > self._summarised:
                self.summary, self._summarised = self._summarise(), self.sequence
        async with self._news:
            self._news.notify_all()

    def _age(self, now: int) -> None:
        """See who fell silent since, which nobody tells."""
        self._aged_at = now
        for id, (_, known) in list(self._things.items()):
            if known and (seen := self._state(known, now)) != known.state:
                self._put(id, replace(known, state=seen))

    async def _find(self, ids: set[str]) -> list[Entity]:
        if not ids:
            return []
        return await self._portal.sense.find(
            self._actor, EntityQuery(tenant=self._portal.tenant, ids=tuple(ids)[:READ_AT_ONCE], limit=READ_AT_ONCE)
        )

    async def _count(self) -> int:
        return await self._portal.sense.count(
            self._actor, EntityQuery(tenant=self._portal.tenant, types=tuple((name,) for name in self._types))
        )

    async def _read_all(self) -> None:
        """Take everything there is, and let go of what is no longer."""
        there: set[str] = set()
        for name in self._types:
            offset, size = 0, READ_AT_ONCE
            while size == READ_AT_ONCE:
                page = await self._portal.sense.find(
                    self._actor,
                    EntityQuery(tenant=self._portal.tenant, types=((name,),), limit=READ_AT_ONCE, offset=offset),
                )
                await self._take(page)
                there.update(entity.id for entity in page)
                offset, size = offset + READ_AT_ONCE, len(page)
        for id in [id for id, (_, known) in self._things.items() if known and id not in there]:
            self._put(id, None)

    async def _take(self, entities: list[Entity]) -> None:
        now = self._portal.clock.now()
        for entity in entities:
            kind = self._kind(entity)
            if kind:
                seen = thing(entity, kind, self.platform, self._alerts.get(entity.id, ()), now)
                if self._things.get(entity.id, (0, None))[1] != seen:
                    self._put(entity.id, seen)
        await asyncio.sleep(0)

    def _kind(self, entity: Entity) -> ThingType | None:
        return next((self._types[name] for name in entity.types if name in self._types), None)

    def _state(self, known: Thing, now: int) -> State:
        return state(
            known.observed_at,
            known.live,
            known.attributes.values(),
            self._types[known.type],
            self.platform,
            self._alerts.get(known.id, ()),
            now,
        )

    def _put(self, id: str, seen: Thing | None) -> None:
        if seen is None and id not in self._things:
            return
        self.sequence += 1
        self._things[id] = (self.sequence, seen)
        self._things.move_to_end(id)

    def _forget_deleted(self) -> None:
        deleted = [id for id, (_, known) in self._things.items() if known is None]
        if len(deleted) > CHANGES_MAX:
            for id in deleted:
                del self._things[id]
            self.epoch = f"{self.epoch}+"  # who has not heard of them yet starts anew

    async def _read_alerts(self) -> set[str]:
        """Read the live alerts; ids of the things whose alerts have moved."""
        found: dict[str, list[Alert]] = {}
        offset, page = 0, ALERTS_AT_ONCE
        while page == ALERTS_AT_ONCE:
            alerts = await self._portal.sense.alerts(
                self._actor,
                AlertQuery(
                    tenant=self._portal.tenant,
                    states=LIVE_ALERTS,
                    types=tuple(self._types),
                    limit=ALERTS_AT_ONCE,
                    offset=offset,
                ),
            )
            for alert in alerts:
                found.setdefault(alert.entity, []).append(alert)
            offset, page = offset + ALERTS_AT_ONCE, len(alerts)
        before, self._alerts = self._alerts, found
        return {id for id in found.keys() | before.keys() if found.get(id) != before.get(id)}

    def _summarise(self) -> Summary:
        things = self.things()
        firing = sum(alert.state == "firing" for alerts in self._alerts.values() for alert in alerts)
        figures = {}
        for name, declared in self.platform.figures.items():
            asked = [property for property in (declared.total, declared.of) if property]
            telling = [
                known
                for known in things
                if known.type == declared.on
                and known.state != State.SILENT
                and not any(known.suspect(property) or known.value(property) is None for property in asked)
            ]
            if not declared.total:
                figures[name] = Figure(len(telling), sum(known.type == declared.on for known in things), len(telling))
                continue
            figures[name] = Figure(
                sum(known.value(declared.total) for known in telling) if telling else None,
                sum(known.value(declared.of) for known in telling) if telling and declared.of else None,
                len(telling),
            )
        return Summary(Counter(known.state for known in things), firing, figures)

    async def _follow(self) -> None:
        async for entities in self._portal.sense.follow(
            self._actor, self._portal.tenant, tuple(self._types), COALESCE_S
        ):
            self._changed.update((entity.id, entity) for entity in entities)
            self._wake.set()

    async def _tick(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            if self.watchers:
                await self.refresh()
            await asyncio.sleep(COALESCE_S)


class Boards:
    """Boards in use, by platform and actor."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._boards: OrderedDict[tuple[str, Actor], Board] = OrderedDict()
        self._opening = asyncio.Lock()

    async def of(self, platform: Platform, actor: Actor) -> Board:
        """The board, fresh. One whose follower failed is replaced, so that nobody is shown stale things."""
        key = platform.name, actor
        async with self._opening:
            board = self._boards.get(key)
            if board is None or not board.alive:
                if board:
                    _log.error("following %s failed; reading it again", platform.name)
                    await board.close()
                board = self._boards[key] = Board(self._portal, platform, actor)
                await board.open()
            self._boards.move_to_end(key)
            while len(self._boards) > BOARDS_MAX:
                _, oldest = self._boards.popitem(last=False)
                await oldest.close()
        await board.refresh()
        return board

    async def close(self) -> None:
        for board in self._boards.values():
            await board.close()
        self._boards.clear()
