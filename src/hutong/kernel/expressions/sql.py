"""Expressions as SQL of several dialects: templates that sqlglot parses once and transpiles."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final
from typing import Literal as OneOf

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from hutong.kernel.errors import Unsupported
from hutong.kernel.expressions.finite import FINITE
from hutong.kernel.expressions.functions import BLANKS, INTEGER_TEXT, NUMBER_TEXT
from hutong.kernel.expressions.types import INTEGER_MAX, Literal, Node, Reference, ValueType

Dialect = OneOf["duckdb", "sqlite", "postgres", "spark"]

_TYPES: Final[Mapping[ValueType, str]] = {
    ValueType.INTEGER: "BIGINT",
    ValueType.NUMBER: "DOUBLE",
    ValueType.TEXT: "TEXT",
    ValueType.BOOLEAN: "BOOLEAN",
    ValueType.DATETIME: "BIGINT",
    ValueType.OPAQUE: "TEXT",
}
_TEMPLATES: Final[Mapping[str, str]] = {
    FINITE: "CASE WHEN ABS(a) <= 1.7976931348623157e308 THEN a END",
    "not": "NOT a",
    "=": "a = b",
    "!=": "a <> b",
    "<": "a < b",
    "<=": "a <= b",
    ">": "a > b",
    ">=": "a >= b",
    "between": "a BETWEEN b AND c",
    "is null": "a IS NULL",
    "like": "a LIKE b",
    "+": "a + b",
    "-": "a - b",
    "*": "a * b",
    "/": "a / NULLIF(b, 0)",
    "%": "a % NULLIF(b, 0)",
    "negate": "-a",
    "seconds": "(a - b) / 1e6",
    "abs": "ABS(a)",
    "round": "ROUND(a)",
    "floor": "FLOOR(a)",
    "ceil": "CEIL(a)",
    "sqrt": "CASE WHEN a >= 0 THEN SQRT(a) END",
    "ln": "CASE WHEN a > 0 THEN LN(a) END",
    "exp": "EXP(a)",
    "power": "POWER(a, b)",
    "if": "CASE WHEN a THEN b ELSE c END",
    "nullif": "NULLIF(a, b)",
    "lower": "LOWER(a)",
    "upper": "UPPER(a)",
    "length": "LENGTH(a)",
    "trim": f"TRIM(a, '{BLANKS}')",
    "substring": "SUBSTRING(a, b, c)",
    "starts_with": "STARTS_WITH(a, b)",
    "number": "CAST(a AS DOUBLE)",
    "text to number": f"CASE WHEN REGEXP_MATCHES(a, '{NUMBER_TEXT}') THEN CAST(TRIM(a) AS DOUBLE) END",
    "integer": f"CASE WHEN ABS(a) <= {INTEGER_MAX} THEN CAST(TRUNC(a) AS BIGINT) END",
    "text to integer": f"CASE WHEN REGEXP_MATCHES(a, '{INTEGER_TEXT}') THEN CAST(TRIM(a) AS BIGINT) END",
    "text": "CAST(a AS TEXT)",
    "hour": "HOUR(TIMEZONE(b, MAKE_TIMESTAMPTZ(a)))",
    "weekday": "ISODOW(TIMEZONE(b, MAKE_TIMESTAMPTZ(a)))",
}
_SPAN: Final = "b * LN(ABS(a))"  # PostgreSQL fails where a power overflows or underflows
_OTHERS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {
        "round": "TRUNC(a + SIGN(a) * 0.5)",
        "length": "CAST(LENGTH(a) AS BIGINT)",
        "exp": "CASE WHEN a < -745 THEN 0e0 WHEN a < 709.782712893384 THEN EXP(a) END",
        "power": f"CASE WHEN (a = 0 AND b < 0) OR (a < 0 AND b <> FLOOR(b)) THEN NULL WHEN a = 0 THEN POWER(a, b) "
        f"WHEN {_SPAN} < -745 THEN 0e0 WHEN {_SPAN} < 709.782712893384 THEN POWER(a, b) END",
        "hour": "CAST(EXTRACT(HOUR FROM TIMEZONE(b, TO_TIMESTAMP(a / 1e6))) AS BIGINT)",
        "weekday": "CAST(EXTRACT(ISODOW FROM TIMEZONE(b, TO_TIMESTAMP(a / 1e6))) AS BIGINT)",
    },
    "sqlite": {
        "starts_with": "SUBSTR(a, 1, LENGTH(b)) = b",
        "like": "a GLOB b",  # its LIKE ignores case
        # SQLAlchemy puts a FLOOR of its own into SQLite, which fails for large numbers
        "floor": "CASE WHEN ABS(a) >= 4503599627370496 THEN a WHEN CAST(a AS BIGINT) > a THEN CAST(a AS BIGINT) - 1e0 "
        "ELSE CAST(a AS BIGINT) + 0e0 END",
    },
}
_MISSING: Final = {
    "postgres": {"lower", "upper"},  # which follow the locale of the database
    "sqlite": {"lower", "upper", "text to number", "text to integer", "hour", "weekday"},
    "spark": {"hour", "weekday"},
}
"""What a dialect cannot do as the truth tables demand."""
_COMPOUND: Final = (exp.Binary, exp.Not, exp.Neg, exp.Between, exp.In)


def sql_text(node: Node, dialect: Dialect, column: Callable[[str], str] | None) -> str:
    """The tree, which has its tests for infinity, as SQL. Raises Unsupported."""

    def name_of(name: str) -> str:
        return exp.to_identifier(name, quoted=True).sql(dialect=dialect)

    return _sql(node, dialect, column or name_of).sql(dialect=dialect, unsupported_level=ErrorLevel.RAISE)


def _sql(node: Node, dialect: Dialect, column: Callable[[str], str]) -> exp.Expr:
    match node:
        case Literal():
            return _literal(node, dialect)
        case Reference():
            return exp.Var(this=column(node.name))
    if node.function in _MISSING.get(dialect, ()):
        raise Unsupported(f"`{node.function}` is not done by {dialect}", allowed="duckdb", fix="evaluate it elsewhere")
    arguments = [_sql(argument, dialect, column) for argument in node.arguments]
    if node.function in _SERIES:
        return _SERIES[node.function](*arguments)
    if node.function == "like" and dialect == "sqlite":
        arguments[1] = exp.Literal.string("".join(_GLOB.get(c, c) for c in arguments[1].name))
    if node.function == "if" and node.type is ValueType.INTEGER:  # bare literals would be of 32 bits
        arguments[1] = exp.cast(arguments[1], "BIGINT") if isinstance(node.arguments[1], Literal) else arguments[1]
    if (
        dialect == "postgres"
        and node.function in ("<", "<=", ">", ">=", "between")
        and node.arguments[0].type is ValueType.TEXT
    ):
        arguments = [
            exp.Collate(this=_operand(argument), expression=exp.Identifier(this="C", quoted=True))
            for argument in arguments
        ]
    return _filled(_template(node.function, dialect), arguments)


def _literal(node: Literal, dialect: Dialect) -> exp.Expr:
    if node.value is None:
        return exp.cast(exp.null(), _TYPES[node.type or ValueType.TEXT])
    if isinstance(node.value, float):  # with an exponent, or it would be a decimal
        text = repr(abs(node.value))
        number: exp.Expr = exp.Literal(this=text if "e" in text else f"{text}e0", is_string=False)
        number = exp.cast(number, "DOUBLE") if dialect == "postgres" else number
        return exp.Neg(this=number) if node.value < 0 else number
    return exp.convert(node.value)


@cache
def _template(function: str, dialect: str) -> exp.Expr:
    return sqlglot.parse_one(_OTHERS.get(dialect, {}).get(function) or _TEMPLATES[function], dialect="duckdb")


def _filled(template: exp.Expr, arguments: list[exp.Expr]) -> exp.Expr:
    filled = template.copy()
    for place in list(filled.find_all(exp.Column)):
        argument = arguments["abc".index(place.name)]
        place.replace(_operand(argument) if isinstance(place.parent, _COMPOUND) else argument.copy())
    return filled


def _operand(argument: exp.Expr) -> exp.Expr:
    return exp.paren(argument.copy(), copy=False) if isinstance(argument, _COMPOUND) else argument.copy()


def _joined(kind: type[exp.Binary]) -> Callable[..., exp.Expr]:
    def join(first: exp.Expr, *others: exp.Expr) -> exp.Expr:
        joined = _operand(first)
        for other in others:
            joined = kind(this=joined, expression=_operand(other))
        return joined

    return join


_GLOB: Final = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
_SERIES: Final[Mapping[str, Callable[..., exp.Expr]]] = {
    "and": _joined(exp.And),
    "or": _joined(exp.Or),
    "||": _joined(exp.DPipe),
    "in": lambda x, *listed: exp.In(this=_operand(x), expressions=list(listed)),
    "coalesce": lambda first, *others: exp.Coalesce(this=first, expressions=list(others)),
    "least": lambda first, *others: exp.Least(this=first, expressions=list(others), ignore_nulls=True),
    "greatest": lambda first, *others: exp.Greatest(this=first, expressions=list(others), ignore_nulls=True),
}
