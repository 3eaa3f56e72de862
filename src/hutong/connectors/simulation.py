"""What a demonstration makes up, brought to the engine: its past at first start, then readings as time goes on."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import tzinfo
from typing import Any, Final, TypeAlias

import numpy as np

from hutong.connectors.ground import Ground
from hutong.connectors.plans import Plan
from hutong.connectors.things import Integers, Readings, Things
from hutong.engines.sense.ports import Attribute, Change, ChangeEntities, Kind, Mark, Verb
from hutong.kernel.calendar import Calendar
from hutong.kernel.clock import HOUR, Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError

ACTOR: Final = "connector:simulation"
TICK_EVERY_S: Final = 1.0
CHANGES_PER_COMMAND: Final = 2_000
COMMANDS_IN_FLIGHT: Final = 4
SAMPLE: Final = 50  # things asked for what was stored last

log = logging.getLogger(__name__)

Submit: TypeAlias = Callable[[Request], "Future[Any]"]
Latest: TypeAlias = Callable[[str], int | None]
"""When the thing of an id was last observed; None when there is no such thing."""


class Simulation:
    """Brings one simulation to the engine. `tick` submits all that is due."""

    def __init__(self, plan: Plan, things: Things, submit: Submit, clock: Clock, latest: Latest) -> None:
        self._plan, self._things, self._submit, self._clock, self._latest = plan, things, submit, clock, latest
        self._upto: int | None = None
        self._silent_upto: Integers | None = None
        self._cached: tuple[int, Readings] | None = None

    def tick(self) -> int:
        """Everything due by now, in order of time. Gives how many readings there were.

        Raises HutongError when it could not be written; the next tick goes on from there.
        """
        now = self._clock.now()
        if self._upto is None:
            self._begin(now)
        assert self._upto is not None
        sent: deque[tuple[int, Future[Any]]] = deque()
        count = 0
        for upto, changes in self._due(self._upto, now):
            count += len(changes)
            sent.append((upto, self._send(changes)))
            if len(sent) == COMMANDS_IN_FLIGHT:
                self._settle(*sent.popleft())
        while sent:
            self._settle(*sent.popleft())
        self._upto = now
        return count

    def _begin(self, now: int) -> None:
        """See what is stored, and set what is fixed."""
        known = [at for id_ in self._things.ids[:SAMPLE] if (at := self._latest(id_)) is not None]
        begin = now - self._plan.past
        if not known:  # what is silent now has told something once
            self._silent_upto = now - self._things.silence
        key = f"simulation:{self._plan.name}:{self._plan.digest}"
        for n in range(0, self._things.count, CHANGES_PER_COMMAND):
            some = range(n, min(n + CHANGES_PER_COMMAND, self._things.count))
            self._send([self._fixed(i, begin) for i in some], f"{key}:{n}").result()
        self._upto = max(begin, *known) - 1 if known else begin - 1

    def _fixed(self, thing: int, at: int) -> Change:
        attributes = {
            key: Attribute(value=values[thing], observed_at=at, unit=self._plan.entity.property[key].unit or None)
            for key, values in self._things.fixed.items()
        }
        spot = self._things.place(thing)
        if spot is not None and "location" in self._plan.entity.property:
            point = {"type": "Point", "coordinates": [spot.lon, spot.lat]}
            attributes["location"] = Attribute(kind=Kind.GEO.value, value=point, observed_at=at)
        return self._change(thing, attributes)

    def _due(self, after: int, upto: int) -> Iterator[tuple[int, list[Change]]]:
        """Changes in order of time, a command's worth at a time, with the instant of the last."""
        changes: list[Change] = []
        for hour in range((after + 1) // HOUR, upto // HOUR + 1):
            readings = self._hour(hour)
            begin, end = np.searchsorted(readings.at, [after, upto], side="right")
            silent = self._things.silent
            units = {key: self._plan.entity.property[key].unit or None for key in readings.values}
            whole = {key for key in units if self._plan.entity.property[key].type == "integer"}
            for n in range(int(begin), int(end)):
                thing, at = int(readings.thing[n]), int(readings.at[n])
                if silent[thing] and (self._silent_upto is None or at > self._silent_upto[thing]):
                    continue
                attributes = {}
                for key, values in readings.values.items():
                    if not math.isnan(value := float(values[n])):
                        value = int(value) if key in whole else value
                        attributes[key] = Attribute(value=value, observed_at=at, unit=units[key])
                changes.append(self._change(thing, attributes))
                if len(changes) == CHANGES_PER_COMMAND:
                    yield at, changes
                    changes = []
        if changes:
            yield upto, changes

    def _hour(self, hour: int) -> Readings:
        if self._cached is None or self._cached[0] != hour:
            self._cached = hour, self._things.hour(hour)
        return self._cached[1]

    def _change(self, thing: int, attributes: dict[str, Attribute]) -> Change:
        return Change(
            verb=Verb.APPEND,
            id=self._things.ids[thing],
            types=(self._plan.declaration.entity,),
            attributes=attributes,
            upsert=True,
        )

    def _send(self, changes: list[Change], key: str = "") -> "Future[Any]":
        command = ChangeEntities(changes=changes, source=self._plan.name, marks=int(Mark.SIMULATED))
        return self._submit(Request(command=command, actor=ACTOR, key=key))

    def _settle(self, upto: int, future: "Future[Any]") -> None:
        for outcome in future.result():
            if outcome.error is not None:
                raise outcome.error
        self._upto = upto - 1  # the last instant may go on in the next command


class Simulations:
    """All simulations of a city. `start` lets them run on a thread of their own; `tick` needs none."""

    def __init__(
        self,
        plans: Sequence[Plan],
        ground: Ground | None,
        zone: tzinfo,
        calendar: Calendar,
        submit: Submit,
        clock: Clock,
        latest: Latest,
    ) -> None:
        self._simulations = [
            Simulation(plan, Things(plan, ground, zone, calendar), submit, clock, latest) for plan in plans
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> int:
        """Everything that is due now. Gives how many readings there were."""
        return sum(simulation.tick() for simulation in self._simulations if not self._stop.is_set())

    def _run(self) -> None:
        while not self._stop.wait(TICK_EVERY_S):
            try:
                self.tick()
            except HutongError as error:
                log.warning("the simulation waits: %s", error)
