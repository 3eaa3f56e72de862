"""A thing's values as they are written on pages, in lists and in streams."""

from dataclasses import dataclass
from typing import Any

from hutong.engines.sense.declarations import PropertyDeclaration
from hutong.engines.sense.ports import Attribute, Mark
from hutong.portal.figures import MISSING, percent, written
from hutong.portal.ports import Platform, ThingType
from hutong.portal.things import State, Thing
from hutong.portal.words import Language

_PLACES = ("point", "geometry")


@dataclass(frozen=True, slots=True)
class Reading:
    """One value as it is written. `share` (0 to 1) is there for shares and draws a bar; `missing` is drawn hatched."""

    name: str
    label: str
    text: str
    symbol: str = ""
    share: float | None = None
    suspect: bool = False
    derived: bool = False
    simulated: bool = False
    entered: bool = False
    missing: bool = False
    observed_at: int | None = None
    numeric: bool = False


def reading(
    name: str, declared: PropertyDeclaration, attribute: Attribute | None, label: str, now_silent: bool = False
) -> Reading:
    """Write one attribute. Of a silent thing no measured value is shown as if it held now."""
    measured = attribute is not None and attribute.observed_at is not None
    numeric = declared.type in ("number", "integer")
    if attribute is None or attribute.value is None or (now_silent and measured):
        return Reading(
            name,
            label,
            MISSING,
            missing=True,
            numeric=numeric,
            observed_at=attribute.observed_at if attribute else None,
        )
    text, symbol = written(attribute.value, declared)
    share = attribute.value if declared.type == "number" and declared.unit == "C62" else None
    marks = attribute.marks
    return Reading(
        name,
        label,
        text,
        symbol,
        share=min(1.0, max(0.0, share)) if share is not None else None,
        suspect=bool(marks & Mark.SUSPECT),
        derived=bool(marks & Mark.DERIVED),
        simulated=bool(marks & Mark.SIMULATED),
        entered=bool(marks & Mark.ENTERED),
        observed_at=attribute.observed_at,
        numeric=numeric,
    )


def headline(seen: Thing, kind: ThingType, platform: Platform, lang: Language) -> list[Reading]:
    """The values shown first, in the order that the pack gives them."""
    silent = seen.state == State.SILENT
    return [
        reading(
            name,
            kind.declaration.property[name],
            seen.attributes.get(name),
            platform.label(kind.name, name, lang),
            silent,
        )
        for name in kind.declaration.headline
    ]


def all_values(seen: Thing, kind: ThingType, platform: Platform, lang: Language) -> list[Reading]:
    """Headline values, then the others as declared; without the name, which is the heading, and places, on the map."""
    declared = kind.declaration
    order = [*declared.headline, *(name for name in declared.property if name not in declared.headline)]
    return [
        reading(name, declared.property[name], seen.attributes.get(name), platform.label(kind.name, name, lang))
        for name in order
        if name != declared.name and declared.property[name].type not in _PLACES
    ]


def raw(seen: Thing, kind: ThingType) -> dict[str, Any]:
    """The headline values as they are; None of a silent thing."""
    return {name: None if seen.state == State.SILENT else seen.value(name) for name in kind.declaration.headline}


def share_text(part: float, whole: float) -> str:
    return f"{percent(part / whole)}%" if whole else MISSING
