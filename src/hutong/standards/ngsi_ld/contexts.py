"""Names against an @context: expansion on the way in, compaction on the way out (clauses 4.4, 5.5.5, 5.5.7).

A stored name is what the core @context alone makes of the URI: a plain name where it can (the default vocabulary and
the core terms are left implicit), the whole URI otherwise. So under the core @context, names are stored as they come.

The core @context is protected: it is taken to stand last, and nothing in a user's @context changes its terms.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.core_context import CORE_TERMS, CORE_URL, DEFAULT_VOCABULARY, is_core_url
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable
from hutong.standards.ngsi_ld.uris import NAME_LENGTH_MAX, is_name, is_uri

CONTEXTS_KEPT_MAX = 256
CONTEXT_KEPT_BYTES_MAX = 256 * 1024  # a larger one is compiled each time
NAME_URI_LENGTH_MAX = 512  # bytes: names of types stand in indexes together with ids
NAMES_KEPT_MAX = 16_384
NESTING_MAX = 8  # of @contexts that refer to one another
TERMS_MAX = 10_000

_PREFIX_ENDS = tuple(":/?#[]@")
_CORE_NAMES = {uri: term for term, uri in sorted(CORE_TERMS.items(), reverse=True) if not uri.startswith("@")}
_IGNORED = frozenset(("@version", "@protected", "@base", "@language", "@direction", "@propagate"))


class _Names(dict[str, str]):
    """A bounded dictionary that works out what it does not hold; it starts afresh when full."""

    def __init__(self, work_out: Callable[[str], str]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, name: str) -> str:
        found = self._work_out(name)
        if len(self) >= NAMES_KEPT_MAX:
            self.clear()
        self[name] = found
        return found


class Context:
    """A compiled @context. `expanded` and `compacted` are its memory, for loops that cannot afford a call.

    `source` is what a client may be shown as @context; `url` is its address, where it is to be had under one;
    `addresses` are those of all documents that it was made from.
    """

    def __init__(
        self,
        terms: Mapping[str, str],
        prefixes: Mapping[str, str],
        source: Any,
        url: str = "",
        addresses: Iterable[str] = (),
    ) -> None:
        self.source = source
        self.url = url
        self.addresses = tuple(addresses)
        self._terms = dict(terms)
        self._prefixes = sorted(prefixes.items(), key=lambda item: (len(item[0]), item[0]))
        self._by_uri: dict[str, str] = {}
        for term in sorted(terms, key=lambda t: (len(t), t)):
            self._by_uri.setdefault(terms[term], term)
        self.expanded = _Names(self._expand)
        self.compacted = _Names(self._compact)

    def expand(self, name: str) -> str:
        """The stored name for a type, attribute or vocabulary value. Raises InvalidInput for what can be no name."""
        return self.expanded[name]

    def compact(self, stored: str) -> str:
        """The shortest name that this @context has for a stored name; the whole URI where it has none."""
        return self.compacted[stored]

    def _expand(self, name: str) -> str:
        if len(name) <= NAME_LENGTH_MAX and (uri := self._terms.get(name)) is not None:
            return stored_name(uri)
        if ":" not in name:
            if not is_name(name):
                raise InvalidInput(
                    "not a name",
                    seen=name,
                    fix="use a prefix, a whole URI, or other characters",
                    allowed="a letter, then letters, digits and underscores",
                )
            return stored_name(DEFAULT_VOCABULARY + name)
        uri = self._absolute(name)
        if not is_uri(uri) or "@" in uri or len(uri.encode()) > NAME_URI_LENGTH_MAX:
            allowed = f"prefix:name or a URI without @, of at most {NAME_URI_LENGTH_MAX} bytes"
            raise InvalidInput("not a name", seen=name, allowed=allowed)
        return stored_name(uri)

    def _absolute(self, name: str) -> str:
        prefix, _, rest = name.partition(":")
        base = self._terms.get(prefix)
        return name if base is None or base.startswith("@") or rest.startswith("//") else base + rest

    def _compact(self, stored: str) -> str:
        uri = full_name(stored)
        if (term := self._by_uri.get(uri)) is not None:
            return term
        rest = uri.removeprefix(DEFAULT_VOCABULARY)
        if rest != uri and rest and rest not in self._terms:
            return rest
        best = ""
        for prefix, base in self._prefixes:
            if uri.startswith(base) and uri != base:
                short = f"{prefix}:{uri[len(base) :]}"
                if short not in self._terms and (not best or (len(short), short) < (len(best), best)):
                    best = short
        return best or uri


def stored_name(uri: str) -> str:
    """The name under which a URI is stored: see the module's docstring."""
    if uri.startswith("@"):
        raise InvalidInput("a keyword of JSON-LD is no name", seen=uri)
    if (term := _CORE_NAMES.get(uri)) is not None:
        return term
    rest = uri.removeprefix(DEFAULT_VOCABULARY)
    return rest if rest != uri and is_name(rest) and rest not in CORE_TERMS else uri


def full_name(stored: str) -> str:
    """The URI of a stored name (clause 6.3.6 wants it in errors)."""
    if ":" in stored:
        return stored
    return CORE_TERMS.get(stored) or DEFAULT_VOCABULARY + stored


CORE_CONTEXT = Context(CORE_TERMS, {t: CORE_TERMS[t] for t in ("ngsi-ld", "geojson")}, CORE_URL, CORE_URL)


class Documents(Protocol):
    """JSON-LD documents by address, each with a member @context; None for an address not known."""

    def get(self, url: str, /) -> Any: ...


class Contexts:
    """Compiles the @contexts of requests from documents at hand; it fetches nothing.

    `documents` are asked at every compilation, so they may grow; what was compiled stays until `forget`. `used` hears
    of the addresses in every @context that a request names.
    """

    core: Context = CORE_CONTEXT

    def __init__(
        self, documents: Documents | None = None, used: Callable[[tuple[str, ...]], None] | None = None
    ) -> None:
        self._documents: Documents = documents if documents is not None else {}
        self._used = used
        self._kept: OrderedDict[str | bytes, Context] = OrderedDict()

    def resolve(self, value: Any) -> Context:
        """The Context for an @context given as address, object or array of these; None means the core alone.

        Raises LdContextNotAvailable for an address unknown here, InvalidInput for an @context that is none.
        """
        if value is None or (type(value) is str and is_core_url(value)):
            return CORE_CONTEXT
        key = value if type(value) is str else msgspec.json.encode(value)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        else:
            found = self.compile(value)
            if len(key) <= CONTEXT_KEPT_BYTES_MAX:
                self._kept[key] = found
                if len(self._kept) > CONTEXTS_KEPT_MAX:
                    self._kept.popitem(last=False)
        if self._used is not None and found.addresses:
            self._used(found.addresses)
        return found

    def forget(self) -> None:
        """Drop what was compiled, after documents changed."""
        self._kept.clear()

    def compile(self, value: Any) -> Context:
        """As `resolve`, without keeping what comes of it, and without counting as use."""
        reader = _Reader(self._documents)
        reader.read(value, "@context", 0)
        terms = {**reader.terms, **CORE_TERMS}
        prefixes = {t: uri for t, uri in reader.prefixes.items() if t not in CORE_TERMS}
        prefixes |= {t: CORE_TERMS[t] for t in ("ngsi-ld", "geojson")}
        parts = value if isinstance(value, list) else [value]
        source = value if reader.has_core else [*parts, CORE_URL]
        url = next((p for p in parts if type(p) is str), "") if len(parts) == 1 else ""
        return Context(terms, prefixes, source, url, reader.addresses)


class _Reader:
    """Reads term definitions (JSON-LD 1.1 API, 4.2), as far as NGSI-LD allows them."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.addresses: dict[str, None] = {}
        self.has_core = False  # somewhere among what is read, the core is named
        self._vocabulary = DEFAULT_VOCABULARY
        self._in_hand: set[str] = set()  # terms being defined
        self.terms: dict[str, str] = dict(CORE_TERMS)
        self.prefixes: dict[str, str] = {}

    def read(self, value: Any, where: str, depth: int) -> None:
        if depth > NESTING_MAX:
            raise InvalidInput(
                "@contexts refer to one another too deeply", where=where, allowed=f"at most {NESTING_MAX} levels"
            )
        if isinstance(value, str):
            self._read_document(value, where, depth)
        elif isinstance(value, Sequence):
            for i, part in enumerate(value):
                self.read(part, f"{where}[{i}]", depth)
        elif isinstance(value, Mapping):
            self._read_terms(value, where)
        elif value is None:
            self.terms, self.prefixes, self._vocabulary = dict(CORE_TERMS), {}, DEFAULT_VOCABULARY
        else:
            raise InvalidInput("no @context", where=where, seen=value, allowed="an address, an object or an array")

    def _read_document(self, url: str, where: str, depth: int) -> None:
        if is_core_url(url):
            self.has_core = True
            return
        if not is_uri(url):
            raise InvalidInput("no address of an @context", where=where, seen=url, allowed="an absolute URL")
        document = self._documents.get(url)
        if document is None:
            raise LdContextNotAvailable(
                "this @context is not known here",
                where=where,
                seen=url,
                fix="put its terms into the request, or have it added here",
            )
        if not isinstance(document, Mapping) or "@context" not in document:
            raise InvalidInput(
                "the document at this address is no @context",
                where=where,
                seen=url,
                allowed="a JSON object with a member @context",
            )
        self.addresses[url] = None
        self.read(document["@context"], where, depth + 1)

    def _read_terms(self, given: Mapping[str, Any], where: str) -> None:
        if len(given) > TERMS_MAX:
            raise InvalidInput(
                "too many terms in an @context", where=where, seen=len(given), allowed=f"at most {TERMS_MAX}"
            )
        if "@import" in given:
            raise InvalidInput("@import is not for @contexts of NGSI-LD", where=where)
        vocabulary = given.get("@vocab", self._vocabulary)
        if vocabulary is not None and not is_uri(vocabulary) and vocabulary != "":
            raise InvalidInput("no vocabulary", where=f"{where}.@vocab", seen=vocabulary, allowed="a URI")
        self._vocabulary = vocabulary or DEFAULT_VOCABULARY
        pending = {term: meaning for term, meaning in given.items() if term not in _IGNORED and term != "@vocab"}
        while pending:
            self._define(next(iter(pending)), pending, where, 0)

    def _define(self, term: str, pending: dict[str, Any], where: str, depth: int) -> None:
        """Define one term, those it is built on first. What is in `pending` is not defined yet."""
        meaning = pending.pop(term)
        place = f"{where}.{term}"
        if term.startswith("@") or term == "" or depth > NESTING_MAX:
            raise InvalidInput("no term", where=place, seen=term, allowed="a name that does not begin with @")
        prefix = False
        simple = not isinstance(meaning, Mapping)
        if isinstance(meaning, Mapping):
            if "@context" in meaning:
                raise InvalidInput("a scoped @context is not allowed", where=place, fix="define its terms at the top")
            if "@reverse" in meaning:
                raise InvalidInput("reverse properties are not allowed", where=place)
            prefix = meaning.get("@prefix", False) is True
            meaning = meaning.get("@id", term if ":" in term else self._vocabulary + term)
        self.terms.pop(term, None)
        self.prefixes.pop(term, None)
        if meaning is None:
            return
        if not isinstance(meaning, str):
            raise InvalidInput("a term stands for no URI", where=place, seen=meaning, allowed="a text, or an object")
        self._in_hand.add(term)
        uri = self.terms[term] = self._expand(meaning, term, pending, where, depth)
        self._in_hand.discard(term)
        if prefix or (simple and uri.endswith(_PREFIX_ENDS)):
            self.prefixes[term] = uri

    def _expand(self, value: str, term: str, pending: dict[str, Any], where: str, depth: int) -> str:
        if value.startswith("@"):
            return value
        if value != term:
            if value in pending:
                self._define(value, pending, where, depth + 1)
            if value in self.terms:
                return self.terms[value]
        if ":" not in value:
            return self._vocabulary + value
        prefix, _, rest = value.partition(":")
        if not rest.startswith("//"):
            if prefix in self._in_hand and prefix != term:
                raise InvalidInput("terms are defined by one another", where=f"{where}.{term}", seen=value)
            if prefix in pending:
                self._define(prefix, pending, where, depth + 1)
            if prefix in self.terms:
                return self.terms[prefix] + rest
        if not is_uri(value):
            raise InvalidInput(
                "a term stands for no URI", where=f"{where}.{term}", seen=value, allowed="a URI or prefix:name"
            )
        return value
