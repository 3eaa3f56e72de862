"""Members of entities that are picked or omitted (clause 4.21), and in braces those of what Relationships lead to."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import TooComplexQuery, located
from hutong.standards.ngsi_ld.representations import Shape

CORE_MEMBERS = frozenset(("id", "type", "scope"))
NESTING_MAX = 8
MEMBERS_MAX = 1_000

_token = re.compile(r"[,|{}]|[^,|{}]+").findall
Members: TypeAlias = "Mapping[str, Members]"
"""Stored names, `id`, `type` or `scope`; under each what stands in braces behind it."""


def read_members(text: str, expand: Callable[[str], str], where: str) -> Members:
    """The members that `id,locatedAt{id,name}` names. Raises InvalidInput, TooComplexQuery."""
    tokens = _token(text)
    if len(tokens) > MEMBERS_MAX:
        raise TooComplexQuery("too many members", where=where, allowed=f"at most {MEMBERS_MAX}")
    rest = iter(tokens)
    try:
        found, end = _read(rest, expand, 0) if text else ({}, "")
        if end:
            raise InvalidInput("a brace closes that nobody opened", seen=text, allowed="name, or name{name,name}")
    except HutongError as error:
        raise located(error, where) from None
    return found


def _read(rest: Iterator[str], expand: Callable[[str], str], depth: int) -> tuple[Members, str]:
    """Members up to a closing brace, or the end; and which of them it was."""
    if depth > NESTING_MAX:
        raise TooComplexQuery("members are nested too deeply", allowed=f"{NESTING_MAX} levels")
    found: dict[str, Members] = {}
    while True:
        name = next(rest, "")
        if name in ("", ",", "|", "{", "}"):
            raise InvalidInput("the name of a member is missing", seen=name, allowed="name, or name{name,name}")
        key = name if name in CORE_MEMBERS else expand(name)
        end = next(rest, "")
        found.setdefault(key, {})
        if end == "{":
            inner, closing = _read(rest, expand, depth + 1)
            if closing != "}":
                raise InvalidInput("a brace is not closed", seen=name, allowed="}")
            found[key], end = inner, next(rest, "")
        if end not in (",", "|"):
            return found, end


def cut(shape: Shape, pick: Members, omit: Members) -> Shape:
    """The shape with only the picked members, and without the omitted ones. Raises InvalidInput where both name one."""
    whole = frozenset(name for name, inside in omit.items() if not inside)
    if both := pick.keys() & whole:
        raise InvalidInput("the same member is picked and omitted", where="omit", seen=", ".join(both))
    nested = {name for name, inside in (*pick.items(), *omit.items()) if inside}
    bare = msgspec.structs.replace(shape, attributes=frozenset())
    return msgspec.structs.replace(
        shape,
        pick=frozenset(pick),
        omit=whole,
        linked={name: cut(bare, pick.get(name, {}), omit.get(name, {})) for name in nested},
    )
