"""Aggregates over the history of properties inside expressions: `avg(pm25)`, `count(pm25) >= 20`.

Each becomes a column of its own name, over which the rest is an expression like any other.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlglot import exp

from hutong.kernel.errors import DeclarationFaults, shown
from hutong.kernel.expressions.calls import Refused
from hutong.kernel.expressions.syntax import parsed, written
from hutong.kernel.expressions.types import Column, Schema, ValueType
from hutong.kernel.packs.faults import Faults, listed, meant

AGGREGATES: Final[Mapping[str, Column | None]] = {
    "avg": None,
    "sum": None,
    "min": None,
    "max": None,
    "stddev": None,
    "quantile": None,
    "first": None,
    "last": None,
    "increase": None,
    "count": Column(ValueType.INTEGER),
    "things": Column(ValueType.INTEGER),
    "resets": Column(ValueType.INTEGER),
    "gap": Column(ValueType.NUMBER, "SEC"),
}
"""What each gives; None: a number in the unit of what it reads."""
METERED: Final = frozenset({"increase", "resets", "gap"})
"""Aggregates that compare each reading with the one before."""
PERIOD: Final = "period_s"
_OTHER_NAMES: Final = {"mean": "avg", "average": "avg", "median": "quantile", "std": "stddev", "total": "sum"}


class Term(msgspec.Struct, frozen=True):
    """One aggregate: its function, the property it reads, and the share of a quantile."""

    function: str
    attribute: str
    share: float = 0.0

    @property
    def column(self) -> str:
        """The name of the column that holds it."""
        return f"{self.function}({self.attribute}{f', {self.share:g}' if self.function == 'quantile' else ''})"


class Aggregated(msgspec.Struct, frozen=True):
    """An expression as text over columns named as terms are, with these terms and their types."""

    text: str
    terms: tuple[Term, ...]
    schema: Schema


def aggregated(text: str, schema: Schema, *, where: str, default: str = "") -> Aggregated:
    """Take the aggregates out of an expression over the history of `schema`.

    `default` is the property that an aggregate without arguments reads. Raises DeclarationFaults.
    """
    faults = Faults()
    terms: dict[Term, None] = {}

    def replaced(tree: exp.Expr) -> exp.Expr:
        if not isinstance(tree, exp.Anonymous) or tree.name.lower() not in AGGREGATES:
            return tree
        term = _term(tree, schema, default)
        terms[term] = None
        return exp.column(exp.to_identifier(term.column, quoted=True))

    try:
        tree = parsed(text).transform(replaced)
    except Refused as refused:
        faults.add(
            f"expression-{refused.kind}",
            f"`{shown(text)}`: {refused.what}",
            where=where,
            seen=refused.seen,
            allowed=refused.allowed,
            fix=refused.fix,
        )
        raise DeclarationFaults(tuple(faults)) from None
    columns = {PERIOD: Column(ValueType.NUMBER, "SEC")}
    for term in terms:
        columns[term.column] = AGGREGATES[term.function] or Column(ValueType.NUMBER, schema[term.attribute].unit)
    return Aggregated(written(tree), tuple(terms), columns)


def _term(tree: exp.Anonymous, schema: Schema, default: str) -> Term:
    name, given = tree.name.lower(), tree.expressions
    form = f"{name}(property, 0.98)" if name == "quantile" else f"{name}(property)"
    if not given and default:
        attribute, rest = default, []
    elif given and isinstance(given[0], exp.Column) and not given[0].table:
        attribute, rest = given[0].name, given[1:]
    else:
        raise Refused(
            "aggregate",
            "an aggregate is of one property",
            seen=written(tree),
            allowed=form,
            fix="derive a property and name that",
        )
    if attribute not in schema or schema[attribute].type not in (
        ValueType.INTEGER,
        ValueType.NUMBER,
        ValueType.BOOLEAN,
    ):
        numbers = [key for key, one in schema.items() if one.type in (ValueType.INTEGER, ValueType.NUMBER)]
        raise Refused(
            "name",
            "no such number in the history",
            seen=attribute,
            allowed=listed(numbers),
            fix=meant(attribute, numbers) or "name a number of the type that is read",
        )
    share = 0.0
    if name == "quantile":
        if (
            len(rest) != 1
            or not isinstance(rest[0], exp.Literal)
            or rest[0].is_string
            or not 0 <= float(rest[0].this) <= 1
        ):
            raise Refused("aggregate", "a quantile needs its share", seen=written(tree), allowed="0 to 1", fix=form)
        share = float(rest[0].this)
    elif rest:
        raise Refused("aggregate", "takes one property", seen=written(tree), allowed=form, fix=f"write {form}")
    return Term(name, attribute, share)
