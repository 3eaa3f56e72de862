"""What the pages need and are handed: platforms as people see them, the city, and the verbs of the sense engine."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Protocol, TypeAlias

import polars as pl
from litestar.connection import ASGIConnection

from hutong.connectors.feeds import Health
from hutong.engines.sense.declarations import AlertDeclaration, EntityDeclaration
from hutong.engines.sense.ports import Aggregation, Alert, AlertQuery, Entity, EntityQuery, HistoryQuery
from hutong.kernel import mission
from hutong.kernel.access import Actor
from hutong.kernel.clock import Clock
from hutong.kernel.expressions import NO_SCALES, Scales
from hutong.kernel.outbox import ChannelState, DeadLetter
from hutong.kernel.packs import Text
from hutong.portal.declarations import ColourDeclaration, FigureDeclaration
from hutong.portal.words import Language

Named: TypeAlias = Mapping[Language, str]


@dataclass(frozen=True)
class ThingType:
    """A type of thing on a platform. `silent_after` in microseconds; None when its sources do not say.

    `bands`: for a property that holds forecasts, those that hold the ends of their interval.
    """

    name: str
    declaration: EntityDeclaration
    silent_after: int | None = None
    bands: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Platform:
    """A pack that is on, as people see it. `texts` are the pack's own by language and path."""

    name: str
    sector: str
    implements: tuple[mission.Platform, ...]
    types: tuple[ThingType, ...]
    texts: Mapping[str, Mapping[tuple[str, ...], Text]]
    alerts: Mapping[str, AlertDeclaration] = field(default_factory=dict)
    figures: Mapping[str, FigureDeclaration] = field(default_factory=dict)
    colours: Mapping[str, ColourDeclaration] = field(default_factory=dict)
    scales: Scales = NO_SCALES
    simulated: bool = False

    def text(self, lang: Language, *path: str) -> Text:
        """The pack's words for a declared name, or for itself without a path; the bare name where it has none.

        Rules are named as the engine names them, `pack.rule`.
        """
        path = tuple(name.removeprefix(f"{self.name}.") for name in path)
        return self.texts[lang].get(path or ("pack",)) or Text(path[-1] if path else self.name)

    def label(self, type_name: str, property_name: str, lang: Language) -> str:
        return self.text(lang, "entity", type_name, "property", property_name).name


@dataclass(frozen=True)
class City:
    """`departments` are names by language. `districts` is a GeoJSON FeatureCollection (WGS 84), whose features carry
    code, zh, en and a label point."""

    id: str
    name: Named
    code: str
    zone: tzinfo
    demo: bool
    departments: tuple[Named, ...]
    districts: Mapping[str, Any]

    def leads(self, platforms: Sequence[mission.Platform]) -> list[Named]:
        """The departments that the city's plan makes leaders of these platforms, each once."""
        names = {
            name for platform in platforms for asked in platform.asked if asked.city == self.id for name in asked.lead
        }
        return [department for department in self.departments if department["zh"] in names]


class Sense(Protocol):
    """The verbs of the sense engine that pages call."""

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]: ...

    async def count(self, actor: Actor, query: EntityQuery) -> int: ...

    def sees_any(self, actor: Actor, type: str) -> bool: ...

    async def history(self, actor: Actor, query: HistoryQuery) -> pl.DataFrame: ...

    async def aggregate(self, actor: Actor, query: HistoryQuery, how: Aggregation) -> pl.DataFrame: ...

    async def alerts(self, actor: Actor, query: AlertQuery) -> list[Alert]: ...

    async def acknowledge(self, actor: Actor, alert: str, note: str = "") -> Alert: ...

    async def silence(self, actor: Actor, alert: str, until: int, note: str = "") -> Alert: ...

    def follow(
        self, actor: Actor, tenant: str, types: Sequence[str], every_s: float = 1.0
    ) -> AsyncIterator[list[Entity]]: ...


class Deliveries(Protocol):
    """The verbs of operators about messages that pages call."""

    def may(self, actor: Actor) -> bool: ...

    async def channels(
        self, actor: Actor, state: str = "", limit: int = 100, offset: int = 0
    ) -> list[ChannelState]: ...

    async def count_channels(self, actor: Actor, state: str = "") -> int: ...

    async def dead(self, actor: Actor, channel: str = "", limit: int = 100, offset: int = 0) -> list[DeadLetter]: ...

    async def count_dead(self, actor: Actor, channel: str = "") -> int: ...

    async def dead_letter(self, actor: Actor, n: int) -> DeadLetter: ...

    async def resend(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int: ...

    async def drop(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int: ...

    async def pause(self, actor: Actor, channel: str) -> ChannelState: ...

    async def resume(self, actor: Actor, channel: str) -> ChannelState: ...


@dataclass(frozen=True)
class Portal:
    """All that the pages are given.

    `actor` tells who is behind a request; `may_handle` whether an actor may acknowledge and silence alerts (asked only
    to show or hide the forms: the engine decides again). `sources` tells how sources fare, and refuses who may not
    know. `csrf_secret` signs forms; it must outlive a restart.
    """

    city: City
    platforms: tuple[Platform, ...]
    mission: mission.Mission
    sense: Sense
    deliveries: Deliveries
    clock: Clock
    actor: Callable[[ASGIConnection[Any, Any, Any, Any]], Actor]
    may_handle: Callable[[Actor], bool]
    csrf_secret: str
    sources: Callable[[Actor], Sequence[Health]] = lambda _: ()
    tenant: str = ""

    def platform(self, name: str) -> Platform | None:
        return next((platform for platform in self.platforms if platform.name == name), None)
