"""A thing as people see it: its name, its values with their marks, and one state that sums them up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hutong.engines.sense.ports import Alert, Attribute, Entity, Kind, Mark
from hutong.kernel.clock import HOUR
from hutong.portal.ports import Named, Platform, ThingType
from hutong.portal.words import LANGUAGES

LIVE_ALERTS = ("pending", "firing")
LIVE_LAG_MAX = HOUR  # news older than this on arrival is history played back: no clock makes such a thing silent


class State(StrEnum):
    """What a thing's colour and shape say. Most urgent first: a thing is in the first state that holds of it."""

    ALARM = "alarm"  # an alert of warning or critical severity fires
    SILENT = "silent"  # no news for longer than its source promises, or none ever
    SUSPECT = "suspect"  # a value lies outside its declared range
    WATCH = "watch"  # an alert is pending, or fires for information
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Thing:
    """`attributes` are those of the declared properties that are there; `lon`/`lat` are None when unknown."""

    id: str
    type: str
    name: Named
    place: str
    lon: float | None
    lat: float | None
    state: State
    observed_at: int | None
    attributes: Mapping[str, Attribute]
    source: str
    simulated: bool
    live: bool
    firing: int

    def value(self, name: str) -> Any:
        attribute = self.attributes.get(name)
        return attribute.value if attribute else None

    def suspect(self, name: str) -> bool:
        attribute = self.attributes.get(name)
        return attribute is not None and bool(attribute.marks & Mark.SUSPECT)


def thing(entity: Entity, kind: ThingType, platform: Platform, alerts: Iterable[Alert], now: int) -> Thing:
    """See an entity as a thing of a declared type; `alerts` are its live ones."""
    declared = kind.declaration
    attributes = {name: entity.attributes[name] for name in declared.property if name in entity.attributes}
    name = entity.attributes.get(declared.name)
    current = list(alerts)
    live = entity.observed_at is None or entity.modified_at - entity.observed_at <= LIVE_LAG_MAX
    return Thing(
        id=entity.id,
        type=kind.name,
        name=names(name, entity.id.rpartition(":")[2]),
        place=entity.place,
        lon=entity.lon,
        lat=entity.lat,
        state=state(entity.observed_at, live, attributes.values(), kind, platform, current, now),
        observed_at=entity.observed_at,
        attributes=attributes,
        source=entity.source,
        simulated=any(attribute.marks & Mark.SIMULATED for attribute in attributes.values()),
        live=live,
        firing=sum(alert.state == "firing" for alert in current),
    )


def state(
    observed_at: int | None,
    live: bool,
    attributes: Iterable[Attribute],
    kind: ThingType,
    platform: Platform,
    alerts: Iterable[Alert],
    now: int,
) -> State:
    """Alerts about silence make a thing silent, not alarming: it is seen by its hatching already."""
    known = [alert for alert in alerts if alert.rule in platform.alerts]
    telling = [alert for alert in known if not platform.alerts[alert.rule].silent_for]
    if any(alert.state == "firing" and alert.severity != "info" for alert in telling):
        return State.ALARM
    if any(alert.state == "firing" and platform.alerts[alert.rule].silent_for for alert in known):
        return State.SILENT
    if observed_at is None or (live and kind.silent_after is not None and now - observed_at > kind.silent_after):
        return State.SILENT
    if any(attribute.marks & Mark.SUSPECT for attribute in attributes):
        return State.SUSPECT
    return State.WATCH if telling else State.GOOD


def names(attribute: Attribute | None, otherwise: str) -> Named:
    """The name in each language; one that lacks is filled from those there are, then from `otherwise`."""
    if attribute is None:
        return dict.fromkeys(LANGUAGES, otherwise)
    if attribute.kind == Kind.LANGUAGE and isinstance(attribute.value, dict):
        any_text = next(iter(attribute.value.values()), otherwise)
        return {lang: str(attribute.value.get(lang, any_text)) for lang in LANGUAGES}
    return dict.fromkeys(LANGUAGES, str(attribute.value))
