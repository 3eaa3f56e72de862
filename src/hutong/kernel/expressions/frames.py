"""Expressions over Polars frames."""

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Final

import polars as pl

from hutong.kernel.expressions.finite import FINITE
from hutong.kernel.expressions.functions import BLANKS, FUNCTIONS, INTEGER_TEXT, NUMBER_TEXT, like_pattern
from hutong.kernel.expressions.types import INTEGER_MAX, Call, Literal, Node, Reference, ValueType

POLARS_TYPES: Final[Mapping[ValueType, type[pl.DataType]]] = {
    ValueType.INTEGER: pl.Int64,
    ValueType.NUMBER: pl.Float64,
    ValueType.TEXT: pl.String,
    ValueType.BOOLEAN: pl.Boolean,
    ValueType.DATETIME: pl.Int64,
    ValueType.OPAQUE: pl.String,
}
"""What columns of each type are in a frame; OPAQUE ones may be anything."""


def polars_of(node: Node) -> pl.Expr:
    """The tree, which has its tests for infinity, as a Polars expression."""
    match node:
        case Literal():
            return pl.lit(node.value, dtype=POLARS_TYPES[node.type or ValueType.TEXT])
        case Reference():
            return pl.col(node.name)
        case Call():
            first = FUNCTIONS[node.function].literals if node.function in FUNCTIONS else len(node.arguments)
            values = (a.value for a in node.arguments[first:] if isinstance(a, Literal))
            return POLARS[node.function](*map(polars_of, node.arguments[:first]), *values)


def _local(at: pl.Expr, zone: str) -> pl.Expr:
    return at.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)


def _round(x: pl.Expr) -> pl.Expr:
    return x.round(0, mode="half_away_from_zero")


POLARS: Final[dict[str, Callable[..., pl.Expr]]] = {
    FINITE: lambda x: pl.when(x.is_finite()).then(x),
    "and": lambda *all_: reduce(operator.and_, all_),
    "or": lambda *any_: reduce(operator.or_, any_),
    "not": operator.invert,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "between": pl.Expr.is_between,
    "in": lambda x, *listed: x.is_in(listed),
    "is null": pl.Expr.is_null,
    "like": lambda x, pattern: x.str.contains(like_pattern(pattern)),
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negate": operator.neg,
    "seconds": lambda later, earlier: (later - earlier) / 1e6,
    "%": lambda a, b: (a.abs() % b.abs()) * a.sign(),
    "abs": pl.Expr.abs,
    "round": _round,
    "floor": pl.Expr.floor,
    "ceil": pl.Expr.ceil,
    "sqrt": pl.Expr.sqrt,
    "ln": pl.Expr.log,
    "exp": pl.Expr.exp,
    "power": operator.pow,
    "if": lambda condition, yes, no: pl.when(condition).then(yes).otherwise(no),
    "coalesce": lambda *values: pl.coalesce(*values),
    "nullif": lambda x, y: pl.when(x.ne_missing(y)).then(x),
    "least": lambda *values: pl.min_horizontal(*values),
    "greatest": lambda *values: pl.max_horizontal(*values),
    "||": lambda *parts: pl.concat_str(*parts),
    "lower": lambda x: x.str.to_lowercase(),
    "upper": lambda x: x.str.to_uppercase(),
    "length": lambda x: x.str.len_chars().cast(pl.Int64),
    "trim": lambda x: x.str.strip_chars(BLANKS),
    "substring": lambda x, start, length: x.str.slice(start - 1, length),
    "starts_with": lambda x, y: x.str.starts_with(y),
    "number": lambda x: x.cast(pl.Float64),
    "text to number": lambda x: x.str.extract(NUMBER_TEXT).cast(pl.Float64),
    "integer": lambda x: pl.when(x.abs() <= INTEGER_MAX).then(x).cast(pl.Int64, strict=False),
    "text to integer": lambda x: x.str.extract(INTEGER_TEXT).cast(pl.Int64),
    "text": lambda x: x.cast(pl.String),
    "hour": lambda at, zone: _local(at, zone).dt.hour().cast(pl.Int64),
    "weekday": lambda at, zone: _local(at, zone).dt.weekday().cast(pl.Int64),
}
