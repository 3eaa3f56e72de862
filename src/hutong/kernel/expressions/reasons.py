"""Expressions over one row in plain Python, and why they come out as they do."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from hutong.kernel.clock import moment
from hutong.kernel.expressions.functions import BLANKS, FUNCTIONS, INTEGER_TEXT, NUMBER_TEXT, like_pattern
from hutong.kernel.expressions.types import INTEGER_MAX, Call, Literal, Node, Reference, Value, ValueType


class Reason(msgspec.Struct, frozen=True):
    """One condition: its text, the values it saw by the names the author wrote, and what it came to."""

    text: str
    values: Mapping[str, Value]
    result: Value


class Explanation(msgspec.Struct, frozen=True):
    """What an expression came to in a row, and the conditions it is made of. Missing is None, and is not true."""

    text: str
    value: Value
    reasons: tuple[Reason, ...]


def computed(node: Node, row: Mapping[str, Any]) -> Value:
    """The value of the tree in the row; columns that the row lacks are missing."""
    match node:
        case Literal():
            return node.value
        case Reference():
            return _kept(row.get(node.name), node.type)
        case Call():
            values = [computed(argument, row) for argument in node.arguments]
            if None in values and not FUNCTIONS[node.function].lenient:
                return None
            try:
                return _kept(PYTHON[node.function](*values), node.type)
            except (ArithmeticError, ValueError):  # division by zero, overflow, outside the domain: missing
                return None


def seen(node: Node, row: Mapping[str, Any]) -> dict[str, Value]:
    """The values of the columns below the tree, in the order written."""
    return {reference.label: computed(reference, row) for reference in references(node)}


def references(node: Node) -> Iterator[Reference]:
    """The columns that the tree reads, in the order written, repeats included."""
    if isinstance(node, Reference):
        yield node
    elif isinstance(node, Call):
        for argument in node.arguments:
            yield from references(argument)


def _kept(value: Any, kind: ValueType | None) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if kind is ValueType.NUMBER and value is not None else value


def _both(*values: bool | None) -> bool | None:
    return False if False in values else None if None in values else True


def _either(*values: bool | None) -> bool | None:
    return True if True in values else None if None in values else False


def _between(x: Any, low: Any, high: Any) -> bool | None:
    return _both(None if None in (x, low) else x >= low, None if None in (x, high) else x <= high)


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: choose((value for value in values if value is not None), default=None)


def _round(x: float) -> float:
    whole = math.trunc(x)
    return whole + math.copysign(1, x) if abs(x - whole) >= 0.5 else whole


def _local(at: int, zone: str) -> datetime:
    return moment(at).astimezone(ZoneInfo(zone))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.removesuffix("$") + r"\Z")  # as in Rust and RE2, where $ does not pass over a line end


def _read(pattern: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: convert(found[1]) if (found := _pattern(pattern).match(text)) else None


PYTHON: Final[Mapping[str, Callable[..., Any]]] = {
    "and": _both,
    "or": _either,
    "not": operator.not_,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "between": _between,
    "in": lambda x, *listed: x in listed,
    "is null": lambda x: x is None,
    "like": lambda x, pattern: _pattern(like_pattern(pattern)).match(x) is not None,
    "+": operator.add,
    "-": operator.sub,
    "seconds": lambda later, earlier: (later - earlier) / 1e6,
    "*": operator.mul,
    "/": operator.truediv,
    "%": lambda a, b: abs(a) % abs(b) * (1 if a >= 0 else -1),
    "negate": operator.neg,
    "abs": abs,
    "round": _round,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "ln": math.log,
    "exp": math.exp,
    "power": math.pow,
    "if": lambda condition, yes, no: yes if condition else no,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "nullif": lambda x, y: None if x == y else x,
    "least": _extreme(min),
    "greatest": _extreme(max),
    "||": lambda *parts: "".join(parts),
    "lower": str.lower,
    "upper": str.upper,
    "length": len,
    "trim": lambda x: x.strip(BLANKS),
    "substring": lambda x, start, length: x[start - 1 : start - 1 + length],
    "starts_with": str.startswith,
    "number": float,
    "text to number": _read(NUMBER_TEXT, float),
    "integer": lambda x: int(x) if abs(x) <= INTEGER_MAX else None,
    "text to integer": _read(INTEGER_TEXT, int),
    "text": str,
    "hour": lambda at, zone: _local(at, zone).hour,
    "weekday": lambda at, zone: _local(at, zone).isoweekday(),
}
"""What computes each function over values of which none is missing, unless it is lenient."""
