"""The query language of NGSI-LD (clause 4.9): `speed>50;(brandName=="Mercedes"|address[city]~=Ber.*)` to a Filter."""

import re
from collections.abc import Collection

import msgspec

from hutong.engines.sense.ports import AllOf, AnyOf, Compare, Comparison, Exists, Filter, Range, Scalar
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import TooComplexQuery
from hutong.standards.ngsi_ld.instants import read_instant, write_instant
from hutong.standards.ngsi_ld.patterns import read_pattern
from hutong.standards.ngsi_ld.uris import read_uri

LENGTH_MAX = 4096
TERMS_MAX = 64
NESTING_MAX = 16
VALUES_MAX = 200
SYSTEM_MEMBERS = frozenset(("createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"))

_OPERATORS: tuple[Comparison, ...] = ("!~=", "==", "!=", ">=", "<=", "~=", ">", "<")  # longer ones first
_EQUALITY = ("==", "!=")
_path = re.compile(r"[^\s.;|()\[\]{}=!<>~\",]+(?:\.[^\s.;|()\[\]{}=!<>~\",]+)*").match
_trail = re.compile(r"\[([^\[\]]*)\]").match
_quoted = re.compile(r'"(?:[^"\\]|\\.)*"').match
_bare = re.compile(r"(?![<>=!~])(?:(?!\.\.)[^,;|()\"])+").match
_number = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?").fullmatch


def read_q(text: str, context: Context, expand_values: Collection[str] = (), where: str = "q") -> Filter:
    """The Filter that a query string means. `expand_values`: stored names whose values are names of the @context.

    What is compared with `observedAt`, `createdAt` or `modifiedAt` is checked to be a DateTime, and told in UTC. Raises
    InvalidInput with the position (from 1) as `q:17`, TooComplexQuery where it is too large.
    """
    if len(text) > LENGTH_MAX:
        raise TooComplexQuery("the query is too long", where=where, seen=len(text), allowed=f"at most {LENGTH_MAX}")
    return _Parser(text, context, expand_values, where).read()


def attributes_of(condition: Filter) -> set[str]:
    """The stored names of the attributes that a Filter looks at."""
    if isinstance(condition, AllOf | AnyOf):
        return set().union(*(attributes_of(part) for part in condition.parts))
    return {condition.path[0]}


class _Parser:
    def __init__(self, text: str, context: Context, expand_values: Collection[str], where: str) -> None:
        self._text = text
        self._at = 0
        self._context = context
        self._expand_values = expand_values
        self._where = where
        self._terms = 0

    def read(self) -> Filter:
        condition = self._read_any(0)
        if self._at < len(self._text):
            raise self._fault("the query goes on where it should end", "; | or the end")
        return condition

    def _fault(self, what: str, allowed: str, at: int | None = None) -> InvalidInput:
        at = self._at if at is None else at
        return InvalidInput(what, where=f"{self._where}:{at + 1}", seen=self._text[at : at + 40], allowed=allowed)

    def _skip(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _read_any(self, depth: int) -> Filter:
        """`;` binds closer than `|`."""
        if depth > NESTING_MAX:
            raise TooComplexQuery("the query is nested too deeply", where=self._where, allowed=f"{NESTING_MAX} levels")
        either = [self._read_all(depth)]
        while self._skip("|"):
            either.append(self._read_all(depth))
        return either[0] if len(either) == 1 else AnyOf(tuple(either))

    def _read_all(self, depth: int) -> Filter:
        parts = [self._read_term(depth)]
        while self._skip(";"):
            parts.append(self._read_term(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _read_term(self, depth: int) -> Filter:
        if self._skip("("):
            condition = self._read_any(depth + 1)
            if not self._skip(")"):
                raise self._fault("a parenthesis is not closed", ")")
            return condition
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise TooComplexQuery("the query has too many terms", where=self._where, allowed=f"at most {TERMS_MAX}")
        negated = not self._text.startswith("!~=", self._at) and self._skip("!")
        path, trail = self._read_path()
        operator = next((op for op in _OPERATORS if self._skip(op)), None)
        if operator is None:
            return Exists(path, trail, negated)
        if negated:
            raise self._fault("! stands before the name of an attribute that is to be absent", "no comparison")
        if operator in ("~=", "!~="):
            return Compare(path, operator, (self._read_regexp(),), trail)
        return Compare(path, operator, self._read_values(path, operator), trail)

    def _read_path(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        start = self._at
        found = _path(self._text, start)
        if found is None:
            raise self._fault("an attribute is missing", "the name of an attribute")
        self._at = found.end()
        if "//" in found[0]:
            raise self._fault("a whole URI is no attribute path", "a short name of the @context", start)
        if self._text.startswith("{", self._at):
            raise self._fault("linked entities are asked about without join", "attributes of the entity itself")
        names = found[0].split(".")
        try:
            path = tuple(self._context.expand(name) for name in names)
        except HutongError as error:
            raise self._fault(error.fault.what, error.fault.allowed, start) from None
        trail: tuple[str, ...] = ()
        inner = _trail(self._text, self._at)
        if inner is not None:
            trail = tuple(inner[1].split("."))
            if not all(trail):
                raise self._fault("a member is missing", "[member] or [member.member]")
            self._at = inner.end()
        return path, trail

    def _read_regexp(self) -> str:
        start = self._at
        quoted = _quoted(self._text, start)
        if quoted is not None:
            self._at = quoted.end()
            pattern = self._unquote(quoted[0], start)
        else:
            self._at = _end_of_pattern(self._text, start)
            pattern = self._text[start : self._at]
        return read_pattern(pattern, f"{self._where}:{start + 1}")

    def _read_values(self, path: tuple[str, ...], operator: str) -> tuple[Scalar | Range, ...]:
        start = self._at
        values: list[Scalar | Range] = [self._read_range(path)]
        while self._skip(","):
            values.append(self._read_range(path))
        if len(values) > VALUES_MAX:
            raise TooComplexQuery("too many values", where=self._where, allowed=f"at most {VALUES_MAX}")
        if operator not in _EQUALITY and (len(values) > 1 or isinstance(values[0], Range | bool)):
            raise self._fault(f"{operator} compares with one number, text or time", "==, != with these values", start)
        return tuple(values)

    def _read_range(self, path: tuple[str, ...]) -> Scalar | Range:
        start = self._at
        low = self._read_value(path)
        if not self._skip(".."):
            return low
        high = self._read_value(path)
        if isinstance(low, bool) or isinstance(high, bool) or isinstance(low, str) is not isinstance(high, str):
            raise self._fault("no range", "two numbers, or two texts or times", start)
        return Range(low, high)

    def _read_value(self, path: tuple[str, ...]) -> Scalar:
        start = self._at
        quoted = _quoted(self._text, start)
        if quoted is not None:
            self._at = quoted.end()
            return self._text_value(self._unquote(quoted[0], start), path, start)
        found = _bare(self._text, start)
        if found is None or not found[0].strip():
            raise self._fault("a value is missing", 'a number, true, false, "text", a time or a URI')
        self._at = found.end()
        text = found[0].strip()
        if text in ("true", "false"):
            return text == "true"
        if _number(text):
            number: int | float = int(text) if text.lstrip("-").isdigit() else float(text)
            if abs(number) >= 2**63 if isinstance(number, int) else number in (float("inf"), float("-inf")):
                raise self._fault("a number too large", "64 bits", start)
            return number
        return self._text_value(text, path, start)

    def _text_value(self, text: str, path: tuple[str, ...], start: int) -> Scalar:
        try:
            if path[-1] in SYSTEM_MEMBERS:
                return write_instant(read_instant(text))
            if path[-1] == "datasetId":
                return read_uri(text, "the datasetId")
            return self._context.expand(text) if path[0] in self._expand_values else text
        except HutongError as error:
            raise self._fault(error.fault.what, error.fault.allowed, start) from None

    def _unquote(self, text: str, start: int) -> str:
        try:
            found = msgspec.json.decode(text, type=str)
        except msgspec.DecodeError:
            found = "\0"
        if "\0" in found:
            raise self._fault("no text as JSON has it", '"text", with \\" and \\\\ inside', start)
        return found


def _end_of_pattern(text: str, start: int) -> int:
    """Where a bare pattern ends: at `;`, `|` or `)` outside its own brackets and parentheses."""
    depth, i = 0, start
    while i < len(text):
        char = text[i]
        if char == "\\":
            i += 1
        elif char == "[":
            end = text.find("]", i + 2)
            i = end if end > 0 else i
        elif char == "(":
            depth += 1
        elif depth == 0 and char in ";|)":
            break
        elif char == ")":
            depth -= 1
        i += 1
    return i
