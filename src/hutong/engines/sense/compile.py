"""Compiles what packs declare for sensing, and says what is wrong with it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hutong.engines.sense.declarations import (
    AlertDeclaration,
    AlertsFile,
    EntitiesFile,
    EntityDeclaration,
    ForecastsFile,
    RollupsFile,
    SimulateFile,
    SourcesFile,
)
from hutong.engines.sense.forecasts import compile_forecasts
from hutong.engines.sense.overlay import TIMES, Overlay, Where
from hutong.engines.sense.periods import LENGTHS
from hutong.engines.sense.quality import ASSESSMENT, TYPE
from hutong.engines.sense.rollups import compile_rollups
from hutong.kernel.errors import DeclarationFaults, HutongError
from hutong.kernel.expressions import compile_scales
from hutong.kernel.packs import Pack, Packs
from hutong.kernel.packs.faults import Faults, listed, meant
from hutong.kernel.units import unit

_BUILT_IN = Pack(name="hutong", implements=(), sector="", path=Path(), files={})
"""Where faults of the types that the engine itself declares would be."""


def compile_types(packs: Packs, faults: Faults) -> Mapping[str, Overlay]:
    """Every declared entity type, compiled with the rules that watch it. Rules are named `pack.rule`."""
    declared: dict[str, tuple[Pack, EntityDeclaration]] = {}
    for pack, file in packs.of(EntitiesFile):
        for name, declaration in file.entity.items():
            declared.setdefault(name, (pack, declaration))
            _check_entity(pack, name, declaration, faults)
    if any(declaration.quality is not None for _, declaration in declared.values()):
        declared.setdefault(TYPE, (_BUILT_IN, ASSESSMENT))
    rules: dict[str, dict[str, tuple[AlertDeclaration, Where]]] = {}
    for pack, alerts in packs.of(AlertsFile):
        for name, alert in alerts.alert.items():
            if _known(pack, "alerts.toml", ("alert", name, "on"), alert.on, declared, faults):
                rules.setdefault(alert.on, {})[f"{pack.name}.{name}"] = (
                    alert,
                    partial(pack.where, "alerts.toml", "alert", name),
                )
    _check_sources(packs, declared, faults)
    scales, lags = compile_scales(packs, faults), _lags(packs)
    overlays = {}
    for name, (pack, declaration) in declared.items():
        try:
            overlays[name] = Overlay(
                name,
                declaration,
                partial(pack.where, "entities.toml", "entity", name),
                rules.get(name, {}),
                scales,
                lags.get(name),
            )
        except DeclarationFaults as error:
            faults.take_all(error)
    return overlays


def check(packs: Packs, faults: Faults) -> None:
    """The hook of the loader."""
    compile_types(packs, faults)
    types = declared_types(packs)
    compile_rollups(packs, types, faults)
    compile_forecasts(packs, types, faults)


def _lags(packs: Packs) -> dict[str, int]:
    """How much later than they are dated computed values of types come: the length of their periods."""
    found: dict[str, int] = {}
    for _, file in packs.of(RollupsFile):
        for one in file.rollup.values():
            found[one.into] = max(found.get(one.into, 0), LENGTHS[one.period] if one.into != one.on else 0)
    for _, forecasts in packs.of(ForecastsFile):
        for foretold in forecasts.forecast.values():
            found[foretold.into] = max(found.get(foretold.into, 0), LENGTHS[foretold.period])
    return found


def declared_types(packs: Packs) -> dict[str, EntityDeclaration]:
    """Every declared type by name."""
    found: dict[str, EntityDeclaration] = {}
    for _, file in packs.of(EntitiesFile):
        for name, one in file.entity.items():
            found.setdefault(name, one)
    if any(one.quality is not None for one in found.values()):
        found.setdefault(TYPE, ASSESSMENT)
    return found


def _check_entity(pack: Pack, name: str, declaration: EntityDeclaration, faults: Faults) -> None:
    for key, one in declaration.property.items():
        if key in TIMES:
            faults.add(
                "reserved-name",
                "in expressions this is a time that Hutong knows itself",
                where=pack.where("entities.toml", "entity", name, "property", key),
                seen=key,
                fix="take another name",
            )
        if one.unit:
            try:
                unit(one.unit)
            except HutongError as error:
                faults.take(error, pack.where("entities.toml", "entity", name, "property", key, "unit"))
    for n, key in enumerate(declaration.quality.properties if declaration.quality is not None else ()):
        if key not in declaration.property:
            faults.add(
                "unknown-property",
                f"{name} has no such property",
                seen=key,
                where=pack.where("entities.toml", "entity", name, "quality", "properties", n),
                allowed=listed(declaration.property),
                fix=meant(key, declaration.property),
            )
    for n, key in enumerate(declaration.headline):
        if key not in declaration.property:
            faults.add(
                "unknown-property",
                f"{name} has no such property",
                seen=key,
                where=pack.where("entities.toml", "entity", name, "headline", n),
                allowed=listed(declaration.property),
                fix=meant(key, declaration.property),
            )


def _check_sources(packs: Packs, declared: Mapping[str, tuple[Pack, EntityDeclaration]], faults: Faults) -> None:
    for pack, sources in packs.of(SourcesFile):
        for name, source in sources.source.items():
            if _known(pack, "sources.toml", ("source", name, "entity"), source.entity, declared, faults):
                _check_properties(
                    pack, "sources.toml", ("source", name, "set"), source.set, declared[source.entity][1], faults
                )
    for pack, simulations in packs.of(SimulateFile):
        for name, one in simulations.simulate.items():
            if _known(pack, "simulate.toml", ("simulate", name, "entity"), one.entity, declared, faults):
                for key, values in (("fixed", one.fixed), ("series", one.series)):
                    _check_properties(
                        pack, "simulate.toml", ("simulate", name, key), values, declared[one.entity][1], faults
                    )


def _check_properties(
    pack: Pack,
    file: str,
    path: tuple[str, ...],
    names: Mapping[str, object],
    declaration: EntityDeclaration,
    faults: Faults,
) -> None:
    for key in names:
        one = declaration.property.get(key)
        if one is None:
            faults.add(
                "unknown-property",
                "the entity has no such property",
                where=pack.where(file, *path, key),
                seen=key,
                allowed=listed(declaration.property),
                fix=meant(key, declaration.property),
            )
        elif one.derive:
            faults.add(
                "derived-property",
                "a derived property cannot be set",
                where=pack.where(file, *path, key),
                seen=key,
                fix="remove it here, or its `derive`",
            )


def _known(
    pack: Pack, file: str, path: tuple[str, ...], seen: str, declared: Mapping[str, object], faults: Faults
) -> bool:
    if seen in declared:
        return True
    faults.add(
        "unknown-type",
        "no pack declares this type",
        where=pack.where(file, *path),
        seen=seen,
        allowed=listed(declared),
        fix=meant(seen, declared),
    )
    return False
