"""Entities of the sense engine as JSON of NGSI-LD: normalized, concise, simplified, GeoJSON (clauses 4.5.1 to 4.5.24).

Marks of the engine are told in a sub-Property `quality`: a text, or an array of texts where there are several.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from hutong.engines.sense.ports import Attribute, Entity, Mark
from hutong.kernel.errors import NotFound
from hutong.standards.ngsi_ld.attributes import KINDS, MARKS, QUALITY, VALUE_MEMBERS, split_key
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.geometry import is_geometry_like
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.languages import choose_language

Form = Literal["normalized", "concise", "simplified"]
KIND_NAMES: Mapping[str, str] = {letter: name for name, letter in KINDS.items()}
_MARK_NAMES: Mapping[int, str | list[str]] = {
    marks: names[0] if len(names) == 1 else names
    for marks in range(1, sum(Mark) + 1)
    if (names := [name for name, mark in MARKS.items() if marks & mark])
}
_CORE_MEMBERS = frozenset(("id", "type", "scope"))
_WRAPPED = "LJV"  # simplified values that keep the name of their member
_BARE = "PG"  # concise: kinds that may be given by their value alone


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What of an entity is shown, and how. Names are stored names, `id`, `type` or `scope`.

    `pick`: only these members (empty: all); `omit`: not these; `attributes`: only these attributes, `id` and `type`
    kept (the older `attrs`); `datasets`: only instances of these datasetIds (`""` is the default instance).
    `language` is a preference as in Accept-Language. `linked`: what Relationships of these names lead to, otherwise.
    """

    form: Form = "normalized"
    system: bool = False
    attributes: frozenset[str] = frozenset()
    pick: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()
    language: str = ""
    geometry: str = "location"
    linked: Mapping[str, "Shape"] = {}

    def inside(self, name: str) -> "Shape":
        """How entities are shown that a Relationship of this name leads to."""
        if (own := self.linked.get(name)) is not None:
            return own
        if not (self.attributes or self.pick or self.omit or self.linked):
            return self
        return msgspec.structs.replace(self, attributes=frozenset(), pick=frozenset(), omit=frozenset(), linked={})


NORMALIZED = Shape()


def write_entity(entity: Entity, context: Context, shape: Shape = NORMALIZED) -> dict[str, Any]:
    """One entity as JSON-ready mapping, names compacted, without @context."""
    names = context.compacted
    types = entity.types
    told: dict[str, Any] = {"id": entity.id, "type": names[types[0]] if len(types) == 1 else [names[t] for t in types]}
    if entity.scopes:
        told["scope"] = entity.scopes[0] if len(entity.scopes) == 1 else list(entity.scopes)
    if shape.pick or shape.omit:
        for member in _CORE_MEMBERS:
            if member in shape.omit or (shape.pick and member not in shape.pick):
                told.pop(member, None)
    write = _WRITERS[shape.form]
    several: dict[str, dict[str, Attribute]] = {}
    for key, attribute in chosen(entity.attributes, shape).items():
        if "@" in key:
            name, dataset = split_key(key)
            several.setdefault(name, {})[dataset] = attribute
        else:
            told[names[key]] = write(attribute, context, shape)
    for name, instances in several.items():
        if name in entity.attributes and (not shape.datasets or "" in shape.datasets):
            instances = {"": entity.attributes[name], **instances}
        told[names[name]] = _write_instances(instances, context, shape)
    if shape.system and shape.form != "simplified":
        told["createdAt"] = write_instant(entity.created_at)
        told["modifiedAt"] = write_instant(entity.modified_at)
    return told


def write_feature(entity: Entity, context: Context, shape: Shape = NORMALIZED) -> dict[str, Any]:
    """One entity as GeoJSON Feature (clauses 4.5.16, 4.5.17); the geometry is null where there is none."""
    properties = write_entity(entity, context, shape)
    properties.pop("id", None)
    geometry = None
    for key, attribute in entity.attributes.items():
        name, dataset = split_key(key)
        chosen = not dataset if not shape.datasets else dataset in shape.datasets
        if name == shape.geometry and chosen and attribute.kind == "G":
            geometry = attribute.value
    return {"id": entity.id, "type": "Feature", "geometry": geometry, "properties": properties}


def write_entities(
    entities: Iterable[Entity], context: Context, shape: Shape = NORMALIZED, *, with_context: bool = False
) -> bytes:
    """A JSON array of entities, each with its @context where asked for."""
    return as_array([write_entity(entity, context, shape) for entity in entities], context, with_context=with_context)


def as_array(told: list[dict[str, Any]], context: Context, *, with_context: bool) -> bytes:
    """A JSON array of what is told of entities."""
    if with_context:
        for one in told:
            one["@context"] = context.source
    return msgspec.json.encode(told)


def write_features(
    entities: Iterable[Entity], context: Context, shape: Shape = NORMALIZED, *, with_context: bool = True
) -> bytes:
    """A GeoJSON FeatureCollection."""
    features = [write_feature(entity, context, shape) for entity in entities]
    return as_collection(features, context, with_context=with_context)


def as_collection(features: list[dict[str, Any]], context: Context, *, with_context: bool) -> bytes:
    """A GeoJSON FeatureCollection of features."""
    told: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if with_context:
        told["@context"] = context.source
    return msgspec.json.encode(told)


def write_retrieved(
    entity: Entity, context: Context, shape: Shape = NORMALIZED, *, geojson: bool = False, with_context: bool = False
) -> bytes:
    """The answer to a retrieval. Raises NotFound where the entity has none of what was asked for (clause 5.7.1)."""
    if shape.attributes and not any(split_key(key)[0] in shape.attributes for key in entity.attributes):
        raise NotFound("the entity has none of these attributes", where="attrs", seen=", ".join(shape.attributes))
    told = (write_feature if geojson else write_entity)(entity, context, shape)
    if not told:
        raise NotFound("nothing of the entity is left", where="pick", fix="pick or omit other members")
    if with_context:
        told["@context"] = context.source
    return msgspec.json.encode(told)


def shown(name: str, shape: Shape) -> bool:
    """Whether the attribute of this stored name is shown."""
    return (
        (not shape.attributes or name in shape.attributes)
        and (not shape.pick or name in shape.pick)
        and name not in shape.omit
    )


def chosen(attributes: Mapping[str, Attribute], shape: Shape) -> Mapping[str, Attribute]:
    if not (shape.attributes or shape.pick or shape.omit or shape.datasets):
        return attributes
    return {
        key: attribute
        for key, attribute in attributes.items()
        if shown(split_key(key)[0], shape) and (not shape.datasets or split_key(key)[1] in shape.datasets)
    }


def _write_instances(instances: Mapping[str, Attribute], context: Context, shape: Shape) -> Any:
    write = _WRITERS[shape.form]
    if shape.form == "simplified":
        return {
            "dataset": {
                dataset or "@none": write(attribute, context, shape) for dataset, attribute in instances.items()
            }
        }
    told = []
    for dataset, attribute in instances.items():
        one = _as_object(write(attribute, context, shape), attribute)
        told.append({**one, "datasetId": dataset} if dataset else one)
    return told if len(told) > 1 else told[0]


def _as_object(told: Any, attribute: Attribute) -> dict[str, Any]:
    """A concise value alone, wrapped again, where something has to stand beside it."""
    if type(told) is dict and VALUE_MEMBERS[attribute.kind] in told:
        return told
    return {"value": told}


def _write_normalized(attribute: Attribute, context: Context, shape: Shape) -> dict[str, Any]:
    kind = attribute.kind
    if kind == "P":
        told: dict[str, Any] = {"type": "Property", "value": attribute.value}
    else:
        told = {"type": KIND_NAMES[kind], VALUE_MEMBERS[kind]: _value(attribute, context)}
        if kind == "L" and shape.language:
            told = {"type": "Property", **choose_language(attribute.value, shape.language)}
    if attribute.observed_at is not None:
        told["observedAt"] = write_instant(attribute.observed_at)
    if attribute.unit is not None:
        told["unitCode"] = attribute.unit
    if attribute.sub is not None or attribute.marks or attribute.object_type is not None or shape.system:
        _write_rest(told, attribute, context, shape)
    return told


def _write_rest(told: dict[str, Any], attribute: Attribute, context: Context, shape: Shape) -> None:
    if attribute.object_type is not None:
        member = "objectType" if attribute.kind in ("R", "S") else "valueType"
        told[member] = context.compact(attribute.object_type)
    if attribute.marks:
        told[context.compact(QUALITY)] = _write_marks(attribute, shape)
    if attribute.sub is not None:
        write = _WRITERS[shape.form]
        several: dict[str, dict[str, Attribute]] = {}
        for key, sub in attribute.sub.items():
            name, dataset = split_key(key)
            if name == QUALITY and attribute.marks:
                continue
            if dataset:
                several.setdefault(name, {})[dataset] = sub
            else:
                told[context.compact(name)] = write(sub, context, shape)
        for name, instances in several.items():
            own = {"": attribute.sub[name]} if name in attribute.sub else {}
            told[context.compact(name)] = _write_instances({**own, **instances}, context, shape)
    if shape.system and attribute.created_at:
        told["createdAt"] = write_instant(attribute.created_at)
        told["modifiedAt"] = write_instant(attribute.modified_at)


def _write_marks(attribute: Attribute, shape: Shape) -> Any:
    """The marks, and what the sender's own `quality` says beside them."""
    names = _MARK_NAMES[attribute.marks]
    own = attribute.sub.get(QUALITY) if attribute.sub is not None else None
    if own is not None:
        names = [*(names if type(names) is list else [names]), *(own.value if type(own.value) is list else [own.value])]
    return names if shape.form == "concise" else {"type": "Property", "value": names}


def _write_concise(attribute: Attribute, context: Context, shape: Shape) -> Any:
    told = _write_normalized(attribute, context, shape)
    del told["type"]
    if len(told) == 1 and attribute.kind in _BARE:
        value = attribute.value
        if (type(value) is not dict and type(value) is not list) or is_geometry_like(value):
            return value
    return told


def _write_simplified(attribute: Attribute, context: Context, shape: Shape) -> Any:
    kind = attribute.kind
    if kind in _WRAPPED:
        if kind == "L" and shape.language:
            return choose_language(attribute.value, shape.language)["value"]
        return {VALUE_MEMBERS[kind]: _value(attribute, context)}
    return attribute.value


def _value(attribute: Attribute, context: Context) -> Any:
    """The value as normalized and concise representations have it."""
    value = attribute.value
    if attribute.kind == "V":
        return [context.compact(term) for term in value] if type(value) is list else context.compact(value)
    if attribute.kind == "S":
        return [{"object": uri} for uri in value]
    return value


_WRITERS: Mapping[Form, Callable[[Attribute, Context, Shape], Any]] = {
    "normalized": _write_normalized,
    "concise": _write_concise,
    "simplified": _write_simplified,
}


def attribute_value(attribute: Attribute, context: Context, shape: Shape = NORMALIZED) -> Any:
    """The value alone, as the simplified representations have it."""
    return _write_simplified(attribute, context, shape)


def write_instance(attribute: Attribute, context: Context, shape: Shape = NORMALIZED) -> dict[str, Any]:
    """One instance in the normalized representation."""
    return _write_normalized(attribute, context, shape)
