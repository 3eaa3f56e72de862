"""Where a tree must test for NaN and infinity, which are missing.

In a chain of arithmetic they stay what they are, so one test at the end serves; but 1/∞ is 0, and ∞ > 5 is true.
"""

from typing import Final

from msgspec.structs import replace

from hutong.kernel.expressions.calls import Refused
from hutong.kernel.expressions.functions import FUNCTIONS
from hutong.kernel.expressions.types import Call, Literal, Node, Reference, ValueType

FINITE: Final = "finite"
"""The name of the test: its argument, or missing when that is not finite."""
WEIGHT_MAX: Final = 2_000
"""Nodes in one expression once tests, which repeat what they test, are written out."""


def finite(node: Node) -> Node:
    """The tree with tests wherever something infinite would be taken for a value. Raises Refused."""
    tested = _tested(*_walked(node))
    if _weight(tested) > WEIGHT_MAX:
        raise Refused(
            "syntax",
            "too deep a chain of divisions",
            allowed=f"a weight of {WEIGHT_MAX}",
            fix="split it into derived properties",
        )
    return tested


def _walked(node: Node) -> tuple[Node, bool]:
    """The tree with tests below its root, and whether its root may be NaN or infinite."""
    if not isinstance(node, Call):
        return node, isinstance(node, Reference) and node.type is ValueType.NUMBER
    function = FUNCTIONS[node.function]
    walked = [_walked(argument) for argument in node.arguments]
    carried, others = walked[: function.carries], walked[function.carries :]
    arguments = (*(argument for argument, _ in carried), *(_tested(*other) for other in others))
    loose = function.overflows or any(loose for _, loose in carried)
    return replace(node, arguments=arguments), loose and node.type is ValueType.NUMBER


def _tested(node: Node, loose: bool) -> Node:
    return Call(FINITE, (node,), node.type, node.unit) if loose and node.type else node


def _weight(node: Node) -> int:
    if isinstance(node, Literal | Reference):
        return 1
    return 1 + sum(map(_weight, node.arguments)) * (2 if node.function == FINITE else 1)
