"""Turns a TOML table into a Struct field by field, so that every fault in it is found and not only the first."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from functools import cache
from typing import Any, TypeVar

from msgspec import NODEFAULT, Struct, inspect

from hutong.kernel.packs.faults import Faults, listed, meant, nearest
from hutong.kernel.packs.lines import KeyLines, KeyPath

S = TypeVar("S", bound=Struct)

_PLAIN: Mapping[type[inspect.Type], tuple[tuple[type, ...], str]] = {
    inspect.AnyType: ((object,), "anything"),
    inspect.NoneType: ((), ""),
    inspect.BoolType: ((bool,), "true or false"),
    inspect.IntType: ((int,), "an integer"),
    inspect.FloatType: ((int, float), "a number"),
    inspect.StrType: ((str,), "a text in quotes"),
    inspect.DateTimeType: ((datetime,), "a date-time"),
    inspect.DateType: ((date,), "a date"),
    inspect.TimeType: ((time,), "a time of day"),
    inspect.ListType: ((list,), "a list"),
    inspect.VarTupleType: ((list,), "a list"),
    inspect.DictType: ((dict,), "a table"),
    inspect.StructType: ((dict,), "a table"),
}
_BOUNDS: Sequence[tuple[str, str, Callable[[float, float], bool]]] = (
    ("ge", ">=", operator.ge),
    ("gt", ">", operator.gt),
    ("le", "<=", operator.le),
    ("lt", "<", operator.lt),
    ("multiple_of", "a multiple of", lambda seen, bound: seen % bound == 0),
)
_INTEGER_MAX = 2**63 - 1  # TOML 1.0, "Integer"


@cache
def struct_type(kind: type[Struct]) -> inspect.StructType:
    """What msgspec knows of a Struct's fields."""
    found = inspect.type_info(kind)
    if not isinstance(found, inspect.StructType):
        raise TypeError(f"{kind} is no Struct")
    return found


def bare(kind: inspect.Type) -> inspect.Type:
    """The type without its annotations and without the None of an optional field."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        options = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
        if len(options) == 1:
            return bare(options[0])
    return kind


def note(kind: inspect.Type) -> str:
    """The description given to a field by its Meta."""
    return (kind.extra_json_schema or {}).get("description", "") if isinstance(kind, inspect.Metadata) else ""


def example(kind: inspect.Type) -> str:
    """An example of a field's values, where its Meta gives one."""
    examples = (kind.extra_json_schema or {}).get("examples", ()) if isinstance(kind, inspect.Metadata) else ()
    return next(iter(examples), "")


def described(kind: inspect.Type) -> str:
    """What values of the type look like, in a few words."""
    such = f", such as `{shown}`" if (shown := example(kind)) else ""
    kind = bare(kind)
    match kind:
        case inspect.UnionType(types=types):
            words = [described(each) for each in types if not isinstance(each, inspect.NoneType)]
            return " or ".join(word for word in words if word != "an integer" or "a number" not in words)
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case inspect.StrType(pattern=str(pattern)):
            return f"a text that matches `{pattern}`{such}"
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return f"a list; each {described(item)}"
        case inspect.DictType(value_type=value):
            return f"a table; each value {described(value)}"
    limits = [f"{sign} {bound}" for name, sign, _ in _BOUNDS if (bound := getattr(kind, name, None)) is not None]
    return " ".join([_PLAIN[type(kind)][1], *limits])


class StructReader:
    """Reads the tables of one file. `name` is how faults call it: `street_lights/alerts.toml`."""

    def __init__(self, name: str, lines: KeyLines, faults: Faults) -> None:
        self._name = name
        self._lines = lines
        self._faults = faults
        self.doubtful: set[int] = set()
        """Lines of the declarations in which a value was replaced by a stand-in, as it could not be read."""

    def read(self, seen: dict[str, Any], kind: type[S]) -> S:
        """The Struct, always: what is faulty is noted and replaced by its default or an empty value."""
        found: S = self._struct(seen, struct_type(kind), (), ())
        return found

    def _value(self, seen: Any, declared: inspect.Type, path: KeyPath, entry: KeyPath) -> Any:
        kind = bare(declared)
        if isinstance(kind, inspect.UnionType):
            kind = next((option for option in map(bare, kind.types) if _fits(seen, option)), kind)
        if isinstance(kind, inspect.LiteralType):
            if _fits(seen, kind):
                return seen
            near = meant(seen, [str(value) for value in kind.values]) if isinstance(seen, str) else ""
            return self._refuse("value-not-allowed", "not a value allowed", seen, declared, path, entry, near)
        if not _fits(seen, kind):
            return self._refuse("wrong-type", "a value of another type", seen, declared, path, entry)
        match kind:
            case inspect.StructType():
                return self._struct(seen, kind, path, entry)
            case inspect.DictType(key_type=key_type, value_type=value_type):
                # A name given by the author begins a declaration of its own.
                return {
                    self._value(key, key_type, (*path, key), entry): self._value(
                        value, value_type, (*path, key), (*path, key)
                    )
                    for key, value in seen.items()
                }
            case inspect.ListType(item_type=item_type) | inspect.VarTupleType(item_type=item_type):
                if not self._long_enough(seen, kind, path, entry):
                    return _stand_in(kind)
                items = [self._value(item, item_type, (*path, n), entry) for n, item in enumerate(seen)]
                return tuple(items) if isinstance(kind, inspect.VarTupleType) else items
        return self._plain(seen, declared, kind, path, entry)

    def _struct(self, seen: dict[str, Any], kind: inspect.StructType, path: KeyPath, entry: KeyPath) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        given = {key: key for key in seen if key in fields}
        for key in seen:
            if key not in fields:
                near = nearest(key, [name for name in fields if name not in seen])
                if near:  # read on as if it were spelled right: one slip, one fault
                    given.setdefault(near, key)
                self._faults.add(
                    "unknown-key",
                    "a key that nothing reads",
                    where=self._where((*path, key)),
                    seen=key,
                    allowed=listed(fields),
                    fix=f"did you mean `{near}`?" if near else "remove it",
                )
        values = {}
        for name, field in fields.items():
            if name in given:
                values[field.name] = self._value(seen[given[name]], field.type, (*path, given[name]), entry)
            elif field.required:
                self._faults.add(
                    "missing-key",
                    f"`{name}` is missing",
                    where=self._where(path),
                    allowed=described(field.type),
                    fix=f"add `{name}`: {note(field.type)}",
                )
                self._doubt(path, entry)
                values[field.name] = _stand_in(field.type)
        return kind.cls(**values)

    def _plain(self, seen: Any, declared: inspect.Type, kind: inspect.Type, path: KeyPath, entry: KeyPath) -> Any:
        if isinstance(kind, inspect.StrType):
            if kind.pattern is not None and not re.search(kind.pattern, seen):
                return self._refuse("pattern-not-met", "a text of another form", seen, declared, path, entry)
            return seen if self._long_enough(seen, kind, path, entry) else ""
        if isinstance(seen, int | float) and not isinstance(seen, bool):
            sound = abs(seen) <= _INTEGER_MAX if isinstance(seen, int) else math.isfinite(seen)
            within = sound and all(
                test(seen, bound) for name, _, test in _BOUNDS if (bound := getattr(kind, name, None)) is not None
            )
            if not within:
                return self._refuse("out-of-range", "a number outside its range", seen, declared, path, entry)
        return seen

    def _long_enough(self, seen: Any, kind: Any, path: KeyPath, entry: KeyPath) -> bool:
        least, most = kind.min_length or 0, math.inf if kind.max_length is None else kind.max_length
        if least <= len(seen) <= most:
            return True
        what = "characters" if isinstance(seen, str) else "items"
        self._faults.add(
            "wrong-length",
            f"has {len(seen)} {what}",
            where=self._where(path),
            seen=seen,
            allowed=f"{least} {what}"
            if least == most
            else f"{least} to {most} {what}"
            if most < math.inf
            else f"at least {least} {what}",
        )
        self._doubt(path, entry)
        return False

    def _refuse(
        self, code: str, what: str, seen: Any, declared: inspect.Type, path: KeyPath, entry: KeyPath, near: str = ""
    ) -> Any:
        about, shown = note(declared), example(declared)
        key = next(part for part in reversed(path) if isinstance(part, str))
        self._faults.add(
            code,
            f"`{key}`: {what}",
            where=self._where(path),
            seen=seen,
            allowed=described(declared),
            fix=near or (f"write it as `{shown}`" if shown else f"`{key}` says: {about}" if about else ""),
        )
        self._doubt(path, entry)
        return _stand_in(declared)

    def _doubt(self, path: KeyPath, entry: KeyPath) -> None:
        self.doubtful |= self._lines.under(entry) if entry else {self._lines.line(path)}

    def _where(self, path: KeyPath) -> str:
        return f"{self._name}:{self._lines.line(path)}"


def _fits(seen: Any, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.LiteralType):
        return seen in kind.values
    if isinstance(kind, inspect.UnionType):
        return any(_fits(seen, bare(option)) for option in kind.types)
    accepted, _ = _PLAIN[type(kind)]
    if isinstance(seen, bool):
        return bool in accepted or object in accepted
    if isinstance(seen, datetime):  # a datetime is a date to Python, and not to the reader of a calendar
        return datetime in accepted or object in accepted
    return isinstance(seen, accepted)


def _stand_in(kind: inspect.Type) -> Any:
    """An empty value of the type, so that reading can go on after a fault."""
    kind = bare(kind)
    match kind:
        case inspect.UnionType(types=types):
            return None if any(isinstance(each, inspect.NoneType) for each in types) else _stand_in(types[0])
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: _stand_in(field.type) for field in fields if field.required})
    empty = {
        inspect.StrType: "",
        inspect.IntType: 0,
        inspect.FloatType: 0.0,
        inspect.BoolType: False,
        inspect.ListType: [],
        inspect.VarTupleType: (),
        inspect.DictType: {},
    }
    return empty.get(type(kind))


def default(field: inspect.Field) -> Any:
    """The value a field has when it is not written, or None when it must be."""
    if field.default is not NODEFAULT:
        return field.default
    return None if field.default_factory is NODEFAULT else field.default_factory()
