"""The functions that expressions may use: a closed, typed list, each with a truth table, in `functions.toml`.

What holds for all: division by zero, NaN and infinities are missing (None), and a function gives missing when an
argument is missing, unless its table says otherwise.
"""

import json
import re
import tomllib
from functools import cached_property
from importlib.resources import files
from typing import Any, Final
from typing import Literal as OneOf

import msgspec

from hutong.kernel.expressions.types import Value, ValueType

BLANKS: Final = " \t\r\n\u00a0\u3000"
"""What `trim` takes away; the last is the ideographic space."""
NUMBER_TEXT: Final = r"^ *([+-]?(?:[0-9]{1,100}\.?[0-9]{0,100}|\.[0-9]{1,100})(?:[eE][+-]?[0-9]{1,2})?) *$"
INTEGER_TEXT: Final = r"^ *([+-]?[0-9]{1,15}) *$"
NUMERIC: Final = frozenset({ValueType.INTEGER, ValueType.NUMBER})

_ORDERED = NUMERIC | {ValueType.TEXT, ValueType.DATETIME}
_KINDS = {
    "numeric": NUMERIC,
    "ordered": _ORDERED,
    "scalar": _ORDERED | {ValueType.BOOLEAN},
    "any": frozenset(ValueType),
    **{kind.value: frozenset({kind}) for kind in ValueType},
}

UnitRule = OneOf["none", "keep", "add", "compare", "common", "alike", "times", "over", "seconds"]


class Function(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """A function or operator; `functions.toml` says what its fields mean."""

    name: str
    form: str
    takes: tuple[str, ...]
    gives: ValueType | None = None
    more: int = 0
    literals: int = 99
    unit: UnitRule = "none"
    lenient: bool = False
    carries: int = 0
    overflows: bool = False
    en: str
    zh: str
    table: str

    @cached_property
    def called(self) -> str:
        """The name under which it is called, empty for operators."""
        return self.form.partition("(")[0] if re.match(r"[a-z_]+\(", self.form) else ""

    @cached_property
    def rows(self) -> tuple[tuple[Value, ...], ...]:
        """The rows of its truth table: the arguments, then the result."""
        parts = re.split(r"; |\n", self.table.strip())
        return tuple(tuple(json.loads(f"[{part.replace(' -> ', ', ')}]")) for part in parts)

    def accepts(self, position: int) -> frozenset[ValueType]:
        """The types that an argument may have; those that may have several must agree, integers becoming numbers."""
        over = position - len(self.takes)
        return self._accepted[position if over < 0 else over % self.more - self.more if self.more else -1]

    @cached_property
    def _accepted(self) -> tuple[frozenset[ValueType], ...]:
        return tuple(frozenset().union(*(_KINDS[kind] for kind in kinds.split("|"))) for kinds in self.takes)


def like_pattern(pattern: str) -> str:
    """A LIKE pattern as a regular expression of Python and of Rust."""
    return "(?s)^" + "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern) + "$"


def _read() -> dict[str, Function]:
    declared: dict[str, dict[str, Any]] = tomllib.loads(
        files(__package__).joinpath("functions.toml").read_text("utf-8")
    )
    return {name: msgspec.convert({"name": name, **row}, Function) for name, row in declared.items()}


FUNCTIONS: Final = _read()
CALLED: Final = {f.called: f for f in reversed(FUNCTIONS.values()) if f.called not in ("", "cast")}
