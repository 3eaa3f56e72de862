"""Filters of the sense engine's questions as SQL over an entity's JSON, with the same meaning on both databases."""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, array

from hutong.engines.sense.ports import AllOf, AnyOf, Compare, Exists, Filter, Range, Scalar
from hutong.kernel.clock import instant
from hutong.kernel.errors import InvalidInput

_TIMES = {"observedAt": "o", "modifiedAt": "m", "createdAt": "c"}
_ORDER: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_DOC = "entity.doc"
DEPTH_MAX = 32


class JsonPlace:
    """A place in `entity.doc`; each reading is NULL where the place is absent or of another JSON type."""

    def __init__(self, sqlite: bool, keys: Sequence[str]) -> None:
        for key in keys:
            if '"' in key or "\\" in key:
                raise InvalidInput("a name cannot hold quotes or backslashes", seen=key, where="q")
        path = (
            "$" + "".join(f'."{key}"' for key in keys) if sqlite else "{" + ",".join(f'"{key}"' for key in keys) + "}"
        )
        self._sqlite, self._path = sqlite, "'" + path.replace("'", "''") + "'"

    def type(self) -> ColumnElement[Any]:
        """The JSON type as the database names it; NULL where the place is absent."""
        call = "json_type({0}, {1})" if self._sqlite else "jsonb_typeof({0} #> {1})"
        return literal_column(call.format(_DOC, self._path), Text)

    def number(self) -> ColumnElement[Any]:
        """The number there. On SQLite another type is not masked: compare together with `is_number`."""
        return literal_column(
            f"json_extract({_DOC}, {self._path})"
            if self._sqlite
            else f"(CASE WHEN jsonb_typeof({_DOC} #> {self._path}) = 'number' "
            f"THEN ({_DOC} #>> {self._path})::float8 END)"
        )

    def text(self) -> ColumnElement[Any]:
        """The text there. On SQLite another type is not masked: compare together with `is_text`."""
        return literal_column(
            f"json_extract({_DOC}, {self._path})"
            if self._sqlite
            else f"(CASE WHEN jsonb_typeof({_DOC} #> {self._path}) = 'string' THEN {_DOC} #>> {self._path} END)",
            Text,
        )

    def read(self, form: Literal["number", "text", "boolean"]) -> ColumnElement[Any]:
        """The value there when it is of that form, else NULL."""
        if form == "boolean":
            return case((self.is_boolean(True), true()), (self.is_boolean(False), false()))
        if form == "number":
            return case((self.is_number(), self.number()))
        return case((self.is_text(), self.text()))

    def is_number(self) -> ColumnElement[bool]:
        return self.type().in_(["integer", "real"] if self._sqlite else ["number"])

    def is_text(self) -> ColumnElement[bool]:
        return self.type() == ("text" if self._sqlite else "string")

    def is_boolean(self, value: bool) -> ColumnElement[bool]:
        word = str(value).lower()
        if self._sqlite:
            return self.type() == word
        return literal_column(f"{_DOC} #> {self._path} = '{word}'::jsonb")

    def holds(self, values: Sequence[Scalar]) -> ColumnElement[bool]:
        """A list stands there that contains one of the values."""
        if self._sqlite:
            items = func.json_each(literal_column(_DOC), literal_column(self._path)).table_valued("value")
            return and_(self.type() == "array", items.select().where(items.c.value.in_(values)).exists())
        lists = array([cast(literal(json.dumps([value]), Text), JSONB) for value in values])
        return literal_column(f"{_DOC} #> {self._path}").op("@>")(any_(lists))


def condition(sqlite: bool, where: Filter, scalars: Set[str] = frozenset(), depth: int = 0) -> ColumnElement[bool]:
    """The filter as a condition on table `entity`. Raises InvalidInput when nested deeper than DEPTH_MAX.

    `scalars` are attributes known never to hold a list; comparing them finds an index.
    """
    if depth > DEPTH_MAX:
        raise InvalidInput("the query is nested too deeply", allowed=f"{DEPTH_MAX} levels", where="q")
    if isinstance(where, AllOf):
        return and_(true(), *(condition(sqlite, part, scalars, depth + 1) for part in where.parts))
    if isinstance(where, AnyOf):
        return or_(false(), *(condition(sqlite, part, scalars, depth + 1) for part in where.parts))
    if isinstance(where, Exists):
        keys = _value_keys(where.path, where.trail)
        there = JsonPlace(sqlite, keys if where.trail else keys[:-1]).type().is_not(None)
        return not_(there) if where.negated else there
    return _compare(sqlite, where, lists=len(where.path) > 1 or where.path[0] not in scalars)


def number_index(sqlite: bool, name: str) -> ColumnElement[Any]:
    """The expression that an index on a declared number stands on: the same that comparisons use."""
    return JsonPlace(sqlite, (name, "v")).number()


def _compare(sqlite: bool, where: Compare, lists: bool) -> ColumnElement[bool]:
    *above, last = where.path
    if above and last in _TIMES:
        place = JsonPlace(sqlite, [*_value_keys(above, ())[:-1], _TIMES[last]])
        instants = [
            Range(_instant(v.low), _instant(v.high)) if isinstance(v, Range) else _instant(v) for v in where.values
        ]
        return _any(place, where.op, instants)
    if above and last == "unitCode":
        return _any(JsonPlace(sqlite, [*_value_keys(above, ())[:-1], "u"]), where.op, where.values)
    return _any(JsonPlace(sqlite, _value_keys(where.path, where.trail)), where.op, where.values, lists)


def _any(place: JsonPlace, op: str, values: Sequence[Scalar | Range], lists: bool = False) -> ColumnElement[bool]:
    if op in ("~=", "!~="):
        matches = place.text().regexp_match(str(values[0]))
        return and_(place.is_text(), matches if op == "~=" else not_(matches))
    if op in ("==", "!="):
        alike = _alike(place, values, lists)
        return alike if op == "==" else and_(place.type().is_not(None), not_(func.coalesce(alike, false())))
    return or_(false(), *(_ordered(place, op, value) for value in values if not isinstance(value, Range)))


def _alike(place: JsonPlace, values: Sequence[Scalar | Range], lists: bool) -> ColumnElement[bool]:
    """One of the values stands there, or lies in one of the ranges; texts and numbers are looked up at once."""
    ranges = [value for value in values if isinstance(value, Range)]
    scalars = [value for value in values if not isinstance(value, Range)]
    texts = [literal(value, Text) for value in scalars if isinstance(value, str)]
    numbers = [_number(value) for value in scalars if not isinstance(value, str | bool)]
    return or_(
        false(),
        *(and_(_ordered(place, ">=", one.low), _ordered(place, "<=", one.high)) for one in ranges),
        *(place.is_boolean(value) for value in scalars if isinstance(value, bool)),
        *([and_(_is_one(place.text(), texts), place.is_text())] if texts else []),
        *([and_(_is_one(place.number(), numbers), place.is_number())] if numbers else []),
        *([place.holds(scalars)] if lists and scalars else []),
    )


def _is_one(column: ColumnElement[Any], values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)


def _number(value: float) -> ColumnElement[Any]:
    return literal(value, BigInteger) if isinstance(value, int) else literal(value)


def _ordered(place: JsonPlace, op: str, value: Scalar) -> ColumnElement[bool]:
    if isinstance(value, bool):
        return place.is_boolean(value) if op == "==" else false()
    if isinstance(value, str):
        return and_(_ORDER[op](place.text(), literal(value, Text)), place.is_text())
    return and_(_ORDER[op](place.number(), _number(value)), place.is_number())


def _instant(value: Scalar) -> int:
    return instant(str(value), where="q")


def _value_keys(path: Sequence[str], trail: Sequence[str]) -> list[str]:
    """Keys from the top of `doc` to the value: attribute, its sub-attributes, value, and into the value."""
    keys = [path[0]]
    for name in path[1:]:
        keys += ["s", name]
    return [*keys, "v", *trail]
