"""From what sqlglot read to a checked tree, gathering every fault on the way."""

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from hutong.kernel.errors import shown
from hutong.kernel.expressions.calls import FAULTY, Refused, call, described
from hutong.kernel.expressions.functions import CALLED, FUNCTIONS
from hutong.kernel.expressions.lookups import lookup
from hutong.kernel.expressions.scales import CALLS, Scales
from hutong.kernel.expressions.syntax import conjuncts, written
from hutong.kernel.expressions.types import AT, INTEGER_MAX, Literal, Node, Reference, Schema, ValueType
from hutong.kernel.packs.faults import Faults, listed, meant

_OPERATORS: Final[Mapping[type[exp.Expr], str]] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.DPipe: "||",
    exp.Not: "not",
    exp.Neg: "negate",
    exp.Or: "or",
}
_KIND = exp.DataType.Type
_CASTS: Final = {
    _KIND.INT: ValueType.INTEGER,
    _KIND.BIGINT: ValueType.INTEGER,
    _KIND.DECIMAL: ValueType.NUMBER,
    _KIND.DOUBLE: ValueType.NUMBER,
    _KIND.FLOAT: ValueType.NUMBER,
    _KIND.TEXT: ValueType.TEXT,
    _KIND.VARCHAR: ValueType.TEXT,
}
_OTHER_NAMES: Final = {
    "min": "least",
    "max": "greatest",
    "pow": "power",
    "log": "ln",
    "ceiling": "ceil",
    "ifnull": "coalesce",
    "nvl": "coalesce",
    "isnull": "is null",
    "iif": "if",
    "substr": "substring",
    "len": "length",
    "mod": "%",
    "try_cast": "cast",
    "startswith": "starts_with",
    "lag": "previous",
    "dayofweek": "weekday",
}


class Checker:
    """Turns what sqlglot read into a tree of known names and types."""

    def __init__(self, schema: Schema, faults: Faults, where: str, history: bool, scales: Scales) -> None:
        self._schema, self._faults, self._where, self._history = schema, faults, where, history
        self._scales = scales
        self.looked_up: dict[tuple[str, str], None] = {}

    def node(self, tree: exp.Expr) -> Node:
        """The tree below a part of an expression; FAULTY when that has a fault, which is noted."""
        try:
            return self._node(tree)
        except Refused as refused:
            self.note(refused, written(tree))
            return FAULTY

    def note(self, refused: Refused, text: str) -> None:
        """Add what was refused to the faults, with the part of the expression it is about."""
        self._faults.add(
            f"expression-{refused.kind}",
            f"`{shown(text)}`: {refused.what}",
            where=self._where,
            seen=refused.seen,
            allowed=refused.allowed,
            fix=refused.fix,
        )

    def _node(self, tree: exp.Expr) -> Node:
        match tree:
            case exp.Paren():
                return self.node(tree.this)
            case exp.Null():
                return Literal(None, None)
            case exp.Boolean():
                return Literal(bool(tree.this), ValueType.BOOLEAN)
            case exp.Literal():
                return _literal(tree)
            case exp.Column():
                return self._column(tree)
            case exp.And():
                return self._call("and", *conjuncts(tree))
            case exp.Is(expression=exp.Null()):
                return self._call("is null", tree.this)
            case exp.Between():
                return self._call("between", tree.this, tree.args["low"], tree.args["high"])
            case exp.In(expressions=[_, *_]):
                return self._call("in", tree.this, *tree.expressions)
            case exp.Like():
                found = self._call("like", tree.this, tree.expression)
                return call("not", found) if tree.args.get("negate") else found
            case exp.Case():
                return self._case(tree)
            case exp.Cast():
                return self._cast(tree)
            case exp.Anonymous():
                return self._named(tree)
            case _ if type(tree) in _OPERATORS:
                return self._call(_OPERATORS[type(tree)], *tree.iter_expressions())
        fix = "write `coalesce(x, false)`" if isinstance(tree, exp.Is) else "use what the reference lists"
        raise Refused("syntax", "not part of expressions", seen=type(tree).__name__, fix=fix)

    def _call(self, name: str, *arguments: exp.Expr) -> Node:
        return call(name, *[self.node(argument) for argument in arguments])

    def _column(self, tree: exp.Column) -> Node:
        column = None if tree.table else self._schema.get(tree.name)
        if column is None:
            near = "" if tree.this.quoted else meant(tree.name, self._schema)
            raise Refused(
                "name",
                "no such column",
                seen=written(tree),
                allowed=listed(self._schema),
                fix=near or f"write '{tree.name}' if it is a text",
            )
        return Reference(tree.name, tree.name, column.type, column.unit)

    def _named(self, tree: exp.Anonymous) -> Node:
        name, arguments = tree.name.lower(), [self.node(argument) for argument in tree.expressions]
        if name in ("previous", "rate"):
            return self._past(name, arguments)
        if name in CALLS:
            return self._lookup(name, arguments)
        if name == "round" and len(arguments) == 2:
            return call("round to", *arguments)
        function = FUNCTIONS["||"] if name == "concat" else CALLED.get(name)
        if function is None:
            other = _OTHER_NAMES.get(name)
            raise Refused(
                "name",
                "no such function",
                seen=name,
                allowed=listed(CALLED, 40),
                fix=f"use `{other}`" if other else meant(name, CALLED) or "see the reference",
            )
        return call(function.name, *arguments)

    def _lookup(self, name: str, arguments: list[Node]) -> Node:
        """`scale('name', x)` and its like, which read the time of observation besides."""
        if AT not in self._schema:
            raise Refused(
                "name", "the time of observation is not known here", seen=name, fix="use it where values are observed"
            )
        if len(arguments) != 2:
            raise Refused(
                "type",
                "takes 2 arguments",
                seen=str(len(arguments)),
                allowed=f"{name}('name', x)",
                fix="give it as many",
            )
        table, value = arguments
        found = lookup(name, self._scales, table, value, Reference(AT, AT, ValueType.DATETIME))
        if isinstance(table, Literal):
            self.looked_up[name, str(table.value)] = None
        return found

    def _past(self, name: str, arguments: list[Node]) -> Node:
        """`previous(x)` and `rate(x)`, which read columns that stand beside x."""
        if not self._history:
            raise Refused(
                "history",
                "the observation before is not known here",
                allowed="this observation",
                fix="use it in conditions over live observations",
            )
        if any(argument is FAULTY for argument in arguments):
            return FAULTY
        match arguments:
            case [Reference(name=column, past_of="") as now]:
                before = Reference(f"{column}__previous", f"previous({column})", now.type, now.unit, column)
            case _:
                raise Refused(
                    "type",
                    "looks back on one column",
                    seen=described(*arguments),
                    allowed=f"{name}(column)",
                    fix="derive a property and name that",
                )
        if name == "previous":
            return before
        elapsed = Reference(f"{column}__elapsed_s", f"elapsed_s({column})", ValueType.NUMBER, "SEC", column)
        return call("/", call("-", now, before), elapsed)

    def _case(self, tree: exp.Case) -> Node:
        subject = tree.this and self.node(tree.this)
        pairs = []
        for branch in tree.args["ifs"]:
            condition = self.node(branch.this)
            pairs.append((call("=", subject, condition) if subject else condition, self.node(branch.args["true"])))
        default = tree.args.get("default")
        result = Literal(None, None) if default is None else self.node(default)
        for condition, value in reversed(pairs):
            result = call("if", condition, value, result)
        return result

    def _cast(self, tree: exp.Cast) -> Node:
        value, target = self.node(tree.this), None if tree.to.expressions else _CASTS.get(tree.to.this)
        if target is None:
            raise Refused(
                "type",
                "no such conversion",
                seen=written(tree.to),
                allowed="number, integer, text",
                fix="write cast(… as number), cast(… as integer) or cast(… as text)",
            )
        if value.type in (target, None):
            return value
        return call(f"text to {target}" if value.type is ValueType.TEXT else target.value, value)


def _literal(tree: exp.Literal) -> Node:
    if tree.is_string:
        return Literal(tree.this, ValueType.TEXT)
    if tree.this.isdecimal() and int(tree.this) <= INTEGER_MAX:
        return Literal(int(tree.this), ValueType.INTEGER)
    if float(tree.this) == float("inf"):
        raise Refused("type", "too large", seen=tree.this, allowed="at most 1.7976931348623157e308", fix="write less")
    return Literal(float(tree.this), ValueType.NUMBER)
