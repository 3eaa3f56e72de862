"""The one language for derived values, thresholds, ranges, mappings and filters in packs: SQL scalar expressions.

Parsed and checked when a pack is loaded; then Polars evaluates it over frames, SQL engines over tables, and Python
over one row, to say why. What is missing (NULL, NaN, infinity, a division by zero) is missing in all of them alike,
and a condition that is missing is not true.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import polars as pl

from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions.calls import Refused, wanted
from hutong.kernel.expressions.check import Checker
from hutong.kernel.expressions.finite import finite
from hutong.kernel.expressions.frames import POLARS_TYPES, polars_of
from hutong.kernel.expressions.functions import FUNCTIONS
from hutong.kernel.expressions.reasons import Explanation, Reason, computed, references, seen
from hutong.kernel.expressions.scales import EXAMPLE, NO_SCALES, Scales, check_scales, compile_scales
from hutong.kernel.expressions.sql import Dialect, sql_text
from hutong.kernel.expressions.syntax import conditions, parsed
from hutong.kernel.expressions.types import AT, INTEGER_MAX, RECEIVED, Column, Literal, Node, Schema, Value, ValueType
from hutong.kernel.packs.faults import Faults

__all__ = [
    "AT",
    "EXAMPLE",
    "INTEGER_MAX",
    "NO_SCALES",
    "POLARS_TYPES",
    "RECEIVED",
    "Column",
    "Dialect",
    "Entry",
    "Explanation",
    "Expression",
    "Reason",
    "Scales",
    "Schema",
    "ValueType",
    "check_scales",
    "compile_expression",
    "compile_scales",
    "reference",
]


class Entry(msgspec.Struct, frozen=True):
    """A function in the reference. Rows of `table` are the arguments, then the result."""

    name: str
    form: str
    takes: tuple[str, ...]
    gives: str
    en: str
    zh: str
    table: tuple[tuple[Value, ...], ...]


class Expression:
    """A checked expression. `unit` is empty when unknown; `needs_previous` are columns whose past it reads, `tables`
    the dated tables it looks up, each as function and name.

    For each of the latter, a frame or table has columns `x__previous` and `x__elapsed_s` (seconds) beside `x`.
    """

    def __init__(
        self,
        text: str,
        root: Node,
        conditions: tuple[tuple[str, Node], ...],
        tables: tuple[tuple[str, str], ...] = (),
    ) -> None:
        assert root.type is not None
        read = list(references(root))
        self.text, self.type, self.unit, self.tables = text, root.type, root.unit, tables
        self.columns = frozenset(reference.past_of or reference.name for reference in read)
        self.needs_previous = frozenset(reference.past_of for reference in read if reference.past_of)
        self._root, self._conditions, self._tested = root, conditions, finite(root)
        self._polars = polars_of(self._tested)
        if isinstance(root, Literal):
            self._polars = pl.repeat(root.value, pl.len(), dtype=POLARS_TYPES[root.type])

    def polars(self) -> pl.Expr:
        """The expression over columns named as in the schema and typed as in POLARS_TYPES."""
        return self._polars

    def sql(self, dialect: Dialect, column: Callable[[str], str] | None = None) -> str:
        """The expression as SQL; `column` gives SQL for a name (in brackets unless a name or a call).

        Integers and instants are 64-bit columns, numbers double precision. Raises Unsupported for what a dialect lacks.
        On PostgreSQL, sums and products beyond ±1.8e308 fail the statement.
        """
        return sql_text(self._tested, dialect, column)

    def evaluate(self, frame: pl.DataFrame) -> pl.Series:
        """One value for each row of the frame."""
        return frame.select(self._polars.alias("value")).to_series()

    def explain(self, row: Mapping[str, Any]) -> Explanation:
        """The value in one row, and why: each condition that must be true, with what it saw and what it came to."""
        reasons = tuple(Reason(text, seen(node, row), computed(node, row)) for text, node in self._conditions)
        return Explanation(self.text, computed(self._root, row), reasons)

    def __repr__(self) -> str:
        return f"Expression({self.text!r}: {self.type})"


def compile_expression(
    text: str,
    schema: Schema,
    *,
    where: str,
    wants: ValueType | Column | None = None,
    history: bool = False,
    scales: Scales = NO_SCALES,
) -> Expression:
    """Parse and check an expression over rows of `schema`.

    `wants` is the type it has to give; a Column asks for its unit too. `history` allows `previous` and `rate`.
    `scales` are the dated tables at hand; the schema then has the column AT.
    Raises DeclarationFaults with every fault found, at `where` (`alerts.toml:12`).
    """
    faults = Faults()
    checker = Checker(schema, faults, where, history, scales)
    try:
        tree = parsed(text)
        root = checker.node(tree)
        if not faults:
            reasons = tuple((piece, checker.node(part)) for piece, part in conditions(text, tree))
            return Expression(text, wanted(root, wants), reasons, tuple(checker.looked_up))
    except Refused as refused:
        checker.note(refused, text)
    raise DeclarationFaults(tuple(faults))


def reference() -> list[Entry]:
    """All functions and operators, for the documentation."""
    return [
        Entry(
            f.name,
            f.form.format(*"xyzu"),
            tuple(" or ".join(sorted(f.accepts(i))) for i, _ in enumerate(f.takes)),
            f.gives or "as its arguments",
            f.en,
            f.zh,
            f.rows,
        )
        for f in FUNCTIONS.values()
    ]
