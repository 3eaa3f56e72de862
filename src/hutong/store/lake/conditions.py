"""Filters of the sense engine's questions over an entity's rows of history, as SQL for DuckDB (clause 5.7.4).

A condition holds for an entity when one of its rows in the range makes it true: `q=speed>50;heading<90` may find the
two in different rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hutong.engines.sense.ports import AllOf, AnyOf, Compare, Exists, Filter, Range, Scalar
from hutong.kernel.clock import instant
from hutong.kernel.errors import InvalidInput

DEPTH_MAX = 32
_OPERATORS: Mapping[str, str] = {"==": "=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
_COLUMNS: Mapping[str, str] = {"observedAt": '"at"', "createdAt": "recorded_at", "modifiedAt": "recorded_at"}
_NUMBERS = "('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')"


@dataclass(frozen=True)
class Place:
    """A value of a row as SQL, by form; each is NULL where the value is of another form or absent."""

    number: str
    text: str
    boolean: str = "NULL"
    array: str = "NULL"
    there: str = "true"


_VALUE = Place(
    number="number",
    text="CASE WHEN kind <> 'B' THEN text END",
    boolean="CASE WHEN kind = 'B' THEN text = 'true' END",
    array="CASE WHEN extra IS NOT NULL AND json_type(extra, '$.v') = 'ARRAY' THEN json_extract(extra, '$.v') END",
)


class Conditions:
    """Builds conditions on groups of rows; `values` are the parameters that they name."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def holds(self, where: Filter, depth: int = 0) -> str:
        """The filter as a condition on an entity's rows. Raises InvalidInput when nested deeper than DEPTH_MAX."""
        if depth > DEPTH_MAX:
            raise InvalidInput("the query is nested too deeply", allowed=f"{DEPTH_MAX} levels", where="q")
        if isinstance(where, AllOf | AnyOf):
            word = " AND " if isinstance(where, AllOf) else " OR "
            parts = [self.holds(part, depth + 1) for part in where.parts]
            return f"({word.join(parts)})" if parts else str(isinstance(where, AllOf)).lower()
        if isinstance(where, Exists):
            place = self._place(where.path, where.trail)
            there = self._some(where.path[0], place.there)
            return f"NOT {there}" if where.negated else there
        return self._some(where.path[0], self._compares(where))

    def has(self, attributes: Sequence[str]) -> str:
        """That there are rows of one of these attributes."""
        return " OR ".join(self._some(name, "true") for name in attributes)

    def named(self, attribute: str) -> str:
        """That a row is of this attribute, whatever its datasetId."""
        name = self._value(attribute)
        return f"(attribute = {name} OR starts_with(attribute, {name} || '@'))"

    def _some(self, attribute: str, condition: str) -> str:
        return f"coalesce(bool_or({self.named(attribute)} AND coalesce({condition}, false)), false)"

    def _value(self, value: Any) -> str:
        name = f"q{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def _place(self, path: Sequence[str], trail: Sequence[str]) -> Place:
        if len(path) == 1 and not trail:
            return _VALUE
        inner, last = path[1:], path[-1]
        if len(path) == 2 and not trail:
            if last in _COLUMNS:
                return Place(_COLUMNS[last], "NULL")
            if last == "unitCode":
                return Place("NULL", "unit", there="unit IS NOT NULL")
            if last == "datasetId":
                dataset = "nullif(split_part(attribute, '@', 2), '')"
                return Place("NULL", dataset, there=f"{dataset} IS NOT NULL")
        keys = [key for name in inner for key in ("s", name)]
        return self._json("$" + "".join(f'."{_plain(key)}"' for key in (*keys, "v", *trail)))

    def _json(self, path: str) -> Place:
        name = self._value(path)
        value, kind = f"json_extract(extra, {name})", f"json_type(extra, {name})"
        return Place(
            number=f"CASE WHEN {kind} IN {_NUMBERS} THEN {value}::DOUBLE END",
            text=f"CASE WHEN {kind} = 'VARCHAR' THEN json_extract_string(extra, {name}) END",
            boolean=f"CASE WHEN {kind} = 'BOOLEAN' THEN {value}::BOOLEAN END",
            array=f"CASE WHEN {kind} = 'ARRAY' THEN {value} END",
            there=f"{value} IS NOT NULL",
        )

    def _compares(self, where: Compare) -> str:
        place = self._place(where.path, where.trail)
        values: Sequence[Scalar | Range] = where.values
        if len(where.path) > 1 and where.path[-1] in _COLUMNS:
            values = [
                Range(_instant(value.low), _instant(value.high)) if isinstance(value, Range) else _instant(value)
                for value in values
            ]
        if where.op in ("~=", "!~="):
            matches = f"regexp_matches({place.text}, {self._value(str(values[0]))}, 's')"
            return matches if where.op == "~=" else f"({place.text}) IS NOT NULL AND NOT {matches}"
        if where.op in ("==", "!="):
            alike = " OR ".join(self._alike(place, value) for value in values) or "false"
            return f"({alike})" if where.op == "==" else f"{place.there} AND NOT coalesce({alike}, false)"
        ordered = (self._ordered(place, where.op, value) for value in values if not isinstance(value, Range))
        return " OR ".join(ordered) or "false"

    def _alike(self, place: Place, value: Scalar | Range) -> str:
        if isinstance(value, Range):
            return f"({self._ordered(place, '>=', value.low)} AND {self._ordered(place, '<=', value.high)})"
        inside = f"json_contains({place.array}, to_json({self._value(value)}))"
        return f"(coalesce({self._ordered(place, '==', value)}, false) OR coalesce({inside}, false))"

    def _ordered(self, place: Place, op: str, value: Scalar) -> str:
        if isinstance(value, bool):
            return f"({place.boolean}) = {str(value).lower()}" if op == "==" else "false"
        column = place.text if isinstance(value, str) else place.number
        return f"({column}) {_OPERATORS[op]} {self._value(value)}"


def _instant(value: Scalar) -> int:
    return instant(str(value), where="q")


def _plain(key: str) -> str:
    if '"' in key or "\\" in key:
        raise InvalidInput("a name cannot hold quotes or backslashes", seen=key, where="q")
    return key
