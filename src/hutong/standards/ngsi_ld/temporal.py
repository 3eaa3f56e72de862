"""The temporal part of NGSI-LD: questions to HistoryQuery and Aggregation, frames to representations.

Clauses 4.11 (temporal query), 4.5.6 to 4.5.9 (temporal representations), 4.5.19 (aggregated values), 5.7.3, 5.7.4.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import isfinite
from typing import Any, Literal, cast, get_args

import msgspec
import polars as pl

from hutong.engines.sense.ports import Aggregation, Attribute, Entity, EntityQuery, HistoryQuery, Method
from hutong.kernel.clock import DAY, EARLIEST, HOUR, LATEST, MINUTE, SECOND
from hutong.kernel.errors import HutongError, InvalidInput, Unsupported
from hutong.standards.ngsi_ld.attributes import split_key
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults, located
from hutong.standards.ngsi_ld.instants import read_instant, write_instant
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
from hutong.standards.ngsi_ld.representations import KIND_NAMES, Shape, attribute_value, shown, write_instance

INSTANCES_MAX = 100_000  # in one answer
BUCKETS_MAX = 100_000
DURATION_MAX = 36_525 * DAY

TemporalForm = Literal["normalized", "temporalValues", "aggregatedValues"]
_FORMS = ("temporalValues", "aggregatedValues")
_RETRIEVAL = TEMPORAL | {"attrs", "pick", "omit", "datasetId", "lang", "options", "format", "local"}
_QUERY = _RETRIEVAL | SELECTING | PAGING
_LISTS = {
    "P": "values",
    "G": "values",
    "R": "objects",
    "L": "languageMaps",
    "V": "vocabs",
    "J": "jsons",
    "T": "valueLists",
    "S": "objectLists",
}
_METHODS: tuple[str, ...] = get_args(Method)
_COUNTS = ("totalCount", "distinctCount")
_CORE_MEMBERS = frozenset(("id", "type", "scope"))
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
    last: int | None = None
    aggregation: Aggregation | None = None
    count: bool = False

    def history(self, tenant: str, entities: Sequence[str]) -> HistoryQuery:
        """The question to the store, for these entities; one row more than an answer may hold."""
        attributes = tuple(sorted(self.shape.attributes or self.shape.pick - _CORE_MEMBERS))
        return HistoryQuery(
            tenant=tenant,
            entities=tuple(entities),
            attributes=attributes,
            begin=self.begin,
            end=self.end,
            by=self.by,
            last=self.last,
            limit=INSTANCES_MAX + 1,
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
    form = cast("TemporalForm", parameters.raw("format") or (options[0] if options else "normalized"))
    by = parameters.one_of("timeproperty", ("observedAt", "createdAt", "modifiedAt", "deletedAt"), "observedAt")
    if by == "deletedAt":
        raise Unsupported("deletions are not kept as history", where="timeproperty", seen=by)
    return TemporalQuery(
        entities=entities,
        shape=shape,
        form=form if form in _FORMS else "normalized",
        begin=begin,
        end=end,
        by="at" if by == "observedAt" else "recorded_at",
        last=parameters.number("lastN", None, 1),
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
    period = read_duration(parameters.text("aggrPeriodDuration", "PT0S"), "aggrPeriodDuration")
    if period and begin is not None and end is not None and (end - begin) // period > BUCKETS_MAX:
        raise TooManyResults(
            "too many periods",
            where="aggrPeriodDuration",
            allowed=f"at most {BUCKETS_MAX}",
            fix="ask for longer periods",
        )
    return Aggregation(methods=cast("tuple[Method, ...]", tuple(dict.fromkeys(methods))), period=period)


def read_duration(text: str, where: str) -> int:
    """An ISO 8601 duration in microseconds. Raises Unsupported for years and months, which have no fixed length."""
    found = _duration(text)
    if found is None or text.endswith("T") or text == "P":
        raise InvalidInput("no duration", where=where, seen=text, allowed="P1D, PT1H, PT15M, P1W")
    if int(found["y"] or 0) or int(found["mo"] or 0):
        raise Unsupported("years and months have no fixed length", where=where, seen=text, fix="ask for days")
    length = (
        int(found["w"] or 0) * 7 * DAY
        + int(found["d"] or 0) * DAY
        + int(found["h"] or 0) * HOUR
        + int(found["m"] or 0) * MINUTE
        + round(float(found["s"] or 0) * SECOND)
    )
    if length > DURATION_MAX:
        raise InvalidInput("a duration too long", where=where, seen=text, allowed=f"up to P{DURATION_MAX // DAY}D")
    return length


def write_temporal(
    frame: pl.DataFrame, entities: Sequence[Entity], context: Context, asked: TemporalQuery
) -> list[dict[str, Any]]:
    """Temporal representations of those `entities` that have rows in a frame of HISTORY_SCHEMA.

    Raises TooManyResults where the frame holds more than one answer may.
    """
    if frame.height > INSTANCES_MAX:
        raise TooManyResults(
            "too much history for one answer",
            seen=frame.height,
            allowed=f"at most {INSTANCES_MAX}",
            fix="narrow the time or the attributes, or ask for lastN or aggregatedValues",
        )
    write = _write_values if asked.form == "temporalValues" else _write_instances
    told: dict[str, dict[str, Any]] = {}
    for entity, rows in groupby(frame.iter_rows(named=True), lambda row: row["entity"]):
        members: dict[str, Any] = {}
        instances = groupby(_instances(rows, asked), lambda item: split_key(item[0])[0])
        for name, group in instances:
            if shown(name, asked.shape) and (listed := write(list(group), context, asked)):
                members[context.compact(name)] = listed
        told[entity] = members
    return [_frame_of(entity, told[entity.id], context, asked.shape) for entity in entities if told.get(entity.id)]


def _instances(rows: Any, asked: TemporalQuery) -> Iterator[tuple[str, Attribute, int]]:
    """Key, attribute and the instant that is asked by, of each row."""
    for row in rows:
        if not asked.shape.datasets or split_key(row["attribute"])[1] in asked.shape.datasets:
            yield row["attribute"], _attribute_of(row), row[asked.by]


def _attribute_of(row: Mapping[str, Any]) -> Attribute:
    recorded = row["recorded_at"]
    if row["extra"]:
        attribute = msgspec.json.decode(row["extra"], type=Attribute)
    else:
        number, text, kind = row["number"], row["text"], row["kind"]
        value: Any = (text == "true") if kind == "B" else text
        if number is not None:
            value = int(number) if number.is_integer() and abs(number) < 2**53 else number
        attribute = Attribute(
            kind=kind if kind in KIND_NAMES else "P",
            value=value,
            unit=row["unit"],
            marks=row["marks"] or 0,
            observed_at=row["at"] if row["at"] != recorded else None,
        )
    attribute.created_at = attribute.modified_at = recorded
    return attribute


def _write_instances(group: list[tuple[str, Attribute, int]], context: Context, asked: TemporalQuery) -> Any:
    told = []
    for key, attribute, _ in group:
        one = write_instance(attribute, context, asked.shape)
        if dataset := split_key(key)[1]:
            one["datasetId"] = dataset
        if "observedAt" not in one:
            one["modifiedAt"] = write_instant(attribute.modified_at)
        told.append(one)
    return told


def _write_values(group: list[tuple[str, Attribute, int]], context: Context, asked: TemporalQuery) -> Any:
    listed: dict[tuple[str, str], list[Any]] = {}
    for key, attribute, at in group:
        value = attribute_value(attribute, context, asked.shape)
        listed.setdefault((split_key(key)[1], attribute.kind), []).append([value, write_instant(at)])
    told = [
        {"type": KIND_NAMES[kind], _LISTS[kind]: values, **({"datasetId": dataset} if dataset else {})}
        for (dataset, kind), values in listed.items()
    ]
    return told[0] if len(told) == 1 else told


def write_aggregated(
    frame: pl.DataFrame, entities: Sequence[Entity], context: Context, asked: TemporalQuery, now: int
) -> list[dict[str, Any]]:
    """Aggregated representations, from a frame of entity, attribute, bucket and one column per method.

    A period of the whole range ends where the question ends, or `now`. Raises InvalidRequest where an attribute asked
    for by name has nothing that any of the methods can work on (clause 5.7.4.4).
    """
    assert asked.aggregation is not None
    methods, period = asked.aggregation.methods, asked.aggregation.period
    if frame.height > BUCKETS_MAX:
        raise TooManyResults(
            "too many periods", seen=frame.height, allowed=f"at most {BUCKETS_MAX}", fix="ask for longer periods"
        )
    by_id = {entity.id: entity for entity in entities}
    told: dict[str, dict[str, Any]] = {}
    rows = frame.sort("entity", "attribute", "bucket").iter_rows(named=True)
    for (entity, key), group in groupby(rows, lambda row: (row["entity"], row["attribute"])):
        name, dataset = split_key(key)
        if entity not in by_id or not shown(name, asked.shape):
            continue
        if asked.shape.datasets and dataset not in asked.shape.datasets:
            continue
        current = by_id[entity].attributes.get(key)
        buckets = _write_buckets(list(group), methods, period, asked.end or now)
        if not buckets:
            if name in asked.shape.attributes or name in asked.shape.pick:
                raise InvalidRequest(
                    "this attribute has no values for these methods",
                    where="aggrMethods",
                    seen=name,
                    allowed="totalCount, distinctCount",
                )
            continue
        kind = KIND_NAMES[current.kind] if current and current.kind in "RS" else "Property"
        one = {"type": kind, **buckets, **({"datasetId": dataset} if dataset else {})}
        member = context.compact(name)
        members = told.setdefault(entity, {})
        if member not in members:
            members[member] = one
        else:
            others = members[member]
            members[member] = [*(others if type(others) is list else [others]), one]
    return [_frame_of(entity, told[entity.id], context, asked.shape) for entity in entities if entity.id in told]


def _write_buckets(
    rows: Sequence[Mapping[str, Any]], methods: Sequence[str], period: int, end: int
) -> dict[str, list[list[Any]]]:
    told: dict[str, list[list[Any]]] = {}
    for method in methods:
        for row in rows:
            value, start = row[method], row["bucket"]
            if value is not None and isfinite(value):  # what overflows is missing
                stop = start + period if period else end
                value = int(value) if method in _COUNTS else value
                start, stop = max(start, EARLIEST), min(stop, LATEST)
                told.setdefault(method, []).append([value, write_instant(start), write_instant(stop)])
    return told


def _frame_of(entity: Entity, members: dict[str, Any], context: Context, shape: Shape) -> dict[str, Any]:
    types = [context.compact(name) for name in entity.types]
    core = {"id": entity.id, "type": types[0] if len(types) == 1 else types}
    return {
        **{
            member: value
            for member, value in core.items()
            if member not in shape.omit and (not shape.pick or member in shape.pick)
        },
        **members,
    }
