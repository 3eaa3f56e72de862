"""A thing's values as they are written on pages, in lists and in streams."""

from dataclasses import dataclass
from typing import Any

from msgspec import json

from hutong.engines.sense.ports import Alert, Mark
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
    colour: str = ""
    why: str = ""


def colour(seen: Thing, platform: Platform) -> str:
    """The colour that the pack gives the thing as it is now, `#rrggbb`; empty where it gives none."""
    declared = platform.colours.get(seen.type)
    if declared is None or seen.state == State.SILENT:
        return ""
    return declared.colours.get(seen.value(declared.by), "")


def reading(
    seen: Thing, name: str, kind: ThingType, platform: Platform, lang: Language, silent: bool = False
) -> Reading:
    """Write one value of a thing. Where it is `silent`, what its last news told is not shown as if it held now."""
    declared, attribute = kind.declaration.property[name], seen.attributes.get(name)
    label, numeric = platform.label(kind.name, name, lang), declared.type in ("number", "integer")
    observed_at = attribute.observed_at if attribute else None
    if attribute is None or attribute.value is None or (silent and observed_at == seen.observed_at):
        gap = platform.scales.gap(declared.derive, seen.observed_at or 0) if declared.derive else None
        why = "" if gap is None else gap.zh if lang == "zh" else gap.en
        return Reading(name, label, MISSING, missing=True, numeric=numeric, observed_at=observed_at, why=why)
    text, symbol = written(attribute.value, declared)
    if declared.values:
        text = platform.text(lang, "entity", kind.name, "property", name, "values", text).name
    return Reading(
        name,
        label,
        text,
        symbol,
        share=min(1.0, max(0.0, attribute.value)) if declared.type == "number" and declared.unit == "C62" else None,
        suspect=bool(attribute.marks & Mark.SUSPECT),
        derived=bool(attribute.marks & Mark.DERIVED),
        simulated=bool(attribute.marks & Mark.SIMULATED),
        entered=bool(attribute.marks & Mark.ENTERED),
        observed_at=observed_at,
        numeric=numeric,
        colour=colour(seen, platform) if (by := platform.colours.get(kind.name)) and by.by == name else "",
    )


def headline(seen: Thing, kind: ThingType, platform: Platform, lang: Language) -> list[Reading]:
    """The values shown first, in the order that the pack gives them."""
    silent = seen.state == State.SILENT
    return [reading(seen, name, kind, platform, lang, silent) for name in kind.declaration.headline]


def all_values(seen: Thing, kind: ThingType, platform: Platform, lang: Language) -> list[Reading]:
    """Headline values, then the others as declared; without the name, which is the heading, and places, on the map."""
    declared = kind.declaration
    order = [*declared.headline, *(name for name in declared.property if name not in declared.headline)]
    return [
        reading(seen, name, kind, platform, lang)
        for name in order
        if name != declared.name and declared.property[name].type not in _PLACES
    ]


def evidence(alert: Alert, kind: ThingType, platform: Platform, lang: Language) -> list[tuple[str, str]]:
    """What an alert's rule saw, as labels and texts; of open properties only."""
    seen = json.decode(alert.reason).get("saw", {}) if alert.reason else {}
    shown = []
    for name, value in seen.items():
        declared = kind.declaration.property.get(name)
        if declared and (declared.grade or kind.declaration.grade) == "open":
            shown.append((platform.label(kind.name, name, lang), "".join(written(value, declared))))
    return shown


def raw(seen: Thing, kind: ThingType) -> dict[str, Any]:
    """The headline values as they are; None of a silent thing."""
    return {name: None if seen.state == State.SILENT else seen.value(name) for name in kind.declaration.headline}


def share_text(part: float, whole: float) -> str:
    return f"{percent(part / whole)}%" if whole else MISSING
