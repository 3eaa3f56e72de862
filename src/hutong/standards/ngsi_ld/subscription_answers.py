"""Subscriptions as they are told to those who ask for them (clauses 5.2.12 to 5.2.15, 5.8.3)."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hutong.engines.sense.ports import AllOf, AnyOf, Compare, Exists, Filter, Range, Scalar
from hutong.engines.sense.subscriptions import KIND, Kept, Subscription
from hutong.kernel.errors import HutongError
from hutong.kernel.outbox import ChannelState
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.endpoints import without_secrets
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.q import SYSTEM_MEMBERS, read_q
from hutong.standards.ngsi_ld.subscriptions import DEFAULT_TRIGGERS
from hutong.standards.ngsi_ld.type_selection import map_type_selection

_NAMES = ("watchedAttributes", "expandValues", "jsonKeys")
_MEMBERS = ("attributes", "pick", "omit")


def write_subscription(
    kept: Kept, state: ChannelState | None, context: Context, *, now: int, own: bool, system: bool = False
) -> dict[str, Any]:
    """A Subscription as JSON-ready mapping. `own`: the reader is its owner and sees what is secret in it."""
    one, compact = kept.subscription, context.compact
    told: dict[str, Any] = {"id": one.id, "type": "Subscription"}
    told |= {name: member for name, member in one.wire.items() if not name.startswith("@")}
    if "@link" in one.wire:  # its @context came without an address, and was kept under one
        told.setdefault("jsonldContext", one.wire["@link"])
    if "entities" in told:
        told["entities"] = [
            {**selector, "type": map_type_selection(selector["type"], compact)} for selector in told["entities"]
        ]
    for name in _NAMES:
        if name in told:
            told[name] = [compact(attribute) for attribute in told[name]]
    if one.where is not None:
        told["q"] = _write_condition(one, context)
    if "geoQ" in told and "geoproperty" in told["geoQ"]:
        told["geoQ"] = {**told["geoQ"], "geoproperty": compact(told["geoQ"]["geoproperty"])}
    if kept.kind == KIND:
        told["notificationTrigger"] = told.get("notificationTrigger", list(DEFAULT_TRIGGERS))
    told["notification"] = _write_notification(told["notification"], state, compact, own)
    told["status"] = status_of(one, now)
    if system:
        told["createdAt"], told["modifiedAt"] = write_instant(kept.created_at), write_instant(kept.modified_at)
    return told


def status_of(subscription: Subscription, now: int) -> str:
    """active, paused or expired."""
    if subscription.expires_at is not None and subscription.expires_at <= now:
        return "expired"
    return "active" if subscription.active else "paused"


def _write_notification(
    wire: Mapping[str, Any], state: ChannelState | None, compact: Callable[[str], str], own: bool
) -> dict[str, Any]:
    told = dict(wire)
    for name in _MEMBERS:
        if name in told:
            told[name] = [compact(member) for member in told[name]]
    if not own:
        told["endpoint"] = without_secrets(told["endpoint"])
    if state is None or not (state.times_sent or state.times_failed):
        return told
    sent, failed = state.last_sent_at, state.last_failed_at
    told["status"] = "failed" if (failed or 0) > (sent or 0) else "ok"
    told["timesSent"] = state.times_sent + state.times_failed
    if state.times_failed:
        told["timesFailed"] = state.times_failed
    told["lastNotification"] = write_instant(max(sent or 0, failed or 0))
    for name, at in (("lastSuccess", sent), ("lastFailure", failed)):
        if at is not None:
            told[name] = write_instant(at)
    return told


# --- q, in the names of another @context ----------------------------------------------------------------------


def _write_condition(one: Subscription, context: Context) -> str:
    """The query as it was written, where that means the same under this @context; in its own words otherwise."""
    assert one.where is not None
    text: str = one.wire["q"]
    try:
        same = read_q(text, context, one.wire.get("expandValues", ())) == one.where
    except HutongError:  # a name that this @context cannot read
        same = False
    return text if same else write_q(one.where, context)


def write_q(where: Filter, context: Context, *, inner: bool = False) -> str:
    """A Filter in the query language, names compacted."""
    if isinstance(where, AllOf):
        return ";".join(write_q(part, context, inner=True) for part in where.parts)
    if isinstance(where, AnyOf):
        text = "|".join(write_q(part, context) for part in where.parts)
        return f"({text})" if inner else text
    place = ".".join(map(context.compact, where.path)) + (f"[{'.'.join(where.trail)}]" if where.trail else "")
    if isinstance(where, Exists):
        return f"!{place}" if where.negated else place
    return f"{place}{where.op}{','.join(_write_value(value, where) for value in where.values)}"


def _write_value(value: Scalar | Range, where: Compare) -> str:
    if isinstance(value, Range):
        return f"{_write_value(value.low, where)}..{_write_value(value.high, where)}"
    if isinstance(value, str) and where.path[-1] in SYSTEM_MEMBERS:
        return value
    return msgspec.json.encode(value).decode()
