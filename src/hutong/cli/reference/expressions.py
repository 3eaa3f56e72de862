"""The page of the expression language: every function and operator with its truth table."""

import json
from collections.abc import Iterator

from hutong.kernel import expressions as language
from hutong.kernel.expressions import Entry, reference

_INTRODUCTION = """Written by `hutong reference` from the list of functions. Derived values, ranges, alerts, mappings
and filters in packs are written in this language: scalar expressions of SQL, such as `1 - free / total` or
`level >= 8 and name not like 'test%'`. Texts stand in single quotes, names that are not plain words in double ones.

{about}

Each table is run as a test on every engine that evaluates expressions. `null` is a missing value.

读法：下列函数与运算符构成完整清单，包中的派生值、取值范围、告警条件、字段映射与筛选都用它书写。空值、NaN、无穷大和
除以零一律视为缺失；条件缺失即不成立。"""


def expressions() -> str:
    """Functions and operators as Markdown, each with a heading of its own."""
    about = " ".join((language.__doc__ or "").split("\n\n", 1)[1].split())
    parts = ["# Expressions 表达式", "", _INTRODUCTION.format(about=about)]
    for entry in reference():
        parts += _section(entry)
    return "\n".join(parts) + "\n"


def _section(entry: Entry) -> Iterator[str]:
    yield from ("", f"## `{entry.form}`", "", f"{entry.en} {entry.zh}", "")
    takes = ", ".join(f"`{name}`: {kinds}" for name, kinds in zip("xyzu", entry.takes, strict=False))
    yield f"Takes {takes or 'nothing'}; gives {entry.gives}."
    yield from ("", f"| {' | '.join('xyzu'[i] if i < 4 else '…' for i in range(_width(entry)))} | gives |")
    yield f"| {' | '.join('---' for _ in range(_width(entry)))} | --- |"
    for *arguments, result in entry.table:
        cells = [_cell(value) for value in arguments] + [""] * (_width(entry) - len(arguments)) + [_cell(result)]
        yield f"| {' | '.join(cells)} |"


def _width(entry: Entry) -> int:
    return max(len(row) - 1 for row in entry.table)


def _cell(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")
