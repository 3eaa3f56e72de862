"""The sense engine inside the append transaction: a whole group of commands at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import polars as pl

from hutong.engines.sense import outcomes
from hutong.engines.sense.amend import Amendment, forget, take
from hutong.engines.sense.changes import Changer, Locate, Working
from hutong.engines.sense.history import HistoryWriter, PastStore
from hutong.engines.sense.observations import CHANGED, Block
from hutong.engines.sense.overlay import SUSPECT, Overlay, Rule
from hutong.engines.sense.ports import (
    Alert,
    AlertAction,
    AlertStore,
    Changed,
    ChangeEntities,
    EntityRow,
    EntityStore,
    Tick,
)
from hutong.engines.sense.subscriptions import Remind, Snapshot, Subscriptions
from hutong.engines.sense.watch import LIVE_LAG_MAX, Watch, states_of
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, NotFound
from hutong.kernel.expressions import AT
from hutong.kernel.ids import Ids
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction

ALERTED = "sense.alerted"
ACTOR = "system:sense"
TICK_MAX = 10_000

Emit = Callable[[Event], Position]
Published = Callable[[Iterable[tuple[str, str, str]], Sequence[Alert]], None]
"""Called after commit with (tenant, type, id) of the entities that changed and the alerts that moved."""


class Watched:
    """Rows of one overlay's frame: each is an entity after one change."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.entities: list[Working] = []
        self.blocks: list[Block] = []
        self.spans: list[range] = []  # where in its block each change stands
        self.at: list[int] = []
        self.snapshots: list[Snapshot | None] = []  # where somebody is to be told
        self.marks = 0  # all that any value seen carries
        self._rows: list[list[Any]] = []

    def add(
        self,
        entity: Working,
        block: Block,
        begin: int,
        before: Mapping[str, tuple[Any, int]],
        snapshot: Snapshot | None,
    ) -> None:
        doc, overlay, at = entity.doc, self.overlay, entity.row.observed_at
        assert doc is not None
        if at is None:
            at = block.head.recorded_at
        self.entities.append(entity)
        self.blocks.append(block)
        self.spans.append(range(begin, len(block)))
        self.at.append(at)
        self.snapshots.append(snapshot)
        row: list[Any] = []
        for key in overlay.columns:
            attribute = doc.get(key)
            if attribute is None:
                row.append(None)
            else:
                row.append(attribute.value)
                self.marks |= attribute.marks
        for key in overlay.previous:
            value, then = before.get(key, (None, 0))
            now = doc[key].observed_at or at if key in doc else 0
            row += (value, (now - then) / 1e6 if value is not None and now > then else None)
        self._rows.append(row)

    def frame(self) -> pl.DataFrame:
        """Everything that the overlay computes over the rows."""
        names = [*self.overlay.columns]
        for key in self.overlay.previous:
            names += (f"{key}__previous", f"{key}__elapsed_s")
        rows: dict[str, Sequence[Any]] = dict(zip(names, zip(*self._rows, strict=True), strict=True))
        for key in self.overlay.times:
            rows[key] = self.at if key == AT else [block.head.recorded_at for block in self.blocks]
        return self.overlay.frame(rows)


class SenseHandler:
    """Implements the kernel's Handler for the commands of the sense engine."""

    def __init__(
        self,
        overlays: Mapping[str, Overlay],
        entities: EntityStore,
        alerts: AlertStore,
        history: HistoryWriter,
        clock: Clock,
        ids: Ids,
        *,
        city: str,
        undeclared: bool,
        locate: Locate,
        published: Published,
        subscriptions: Subscriptions,
        past: PastStore,
        keep_history: bool = True,
    ) -> None:
        self.changer = Changer(overlays, undeclared, city, locate)
        self._overlays, self._entities, self._alerts, self._history = overlays, entities, alerts, history
        self._clock, self._city, self._published, self._subscriptions = clock, city, published, subscriptions
        self._past, self._keep_history = past, keep_history
        self._watch = Watch(ids)
        self._group = _Group()
        self._heard: dict[str, int] = {}  # the latest observation of each source since the start

    def weight(self, command: Any) -> int:
        return max(1, len(command.changes)) if isinstance(command, ChangeEntities) else 1

    def encode(self, outcome: Any) -> bytes:
        return outcomes.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        return outcomes.decode(outcome)

    def handle(self, tx: Transaction, requests: Sequence[Request], emit: Emit) -> Sequence[Any | HutongError]:
        self._group = group = _Group(now=self._clock.now())
        self._load(tx, requests)
        answers: list[Any] = []
        for request in requests:
            command = request.command
            if isinstance(command, ChangeEntities):
                answers.append(self._change(tx, request, command))
            elif isinstance(command, Tick):
                answers.append(self._tick(tx))
            elif isinstance(command, Remind):
                answers.append(self._subscriptions.remind(tx, command, group.now))
            else:
                answers.append(self._act(tx, request, command))
        self._compute(tx)
        self._drop_repeats()
        self._history.room(sum(len(block) for block in group.blocks.values()))
        for key, block in group.blocks.items():
            if len(block):
                actor, _, _, caused_by = key
                group.written.append(
                    (
                        block,
                        emit(
                            Event(
                                kind=CHANGED,
                                payload=block.encode(),
                                at=group.now,
                                actor=actor,
                                city=self._city,
                                scope=self._city,
                                caused_by=caused_by,
                            )
                        ),
                    )
                )
        self._emit_alerts(emit)
        self._subscriptions.tell(tx, group.snapshots, group.now)
        self._save(tx)
        for block in group.blocks.values():
            if block.past:
                self._past.apply(tx, block.past)
                if not self._keep_history:
                    group.forgotten += forget(tx, block, self._past, self._history, emit, ACTOR, self._city)
        return answers

    def committed(self) -> None:
        group, self._group = self._group, _Group()
        for block, position in group.written:
            frame = block.history(position)
            if frame.height:
                self._history.append(frame)
                source, latest = block.head.source, frame["at"].max()
                self._heard[source] = max(self._heard.get(source, 0), cast("int", latest))
        for amendment, position in group.forgotten:
            take(self._history, amendment, position)
        if group.alerts or any(map(len, group.blocks.values())):
            self._published(group.changed(), group.alerts)

    def rolled_back(self) -> None:
        self._group = _Group()
        self._watch.take()

    # --- commands ---

    def _load(self, tx: Transaction, requests: Sequence[Request]) -> None:
        wanted: dict[str, set[str]] = {}
        for request in requests:
            if isinstance(request.command, ChangeEntities):
                wanted.setdefault(request.command.tenant, set()).update([one.id for one in request.command.changes])
        overlays = self._overlays
        for tenant, ids in wanted.items():
            self._group.entities[tenant] = {
                id_: Working.of(row, overlays.get(row.type))
                for id_, row in self._entities.load(tx, tenant, list(ids)).items()
            }

    def _change(self, tx: Transaction, request: Request, command: ChangeEntities) -> list[Changed]:
        group, apply, done = self._group, self.changer.apply, []
        key = (request.actor, command.source, command.tenant, request.caused_by)
        block = group.blocks.get(key)
        if block is None:
            block = group.blocks[key] = Block(command.tenant, command.source, group.now)
        entities = group.entities[command.tenant]
        subscribed = self._subscriptions.of(command.tenant)
        for change in command.changes:
            entity = entities.get(change.id)
            if entity is None:
                entity = entities[change.id] = self.changer.blank(command.tenant, change.id)
            before = _past(entity)
            if change.verb == "delete" and entity.row.rules:
                self._watch.end(entity.row, group.now, lambda id_: self._alert(tx, id_))
            begin = len(block)
            held = subscribed.hold(entity) if subscribed is not None else None
            outcome = apply(change, entity, block, command.marks)
            done.append(outcome)
            snapshot = subscribed.snapshot(entity, held, outcome) if subscribed is not None else None
            if snapshot is not None:
                group.snapshots.append(snapshot)
            overlay = entity.overlay
            if overlay is not None and overlay.computes and outcome.changed and entity.doc is not None:
                watched = group.watched.get(overlay.name)
                if watched is None:
                    watched = group.watched[overlay.name] = Watched(overlay)
                watched.add(entity, block, begin, before, snapshot)
        return done

    def _tick(self, tx: Transaction) -> int:
        """Rules that wait for time alone: `for` that has run out, things that fell silent."""
        group, moved = self._group, 0
        rules = {rule.name: rule for overlay in self._overlays.values() for rule in overlay.rules}
        for alert in self._alerts.due(tx, TICK_MAX):
            rule = rules.get(alert.rule)
            if rule is not None and group.now - alert.pending_since >= rule.hold and alert.id not in self._watch.moved:
                self._watch.ripen(self._row(tx, alert), self._known(alert), group.now)
                moved += 1
        for overlay in self._overlays.values():
            for rule in overlay.rules:
                if rule.silent_for:
                    moved += self._silence(tx, overlay, rule)
        return moved

    def _silence(self, tx: Transaction, overlay: Overlay, rule: Rule) -> int:
        moved, now = 0, self._group.now
        sources = [source for source, at in self._heard.items() if now - at <= LIVE_LAG_MAX]
        for row in self._entities.silent(overlay.name, now - rule.silent_for, rule.name, sources, TICK_MAX):
            entity = self._adopt(tx, row.tenant, row.id)
            if rule.name not in states_of(entity.row):
                self._watch.go_silent(entity.row, rule, self._group.now, overlay.why(rule, {}))
                moved += 1
        return moved

    def _act(self, tx: Transaction, request: Request, command: AlertAction) -> Alert | HutongError:
        alert = self._find_alert(tx, command.alert)
        if alert is None:
            return NotFound("there is no such alert", where="alert", seen=command.alert)
        if command.acknowledge and not alert.acknowledged_by:
            alert.acknowledged_by, alert.acknowledged_at = request.actor, self._group.now
        if command.silence_until is not None:
            alert.silenced_until = command.silence_until or None
        if command.note:
            alert.note = f"{alert.note}\n{command.note}".strip()
        alert.caused_by = request.actor
        self._watch.moved[alert.id] = alert
        return alert

    # --- what follows from the changes ---

    def _compute(self, tx: Transaction) -> None:
        self._know_alerts(tx)
        for watched in self._group.watched.values():
            overlay = watched.overlay
            frame = watched.frame()
            outside = {key: _truths(frame[f"suspect {key}"]) for key in overlay.ranges}
            for key in overlay.ranges:
                if key not in overlay.derived:
                    self._suspect(watched, key, outside[key])
            for key in overlay.derivations:
                self._derive(watched, key, frame[key].to_list(), outside)
            for rule in overlay.rules:
                if rule.when is not None:
                    self._observe(tx, watched, rule, frame)
                elif rule.silent_for:
                    self._end_silence(tx, watched, rule)

    def _derive(self, watched: Watched, key: str, values: Sequence[Any], outside: Mapping[str, Sequence[bool]]) -> None:
        """Set a derived value in each row. It is suspect outside its range, and when a value that it comes from is."""
        derive, overlay = self.changer.derive, watched.overlay
        doubts = [truths for name in (key, *overlay.doubts[key]) if (truths := outside.get(name))]
        suspects = [any(row) for row in zip(*doubts, strict=True)] if doubts else [False] * len(values)
        for entity, block, at, snapshot, value, suspect in zip(
            watched.entities, watched.blocks, watched.at, watched.snapshots, values, suspects, strict=True
        ):
            if entity.overlay is overlay and entity.doc is not None:
                old = entity.doc.get(key)
                derive(entity, block, key, value, at, suspect)
                if snapshot is not None:
                    snapshot.follow(key, old, entity.doc.get(key))

    def _suspect(self, watched: Watched, key: str, outside: Sequence[bool]) -> None:
        """Mark values outside their range, in state and in the rows that history gets, and take marks away."""
        if not outside:
            if not watched.marks & SUSPECT:
                return
            outside = [False] * len(watched.entities)
        told: set[str] = set()
        for entity, block, span, snapshot, is_outside in zip(
            watched.entities, watched.blocks, watched.spans, watched.snapshots, outside, strict=True
        ):
            if snapshot is not None and is_outside:
                snapshot.doubt(key)
            attribute = entity.doc.get(key) if entity.doc is not None else None
            if attribute is None or entity.overlay is not watched.overlay:
                continue
            in_row = is_outside and block.doubt(span, key, True)
            if bool(attribute.marks & SUSPECT) != is_outside:
                attribute.marks ^= SUSPECT
                if not in_row or entity.row.id in told:
                    told.add(entity.row.id)
                    self.changer.tell_marks(entity, block, key, attribute.marks)

    def _observe(self, tx: Transaction, watched: Watched, rule: Rule, frame: pl.DataFrame) -> None:
        holds = frame[f"when {rule.name}"].to_list()
        clears = frame[f"clear {rule.name}"].to_list() if rule.clear is not None else [None] * frame.height
        for i, (entity, hold) in enumerate(zip(watched.entities, holds, strict=True)):
            if (hold or entity.row.rules) and entity.doc is not None and (hold or rule.name in entity.row.rules):
                before = entity.row.rules
                self._watch.observe(
                    entity.row,
                    rule,
                    hold,
                    clears[i],
                    watched.at[i],
                    partial(self._alert, tx),
                    partial(_why, watched.overlay, rule, frame, i),
                )
                entity.dirty = entity.dirty or entity.row.rules != before

    def _end_silence(self, tx: Transaction, watched: Watched, rule: Rule) -> None:
        for entity, at in zip(watched.entities, watched.at, strict=True):
            if entity.row.rules and rule.name in entity.row.rules:
                self._watch.end(entity.row, at, lambda id_: self._alert(tx, id_), only=(rule.name,))
                entity.dirty = True

    def _drop_repeats(self) -> None:
        """Late observations that history holds already are no news."""
        for block in self._group.blocks.values():
            if positions := block.late():
                repeated = self._history.repeated(block.history(Position("", 0), late_only=True)).to_list()
                block.drop({i for i, again in zip(positions, repeated, strict=True) if again})

    def _emit_alerts(self, emit: Emit) -> None:
        group = self._group
        group.alerts = self._watch.take()
        if group.alerts:
            cause = str(group.written[0][1]) if group.written else ""
            for alert in group.alerts:
                alert.caused_by = alert.caused_by or cause
            emit(
                Event(
                    kind=ALERTED,
                    payload=msgspec.msgpack.encode(group.alerts),
                    at=group.now,
                    actor=ACTOR,
                    city=self._city,
                    scope=self._city,
                    caused_by=cause,
                )
            )

    def _save(self, tx: Transaction) -> None:
        group = self._group
        new: list[EntityRow] = []
        known: list[EntityRow] = []
        settled: list[EntityRow] = []
        gone: dict[str, list[str]] = {}
        for entity in group.dirty():
            if entity.doc is None:
                if entity.stored:
                    gone.setdefault(entity.row.tenant, []).append(entity.row.id)
            elif entity.settled:
                settled.append(entity.finish())
            elif entity.stored:
                known.append(entity.finish())
            else:
                new.append(entity.finish())
        for tenant, ids in gone.items():
            self._entities.delete(tx, tenant, ids)
        if new or known or settled:
            self._entities.save(tx, new, known, settled)
        if group.alerts:
            self._alerts.save(tx, group.alerts)

    # --- alerts and entities of this group ---

    def _know_alerts(self, tx: Transaction) -> None:
        """Load the alerts of all entities at hand at once."""
        ids = [
            state.alert
            for watched in self._group.watched.values()
            for entity in watched.entities
            if entity.row.rules
            for state in states_of(entity.row).values()
        ]
        if ids:
            for id_, alert in self._alerts.load(tx, list(dict.fromkeys(ids))).items():
                self._group.known.setdefault(id_, alert)

    def _find_alert(self, tx: Transaction, id_: str) -> Alert | None:
        return self._watch.moved.get(id_) or self._group.known.get(id_) or self._alerts.load(tx, [id_]).get(id_)

    def _alert(self, tx: Transaction, id_: str) -> Alert:
        alert = self._find_alert(tx, id_)
        if alert is None:
            raise NotFound(
                "an entity names an alert that is not there", where="alert", seen=id_, fix="run `hutong verify`"
            )
        return self._known(alert)

    def _known(self, alert: Alert) -> Alert:
        return self._group.known.setdefault(alert.id, alert)

    def _row(self, tx: Transaction, alert: Alert) -> Any:
        return self._adopt(tx, alert.tenant, alert.entity).row

    def _adopt(self, tx: Transaction, tenant: str, id_: str) -> Working:
        """An entity that no change of the group names, taken in because its rules move."""
        entities = self._group.entities.setdefault(tenant, {})
        entity = entities.get(id_)
        if entity is None:
            row = self._entities.load(tx, tenant, [id_])[id_]
            entity = entities[id_] = Working.of(row, self._overlays.get(row.type))
        entity.dirty = True
        return entity


def _past(entity: Working) -> dict[str, tuple[Any, int]]:
    """Value and time, before a change, of what rules compare with."""
    overlay, doc = entity.overlay, entity.doc
    past: dict[str, tuple[Any, int]] = {}
    if overlay is not None and doc is not None:
        for key in overlay.previous:
            attribute = doc.get(key)
            if attribute is not None:
                past[key] = (attribute.value, attribute.observed_at or attribute.modified_at)
    return past


def _truths(column: pl.Series) -> list[bool]:
    """The column's values, missing ones as False; empty when none is true."""
    return [bool(value) for value in column.to_list()] if column.any() else []


def _why(overlay: Overlay, rule: Rule, frame: pl.DataFrame, i: int) -> str:
    return overlay.why(rule, frame.row(i, named=True))


class _Group:
    """What one transaction has in hand."""

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self.entities: dict[str, dict[str, Working]] = {}  # by tenant and id
        self.blocks: dict[tuple[str, str, str, str], Block] = {}
        self.watched: dict[str, Watched] = {}
        self.written: list[tuple[Block, Position]] = []
        self.forgotten: list[tuple[Amendment, Position]] = []
        self.alerts: list[Alert] = []
        self.known: dict[str, Alert] = {}
        self.snapshots: list[Snapshot] = []  # what subscriptions may be told of

    def dirty(self) -> Iterator[Working]:
        """Entities that changed."""
        return (one for entities in self.entities.values() for one in entities.values() if one.dirty)

    def changed(self) -> Iterator[tuple[str, str, str]]:
        """Tenant, type and id of the entities that changed."""
        return ((one.row.tenant, one.row.type, one.row.id) for one in self.dirty())
