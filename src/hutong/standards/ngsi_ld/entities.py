"""JSON of NGSI-LD entities, fragments and batches to Changes of the sense engine (clauses 4.5.1, 5.4, 5.5.4).

Read as they come: normalized, concise, and any mixture. A batch of tens of thousands of small entities a second goes
through here on one core, hence plain loops over the decoded JSON, and no objects but those handed on.
"""

import re
from typing import Any

import msgspec

from hutong.engines.sense.ports import Attribute, Change, Verb
from hutong.kernel.errors import AlreadyExists, HutongError, InvalidInput, MalformedBody, TooLarge, Unsupported
from hutong.standards.ngsi_ld.attributes import GIVEN_BY_SYSTEM, RESERVED, AttributeReader, dataset_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.scopes import read_scopes
from hutong.standards.ngsi_ld.uris import NULL, is_uri, read_uri

ENTITIES_PER_BATCH_MAX = 1_000
TYPES_MAX = 100  # of one entity

_nul = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search  # U+0000 as JSON writes it, which is the only way it can come
_PLACES = ("location", "observationSpace", "operationSpace")  # clause 4.7.1
_ENTITY_MEMBERS = GIVEN_BY_SYSTEM | frozenset(["id", "type", "scope", "@context", "@id", "@type", "expiresAt"])


class Refused(msgspec.Struct, frozen=True):
    """An item of a batch that could not be read. `id` is "" where the item has none that is a text."""

    index: int
    id: str
    error: HutongError


def read_change(
    body: bytes,
    verb: Verb,
    contexts: Contexts,
    context: Context | None,
    *,
    entity_id: str = "",
    overwrite: bool = True,
    nulls: bool = False,
    simplified: bool = False,
) -> Change:
    """The Change that an entity or fragment asks for. `context` None: the body brings its own.

    `entity_id` is that of the address, where there is one; the body need not repeat it. `nulls`: NGSI-LD Null deletes
    (MERGE and PATCH always take it so). `simplified`: the body is in the simplified representation (merge only).
    """
    raw = decode(body)
    context = context_of(raw, contexts, context)
    reader = EntityReader(context, verb, overwrite=overwrite, nulls=nulls, simplified=simplified)
    return reader.read(raw, entity_id)


def read_attribute(
    body: bytes, verb: Verb, contexts: Contexts, context: Context | None, *, entity_id: str, name: str
) -> Change:
    """The Change that an attribute fragment asks for (clauses 5.6.4, 5.6.19). `name` is as the client wrote it."""
    raw = decode(body)
    context = context_of(raw, contexts, context)
    key = read_attribute_name(name, context)
    fragment = {member: value for member, value in raw.items() if member != "@context"}
    if not fragment:
        raise InvalidInput("the fragment is empty", fix="give what is to change")
    attribute = EntityReader(context, verb).attributes.read(fragment)
    if "datasetId" in fragment:
        key = dataset_key(key, fragment["datasetId"])
    return Change(verb=verb, id=read_uri(entity_id, "the id"), attributes={key: attribute})


def read_attribute_name(name: str, context: Context) -> str:
    """The stored name of an attribute named in an address. Raises InvalidInput for what no attribute can be called."""
    if name in RESERVED or name == "scope":
        raise InvalidInput("this is no attribute", where=name, seen=name)
    return context.expand(name)


def read_batch(
    body: bytes,
    verb: Verb,
    contexts: Contexts,
    context: Context | None,
    *,
    upsert: bool = False,
    overwrite: bool = True,
    nulls: bool = False,
) -> list[Change | Refused]:
    """What each item of an array of entities asks for, in order; faulty items do not hold back the others.

    Raises MalformedBody, TooLarge, or InvalidInput where the array as a whole is at fault (clause 5.6.7).
    """
    items = _array(body)
    suspicious = _holds_nul(body)
    readers: dict[int, EntityReader] = {}
    results: list[Change | Refused] = []
    seen: set[str] | None = set() if verb is Verb.CREATE else None
    for index, raw in enumerate(items):
        try:
            if suspicious:
                _refuse_nul(raw)
            own = context_of(raw, contexts, context)
            reader = readers.get(id(own))
            if reader is None:
                reader = EntityReader(own, verb, upsert=upsert, overwrite=overwrite, nulls=nulls)
                readers[id(own)] = reader  # which keeps `own`, so that its id stays its own
            change = reader.read(raw)
            if seen is not None:
                if change.id in seen:
                    raise AlreadyExists("this id stands twice in the batch", where="id", seen=change.id)
                seen.add(change.id)
            results.append(change)
        except HutongError as error:
            results.append(Refused(index, _id_of(raw), located(error, f"[{index}]")))
    return results


def read_ids(body: bytes) -> list[Change | Refused]:
    """The deletions that an array of entity ids asks for (clause 5.6.10)."""
    results: list[Change | Refused] = []
    for index, raw in enumerate(_array(body)):
        if is_uri(raw):
            results.append(Change(verb=Verb.DELETE, id=raw))
        else:
            error = InvalidInput("an id is no URI", where=f"[{index}]", seen=raw, allowed="a URI")
            results.append(Refused(index, raw if type(raw) is str else "", error))
    return results


def decode(body: bytes) -> Any:
    """The JSON of a body. Raises MalformedBody for what is none: broken, not UTF-8, NaN, nested without end.

    Raises InvalidInput for a text with U+0000, which PostgreSQL cannot keep and which is therefore kept nowhere.
    """
    raw = _parse(body)
    if _holds_nul(body):
        _refuse_nul(raw)
    return raw


def _parse(body: bytes) -> Any:
    if not body:
        raise MalformedBody("the body is empty", allowed="JSON")
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise MalformedBody("the body is no JSON", seen=str(error), allowed="JSON in UTF-8") from None
    except UnicodeDecodeError as error:
        raise MalformedBody("the body is not UTF-8", seen=error.reason, allowed="JSON in UTF-8") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply", allowed="JSON in UTF-8") from None


def _holds_nul(text: bytes) -> bool:
    return b"\\u0000" in text and _nul(text) is not None


def _refuse_nul(raw: Any) -> None:
    for name, member in raw.items() if type(raw) is dict else [("", raw)]:
        if _holds_nul(msgspec.json.encode([name, member])):
            raise InvalidInput(
                "the character U+0000 is in a text", where=name, allowed="any other character", fix="leave it out"
            )


def context_of(raw: Any, contexts: Contexts, context: Context | None) -> Context:
    """Clause 6.3.5: the @context stands in the body (`context` None) or in the header, never in both."""
    if type(raw) is not dict:
        raise MalformedBody("not a JSON object", seen=raw, allowed="an object")
    if context is None:
        if "@context" not in raw:
            fix = "add it, or send the body as application/json"
            raise InvalidInput("@context is missing", where="@context", fix=fix)
        return contexts.resolve(raw["@context"])
    if "@context" in raw:
        fix = "send the body as application/ld+json, or the @context in a Link header"
        raise InvalidInput("@context has no place in application/json", where="@context", fix=fix)
    return context


def _array(body: bytes) -> list[Any]:
    items = _parse(body)
    if type(items) is not list or not items:
        raise InvalidInput("the body is no array with items", seen=items, allowed="an array")
    if len(items) > ENTITIES_PER_BATCH_MAX:
        raise TooLarge(
            "too many items in one batch",
            seen=len(items),
            allowed=f"at most {ENTITIES_PER_BATCH_MAX}",
            fix="send several batches",
        )
    if None in items:
        raise InvalidInput("null is no item of a batch", where=f"[{items.index(None)}]")
    return items


def _id_of(raw: Any) -> str:
    given = raw.get("id", raw.get("@id")) if type(raw) is dict else None
    return given if type(given) is str else ""


class EntityReader:
    """Reads entities under one @context for one verb. What may be null or missing depends on the verb."""

    __slots__ = (
        "_names",
        "_nulls",
        "_overwrite",
        "_simplified",
        "_types",
        "_types_needed",
        "_upsert",
        "_verb",
        "attributes",
    )

    def __init__(
        self,
        context: Context,
        verb: Verb,
        *,
        upsert: bool = False,
        overwrite: bool = True,
        nulls: bool = False,
        simplified: bool = False,
    ) -> None:
        partial = verb in (Verb.MERGE, Verb.PATCH)
        self.attributes = AttributeReader(
            context,
            nulls=nulls or partial,
            deep_nulls=verb is Verb.MERGE,
            partial=partial,
            simplified=simplified,
        )
        self._names = context.expanded
        self._verb = verb
        self._upsert = upsert
        self._overwrite = overwrite
        self._simplified = simplified
        self._nulls = nulls or partial
        self._types_needed = verb is Verb.CREATE or upsert
        self._types: dict[str, tuple[str, ...]] = {}

    def read(self, raw: dict[str, Any], entity_id: str = "") -> Change:
        """The Change that one entity or fragment asks for; `entity_id` from the address, if any."""
        names = self._names
        read = self.attributes.read
        given = raw.get("id") or raw.get("@id") or entity_id
        if given == NULL or not is_uri(given) or (entity_id and given != entity_id):
            raise _id_fault(given, entity_id)
        kind = raw.get("type")
        types = self._types.get(kind) if type(kind) is str else None
        if types is None:
            types = self._read_types(raw.get("@type") if kind is None else kind)
        attributes: dict[str, Attribute] = {}
        scopes: tuple[str, ...] | None = None
        key = ""
        try:
            for key, member in raw.items():
                if key == "id" or key == "type":
                    continue
                if key in RESERVED:
                    _check_entity_member(key)
                elif key == "scope":
                    scopes = read_scopes(member, nulls=self._nulls)
                elif type(member) is dict and "datasetId" not in member and not self._simplified:
                    attributes[names[key]] = read(member)
                else:
                    self.attributes.read_member(names[key], member, attributes)
        except HutongError as error:
            raise located(error, key) from None
        for place in _PLACES:
            if place in attributes and attributes[place].kind != "G" and attributes[place].value not in (NULL, None):
                raise InvalidInput("not a GeoProperty", where=place, allowed='{"type": "GeoProperty", "value": ...}')
        return Change(
            verb=self._verb,
            id=given,
            types=types,
            attributes=attributes,
            scopes=scopes,
            upsert=self._upsert,
            overwrite=self._overwrite,
        )

    def _read_types(self, kind: Any) -> tuple[str, ...]:
        if kind is None and not self._types_needed:
            return ()
        parts = kind if type(kind) is list else [kind]
        try:
            if not parts or not all(type(part) is str for part in parts):
                what = "the type is missing" if kind is None else "no type"
                raise InvalidInput(what, seen=kind or "", allowed="a name, or an array of names")
            if len(parts) > TYPES_MAX:
                raise InvalidInput("too many types", seen=len(parts), allowed=f"at most {TYPES_MAX}")
            types = tuple(dict.fromkeys(self._names[part] for part in parts))
        except HutongError as error:
            raise located(error, "type") from None
        if type(kind) is str:
            self._types[kind] = types
        return types


def _id_fault(given: Any, entity_id: str) -> InvalidInput:
    if entity_id and is_uri(given) and given != entity_id:
        return InvalidInput("the id is not that of the address", where="id", seen=given, allowed=entity_id)
    what = "the id is no URI" if given else "the id is missing"
    fix = "write it as urn:ngsi-ld:Type:name"
    return InvalidInput(what, where="id", seen=given or "", allowed="a URI that everybody can read", fix=fix)


def _check_entity_member(key: str) -> None:
    if key == "expiresAt":
        raise Unsupported("entities do not expire here", fix="leave expiresAt out")
    if key not in _ENTITY_MEMBERS:
        raise InvalidInput("this name is kept for what describes an attribute", allowed="another name")
