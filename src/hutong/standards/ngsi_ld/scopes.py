"""Scopes (clause 4.18) and the scope query language (4.19)."""

from typing import Any

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.errors import TooComplexQuery
from hutong.standards.ngsi_ld.type_selection import read_type_selection
from hutong.standards.ngsi_ld.uris import NULL, is_name

SCOPES_MAX = 100
SCOPE_LENGTH_MAX = 1024
SCOPE_QUERY_LENGTH_MAX = 2048


def read_scopes(value: Any, *, nulls: bool = False) -> tuple[str, ...]:
    """The scopes of an entity, each with a leading slash; NGSI-LD Null (where `nulls`) means none."""
    if value == NULL and nulls:
        return ()
    parts = value if type(value) is list else [value]
    if not 0 < len(parts) <= SCOPES_MAX:
        raise InvalidInput("no scopes", seen=len(parts), allowed=f"1 to {SCOPES_MAX}")
    return tuple(dict.fromkeys(_read_scope(part) for part in parts))


def _read_scope(value: Any) -> str:
    if (
        type(value) is str
        and len(value) <= SCOPE_LENGTH_MAX
        and all(is_name(level) for level in value.removeprefix("/").split("/"))
    ):
        return "/" + value.removeprefix("/")
    allowed = f"/level or /level/level, each a letter, then letters and digits, {SCOPE_LENGTH_MAX} at most"
    raise InvalidInput("no scope", seen=value, allowed=allowed)


def read_scope_query(text: str, where: str = "scopeQ") -> tuple[tuple[str, ...], ...]:
    """Alternatives of scope queries that must all hold: each `/a/b`, `/a/+/c` or `/a/#`."""
    if len(text) > SCOPE_QUERY_LENGTH_MAX:
        raise TooComplexQuery("the scope query is too long", where=where, allowed=f"at most {SCOPE_QUERY_LENGTH_MAX}")
    # a plus that was not percent-encoded arrives as a space
    return read_type_selection(text.replace("/ ", "/+"), _read_scope_term, where)


def _read_scope_term(term: str) -> str:
    levels = term.removeprefix("/").split("/")
    if levels[-1] == "#":
        levels.pop()
    if not term.startswith("/") or not all(level == "+" or is_name(level) for level in levels):
        raise InvalidInput("no scope query", seen=term, allowed="/level, + for any, /# at the end")
    return term
