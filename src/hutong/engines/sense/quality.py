"""How good the data of a type are: fresh, complete, valid; by property and by source, with a history of its own."""

import threading
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hutong.engines.sense.bulk import BulkHistory, CountQuery
from hutong.engines.sense.declarations import EntityDeclaration, QualityDeclaration
from hutong.engines.sense.observations import COMPUTED_SOURCES
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import EntityQuery, EntityStore, Mark
from hutong.engines.sense.publishing import ACTOR, Documents, Made, Place, changes, send
from hutong.engines.sense.standing import StandingStore
from hutong.kernel.clock import HOUR, MINUTE, Clock, duration, instant, iso
from hutong.kernel.commands import Request
from hutong.kernel.housekeeping import Within
from hutong.kernel.writer import Writer

TYPE: Final = "DataQualityAssessment"
"""The built-in type, named after the one of Smart Data Models (dataModel.DataQuality)."""
JOB: Final = "quality"
EVERY_MIN, EVERY_MAX = 5 * MINUTE, HOUR
SOURCES_MAX: Final = 1_000
"""Sources of one type that are remembered; of more, those heard last."""
ASSESSMENT: Final = msgspec.convert(
    {
        "grade": "open",
        "headline": ["completeness", "validity", "freshness"],
        "property": {
            "name": {"type": "text"},
            "ofType": {"type": "text"},
            "ofProperty": {"type": "text"},
            "ofSource": {"type": "text"},
            "freshness": {"type": "number", "unit": "SEC", "min": 0},
            "completeness": {"type": "number", "unit": "C62", "min": 0, "max": 1},
            "validity": {"type": "number", "unit": "C62", "min": 0, "max": 1},
            "received": {"type": "integer", "min": 0},
            "expected": {"type": "integer", "min": 0},
            "silentThings": {"type": "integer", "min": 0},
            "lastObserved": {"type": "datetime"},
        },
    },
    EntityDeclaration,
)
"""What such an entity says. `freshness`: seconds since the newest observation; `completeness`: received of expected
observations within the window; `validity`: share of those received that are neither suspect nor out of range."""


class Heard(msgspec.Struct):
    """What was last heard from a source: how many series it tells, how many things, and when."""

    series: int
    things: int
    last: int


class Quality:
    """Assesses every type that declares its quality, at fixed instants, so that a repeat changes nothing."""

    def __init__(
        self,
        overlays: Mapping[str, Overlay],
        history: BulkHistory,
        entities: EntityStore,
        standing: StandingStore,
        writer: Writer,
        clock: Clock,
    ) -> None:
        self._overlays, self._history, self._entities = overlays, history, entities
        self._standing, self._writer, self._clock = standing, writer, clock
        self._done: dict[str, int] = {}
        self._declared = {
            name: declared for name, one in overlays.items() if (declared := one.declaration.quality) is not None
        }
        self._stop = threading.Event()

    def close(self) -> None:
        """Stop after the type at hand."""
        self._stop.set()

    def forget(self) -> None:
        """Assess all anew the next time."""
        self._done.clear()

    def pulse(self) -> int:
        """Assess what is due; gives how many changes were sent."""
        sent, now = 0, self._clock.now()
        for name, declared in self._declared.items():
            every = min(max(duration(declared.expected_every), EVERY_MIN), EVERY_MAX)
            at = now - now % every
            if self._done.get(name) != at and not self._stop.is_set():
                sent += self._assess(name, declared, at)
                self._done[name] = at
        return sent

    def _assess(self, name: str, declared: QualityDeclaration, at: int) -> int:
        overlay = self._overlays[name]
        slot, window = duration(declared.expected_every), duration(declared.window)
        keys = tuple(declared.properties) or watched(overlay)
        counted = self._history.count(
            CountQuery(
                type=name, attributes=keys, low=at - window, high=at + 1, slot=slot, ranges=ranges(overlay, keys)
            )
        )
        slots = max(1, window // slot)
        made: dict[Place, Made] = {}
        rows = {row["attribute"]: row for row in counted.iter_rows(named=True) if row["attribute"] is not None}
        for key in keys:
            things = self._entities.count(EntityQuery(types=((name,),), attributes=(key,)))
            row = rows.get(key)
            last = row["last"] if row else self._last(f"{name}:{key}")
            if not things and last is None:
                continue  # there is nothing yet whose quality could be told
            made[f"urn:ngsi-ld:{TYPE}:{name}:{key}", at] = Made(
                {"name": f"{name} · {key}", "ofType": name, "ofProperty": key}
                | _measures(row, things, things * slots, last, at)
            )
        made |= self._sources(name, counted, slots, at)
        return send(
            self._ask,
            changes(TYPE, made, {}, _UNITS, Documents(self._entities), lambda _, __: {}, at),
            f"quality:{name}",
            int(Mark.DERIVED),
        )

    def _sources(self, name: str, counted: Any, slots: int, at: int) -> dict[Place, Made]:
        """By source; of one that fell silent, by what it used to tell."""
        kept = self._standing.get(f"{JOB}:{name}")
        known = msgspec.json.decode(kept, type=dict[str, Heard]) if kept else {}
        rows = {
            row["source"]: row
            for row in counted.iter_rows(named=True)
            if row["source"] is not None and not row["source"].startswith(COMPUTED_SOURCES)
        }
        for source, row in rows.items():
            before = known.get(source, Heard(0, 0, 0))
            known[source] = Heard(max(row["series"], before.series), max(row["things"], before.things), row["last"])
        latest = sorted(known, key=lambda source: -known[source].last)[:SOURCES_MAX]
        known = {source: known[source] for source in latest}
        doc = msgspec.json.encode(known)
        if doc != kept:
            self._ask(Within(kind="", work=lambda tx: self._standing.put(tx, f"{JOB}:{name}", doc)))
        return {
            (f"urn:ngsi-ld:{TYPE}:{name}:source:{source}", at): Made(
                {"name": f"{name} · {source}", "ofType": name, "ofSource": source}
                | _measures(rows.get(source), heard.things, heard.series * slots, heard.last, at)
            )
            for source, heard in known.items()
        }

    def _last(self, what: str) -> int | None:
        """When something was last observed, as the assessment before says."""
        said = Documents(self._entities)(f"urn:ngsi-ld:{TYPE}:{what}").get("lastObserved")
        return instant(said.value) if said is not None and said.value is not None else None

    def _ask(self, command: Any) -> Any:
        return self._writer.submit(Request(command=command, actor=ACTOR)).result()


def watched(overlay: Overlay) -> tuple[str, ...]:
    """The properties whose quality is told unless others are named: numbers that are not derived."""
    return tuple(
        key for key, one in overlay.declaration.property.items() if one.type in ("integer", "number") and not one.derive
    )


def ranges(overlay: Overlay, keys: tuple[str, ...]) -> dict[str, tuple[float | None, float | None]]:
    """The ranges of properties, as far as they are numbers."""
    found = {}
    for key in keys:
        one = overlay.declaration.property[key]
        low, high = (float(bound) if isinstance(bound, int | float) else None for bound in (one.min, one.max))
        if low is not None or high is not None:
            found[key] = (low, high)
    return found


def _measures(row: Mapping[str, Any] | None, things: int, expected: int, last: int | None, at: int) -> dict[str, Any]:
    received = min(row["received"], expected) if row and expected else row["received"] if row else 0
    return {
        "freshness": max(0.0, (at - last) / 1e6) if last is not None else None,
        "completeness": received / expected if expected else None,
        "validity": row["valid"] if row else None,
        "received": received,
        "expected": expected,
        "silentThings": max(0, things - (row["things"] if row else 0)),
        "lastObserved": iso(last) if last is not None else None,
    }


_UNITS: Final = {key: one.unit or None for key, one in ASSESSMENT.property.items()}
