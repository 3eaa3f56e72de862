"""Tells subscribers what the outbox has for them: a Transport that words Notifications and hands them to HTTP or MQTT.

Order and durability are the outbox's; here is decided what goes together, what waits, and what nobody is told any more.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from hutong.api.courier import Courier, Publisher, Webhook
from hutong.engines.sense.ports import Entity
from hutong.engines.sense.subscriptions import KIND, Kept, Notice, read_channel, read_notice
from hutong.kernel.access import Actor
from hutong.kernel.clock import Clock
from hutong.kernel.errors import AccessDenied, DeliveryFailed, DeliveryRefused, HutongError, NotAuthenticated
from hutong.kernel.outbox import ChannelState, Parcel, Sent
from hutong.standards.ngsi_ld.contexts import Contexts
from hutong.standards.ngsi_ld.notifications import Happening, Telling, links_of, read_telling, write_notification

ENTITIES_MAX: Final = 100  # in one notification of changes
CURRENT_MAX: Final = 1_000  # in one periodic notification
TELLINGS_KEPT_MAX: Final = 10_000
CHANNELS_KEPT_MAX: Final = 20_000
_MILLISECOND: Final = 1_000


class Subscribers(Protocol):
    """What the sense engine says of those who are to be told."""

    def known(self, tenant: str, id: str, /) -> Kept | None: ...

    def reader(self, kept: Kept, /) -> Actor: ...

    def shown(self, actor: Actor, kept: Kept, notices: Iterable[Notice], /) -> list[tuple[Entity, Notice]]: ...

    async def current(self, actor: Actor, kept: Kept, /) -> list[Entity]: ...

    async def linked(self, actor: Actor, tenant: str, ids: Collection[str], /) -> list[Entity]: ...

    async def states(self, subscriptions: Iterable[Kept], /) -> Mapping[str, ChannelState]: ...


class _Group(NamedTuple):
    """Consecutive parcels that go into one notification; without notices it is a periodic one."""

    number: int
    first: int
    notices: tuple[Notice, ...]


class _Memory(OrderedDict[str, int]):
    """Instants by channel, the oldest forgotten when there are too many."""

    def note(self, channel: str, at: int) -> None:
        self[channel] = at
        self.move_to_end(channel)
        if len(self) > CHANNELS_KEPT_MAX:
            self.popitem(last=False)


class Notifications:
    """Implements the kernel's Transport for channels of kind `subscription`."""

    def __init__(
        self, subscribers: Subscribers, contexts: Contexts, webhook: Webhook, publisher: Publisher, clock: Clock
    ) -> None:
        self._subscribers, self._contexts, self._clock = subscribers, contexts, clock
        self._courier = Courier(webhook, publisher)
        self._tellings: OrderedDict[str, tuple[int, Telling]] = OrderedDict()
        self._told_at, self._failed_at = _Memory(), _Memory()
        self._fresh: OrderedDict[str, tuple[int, int]] = OrderedDict()  # told last: when, and how many parcels

    async def send(self, channel: str, parcels: Sequence[Parcel]) -> Sent:
        """Tell as much as may be told now. What nobody asks for any more counts as sent."""
        tenant, id_ = read_channel(channel)
        kept, now = self._subscribers.known(tenant, id_), self._clock.now()
        if kept is None or not kept.subscription.holds(now):
            return Sent(len(parcels))
        try:
            actor, telling = self._subscribers.reader(kept), self._telling(channel, kept)
        except HutongError as error:  # nobody whom it could be told to, or no words to tell it in
            raise DeliveryRefused(str(error.fault)) from None
        ready_at = await self._ready_at(channel, kept, telling)
        if ready_at > now:
            return Sent(0, ready_at)
        done = 0
        for group in _groups(parcels, throttled=kept.subscription.throttling > 0):
            try:
                await self._tell(channel, kept, actor, telling, group)
            except DeliveryFailed:
                self._failed_at.note(channel, self._clock.now())
                if done:  # the group that failed comes first the next time
                    self._note(channel, done)
                    return Sent(done)
                raise
            except (AccessDenied, NotAuthenticated) as error:
                raise DeliveryRefused(str(error.fault)) from None
            done += group.number
        self._note(channel, done)
        return Sent(done)

    def as_told(self, channel: str, state: ChannelState | None) -> ChannelState | None:
        """How a channel stands with what was told a moment ago, which the outbox may not have noted yet."""
        at, number = self._fresh.get(channel, (0, 0))
        if not number or (state is not None and (state.last_sent_at or 0) >= at):
            return state
        state = state or ChannelState(id=channel, kind=KIND)
        return msgspec.structs.replace(state, times_sent=state.times_sent + number, last_sent_at=at)

    def _note(self, channel: str, done: int) -> None:
        if channel in self._told_at:
            self._fresh[channel] = self._told_at[channel], done
            self._fresh.move_to_end(channel)
            if len(self._fresh) > CHANNELS_KEPT_MAX:
                self._fresh.popitem(last=False)

    def _telling(self, channel: str, kept: Kept) -> Telling:
        known = self._tellings.get(channel)
        if known is None or known[0] != kept.modified_at:
            wire = kept.subscription.wire
            context = self._contexts.resolve(wire.get("jsonldContext", wire["@context"]))
            known = self._tellings[channel] = kept.modified_at, read_telling(kept.subscription, context)
            if len(self._tellings) > TELLINGS_KEPT_MAX:
                self._tellings.popitem(last=False)
        return known[1]

    async def _ready_at(self, channel: str, kept: Kept, telling: Telling) -> int:
        """When it may be told again: throttling after what was told, cooldown after a failure."""
        ready_at = 0
        if throttling := kept.subscription.throttling:
            if channel not in self._told_at:  # not since the start
                state = (await self._subscribers.states([kept])).get(channel)
                self._told_at.note(channel, (state and state.last_sent_at) or -throttling)
            ready_at = self._told_at[channel] + throttling
        if (cooldown := telling.endpoint.cooldown) and channel in self._failed_at:
            ready_at = max(ready_at, self._failed_at[channel] + int(cooldown * _MILLISECOND))
        return ready_at

    async def _tell(self, channel: str, kept: Kept, actor: Actor, telling: Telling, group: _Group) -> None:
        async for part, happenings in self._happenings(actor, kept, group):
            linked = await self._linked(actor, kept.tenant, telling, happenings)
            at = self._clock.now()
            name = hashlib.sha256(f"{channel}:{group.first}:{part}".encode()).hexdigest()[:32]  # told again, the same
            notification = write_notification(
                telling, happenings, linked, id_=f"urn:ngsi-ld:Notification:{name}", at=at
            )
            await self._courier.deliver(kept.tenant, telling, notification)
            self._told_at.note(channel, at)
            self._failed_at.pop(channel, None)

    async def _happenings(self, actor: Actor, kept: Kept, group: _Group) -> Any:
        """What the actor may see, by the notification; nothing where it may see none of it."""
        if group.notices:
            if shown := self._subscribers.shown(actor, kept, group.notices):
                yield 0, [Happening(entity, notice) for entity, notice in shown]
            return
        found = await self._subscribers.current(actor, kept)
        for i in range(0, len(found), CURRENT_MAX):
            yield i, [Happening(entity, Notice(group.first)) for entity in found[i : i + CURRENT_MAX]]

    async def _linked(
        self, actor: Actor, tenant: str, telling: Telling, happenings: Sequence[Happening]
    ) -> dict[str, Entity]:
        """The entities that a join brings in."""
        linked: dict[str, Entity] = {}
        edge = [one.entity for one in happenings]
        for _ in range(telling.join_level if telling.join != "@none" else 0):
            edge = await self._subscribers.linked(actor, tenant, links_of(edge) - linked.keys())
            linked |= {entity.id: entity for entity in edge}
        return linked


def _groups(parcels: Sequence[Parcel], *, throttled: bool) -> Iterator[_Group]:
    """Parcels as they go together: each entity once in a notification, in order. Throttled, only the newest counts."""
    waiting: dict[str, Notice] = {}
    first = count = 0
    for parcel in parcels:
        notice = read_notice(parcel.body)
        name = notice.row.id if notice.row is not None else ""
        full = name in waiting or len(waiting) >= ENTITIES_MAX
        if waiting and (not name or (full and not throttled)):
            yield _Group(count, first, tuple(waiting.values()))
            waiting, count = {}, 0
        if not count:
            first = parcel.n
        count += 1
        if not name:
            yield _Group(count, parcel.n, ())
            count = 0
        else:
            waiting.pop(name, None)
            waiting[name] = notice
    if waiting:
        yield _Group(count, first, tuple(waiting.values()))
