"""Filters as Python predicates on a document in hand: what the stores' SQL means, without a store."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import ge, gt, le, lt
from typing import Any, Final, TypeAlias

import re2

from hutong.engines.sense.ports import AllOf, AnyOf, Attribute, Compare, Exists, Filter, Range, Scalar
from hutong.kernel.clock import instant

Doc: TypeAlias = Mapping[str, Attribute]
Predicate: TypeAlias = Callable[[Doc], bool]
Test: TypeAlias = Callable[[Any], bool]

_TIMES: Final = {"observedAt": "observed_at", "modifiedAt": "modified_at", "createdAt": "created_at"}
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {">": gt, ">=": ge, "<": lt, "<=": le}
_NOTHING: Final[Any] = object()  # what stands nowhere: not even null
_PATTERN: Final = re2.Options()
_PATTERN.dot_nl = True  # as the stores have it


def predicate(where: Filter) -> Predicate:
    """Whether a document answers the filter. Raises InvalidInput for an instant that is none."""
    if isinstance(where, AllOf):
        return _joined(tuple(map(predicate, where.parts)), ends=False)
    if isinstance(where, AnyOf):
        return _joined(tuple(map(predicate, where.parts)), ends=True)
    if isinstance(where, Exists):
        return _exists(where)
    return _compare(where)


def pattern(text: str) -> Callable[[str], bool]:
    """Whether a text has a match of a regular expression anywhere."""
    search = re2.compile(text, _PATTERN).search
    return lambda value: search(value) is not None


def _joined(parts: Sequence[Predicate], *, ends: bool) -> Predicate:
    """The first part that answers `ends` decides; a plain loop, as this is asked for every change."""

    def answers(doc: Doc) -> bool:
        for part in parts:
            if part(doc) is ends:
                return ends
        return not ends

    return answers


def _exists(where: Exists) -> Predicate:
    if where.trail:
        find = _finder(where.path, where.trail)
        return lambda doc: (find(doc) is not _NOTHING) != where.negated
    holder = _holder(where.path)
    return lambda doc: (holder(doc) is not None) != where.negated


def _compare(where: Compare) -> Predicate:
    *above, last = where.path
    if above and (last in _TIMES or last == "unitCode"):
        member = _TIMES.get(last, "unit")
        values = where.values if last == "unitCode" else tuple(map(_instants, where.values))
        holder, test = _holder(tuple(above)), _test(where.op, values)

        def of_member(doc: Doc) -> bool:
            attribute = holder(doc)
            value = getattr(attribute, member) if attribute is not None else None
            return value is not None and value != 0 and test(value)

        return of_member
    test = _test(where.op, where.values)
    if len(where.path) == 1 and not where.trail:
        name = where.path[0]

        def of_attribute(doc: Doc) -> bool:
            attribute = doc.get(name)
            return attribute is not None and attribute.value is not None and test(attribute.value)

        return of_attribute
    find = _finder(where.path, where.trail)

    def of_value(doc: Doc) -> bool:
        value = find(doc)
        return value is not _NOTHING and test(value)

    return of_value


def _instants(value: Scalar | Range) -> Scalar | Range:
    if isinstance(value, Range):
        return Range(instant(str(value.low), "q"), instant(str(value.high), "q"))
    return instant(str(value), "q")


# --- where a value stands -------------------------------------------------------------------------------------


def _holder(path: Sequence[str]) -> Callable[[Doc], Attribute | None]:
    """The attribute, or sub-attribute, that a path names."""
    name, below = path[0], tuple(path[1:])

    def find(doc: Doc) -> Attribute | None:
        found = doc.get(name)
        for one in below:
            if found is None or found.sub is None:
                return None
            found = found.sub.get(one)
        return found

    return find


def _finder(path: Sequence[str], trail: Sequence[str]) -> Callable[[Doc], Any]:
    """The JSON value at the end of a path and trail, _NOTHING where there is none."""
    holder = _holder(path)

    def find(doc: Doc) -> Any:
        attribute = holder(doc)
        if attribute is None or attribute.value is None:
            return _NOTHING
        value = attribute.value
        for key in trail:
            if type(value) is not dict or key not in value:
                return _NOTHING
            value = value[key]
        return value

    return find


# --- what holds of it -----------------------------------------------------------------------------------------


def _test(op: str, values: Sequence[Scalar | Range]) -> Test:
    if op in ("~=", "!~="):
        matches = pattern(str(values[0]))
        return lambda value: type(value) is str and matches(value) is (op == "~=")
    if op in ("==", "!="):
        alike = partial(_alike, tuple(map(_key, _scalars(values))), tuple(v for v in values if isinstance(v, Range)))
        return alike if op == "==" else lambda value: not alike(value)
    compare, [bound] = _ORDER[op], values  # one only, as q has it
    if isinstance(bound, Range | bool):
        return lambda _: False
    kinds = (str,) if isinstance(bound, str) else (int, float)
    return lambda value: type(value) in kinds and compare(value, bound)


def _scalars(values: Sequence[Scalar | Range]) -> list[Scalar]:
    return [value for value in values if not isinstance(value, Range)]


def _alike(keys: Sequence[tuple[str, Scalar]], ranges: Sequence[Range], value: Any) -> bool:
    """The value is one of these, lies in one of the ranges, or is a list that holds one of these."""
    if type(value) is list:
        return any(_key(item) in keys for item in value if type(item) in _KINDS)
    if type(value) not in _KINDS:
        return False
    return _key(value) in keys or any(
        _of_a_kind(value, one.low) and _of_a_kind(value, one.high) and one.low <= value <= one.high for one in ranges
    )


_KINDS: Final = {int: "number", float: "number", str: "text", bool: "boolean"}


def _key(value: Any) -> tuple[str, Scalar]:
    """A scalar with its JSON type, as 1 is true to Python and not to JSON."""
    return _KINDS[type(value)], value


def _of_a_kind(value: Any, other: Scalar) -> bool:
    kind = _KINDS.get(type(value))
    return kind is not None and kind != "boolean" and kind == _KINDS[type(other)]
