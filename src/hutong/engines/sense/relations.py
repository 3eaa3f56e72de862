"""The relations that sensing publishes: `sense.<Type>` for things as they stand, `sense.alert` for alerts."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import polars as pl

from hutong.engines.sense.overlay import FRAME_TYPES, VALUE_TYPES, Overlay
from hutong.engines.sense.ports import AlertQuery, AlertStore, EntityStore, Form
from hutong.engines.sense.sight import Sight
from hutong.engines.sense.subscriptions import KIND, Kept, Subscriptions
from hutong.kernel.access import Access, Actor, Grade
from hutong.kernel.expressions import Column, ValueType
from hutong.kernel.outbox import ChannelState, OutboxStore
from hutong.kernel.relations import Relation

_OWN = {
    "id": Column(ValueType.TEXT),
    "observed_at": Column(ValueType.DATETIME),
    "modified_at": Column(ValueType.DATETIME),
    "city": Column(ValueType.TEXT),
    "place": Column(ValueType.TEXT),
    "source": Column(ValueType.TEXT),
    "lon": Column(ValueType.NUMBER, "DD"),
    "lat": Column(ValueType.NUMBER, "DD"),
}
_PLACED = ("place", "lon", "lat")
_ALERT = {
    "id": Column(ValueType.TEXT),
    "rule": Column(ValueType.TEXT),
    "entity": Column(ValueType.TEXT),
    "type": Column(ValueType.TEXT),
    "place": Column(ValueType.TEXT),
    "severity": Column(ValueType.TEXT),
    "state": Column(ValueType.TEXT),
    "pending_since": Column(ValueType.DATETIME),
    "firing_since": Column(ValueType.DATETIME),
    "resolved_at": Column(ValueType.DATETIME),
    "acknowledged_at": Column(ValueType.DATETIME),
}
_SUBSCRIPTION = {
    "id": Column(ValueType.TEXT),
    "tenant": Column(ValueType.TEXT),
    "owner": Column(ValueType.TEXT),
    "state": Column(ValueType.TEXT),
    "created_at": Column(ValueType.DATETIME),
    "modified_at": Column(ValueType.DATETIME),
    "times_sent": Column(ValueType.INTEGER),
    "times_failed": Column(ValueType.INTEGER),
    "last_sent_at": Column(ValueType.DATETIME),
    "last_failed_at": Column(ValueType.DATETIME),
    "last_error": Column(ValueType.TEXT),
}
_PAGE = 1_000


def relations(
    overlays: Mapping[str, Overlay], entities: EntityStore, alerts: AlertStore, access: Access, sight: Sight
) -> Iterator[Relation]:
    """Every relation of the engine. A property that the actor may not see is missing, not absent."""
    for overlay in overlays.values():
        yield _things(overlay, entities, access)

    def raised(actor: Actor, columns: Sequence[str], limit: int) -> pl.DataFrame:
        rows: list[dict[str, object]] = []
        offset, found = 0, _PAGE
        query = sight.narrow_alerts(actor, AlertQuery(states=(), limit=_PAGE))
        while len(rows) < limit and found == _PAGE:
            page = alerts.find(msgspec.structs.replace(query, offset=offset))
            rows += [{name: getattr(one, name) for name in columns} for one in sight.alerts(actor, page, "relation")]
            offset, found = offset + _PAGE, len(page)
        return pl.DataFrame(rows[:limit], schema={name: _polars(_ALERT[name]) for name in columns})

    yield Relation(name="sense.alert", schema=_ALERT, rows=raised)


def subscribed(subscriptions: Subscriptions, outbox: OutboxStore, access: Access) -> Relation:
    """`sense.subscription`: who subscribes and how telling them fares, for those who may subscribe."""

    def rows(actor: Actor, columns: Sequence[str], limit: int) -> pl.DataFrame:
        may = access.would_allow(actor, "sense.subscribe")
        found = [one for one in subscriptions.all() if may and (not actor.tenants or one.tenant in actor.tenants)][
            :limit
        ]
        states = outbox.states([one.channel for one in found])
        told = [_told(one, states.get(one.channel) or ChannelState(id=one.channel, kind=KIND)) for one in found]
        schema = {name: _polars(_SUBSCRIPTION[name]) for name in columns}
        return pl.DataFrame([{name: one[name] for name in columns} for one in told], schema=schema)

    return Relation(name="sense.subscription", schema=_SUBSCRIPTION, rows=rows)


def _told(kept: Kept, state: ChannelState) -> dict[str, object]:
    return {
        "id": kept.subscription.id,
        "tenant": kept.tenant,
        "owner": kept.owner.id if kept.owner is not None else "",
        "state": state.state if kept.subscription.active else "paused",
        "created_at": kept.created_at,
        "modified_at": kept.modified_at,
        **{name: getattr(state, name) for name in ("times_sent", "times_failed", "last_sent_at", "last_failed_at")},
        "last_error": state.last_error,
    }


def _things(overlay: Overlay, entities: EntityStore, access: Access) -> Relation:
    declared = {
        name: Column(VALUE_TYPES[one.type], one.unit)
        for name, one in overlay.declaration.property.items()
        if one.type in VALUE_TYPES
    }
    schema = {**declared, **_OWN}  # a property of such a name gives way to the thing's own

    def rows(actor: Actor, columns: Sequence[str], limit: int) -> pl.DataFrame:
        found = entities.table(
            overlay.name, columns, {name: _form(column) for name, column in declared.items() if name not in _OWN}, limit
        )
        frame = pl.DataFrame(
            found, schema={name: _polars(schema[name]) for name in columns}, orient="row", strict=False
        )
        hidden = [name for name in columns if not access.visible(actor, _grade(overlay, name), type=overlay.name)]
        return frame.with_columns(pl.lit(None).cast(frame.schema[name]).alias(name) for name in hidden)

    return Relation(name=f"sense.{overlay.name}", schema=schema, rows=rows)


def _grade(overlay: Overlay, name: str) -> Grade:
    if name in _PLACED and "location" in overlay.checks:
        return overlay.checks["location"].grade
    if name in _OWN:
        return overlay.least
    return overlay.checks[name].grade


def _form(column: Column) -> Form:
    if column.type in (ValueType.INTEGER, ValueType.NUMBER):
        return "number"
    return "boolean" if column.type is ValueType.BOOLEAN else "text"


def _polars(column: Column) -> type[pl.DataType]:
    return pl.Int64 if column.type is ValueType.DATETIME else FRAME_TYPES[column.type]
