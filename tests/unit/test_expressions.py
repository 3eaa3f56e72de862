"""What packs can say in expressions, what they are told when they cannot, and why an answer is what it is."""

from typing import Any

import polars as pl
import pytest
import sqlglot

from hutong.kernel.errors import DeclarationFaults, Fault, Unsupported
from hutong.kernel.expressions import Column, Expression, Reason, ValueType, compile_expression
from hutong.kernel.expressions.finite import FINITE
from hutong.kernel.expressions.frames import POLARS
from hutong.kernel.expressions.functions import FUNCTIONS
from hutong.kernel.expressions.reasons import PYTHON
from tests.expressions import frame

INTEGER, NUMBER, TEXT, BOOLEAN, DATETIME, OPAQUE = ValueType
SCHEMA = {
    "free": Column(INTEGER, "C62"),
    "total": Column(INTEGER, "C62"),
    "speed": Column(NUMBER, "KMH"),
    "limit": Column(NUMBER, "MTS"),
    "temp": Column(NUMBER, "CEL"),
    "share": Column(NUMBER, "P1"),
    "weight": Column(NUMBER),
    "status": Column(TEXT),
    "open": Column(BOOLEAN),
    "at": Column(DATETIME),
    "location": Column(OPAQUE),
    "Parking ID": Column(TEXT),
    "车位": Column(INTEGER),
}


def compiled(text: str, wants: ValueType | Column | None = None, history: bool = False) -> Expression:
    return compile_expression(text, SCHEMA, where="alerts.toml:12", wants=wants, history=history)


def faults_of(text: str, wants: ValueType | Column | None = None, history: bool = False) -> tuple[Fault, ...]:
    with pytest.raises(DeclarationFaults) as raised:
        compiled(text, wants, history)
    return raised.value.faults


@pytest.mark.parametrize(
    ("text", "kind", "unit"),
    [
        ("free", INTEGER, "C62"),
        ("free + 1", INTEGER, "C62"),
        ("free * total", NUMBER, "C62"),
        ("free * 1000", INTEGER, "C62"),
        ("free / total", NUMBER, "C62"),
        ("speed * 2", NUMBER, "KMH"),
        ("free * speed", NUMBER, "KMH"),
        ("speed * temp", NUMBER, ""),
        ("speed / speed", NUMBER, "C62"),
        ("speed / temp", NUMBER, ""),
        ("convert(speed, 'MTS') - limit", NUMBER, "MTS"),
        ("as_unit(speed * 0.5, 'KGM')", NUMBER, "KGM"),
        ("speed > 50 and temp < weight", BOOLEAN, ""),
        ("at - '2026-05-01T00:00:00+08:00'", NUMBER, "SEC"),
        ("case status when 'a' then speed when 'b' then null else 0 end", NUMBER, "KMH"),
        ("round(speed, 1)", NUMBER, "KMH"),
        ("cast(round(speed) as integer)", INTEGER, "KMH"),
        ("concat(status, '-', \"Parking ID\")", TEXT, ""),
        ("车位 >= 3 -- 注释", BOOLEAN, ""),
        ("location is null", BOOLEAN, ""),
        ("location", OPAQUE, ""),
        ("IF(open, 1, 2.5)", NUMBER, ""),
        ("status::integer", INTEGER, ""),
    ],
)
def test_types_and_units(text: str, kind: ValueType, unit: str) -> None:
    expression = compiled(text)
    assert (expression.type, expression.unit) == (kind, unit)


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        ("freee > 3", "name", ["no such column", "seen: freee", "total", "did you mean `free`?"]),
        ('status = "closed"', "name", ["write 'closed' if it is a text"]),
        ("t.free > 3", "name", ["no such column"]),
        ("roundd(speed)", "name", ["no such function", "did you mean `round`?"]),
        ("min(free, total)", "name", ["use `least`"]),
        ("sum(free)", "name", ["no such function"]),
        ("status > 5", "type", ["status (text), 5 (integer)", "write cast(status as integer)"]),
        ("open + 1", "type", ["does not take boolean", "allowed: integer, number"]),
        ("free and open", "type", ["does not take integer", "such as free is not null"]),
        ("location = status", "type", ["does not take opaque"]),
        ("open = null", "type", ["write `is null` or `is not null`"]),
        ("at > '2026-05-01'", "type", ["without offset", "add Z or +08:00"]),
        ("cast(speed as text)", "type", ["write cast(round(speed) as integer)"]),
        ("cast(status as date)", "type", ["allowed: number, integer, text"]),
        ("round(speed, 13)", "type", ["from 0 to 12"]),
        ("substring(status, free, 1)", "type", ["argument 2 must be written down"]),
        ("hour(at, 'Asia/Shangai')", "type", ["did you mean `Asia/Shanghai`?"]),
        ("hour(at)", "type", ["takes 2 arguments", "allowed: hour(x, y)"]),
        ("free in (1, total)", "type", ["argument 3 must be written down"]),
        ("null", "type", ["is always missing"]),
        ("1e999", "type", ["too large"]),
        ("speed > temp", "unit", ["speed (number, KMH), temp (number, CEL)", "values of one quantity"]),
        ("speed + limit", "unit", ["write convert(limit, 'KMH')"]),
        ("share > free / total", "unit", ["write convert(free / total, 'P1')"]),
        ("as_unit(speed, 'KILO')", "unit", ["not a known unit code"]),
        ("convert(temp, 'KMH')", "unit", ["temperature cannot be given as speed"]),
        ("convert(weight, 'KGM')", "unit", ["its unit is not known"]),
        ("rate(free) < 0", "history", ["not known here"]),
        ("", "syntax", ["empty"]),
        ("free; total", "syntax", ["several statements"]),
        ("free >", "syntax", ["line 1, column 6"]),
        ("'abc", "syntax", ["close each quote"]),
        ("drop table x", "syntax", ["not part of expressions"]),
        ("select free", "syntax", ["not part of expressions"]),
        ("free in (select 1)", "syntax", ["not part of expressions"]),
        ("sum(free) over ()", "syntax", ["not part of expressions"]),
        ("open is true", "syntax", ["write `coalesce(x, false)`"]),
        ("free f", "syntax", ["not part of expressions"]),
        ("(" * 5000 + "free" + ")" * 5000, "syntax", ["nested too deeply"]),
        ("+".join(["free"] * 80), "syntax", ["too long or too deep"]),
        (f"free in ({','.join(map(str, range(300)))})", "syntax", ["too long or too deep"]),
        ("1/(" * 12 + "speed" + ")" * 12, "syntax", ["too deep a chain of divisions"]),
    ],
)
def test_faults(text: str, code: str, parts: list[str]) -> None:
    [fault] = faults_of(text)
    assert fault.code == f"expression-{code}"
    assert fault.where == "alerts.toml:12"
    assert fault.allowed
    assert fault.fix
    assert not [part for part in parts if part not in str(fault)], str(fault)


def test_all_faults_at_once() -> None:
    faults = faults_of("fre > 3 and statuss = 'x' and speed > temp and length(open) > 2")
    assert [fault.what for fault in faults] == [
        "`fre`: no such column",
        "`statuss`: no such column",
        "`speed > temp`: mixes units",
        "`length(open)`: does not take boolean",
    ]


@pytest.mark.parametrize(
    ("text", "wants", "part"),
    [
        ("free / total", INTEGER, "write cast(round(free / total) as integer)"),
        ("status", NUMBER, "write cast(status as number)"),
        ("free", TEXT, "write cast(free as text)"),
        ("free > 1", NUMBER, "gives boolean"),
        ("speed", Column(NUMBER, "MTS"), "write convert(speed, 'MTS')"),
    ],
)
def test_wanted_type_faults(text: str, wants: ValueType | Column, part: str) -> None:
    [fault] = faults_of(text, wants)
    assert part in str(fault)


def test_wanted_type_given() -> None:
    assert compiled("free", NUMBER).evaluate(frame(SCHEMA, [{"free": 3}])).dtype == pl.Float64
    assert compiled("null", TEXT).explain({}).value is None
    assert compiled("'2026-05-01T08:00:00+08:00'", DATETIME).explain({}).value == 1_777_593_600_000_000
    assert compiled("convert(speed, 'MTS')", Column(NUMBER, "MTS")).unit == "MTS"
    assert compiled("weight * 2", Column(NUMBER, "KGM")).unit == "", "an unknown unit is no wrong unit"


def test_columns() -> None:
    expression = compiled(
        "free < total and \"Parking ID\" = 'x' and previous(speed) > 3 and rate(free) < 0", history=True
    )
    assert expression.columns == {"free", "total", "Parking ID", "speed"}
    assert expression.needs_previous == {"speed", "free"}
    assert compiled("1 + 1 > 1").columns == frozenset()


@pytest.mark.parametrize(
    "text", ["rate(status)", "previous(free + 1)", "previous()", "rate(previous(free))", "rate(1)"]
)
def test_history_looks_back_on_one_column(text: str) -> None:
    [fault] = faults_of(text, history=True)
    assert fault.code == "expression-type"


def test_rate() -> None:
    rate = compiled("rate(free) < -0.5", history=True)
    rows: list[dict[str, Any]] = [
        {"free": 10, "free__previous": 100, "free__elapsed_s": 60.0},
        {"free": 90, "free__previous": 100, "free__elapsed_s": 60.0},
        {"free": 10, "free__previous": 100, "free__elapsed_s": 0.0},
        {"free": 10},
    ]
    schema = {"free": INTEGER, "free__previous": INTEGER, "free__elapsed_s": NUMBER}
    values = rate.evaluate(frame({name: Column(kind) for name, kind in schema.items()}, rows)).to_list()
    assert values == [True, False, None, None]
    [reason] = rate.explain(rows[0]).reasons
    assert reason.values == {"free": 10, "previous(free)": 100, "elapsed_s(free)": 60.0}


def test_explanation() -> None:
    text = "free / total < 0.1 and not open and (status in ('a', 'b') and temp between 1 and 3)"
    found = compiled(text).explain({"free": 5, "total": 0, "open": False, "status": "c", "temp": float("nan")})
    assert (found.text, found.value) == (text, False)
    assert found.reasons == (
        Reason("free / total < 0.1", {"free": 5, "total": 0}, None),
        Reason("NOT open", {"open": False}, True),
        Reason("status IN ('a', 'b')", {"status": "c"}, False),
        Reason("temp BETWEEN 1 AND 3", {"temp": None}, None),
    )


def test_explanation_keeps_the_words_of_the_author() -> None:
    texts = ["free is not null", "temp between 1 and 2", "case when open and free>1 then true else false end",
             "status not in ('and', 'b')", "(open or free > 3)"]  # fmt: skip
    assert [reason.text for reason in compiled("  and ".join(texts)).explain({}).reasons] == texts


def test_missing_is_not_true() -> None:
    rows = frame(SCHEMA, [{"speed": 60.0}, {"speed": float("nan")}, {"speed": float("inf")}, {}])
    assert rows.filter(compiled("speed > 50").polars()).height == 1
    assert rows.filter(compiled("not speed > 50").polars()).height == 0


def test_constants_and_empty_frames() -> None:
    assert compiled("1 + 1").evaluate(frame(SCHEMA, [{}, {}])).to_list() == [2, 2]
    assert compiled("free > 1").evaluate(frame(SCHEMA, [])).to_list() == []
    assert frame(SCHEMA, [{}, {}]).filter(compiled("true").polars()).height == 2


def test_sql_names_columns_as_told() -> None:
    expression = compiled("\"Parking ID\" || status = 'it''s'")
    assert expression.sql("duckdb") == """("Parking ID" || "status") = 'it''s'"""
    assert expression.sql("spark").startswith("(`Parking ID` || `status`) = ")
    assert expression.sql("sqlite", lambda name: f"json('{name}')").startswith("(json('Parking ID') || json('status'))")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_everywhere(name: str) -> None:
    written_out = (
        "round to",
        "convert",
        "as_unit",
        "previous",
        "rate",
        "names_of_greatest",
        "scale",
        "class_of",
        "limit_of",
    )
    if name not in written_out:  # in terms of others
        assert name in POLARS
        assert name in PYTHON


def test_nothing_else_is_anywhere() -> None:
    assert set(POLARS) - {FINITE} == set(PYTHON) <= set(FUNCTIONS)


def test_spark_reads_its_sql() -> None:
    text = "case when free / total > 0.5 then round(speed, 1) end > 3 and status like 'a%' and free % 2 = 0"
    sql = compiled(text).sql("spark")
    assert sqlglot.parse_one(sql, dialect="spark").sql(dialect="spark") == sql
    with pytest.raises(Unsupported, match="`hour` is not done by spark"):
        compiled("hour(at, 'UTC')").sql("spark")
