"""Histories as JSON of NGSI-LD: temporal, simplified temporal and aggregated (clauses 4.5.6 to 4.5.9, 4.5.19)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import isfinite
from typing import Any

import polars as pl

from hutong.engines.sense.chronicle import attribute_of
from hutong.engines.sense.history import Deletion, HistoryPage, Past, instance_id
from hutong.engines.sense.ports import Aggregation, Attribute
from hutong.kernel.clock import EARLIEST, LATEST
from hutong.standards.ngsi_ld.attributes import split_key
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.representations import KIND_NAMES, Shape, attribute_value, shown, write_instance
from hutong.standards.ngsi_ld.temporal import BUCKETS_MAX, CORE_MEMBERS, TemporalQuery
from hutong.standards.ngsi_ld.uris import NULL

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
_COUNTS = ("totalCount", "distinctCount")

Item = tuple[str, Attribute, int, str]
"""Key, attribute, the instant asked by and the instance id."""


def write_temporal(
    page: HistoryPage, entities: Sequence[Past], context: Context, asked: TemporalQuery
) -> list[dict[str, Any]]:
    """Temporal representations of those `entities` that have rows; what has some beyond the page has an empty array."""
    told: dict[str, dict[str, Any]] = {entity: {} for entity, _, _ in page.there}
    for entity, key, kind in page.there:
        if _wanted(key, asked.shape):
            told[entity].setdefault(context.compact(split_key(key)[0]), _nothing(kind, asked))
    for entity, rows in groupby(page.rows.iter_rows(named=True), lambda row: row["entity"]):
        items = (
            (row["attribute"], attribute_of(row), row[asked.by], instance_id(row))
            for row in rows
            if _wanted(row["attribute"], asked.shape)
        )
        told.setdefault(entity, {}).update(_members(items, context, asked))
    alone = bool(asked.shape.pick) and asked.shape.pick <= CORE_MEMBERS  # who has history, not what it says
    return [
        _frame_of(one, told[one.id], context, asked.shape)
        for one in entities
        if told.get(one.id) or (alone and one.id in told)
    ]


def write_deleted(
    deletions: Iterable[Deletion], entities: Sequence[Past], context: Context, asked: TemporalQuery
) -> list[dict[str, Any]]:
    """What was deleted of entities: instances with the NGSI-LD Null of their kind, and when (clause 4.5.0)."""
    told: dict[str, dict[str, Any]] = {}
    for entity, group in groupby(deletions, lambda one: one.entity):
        items = (
            (one.attribute, Attribute(kind=one.kind or "P", value=_null(one.kind)), one.at, "")
            for one in group
            if _wanted(one.attribute, asked.shape)
        )
        told[entity] = _members(items, context, asked)
    shown = [one for one in entities if told.get(one.id) or one.deleted_at is not None]
    return [
        _frame_of(one, told.get(one.id, {}), context, asked.shape)
        | ({"deletedAt": write_instant(one.deleted_at)} if one.deleted_at is not None else {})
        for one in shown
    ]


def content_range(page: HistoryPage, asked: TemporalQuery) -> str:
    """The range of time that a page covers, as Content-Range tells it (clause 6.3.10); "" where it covers all."""
    if page.until is None:
        return ""
    times = [*page.rows[asked.by].to_list(), page.until]
    low, high = min(times), max(times)
    if asked.last is not None:
        start = high if asked.end is None else asked.end
        return f"date-time {write_instant(start)}-{write_instant(page.until)}/{asked.last}"
    start = low if asked.begin is None else asked.begin
    return f"date-time {write_instant(start)}-{write_instant(page.until)}/*"


def _wanted(key: str, shape: Shape) -> bool:
    name, dataset = split_key(key)
    return shown(name, shape) and (not shape.datasets or dataset in shape.datasets)


def _null(kind: str) -> Any:
    """What stands for a deleted value of a kind; "" is the kind of scopes, of which none are left (clause 4.18)."""
    if not kind:
        return []
    return {"@none": NULL} if kind == "L" else [NULL] if kind in ("T", "S") else NULL


def _nothing(kind: str, asked: TemporalQuery) -> Any:
    kind = kind if kind in KIND_NAMES else "P"
    return {"type": KIND_NAMES[kind], _LISTS[kind]: []} if asked.form == "temporalValues" else []


def _members(items: Iterable[Item], context: Context, asked: TemporalQuery) -> dict[str, Any]:
    write = _write_values if asked.form == "temporalValues" else _write_instances
    return {
        context.compact(name): write(list(group), context, asked)
        for name, group in groupby(items, lambda item: split_key(item[0])[0])
    }


def _write_instances(group: list[Item], context: Context, asked: TemporalQuery) -> Any:
    told = []
    for key, attribute, at, id_ in group:
        one = write_instance(attribute, context, asked.shape)
        if dataset := split_key(key)[1]:
            one["datasetId"] = dataset
        if asked.deleted:
            one["deletedAt"] = write_instant(at)
        elif "observedAt" not in one or attribute.modified_at != attribute.created_at:
            one["modifiedAt"] = write_instant(attribute.modified_at)
        if id_:
            one["instanceId"] = id_
        told.append(one)
    return told


def _write_values(group: list[Item], context: Context, asked: TemporalQuery) -> Any:
    listed: dict[tuple[str, str], list[Any]] = {}
    for key, attribute, at, _ in group:
        value = attribute_value(attribute, context, asked.shape)
        listed.setdefault((split_key(key)[1], attribute.kind), []).append([value, write_instant(at)])
    told = [
        {"type": KIND_NAMES[kind], _LISTS[kind]: values, **({"datasetId": dataset} if dataset else {})}
        for (dataset, kind), values in listed.items()
    ]
    return told[0] if len(told) == 1 else told


def write_aggregated(
    frame: pl.DataFrame, entities: Sequence[Past], context: Context, asked: TemporalQuery, now: int
) -> list[dict[str, Any]]:
    """Aggregated representations, from a frame of entity, attribute, bucket and one column per method.

    A period of the whole range ends where the question ends, or `now`. Raises InvalidRequest where an attribute asked
    for by name has nothing that any of the methods can work on (clause 5.7.4.4).
    """
    assert asked.aggregation is not None
    how = asked.aggregation
    if frame.height > BUCKETS_MAX:
        raise TooManyResults(
            "too many periods", seen=frame.height, allowed=f"at most {BUCKETS_MAX}", fix="ask for longer periods"
        )
    ids = {entity.id for entity in entities}
    told: dict[str, dict[str, Any]] = {}
    rows = frame.sort("entity", "attribute", "bucket").iter_rows(named=True)
    for (entity, key), group in groupby(rows, lambda row: (row["entity"], row["attribute"])):
        name, dataset = split_key(key)
        if entity not in ids or not _wanted(key, asked.shape):
            continue
        told_rows = list(group)
        buckets = _write_buckets(told_rows, how, asked.end or now)
        if not buckets:
            if name in asked.shape.attributes or name in asked.shape.pick:
                raise InvalidRequest(
                    "this attribute has no values for these methods",
                    where="aggrMethods",
                    seen=name,
                    allowed="totalCount, distinctCount",
                )
            continue
        kind = KIND_NAMES[rows_kind] if (rows_kind := told_rows[0]["kind"]) in ("R", "S") else "Property"
        one = {"type": kind, **buckets, **({"datasetId": dataset} if dataset else {})}
        member = context.compact(name)
        members = told.setdefault(entity, {})
        if member not in members:
            members[member] = one
        else:
            others = members[member]
            members[member] = [*(others if type(others) is list else [others]), one]
    return [_frame_of(entity, told[entity.id], context, asked.shape) for entity in entities if entity.id in told]


def _write_buckets(rows: Sequence[Mapping[str, Any]], how: Aggregation, end: int) -> dict[str, list[list[Any]]]:
    told: dict[str, list[list[Any]]] = {}
    for method in how.methods:
        for row in rows:
            value, start = row[method], row["bucket"]
            if value is None or not isfinite(value):  # what overflows is missing
                value = row.get(f"{method} text")
            if value is not None:
                stop = row["until"] if how.months else start + how.period if how.period else end
                value = int(value) if method in _COUNTS else value
                start, stop = max(start, EARLIEST), min(stop, LATEST)
                told.setdefault(method, []).append([value, write_instant(start), write_instant(stop)])
    return told


def _frame_of(entity: Past, members: dict[str, Any], context: Context, shape: Shape) -> dict[str, Any]:
    types = [context.compact(name) for name in entity.types]
    core = {"id": entity.id, "type": types[0] if len(types) == 1 else types}
    system = {
        "createdAt": write_instant(entity.created_at),
        "modifiedAt": write_instant(entity.modified_at),
    }
    return {
        **{
            member: value
            for member, value in core.items()
            if member not in shape.omit and (not shape.pick or member in shape.pick)
        },
        **members,
        **(system if shape.system else {}),
    }
