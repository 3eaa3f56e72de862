"""Regular expressions of clients: the part of IEEE 1003.2 that every store evaluates alike and in bounded time."""

import re

import re2

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.errors import TooComplexQuery

PATTERN_LENGTH_MAX = 256
REPETITIONS_MAX = 4  # in one pattern; each more multiplies the time a hostile text can take
REPEATED_MAX = 255  # how often {n} repeats: RE_DUP_MAX of IEEE 1003.2

_escaped = re.compile(r"\\.")
_special = re.compile(r"\\(?![dswDSWnrtf])[^\W_]", re.ASCII).search  # escapes that engines read differently
_set = re.compile(r"\[\^?\]?[^\]]*\]")
_count = re.compile(r"\{(\d{1,3})(?:,(\d{0,3}))?\}")
_quiet = re2.Options()
_quiet.log_errors = False
_dialect = re.compile(r"\[\^?\]?[^\]]*(?:\[|--|&&|~~|\|\|)").search  # what engines read differently inside a set


def read_pattern(text: str, where: str) -> str:
    """The pattern as given. Raises InvalidInput for what is none, TooComplexQuery for one that might never end."""
    if not 0 < len(text) <= PATTERN_LENGTH_MAX:
        raise InvalidInput(
            "no pattern",
            where=where,
            seen=len(text),
            allowed=f"a regular expression of 1 to {PATTERN_LENGTH_MAX} characters",
        )
    plain = _escaped.sub("_", text)
    if "(?" in plain or _dialect(plain) or _special(text.replace("\\\\", "__")):
        raise InvalidInput(
            "this part of regular expressions is not understood here",
            where=where,
            seen=text,
            allowed="IEEE 1003.2 extended regular expressions",
            fix="do without (?, \\ before letters and digits other than \\d \\s \\w, and classes inside [ ]",
        )
    try:
        re.compile(text)
        re2.compile(text, _quiet)
    except re.error as error:
        raise InvalidInput(f"no regular expression: {error.msg}", where=where, seen=text) from None
    except re2.error as error:
        raise InvalidInput("no regular expression", where=where, seen=text, allowed=error.args[0].decode()) from None
    bare = _set.sub("_", plain)
    counted = [int(times) for count in _count.findall(bare) for times in count if times]
    if "{" in _count.sub("", bare) or max(counted, default=0) > REPEATED_MAX:
        allowed = f"{{n}}, {{n,}} or {{n,m}}, up to {REPEATED_MAX}"
        raise InvalidInput("no count of repetitions", where=where, seen=text, allowed=allowed, fix="write { as \\{")
    if _repetitions(text) > REPETITIONS_MAX:
        raise TooComplexQuery(
            "a pattern with too many repetitions",
            where=where,
            seen=text,
            allowed=f"at most {REPETITIONS_MAX} of * + {{}}, none of them inside one another",
        )
    return text


def _repetitions(text: str) -> int:
    """How many repetitions a valid pattern has; one around an alternative or another repetition counts as too many."""
    count, i = 0, 0
    open_groups: list[bool] = []  # does the group hold a repetition or an alternative?
    closed_busy = False
    while i < len(text):
        char = text[i]
        if char in "*+{":
            count += REPETITIONS_MAX + 1 if closed_busy else 1
            open_groups = [True] * len(open_groups)
            i = text.find("}", i) if char == "{" and "}" in text[i:] else i
        elif char == "\\":
            i += 1
        elif char == "[":
            i = text.index("]", i + 3 if text[i + 1 : i + 2] == "^" else i + 2)
        elif char == "(":
            open_groups.append(False)
        elif char == "|":
            open_groups = [True] * len(open_groups)
        closed_busy = char == ")" and bool(open_groups) and open_groups.pop()
        i += 1
    return count
