"""Calls put together from their arguments: counts, types and units checked, constants computed."""

import math
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from hutong.kernel.clock import instant
from hutong.kernel.errors import InvalidInput
from hutong.kernel.expressions.functions import FUNCTIONS, NUMERIC, Function
from hutong.kernel.expressions.reasons import computed
from hutong.kernel.expressions.types import INTEGER_MAX, Call, Column, Literal, Node, Reference, ValueType
from hutong.kernel.packs.faults import listed, meant
from hutong.kernel.units import conversion, unit

FAULTY: Final = Literal(None, None)
"""Stands where a fault was told, so that nothing more is said of it."""
DECIMALS_MAX: Final = 12
_ONE: Final = "C62"
_LARGEST: Final = 2**63
"""An integer result that might reach this becomes a number, so that no engine overflows."""


class Refused(Exception):
    """What is wrong with a part of an expression; `kind` completes the fault's code `expression-…`."""

    def __init__(
        self, kind: str, what: str, *, seen: str = "", allowed: str = "one expression over one row", fix: str
    ) -> None:
        super().__init__(what)
        self.kind, self.what, self.seen, self.allowed, self.fix = kind, what, seen, allowed, fix


def call(name: str, *arguments: Node) -> Node:
    """The function over the arguments, or the value that comes to. Raises Refused."""
    if any(argument is FAULTY for argument in arguments):
        return FAULTY
    if name == "-" and any(argument.type is ValueType.DATETIME for argument in arguments):
        name = "seconds"
    function = FUNCTIONS[name]
    _count(function, arguments)
    takes = [function.accepts(position) for position in range(len(arguments))]
    arguments = tuple(map(_dated, arguments, takes, [arguments] * len(arguments)))
    shared = _shared(function, arguments, takes)
    if shared is None and function.gives is None:
        return Literal(None, None)  # nothing but NULLs
    if function.unit != "over":  # a quotient is a number whatever it is made of
        arguments = tuple(
            _fitted(argument, shared if len(allowed) > 1 else next(iter(allowed)))
            for argument, allowed in zip(arguments, takes, strict=True)
        )
    code = _unit(function, arguments)
    for position in range(function.literals, len(arguments)):
        _written_down(function, arguments[position], position)
    if name in _REWRITTEN and (rewritten := _REWRITTEN[name](*arguments)) is not None:
        return rewritten
    made = Call(name, arguments, function.gives or shared or ValueType.TEXT, code)
    if made.type is ValueType.INTEGER and _most(made) >= _LARGEST:
        return call(name, *map(as_number, arguments))
    known = [argument.value for argument in arguments if isinstance(argument, Literal)]
    if len(known) == len(arguments) or (None in known and not function.lenient):
        return Literal(computed(made, {}), made.type, code)
    return made


def as_number(node: Node) -> Node:
    """An integer as a number; all else as it is."""
    if node.type is not ValueType.INTEGER:
        return node
    if isinstance(node, Literal):
        return Literal(None if node.value is None else float(node.value), ValueType.NUMBER, node.unit)
    return Call("number", (node,), ValueType.NUMBER, node.unit)


def as_instant(node: Node) -> Node:
    """A text written down as the instant it names; all else as it is. Raises Refused."""
    if not isinstance(node, Literal) or node.type is not ValueType.TEXT:
        return node
    try:
        return Literal(instant(str(node.value)), ValueType.DATETIME)
    except InvalidInput as error:
        fault = error.fault
        raise Refused("type", fault.what, seen=fault.seen, allowed=fault.allowed, fix=fault.fix) from None


def wanted(root: Node, wants: ValueType | Column | None) -> Node:
    """The whole expression as the type wanted: integers as numbers, texts written down as instants. Raises Refused."""
    if isinstance(wants, Column) and wants.unit and root.unit not in ("", wants.unit):
        raise Refused(
            "unit",
            "comes in another unit",
            seen=described(root),
            allowed=wants.unit,
            fix=f"write convert({rendered(root)}, '{wants.unit}')",
        )
    kind = wants.type if isinstance(wants, Column) else wants or root.type
    if kind is None:
        raise Refused("type", "is always missing", seen=described(root), allowed="a value", fix="name a column")
    root = _fitted(as_instant(root) if kind is ValueType.DATETIME else root, kind)
    if root.type is not kind:
        raise Refused("type", f"gives {root.type}", seen=described(root), allowed=kind.value, fix=_cast(root, {kind}))
    return root


def described(*nodes: Node) -> str:
    """Nodes as text with their types and units, for faults."""
    return ", ".join(f"{rendered(n)} ({n.type or 'missing'}{f', {n.unit}' if n.unit else ''})" for n in nodes)


def rendered(node: Node) -> str:
    """The node in the language of packs, as near as it matters in a message."""
    match node:
        case Literal():
            return "null" if node.value is None else f"{node.value!r}"
        case Reference():
            return node.label
        case _:
            return FUNCTIONS[node.function].form.format(*map(rendered, node.arguments), *"…" * 3)


# --- counts and types ---


def _count(function: Function, arguments: Sequence[Node]) -> None:
    most = least = len(function.takes)
    least -= function.name in ("coalesce", "in")  # one will do
    over = len(arguments) - most
    if len(arguments) < least or (over > 0 and (not function.more or over % function.more)):
        raise Refused(
            "type",
            f"takes {least}{' or more' if function.more else ''} arguments",
            seen=str(len(arguments)),
            allowed=function.form.format(*"xyz"),
            fix="give it as many",
        )


def _dated(argument: Node, allowed: frozenset[ValueType], company: Sequence[Node]) -> Node:
    beside = allowed == {ValueType.DATETIME} or any(other.type is ValueType.DATETIME for other in company)
    return as_instant(argument) if ValueType.DATETIME in allowed and beside else argument


def _shared(function: Function, arguments: Sequence[Node], takes: Sequence[frozenset[ValueType]]) -> ValueType | None:
    """The type on which the arguments that may have several agree; None when all of these are NULL."""
    kinds: dict[ValueType, None] = {}
    for argument, allowed in zip(arguments, takes, strict=True):
        if argument.type is None:
            if function.unit == "compare":
                raise Refused(
                    "type",
                    "what is compared with NULL is missing",
                    allowed="a value",
                    fix="write `is null` or `is not null`",
                )
        elif argument.type not in allowed and not (argument.type is ValueType.INTEGER and ValueType.NUMBER in allowed):
            raise Refused(
                "type",
                f"does not take {argument.type}",
                seen=described(argument),
                allowed=listed(allowed),
                fix=_cast(argument, allowed),
            )
        elif len(allowed) > 1:
            kinds[argument.type] = None
    if len(kinds) > 1 and not kinds.keys() <= NUMERIC:
        odd = next((a for a in arguments if a.type is ValueType.TEXT), arguments[-1])
        raise Refused(
            "type",
            "mixes types",
            seen=described(*arguments),
            allowed="one type; integers go with numbers",
            fix=_cast(odd, kinds.keys() - {odd.type}),
        )
    return ValueType.NUMBER if len(kinds) > 1 else next(iter(kinds), None)


def _cast(node: Node, wanted: "frozenset[ValueType] | set[ValueType]") -> str:
    """What to write where a value is of the wrong type."""
    text = rendered(node)
    if wanted == {ValueType.BOOLEAN} and isinstance(node, Reference):
        return f"write a condition, such as {text} is not null"
    if node.type is ValueType.TEXT and wanted & NUMERIC and not isinstance(node, Literal):
        return f"write cast({text} as {'number' if ValueType.NUMBER in wanted else 'integer'})"
    if node.type is ValueType.NUMBER and ValueType.INTEGER in wanted:
        return f"write cast(round({text}) as integer)"
    if node.type is ValueType.INTEGER and ValueType.TEXT in wanted:
        return f"write cast({text} as text)"
    if node.type is ValueType.BOOLEAN and wanted & NUMERIC:
        return f"write if({text}, 1, 0)"
    return f"write a value that is {listed(wanted)}"


def _fitted(argument: Node, target: ValueType | None) -> Node:
    if argument.type is None:
        return Literal(None, target or ValueType.TEXT)
    return as_number(argument) if target is ValueType.NUMBER else argument


def _most(node: Node) -> int:
    """How large an integer may come out, its sign left aside."""
    if isinstance(node, Literal):
        return abs(int(node.value or 0))
    most = [_most(a) for a in node.arguments if a.type is ValueType.INTEGER] if isinstance(node, Call) else []
    if not most or not isinstance(node, Call):
        return INTEGER_MAX
    return math.prod(most) if node.function == "*" else sum(most) if node.function in ("+", "-") else max(most)


# --- units ---


def _unit(function: Function, arguments: Sequence[Node]) -> str:
    known = list(dict.fromkeys(argument.unit for argument in arguments if argument.unit))
    match function.unit:
        case "keep":
            return arguments[0].unit
        case "seconds":
            return "SEC"
        case "times" | "over":
            return _product(function.unit, arguments[0], arguments[1])
        case "add":
            known = sorted(known, key=lambda code: code == _ONE)
            clash = len(set(known) - {_ONE}) > 1
        case _:
            clash = len(known) > 1 and function.unit != "none"
    if clash:
        odd = next(argument for argument in reversed(arguments) if argument.unit not in ("", known[0]))
        alike = unit(odd.unit).quantity == unit(known[0]).quantity
        raise Refused(
            "unit",
            "mixes units",
            seen=described(*arguments),
            allowed="the same unit everywhere",
            fix=f"write convert({rendered(odd)}, '{known[0]}')" if alike else "take values of one quantity",
        )
    return known[0] if known and function.unit in ("add", "common") else ""


def _product(rule: str, a: Node, b: Node) -> str:
    if isinstance(b, Literal) or b.unit == _ONE:
        return a.unit
    if rule == "over":
        return _ONE if a.unit and a.unit == b.unit else ""
    return b.unit if isinstance(a, Literal) or a.unit == _ONE else ""


# --- arguments written down, and functions written in terms of others ---


def _written_down(function: Function, argument: Node, position: int) -> None:
    if not isinstance(argument, Literal) or argument.value is None:
        raise Refused(
            "type",
            f"argument {position + 1} must be written down",
            seen=described(argument),
            allowed="a value, not a column",
            fix="write the value itself",
        )
    rule = _RULES.get(function.name)
    if rule is not None and not rule[0](argument.value):
        zones = zoneinfo.available_timezones() if rule is _ZONE else ()
        raise Refused(
            "type",
            f"argument {position + 1} is out of range",
            seen=rendered(argument),
            allowed=rule[1],
            fix=meant(str(argument.value), zones) or f"write {rule[1]}",
        )


_Rule = tuple[Callable[[Any], bool], str]
_ZONE: Final[_Rule] = (lambda zone: zone in zoneinfo.available_timezones(), "an IANA time zone such as 'Asia/Shanghai'")
_RULES: Final[dict[str, _Rule]] = {
    "hour": _ZONE,
    "weekday": _ZONE,
    "like": (lambda pattern: "\\" not in pattern, "a pattern without backslashes"),
    "substring": (lambda number: 0 < number < 2**31, "a whole number from 1"),
    "round to": (lambda digits: 0 <= digits <= DECIMALS_MAX, f"a whole number from 0 to {DECIMALS_MAX}"),
}


def _same_if_whole(x: Node) -> Node | None:
    return x if x.type is ValueType.INTEGER else None


def _round_to(x: Node, digits: Node) -> Node:
    assert isinstance(digits, Literal)
    power = Literal(10.0 ** int(digits.value or 0), ValueType.NUMBER)
    return call("/", call("round", call("*", as_number(x), power)), power)


def _convert(x: Node, code: Node) -> Node:
    assert isinstance(code, Literal)
    if not x.unit:
        raise Refused(
            "unit",
            "its unit is not known",
            seen=described(x),
            allowed="a value with a unit",
            fix="declare the unit of the property",
        )
    try:
        change = conversion(x.unit, str(code.value))
    except InvalidInput as error:
        raise Refused(
            "unit", error.fault.what, seen=error.fault.seen, allowed=error.fault.allowed, fix=error.fault.fix
        ) from None
    x = as_number(x)
    for sign, amount, idle in (("*", change.multiply, 1), ("+", change.add, 0), ("/", change.divide, 1)):
        x = call(sign, x, Literal(amount, ValueType.NUMBER)) if amount != idle else x
    return replace(x, unit=str(code.value))


def _as_unit(x: Node, code: Node) -> Node:
    assert isinstance(code, Literal)
    try:
        return replace(as_number(x), unit=unit(str(code.value)).code)
    except InvalidInput as error:
        raise Refused(
            "unit", error.fault.what, seen=error.fault.seen, allowed=error.fault.allowed, fix=error.fault.fix
        ) from None


def _names_of_greatest(*pairs: Node) -> Node:
    """The names of the greatest, each behind a comma, the first comma cut off."""
    greatest, none = call("greatest", *pairs[::2]), Literal("", ValueType.TEXT)
    names = [
        call("coalesce", call("if", call("=", x, greatest), call("||", Literal(",", ValueType.TEXT), name), none), none)
        for x, name in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    cut = [Literal(position, ValueType.INTEGER) for position in (2, 2**31 - 1)]
    return call("nullif", call("substring", call("||", *names), *cut), none)


_REWRITTEN: Final[dict[str, Callable[..., Node | None]]] = {
    "round": _same_if_whole,
    "floor": _same_if_whole,
    "ceil": _same_if_whole,
    "round to": _round_to,
    "convert": _convert,
    "as_unit": _as_unit,
    "names_of_greatest": _names_of_greatest,
}
