"""Alerts for machines: list them, say that somebody looks after one, keep one quiet."""

from typing import Annotated, Any, Protocol

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from hutong.api.app import actor_of
from hutong.engines.sense.ports import Alert, AlertQuery, AlertState
from hutong.kernel.access import Actor
from hutong.kernel.clock import instant, iso
from hutong.kernel.errors import InvalidInput

PATH = "/api/v1/alerts"
LIMIT_MAX = 1_000
OFFSET_MAX = 10_000_000
NOTE_LENGTH_MAX = 2_000


class AlertVerbs(Protocol):
    """The verbs of the sense engine that these routes call."""

    async def alerts(self, actor: Actor, query: AlertQuery) -> list[Alert]: ...

    async def count_alerts(self, actor: Actor, query: AlertQuery) -> int: ...

    async def acknowledge(self, actor: Actor, alert: str, note: str = "") -> Alert: ...

    async def silence(self, actor: Actor, alert: str, until: int, note: str = "") -> Alert: ...


class AlertView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An alert as it is told; instants are ISO 8601 in UTC, `reason` is the rule and the values that it saw."""

    id: str
    rule: str
    entity: str
    type: str
    severity: str
    state: str
    place: str = ""
    pending_since: str
    firing_since: str | None = None
    resolved_at: str | None = None
    acknowledged_by: str = ""
    acknowledged_at: str | None = None
    silenced_until: str | None = None
    note: str = ""
    reason: dict[str, Any] = {}
    caused_by: str = ""


class Alerts(msgspec.Struct):
    """A page of alerts, newest first, and how many there are in all."""

    count: int
    alerts: list[AlertView]


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody says of an alert."""

    note: str = ""
    until: str = ""


class AlertRoutes:
    """The routes over one engine."""

    def __init__(self, engine: AlertVerbs) -> None:
        self._engine = engine

    def __deepcopy__(self, memo: object) -> "AlertRoutes":
        return self  # Litestar copies routes when it registers them; the engine behind them is one

    def router(self) -> Router:
        """The routes under /api/v1/alerts."""
        routes = [
            get("/", operation_id="list_alerts")(self.listed),
            post("/{alert:str}/acknowledge", status_code=200, operation_id="acknowledge_alert")(self.acknowledge),
            post("/{alert:str}/silence", status_code=200, operation_id="silence_alert")(self.silence),
        ]
        return Router(PATH, route_handlers=routes, tags=["Alerts"])

    async def listed(
        self,
        request: Request[Any, Any, Any],
        states: Annotated[
            list[AlertState] | None, QueryParameter(name="state", description="firing when absent")
        ] = None,
        entity: FromQuery[str] = "",
        rule: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = 100,
        offset: Annotated[int, QueryParameter(ge=0, le=OFFSET_MAX)] = 0,
    ) -> Alerts:
        """Alerts of things that the actor may see, newest first."""
        wanted = tuple(states or (AlertState.FIRING,))
        query = AlertQuery(states=wanted, entity=entity, rule=rule, limit=limit, offset=offset)
        actor = actor_of(request)
        found = await self._engine.alerts(actor, query)
        return Alerts(await self._engine.count_alerts(actor, query), [_view(alert) for alert in found])

    async def acknowledge(
        self, request: Request[Any, Any, Any], alert: FromPath[str], data: JSONBody[Answer]
    ) -> AlertView:
        """Say that somebody looks after it."""
        return _view(await self._engine.acknowledge(actor_of(request), alert, _note(data)))

    async def silence(self, request: Request[Any, Any, Any], alert: FromPath[str], data: JSONBody[Answer]) -> AlertView:
        """Keep it out of lists and messages until an instant; an empty `until` ends that."""
        until = instant(data.until, "until") if data.until else 0
        return _view(await self._engine.silence(actor_of(request), alert, until, _note(data)))


def _note(answer: Answer) -> str:
    if len(answer.note) > NOTE_LENGTH_MAX:
        raise InvalidInput(
            "the note is too long",
            where="note",
            seen=str(len(answer.note)),
            allowed=f"{NOTE_LENGTH_MAX} characters",
            fix="shorten it",
        )
    return answer.note


def _view(alert: Alert) -> AlertView:
    return AlertView(
        id=alert.id,
        rule=alert.rule,
        entity=alert.entity,
        type=alert.type,
        severity=alert.severity,
        state=alert.state,
        place=alert.place,
        pending_since=iso(alert.pending_since),
        firing_since=_told(alert.firing_since),
        resolved_at=_told(alert.resolved_at),
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=_told(alert.acknowledged_at),
        silenced_until=_told(alert.silenced_until),
        note=alert.note,
        reason=msgspec.json.decode(alert.reason) if alert.reason else {},
        caused_by=alert.caused_by,
    )


def _told(at: int | None) -> str | None:
    return None if at is None else iso(at)
