"""The quality of a platform's data as pages show it: the newest assessment of each property and source."""

from collections.abc import Mapping
from dataclasses import dataclass

from hutong.engines.sense.ports import Attribute, Compare, EntityQuery
from hutong.engines.sense.quality import TYPE
from hutong.kernel.access import Actor
from hutong.kernel.clock import SECOND
from hutong.portal.ports import Platform, Portal
from hutong.portal.words import Language

SHOWN_MAX = 500


@dataclass(frozen=True)
class Assessment:
    """Shares from 0 to 1, None where there is nothing to tell of; `fresh` in microseconds."""

    kind: str
    what: str
    completeness: float | None
    validity: float | None
    fresh: int | None
    silent: int
    source: bool


async def assessments(portal: Portal, actor: Actor, platform: Platform, lang: Language) -> list[Assessment]:
    """Properties first, then sources, in the order of the platform's kinds; none where no kind says what to expect."""
    kinds = tuple(kind.name for kind in platform.types if kind.declaration.quality is not None)
    if not kinds:
        return []
    query = EntityQuery(
        tenant=portal.tenant, types=((TYPE,),), where=Compare(("ofType",), "==", kinds), limit=SHOWN_MAX
    )
    found = [_read(thing.attributes, platform, lang) for thing in await portal.sense.find(actor, query)]
    return sorted(found, key=lambda one: (one.source, kinds.index(one.kind)))


def _read(said: Mapping[str, Attribute], platform: Platform, lang: Language) -> Assessment:
    def share(name: str) -> float | None:
        return float(said[name].value) if name in said else None

    kind, source = str(said["ofType"].value), "ofSource" in said
    name = str(said["ofSource" if source else "ofProperty"].value)
    label = platform.text(lang, "source", name).name if source else platform.label(kind, name, lang)
    fresh = share("freshness")
    return Assessment(
        kind=kind,
        what=label,
        completeness=share("completeness"),
        validity=share("validity"),
        fresh=None if fresh is None else int(fresh * SECOND),
        silent=int(said["silentThings"].value) if "silentThings" in said else 0,
        source=source,
    )
