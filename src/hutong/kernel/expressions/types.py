"""Types of values, and the tree that a checked expression is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

INTEGER_MAX = 2**53
"""Integers lie within ± this, as JSON's do (RFC 7493, section 2.2), so that every engine holds them exactly."""


class ValueType(StrEnum):
    """What a value is. A DATETIME is an integer: microseconds since the epoch, UTC."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    OPAQUE = "opaque"  # geometries, relationships, JSON: only `is null` asks about them


class Column(msgspec.Struct, frozen=True):
    """A column that expressions may name. `unit` is a UN/CEFACT Recommendation 20 code, empty when unknown."""

    type: ValueType
    unit: str = ""


AT = "observedAt"
"""The column of the time of observation, where there is one: by it dated tables are chosen."""
RECEIVED = "receivedAt"
"""The column of the time at which it arrived, where there is one."""

Schema: TypeAlias = Mapping[str, Column]
Value: TypeAlias = int | float | str | bool | None


class Literal(msgspec.Struct, frozen=True):
    """A value written down, or computed from such. `type` is None for a bare NULL."""

    value: Value
    type: ValueType | None
    unit: str = ""


class Reference(msgspec.Struct, frozen=True):
    """The value of a column in the row, or in one beside column `past_of`; `label` is how the author wrote it."""

    name: str
    label: str
    type: ValueType
    unit: str = ""
    past_of: str = ""


class Call(msgspec.Struct, frozen=True):
    """A function or operator, named as in `functions.FUNCTIONS`, over its arguments."""

    function: str
    arguments: "tuple[Node, ...]"
    type: ValueType
    unit: str = ""


Node: TypeAlias = Literal | Reference | Call
