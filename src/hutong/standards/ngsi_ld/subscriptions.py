"""JSON of Subscriptions to subscriptions of the sense engine, and fragments that change them (clauses 5.2.12, 5.8.2).

What is kept beside the engine's own terms, its `wire`, is the Subscription as it was given with all names stored names;
only `q` stays as it was written. Its `@context` is the one that notifications are told in.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from hutong.engines.sense.ports import Filter, GeoFilter, Selector
from hutong.engines.sense.subscriptions import On, Subscription
from hutong.kernel.clock import SECOND
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Context, Contexts
from hutong.standards.ngsi_ld.discovery import TIMES, read_time
from hutong.standards.ngsi_ld.endpoints import read_endpoint
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.instants import read_instant
from hutong.standards.ngsi_ld.languages import read_languages
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.patterns import read_pattern
from hutong.standards.ngsi_ld.q import read_q
from hutong.standards.ngsi_ld.query import read_geo_filter
from hutong.standards.ngsi_ld.scopes import read_scope_query
from hutong.standards.ngsi_ld.type_selection import map_type_selection, read_type_selection
from hutong.standards.ngsi_ld.uris import NULL, is_uri, read_uri

SELECTORS_MAX: Final = 100
IDS_MAX: Final = 1_000
NAMES_MAX: Final = 1_000
TEXT_LENGTH_MAX: Final = 4_096
SECONDS_MAX: Final = 366 * 24 * 3600
JOIN_LEVEL_MAX: Final = 5
FORMS: Final = ("normalized", "concise", "keyValues", "simplified")
SIMPLE_FORMS: Final = ("keyValues", "simplified")
DEFAULT_TRIGGERS: Final = ("attributeCreated", "attributeUpdated")
TRIGGERS: Final[Mapping[str, int]] = {
    "entityCreated": On.ENTITY_CREATED,
    "entityUpdated": On.ATTRIBUTE_CREATED | On.ATTRIBUTE_UPDATED | On.ATTRIBUTE_DELETED,
    "entityDeleted": On.ENTITY_DELETED,
    "attributeCreated": On.ATTRIBUTE_CREATED,
    "attributeUpdated": On.ATTRIBUTE_UPDATED,
    "attributeDeleted": On.ATTRIBUTE_DELETED,
}
_OUTPUT = frozenset(("status", "createdAt", "modifiedAt"))  # read past: clients send back what they got
_OUTPUT_NOTIFICATION = frozenset(
    ("status", "timesSent", "timesFailed", "lastNotification", "lastFailure", "lastSuccess")
)
_ENTITY_MEMBERS = ("id", "type", "scope")
_GEO = frozenset(("georel", "geometry", "coordinates", "geoproperty"))


def read_subscription(raw: Any, context: Context, contexts: Contexts, *, now: int, id_: str) -> Subscription:
    """A new Subscription; `id_` is for one that brings none. Raises InvalidInput, LdContextNotAvailable."""
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", seen=raw, allowed="a Subscription")
    _check_type(raw.get("type", ""))
    given = raw.get("id", id_)
    wire = _read(raw, context)
    wire["@context"] = context.source
    where, sources = _condition(raw, wire, context), _sources(raw, context)
    return _built(read_uri(given, "the id"), wire, where, sources, contexts, now)


def read_fragment(raw: Any, known: Subscription, context: Context, contexts: Contexts, *, now: int) -> Subscription:
    """A Subscription changed by a fragment: its members replace those known, null takes one away (clause 5.8.2)."""
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", seen=raw, allowed="members of a Subscription")
    if "type" in raw:
        _check_type(raw["type"])
    if raw.get("id", known.id) != known.id:
        raise InvalidInput("the id is not that of the address", where="id", seen=raw["id"], allowed=known.id)
    gone = {name for name, value in raw.items() if value is None or value == NULL}
    if "notification" in gone:
        raise InvalidInput("a Subscription needs a notification", where="notification", seen="null")
    changed = _read({name: value for name, value in raw.items() if name not in gone}, context)
    wire = {**{name: value for name, value in known.wire.items() if name not in gone}, **changed}
    where = _condition(raw, wire, context) if "q" in raw else known.where
    sources = _sources(raw, context) if "csf" in raw else known.sources
    return _built(known.id, wire, where, sources, contexts, now, old_expiry=known.expires_at)


def _check_type(kind: Any) -> None:
    if kind != "Subscription":
        raise InvalidInput("no Subscription", where="type", seen=kind, allowed="Subscription")


# --- members --------------------------------------------------------------------------------------------------


def _read(raw: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Each member as it is kept. Raises InvalidInput with its place."""
    wire: dict[str, Any] = {}
    for name, value in raw.items():
        if name in ("id", "type", "@context") or name in _OUTPUT:
            continue
        reader = _READERS.get(name)
        if reader is None:
            raise InvalidInput("no such member", where=name, seen=name, allowed=", ".join(sorted(_READERS)))
        try:
            wire[name] = reader(value, context)
        except HutongError as error:
            raise located(error, name) from None
    return wire


def _text(value: Any, _: Context) -> str:
    if type(value) is not str or not 0 < len(value) <= TEXT_LENGTH_MAX:
        raise InvalidInput("no text", seen=value, allowed=f"1 to {TEXT_LENGTH_MAX} characters")
    return value


def _flag(value: Any, _: Context) -> bool:
    if type(value) is not bool:
        raise InvalidInput("neither true nor false", seen=value, allowed="true, false")
    return value


def _seconds(value: Any, _: Context) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= SECONDS_MAX:
        raise InvalidInput("no time", seen=value, allowed=f"seconds, above 0 and up to {SECONDS_MAX}")
    return value


def _list(value: Any, most: int) -> list[Any]:
    if type(value) is not list or not 0 < len(value) <= most:
        raise InvalidInput("no list", seen=value, allowed=f"an array of 1 to {most} items")
    return value


def _names(value: Any, context: Context) -> list[str]:
    names = _list(value, NAMES_MAX)
    for i, name in enumerate(names):
        if type(name) is not str or name in _ENTITY_MEMBERS or name.startswith("@"):
            raise InvalidInput("no name of an attribute", where=f"[{i}]", seen=name)
    return list(dict.fromkeys(context.expand(name) for name in names))


def _members(value: Any, context: Context) -> list[str]:
    """Names of attributes, or id, type and scope."""
    names = _list(value, NAMES_MAX)
    for i, name in enumerate(names):
        if type(name) is not str or "{" in name:
            raise InvalidInput("no name of a member", where=f"[{i}]", seen=name)
    return list(dict.fromkeys(name if name in _ENTITY_MEMBERS else context.expand(name) for name in names))


def _entities(value: Any, context: Context) -> list[dict[str, Any]]:
    selectors = []
    for i, raw in enumerate(_list(value, SELECTORS_MAX)):
        try:
            selectors.append(_selector(raw, context))
        except HutongError as error:
            raise located(error, f"[{i}]") from None
    return selectors


def _selector(raw: Any, context: Context) -> dict[str, Any]:
    if type(raw) is not dict:
        raise InvalidInput("no selector", seen=raw, allowed="an object with type, and id or idPattern")
    for name in raw:
        if name not in ("id", "idPattern", "type"):
            raise InvalidInput("no such member", where=name, seen=name, allowed="id, idPattern, type")
    kind = raw.get("type")
    if type(kind) is not str or not 0 < len(kind) <= TEXT_LENGTH_MAX:
        raise InvalidInput("the type is missing", where="type", seen=kind or "", allowed="a selection of types, or *")
    read_type_selection(kind, context.expand)
    wire: dict[str, Any] = {"type": map_type_selection(kind, context.expand)}
    if "id" in raw:
        ids = raw["id"] if type(raw["id"]) is list else [raw["id"]]
        if not 0 < len(ids) <= IDS_MAX or not all(is_uri(one) for one in ids):
            raise InvalidInput("no URI", where="id", seen=raw["id"], allowed=f"a URI, or up to {IDS_MAX} of them")
        wire["id"] = raw["id"]
    if "idPattern" in raw:
        if type(raw["idPattern"]) is not str:
            raise InvalidInput("no pattern", where="idPattern", seen=raw["idPattern"], allowed="a regular expression")
        wire["idPattern"] = read_pattern(raw["idPattern"], "idPattern")
    return wire


def _triggers(value: Any, _: Context) -> list[str]:
    triggers = _list(value, len(TRIGGERS))
    for i, trigger in enumerate(triggers):
        if trigger not in TRIGGERS:
            raise InvalidInput("no trigger", where=f"[{i}]", seen=trigger, allowed=", ".join(TRIGGERS))
    return list(dict.fromkeys(triggers))


def _q(value: Any, context: Context) -> str:
    return unquote(_text(value, context))  # may be encoded as in an address


def _csf(value: Any, context: Context) -> str:
    return unquote(_text(value, context))


def _geo(value: Any, context: Context) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidInput("no geoquery", seen=value, allowed="an object with georel, geometry and coordinates")
    wire = dict(value)
    if "geoproperty" in wire:
        wire["geoproperty"] = context.expand(_text(wire["geoproperty"], context))
    _geo_filter(wire)
    return wire


def _geo_filter(wire: dict[str, Any]) -> GeoFilter:
    found = read_geo_filter(Parameters.of_body(wire, _GEO), CORE_CONTEXT)
    if found is None:
        raise InvalidInput("a geoquery needs georel, geometry and coordinates", seen=", ".join(wire))
    return found


def _time(value: Any, _: Context) -> dict[str, Any]:
    if type(value) is not dict or "timerel" not in value:
        raise InvalidInput("no temporal query", seen=value, allowed="an object with timerel and timeAt")
    read_time(Parameters.of_body(value, TIMES))
    return dict(value)


def _scope(value: Any, context: Context) -> str:
    text = _text(value, context)
    read_scope_query(text, "")
    return text


def _language(value: Any, context: Context) -> str:
    text = _text(value, context)
    read_languages(text)
    return text


def _instant(value: Any, _: Context) -> str:
    read_instant(value)
    return str(value)


def _datasets(value: Any, _: Context) -> list[str]:
    datasets = _list([value] if type(value) is str else value, NAMES_MAX)
    for i, dataset in enumerate(datasets):
        if dataset != "@none" and not is_uri(dataset):
            raise InvalidInput("no datasetId", where=f"[{i}]", seen=dataset, allowed="a URI, or @none")
    return list(dict.fromkeys(datasets))


def _uri(value: Any, _: Context) -> str:
    return read_uri(value, "it")


def _notification(value: Any, context: Context) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidInput("no notification", seen=value, allowed="an object with endpoint")
    wire: dict[str, Any] = {}
    for name, member in value.items():
        if name in _OUTPUT_NOTIFICATION:
            continue
        reader = _NOTIFICATION.get(name)
        if reader is None:
            raise InvalidInput("no such member", where=name, seen=name, allowed=", ".join(sorted(_NOTIFICATION)))
        try:
            wire[name] = reader(member, context)
        except HutongError as error:
            raise located(error, name) from None
    if "endpoint" not in wire:
        raise InvalidInput("the endpoint is missing", where="endpoint", allowed="an object with uri")
    _check_notification(wire)
    return wire


def _check_notification(wire: Mapping[str, Any]) -> None:
    pick, omit = set(wire.get("pick", ())), set(wire.get("omit", ()))
    if "attributes" in wire and (pick or omit):
        raise InvalidInput("attributes go with neither pick nor omit", where="attributes", fix="put them into pick")
    if pick & omit:
        raise InvalidInput("the same member is picked and omitted", where="omit", seen=", ".join(pick & omit))
    if wire.get("showChanges") and wire.get("format") in SIMPLE_FORMS:
        allowed = "normalized, concise"
        raise InvalidInput("changes are not told in this format", where="format", seen=wire["format"], allowed=allowed)
    if "joinLevel" in wire and "join" not in wire:
        raise InvalidInput("joinLevel goes with join", where="joinLevel", seen=wire["joinLevel"])


def _one_of(*allowed: str) -> Callable[[Any, Context], str]:
    def read(value: Any, _: Context) -> str:
        if value not in allowed:
            raise InvalidInput("no such value", seen=value, allowed=", ".join(allowed))
        return str(value)

    return read


def _level(value: Any, _: Context) -> int:
    if type(value) is not int or not 1 <= value <= JOIN_LEVEL_MAX:
        raise InvalidInput("no level", seen=value, allowed=f"1 to {JOIN_LEVEL_MAX}")
    return value


def _endpoint(value: Any, _: Context) -> dict[str, Any]:
    endpoint: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(read_endpoint(value)))
    return endpoint


_NOTIFICATION: Mapping[str, Callable[[Any, Context], Any]] = {
    "attributes": _names,
    "pick": _members,
    "omit": _members,
    "format": _one_of(*FORMS),
    "endpoint": _endpoint,
    "showChanges": _flag,
    "sysAttrs": _flag,
    "onlyChangedAttributes": _flag,
    "join": _one_of("@none", "flat", "inline"),
    "joinLevel": _level,
}
_READERS: Mapping[str, Callable[[Any, Context], Any]] = {
    "subscriptionName": _text,
    "description": _text,
    "entities": _entities,
    "watchedAttributes": _names,
    "notificationTrigger": _triggers,
    "timeInterval": _seconds,
    "q": _q,
    "csf": _csf,
    "geoQ": _geo,
    "scopeQ": _scope,
    "temporalQ": _time,
    "lang": _language,
    "isActive": _flag,
    "notification": _notification,
    "expiresAt": _instant,
    "throttling": _seconds,
    "datasetId": _datasets,
    "jsonldContext": _uri,
    "expandValues": _names,
    "jsonKeys": _names,
    "localOnly": _flag,
    "splitEntities": _flag,
}


# --- the whole ------------------------------------------------------------------------------------------------


def _condition(raw: Mapping[str, Any], wire: Mapping[str, Any], context: Context) -> Filter | None:
    text = wire.get("q") if raw.get("q") is not None else None
    return read_q(text, context, wire.get("expandValues", ())) if text else None


def _sources(raw: Mapping[str, Any], context: Context) -> Filter | None:
    text = raw.get("csf")
    return read_q(_csf(text, context), context, where="csf") if text and text != NULL else None


def _built(
    id_: str,
    wire: dict[str, Any],
    where: Filter | None,
    sources: Filter | None,
    contexts: Contexts,
    now: int,
    old_expiry: int | None = None,
) -> Subscription:
    """The Subscription of a wire that is whole. Raises InvalidInput for members that do not go together."""
    if "notification" not in wire:
        raise InvalidInput("the notification is missing", where="notification", allowed="an object with endpoint")
    if not ("entities" in wire or "watchedAttributes" in wire):
        raise InvalidInput("neither entities nor attributes are named", allowed="entities or watchedAttributes")
    for other in ("watchedAttributes", "throttling"):
        if "timeInterval" in wire and other in wire:
            raise InvalidInput(
                f"{other} and timeInterval exclude one another", where=other, fix="leave one of them out"
            )
    expires_at = read_instant(wire["expiresAt"]) if "expiresAt" in wire else None
    if expires_at is not None and expires_at <= now and expires_at != old_expiry:
        raise InvalidInput("it would have expired already", where="expiresAt", seen=wire["expiresAt"], allowed="later")
    if "jsonldContext" in wire:
        _check_context(wire["jsonldContext"], contexts)
    on = 0
    for trigger in wire.get("notificationTrigger", DEFAULT_TRIGGERS):
        on |= TRIGGERS[trigger]
    return Subscription(
        id=id_,
        selectors=tuple(_compiled(selector) for selector in wire.get("entities", ())),
        watched=tuple(wire.get("watchedAttributes", ())),
        on=int(on),
        where=where,
        geo=_geo_filter(wire["geoQ"]) if "geoQ" in wire else None,
        scopes=read_scope_query(wire["scopeQ"]) if "scopeQ" in wire else (),
        datasets=tuple("" if one == "@none" else one for one in wire.get("datasetId", ())),
        previous=wire["notification"].get("showChanges", False),
        active=wire.get("isActive", True),
        expires_at=expires_at,
        interval=int(wire.get("timeInterval", 0) * SECOND),
        throttling=int(wire.get("throttling", 0) * SECOND),
        sources=sources,
        wire=wire,
    )


def _check_context(url: str, contexts: Contexts) -> None:
    try:
        contexts.resolve(url)
    except HutongError as error:
        raise located(error, "jsonldContext") from None


def _compiled(wire: Mapping[str, Any]) -> Selector:
    ids = wire.get("id", [])
    return Selector(
        ids=tuple(ids) if type(ids) is list else (ids,),
        id_pattern=wire.get("idPattern", ""),
        types=read_type_selection(wire["type"], str),
    )
