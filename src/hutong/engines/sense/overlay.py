"""The typed overlay: what a declared entity type checks, derives, suspects and watches, compiled once at load."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.declarations import AlertDeclaration, EntityDeclaration, PropertyDeclaration
from hutong.engines.sense.ports import Attribute, Mark
from hutong.kernel.access import Grade
from hutong.kernel.clock import duration, instant
from hutong.kernel.errors import DeclarationFaults, Fault, HutongError, InvalidInput, OutOfRange
from hutong.kernel.expressions import AT, NO_SCALES, RECEIVED, Column, Expression, Scales, ValueType, compile_expression
from hutong.kernel.units import convert, unit

VALUE_TYPES = {
    "integer": ValueType.INTEGER,
    "number": ValueType.NUMBER,
    "text": ValueType.TEXT,
    "boolean": ValueType.BOOLEAN,
    "datetime": ValueType.TEXT,
}
_KINDS = {"point": "G", "geometry": "G", "relationship": "R"}
FRAME_TYPES = {
    ValueType.INTEGER: pl.Float64,
    ValueType.NUMBER: pl.Float64,
    ValueType.TEXT: pl.String,
    ValueType.BOOLEAN: pl.Boolean,
}
TIMES = (AT, RECEIVED)
"""What expressions of a type may name beside its properties: when it was observed, and when that arrived."""

Where = Callable[..., str]
"""Gives `pack/file.toml:line` of a key below a declaration, for faults."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled alert rule. Durations are microseconds; exactly one of `when` and `silent_for` is set."""

    name: str
    declaration: AlertDeclaration
    when: Expression | None = None
    clear: Expression | None = None
    hold: int = 0
    silent_for: int = 0
    lag: int = 0  # how much later than it is dated a value of the type comes, when it comes in time


class PropertyCheck:
    """Checks one incoming attribute against its declaration, and brings its value to the declared unit."""

    def __init__(self, name: str, declaration: PropertyDeclaration, grade: Grade) -> None:
        self.name, self.declaration, self.grade = name, declaration, grade
        self._kind = _KINDS.get(declaration.type, "P")
        self._numeric = declaration.type in ("integer", "number")
        self._integer = declaration.type == "integer"
        self._form = {"text": str, "datetime": str, "boolean": bool, "relationship": str}.get(declaration.type)
        self._unit = declaration.unit or None
        rejects = declaration.outside == "reject"
        self._low = declaration.min if rejects and isinstance(declaration.min, int | float) else None
        self._high = declaration.max if rejects and isinstance(declaration.max, int | float) else None
        self._values = frozenset(declaration.values) if declaration.values is not None else None

    def __call__(self, attribute: Attribute) -> HutongError | None:
        """None when it passes. The attribute is changed in place where it needs another unit or number form."""
        if attribute.kind != self._kind:
            return self._wrong_type(attribute)
        if attribute.unit != self._unit and (error := self._bring_to_unit(attribute)) is not None:
            return error
        value = attribute.value
        if self._numeric:
            form = value.__class__
            if form is not int and (form is not float or (self._integer and not value.is_integer())):
                return self._wrong_type(attribute)
            if self._integer and form is float:
                if not -(2**63) <= value < 2**63:
                    return OutOfRange(f"{self.name} is too large", where=self.name, seen=value, allowed="64 bits")
                attribute.value = value = int(value)
            if (self._low is not None and value < self._low) or (self._high is not None and value > self._high):
                return OutOfRange(
                    f"{self.name} is outside its range",
                    where=self.name,
                    seen=value,
                    allowed=f"{self._low} to {self._high}",
                    fix="send a value within the range",
                )
        elif self._form is not None:
            if value.__class__ is not self._form:
                return self._wrong_type(attribute)
            if isinstance(value, str) and "\0" in value:
                return InvalidInput(
                    "the character U+0000 is in a text", where=self.name, seen=value, fix="leave it out"
                )
            if self.declaration.type == "datetime" and isinstance(value, str):
                try:
                    instant(value, self.name)
                except InvalidInput as error:
                    return error
        elif self.declaration.type == "point" and value.get("type") != "Point":
            return self._wrong_type(attribute)
        if self._values is not None and not (isinstance(value, str) and value in self._values):
            return InvalidInput(
                f"{self.name} has a value that is not in its list",
                where=self.name,
                seen=value,
                allowed=", ".join(sorted(self._values)),
                fix="send one of these",
            )
        return None

    def _wrong_type(self, attribute: Attribute) -> HutongError:
        return InvalidInput(
            f"{self.name} is of another type",
            where=self.name,
            seen=attribute.value,
            allowed=self.declaration.type,
            fix=f"send a value of type {self.declaration.type}",
        )

    def _bring_to_unit(self, attribute: Attribute) -> HutongError | None:
        if attribute.unit is None:
            attribute.unit = self._unit  # a bare number is in the declared unit
            return None
        try:
            if self._unit is None:
                unit(attribute.unit)
            elif self._numeric and isinstance(attribute.value, int | float):
                attribute.value = float(convert(attribute.value, attribute.unit, self._unit))
                if not isfinite(attribute.value):
                    raise OutOfRange("a number too large for its unit")
                attribute.unit = self._unit
        except HutongError as error:
            return InvalidInput(
                error.fault.what,
                where=f"{self.name}.unitCode",
                seen=attribute.unit,
                allowed=self._unit or error.fault.allowed,
                fix=error.fault.fix,
            )
        return None


class Overlay:
    """A declared entity type, compiled."""

    def __init__(
        self,
        name: str,
        declaration: EntityDeclaration,
        where: Where,
        alerts: Mapping[str, tuple[AlertDeclaration, Where]],
        scales: Scales = NO_SCALES,
        lag: int | None = None,
    ) -> None:
        self.name, self.declaration = name, declaration
        self.retention = duration(declaration.retention) if declaration.retention else 0
        default = Grade[declaration.grade.upper()]
        self.checks = {
            key: PropertyCheck(key, one, Grade[one.grade.upper()] if one.grade else default)
            for key, one in declaration.property.items()
        }
        self.derived = frozenset(key for key, one in declaration.property.items() if one.derive)
        self.names = frozenset(self.checks)
        self._schema = {
            key: Column(type=VALUE_TYPES[one.type], unit=one.unit)
            for key, one in declaration.property.items()
            if one.type in VALUE_TYPES
        }
        self._schema |= dict.fromkeys(TIMES, Column(type=ValueType.DATETIME))
        self._faults: list[Fault] = []
        self._where, self._scales, self._lag = where, scales, lag or 0
        self.computed = lag is not None
        """Whether the engine computes values of the type, which it may correct or take back."""
        self.derivations = self._order(self._derivations())
        for key, expression in self.derivations.items():
            if declaration.property[key].grade is None:  # then it tells no more than what it comes from may
                self.checks[key].grade = self._grade_of(expression, self.checks[key].grade)
        self.guarded = any(check.grade > Grade.OPEN for check in self.checks.values())
        self.ranges = self._ranges()
        self.doubts = {key: self._doubted(key) for key in self.derivations}
        self.rules = tuple(self._rule(key, one, place) for key, (one, place) in alerts.items())
        self.least = min((check.grade for check in self.checks.values()), default=Grade.CLOSED)
        self.rule_grades = {rule.name: self._grade_of_rule(rule) for rule in self.rules}
        if self._faults:
            raise DeclarationFaults(self._faults)
        used = [
            *self.derivations.values(),
            *self.ranges.values(),
            *(one for rule in self.rules for one in (rule.when, rule.clear) if one is not None),
        ]
        self.previous = frozenset(one for expression in used for one in expression.needs_previous)
        read = {one for expression in used for one in expression.columns} - self.derived
        self.columns = tuple(key for key in self._schema if key not in TIMES and (key in read or key in self.previous))
        self._frame_schema = {key: FRAME_TYPES[self._schema[key].type] for key in self.columns}
        self.times = tuple(key for key in TIMES if key in read)
        """The times that frames need, as columns of their own."""
        self._frame_schema |= dict.fromkeys(self.times, pl.Int64)
        for key in self.previous:
            self._frame_schema |= {f"{key}__previous": pl.Float64, f"{key}__elapsed_s": pl.Float64}
        self._derive = [[expression.polars().alias(key)] for key, expression in self.derivations.items()]
        self._judge = [expression.polars().alias(f"suspect {key}") for key, expression in self.ranges.items()]
        for rule in self.rules:
            if rule.when is not None:
                self._judge.append(rule.when.polars().alias(f"when {rule.name}"))
            if rule.clear is not None:
                self._judge.append(rule.clear.polars().alias(f"clear {rule.name}"))
        self.computes = bool(self._derive or self._judge)

    def frame(self, rows: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
        """Evaluate everything over the rows: derived columns, `suspect x`, `when rule`, `clear rule`."""
        frame = pl.DataFrame(rows, schema=self._frame_schema, strict=False, nan_to_null=True)
        for layer in self._derive:
            frame = frame.with_columns(layer)
        return frame.with_columns(self._judge) if self._judge else frame

    def why(self, rule: Rule, row: Mapping[str, Any]) -> str:
        """The rule's text and the values it saw, as JSON."""
        if rule.when is None:
            return msgspec.json.encode({"silent_for": rule.declaration.silent_for}).decode()
        return msgspec.json.encode(
            {
                "when": rule.when.text,
                "for": rule.declaration.hold,
                "saw": {key: row.get(key) for key in sorted(rule.when.columns)},
            }
        ).decode()

    def _compile(self, text: str, where: str, wants: ValueType | Column, history: bool = False) -> Expression | None:
        try:
            return compile_expression(
                text, self._schema, where=where, wants=wants, history=history, scales=self._scales
            )
        except DeclarationFaults as error:
            self._faults += error.faults
            return None

    def _derivations(self) -> dict[str, Expression]:
        found = {}
        for key, one in self.declaration.property.items():
            if one.derive:
                if one.type not in VALUE_TYPES:
                    self._fault("bad-type", f"{one.type} cannot be derived", self._at(key, "type"))
                    continue
                expression = self._compile(one.derive, self._at(key, "derive"), Column(VALUE_TYPES[one.type], one.unit))
                if expression is not None:
                    found[key] = expression
        return found

    def _grade_of(self, expression: Expression, least: Grade) -> Grade:
        """The highest grade among what an expression reads, `least` at least."""
        return max([least, *(self.checks[key].grade for key in expression.columns if key not in TIMES)])

    def _grade_of_rule(self, rule: Rule) -> Grade:
        """What an alert tells is graded as what its rule reads; silence, as the type's most open property."""
        grade = Grade.OPEN if rule.when is not None else self.least
        for expression in (rule.when, rule.clear):
            if expression is not None:
                grade = self._grade_of(expression, grade)
        return grade

    def _order(self, derivations: dict[str, Expression]) -> dict[str, Expression]:
        """Derivations so that each follows what it reads; a circle is a fault."""
        ordered: dict[str, Expression] = {}
        waiting = dict(derivations)
        while waiting:
            ready = [key for key, one in waiting.items() if not one.columns & waiting.keys()]
            if not ready:
                self._fault(
                    "circular-derivation",
                    f"{', '.join(waiting)} are derived from one another",
                    self._at(next(iter(waiting)), "derive"),
                )
                break
            ordered |= {key: waiting.pop(key) for key in ready}
        return ordered

    def _doubted(self, key: str) -> frozenset[str]:
        """Properties with a range that a derived one comes from, itself not among them."""
        read = self.derivations[key].columns
        below = (self._doubted(one) for one in read if one in self.derivations)
        return frozenset(one for one in read if one in self.ranges).union(*below)

    def _ranges(self) -> dict[str, Expression]:
        """For each property with a range, an expression that is true outside it."""
        found = {}
        for key, one in self.declaration.property.items():
            bounds = [
                (f"{key} {sign} ({bound})", self._at(key, side), bound)
                for side, sign, bound in (("min", "<", one.min), ("max", ">", one.max))
                if bound is not None
            ]
            if one.outside == "reject":
                for _, place, bound in bounds:
                    if isinstance(bound, str):
                        self._fault(
                            "reject-needs-numbers",
                            "a range that rejects needs plain numbers",
                            place,
                            seen=bound,
                            fix='write a number, or outside = "suspect"',
                        )
                continue
            parts = [text for text, place, _ in bounds if self._compile(text, place, ValueType.BOOLEAN) is not None]
            expression = self._compile(" or ".join(parts), bounds[0][1], ValueType.BOOLEAN) if parts else None
            if expression is not None:
                found[key] = expression
        return found

    def _rule(self, name: str, one: AlertDeclaration, where: Where) -> Rule:
        if bool(one.when) == bool(one.silent_for):
            self._fault(
                "when-or-silent",
                "an alert needs `when` or `silent_for`, and not both",
                where(),
                seen="both" if one.when else "neither",
                fix="keep one of them",
            )
        return Rule(
            name=name,
            declaration=one,
            when=self._compile(one.when, where("when"), ValueType.BOOLEAN, history=True) if one.when else None,
            clear=self._compile(one.clear, where("clear"), ValueType.BOOLEAN, history=True) if one.clear else None,
            hold=duration(one.hold) if one.hold else 0,
            silent_for=duration(one.silent_for) if one.silent_for else 0,
            lag=self._lag,
        )

    def _at(self, name: str, key: str) -> str:
        return str(self._where("property", name, key))

    def _fault(self, code: str, what: str, where: str, seen: str = "", fix: str = "") -> None:
        self._faults.append(Fault(code=code, what=what, where=where, seen=seen, fix=fix))


SUSPECT = int(Mark.SUSPECT)
DERIVED = int(Mark.DERIVED)
