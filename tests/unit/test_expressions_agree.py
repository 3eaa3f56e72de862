"""Polars, DuckDB and the explanation agree on random expressions over random rows."""

import math
from typing import Any

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions import Column, ValueType, compile_expression
from tests.expressions import ENGINES, same

INTEGER, NUMBER, TEXT, BOOLEAN, DATETIME = list(ValueType)[:5]
SCHEMA = {
    name: Column(kind)
    for names, kind in (("i j", INTEGER), ("x y", NUMBER), ("s t", TEXT), ("p q", BOOLEAN), ("at", DATETIME))
    for name in names.split()
}
VALUES: dict[ValueType, list[Any]] = {
    INTEGER: [None, 0, 1, -1, 7, -3, 2**53, -(2**53)],
    NUMBER: [None, 0.0, -0.0, 1.0, -2.5, 0.125, 3.0, 1e308, -1e-308, math.nan, math.inf, -math.inf],
    TEXT: [None, "", "a", "Ab", "12", " -3.5 ", "1e3", "停车场", "a b"],
    BOOLEAN: [None, True, False],
    DATETIME: [None, 0, 1_700_000_000_000_000, 1_800_000_123_456_789],
}
LITERALS = {
    INTEGER: ["0", "1", "-2", "10"],
    NUMBER: ["0.5", "-1.25", "100.0", "1e300"],
    TEXT: ["'a'", "'12'", "''", "'停'"],
    BOOLEAN: ["true", "false"],
    DATETIME: ["'2026-05-01T10:00:00+08:00'"],
}
FORMS: dict[ValueType, list[tuple[str, list[ValueType]]]] = {
    INTEGER: [
        ("({} + {})", [INTEGER, INTEGER]),
        ("({} - {})", [INTEGER, INTEGER]),
        ("({} * 3)", [INTEGER]),
        ("({} % {})", [INTEGER, INTEGER]),
        ("-({})", [INTEGER]),
        ("abs({})", [INTEGER]),
        ("length({})", [TEXT]),
        ("cast({} as integer)", [NUMBER]),
        ("cast({} as integer)", [TEXT]),
        ("if({}, {}, {})", [BOOLEAN, INTEGER, INTEGER]),
        ("hour({}, 'Asia/Shanghai')", [DATETIME]),
        ("coalesce({}, {})", [INTEGER, INTEGER]),
        ("least({}, {}, {})", [INTEGER, INTEGER, INTEGER]),
    ],
    NUMBER: [
        ("({} + {})", [NUMBER, NUMBER]),
        ("({} - {})", [NUMBER, INTEGER]),
        ("({} * {})", [NUMBER, NUMBER]),
        ("({} * {})", [INTEGER, INTEGER]),
        ("({} / {})", [NUMBER, NUMBER]),
        ("({} / {})", [INTEGER, INTEGER]),
        ("round({})", [NUMBER]),
        ("round({}, 1)", [NUMBER]),
        ("floor({})", [NUMBER]),
        ("ceil({})", [NUMBER]),
        ("sqrt({})", [NUMBER]),
        ("abs({})", [NUMBER]),
        ("cast({} as number)", [TEXT]),
        ("nullif({}, {})", [NUMBER, NUMBER]),
        ("coalesce({}, {}, 1)", [NUMBER, NUMBER]),
        ("greatest({}, {})", [NUMBER, NUMBER]),
        ("case when {} then {} end", [BOOLEAN, NUMBER]),
        ("({} - {})", [DATETIME, DATETIME]),
    ],
    TEXT: [
        ("({} || {})", [TEXT, TEXT]),
        ("trim({})", [TEXT]),
        ("lower({})", [TEXT]),
        ("upper({})", [TEXT]),
        ("substring({}, 2, 2)", [TEXT]),
        ("coalesce({}, {})", [TEXT, TEXT]),
        ("cast({} as text)", [INTEGER]),
    ],
    BOOLEAN: [
        ("({} and {})", [BOOLEAN, BOOLEAN]),
        ("({} or {})", [BOOLEAN, BOOLEAN]),
        ("not ({})", [BOOLEAN]),
        ("({} < {})", [NUMBER, NUMBER]),
        ("({} >= {})", [INTEGER, NUMBER]),
        ("({} = {})", [INTEGER, INTEGER]),
        ("({} != {})", [TEXT, TEXT]),
        ("({} <= {})", [TEXT, TEXT]),
        ("({} > {})", [DATETIME, DATETIME]),
        ("({} between {} and {})", [NUMBER, NUMBER, NUMBER]),
        ("({} is null)", [NUMBER]),
        ("({} is not null)", [TEXT]),
        ("({} in (1, 7.5))", [NUMBER]),
        ("({} not in ('a', '12'))", [TEXT]),
        ("({} like '%a_')", [TEXT]),
        ("starts_with({}, {})", [TEXT, TEXT]),
        ("({} = {})", [BOOLEAN, BOOLEAN]),
    ],
    DATETIME: [("coalesce({}, {})", [DATETIME, DATETIME])],
}


@st.composite
def texts(draw: st.DrawFn, kind: ValueType, depth: int = 3) -> str:
    """An expression of a type, `depth` calls deep at most."""
    leaf = depth == 0 or draw(st.integers(0, 5)) == 0
    if leaf and draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(LITERALS[kind]))
    if leaf:
        return draw(st.sampled_from([name for name, column in SCHEMA.items() if column.type is kind]))
    form, kinds = draw(st.sampled_from(FORMS[kind]))
    return form.format(*[draw(texts(inner, depth - 1)) for inner in kinds])


rows = st.lists(
    st.fixed_dictionaries({name: st.sampled_from(VALUES[column.type]) for name, column in SCHEMA.items()}),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=st.sampled_from([BOOLEAN, NUMBER, INTEGER, TEXT]).flatmap(texts), rows=rows)
def test_engines_agree(text: str, rows: list[dict[str, Any]]) -> None:
    try:
        expression = compile_expression(text, SCHEMA, where="random")
    except DeclarationFaults as faults:
        if any("too" in fault.what or "out of range" in fault.what for fault in faults.faults):
            reject()  # a bound
        raise
    answers = {name: engine(expression, SCHEMA, rows) for name, engine in ENGINES.items()}
    for polars, python, duckdb in zip(*(answers[name] for name in ("polars", "python", "duckdb")), strict=True):
        assert same(polars, python, 1e-9), text
        assert same(duckdb, python, 1e-9), text
