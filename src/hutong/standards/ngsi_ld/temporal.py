"""The temporal part of NGSI-LD: entities with histories and questions about them, as the engine takes them.

Clauses 4.11 (temporal query), 4.5.19 (aggregated values), 5.6.11 to 5.6.14, 5.7.3, 5.7.4.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import msgspec

from hutong.engines.sense.history import Instance
from hutong.engines.sense.ports import Aggregation, Attribute, EntityQuery, HistoryQuery, Method, Verb
from hutong.kernel.clock import DAY, HOUR, MINUTE, SECOND
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.attributes import RESERVED, AttributeReader, dataset_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.entities import EntityReader, context_of, decode, read_attribute
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults, located
from hutong.standards.ngsi_ld.instants import read_instant
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.query import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    OFFSET_MAX,
    PAGING,
    SELECTING,
    TEMPORAL,
    body_parameters,
    read_selection,
    read_shape,
)
from hutong.standards.ngsi_ld.representations import Shape
from hutong.standards.ngsi_ld.scopes import read_scopes

INSTANCES_MAX = 100_000  # in one answer, where they share a moment
BUCKETS_MAX = 100_000
DURATION_MAX = 36_525 * DAY

TemporalForm = Literal["normalized", "temporalValues", "aggregatedValues"]
_FORMS = ("temporalValues", "aggregatedValues")
_SIMPLIFIED = ("simplified", "keyValues")
_RETRIEVAL = TEMPORAL | {"attrs", "pick", "omit", "datasetId", "lang", "options", "format", "local"}
_QUERY = _RETRIEVAL | SELECTING | PAGING
_METHODS: tuple[str, ...] = get_args(Method)
CORE_MEMBERS = frozenset(("id", "type", "scope"))
_duration = re.compile(
    r"P(?:(?P<w>N)W|(?:(?P<y>N)Y)?(?:(?P<mo>N)M)?(?:(?P<d>N)D)?"
    r"(?:T(?:(?P<h>N)H)?(?:(?P<m>N)M)?(?:(?P<s>N(?:\.\d{1,6})?)S)?)?)".replace("N", r"\d{1,18}")
).fullmatch


class TemporalQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entities (None: the one of the address), which of their history, and how it is shown."""

    entities: EntityQuery | None
    shape: Shape
    form: TemporalForm = "normalized"
    begin: int | None = None
    end: int | None = None
    by: Literal["at", "recorded_at"] = "at"
    deleted: bool = False
    last: int | None = None
    first: int | None = None
    aggregation: Aggregation | None = None
    count: bool = False

    def history(self, tenant: str, entities: Sequence[str]) -> HistoryQuery:
        """The question to the store, for these entities."""
        attributes = tuple(sorted(self.shape.attributes or self.shape.pick - CORE_MEMBERS))
        return HistoryQuery(
            tenant=tenant,
            entities=tuple(entities),
            attributes=attributes,
            datasets=True,
            begin=self.begin,
            end=self.end,
            by=self.by,
            last=self.last,
            first=self.first,
            limit=INSTANCES_MAX,
        )


def read_temporal_retrieval(given: Mapping[str, Sequence[str]], context: Context) -> TemporalQuery:
    """How the history of one entity is asked for."""
    parameters = Parameters.of_address(given, _RETRIEVAL)
    return _read(parameters, context, None)


def read_temporal_query(given: Mapping[str, Sequence[str]], context: Context, *, tenant: str = "") -> TemporalQuery:
    """The temporal query of an address. Raises InvalidInput where it names no time (clause 5.7.4)."""
    return _read_query(Parameters.of_address(given, _QUERY), context, tenant)


def read_temporal_query_body(
    raw: Any, given: Mapping[str, Sequence[str]], context: Context, *, tenant: str = ""
) -> TemporalQuery:
    """The temporal Query of a decoded body, with the paging and representation of its address."""
    beside = Parameters.of_address(given, PAGING | {"options", "format"})
    return _read_query(body_parameters(raw, temporal=True).merged(beside), context, tenant)


def _read_query(parameters: Parameters, context: Context, tenant: str) -> TemporalQuery:
    if "timerel" not in parameters:
        raise InvalidInput("no time is asked for", where="timerel", allowed="before, after, between")
    limit = parameters.number("limit", LIMIT_DEFAULT) or 0
    if limit > LIMIT_MAX:
        raise TooManyResults("the page is too large", where="limit", seen=limit, allowed=f"at most {LIMIT_MAX}")
    if limit == 0 and not parameters.flag("count"):
        raise InvalidInput("a page of no entities", where="limit", seen=0, fix="add count=true, or ask for more")
    offset = min(parameters.number("offset", 0) or 0, OFFSET_MAX)
    return _read(parameters, context, read_selection(parameters, context, tenant, limit, offset))


def _read(parameters: Parameters, context: Context, entities: EntityQuery | None) -> TemporalQuery:
    begin, end = _read_time(parameters)
    shape = read_shape(parameters, context, more_options=_FORMS)
    options = [option for option in parameters.items("options") if option in _FORMS]
    if len(options) > 1:
        raise InvalidRequest("two representations at once", where="options", seen=", ".join(options), allowed="one")
    form = parameters.raw("format") or (options[0] if options else "normalized")
    if form in _SIMPLIFIED:
        form = "temporalValues"  # clause 6.3.7: of histories the simplified representation is this
    by = parameters.one_of("timeproperty", ("observedAt", "createdAt", "modifiedAt", "deletedAt"), "observedAt")
    last, first = parameters.number("lastN", None, 1), parameters.number("firstN", None, 1)
    if last is not None and first is not None:
        raise InvalidInput("the first and the last at once", where="firstN", fix="leave one of them out")
    return TemporalQuery(
        entities=entities,
        shape=shape,
        form=cast("TemporalForm", form if form in _FORMS else "normalized"),
        begin=begin,
        end=end,
        by="at" if by == "observedAt" else "recorded_at",
        deleted=by == "deletedAt",
        last=last,
        first=first,
        aggregation=_read_aggregation(parameters, begin, end) if form == "aggregatedValues" else None,
        count=parameters.flag("count") or False,
    )


def _read_time(parameters: Parameters) -> tuple[int | None, int | None]:
    """Begin (inclusive) and end (exclusive) in microseconds; None where open."""
    relation = parameters.text("timerel")
    if not relation:
        for name in ("timeAt", "endTimeAt"):
            if name in parameters:
                raise InvalidInput("a time without its relation", where=name, fix="add timerel")
        return None, None
    if relation not in ("before", "after", "between"):
        raise InvalidInput("no temporal relation", where="timerel", seen=relation, allowed="before, after, between")
    at = _instant(parameters, "timeAt")
    if relation != "between":
        return (at, None) if relation == "after" else (None, at)
    end = _instant(parameters, "endTimeAt")
    if end <= at:
        raise InvalidInput("the end is not after the beginning", where="endTimeAt", seen=parameters.raw("endTimeAt"))
    return at, end


def _instant(parameters: Parameters, name: str) -> int:
    if name not in parameters:
        raise InvalidInput(f"{name} is missing", where=name, allowed="a DateTime")
    try:
        return read_instant(parameters.text(name).replace(" ", "+"))  # a plus not percent-encoded arrives as a space
    except HutongError as error:
        raise (error if error.fault.where else located(error, name)) from None


def _read_aggregation(parameters: Parameters, begin: int | None, end: int | None) -> Aggregation:
    methods = parameters.items("aggrMethods")
    if not methods:
        raise InvalidInput("no method of aggregation", where="aggrMethods", allowed=", ".join(_METHODS))
    for method in methods:
        if method not in _METHODS:
            raise InvalidInput("no such method", where="aggrMethods", seen=method, allowed=", ".join(_METHODS))
    months, period = read_duration(parameters.text("aggrPeriodDuration", "PT0S"), "aggrPeriodDuration")
    least = months * 28 * DAY + period
    if least and begin is not None and end is not None and (end - begin) // least > BUCKETS_MAX:
        raise TooManyResults(
            "too many periods",
            where="aggrPeriodDuration",
            allowed=f"at most {BUCKETS_MAX}",
            fix="ask for longer periods",
        )
    chosen = cast("tuple[Method, ...]", tuple(dict.fromkeys(methods)))
    return Aggregation(methods=chosen, period=period, months=months, texts=True)


def read_duration(text: str, where: str) -> tuple[int, int]:
    """An ISO 8601 duration as months, and microseconds beside them."""
    found = _duration(text)
    if found is None or text.endswith("T") or text == "P":
        raise InvalidInput("no duration", where=where, seen=text, allowed="P1D, PT1H, PT15M, P1W")
    months = int(found["y"] or 0) * 12 + int(found["mo"] or 0)
    length = (
        int(found["w"] or 0) * 7 * DAY
        + int(found["d"] or 0) * DAY
        + int(found["h"] or 0) * HOUR
        + int(found["m"] or 0) * MINUTE
        + round(float(found["s"] or 0) * SECOND)
    )
    if months * 30 * DAY + length > DURATION_MAX:
        raise InvalidInput("a duration too long", where=where, seen=text, allowed=f"up to P{DURATION_MAX // DAY}D")
    return months, length


# --- what amends histories ------------------------------------------------------------------------------------


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An entity with instances for its history (clause 5.2.20), or a fragment of one."""

    id: str
    types: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    instances: list[Instance]


def read_history(body: bytes, contexts: Contexts, context: Context | None, *, entity_id: str = "") -> Told:
    """The temporal representation of an entity in a body; with `entity_id` a fragment for that entity."""
    raw = decode(body)
    context = context_of(raw, contexts, context)
    rest = {name: member for name, member in raw.items() if name in RESERVED}
    change = EntityReader(context, Verb.APPEND if entity_id else Verb.CREATE).read(rest, entity_id)
    reader = AttributeReader(context, nulls=True)
    instances: list[Instance] = []
    scopes: tuple[str, ...] | None = None
    name = ""
    try:
        for name, member in raw.items():
            if name == "scope":
                scopes = _read_scopes(member)
            elif name not in RESERVED:
                instances += _read_instances(reader, context.expand(name), member)
    except HutongError as error:
        raise located(error, name) from None
    if entity_id and not instances and scopes is None:
        raise InvalidInput("the fragment is empty", fix="give instances of attributes")
    return Told(id=change.id, types=change.types, scopes=scopes, instances=instances)


def read_instance(
    body: bytes, contexts: Contexts, context: Context | None, *, entity_id: str, name: str
) -> tuple[str, Attribute]:
    """The stored name of an attribute, and what is to change in one of its instances (clause 5.6.14)."""
    change = read_attribute(body, Verb.PATCH, contexts, context, entity_id=entity_id, name=name)
    [(key, attribute)] = change.attributes.items()
    return key.partition("@")[0], attribute


def _read_instances(reader: AttributeReader, name: str, member: Any) -> list[Instance]:
    """Instances of one attribute: an array of them, of any datasetId, or a single one."""
    found: list[Instance] = []
    for i, part in enumerate(member if type(member) is list and member else [member]):
        try:
            if type(part) is not dict:
                raise InvalidInput("not an instance of an attribute", seen=part, allowed="an object with its value")
            key = dataset_key(name, part["datasetId"]) if "datasetId" in part else name
            found.append(Instance(key=key, value=reader.read(part)))
        except HutongError as error:
            raise (located(error, f"[{i}]") if type(member) is list else error) from None
    return found


def _read_scopes(member: Any) -> tuple[str, ...] | None:
    """The scopes that were told last: texts, or instances of a Property whose values are texts (clause 4.18)."""
    last = member[-1] if type(member) is list and member else member
    if type(last) is not dict:
        return read_scopes(member)
    return read_scopes(last.get("value"))
