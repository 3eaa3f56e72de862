"""Questions about entities, from an address or a Query in a body, as EntityQuery and Shape (clauses 5.7.1, 5.7.2)."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from hutong.engines.sense.ports import EntityQuery, Filter, GeoFilter, Selector
from hutong.kernel.errors import HutongError, InvalidInput, Unsupported
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooComplexQuery, TooManyResults, located
from hutong.standards.ngsi_ld.geometry import GEOMETRY_TYPES, read_geometry
from hutong.standards.ngsi_ld.languages import read_languages
from hutong.standards.ngsi_ld.linked import Join
from hutong.standards.ngsi_ld.members import CORE_MEMBERS, cut, read_members
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.patterns import read_pattern
from hutong.standards.ngsi_ld.q import SYSTEM_MEMBERS, attributes_of, read_q
from hutong.standards.ngsi_ld.representations import NORMALIZED, Form, Shape
from hutong.standards.ngsi_ld.scopes import read_scope_query
from hutong.standards.ngsi_ld.type_selection import read_type_selection

LIMIT_DEFAULT = 20
LIMIT_MAX = 1000
OFFSET_MAX = 10_000_000
ATTRIBUTES_MAX = 100  # of which an entity is to have one
POSITIONS_MAX = 10_000  # in the geometry of a geoquery

_SHAPING = frozenset(("attrs", "pick", "omit", "datasetId", "lang", "options", "format", "geometryProperty"))
_LINKING = frozenset(("join", "joinLevel", "containedBy", "entityMap", "entityMapLifetime"))
_ORDERING = frozenset(("orderBy", "collation", "orderFrom", "orderGeometry"))
_GEO = frozenset(("georel", "geometry", "coordinates", "geoproperty"))
SELECTING = _GEO | {"id", "type", "idPattern", "q", "csf", "scopeQ", "expandValues", "jsonKeys", "splitEntities"}
PAGING = frozenset(("limit", "offset", "count", "local"))
RETRIEVAL = _SHAPING | _LINKING | {"type", "local"}
QUERY = SELECTING | _SHAPING | _LINKING | _ORDERING | PAGING
_QUERY_BODY = (
    frozenset(
        (
            "type",
            "entities",
            "q",
            "geoQ",
            "scopeQ",
            "attrs",
            "pick",
            "omit",
            "datasetId",
            "lang",
            "csf",
            "expandValues",
            "jsonKeys",
            "splitEntities",
            "ordering",
            "@context",
            "temporalQ",
            "aggrParams",
        )
    )
    | _LINKING
)
_SELECTOR = frozenset(("id", "type", "idPattern"))

_FORMS: Mapping[str, Form] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
_RELATIONS = ("within", "contains", "intersects", "equals", "disjoint", "overlaps")
SELECTORS_MAX = 100
JOIN_LEVEL_MAX = 8


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which entities, how they are shown, and whether their number is asked for."""

    entities: EntityQuery
    shape: Shape
    count: bool = False
    join: Join | None = None


class Retrieval(msgspec.Struct, frozen=True, kw_only=True):
    """How one entity is shown; `types` must match where given."""

    shape: Shape
    types: tuple[tuple[str, ...], ...] = ()
    join: Join | None = None


AS_IT_IS = Retrieval(shape=NORMALIZED)


def read_query(
    given: Mapping[str, Sequence[str]], context: Context, *, tenant: str = "", geojson: bool = False
) -> Query:
    """The Query of an address. `geojson`: the answer will be GeoJSON."""
    return _query(Parameters.of_address(given, QUERY), context, tenant, geojson)


def read_query_body(
    raw: Any, given: Mapping[str, Sequence[str]], context: Context, *, tenant: str = "", geojson: bool = False
) -> Query:
    """The Query of a decoded body (clause 5.2.23) and the paging and representation of its address."""
    return _query(
        body_parameters(raw, temporal=False).merged(
            Parameters.of_address(given, PAGING | {"options", "format", "geometryProperty"})
        ),
        context,
        tenant,
        geojson,
    )


def read_retrieval(given: Mapping[str, Sequence[str]], context: Context, *, geojson: bool = False) -> Retrieval:
    """How a single entity is asked for."""
    if not given:
        return AS_IT_IS
    parameters = Parameters.of_address(given, RETRIEVAL)
    return Retrieval(
        shape=read_shape(parameters, context, geojson),
        types=read_types(parameters, context),
        join=read_join(parameters),
    )


def _query(parameters: Parameters, context: Context, tenant: str, geojson: bool) -> Query:
    join = read_join(parameters)
    if any(name in parameters for name in _ORDERING):
        raise Unsupported("entities come in the order of their creation", where="orderBy", fix="leave the order out")
    count = parameters.flag("count") or False
    limit = parameters.number("limit", LIMIT_DEFAULT)
    assert limit is not None
    if limit > LIMIT_MAX:
        raise TooManyResults("the page is too large", where="limit", seen=limit, allowed=f"at most {LIMIT_MAX}")
    if limit == 0 and not count:
        raise InvalidInput("a page of no entities", where="limit", seen=0, fix="add count=true, or ask for more")
    offset = min(parameters.number("offset", 0) or 0, OFFSET_MAX)
    entities = read_selection(parameters, context, tenant, limit, offset)
    shape = read_shape(parameters, context, geojson)
    if shape.pick and not shape.pick & CORE_MEMBERS:  # what has none of them is not shown: clause 4.21
        entities = msgspec.structs.replace(entities, attributes=_bounded(tuple(shape.pick), "pick"))
    return Query(entities=entities, count=count, shape=shape, join=join)


def read_selection(parameters: Parameters, context: Context, tenant: str, limit: int, offset: int) -> EntityQuery:
    """Which entities. Raises InvalidInput where nothing narrows the question (clause 5.7.2.4)."""
    attributes = _bounded(parameters.names("attrs", _attribute_name(context)), "attrs")
    where = _condition(parameters, context)
    geo = read_geo_filter(parameters, context)
    types = read_types(parameters, context)
    selectors = _read_selectors(parameters, context)
    local = parameters.flag("local")
    everything = parameters.raw("type") == "*" or any(not one.types for one in selectors)
    if everything and local is False:
        raise InvalidInput("all types are asked for locally only", where="local", seen="false", allowed="true")
    narrowing = (
        types
        or selectors
        or geo
        or set(attributes) - SYSTEM_MEMBERS
        or (where is not None and attributes_of(where) - SYSTEM_MEMBERS)
    )
    if not (narrowing or local or everything):
        raise InvalidInput(
            "the question is too wide",
            allowed="at least one of type, attrs, q, georel",
            fix="add one of them, or local=true",
        )
    ids = parameters.uris("id")
    pattern = parameters.text("idPattern")
    scopes = parameters.text("scopeQ")
    return EntityQuery(
        tenant=tenant,
        ids=ids,
        types=types,
        selectors=selectors,
        attributes=attributes,
        where=where,
        geo=geo,
        limit=limit,
        offset=offset,
        id_pattern=read_pattern(pattern, "idPattern") if pattern and not ids else "",
        scopes=read_scope_query(scopes) if scopes else (),
    )


def _bounded(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(names) > ATTRIBUTES_MAX:
        allowed = f"at most {ATTRIBUTES_MAX}"
        raise TooComplexQuery("too many attributes", where=where, seen=len(names), allowed=allowed)
    return names


def _condition(parameters: Parameters, context: Context) -> Filter | None:
    parameters.names("jsonKeys", context.expand)  # values are not expanded unless asked for, so nothing follows
    if filter_of_sources := parameters.text("csf"):
        read_q(filter_of_sources, context, where="csf")  # checked; there are no context sources to filter
    text = parameters.text("q")
    return read_q(text, context, parameters.names("expandValues", context.expand)) if text else None


def read_types(parameters: Parameters, context: Context) -> tuple[tuple[str, ...], ...]:
    """The entity type selection (clause 4.17): alternatives of types that must all be there; `*` is no selection."""
    text = parameters.text("type")
    return read_type_selection(text, context.expand) if text else ()


def read_geo_filter(parameters: Parameters, context: Context) -> GeoFilter | None:
    """The geoquery (clause 4.10). Raises InvalidInput with its place: georel, geometry, coordinates, geoproperty."""
    given = [name for name in ("georel", "geometry", "coordinates") if name in parameters]
    if not given:
        return None
    if len(given) < 3:
        raise InvalidInput("a geoquery needs georel, geometry and coordinates", seen=", ".join(given))
    kind = parameters.raw("geometry")
    if kind not in GEOMETRY_TYPES:
        raise InvalidInput("no type of geometry", where="geometry", seen=kind, allowed=", ".join(GEOMETRY_TYPES))
    coordinates = parameters.raw("coordinates")
    if type(coordinates) is str:
        try:
            coordinates = msgspec.json.decode(coordinates)
        except (msgspec.DecodeError, RecursionError):
            raise InvalidInput(
                "no coordinates", where="coordinates", seen=coordinates, allowed="a JSON array, such as [8.68,49.41]"
            ) from None
    geometry = read_geometry({"type": kind, "coordinates": coordinates})
    if (found := _positions(geometry["coordinates"])) > POSITIONS_MAX:
        raise TooComplexQuery(
            "too many positions", where="coordinates", seen=found, allowed=f"at most {POSITIONS_MAX}", fix="simplify it"
        )
    name = context.expand(parameters.text("geoproperty")) if "geoproperty" in parameters else "location"
    return _relation(parameters.text("georel"), geometry, name)


def _positions(coordinates: Any) -> int:
    """How many positions there are in valid GeoJSON coordinates."""
    return sum(map(_positions, coordinates)) if type(coordinates[0]) is list else 1


def _relation(text: str, geometry: Mapping[str, Any], attribute: str) -> GeoFilter:
    relation, *modifiers = text.split(";")
    if relation in _RELATIONS and not modifiers:
        return GeoFilter(relation=cast("Any", relation), geometry=geometry, attribute=attribute)
    name, _, distance = modifiers[0].partition("==") if len(modifiers) == 1 else ("", "", "")
    if relation != "near" or name not in ("maxDistance", "minDistance"):
        raise InvalidInput(
            "no geo relation",
            where="georel",
            seen=text,
            allowed=f"{', '.join(_RELATIONS)}, near;maxDistance==metres, near;minDistance==metres",
        )
    try:
        metres = msgspec.json.decode(distance.encode(), type=float)
    except msgspec.DecodeError:
        metres = 0.0
    if metres <= 0:
        raise InvalidInput("no distance", where="georel", seen=distance, allowed="a number of metres above 0")
    return GeoFilter(
        relation="near",
        geometry=geometry,
        attribute=attribute,
        distance_max=metres if name == "maxDistance" else None,
        distance_min=metres if name == "minDistance" else None,
    )


def read_shape(
    parameters: Parameters, context: Context, geojson: bool = False, more_options: Sequence[str] = ()
) -> Shape:
    """How entities are shown (clauses 4.21, 6.3.7, 6.3.11, 6.3.15). `more_options`: keywords read elsewhere."""
    options = parameters.items("options")
    for option in options:
        if option not in _FORMS and option != "sysAttrs" and option not in more_options:
            raise InvalidRequest(
                "no such option", where="options", seen=option, allowed=", ".join((*_FORMS, "sysAttrs", *more_options))
            )
    form = parameters.one_of(
        "format", (*_FORMS, *more_options), next((option for option in options if option in _FORMS), "normalized")
    )
    attributes = frozenset(parameters.names("attrs", _attribute_name(context)))
    pick = read_members(",".join(parameters.items("pick")), context.expand, "pick")
    omit = read_members(",".join(parameters.items("omit")), context.expand, "omit")
    if attributes and (pick or omit):
        raise InvalidInput("attrs goes with neither pick nor omit", where="attrs", fix="put the names into pick")
    language = parameters.text("lang")
    if language:
        read_languages(language)
    if "geometryProperty" in parameters and not geojson:
        raise InvalidInput(
            "geometryProperty is for GeoJSON",
            where="geometryProperty",
            fix="accept application/geo+json, or leave it out",
        )
    geometry = parameters.text("geometryProperty")
    shape = Shape(
        form=_FORMS.get(form, "normalized"),
        system="sysAttrs" in options,
        attributes=attributes,
        datasets=frozenset("" if item == "@none" else item for item in parameters.uris("datasetId", "@none")),
        language=language,
        geometry=context.expand(geometry) if geometry else "location",
    )
    return cut(shape, pick, omit)


def _attribute_name(context: Context) -> Any:
    def expand(name: str) -> str:
        if name in CORE_MEMBERS or name.startswith("@"):
            raise InvalidInput(
                "no attribute",
                where="attrs",
                seen=name,
                allowed="names of attributes",
                fix="use pick for id, type and scope",
            )
        return context.expand(name)

    return expand


def read_join(parameters: Parameters) -> Join | None:
    """How linked entities are retrieved (clause 4.5.23); None where they are not."""
    level = parameters.number("joinLevel", None, 1)
    how = parameters.one_of("join", ("@none", "flat", "inline"), "@none")
    contained_by = parameters.uris("containedBy")
    if (level is not None or contained_by) and "join" not in parameters:
        where = "joinLevel" if level is not None else "containedBy"
        raise InvalidInput("this goes with join", where=where, fix="add join=inline or join=flat")
    if parameters.flag("entityMap"):
        raise Unsupported("entity maps are not kept here", where="entityMap", fix="page with limit and offset")
    if how == "@none":
        return None
    if level is not None and level > JOIN_LEVEL_MAX:
        raise TooComplexQuery("too many levels", where="joinLevel", seen=level, allowed=f"at most {JOIN_LEVEL_MAX}")
    return Join(how=cast("Any", how), level=level or 1, contained_by=frozenset(contained_by))


def body_parameters(raw: Any, *, temporal: bool) -> Parameters:
    """The members of a Query in a body, named as the parameters of an address are. Raises InvalidInput."""
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", seen=raw, allowed="a Query")
    Parameters.of_body(raw, _QUERY_BODY)
    if raw.get("type") != "Query":
        raise InvalidInput("no Query", where="type", seen=raw.get("type", ""), allowed="Query")
    if "ordering" in raw:
        raise Unsupported("entities come in the order of their creation", where="ordering")
    if not temporal and ("temporalQ" in raw or "aggrParams" in raw):
        raise InvalidInput("times are asked for elsewhere", where="temporalQ", fix="post to temporal/entityOperations")
    members = {
        name: member
        for name, member in raw.items()
        if name not in ("type", "entities", "geoQ", "temporalQ", "aggrParams", "@context")
    }
    if "entities" in raw:
        members |= _selectors(raw["entities"])
    if "geoQ" in raw:
        members |= _object(raw["geoQ"], "geoQ", _GEO)
    if temporal:
        members |= _object(raw.get("temporalQ", {}), "temporalQ", TEMPORAL) | _object(
            raw.get("aggrParams", {}), "aggrParams", frozenset(("aggrMethods", "aggrPeriodDuration"))
        )
    return Parameters(members)


TEMPORAL = frozenset(
    ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "firstN", "aggrMethods", "aggrPeriodDuration")
)


def _object(raw: Any, where: str, allowed: frozenset[str]) -> dict[str, Any]:
    if type(raw) is not dict:
        raise InvalidInput("not a JSON object", where=where, seen=raw)
    for name in raw:
        if name not in allowed:
            raise InvalidInput("no such member", where=f"{where}.{name}", seen=name, allowed=", ".join(sorted(allowed)))
    return raw


def _selectors(raw: Any) -> dict[str, Any]:
    """EntitySelectors (clause 5.2.33): one, or several of types alone, stand among the other parameters."""
    if type(raw) is not list or not 0 < len(raw) <= SELECTORS_MAX:
        raise InvalidInput("no selectors", where="entities", seen=raw, allowed=f"an array with 1 to {SELECTORS_MAX}")
    selectors = [_object(selector, f"entities[{i}]", _SELECTOR) for i, selector in enumerate(raw)]
    for i, selector in enumerate(selectors):
        if type(selector.get("type")) is not str or not selector["type"]:
            raise InvalidInput("the type is missing", where=f"entities[{i}].type", allowed="a selection of types, or *")
    if len(selectors) > 1 and all(set(selector) == {"type"} for selector in selectors):
        return {"type": "*" if any(s["type"] == "*" for s in selectors) else ",".join(s["type"] for s in selectors)}
    listed = [{**one, "id": [one["id"]]} if type(one.get("id")) is str else one for one in selectors]
    return listed[0] if len(listed) == 1 else {"entities": listed}


def _read_selectors(parameters: Parameters, context: Context) -> tuple[Selector, ...]:
    """Several selectors of a Query."""
    found = []
    for i, raw in enumerate(parameters.raw("entities") or ()):
        one = Parameters(raw)
        try:
            ids, pattern = one.uris("id"), one.text("idPattern")
            found.append(
                Selector(
                    ids=ids,
                    id_pattern=read_pattern(pattern, "idPattern") if pattern and not ids else "",
                    types=read_types(one, context),
                )
            )
        except HutongError as error:
            raise located(error, f"entities[{i}]") from None
    return tuple(found)
