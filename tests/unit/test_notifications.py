"""What goes together into a notification, what waits, and what nobody is told any more."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from hutong.api.notifications import ENTITIES_MAX, Notifications
from hutong.engines.sense.ports import Attribute, Entity, EntityRow
from hutong.engines.sense.subscriptions import Kept, Notice, Subscription, channel_of
from hutong.kernel.access import ANONYMOUS, Actor
from hutong.kernel.clock import MINUTE, SECOND, FrozenClock, instant
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, NotAuthenticated
from hutong.kernel.outbox import ChannelState, Parcel, Sent
from hutong.standards.ngsi_ld.contexts import Contexts
from hutong.standards.ngsi_ld.core_context import CORE_URL

NOON = instant("2026-05-01T12:00:00Z")
ID = "urn:ngsi-ld:Subscription:s"
CHANNEL = channel_of("t", ID)


class World:
    """A subscription, and all that a transport asks of others."""

    def __init__(self, endpoint: Mapping[str, Any] | None = None, **given: Any) -> None:
        self.clock = FrozenClock(NOON)
        self.sent: list[tuple[str, Any, Mapping[str, Any]]] = []
        self.attempts, self.failing = 0, set[int]()
        self.hidden: set[str] = set()
        self.gone = self.revoked = False
        self.state: ChannelState | None = None
        self.here: list[Entity] = []
        notification = {"endpoint": {"uri": "http://127.0.0.1:9/n", **(endpoint or {})}}
        wire = {"notification": notification, "@context": CORE_URL}
        self.kept = Kept("t", Subscription(id=ID, wire=wire, **given), ANONYMOUS, NOON, NOON)
        self.transport = Notifications(self, Contexts(), self, self, self.clock)

    def send(self, *parcels: Parcel) -> Sent:
        return asyncio.run(self.transport.send(CHANNEL, parcels))

    @property
    def told(self) -> list[list[str]]:
        """Ids and values of each notification."""
        return [[f"{one['id'][-1]}={one['v']['value']}" for one in body["data"]] for _, body, _ in self.sent]

    # what the transport asks

    def known(self, tenant: str, id: str) -> Kept | None:
        assert (tenant, id) == ("t", ID)
        return None if self.gone else self.kept

    def reader(self, kept: Kept) -> Actor:
        if self.revoked:
            raise NotAuthenticated("the token was revoked")
        return ANONYMOUS

    def shown(self, actor: Actor, kept: Kept, notices: Iterable[Notice]) -> list[tuple[Entity, Notice]]:
        rows = [(notice.row, notice) for notice in notices if notice.row is not None]
        return [(_entity(row), notice) for row, notice in rows if row.id not in self.hidden]

    async def current(self, actor: Actor, kept: Kept) -> list[Entity]:
        return self.here

    async def linked(self, actor: Actor, tenant: str, ids: Collection[str]) -> list[Entity]:
        return []

    async def states(self, subscriptions: Iterable[Kept]) -> Mapping[str, ChannelState]:
        return {CHANNEL: self.state} if self.state is not None else {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
        self._take(url, msgspec.json.decode(body), {**headers, "timeout_s": timeout_s})

    async def publish(self, url: str, payload: bytes, **how: Any) -> None:
        message = msgspec.json.decode(payload)
        self._take(url, message["body"], {**message["metadata"], **how})

    def _take(self, url: str, body: Any, how: Mapping[str, Any]) -> None:
        self.attempts += 1
        if self.attempts in self.failing:
            raise DeliveryFailed("the receiver answers 500")
        self.sent.append((url, body, how))


def _entity(row: EntityRow) -> Entity:
    attributes = msgspec.json.decode(row.doc, type=dict[str, Attribute])
    return Entity(id=row.id, types=(row.type,), attributes=attributes)


def parcel(n: int, name: str = "", value: int = 0) -> Parcel:
    doc = msgspec.json.encode({"v": Attribute(value=value)}).decode()
    row = EntityRow(tenant="t", id=f"urn:x:{name}", type="T", doc=doc) if name else None
    return Parcel(CHANNEL, msgspec.msgpack.encode(Notice(NOON, row=row, changed=("v",))), NOON, n)


def test_different_things_share_a_notification_and_the_same_thing_never_does() -> None:
    world = World()
    assert world.send(parcel(1, "a", 1), parcel(2, "b", 1), parcel(3, "a", 2), parcel(4, "a", 3)) == Sent(4)
    assert world.told == [["a=1", "b=1"], ["a=2"], ["a=3"]]


def test_a_notification_is_bounded() -> None:
    world = World()
    world.send(*(parcel(n, f"{n:04}") for n in range(ENTITIES_MAX + 1)))
    assert [len(one) for one in world.told] == [ENTITIES_MAX, 1]


def test_one_that_is_told_again_has_the_same_id() -> None:
    world = World()
    for _ in range(2):
        world.send(parcel(1, "a", 1))
    world.send(parcel(2, "a", 1))
    first, again, other = (body["id"] for _, body, _ in world.sent)
    assert first == again != other


def test_what_went_out_before_a_failure_is_done() -> None:
    world = World()
    world.failing = {2, 3}
    three = parcel(1, "a", 1), parcel(2, "b", 1), parcel(3, "a", 2)
    assert world.send(*three) == Sent(2)
    with pytest.raises(DeliveryFailed):
        world.send(*three[2:])
    assert world.send(*three[2:]) == Sent(1)


def test_throttled_the_newest_state_of_each_thing_is_told_when_it_is_time() -> None:
    world = World(throttling=MINUTE)
    assert world.send(parcel(1, "a", 1)) == Sent(1)
    assert world.send(parcel(2, "a", 2), parcel(3, "b", 1), parcel(4, "a", 3)) == Sent(0, NOON + MINUTE)
    world.clock.advance(MINUTE)
    assert world.send(parcel(2, "a", 2), parcel(3, "b", 1), parcel(4, "a", 3)) == Sent(3)
    assert world.told == [["a=1"], ["b=1", "a=3"]]


def test_throttling_outlives_a_restart() -> None:
    world = World(throttling=MINUTE)
    world.state = ChannelState(id=CHANNEL, kind="subscription", last_sent_at=NOON - SECOND)
    assert world.send(parcel(1, "a", 1)) == Sent(0, NOON + MINUTE - SECOND)


def test_after_a_failure_it_cools_down() -> None:
    world = World({"cooldown": 60_000})
    world.failing = {1}
    with pytest.raises(DeliveryFailed):
        world.send(parcel(1, "a", 1))
    assert world.send(parcel(1, "a", 1)) == Sent(0, NOON + MINUTE)
    world.clock.advance(MINUTE)
    assert world.send(parcel(1, "a", 1)) == Sent(1)


@pytest.mark.parametrize("how", [{"active": False}, {"expires_at": NOON}])
def test_a_paused_and_an_expired_one_are_told_nothing(how: dict[str, Any]) -> None:
    world = World(**how)
    assert world.send(parcel(1, "a", 1)) == Sent(1)
    assert world.sent == []


def test_a_dropped_one_is_told_nothing() -> None:
    world = World()
    world.gone = True
    assert world.send(parcel(1, "a", 1), parcel(2, "a", 2)) == Sent(2)
    assert world.sent == []


def test_nobody_is_told_in_the_name_of_a_revoked_token() -> None:
    world = World()
    world.revoked = True
    with pytest.raises(DeliveryRefused, match="revoked"):
        world.send(parcel(1, "a", 1))


def test_what_may_not_be_seen_is_not_told() -> None:
    world = World()
    world.hidden = {"urn:x:a"}
    assert world.send(parcel(1, "a", 1), parcel(2, "b", 1)) == Sent(2)
    assert world.told == [["b=1"]]
    assert world.send(parcel(3, "a", 1)) == Sent(1)
    assert len(world.sent) == 1


def test_a_periodic_one_tells_what_is() -> None:
    world = World(interval=MINUTE)
    assert world.send(parcel(1)) == Sent(1)
    assert world.sent == []
    world.here = [Entity(id=f"urn:x:{name}", types=("T",), attributes={"v": Attribute(value=1)}) for name in "ab"]
    assert world.send(parcel(2), parcel(3)) == Sent(2)
    assert world.told == [["a=1", "b=1"]] * 2


def test_headers_of_http() -> None:
    world = World({"receiverInfo": [{"key": "X-Key", "value": "k"}], "timeout": 1500})
    world.send(parcel(1, "a", 1))
    [(url, _, how)] = world.sent
    assert url == "http://127.0.0.1:9/n"
    assert how["Content-Type"] == "application/json"
    assert CORE_URL in how["Link"]
    assert (how["NGSILD-Tenant"], how["X-Key"], how["timeout_s"]) == ("t", "k", 1.5)


def test_mqtt_carries_headers_as_metadata() -> None:
    settings = [{"key": "MQTT-QoS", "value": "1"}, {"key": "MQTT-Version", "value": "mqtt3.1.1"}]
    info = [{"key": "X-Key", "value": "k"}]
    world = World({"uri": "mqtt://broker/topic", "notifierInfo": settings, "receiverInfo": info})
    world.send(parcel(1, "a", 1))
    [(url, body, how)] = world.sent
    assert (url, body["type"], how["X-Key"], how["qos"], how["version"]) == (
        "mqtt://broker/topic",
        "Notification",
        "k",
        1,
        "mqtt3.1.1",
    )
    assert how["Content-Type"] == "application/json"
