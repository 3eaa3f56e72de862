"""URIs and names: what may stand as an identifier (RFC 3986, RFC 3987) and as a name (clause 4.6.2)."""

import re
import unicodedata
from typing import Any, TypeGuard

from hutong.kernel.errors import InvalidInput

URI_LENGTH_MAX = 2048  # bytes: ids stand in indexes, whose rows are bounded
NAME_LENGTH_MAX = 256
NULL = "urn:ngsi-ld:null"  # NGSI-LD Null, clause 4.5.0

_forbidden = re.compile(r'[\x00-\x20<>"{}|\\^`\x7f-\xa0]').search
_schemed = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.").match
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zs", "Zl", "Zp")
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f") | {chr(c) for c in range(0xFE00, 0xFE10)}


def is_uri(value: Any) -> TypeGuard[str]:
    """Whether a value is a URI or IRI in which every character can be seen."""
    if type(value) is not str or len(value) > URI_LENGTH_MAX or _forbidden(value) is not None:
        return False
    if not (value.startswith("urn:") and len(value) > 4) and _schemed(value) is None:
        return False
    return value.isascii() or (not any(map(_is_unseen, value)) and len(value.encode()) <= URI_LENGTH_MAX)


def _is_unseen(char: str) -> bool:
    """Invisible or bidirectional controls make two ids look alike; variation selectors and fillers do too."""
    return char in _BLANKS or 0xE0100 <= ord(char) <= 0xE01EF or unicodedata.category(char) in _UNSEEN


def read_uri(value: Any, what: str) -> str:
    """The value, where it is a URI. Raises InvalidInput, without `where`, otherwise."""
    if is_uri(value):
        return value
    raise InvalidInput(
        f"{what} is no URI",
        seen=value,
        allowed=f"a URI of at most {URI_LENGTH_MAX} bytes",
        fix="write it as urn:ngsi-ld:Type:name",
    )


def is_name(text: str) -> bool:
    """Whether a text is a name without prefix: a letter, then letters, digits and underscores."""
    return (
        0 < len(text) <= NAME_LENGTH_MAX and text[0].isalpha() and (len(text) == 1 or text.replace("_", "a").isalnum())
    )
