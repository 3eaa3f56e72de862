"""Alert rules in time: inactive, pending, firing, resolved, as in Prometheus, kept with the entity they concern."""

from collections.abc import Callable, Sequence

import msgspec

from hutong.engines.sense.overlay import Rule
from hutong.engines.sense.ports import Alert, AlertState, EntityRow
from hutong.kernel.clock import HOUR
from hutong.kernel.ids import Ids

LIVE_LAG_MAX = HOUR
"""An entity is live when its news came no later than this; only then does the wall clock count for its rules."""


class RuleState(msgspec.Struct, array_like=True):
    """Where a rule stands at an entity, as `EntityRow.rules` holds it."""

    state: str
    since: int
    alert: str


_STATES = msgspec.json.Decoder(dict[str, RuleState])
_ENCODER = msgspec.json.Encoder()


def states_of(row: EntityRow) -> dict[str, RuleState]:
    return _STATES.decode(row.rules) if row.rules else {}


def keep(row: EntityRow, states: dict[str, RuleState]) -> None:
    row.rules = _ENCODER.encode(states).decode() if states else ""


class Watch:
    """Moves alerts. Collects those that moved, by id, until they are taken."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.moved: dict[str, Alert] = {}

    def observe(
        self,
        row: EntityRow,
        rule: Rule,
        holds: bool | None,
        cleared: bool | None,
        at: int,
        load: Callable[[str], Alert],
        why: Callable[[], str],
    ) -> None:
        """One observation. `holds` None means that the condition is missing: nothing moves then."""
        states = states_of(row)
        now = states.get(rule.name)
        if now is None:
            if holds:
                self._begin(row, rule, states, at, why())
            keep(row, states)
            return
        if now.state == AlertState.PENDING and holds is not None:
            if at - now.since >= rule.hold:  # what was seen last held until now, as it does by the clock
                now.state = AlertState.FIRING
                self._move(load(now.alert), AlertState.FIRING, now.since + rule.hold, why() if holds else "")
            elif not holds:
                self._move(load(now.alert), AlertState.LAPSED, at)
                del states[rule.name]
        if now.state == AlertState.FIRING and ((holds is False) if rule.clear is None else bool(cleared)):
            self._move(load(now.alert), AlertState.RESOLVED, at)
            del states[rule.name]
        keep(row, states)

    def ripen(self, row: EntityRow, alert: Alert, at: int) -> None:
        """A pending alert whose time has come by the clock alone."""
        states = states_of(row)
        if (now := states.get(alert.rule)) is not None and now.alert == alert.id:
            now.state = AlertState.FIRING
            self._move(alert, AlertState.FIRING, at)
            keep(row, states)

    def go_silent(self, row: EntityRow, rule: Rule, at: int, why: str) -> None:
        """A silence rule applies: no observation for too long."""
        states = states_of(row)
        if rule.name not in states:
            self._begin(row, rule, states, at, why)
            keep(row, states)

    def end(self, row: EntityRow, at: int, load: Callable[[str], Alert], only: Sequence[str] | None = None) -> None:
        """Resolve the entity's alerts: all, when it is deleted; or those of the rules named."""
        states = states_of(row)
        for name in [key for key in states if only is None or key in only]:
            now = states.pop(name)
            self._move(
                load(now.alert), AlertState.RESOLVED if now.state == AlertState.FIRING else AlertState.LAPSED, at
            )
        keep(row, states)

    def take(self) -> list[Alert]:
        moved, self.moved = list(self.moved.values()), {}
        return moved

    def _begin(self, row: EntityRow, rule: Rule, states: dict[str, RuleState], at: int, why: str) -> None:
        state = AlertState.PENDING if rule.hold else AlertState.FIRING
        alert = Alert(
            id=self._ids.new(),
            tenant=row.tenant,
            city=row.city,
            place=row.place,
            rule=rule.name,
            entity=row.id,
            type=row.type,
            severity=rule.declaration.severity,
            state=state,
            pending_since=at,
            firing_since=None if rule.hold else at,
            at=at,
            live=int(is_live(row, rule.lag)),
            reason=why,
        )
        states[rule.name] = RuleState(state, at, alert.id)
        self.moved[alert.id] = alert

    def _move(self, alert: Alert, state: AlertState, at: int, why: str = "") -> None:
        alert.state, alert.at = state, max(at, alert.at)
        if state is AlertState.FIRING:
            alert.firing_since = at
        elif state is AlertState.RESOLVED:
            alert.resolved_at = at
        alert.reason = why or alert.reason
        self.moved[alert.id] = alert


def is_live(row: EntityRow, lag: int = 0) -> bool:
    """Whether the entity's last observation came as it happened (`lag` after that, by its nature), not as history."""
    return row.observed_at is None or row.modified_at - row.observed_at - lag <= LIVE_LAG_MAX
