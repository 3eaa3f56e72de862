"""Declared forecasts, compiled: what each reads, what it sets, and what is wrong with it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from hutong.engines.sense.declarations import EntityDeclaration, ForecastDeclaration, ForecastsFile
from hutong.engines.sense.overlay import VALUE_TYPES
from hutong.engines.sense.rollups import schema_of, target_of
from hutong.kernel.clock import duration
from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions import Column, Expression, ValueType, compile_expression
from hutong.kernel.expressions.aggregates import Term, aggregated
from hutong.kernel.packs import Packs
from hutong.kernel.packs.faults import Faults, listed, meant

SOURCE: Final = "forecast:"
"""Begins the `source` of forecasts; the forecast's name follows."""
STEPS: Final = ("value", "lower", "upper")
SAME_UNIT: Final = ("mae", "naive_mae", "actual", "was", "was_lower", "was_upper")
SHARES: Final = ("mase", "skill", "coverage")
COUNTS: Final = ("backtested", "history")
AHEAD: Final = frozenset({"avg", "sum", "min", "max", "first", "last"})
"""Aggregates over the steps ahead."""


class Told(msgspec.Struct, frozen=True):
    """One property that a forecast sets. `stepwise`: one value for each step ahead; else one each time it is made."""

    value: Expression
    terms: tuple[Term, ...]
    stepwise: bool


class Forecast:
    """A declared forecast, checked. Raises DeclarationFaults with everything that is wrong with it."""

    def __init__(
        self,
        name: str,
        declaration: ForecastDeclaration,
        source: EntityDeclaration,
        target: EntityDeclaration,
        where: Callable[..., str],
    ) -> None:
        self.name, self.declaration = name, declaration
        self.on, self.into = declaration.on, declaration.into
        self._where, self._faults = where, Faults()
        self.retention = duration(source.retention) if source.retention else 0
        for key in declaration.carry:
            if key not in source.property or key not in target.property:
                self._unknown(key, source.property.keys() & target.property.keys(), "carry")
        if self.on == self.into:
            self._faults.add(
                "rollup-groups",
                "a forecast is a thing of its own, so that it is never taken for an observation",
                where=where("into"),
                fix="declare a type for it",
            )
        self.terms: tuple[Term, ...] = ()
        self.values: dict[str, Told] = {}
        try:
            found = aggregated(declaration.of, schema_of(source), where=where("of"))
            self.of = compile_expression(found.text, found.schema, where=where("of"), wants=ValueType.NUMBER)
            self.terms = found.terms
            self.values = {
                key: one for key, text in declaration.set.items() if (one := self._told(key, text, target)) is not None
            }
        except DeclarationFaults as error:
            self._faults.take_all(error)
        self._faults.check()
        self.attributes = tuple(dict.fromkeys(term.attribute for term in self.terms))
        self.ranges = {
            key: bounds for key in self.attributes if (bounds := _bounds(source.property[key])) != (None, None)
        }
        self.units = {key: target.property[key].unit or None for key in self.values}

    def target(self, id: str) -> str:
        """The id of the thing that holds the forecasts of a thing."""
        return target_of(self.declaration.id, self.on, self.into, id)

    def _told(self, key: str, text: str, target: EntityDeclaration) -> Told | None:
        declared = target.property.get(key)
        if declared is None or declared.type not in ("integer", "number", "boolean") or declared.derive:
            self._unknown(key, [name for name, one in target.property.items() if not one.derive], "set", key)
            return None
        unit, where = self.of.unit, self._where("set", key)
        steps = {name: Column(ValueType.NUMBER, unit) for name in STEPS}
        measures = (
            {name: Column(ValueType.NUMBER, unit) for name in SAME_UNIT}
            | {name: Column(ValueType.NUMBER, "C62") for name in SHARES}
            | {name: Column(ValueType.INTEGER) for name in COUNTS}
        )
        try:
            found = aggregated(text, steps, where=where)
            wants = Column(VALUE_TYPES[declared.type], declared.unit)
            value = compile_expression(found.text, {**found.schema, **steps, **measures}, where=where, wants=wants)
        except DeclarationFaults as error:
            self._faults.take_all(error)
            return None
        for term in found.terms:
            if term.function not in AHEAD:
                self._faults.add(
                    "expression-aggregate",
                    "no aggregate over what lies ahead",
                    where=where,
                    seen=term.function,
                    allowed=listed(AHEAD),
                )
        return Told(value, found.terms, not value.columns.isdisjoint(STEPS))

    def _unknown(self, key: str, known: Any, *path: str) -> None:
        self._faults.add(
            "unknown-property",
            "no such property there that could be set",
            where=self._where(*path),
            seen=key,
            allowed=listed(known),
            fix=meant(key, known),
        )


def compile_forecasts(packs: Packs, declared: Mapping[str, EntityDeclaration], faults: Faults) -> tuple[Forecast, ...]:
    """Every forecast that the packs declare, named `pack.forecast`."""
    found: list[Forecast] = []
    for pack, file in packs.of(ForecastsFile):
        for name, one in file.forecast.items():
            where = partial(pack.where, "forecasts.toml", "forecast", name)
            missing = [(key, type_) for key, type_ in (("on", one.on), ("into", one.into)) if type_ not in declared]
            for key, type_ in missing:
                faults.add(
                    "unknown-type",
                    "no pack declares this type",
                    where=where(key),
                    seen=type_,
                    allowed=listed(declared),
                    fix=meant(type_, declared),
                )
            if not missing:
                try:
                    found.append(Forecast(f"{pack.name}.{name}", one, declared[one.on], declared[one.into], where))
                except DeclarationFaults as error:
                    faults.take_all(error)
    return tuple(found)


def _bounds(declared: Any) -> tuple[float | None, float | None]:
    low, high = (float(one) if isinstance(one, int | float) else None for one in (declared.min, declared.max))
    return low, high
