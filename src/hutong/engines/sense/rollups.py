"""Declared rollups, compiled: which history each reads, what it computes of a period, and what is wrong with it."""

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec
import polars as pl

from hutong.engines.sense.declarations import EntityDeclaration, RollupDeclaration, RollupsFile
from hutong.engines.sense.overlay import VALUE_TYPES
from hutong.engines.sense.periods import Periods, Unit
from hutong.kernel.clock import duration
from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions import (
    AT,
    NO_SCALES,
    Column,
    Expression,
    Scales,
    ValueType,
    compile_expression,
    compile_scales,
)
from hutong.kernel.expressions.aggregates import Aggregated, Term, aggregated
from hutong.kernel.packs import Packs
from hutong.kernel.packs.faults import Faults, listed, meant

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
FROM, TO = "dateObservedFrom", "dateObservedTo"
SOURCE: Final = "rollup:"
"""Begins the `source` of rolled-up values; the rollup's name follows."""
_UNSAFE: Final = re.compile(r"""[\x00-\x20\x7f"%<>\\^`{|}/?#]""")
"""What a part of an id cannot hold."""

Where = Callable[..., str]


class Rolled(msgspec.Struct, frozen=True):
    """One property that a rollup sets: what computes it, and what has to be true for it."""

    value: Expression
    valid: Expression | None
    terms: tuple[Term, ...]


class Rollup:
    """A declared rollup, checked. Raises DeclarationFaults with everything that is wrong with it."""

    def __init__(
        self,
        name: str,
        declaration: RollupDeclaration,
        source: EntityDeclaration,
        target: EntityDeclaration,
        where: Where,
        scales: Scales = NO_SCALES,
    ) -> None:
        self.name, self.declaration = name, declaration
        self.on, self.into, self.by = declaration.on, declaration.into, tuple(declaration.by)
        self.window = duration(declaration.window) if declaration.window else 0
        self.retention = duration(source.retention) if source.retention else 0
        self.dated = tuple(key for key in (FROM, TO) if key in target.property)
        self.kept = tuple(dict.fromkeys((*declaration.carry, *declaration.by)))
        self._source, self._target, self._where, self._faults = source, target, where, Faults()
        self._scales = scales
        self._schema = schema_of(source)
        self._check_names()
        self.values = {key: one for key, text in declaration.set.items() if (one := self._value(key, text)) is not None}
        self.where = self._where_of(declaration.where) if declaration.where else None
        for key in declaration.valid_for.keys() - declaration.set.keys():
            self._unknown(key, declaration.set, "valid_for", key)
        self.begins, self.ends = (
            self._date(text, key) for text, key in ((declaration.begins, "begins"), (declaration.ends, "ends"))
        )
        self._faults.check()
        self.terms = tuple(dict.fromkeys(term for one in self.values.values() for term in one.terms))
        self.attributes = tuple(dict.fromkeys(term.attribute for term in self.terms))
        read = {key: source.property[key] for key in self.attributes}
        made = {key: target.property[key] for key in self.values}
        self.digest = hashlib.sha256(msgspec.json.encode((declaration, read, made))).hexdigest()[:16]
        self.ranges = {
            key: bounds
            for key, declared in read.items()
            if (bounds := (_number(declared.min), _number(declared.max))) != (None, None)
        }
        self.units = {key: target.property[key].unit or None for key in self.values}

    def periods(self, of: Callable[[Unit, int], Periods]) -> Periods:
        """Its periods; `of` makes them of a unit and a width."""
        return of(self.declaration.period, self.window)

    def target(self, id: str, group: Mapping[str, Any]) -> str:
        """The id of the thing that gets the values of a thing, or of a group."""
        if not self.by:
            return target_of(self.declaration.id, self.on, self.into, id)
        known = {key: _UNSAFE.sub(lambda found: quote(found[0], safe=""), str(group[key])) for key in self.by}
        template = self.declaration.id or f"urn:ngsi-ld:{self.into}:" + ":".join(f"{{{key}}}" for key in self.by)
        return PLACEHOLDER.sub(lambda found: known[found[1]], template)

    def compute(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns named as the properties set, from columns named as terms; what is not valid is missing."""
        columns = []
        for key, one in self.values.items():
            value = one.value.polars()
            columns.append((pl.when(one.valid.polars()).then(value) if one.valid else value).alias(f"set {key}"))
        made = frame.with_columns(columns)
        return made.select(*(pl.col(f"set {key}").alias(key) for key in self.values))

    def _check_names(self) -> None:
        one, target = self.declaration, self._target.property
        for n, key in enumerate(one.by):
            if key not in self._schema:
                self._unknown(key, self._schema, "by", n)
            elif key not in target:
                self._unknown(key, target, "by", n)
        for n, key in enumerate(one.carry):
            for declared in (self._source.property, target):
                if key not in declared:
                    self._unknown(key, declared, "carry", n)
            if one.by:
                self._fault("rollup-groups", "a group has no thing to take this from", "carry", n, seen=key)
        names = one.by or ["id", "local"]
        for key in PLACEHOLDER.findall(one.id):
            if key not in names:
                self._fault("no-template", "a template cannot name this", "id", seen=key, allowed=listed(names))
        missing = [key for key in one.by if one.id and f"{{{key}}}" not in one.id]
        if missing or (one.id and not one.by and not PLACEHOLDER.search(one.id)):
            self._fault(
                "no-template", "ids would not differ", "id", seen=one.id, allowed=listed(missing or names),
                fix="name each of these in it",
            )  # fmt: skip
        if one.into == one.on and (one.id or one.by or one.carry):
            self._fault("rollup-groups", "the things themselves get the values: there is nothing to name", "into")

    def _value(self, key: str, text: str) -> Rolled | None:
        declared = self._target.property.get(key)
        if declared is None or declared.type not in VALUE_TYPES or declared.type == "datetime":
            self._unknown(
                key, [name for name, one in self._target.property.items() if one.type in VALUE_TYPES], "set", key
            )
            return None
        if declared.derive:
            self._fault("derived-property", "a derived property cannot be set", "set", key, seen=key)
        wants = Column(VALUE_TYPES[declared.type], declared.unit)
        valid = self.declaration.valid_for.get(key, self.declaration.valid)
        place = ("valid_for", key) if key in self.declaration.valid_for else ("valid",)
        made = self._compiled(text, wants, "", "set", key)
        if made is None:
            return None
        value, terms = made
        if not terms:
            self._fault("expression-aggregate", "no aggregate in it", "set", key, seen=text, fix="write avg(property)")
            return None
        checked = self._compiled(valid, Column(ValueType.BOOLEAN), terms[0].attribute, *place) if valid else None
        return Rolled(value, checked and checked[0], (*terms, *(checked[1] if checked else ())))

    def _compiled(
        self, text: str, wants: Column, default: str, *path: str
    ) -> tuple[Expression, tuple[Term, ...]] | None:
        where = self._where(*path)
        try:
            found: Aggregated = aggregated(text, self._schema, where=where, default=default)
            schema = {**found.schema, AT: Column(ValueType.DATETIME)}
            return compile_expression(found.text, schema, where=where, wants=wants, scales=self._scales), found.terms
        except DeclarationFaults as error:
            self._faults.take_all(error)
            return None

    def _where_of(self, text: str) -> Expression | None:
        try:
            return compile_expression(text, self._schema, where=self._where("where"), wants=ValueType.BOOLEAN)
        except DeclarationFaults as error:
            self._faults.take_all(error)
            return None

    def _date(self, text: str, key: str) -> dt.date | None:
        try:
            return dt.date.fromisoformat(text) if text else None
        except ValueError:
            self._fault("wrong-type", "there is no such day", key, seen=text, allowed="2026-03-01")
            return None

    def _unknown(self, key: str, known: Any, *path: str | int) -> None:
        self._fault(
            "unknown-property", "no such property there", *path, seen=key, allowed=listed(known), fix=meant(key, known)
        )

    def _fault(self, code: str, what: str, *path: str | int, seen: str = "", allowed: str = "", fix: str = "") -> None:
        self._faults.add(code, what, where=self._where(*path), seen=seen, allowed=allowed, fix=fix)


def compile_rollups(packs: Packs, declared: Mapping[str, EntityDeclaration], faults: Faults) -> tuple[Rollup, ...]:
    """Every rollup that the packs declare, named `pack.rollup`, each after those whose values it reads."""
    found: list[Rollup] = []
    places: dict[str, str] = {}
    scales = compile_scales(packs, Faults())  # whose faults are told with the types
    for pack, file in packs.of(RollupsFile):
        for name, one in file.rollup.items():
            where = partial(pack.where, "rollups.toml", "rollup", name)
            places[f"{pack.name}.{name}"] = where()
            missing = [(key, type_) for key, type_ in (("on", one.on), ("into", one.into)) if type_ not in declared]
            for key, type_ in missing:
                faults.add(
                    "unknown-type", "no pack declares this type", where=where(key), seen=type_,
                    allowed=listed(declared), fix=meant(type_, declared),
                )  # fmt: skip
            if not missing:
                try:
                    found.append(
                        Rollup(f"{pack.name}.{name}", one, declared[one.on], declared[one.into], where, scales)
                    )
                except DeclarationFaults as error:
                    faults.take_all(error)
    return _ordered(found, places, faults)


def _ordered(rollups: Sequence[Rollup], places: Mapping[str, str], faults: Faults) -> tuple[Rollup, ...]:
    waiting, ordered = list(rollups), []
    while waiting:
        ready = [one for one in waiting if not any(_feeds(other, one) for other in waiting)]
        if not ready:
            faults.add(
                "circular-rollup",
                f"{', '.join(one.name for one in waiting)} are rolled up from one another",
                where=places[waiting[0].name],
                fix="let one of them read another property",
            )
            break
        ordered += ready
        waiting = [one for one in waiting if one not in ready]
    return tuple(ordered)


def _feeds(one: Rollup, other: Rollup) -> bool:
    return one.into == other.on and not one.values.keys().isdisjoint(other.attributes)


def target_of(template: str, on: str, into: str, id: str) -> str:
    """The id of the thing of one type that belongs to a thing of another."""
    if into == on:
        return id
    known = {"id": id, "local": id.removeprefix(f"urn:ngsi-ld:{on}:").rpartition(":")[2]}
    return PLACEHOLDER.sub(lambda found: known[found[1]], template or f"urn:ngsi-ld:{into}:{{local}}")


def schema_of(declaration: EntityDeclaration) -> dict[str, Column]:
    """The columns of a type's history that expressions may name."""
    return {
        key: Column(VALUE_TYPES[one.type], one.unit)
        for key, one in declaration.property.items()
        if one.type in VALUE_TYPES
    }


def _number(bound: Any) -> float | None:
    return float(bound) if isinstance(bound, int | float) else None
