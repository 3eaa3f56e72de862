"""The entity type selection language (clause 4.17): `A`, `A,B`, `(A;B)|C` as alternatives of types that go together."""

import re
from collections.abc import Callable
from itertools import product

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import TooComplexQuery, located

ALTERNATIVES_MAX = 100
NESTING_MAX = 16

_token = re.compile(r"[,|;()]|[^,|;()]+").findall
Alternatives = list[tuple[str, ...]]


def read_type_selection(text: str, expand: Callable[[str], str], where: str = "type") -> tuple[tuple[str, ...], ...]:
    """The alternatives that a selection means, their names expanded; none for `*`, which is any type."""
    if text == "*":
        return ()
    reader = _Reader(_token(text), expand)
    try:
        found = reader.read_any(0)
        if reader.rest:
            raise InvalidInput("the selection goes on where it should end", seen="".join(reader.rest))
    except HutongError as error:
        raise located(error, where) from None
    return tuple(dict.fromkeys(found))


def map_type_selection(text: str, rename: Callable[[str], str]) -> str:
    """The same selection with other names."""
    return "".join(token if token in "*,|;()" else rename(token) for token in _token(text))


class _Reader:
    def __init__(self, tokens: list[str], expand: Callable[[str], str]) -> None:
        self.rest, self._expand = tokens, expand

    def read_any(self, depth: int) -> Alternatives:
        found = self._read_all(depth)
        while self._skip(",") or self._skip("|"):
            found += self._read_all(depth)
        return _bounded(found)

    def _read_all(self, depth: int) -> Alternatives:
        found = self._read_one(depth)
        while self._skip(";"):
            pairs = product(found, self._read_one(depth))
            found = _bounded([tuple(dict.fromkeys((*one, *other))) for one, other in pairs])
        return found

    def _read_one(self, depth: int) -> Alternatives:
        if self._skip("("):
            if depth >= NESTING_MAX:
                raise TooComplexQuery("the selection is nested too deeply", allowed=f"{NESTING_MAX} levels")
            found = self.read_any(depth + 1)
            if not self._skip(")"):
                raise InvalidInput("a parenthesis is not closed", seen="".join(self.rest))
            return found
        if not self.rest or self.rest[0] in ",|;)":
            raise InvalidInput("a type is missing", seen="".join(self.rest), allowed="A,B or (A;B),C")
        return [(self._expand(self.rest.pop(0).strip()),)]

    def _skip(self, token: str) -> bool:
        if self.rest and self.rest[0] == token:
            self.rest.pop(0)
            return True
        return False


def _bounded(found: Alternatives) -> Alternatives:
    if len(found) > ALTERNATIVES_MAX:
        raise TooComplexQuery("too many alternatives", seen=len(found), allowed=f"at most {ALTERNATIVES_MAX}")
    if (most := max(map(len, found), default=0)) > ALTERNATIVES_MAX:
        raise TooComplexQuery("too many types together", seen=most, allowed=f"at most {ALTERNATIVES_MAX}")
    return found
