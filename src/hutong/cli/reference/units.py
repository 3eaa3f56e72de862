"""The page of the units of measure that properties may have."""

from itertools import groupby

from hutong.kernel.units import units

_INTRODUCTION = """Written by `hutong reference`. Codes of UN/CEFACT Recommendation 20. A property says its unit by the
code; values that arrive in another unit of the same quantity are converted. `C62` is a plain number.

联合国欧洲经济委员会第 20 号建议书的计量单位代码。属性用代码写明单位；同一量纲的其他单位到达时自动换算。"""


def unit_codes() -> str:
    """Units by quantity as Markdown."""
    parts = ["# Units 计量单位", "", _INTRODUCTION]
    for quantity, found in groupby(units().values(), key=lambda unit: unit.quantity):
        parts += ["", f"## {quantity}", "", "| code | symbol | name | 名称 |", "| --- | --- | --- | --- |"]
        parts += [f"| `{one.code}` | {one.symbol} | {one.name_en} | {one.name_zh} |" for one in found]
    return "\n".join(parts) + "\n"
