"""Truth tables of expressions as cases, and the engines in this process that answer them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import polars as pl

from hutong.kernel.expressions import (
    AT,
    EXAMPLE,
    POLARS_TYPES,
    Column,
    Expression,
    Schema,
    ValueType,
    compile_expression,
)
from hutong.kernel.expressions.functions import FUNCTIONS, Function

Rows = Sequence[Mapping[str, Any]]


class Case(NamedTuple):
    """A row of a truth table: an expression over columns, their values, and what it must come to."""

    text: str
    schema: Schema
    row: Mapping[str, Any]
    result: Any

    def compiled(self) -> Expression:
        return compile_expression(self.text, self.schema, where="table", history=True, scales=EXAMPLE)


def cases() -> Iterator[tuple[str, Case]]:
    """All rows of all truth tables, each with the name of its function."""
    for function in FUNCTIONS.values():
        for *arguments, result in function.rows:
            yield function.name, _case(function, arguments, result)


def frame(schema: Schema, rows: Rows) -> pl.DataFrame:
    types = {name: POLARS_TYPES[column.type] for name, column in schema.items()}
    return pl.DataFrame([[row.get(name) for name in types] for row in rows], schema=types, orient="row")


def on_polars(expression: Expression, schema: Schema, rows: Rows) -> list[Any]:
    return expression.evaluate(frame(schema, rows)).to_list()


def on_python(expression: Expression, schema: Schema, rows: Rows) -> list[Any]:
    return [expression.explain(row).value for row in rows]


def on_duckdb(expression: Expression, schema: Schema, rows: Rows) -> list[Any]:
    with duckdb.connect() as connection:
        connection.register("rows", frame(schema, rows).to_arrow())
        return [value for (value,) in connection.execute(f"SELECT {expression.sql('duckdb')} FROM rows").fetchall()]


ENGINES: Mapping[str, Callable[[Expression, Schema, Rows], list[Any]]] = {
    "polars": on_polars,
    "python": on_python,
    "duckdb": on_duckdb,
}


def same(value: Any, expected: Any, rel: float = 1e-14) -> bool:
    """Whether two engines say the same; NaN never is."""
    if isinstance(value, str | bool | None) or isinstance(expected, str | bool | None):
        return value == expected and type(value) is type(expected)
    return math.isclose(value, expected, rel_tol=rel)


def _case(function: Function, arguments: list[Any], result: Any) -> Case:
    if function.name in ("previous", "rate"):
        names = ("x", "x__previous", "x__elapsed_s")[: len(arguments)]
        schema = {
            "x": Column(ValueType.INTEGER),
            "x__previous": Column(ValueType.INTEGER),
            "x__elapsed_s": Column(ValueType.NUMBER),
        }
        return Case(function.form.format("x"), schema, dict(zip(names, arguments, strict=True)), result)
    if function.name in ("scale", "class_of", "limit_of"):
        kind, unit = {"scale": ("number", "GQ"), "class_of": ("number", "GP"), "limit_of": ("text", "")}[function.name]
        schema = {"x": Column(ValueType(kind), unit), AT: Column(ValueType.DATETIME)}
        return Case(function.form.format("x"), schema, dict(zip(("x", AT), arguments, strict=True)), result)
    unit = "KMH" if function.name == "convert" else ""
    row = {f"x{i}": value for i, value in enumerate(arguments) if i < function.literals}
    takes = [function.accepts(i) for i in range(len(row))]
    company = next((type(value) for value in reversed(arguments) if value is not None), None)
    schema = {
        name: Column(_type(value, allowed, company), unit)
        for (name, value), allowed in zip(row.items(), takes, strict=True)
    }
    written = [*row, *(repr(value) for value in arguments[len(row) :])]
    return Case(function.form.format(*written), schema, row, result)


def _type(value: Any, allowed: frozenset[ValueType], company: type | None) -> ValueType:
    """The type of a value in a table; one that is missing is of the type of those beside it."""
    found = {bool: ValueType.BOOLEAN, int: ValueType.INTEGER, float: ValueType.NUMBER, str: ValueType.TEXT}.get(
        company if value is None and company else type(value)
    )
    return found if found in allowed else min(allowed)
