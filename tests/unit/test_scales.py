"""Dated tables: what is wrong with one is told at its line; lookups agree on every engine, on both sides of a date."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hutong.engines.sense.compile import compile_types
from hutong.kernel.clock import instant
from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions import AT, EXAMPLE, Column, Scales, ValueType, compile_expression, compile_scales
from hutong.kernel.packs.faults import Faults
from tests.declared import declared
from tests.expressions import ENGINES, same

SCHEMA = {
    "dust": Column(ValueType.NUMBER, "GQ"),
    "carbon": Column(ValueType.NUMBER, "GQ"),
    "bare": Column(ValueType.NUMBER),
    "zone": Column(ValueType.TEXT),
    AT: Column(ValueType.DATETIME),
}
GOOD = """
[scale.dust]
unit = "GQ"
[[scale.dust.table]]
from = 2013-01-01T00:00:00+08:00
source = "a standard"
points = [[0, 0], [35, 50]]
"""


def faults(text: str) -> list[tuple[str, str, str]]:
    """Where, code and what of every fault of a scales.toml."""
    found = Faults()
    compile_types(declared(scales=text), found)
    return [(fault.where, fault.code, fault.what) for fault in found]


def refused(text: str, scales: Scales = EXAMPLE) -> tuple[str, str]:
    with pytest.raises(DeclarationFaults) as caught:
        compile_expression(text, SCHEMA, where="alerts.toml:3", scales=scales)
    (fault,) = caught.value.faults
    assert fault.where == "alerts.toml:3"
    return fault.code, fault.fix


def test_a_sound_table_has_no_fault() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('unit = "GQ"', 'unit = "GQQ"', 3, "no such unit"),
        ("2013-01-01T00:00:00+08:00", "2013-01-01T00:00:00", 5, "a time without offset"),
        ("[[0, 0], [35, 50]]", "[[0, 0]]", 7, "a scale needs two points"),
        ("[[0, 0], [35, 50]]", "[[0, 0], [0, 50]]", 7, "values of points ascend"),
        ("points = [[0, 0], [35, 50]]", "above = 3", 5, "a table says one thing"),
        ('source = "a standard"', 'source = "a standard"\nuntil = 2012-01-01T00:00:00Z', 7, "ends before it begins"),
        (
            'source = "a standard"',
            'source = "a standard"\nunknown = { zh = "无", en = "no" }',
            5,
            "a table says one thing",
        ),
    ],
)
def test_faults_stand_at_their_lines(old: str, new: str, line: int, what: str) -> None:
    ((where, _, told),) = faults(GOOD.replace(old, new))
    assert where == f"test/scales.toml:{line}"
    assert what in told or "unit" in told


def test_two_tables_are_never_in_force_at_once() -> None:
    again = GOOD + GOOD[GOOD.index("[[") :].replace("2013-01-01", "2012-01-01")
    assert [what for _, _, what in faults(again)] == ["two tables are in force at once"]


def test_classes_must_fit_their_limits() -> None:
    text = """
[class.ammonia]
unit = "GP"
[[class.ammonia.table]]
from = 2002-06-01T00:00:00+08:00
source = "a standard"
most = [0.5, 0.15]
classes = ["I", 2]
"""
    assert [(where, what) for where, _, what in faults(text)] == [
        ("test/scales.toml:7", "limits go one way"),
        ("test/scales.toml:8", "one class more than limits"),
    ]


def test_lookups_are_checked() -> None:
    assert refused("scale('dusd', dust)") == ("expression-name", "did you mean `dust`?")
    assert refused("scale('dust', bare)")[0] == "expression-unit"
    assert refused("class_of('oxygen', carbon)") == ("expression-unit", "write convert(carbon, 'GP')")
    assert refused("scale(zone, dust)")[0] == "expression-type"
    assert refused("scale('dust')")[0] == "expression-type"
    with pytest.raises(DeclarationFaults, match="time of observation is not known"):
        compile_expression("scale('dust', x)", {"x": Column(ValueType.NUMBER, "GQ")}, where="here", scales=EXAMPLE)


def test_what_is_not_recorded_is_missing_with_its_reason() -> None:
    expression = compile_expression("scale('dust', dust)", SCHEMA, where="here", scales=EXAMPLE)
    at = instant("2030-06-01T00:00:00Z")
    assert expression.explain({"dust": 30.0, AT: at}).value is None
    assert expression.tables == (("scale", "dust"),)
    table = EXAMPLE.in_force("scale", "dust", at)
    assert table is not None
    assert table.unknown is not None
    assert table.unknown.en == "This table is not recorded yet."
    assert EXAMPLE.in_force("limit_of", "noise", at) is None


def test_a_table_changes_on_its_day() -> None:
    expression = compile_expression("scale('dust', dust)", SCHEMA, where="here", scales=EXAMPLE)
    before, after = instant("2026-02-28T23:59:59+08:00"), instant("2026-03-01T00:00:00+08:00")
    assert [expression.explain({"dust": 60.0, AT: at}).value for at in (before, after)] == [82, 100]


rows = st.lists(
    st.fixed_dictionaries(
        {
            "dust": st.sampled_from([None, -0.5, 0.0, 35.0, 35.001, 59.9, 60.0, 75.0, 80.0, 1e308, float("nan")]),
            "carbon": st.sampled_from([None, 0.0, 6000.0, 7500.0, 7499.9]),
            "zone": st.sampled_from([None, "quiet", "road", "farm"]),
            AT: st.sampled_from(
                [
                    None,
                    *(
                        int(datetime(year, 3, 1, tzinfo=UTC).timestamp() * 1e6)
                        for year in (2001, 2010, 2020, 2027, 2031)
                    ),
                ]
            ),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    text=st.sampled_from(
        [
            "scale('dust', dust)",
            "class_of('oxygen', convert(carbon, 'GP'))",
            "limit_of('noise', zone) - 5",
            "names_of_greatest(scale('dust', dust), 'dust', scale('dust', carbon), 'carbon', 40, 'floor')",
            "scale('dust', dust + dust) > 60",
        ]
    ),
    rows=rows,
)
def test_engines_agree_on_lookups(text: str, rows: list[dict[str, Any]]) -> None:
    expression = compile_expression(text, SCHEMA, where="here", scales=EXAMPLE)
    answers = {name: engine(expression, SCHEMA, rows) for name, engine in ENGINES.items()}
    for polars, python, duckdb in zip(*(answers[name] for name in ("polars", "python", "duckdb")), strict=True):
        assert same(polars, python), text
        assert same(duckdb, python), text


def test_what_nobody_has_recorded_is_a_setting_and_missing() -> None:
    text = GOOD.replace("points = [[0, 0], [35, 50]]", 'unknown = { zh = "待定", en = "not set" }')
    scales = compile_scales(declared(scales=text), Faults())
    expression = compile_expression("scale('dust', dust) + 1", SCHEMA, where="here", scales=scales)
    assert expression.explain({"dust": 30.0, AT: instant("2020-01-01T00:00:00Z")}).value is None
