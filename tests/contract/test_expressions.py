"""The SQL of expressions on the stores: every row of every truth table, or a plain refusal."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.errors import NumericValueOutOfRange
from sqlalchemy import Connection, create_engine

from hutong.kernel.errors import Unsupported
from hutong.kernel.expressions import Expression, Schema, ValueType
from hutong.kernel.expressions.sql import Dialect
from tests.expressions import Rows, cases, same

TYPES = {
    ValueType.INTEGER: "BIGINT",
    ValueType.NUMBER: "DOUBLE PRECISION",
    ValueType.TEXT: "TEXT",
    ValueType.BOOLEAN: "BOOLEAN",
    ValueType.DATETIME: "BIGINT",
    ValueType.OPAQUE: "TEXT",
}
LACKS = {
    "sqlite": {"lower", "upper", "text to number", "text to integer", "hour", "weekday"},
    "postgres": {"lower", "upper"},
}
OVERFLOWS = {"x0 + x1": {"x0": 1e308, "x1": 1e308}, "x0 * x1": {"x0": 1e200, "x1": 1e200}}
"""What fails the statement on PostgreSQL, where others give missing."""


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url)
    with engine.connect() as connected:
        yield connected
    engine.dispose()


def answers(connection: Connection, expression: Expression, schema: Schema, rows: Rows) -> list[Any]:
    dialect = dialect_of(connection)
    selects = [
        f"SELECT {n} AS n"
        + "".join(
            f', CAST({_sql(row.get(name), dialect)} AS {TYPES[column.type]}) AS "{name}"'
            for name, column in schema.items()
        )
        for n, row in enumerate(rows)
    ]
    cursor = connection.connection.cursor()
    cursor.execute(f"SELECT {expression.sql(dialect)} FROM ({' UNION ALL '.join(selects)}) AS r ORDER BY n")
    values = [value for (value,) in cursor.fetchall()]
    return [value if value is None or expression.type != "boolean" else bool(value) for value in values]


def dialect_of(connection: Connection) -> Dialect:
    return "sqlite" if connection.dialect.name == "sqlite" else "postgres"


def _sql(value: Any, dialect: Dialect) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        if dialect == "postgres":
            return f"'{value}'"
        return "NULL" if math.isnan(value) else f"{value}".replace("inf", "9e999")  # SQLite has no NaN
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def test_tables(connection: Connection) -> None:
    dialect, wrong = dialect_of(connection), []
    for name, case in cases():
        expression = case.compiled()
        if name in LACKS[dialect]:
            with pytest.raises(Unsupported, match=re.escape(f"`{name}` is not done by {dialect}")):
                expression.sql(dialect)
        elif dialect == "postgres" and OVERFLOWS.get(case.text) == case.row:
            with pytest.raises(NumericValueOutOfRange):
                answers(connection, expression, case.schema, [case.row])
            connection.connection.rollback()
        else:
            [value] = answers(connection, expression, case.schema, [case.row])
            if not same(value, case.result):
                wrong.append(f"{case.text} over {case.row}: {value!r}, not {case.result!r}: {expression.sql(dialect)}")
    assert not wrong, "\n".join(wrong)
