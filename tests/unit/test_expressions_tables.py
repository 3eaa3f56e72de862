"""Every row of every truth table, on every engine in this process."""

import math
from typing import Any

import pytest

from hutong.kernel.expressions import reference
from hutong.kernel.expressions.functions import FUNCTIONS
from tests.expressions import ENGINES, Case, cases, same

ALL = [pytest.param(case, id=f"{name}-{i}") for i, (name, case) in enumerate(cases())]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ALL)
def test_table(engine: str, case: Case) -> None:
    expression = case.compiled()
    [value] = ENGINES[engine](expression, case.schema, [case.row])
    assert same(value, case.result), f"{case.text} over {case.row}: {value!r}, not {case.result!r}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_table_knows_missing(name: str) -> None:
    assert any(value is None or value != value for *arguments, _ in FUNCTIONS[name].rows for value in arguments)


def test_results_are_never_nan() -> None:
    assert not [
        f.name
        for f in FUNCTIONS.values()
        for *_, result in f.rows
        if isinstance(result, float) and not math.isfinite(result)
    ]


def test_reference_tells_all() -> None:
    entries = reference()
    assert [entry.name for entry in entries] == list(FUNCTIONS)
    assert all(entry.en.endswith(".") and entry.zh.endswith("。") and entry.table for entry in entries)
    shown: dict[str, Any] = {entry.name: (entry.form, entry.takes, entry.gives) for entry in entries}
    assert shown["/"] == ("x / y", ("integer or number", "integer or number"), "number")
