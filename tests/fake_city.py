"""A small made-up city for the pages' tests: 110 car parks with every state there is, history, alerts, changes."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import polars as pl
import shapely
from litestar import Litestar

from hutong.api.app import actor_of, application
from hutong.engines.sense.declarations import AlertDeclaration, EntityDeclaration, PropertyDeclaration
from hutong.engines.sense.ports import (
    HISTORY_SCHEMA,
    Aggregation,
    Alert,
    AlertQuery,
    Attribute,
    Entity,
    EntityQuery,
    HistoryQuery,
    Mark,
)
from hutong.kernel.access import ANONYMOUS, OPEN_ACTOR, Actor
from hutong.kernel.clock import DAY, HOUR, MINUTE, Clock, FrozenClock
from hutong.kernel.errors import AccessDenied, NotFound
from hutong.kernel.mission import read_mission
from hutong.kernel.outbox import ChannelState, DeadLetter, Parcel, State
from hutong.kernel.packs import Packs, Text, read_cities
from hutong.portal import compose
from hutong.portal.declarations import FigureDeclaration
from hutong.portal.ports import City, Platform, Portal, ThingType
from hutong.portal.routes import pages

KIND = "OffStreetParking"
STEP = 15 * MINUTE
NOON = "2026-05-06T12:07:00+08:00"
TEXTS: dict[str, dict[tuple[str, ...], Text]] = {
    "zh": {
        ("pack",): Text("智慧停车", "全市停车场还有多少空位，哪些快满了，哪些没有消息。"),
        ("entity", KIND): Text("停车场"),
        ("entity", KIND, "property", "name"): Text("名称"),
        ("entity", KIND, "property", "totalSpotNumber"): Text("车位总数"),
        ("entity", KIND, "property", "availableSpotNumber"): Text("空余车位"),
        ("entity", KIND, "property", "occupancy"): Text("占用率"),
        ("entity", KIND, "property", "address"): Text("地址"),
        ("alert", "nearly_full"): Text("即将停满", "占用率达到 95%，持续 10 分钟。"),
        ("alert", "barrier_stuck"): Text("道闸疑似卡住", "满位超过 2 小时没有变化。"),
        ("alert", "silent"): Text("停车场没有消息", "超过 30 分钟没有数据。"),
        ("figure", "free"): Text("空余车位"),
        ("source", "gates"): Text("出入口计数器"),
    },
    "en": {
        ("pack",): Text(
            "Smart parking", "How many spaces are free across the city, what is filling up, and what is silent."
        ),
        ("entity", KIND): Text("Car park"),
        ("entity", KIND, "property", "name"): Text("Name"),
        ("entity", KIND, "property", "totalSpotNumber"): Text("Spaces"),
        ("entity", KIND, "property", "availableSpotNumber"): Text("Free"),
        ("entity", KIND, "property", "occupancy"): Text("Occupancy"),
        ("entity", KIND, "property", "address"): Text("Address"),
        ("alert", "nearly_full"): Text("Nearly full", "Occupancy of 95 % or more for 10 minutes."),
        ("alert", "barrier_stuck"): Text("Barrier may be stuck", "Full and unchanged for more than 2 hours."),
        ("alert", "silent"): Text("Car park is silent", "No data for more than 30 minutes."),
        ("figure", "free"): Text("Free spaces"),
        ("source", "gates"): Text("Gate counters"),
    },
}
DECLARED = EntityDeclaration(
    grade="open",
    headline=["availableSpotNumber", "occupancy", "totalSpotNumber"],
    property={
        "name": PropertyDeclaration(type="text"),
        "totalSpotNumber": PropertyDeclaration(type="integer", min=0),
        "availableSpotNumber": PropertyDeclaration(type="integer", min=0, max="totalSpotNumber"),
        "occupancy": PropertyDeclaration(type="number", unit="C62", derive="…"),
        "address": PropertyDeclaration(type="text"),
        "location": PropertyDeclaration(type="point"),
    },
)
ALERTS = {
    "nearly_full": AlertDeclaration(on=KIND, when="occupancy >= 0.95", hold="10 min", severity="info"),
    "barrier_stuck": AlertDeclaration(on=KIND, when="…", severity="warning"),
    "silent": AlertDeclaration(on=KIND, silent_for="30 min", severity="warning"),
}


class FakeSense:
    """The verbs of the sense engine over made-up car parks."""

    def __init__(self, city: City, clock: Clock, things: int = 110) -> None:
        self._clock, self._random = clock, random.Random(7)
        self._changed = asyncio.Event()
        self._latest: dict[str, Entity] = {}
        self.entities = {entity.id: entity for entity in self._make(city, things)}
        self.found_alerts = self._alarm()

    def _make(self, city: City, things: int) -> list[Entity]:
        made = []
        self._shapes = {
            feature["properties"]["code"]: shapely.from_geojson(msgspec.json.encode(feature["geometry"]))
            for feature in city.districts["features"]
        }
        districts = [feature["properties"] for feature in city.districts["features"]]
        weights = [16, 14, 12, 10, 7, 7, 3, 2, 5, 3, 1, 1, 1]
        for n in range(things):
            district = self._random.choices(districts, weights[: len(districts)])[0]
            shape = self._shapes[district["code"]]
            west, south, east, north = shape.bounds
            point = next(
                p
                for _ in range(1000)
                if shape.contains(
                    p := shapely.Point(self._random.uniform(west, east), self._random.uniform(south, north))
                )
            )
            place = None if n % 12 == 5 else (point.x, point.y)
            made.append(self.entity(n, district, place))
        return made

    def entity(self, n: int, district: Any, place: tuple[float, float] | None, free: int | None = None) -> Entity:
        total = 60 + (n * 37) % 640
        silent, suspect = n % 17 == 3, n % 21 == 8
        now = self._clock.now()
        at = now - (5 * HOUR if silent else self._random.randint(0, 9) * MINUTE)
        if free is None:
            free = total + 14 if suspect else int(total * self._random.choice([0.02, 0.2, 0.35, 0.5, 0.8]))
        marks = Mark.SIMULATED | (Mark.SUSPECT if free > total else 0)

        def one(value: Any, observed_at: int | None = None, extra: int = 0, unit: str | None = None) -> Attribute:
            return Attribute(value=value, observed_at=observed_at, marks=Mark.SIMULATED | extra, unit=unit)

        attributes = {
            "name": Attribute(
                kind="L",
                value={"zh": f"{district['zh']}停车场 {n + 1:03d}", "en": f"{district['en']} car park {n + 1:03d}"},
            ),
            "totalSpotNumber": one(total),
            "availableSpotNumber": one(free, at, marks),
            "occupancy": one(1 - free / total, at, marks | Mark.DERIVED, "C62"),
        }
        return Entity(
            id=f"urn:ngsi-ld:{KIND}:sim-{n + 1:03d}",
            types=(KIND,),
            attributes=attributes,
            observed_at=at,
            modified_at=at,
            place=district["code"],
            lon=place and place[0],
            lat=place and place[1],
            source="gates",
        )

    def _alarm(self) -> dict[str, Alert]:
        found: dict[str, Alert] = {}
        now = self._clock.now()
        for n, entity in enumerate(self.entities.values()):
            share = entity.attributes["occupancy"].value
            rule = (
                "silent" if n % 17 == 3 else "nearly_full" if share > 0.95 else "barrier_stuck" if n % 29 == 4 else ""
            )
            if rule:
                since = now - (n + 3) * 7 * MINUTE
                pending = rule == "nearly_full" and n % 3 == 0
                found[f"a{n}"] = Alert(
                    id=f"a{n}",
                    rule=rule,
                    entity=entity.id,
                    type=KIND,
                    severity=ALERTS[rule].severity,
                    state="pending" if pending else "firing",
                    pending_since=since,
                    at=since,
                    firing_since=None if pending else since,
                )
        first = next(iter(self.entities))
        found["r1"] = Alert(
            id="r1",
            rule="nearly_full",
            entity=first,
            type=KIND,
            severity="info",
            state="resolved",
            pending_since=now - 9 * HOUR,
            firing_since=now - 9 * HOUR + 10 * MINUTE,
            at=now - 7 * HOUR,
            resolved_at=now - 7 * HOUR,
        )
        return found

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]:
        if query.ids:
            return [self.entities[id] for id in query.ids if id in self.entities]
        return list(self.entities.values())[query.offset : query.offset + query.limit]

    def sees_any(self, actor: Actor, type: str) -> bool:
        return True

    async def count(self, actor: Actor, query: EntityQuery) -> int:
        return len(self.entities)

    async def history(self, actor: Actor, query: HistoryQuery) -> pl.DataFrame:
        entity = self.entities[query.entities[0]]
        total = entity.attributes["totalSpotNumber"].value
        end = min(query.end or self._clock.now(), (entity.observed_at or 0) + 1)
        begin = max(query.begin or 0, end - 30 * DAY)
        seed = sum(map(ord, entity.id))
        rows = []
        for at in range(begin // STEP * STEP + STEP, end, STEP):
            hour = (at // HOUR + 8) % 24
            if (at // DAY + seed) % 6 == 2 and 2 <= hour < 6:
                continue  # a gap
            share = (
                0.5 + 0.42 * math.sin((hour + (at % HOUR) / HOUR - 8) / 24 * 2 * math.pi) + 0.03 * math.sin(at * seed)
            )
            suspect = (at // STEP + seed) % 97 == 0
            free = total + 9 if suspect else max(0, int(total * (1 - share)))
            value = float(free) if query.attributes in ((), ("availableSpotNumber",)) else 1 - free / total
            rows.append(
                {
                    "entity": entity.id,
                    "type": KIND,
                    "attribute": "x",
                    "at": at,
                    "recorded_at": at,
                    "kind": "P",
                    "number": value,
                    "marks": int(Mark.SUSPECT) if suspect else 0,
                    "lane": "m",
                    "n": at // STEP,
                }
            )
        if query.attributes == ("totalSpotNumber",):
            rows = rows[:0]
        if query.last:
            rows = rows[-query.last :]
        return pl.DataFrame(rows[: query.limit], schema={**HISTORY_SCHEMA})

    async def aggregate(self, actor: Actor, query: HistoryQuery, how: Aggregation) -> pl.DataFrame:
        rows = await self.history(actor, msgspec.structs.replace(query, limit=1_000_000))
        return (
            rows.group_by("entity", "attribute", bucket=pl.col("at") // how.period * how.period)
            .agg(avg=pl.col("number").mean(), min=pl.col("number").min(), max=pl.col("number").max())
            .sort("bucket")
        )

    async def alerts(self, actor: Actor, query: AlertQuery) -> list[Alert]:
        found = [
            alert
            for alert in self.found_alerts.values()
            if alert.state in query.states
            and query.entity in ("", alert.entity)
            and query.severity in ("", alert.severity)
        ]
        found.sort(key=lambda alert: -alert.pending_since)
        return found[query.offset : query.offset + query.limit]

    async def acknowledge(self, actor: Actor, alert: str, note: str = "") -> Alert:
        return self._handle(actor, alert, acknowledged_at=self._clock.now(), acknowledged_by=actor.id, note=note)

    async def silence(self, actor: Actor, alert: str, until: int, note: str = "") -> Alert:
        return self._handle(actor, alert, silenced_until=until)

    def _handle(self, actor: Actor, alert: str, **changes: Any) -> Alert:
        if actor == ANONYMOUS:
            raise AccessDenied("only staff handle alerts")
        if alert not in self.found_alerts:
            raise NotFound("no such alert", seen=alert)
        self.found_alerts[alert] = msgspec.structs.replace(self.found_alerts[alert], **changes)
        return self.found_alerts[alert]

    async def follow(
        self, actor: Actor, tenant: str, types: Sequence[str], every_s: float = 1.0
    ) -> AsyncIterator[list[Entity]]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            told, self._latest = list(self._latest.values()), {}
            yield told

    def observe(self, id: str, free: int) -> None:
        """A car park reports."""
        entity = self.entities[id]
        total = entity.attributes["totalSpotNumber"].value
        now = self._clock.now()
        marks = Mark.SIMULATED | (Mark.SUSPECT if free > total else 0)
        changed = entity.attributes | {
            "availableSpotNumber": Attribute(value=free, observed_at=now, marks=marks),
            "occupancy": Attribute(value=1 - free / total, observed_at=now, marks=marks | Mark.DERIVED, unit="C62"),
        }
        self.entities[id] = self._latest[id] = msgspec.structs.replace(
            entity, attributes=changed, observed_at=now, modified_at=now
        )
        self._changed.set()


class FakeDeliveries:
    """Implements Deliveries of the portal: a channel in each state, and three messages that were given up."""

    def __init__(self, clock: Clock) -> None:
        now = clock.now()
        states: dict[str, dict[str, Any]] = {
            "closed": {
                "state": "closed",
                "waiting": 100_003,
                "times_refused": 3,
                "last_failed_at": now - HOUR,
                "last_error": "100003 messages wait, 100000 is the most: nothing more is taken",
            },
            "failing": {
                "state": "failing",
                "waiting": 12,
                "failures": 4,
                "next_at": now + MINUTE,
                "dead": 3,
                "times_failed": 7,
                "last_failed_at": now - MINUTE,
                "last_error": "answered 500",
            },
            "paused": {"state": "paused", "waiting": 5},
            "active": {"times_sent": 48_211, "last_sent_at": now - MINUTE},
        }
        self.found = {
            f"subscription::urn:ngsi-ld:Subscription:{name}": ChannelState(
                id=f"subscription::urn:ngsi-ld:Subscription:{name}", kind="subscription", **fields
            )
            for name, fields in states.items()
        }
        channel = "subscription::urn:ngsi-ld:Subscription:failing"
        reasons = ("answered 500", "too old: no answer within 5 s", "it points at this machine itself: 127.0.0.1")
        self.letters = {
            n: DeadLetter(
                parcel=Parcel(channel, f'{{"n": {n}, "b": "<b>&"}}'.encode(), now - n * HOUR, n),
                died_at=now - MINUTE,
                attempts=12,
                reason=reason,
                size=20,
            )
            for n, reason in enumerate(reasons, 1)
        }

    def may(self, actor: Actor) -> bool:
        return actor != ANONYMOUS

    def _check(self, actor: Actor) -> None:
        if not self.may(actor):
            raise AccessDenied("only operators see messages")

    async def channels(self, actor: Actor, state: str = "", limit: int = 100, offset: int = 0) -> list[ChannelState]:
        self._check(actor)
        return [one for one in self.found.values() if state in ("", one.state)][offset : offset + limit]

    async def count_channels(self, actor: Actor, state: str = "") -> int:
        return len(await self.channels(actor, state))

    async def dead(self, actor: Actor, channel: str = "", limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        self._check(actor)
        return [one for one in self.letters.values() if channel in ("", one.parcel.channel)][offset : offset + limit]

    async def count_dead(self, actor: Actor, channel: str = "") -> int:
        return len(await self.dead(actor, channel))

    async def dead_letter(self, actor: Actor, n: int) -> DeadLetter:
        self._check(actor)
        if n not in self.letters:
            raise NotFound("no such dead letter", seen=n)
        return self.letters[n]

    async def resend(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int:
        return await self.drop(actor, channel, parcels)

    async def drop(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int:
        self._check(actor)
        gone = [n for n in self.letters if not parcels or n in parcels]
        for n in gone:
            del self.letters[n]
        return len(gone)

    async def pause(self, actor: Actor, channel: str) -> ChannelState:
        return self._turn(actor, channel, "paused")

    async def resume(self, actor: Actor, channel: str) -> ChannelState:
        return self._turn(actor, channel, "active")

    def _turn(self, actor: Actor, channel: str, state: State) -> ChannelState:
        self._check(actor)
        self.found[channel] = msgspec.structs.replace(self.found[channel], state=state)
        return self.found[channel]


def fake_platform() -> Platform:
    mission = read_mission()
    return Platform(
        name="smart_parking",
        sector="transport",
        implements=(mission.platforms["smart_parking_guidance_system"],),
        types=(ThingType(KIND, DECLARED, 30 * MINUTE),),
        texts=TEXTS,
        alerts=ALERTS,
        figures={"free": FigureDeclaration(on=KIND, total="availableSpotNumber", of="totalSpotNumber")},
        simulated=True,
    )


def fake_city() -> City:
    from importlib.resources import files

    cities, _ = read_cities([files("hutong") / "cities"], Packs({}))
    return compose.city(cities["hangzhou"])


def fake_portal(clock: Clock | None = None, things: int = 110) -> tuple[Portal, FakeSense]:
    clock = clock or FrozenClock(NOON)
    city = fake_city()
    sense = FakeSense(city, clock, things)
    return Portal(
        city=city,
        platforms=(fake_platform(),),
        mission=read_mission(),
        sense=sense,
        deliveries=FakeDeliveries(clock),
        clock=clock,
        actor=actor_of,
        may_handle=lambda actor: actor != ANONYMOUS,
        csrf_secret="for tests",
    ), sense


def fake_site(portal: Portal, everyone: bool = True) -> Litestar:
    site = pages(portal)
    return application([site.router], lambda header: OPEN_ACTOR if everyone else ANONYMOUS, [site.close], site.errors)
