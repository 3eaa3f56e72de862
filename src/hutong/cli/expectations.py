"""What a proof expects of an answer: JSON Pointers (RFC 6901) and the values that must be found there."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from hutong.kernel.errors import shown


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()
"""What a pointer finds where there is nothing, which is not null."""


def pointed(document: Any, pointer: str) -> Any:
    """The value a pointer leads to, MISSING when it leads nowhere. The empty pointer is the whole document."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            return MISSING
    return document


def unmet(document: Any, expected: Mapping[str, Any]) -> str:
    """The first expectation that does not hold, in words; nothing when all hold."""
    for pointer, wanted in expected.items():
        found = pointed(document, pointer)
        if not _meets(found, wanted):
            return f"`{pointer}` is {shown(found)}, expected {shown(wanted)}"
    return ""


def _meets(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and wanted and wanted.keys() <= _TESTS.keys():
        return all(_TESTS[name](found, bound) for name, bound in wanted.items())
    return _equal(found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    """Equality of JSON values; numbers up to rounding."""
    if _is_number(found) and _is_number(wanted):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_equal, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_equal(found[key], wanted[key]) for key in wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contains(found: Any, part: Any) -> bool:
    if isinstance(found, str):
        return isinstance(part, str) and part in found
    return isinstance(found, list) and any(_equal(item, part) for item in found)


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "absent": lambda found, absent: (found is MISSING) is absent,
    "count": lambda found, count: isinstance(found, list | dict | str) and len(found) == count,
    "at_least": lambda found, bound: _is_number(found) and found >= bound,
    "at_most": lambda found, bound: _is_number(found) and found <= bound,
    "contains": _contains,
    "some": lambda found, parts: isinstance(found, list) and any(not unmet(item, parts) for item in found),
}
