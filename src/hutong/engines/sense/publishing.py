"""Computed values on their way into history: only what differs from what is published, corrections as such."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from hutong.engines.sense.merging import NULL
from hutong.engines.sense.ports import Attribute, Change, ChangeEntities, EntityStore, Verb
from hutong.kernel.clock import iso

CHANGES_MAX = 500
ROUNDING = 1e-9
CORRECTED, ISSUED = "correctedAt", "issuedAt"
ACTOR = "system:sense"

log = logging.getLogger(__name__)

Plain: TypeAlias = float | int | str | bool | None
Place: TypeAlias = tuple[str, int]
"""An entity and an instant."""
Known: TypeAlias = Mapping[Place, Mapping[str, Plain]]
"""Published values; None where one was taken back."""
_DOC = msgspec.json.Decoder(dict[str, Attribute])


class Made(msgspec.Struct):
    """What was computed for one place: values (None: missing), their marks, and attributes that go along."""

    values: dict[str, Plain]
    marks: int = 0


def same(one: Plain, other: Plain) -> bool:
    """Equality of values, numbers up to rounding, as sums come in no certain order."""
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:
        return one == other
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=1e-12)


class Documents:
    """Attributes of entities as they stand, read once each."""

    def __init__(self, entities: EntityStore) -> None:
        self._entities = entities
        self._found: dict[str, dict[str, Attribute]] = {}

    def __call__(self, id: str) -> dict[str, Attribute]:
        if id not in self._found:
            row = self._entities.get("", id)
            self._found[id] = _DOC.decode(row.doc) if row is not None else {}
        return self._found[id]


def changes(
    type_: str,
    made: Mapping[Place, Made],
    known: Known,
    units: Mapping[str, str | None],
    documents: Documents,
    along: Callable[[str, Mapping[str, Attribute]], dict[str, Attribute]],
    now: int,
    foretold: bool = False,
) -> Iterator[Change]:
    """Changes that bring what is published to what was made, in order of time.

    A value that is missing is taken back where one is published, and where the present state still has an older one.
    What was published before carries the time of the new word as a sub-attribute. What was `foretold` before becomes
    the present when its time has come, though it is the same.
    `along` gives further attributes of a target whose document is given.
    """
    held: dict[tuple[str, str], int] = {}
    for (id_, at), one in sorted(made.items(), key=lambda item: (item[0][1], item[0][0])):
        published = known.get((id_, at), {})
        document = documents(id_)
        attributes: dict[str, Attribute] = {}
        for key, value in one.values.items():
            before = published.get(key)
            standing = held.get((id_, key), document[key].observed_at or 0 if key in document else -1)
            if value is None:
                if before is None and not 0 <= standing < at:
                    continue
                held[id_, key] = -1
            elif same(before, value) and not (foretold and standing < at <= now):
                continue
            else:
                held[id_, key] = max(at, standing)
            attributes[key] = Attribute(
                value=NULL if value is None else value,
                observed_at=at,
                unit=units.get(key) if value is not None else None,
                marks=one.marks,
                sub={ISSUED if foretold else CORRECTED: Attribute(value=iso(now))} if key in published else None,
            )
        if attributes:
            yield Change(
                verb=Verb.APPEND,
                upsert=True,
                id=id_,
                types=(type_,),
                attributes=attributes | along(id_, document),
            )


def published(frame_rows: Iterator[tuple[Any, ...]]) -> dict[Place, dict[str, Plain]]:
    """Rows of `BulkHistory.known` by place."""
    found: dict[Place, dict[str, Plain]] = {}
    for entity, attribute, at, number, text, _, _ in frame_rows:
        found.setdefault((entity, at), {})[attribute] = number if text is None else text
    return found


def send(ask: Callable[[Any], Any], wanted: Iterator[Change], source: str, marks: int) -> int:
    """Put changes to the writer, many at a time; gives how many. What is refused is logged: trying again helps not."""
    sent = 0
    batch: list[Change] = []

    def flush() -> None:
        nonlocal sent
        if batch:
            for outcome in ask(ChangeEntities(changes=list(batch), source=source, marks=marks)):
                for error in (outcome.error, *outcome.refused.values()):
                    if error is not None:
                        log.warning("%s: %s is not taken: %s", source, outcome.id, error)
            sent += len(batch)
            batch.clear()

    for change in wanted:
        batch.append(change)
        if len(batch) >= CHANGES_MAX:
            flush()
    flush()
    return sent
