"""Turns what was loaded (packs, city, mission) into what the pages show."""

from zoneinfo import ZoneInfo

import msgspec

from hutong.engines.sense.declarations import AlertsFile, EntitiesFile, ForecastsFile, SimulateFile, SourcesFile
from hutong.kernel.clock import duration
from hutong.kernel.expressions.scales import NO_SCALES, ScalesFile, scales_of
from hutong.kernel.mission import Mission
from hutong.kernel.packs import City as LoadedCity
from hutong.kernel.packs import Pack, Packs
from hutong.portal.declarations import ViewsFile
from hutong.portal.ports import City, Platform, ThingType


def platforms(packs: Packs, mission: Mission) -> tuple[Platform, ...]:
    """The packs that are on, in their order."""
    return tuple(platform(pack, mission) for pack in packs)


def platform(pack: Pack, mission: Mission) -> Platform:
    files = {type(file): file for file in pack.files.values()}
    entities, sources = files.get(EntitiesFile), files.get(SourcesFile)
    alerts, views, scales = files.get(AlertsFile), files.get(ViewsFile), files.get(ScalesFile)
    types = tuple(
        ThingType(name, declared, silent_after(sources, name), bands(files.get(ForecastsFile), name))
        for name, declared in (entities.entity.items() if isinstance(entities, EntitiesFile) else ())
    )
    return Platform(
        name=pack.name,
        sector=pack.sector,
        types=types,
        texts=pack.texts,
        implements=tuple(mission.platforms[id] for id in pack.implements if id in mission.platforms),
        alerts={f"{pack.name}.{name}": one for name, one in alerts.alert.items()}
        if isinstance(alerts, AlertsFile)
        else {},
        figures=views.figure if isinstance(views, ViewsFile) else {},
        colours=views.colour if isinstance(views, ViewsFile) else {},
        scales=scales_of(scales) if isinstance(scales, ScalesFile) else NO_SCALES,
        simulated=SimulateFile in files,
    )


def silent_after(sources: object, type_name: str) -> int | None:
    """The most patient of the sources of a type, in microseconds: a thing may come from any of them."""
    spans = (
        [
            duration(source.silent_after)
            for source in sources.source.values()
            if source.entity == type_name and source.silent_after
        ]
        if isinstance(sources, SourcesFile)
        else []
    )
    return max(spans, default=None)


def bands(forecasts: object, type_name: str) -> dict[str, tuple[str, str]]:
    """Properties of a type that hold forecasts, with those that hold the lower and upper end of their interval."""
    found = {}
    for one in forecasts.forecast.values() if isinstance(forecasts, ForecastsFile) else ():
        named = {text: key for key, text in one.set.items()}
        if one.into == type_name and {"value", "lower", "upper"} <= named.keys():
            found[named["value"]] = (named["lower"], named["upper"])
    return found


def city(loaded: LoadedCity) -> City:
    declared = loaded.declared
    shapes = loaded.districts()
    return City(
        id=declared.name,
        name={"zh": declared.zh, "en": declared.en},
        code=declared.code,
        zone=ZoneInfo(declared.timezone),
        demo=declared.demo,
        departments=tuple({"zh": one.zh, "en": one.en} for one in loaded.departments.values()),
        districts=msgspec.json.decode(shapes) if shapes else {"type": "FeatureCollection", "features": []},
    )
