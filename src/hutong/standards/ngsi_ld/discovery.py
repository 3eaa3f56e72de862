"""Which registrations of context sources answer a question (clauses 5.10.2, 5.11.7, 5.12)."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from hutong.engines.sense.conditions import pattern, predicate
from hutong.engines.sense.geometry import admits, geometry
from hutong.engines.sense.ports import Attribute, Filter, GeoFilter
from hutong.engines.sense.subscriptions import Subscription
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.instants import read_instant
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.patterns import read_pattern
from hutong.standards.ngsi_ld.q import attributes_of, read_q
from hutong.standards.ngsi_ld.query import read_geo_filter, read_types
from hutong.standards.ngsi_ld.registrations import EntityInfo, Information, Interval, Registration
from hutong.standards.ngsi_ld.scopes import read_scope_query

TIMES: Final = frozenset(("timerel", "timeAt", "endTimeAt", "timeproperty"))
SELECTING: Final = (
    TIMES
    | frozenset(("id", "type", "idPattern", "attrs", "q", "csf", "scopeQ"))
    | frozenset(("georel", "geometry", "coordinates", "geoproperty"))
)


class Time(msgspec.Struct, frozen=True):
    """Sources that have something of before, after or between instants, as observed or as managed."""

    relation: Literal["before", "after", "between"]
    at: int
    end: int = 0
    managed: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """Entities that are looked for: of alternatives of types (none: any), of these ids, or of a pattern."""

    types: tuple[tuple[str, ...], ...] = ()
    ids: tuple[str, ...] = ()
    id_pattern: str = ""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sources are looked for. `attributes`: one of them; `needed`: all of them, as a query compares them."""

    wanted: tuple[Wanted, ...] = ()
    attributes: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    where: Filter | None = None  # on properties of the source
    geo: GeoFilter | None = None
    scopes: tuple[tuple[str, ...], ...] = ()
    time: Time | None = None


def read_discovery(parameters: Parameters, context: Context) -> Discovery:
    """The question of an address. Raises InvalidInput where nothing narrows it (clause 5.10.2.4)."""
    ids, id_pattern = parameters.uris("id"), parameters.text("idPattern")
    types = read_types(parameters, context)
    q, csf, scopes = parameters.text("q"), parameters.text("csf"), parameters.text("scopeQ")
    discovery = Discovery(
        wanted=(Wanted(types, ids, read_pattern(id_pattern, "idPattern") if id_pattern and not ids else ""),),
        attributes=frozenset(parameters.names("attrs", context.expand)),
        needed=frozenset(attributes_of(read_q(q, context))) if q else frozenset(),
        where=read_q(csf, context, where="csf") if csf else None,
        geo=read_geo_filter(parameters, context),
        scopes=read_scope_query(scopes) if scopes else (),
        time=read_time(parameters),
    )
    if discovery == Discovery(wanted=(Wanted(),)) and parameters.raw("type") != "*":
        allowed = "at least one of type, attrs, id, idPattern, q, csf, georel, scopeQ, timerel"
        raise InvalidInput("the question is too wide", allowed=allowed, fix="add one of them")
    return discovery


def read_time(parameters: Parameters) -> Time | None:
    """The temporal query (clause 4.11). Raises InvalidInput."""
    if "timerel" not in parameters:
        if given := sorted(name for name in TIMES if name in parameters):
            raise InvalidInput("it goes with timerel", where=given[0], allowed="before, after, between")
        return None
    relation = parameters.raw("timerel")
    if relation not in ("before", "after", "between"):
        raise InvalidInput("no relation of times", where="timerel", seen=relation, allowed="before, after, between")
    by = parameters.raw("timeproperty") or "observedAt"
    if by not in ("observedAt", "createdAt", "modifiedAt"):
        allowed = "observedAt, createdAt, modifiedAt"
        raise InvalidInput("no time of an attribute", where="timeproperty", seen=by, allowed=allowed)
    at = _instant(parameters, "timeAt")
    end = _instant(parameters, "endTimeAt") if relation == "between" else 0
    if relation == "between" and end < at:
        raise InvalidInput("the end is before the begin", where="endTimeAt", seen=parameters.raw("endTimeAt"))
    return Time(relation, at, end, managed=by != "observedAt")


def _instant(parameters: Parameters, name: str) -> int:
    try:
        return read_instant(parameters.raw(name))
    except HutongError as error:
        raise located(error, name) from None


class Discoverer:
    """A Discovery ready to be asked."""

    def __init__(self, discovery: Discovery) -> None:
        self._one = discovery
        self._wanted = tuple(map(_fits, discovery.wanted))
        self._answers = predicate(discovery.where) if discovery.where is not None else None
        self._admits = admits(discovery.geo) if discovery.geo is not None else None
        self._scopes = [[pattern(_scope_pattern(scope)) for scope in together] for together in discovery.scopes]

    def find(self, registration: Registration) -> tuple[Information, ...]:
        """The parts of its information that answer; none where the registration does not."""
        if not (self._lies(registration) and self._scoped(registration) and self._timely(registration)):
            return ()
        if self._answers is not None and not self._answers(_properties(registration)):
            return ()
        return tuple(part for part in registration.information if self._tells(part))

    def _tells(self, part: Information) -> bool:
        has, one = part.attributes, self._one
        if has and ((one.attributes and not one.attributes & has) or not one.needed <= has):
            return False
        return not part.entities or any(fits(entity) for entity in part.entities for fits in self._wanted)

    def _lies(self, registration: Registration) -> bool:
        if self._admits is None or self._one.geo is None:
            return True
        found = registration.wire.get(self._one.geo.attribute)
        return type(found) is dict and "coordinates" in found and self._admits(geometry(found))

    def _scoped(self, registration: Registration) -> bool:
        scopes = registration.scopes
        return not self._scopes or any(all(any(map(match, scopes)) for match in together) for together in self._scopes)

    def _timely(self, registration: Registration) -> bool:
        """Without a time only sources of what is now are meant, which name no interval (clause 5.10.2.4)."""
        time = self._one.time
        if time is None:
            return registration.observed is None and registration.managed is None
        return _meets(time, registration.managed if time.managed else registration.observed)


def _fits(wanted: Wanted) -> Callable[[EntityInfo], bool]:
    types = frozenset(name for alternative in wanted.types for name in alternative)
    matches = pattern(wanted.id_pattern) if wanted.id_pattern else None

    def fits(info: EntityInfo) -> bool:
        if types and types.isdisjoint(info.type):
            return False
        if info.id:
            return (not wanted.ids or info.id in wanted.ids) and (matches is None or matches(info.id))
        if info.idPattern and wanted.ids:
            return any(map(pattern(info.idPattern), wanted.ids))
        return True  # of two patterns it cannot be told whether they meet

    return fits


def _meets(time: Time, interval: Interval | None) -> bool:
    if interval is None:
        return False
    if time.relation == "before":
        return interval.start < time.at
    if time.relation == "after":
        return interval.end is None or interval.end > time.at
    return interval.start < time.end and (interval.end is None or interval.end > time.at)


def _properties(registration: Registration) -> Mapping[str, Attribute]:
    """What a filter of sources looks at: properties of the source, and members that the standard names."""
    return {name: Attribute(value=_value(member)) for name, member in registration.wire.items()}


def _value(member: Any) -> Any:
    return member["value"] if type(member) is dict and "value" in member else member


def _scope_pattern(scope: str) -> str:
    inner = f"{scope[:-2]}(/.*)?" if scope.endswith("/#") else scope
    return "^" + inner.replace("+", "[^/]+") + "$"


def discovery_of(subscription: Subscription) -> Discovery:
    """Which sources a subscription to context sources is about (clause 5.11.2)."""
    wanted = tuple(Wanted(one.types, one.ids, "" if one.ids else one.id_pattern) for one in subscription.selectors)
    return Discovery(
        wanted=wanted or (Wanted(),),
        attributes=frozenset(subscription.watched),
        needed=frozenset(attributes_of(subscription.where)) if subscription.where is not None else frozenset(),
        where=subscription.sources,
        geo=subscription.geo,
        scopes=subscription.scopes,
        time=read_time(Parameters(subscription.wire.get("temporalQ", {}))),
    )
