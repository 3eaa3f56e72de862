"""Notifications (clauses 5.3.1, 5.8.6): what a subscriber is told of entities that changed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from hutong.engines.sense.ports import Attribute, Entity
from hutong.engines.sense.subscriptions import Notice, On, Subscription
from hutong.standards.ngsi_ld.attributes import VALUE_MEMBERS, split_key
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.endpoints import Endpoint
from hutong.standards.ngsi_ld.headers import GEO_JSON, Answer, answer_to, context_header
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.representations import Form, Shape, write_entity, write_instance
from hutong.standards.ngsi_ld.uris import NULL

_FORMS: Final[Mapping[str, Form]] = {"keyValues": "simplified", "simplified": "simplified", "concise": "concise"}


class Happening(msgspec.Struct, frozen=True):
    """An entity with what happened to it, as the subscriber may see both."""

    entity: Entity
    notice: Notice


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """How a subscription is told: derived once from it."""

    subscription: Subscription
    endpoint: Endpoint
    context: Context
    shape: Shape
    answer: Answer
    source: Any  # what is shown as @context
    link: str

    @property
    def join(self) -> str:
        return str(self._notification.get("join", "@none"))

    @property
    def join_level(self) -> int:
        return int(self._notification.get("joinLevel", 1))

    @property
    def only_changed(self) -> bool:
        return bool(self._notification.get("onlyChangedAttributes", False))

    @property
    def _notification(self) -> dict[str, Any]:
        found: dict[str, Any] = self.subscription.wire["notification"]
        return found


def read_telling(subscription: Subscription, context: Context) -> Telling:
    """How to tell a subscription under its @context; one without an address of its own is kept under `@link`."""
    wire = subscription.wire
    notification = wire["notification"]
    endpoint = msgspec.convert(notification["endpoint"], Endpoint)
    answer = answer_to(endpoint.media_type, endpoint.setting("Prefer", ""), geojson=True)
    own = wire.get("jsonldContext", "")
    shape = Shape(
        form=_FORMS.get(notification.get("format", ""), "normalized"),
        system=notification.get("sysAttrs", False),
        attributes=frozenset(notification.get("attributes", ())),
        pick=frozenset(notification.get("pick", ())),
        omit=frozenset(notification.get("omit", ())),
        datasets=frozenset(subscription.datasets),
        language=wire.get("lang", ""),
    )
    return Telling(
        subscription=subscription,
        endpoint=endpoint,
        context=context,
        shape=shape,
        answer=answer,
        source=own or context.source,
        link="" if answer.context_in_body else context_header(own or context.url or wire.get("@link", "")),
    )


def write_notification(
    telling: Telling, happenings: Sequence[Happening], linked: Mapping[str, Entity], *, id_: str, at: int
) -> dict[str, Any]:
    """A Notification as JSON-ready mapping. `linked`: the entities that a join may bring in, by id."""
    told = [_write(telling, one, linked) for one in happenings]
    entities = [one.entity for one in happenings]
    if telling.join == "flat":
        reached = _reached(entities, linked, telling.join_level)
        told += [_plain(entity, telling) for entity in reached]
        entities += reached
    notification: dict[str, Any] = {
        "id": id_,
        "type": "Notification",
        "subscriptionId": telling.subscription.id,
        "notifiedAt": write_instant(at),
        "data": told,
    }
    if telling.answer.media_type == GEO_JSON:
        features = [_feature(entity, element, telling) for entity, element in zip(entities, told, strict=True)]
        notification["data"] = {"type": "FeatureCollection", "features": features}
        if telling.answer.context_in_body:
            notification["data"]["@context"] = telling.source
    elif telling.answer.context_in_body:
        for element in told:
            element["@context"] = telling.source
        notification["@context"] = telling.source
    return notification


def links_of(entities: Iterable[Entity]) -> set[str]:
    """Ids of the entities that relationships of these name."""
    return {
        id_
        for entity in entities
        for attribute in entity.attributes.values()
        if attribute.kind in ("R", "S")
        for id_ in _objects(attribute)
    }


# --- one entity -----------------------------------------------------------------------------------------------


def _write(telling: Telling, one: Happening, linked: Mapping[str, Entity]) -> dict[str, Any]:
    notice, context, shape = one.notice, telling.context, telling.shape
    gone = _gone(telling.subscription, one)
    attributes = {} if notice.deleted else dict(one.entity.attributes)
    if telling.only_changed:
        attributes = {key: attributes[key] for key in notice.changed if key in attributes}
    if gone:
        attributes |= {key: _nulled(attribute) for key, attribute in _together(gone, attributes).items()}
    told = _written(msgspec.structs.replace(one.entity, attributes=attributes), context, shape)
    if notice.deleted:
        told["deletedAt"] = write_instant(notice.at)
    if shape.form != "simplified":
        _tell_changes(told, telling, {**notice.before, **gone}, gone.keys(), notice.at)
    if telling.join == "inline":
        _put_inline(told, one.entity, telling, linked, telling.join_level)
    return told


def _gone(subscription: Subscription, one: Happening) -> Mapping[str, Attribute]:
    """Attributes to be told as deleted; of a deleted entity those that are watched, or all where changes are shown."""
    if not one.notice.deleted:
        return one.notice.gone
    if subscription.on & On.ENTITY_DELETED and subscription.previous:
        return one.entity.attributes
    if not subscription.on & On.ATTRIBUTE_DELETED:
        return {}
    watched = frozenset(subscription.watched)
    return {key: a for key, a in one.entity.attributes.items() if not watched or split_key(key)[0] in watched}


def _together(gone: Mapping[str, Attribute], left: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
    """Where all of several instances of an attribute are gone, the attribute is told as gone, once."""
    still = {split_key(key)[0] for key in left}
    names = Counter(split_key(key)[0] for key in gone)
    found: dict[str, Attribute] = {}
    for key, attribute in gone.items():
        name = split_key(key)[0]
        found.setdefault(name if names[name] > 1 and name not in still else key, attribute)
    return found


def _nulled(attribute: Attribute) -> Attribute:
    """An attribute as it is told once it is deleted (clause 4.5.0)."""
    kind = attribute.kind
    value: Any = {"@none": NULL} if kind == "L" else [NULL] if kind in ("T", "S") else NULL
    return Attribute(kind, value, created_at=attribute.created_at, modified_at=attribute.modified_at)


def _written(entity: Entity, context: Context, shape: Shape) -> dict[str, Any]:
    told = write_entity(entity, context, shape)
    if shape.system and shape.form == "simplified":
        told["createdAt"], told["modifiedAt"] = write_instant(entity.created_at), write_instant(entity.modified_at)
    return told


def _tell_changes(
    told: dict[str, Any], telling: Telling, before: Mapping[str, Attribute], gone: Iterable[str], at: int
) -> None:
    """Put what was before, and when attributes were deleted, beside what is."""
    for key, attribute in before.items():
        name, dataset = split_key(key)
        instance = _instance(told, telling.context.compact(name), dataset)
        if instance is None:
            continue
        if telling.subscription.previous:
            member = VALUE_MEMBERS[attribute.kind]
            instance["previous" + member[0].upper() + member[1:]] = write_instance(attribute, telling.context)[member]
        if key in gone and telling.shape.system:
            instance["deletedAt"] = write_instant(at)


def _instance(told: dict[str, Any], member: str, dataset: str) -> dict[str, Any] | None:
    """The instance of an attribute, as an object; None where it is not told."""
    found = told.get(member)
    if type(found) is list:
        return next((one for one in found if type(one) is dict and one.get("datasetId", "") == dataset), None)
    if found is None:
        return None
    if type(found) is not dict or not any(name in found for name in VALUE_MEMBERS.values()):
        found = told[member] = {"value": found}  # concise: a value that stood alone
    return found if found.get("datasetId", "") == dataset else None


def _feature(entity: Entity, element: dict[str, Any], telling: Telling) -> dict[str, Any]:
    attribute = entity.attributes.get(telling.shape.geometry)
    geometry = attribute.value if attribute is not None and attribute.kind == "G" else None
    properties = {name: member for name, member in element.items() if name != "id"}
    return {"id": entity.id, "type": "Feature", "geometry": geometry, "properties": properties}


# --- linked entities ------------------------------------------------------------------------------------------


def _objects(attribute: Attribute) -> list[str]:
    return attribute.value if type(attribute.value) is list else [attribute.value]


def _plain(entity: Entity, telling: Telling) -> dict[str, Any]:
    shape = telling.shape
    return _written(entity, telling.context, Shape(form=shape.form, system=shape.system, language=shape.language))


def _reached(entities: Iterable[Entity], linked: Mapping[str, Entity], level: int) -> list[Entity]:
    """Linked entities up to a level, each once, in the order they are come to."""
    edge = list(entities)
    known = {entity.id for entity in edge}
    found: list[Entity] = []
    for _ in range(level):
        edge = [linked[id_] for id_ in sorted(links_of(edge) - known) if id_ in linked]
        known.update(entity.id for entity in edge)
        found += edge
    return found


def _put_inline(
    told: dict[str, Any], entity: Entity, telling: Telling, linked: Mapping[str, Entity], level: int
) -> None:
    for key, attribute in entity.attributes.items():
        name, dataset = split_key(key)
        member = telling.context.compact(name)
        if attribute.kind not in ("R", "S") or member not in told or level < 1:
            continue
        inner = []
        for id_ in _objects(attribute):
            if id_ in linked:
                one = _plain(linked[id_], telling)
                _put_inline(one, linked[id_], telling, linked, level - 1)
                inner.append(one)
        if not inner:
            continue
        alone = inner[0] if len(inner) == 1 and type(attribute.value) is not list else inner
        if telling.shape.form == "simplified":
            if not dataset and type(told[member]) is not dict:
                told[member] = alone
        elif (instance := _instance(told, member, dataset)) is not None:
            instance["entityList" if type(alone) is list else "entity"] = alone
