"""Lookups in dated tables, written out as conditions, so that every engine answers them alike."""

from collections.abc import Iterable
from itertools import pairwise

from msgspec.structs import replace

from hutong.kernel.expressions.calls import FAULTY, Refused, call, described, rendered
from hutong.kernel.expressions.scales import (
    ClassDeclaration,
    ClassTable,
    Dated,
    DatedTable,
    LimitDeclaration,
    LimitTable,
    Period,
    ScaleDeclaration,
    Scales,
    ScaleTable,
    periods,
)
from hutong.kernel.expressions.types import Literal, Node, ValueType
from hutong.kernel.packs.faults import listed, meant

DUST_DECIMALS = 6
"""Results are rounded to so many places before they are carried up: binary fractions leave dust."""
_NULL = Literal(None, None)


def lookup(function: str, scales: Scales, name: Node, value: Node, at: Node) -> Node:
    """`scale`, `class_of` or `limit_of` of a value at an instant. Raises Refused."""
    if any(one is FAULTY for one in (name, value, at)):
        return FAULTY
    if not isinstance(name, Literal) or not isinstance(name.value, str):
        raise Refused(
            "type",
            "the table is named by a text written down",
            seen=described(name),
            allowed=listed(scales.names(function)) or "a table of scales.toml",
            fix=f"write {function}('name', {rendered(value)})",
        )
    declared = scales.find(function, name.value)
    if declared is None:
        raise Refused(
            "name",
            "no such table",
            seen=name.value,
            allowed=listed(scales.names(function)) or "none is declared",
            fix=meant(name.value, scales.names(function)) or "declare it in scales.toml",
        )
    _fits(declared, value)
    chain: Node = Literal(None, _gives(declared))
    for table, period in periods(declared):  # the latest ends up outermost, where it is asked for first
        chain = call("if", _within(at, period), _written_out(declared, table, value), chain)
    return replace(chain, unit=declared.gives) if not isinstance(declared, ClassDeclaration) else chain


def _gives(declared: Dated) -> ValueType:
    """The type of what it gives; of classes that nobody has recorded yet, a text."""
    match declared:
        case ScaleDeclaration(round=rule):
            return ValueType.NUMBER if rule == "none" else ValueType.INTEGER
        case ClassDeclaration(table=tables):
            known = next((one for table in tables for one in table.classes), "")
            return ValueType.TEXT if isinstance(known, str) else ValueType.INTEGER
    return ValueType.NUMBER


def _fits(declared: Dated, value: Node) -> None:
    if isinstance(declared, LimitDeclaration) or isinstance(value, Literal):
        return
    if value.unit != declared.unit:
        raise Refused(
            "unit",
            "the table is for another unit",
            seen=described(value),
            allowed=declared.unit,
            fix=f"write convert({rendered(value)}, '{declared.unit}')"
            if value.unit
            else "declare the unit of the property",
        )


def _within(at: Node, period: Period) -> Node:
    begun = call(">=", at, Literal(period.begin, ValueType.DATETIME))
    if period.end is None:
        return begun
    return call("and", begun, call("<", at, Literal(period.end, ValueType.DATETIME)))


def _written_out(declared: Dated, table: DatedTable, value: Node) -> Node:
    match declared, table:
        case _, DatedTable(unknown=why) if why is not None:
            return _NULL
        case ScaleDeclaration(round=rule), ScaleTable():
            return _interpolated(table, rule, value)
        case ClassDeclaration(), ClassTable():
            sign, limits = ("<=", table.most) if table.most else (">=", table.least)
            steps = [(call(sign, value, _number(limit)), limit) for limit in limits]
            classes = [Literal(one, _gives(declared)) for one in table.classes]
            rest = call("if", call("not", call("is null", value)), classes[-1], _NULL)
            return _chain(zip((step for step, _ in steps), classes, strict=False), rest)
        case LimitDeclaration(), LimitTable(limits=limits_by):
            return _chain(
                ((call("=", value, Literal(key, ValueType.TEXT)), _number(limit)) for key, limit in limits_by.items()),
                _NULL,
            )
    raise AssertionError(table)


def _interpolated(table: ScaleTable, rule: str, value: Node) -> Node:
    """Linear between the points; below the first missing, above the last what `above` says."""
    value = replace(value, unit="") if not isinstance(value, Literal) else value
    pieces = []
    for (low, gives), (high, until) in pairwise(table.points):
        step = call("-", value, _number(low))
        risen = call("/", call("*", step, _number(until - gives)), _number(high - low))
        pieces.append((call("<=", value, _number(high)), _rounded(call("+", risen, _number(gives)), rule)))
    last = table.points[-1][0]
    above = _NULL if table.above is None else _rounded(_number(table.above), rule)
    rest = call("if", call(">", value, _number(last)), above, _NULL)
    return call("if", call(">=", value, _number(table.points[0][0])), _chain(pieces, rest), _NULL)


def _rounded(value: Node, rule: str) -> Node:
    if rule == "none":
        return value
    if rule == "up":
        value = call("ceil", call("round to", value, Literal(DUST_DECIMALS, ValueType.INTEGER)))
    else:
        value = call("round", value)
    return call("integer", value)


def _chain(pieces: Iterable[tuple[Node, Node]], rest: Node) -> Node:
    for condition, result in reversed(list(pieces)):
        rest = call("if", condition, result, rest)
    return rest


def _number(value: float) -> Literal:
    return Literal(float(value), ValueType.NUMBER)
