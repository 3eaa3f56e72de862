"""Registrations of context sources: what they hold, and when they stand in one another's way.

Clauses 4.3.6, 4.20, 5.2.9 to 5.2.11, 5.2.34, 5.9.2 and 5.9.3.

What is kept is the registration as it was given, with all names stored names; what was given beside the members that
the standard names are properties of the source.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from hutong.kernel.errors import Conflict, HutongError, InvalidInput
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.geometry import read_geometry
from hutong.standards.ngsi_ld.headers import read_tenant
from hutong.standards.ngsi_ld.instants import read_instant, write_instant
from hutong.standards.ngsi_ld.patterns import read_pattern
from hutong.standards.ngsi_ld.scopes import read_scopes
from hutong.standards.ngsi_ld.uris import NULL, read_uri
from hutong.standards.ngsi_ld.values import read_value

TYPE: Final = "ContextSourceRegistration"
ITEMS_MAX: Final = 1_000  # of each list in a registration
TEXT_LENGTH_MAX: Final = 4_096
MODES: Final = ("inclusive", "exclusive", "redirect", "auxiliary")
_WRITING: Final = frozenset(
    [
        "updateOps",
        "redirectionOps",
        "createEntity",
        "updateEntity",
        "appendAttrs",
        "updateAttrs",
        "deleteAttrs",
        "deleteEntity",
        "createBatch",
        "upsertBatch",
        "updateBatch",
        "deleteBatch",
        "upsertTemporal",
        "appendAttrsTemporal",
        "deleteAttrsTemporal",
        "updateAttrInstanceTemporal",
        "deleteAttrInstanceTemporal",
        "deleteTemporal",
        "mergeEntity",
        "replaceEntity",
        "replaceAttrs",
        "mergeBatch",
        "purgeEntity",
    ]
)
OPERATIONS: Final = _WRITING | frozenset(
    [
        "federationOps",
        "retrieveOps",
        "retrieveEntity",
        "queryEntity",
        "queryBatch",
        "retrieveTemporal",
        "queryTemporal",
        "retrieveEntityTypes",
        "retrieveEntityTypeDetails",
        "retrieveEntityTypeInfo",
        "retrieveAttrTypes",
        "retrieveAttrTypeDetails",
        "retrieveAttrTypeInfo",
        "createSubscription",
        "updateSubscription",
        "retrieveSubscription",
        "querySubscription",
        "deleteSubscription",
        "createEntityMap",
        "updateEntityMap",
        "deleteEntityMap",
        "retrieveEntityMap",
    ]
)
_OUTPUT = frozenset(("status", "timesSent", "timesFailed", "lastSuccess", "lastFailure", "createdAt", "modifiedAt"))
_GEOMETRIES = ("location", "observationSpace", "operationSpace")
_duration = re.compile(r"P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?!$)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?").fullmatch

Reader = Callable[[Any, Context], Any]


class EntityInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Entities of a type that a source has: one, those whose id fits a pattern, or all."""

    type: tuple[str, ...]
    id: str = ""
    idPattern: str = ""  # noqa: N815  # the standard's own name


class Information(msgspec.Struct, frozen=True, omit_defaults=True):
    """Entities that a source has (none named: any), and attributes of them (none named: all)."""

    entities: tuple[EntityInfo, ...] = ()
    propertyNames: tuple[str, ...] = ()  # noqa: N815  # the standard's own name
    relationshipNames: tuple[str, ...] = ()  # noqa: N815  # the standard's own name

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset((*self.propertyNames, *self.relationshipNames))


class Interval(msgspec.Struct, frozen=True):
    """A time in which a source has something; without an end it goes on."""

    start: int
    end: int | None = None


class Registration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a document of kind `registration`: what is asked about, and `wire`, all members as they are told."""

    id: str
    information: tuple[Information, ...]
    mode: str = "inclusive"
    expires_at: int | None = None
    scopes: tuple[str, ...] = ()
    observed: Interval | None = None
    managed: Interval | None = None
    properties: tuple[str, ...] = ()  # names in `wire` that the standard does not have
    wire: dict[str, Any] = {}

    def holds(self, now: int) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


def read_registration(raw: Any, context: Context, *, now: int, id_: str) -> Registration:
    """A new registration; `id_` is for one that brings none. Raises InvalidInput."""
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", seen=raw, allowed=f"a {TYPE}")
    _check_type(raw.get("type", ""))
    given = read_uri(raw.get("id", id_), "the id")
    return _built(given, *_read(raw, context), now)


def read_registration_fragment(raw: Any, known: Registration, context: Context, *, now: int) -> Registration:
    """A registration changed by a fragment: its members replace those known, null takes one away (clause 5.9.3)."""
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", seen=raw, allowed=f"members of a {TYPE}")
    if "type" in raw:
        _check_type(raw["type"])
    if raw.get("id", known.id) != known.id:
        raise InvalidInput("the id is not that of the address", where="id", seen=raw["id"], allowed=known.id)
    given = {name: value for name, value in raw.items() if value is not None and value != NULL}
    gone = {name if name in _READERS else context.expand(name) for name in raw.keys() - given.keys()}
    changed, properties = _read(given, context)
    wire = {name: value for name, value in known.wire.items() if name not in gone} | changed
    kept = dict.fromkeys([name for name in known.properties if name not in gone] + list(properties))
    return _built(known.id, wire, tuple(kept), now, old_expiry=known.expires_at)


def write_registration(
    one: Registration, context: Context, only: Iterable[Information] | None = None
) -> dict[str, Any]:
    """A registration as JSON-ready mapping; `only` these parts of its information."""
    told: dict[str, Any] = {"id": one.id, "type": TYPE, **one.wire}
    told["information"] = [_write_information(part, context) for part in (one.information if only is None else only)]
    for name in one.properties:
        told[context.compact(name)] = told.pop(name)
    return {"mode": "inclusive", "operations": ["federationOps"], **told}


def _write_information(part: Information, context: Context) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(part)
    for entity in told.get("entities", ()):
        types = [context.compact(name) for name in entity["type"]]
        entity["type"] = types[0] if len(types) == 1 else types
    for name in ("propertyNames", "relationshipNames"):
        if name in told:
            told[name] = [context.compact(attribute) for attribute in told[name]]
    return told


# --- in one another's way (clause 4.3.6) ----------------------------------------------------------------------


def check_conflict(new: Registration, known: Registration) -> None:
    """Raises Conflict where one of them is exclusive and the other, exclusive or redirect, has some of the same."""
    modes = {new.mode, known.mode}
    if new.id == known.id or "exclusive" not in modes or not modes <= {"exclusive", "redirect"}:
        return
    for mine in new.information:
        for theirs in known.information:
            if _overlap(mine, theirs):
                raise Conflict(
                    f"another registration has these entities and attributes, one of the two is {modes}",
                    where="information",
                    seen=known.id,
                    fix="change or delete that one first",
                )


def _overlap(one: Information, other: Information) -> bool:
    if one.attributes and other.attributes and not one.attributes & other.attributes:
        return False
    if not one.entities or not other.entities:
        return True
    return any(_same(mine, theirs) for mine in one.entities for theirs in other.entities)


def _same(one: EntityInfo, other: EntityInfo) -> bool:
    if not set(one.type) & set(other.type):
        return False
    if one.id and other.id:
        return one.id == other.id
    return True  # patterns are taken to meet


# --- members --------------------------------------------------------------------------------------------------


def _check_type(kind: Any) -> None:
    if kind != TYPE:
        raise InvalidInput(f"no {TYPE}", where="type", seen=kind, allowed=TYPE)


def _read(raw: Mapping[str, Any], context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Each member as it is kept, and the names of those that are properties of the source."""
    wire: dict[str, Any] = {}
    properties = []
    for name, value in raw.items():
        if name in ("id", "type", "@context") or name in _OUTPUT:
            continue
        try:
            if name in _READERS:
                wire[name] = _READERS[name](value, context)
            else:
                stored = context.expand(name)
                wire[stored] = read_value(value, False)
                properties.append(stored)
        except HutongError as error:
            raise located(error, name) from None
    if len(properties) > ITEMS_MAX:
        raise InvalidInput("too many members", seen=len(properties), allowed=f"at most {ITEMS_MAX}")
    return wire, tuple(properties)


def _text(value: Any, _: Context) -> str:
    if type(value) is not str or not 0 < len(value) <= TEXT_LENGTH_MAX:
        raise InvalidInput("no text", seen=value, allowed=f"1 to {TEXT_LENGTH_MAX} characters")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list or not 0 < len(value) <= ITEMS_MAX:
        raise InvalidInput("no list", seen=value, allowed=f"an array of 1 to {ITEMS_MAX} items")
    return value


def _object(value: Any, allowed: Iterable[str]) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidInput("not a JSON object", seen=value, allowed=f"an object of {', '.join(allowed)}")
    for name in value:
        if name not in allowed:
            raise InvalidInput("no such member", where=name, seen=name, allowed=", ".join(allowed))
    return value


def _each(read: Reader) -> Reader:
    """A reader of a list, from that of its items."""

    def reader(value: Any, context: Context) -> list[Any]:
        found = []
        for i, item in enumerate(_list(value)):
            try:
                found.append(read(item, context))
            except HutongError as error:
                raise located(error, f"[{i}]") from None
        return found

    return reader


def _members(readers: Mapping[str, Reader]) -> Callable[[Any, Context], dict[str, Any]]:
    """A reader of an object, from those of its members."""

    def reader(value: Any, context: Context) -> dict[str, Any]:
        found = {}
        for name, member in _object(value, readers).items():
            try:
                found[name] = readers[name](member, context)
            except HutongError as error:
                raise located(error, name) from None
        return found

    return reader


def _name(value: Any, context: Context) -> str:
    if type(value) is not str or value in ("id", "type") or value.startswith("@"):
        raise InvalidInput("no name of an attribute", seen=value)
    return context.expand(value)


def _types(value: Any, context: Context) -> list[str]:
    names = value if type(value) is list else [value]
    if not 0 < len(names) <= ITEMS_MAX or not all(type(name) is str for name in names):
        raise InvalidInput("no type", seen=value, allowed="a name, or several")
    return [context.expand(name) for name in names]


def _entity(value: Any, context: Context) -> dict[str, Any]:
    found = _entity_members(value, context)
    if "type" not in found:
        raise InvalidInput("the type is missing", where="type", allowed="a name, or several")
    if "id" in found:
        found.pop("idPattern", None)  # clause 5.2.8: the id takes precedence
    return found


def _information(value: Any, context: Context) -> dict[str, Any]:
    found = _information_members(value, context)
    if not found:
        raise InvalidInput("nothing is told", allowed="entities, propertyNames or relationshipNames")
    return found


def _uri(value: Any, _: Context) -> str:
    return read_uri(value, "it")


def _instant(value: Any, _: Context) -> str:
    return write_instant(read_instant(value))


def _interval(value: Any, context: Context) -> dict[str, str]:
    found: dict[str, str] = _members({"startAt": _instant, "endAt": _instant})(value, context)
    if "startAt" not in found:
        raise InvalidInput("the begin is missing", where="startAt", allowed="2026-05-01T10:00:00Z")
    if "endAt" in found and read_instant(found["endAt"]) < read_instant(found["startAt"]):
        raise InvalidInput("the end is before the begin", where="endAt", seen=found["endAt"])
    return found


def _geometry(value: Any, _: Context) -> dict[str, Any]:
    return read_geometry(value)


def _one_of(allowed: Iterable[str]) -> Reader:
    def read(value: Any, _: Context) -> str:
        if type(value) is not str or value not in allowed:
            raise InvalidInput("no such value", seen=value, allowed=", ".join(sorted(allowed)))
        return value

    return read


def _tenant(value: Any, context: Context) -> str:
    try:
        return read_tenant(_text(value, context))
    except InvalidInput as error:
        raise InvalidInput(error.fault.what, seen=value, allowed=error.fault.allowed) from None


def _length(value: Any, _: Context) -> str:
    if type(value) is not str or len(value) > 100 or _duration(value) is None:
        raise InvalidInput("no duration", seen=value, allowed="ISO 8601, such as PT5M")
    return value


def _scope(value: Any, _: Context) -> Any:
    read_scopes(value)
    return value


def _positive(value: Any, _: Context) -> Any:
    if type(value) not in (int, float) or not 0 < value <= 2**53:
        raise InvalidInput("no number above 0", seen=value, allowed="milliseconds")
    return value


def _flag(value: Any, _: Context) -> bool:
    if type(value) is not bool:
        raise InvalidInput("neither true nor false", seen=value, allowed="true, false")
    return value


def _pair(value: Any, context: Context) -> dict[str, str]:
    found: dict[str, str] = _members({"key": _text, "value": _text})(value, context)
    if len(found) != 2:
        raise InvalidInput("no pair", seen=", ".join(found), allowed="key and value")
    return found


def _pattern(value: Any, context: Context) -> str:
    return read_pattern(_text(value, context), "")


_entity_members = _members({"id": _uri, "idPattern": _pattern, "type": _types})
_information_members = _members(
    {"entities": _each(_entity), "propertyNames": _each(_name), "relationshipNames": _each(_name)}
)
_READERS: Final[Mapping[str, Reader]] = {
    "registrationName": _text,
    "description": _text,
    "information": _each(_information),
    "tenant": _tenant,
    "observationInterval": _interval,
    "managementInterval": _interval,
    **dict.fromkeys(_GEOMETRIES, _geometry),
    "expiresAt": _instant,
    "endpoint": _uri,
    "contextSourceInfo": _each(_pair),
    "contextSourceAlias": _text,
    "scope": _scope,
    "mode": _one_of(MODES),
    "operations": _each(_one_of(OPERATIONS)),
    "refreshRate": _length,
    "management": _members({"localOnly": _flag, "cacheDuration": _length, "timeout": _positive, "cooldown": _positive}),
}


# --- the whole ------------------------------------------------------------------------------------------------


def _built(
    id_: str, wire: dict[str, Any], properties: tuple[str, ...], now: int, old_expiry: int | None = None
) -> Registration:
    """The registration of a wire that is whole. Raises InvalidInput for members that do not go together."""
    for name in ("information", "endpoint"):
        if name not in wire:
            raise InvalidInput(f"{name} is missing", where=name)
    expires_at = read_instant(wire["expiresAt"]) if "expiresAt" in wire else None
    if expires_at is not None and expires_at <= now and expires_at != old_expiry:
        raise InvalidInput("it would have expired already", where="expiresAt", seen=wire["expiresAt"], allowed="later")
    information = msgspec.convert(wire["information"], tuple[Information, ...])
    mode = wire.get("mode", "inclusive")
    if mode == "exclusive":
        _check_exclusive(information)
    if mode == "auxiliary" and (writing := sorted(_WRITING.intersection(wire.get("operations", ())))):
        raise InvalidInput(
            "an auxiliary source is only asked", where="operations", seen=", ".join(writing), allowed="retrieveOps"
        )
    return Registration(
        id=id_,
        information=information,
        mode=mode,
        expires_at=expires_at,
        scopes=read_scopes(wire["scope"]) if "scope" in wire else (),
        observed=_time(wire.get("observationInterval")),
        managed=_time(wire.get("managementInterval")),
        properties=properties,
        wire=wire,
    )


def _check_exclusive(information: tuple[Information, ...]) -> None:
    """Clause 4.3.6.3: an exclusive source has named attributes of named entities."""
    for i, part in enumerate(information):
        where = f"information[{i}]"
        if not part.entities or any(not entity.id for entity in part.entities):
            raise InvalidInput(
                "an exclusive source names its entities", where=f"{where}.entities", allowed="an id each"
            )
        if not part.attributes:
            raise InvalidInput("an exclusive source names its attributes", where=where, fix="add propertyNames")


def _time(wire: Mapping[str, str] | None) -> Interval | None:
    if wire is None:
        return None
    return Interval(read_instant(wire["startAt"]), read_instant(wire["endAt"]) if "endAt" in wire else None)
