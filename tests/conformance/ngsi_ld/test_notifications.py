"""Notifications (clauses 5.3.1, 4.5.0, 4.5.23): what a subscriber is told, in every form."""

from typing import Any

import pytest

from hutong.engines.sense.ports import Attribute, Entity
from hutong.engines.sense.subscriptions import Notice, On, Subscription
from hutong.kernel.clock import instant
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.core_context import CORE_URL
from hutong.standards.ngsi_ld.notifications import Happening, read_telling, write_notification

NOW = instant("2026-05-01T10:00:00Z")
T = "2026-05-01T10:00:00Z"
NULL = "urn:ngsi-ld:null"
POINT = {"type": "Point", "coordinates": [120.1, 30.2]}
NAME = Attribute(value="x", created_at=NOW, modified_at=NOW)
CITY = "urn:ngsi-ld:City:1"


def entity(id_: str = "urn:ngsi-ld:Car:1", kind: str = "Car", **attributes: Attribute) -> Entity:
    return Entity(id=id_, types=(kind,), attributes=attributes, created_at=NOW, modified_at=NOW)


def subscription(on: int = 31, watched: tuple[str, ...] = (), **notification: Any) -> Subscription:
    endpoint = {"uri": "http://127.0.0.1:9/n", **notification.pop("endpoint", {})}
    wire = {"notification": {"endpoint": endpoint, **notification}, "@context": CORE_URL}
    previous = notification.get("showChanges", False)
    return Subscription(id="urn:s", on=on, watched=watched, previous=previous, wire=wire)


def tell(one: Subscription, *happenings: Happening, linked: tuple[Entity, ...] = ()) -> dict[str, Any]:
    telling = read_telling(one, CORE_CONTEXT)
    return write_notification(telling, happenings, {city.id: city for city in linked}, id_="urn:n", at=NOW)


def data(one: Subscription, thing: Entity, notice: Notice, **more: Any) -> Any:
    return tell(one, Happening(thing, notice), **more)["data"]


def test_the_envelope() -> None:
    told = tell(subscription(), Happening(entity(name=NAME), Notice(NOW, changed=("name",))))
    assert told == {
        "id": "urn:n",
        "type": "Notification",
        "subscriptionId": "urn:s",
        "notifiedAt": T,
        "data": [{"id": "urn:ngsi-ld:Car:1", "type": "Car", "name": {"type": "Property", "value": "x"}}],
    }


@pytest.mark.parametrize(
    ("form", "name"),
    [("normalized", {"type": "Property", "value": "x"}), ("concise", "x"), ("keyValues", "x"), ("simplified", "x")],
)
def test_forms(form: str, name: Any) -> None:
    [told] = data(subscription(format=form), entity(name=NAME), Notice(NOW))
    assert told["name"] == name


def test_attributes_pick_omit_and_only_what_changed() -> None:
    thing, notice = entity(name=NAME, speed=Attribute(value=1)), Notice(NOW, changed=("speed",))
    assert set(data(subscription(attributes=["name"]), thing, notice)[0]) == {"id", "type", "name"}
    assert set(data(subscription(pick=["id", "speed"]), thing, notice)[0]) == {"id", "speed"}
    assert set(data(subscription(omit=["type", "name"]), thing, notice)[0]) == {"id", "speed"}
    assert set(data(subscription(onlyChangedAttributes=True), thing, notice)[0]) == {"id", "type", "speed"}


def test_times_of_the_system_are_told_in_simple_forms_too() -> None:
    [told] = data(subscription(sysAttrs=True, format="keyValues"), entity(name=NAME), Notice(NOW))
    assert told == {"id": "urn:ngsi-ld:Car:1", "type": "Car", "name": "x", "createdAt": T, "modifiedAt": T}


@pytest.mark.parametrize(
    ("attribute", "member", "null"),
    [
        (Attribute("P", 1), "value", NULL),
        (Attribute("G", POINT), "value", NULL),
        (Attribute("R", CITY), "object", NULL),
        (Attribute("L", {"en": "a"}), "languageMap", {"@none": NULL}),
        (Attribute("V", "term"), "vocab", NULL),
        (Attribute("J", {"a": 1}), "json", NULL),
        (Attribute("T", [1]), "valueList", [NULL]),
    ],
)
def test_what_is_gone_and_what_was_before(attribute: Attribute, member: str, null: Any) -> None:
    notice = Notice(NOW, gone={"a": attribute})
    [told] = data(subscription(), entity(), notice)
    assert told["a"][member] == null
    [told] = data(subscription(showChanges=True), entity(), notice)
    previous = "previous" + member[0].upper() + member[1:]
    assert (told["a"][member], told["a"][previous]) == (null, attribute.value)
    changed = Notice(NOW, changed=("a",), before={"a": attribute})
    [told] = data(subscription(showChanges=True), entity(a=attribute), changed)
    assert told["a"][previous] == told["a"][member] == attribute.value
    [told] = data(subscription(showChanges=True, format="concise"), entity(a=attribute), changed)
    assert told["a"][previous] == attribute.value


def test_the_instance_that_is_gone_is_told_beside_the_others() -> None:
    notice = Notice(NOW, gone={"name@urn:x:fr": Attribute(value="y")})
    [told] = data(subscription(), entity(name=NAME), notice)
    assert told["name"] == [
        {"type": "Property", "value": "x"},
        {"type": "Property", "value": NULL, "datasetId": "urn:x:fr"},
    ]


def test_a_deleted_entity() -> None:
    notice, thing = Notice(NOW, deleted=True), entity(name=NAME, speed=Attribute(value=1))
    bare = {"id": "urn:ngsi-ld:Car:1", "type": "Car", "deletedAt": T}
    assert data(subscription(on=On.ENTITY_DELETED), thing, notice) == [bare]
    watched = subscription(on=On.ATTRIBUTE_DELETED, watched=("name",), sysAttrs=True)
    [told] = data(watched, thing, notice)
    assert told["name"] == {"type": "Property", "value": NULL, "createdAt": T, "modifiedAt": T, "deletedAt": T}
    assert "speed" not in told
    [told] = data(subscription(on=On.ENTITY_DELETED, showChanges=True), thing, notice)
    assert (told["name"]["previousValue"], told["speed"]["previousValue"]) == ("x", 1)


def test_linked_entities_flat_and_inline() -> None:
    thing = entity(at=Attribute("R", CITY))
    city = entity(CITY, "City", name=NAME)
    told = data(subscription(join="flat", joinLevel=1, attributes=["at"]), thing, Notice(NOW), linked=(city,))
    assert [(one["id"], "name" in one) for one in told] == [(thing.id, False), (CITY, True)]
    [told] = data(subscription(join="inline"), thing, Notice(NOW), linked=(city,))
    assert told["at"]["entity"] == {"id": CITY, "type": "City", "name": {"type": "Property", "value": "x"}}
    [told] = data(subscription(join="inline", format="simplified"), thing, Notice(NOW), linked=(city,))
    assert told["at"] == {"id": CITY, "type": "City", "name": "x"}


def test_json_ld_carries_its_context_and_json_a_link() -> None:
    linked = subscription(endpoint={"accept": "application/ld+json"})
    told = tell(linked, Happening(entity(), Notice(NOW)))
    assert told["@context"] == told["data"][0]["@context"] == CORE_URL
    assert read_telling(linked, CORE_CONTEXT).link == ""
    assert CORE_URL in read_telling(subscription(), CORE_CONTEXT).link
    own = Contexts().resolve({"ex": "https://example.org/"})
    kept = subscription()
    kept.wire["@link"] = "http://here/context"
    assert "<http://here/context>" in read_telling(kept, own).link


def test_geojson() -> None:
    one = subscription(endpoint={"accept": "application/geo+json"})
    told = tell(one, Happening(entity(location=Attribute("G", POINT)), Notice(NOW)))["data"]
    assert told["type"] == "FeatureCollection"
    assert told["@context"] == CORE_URL
    [feature] = told["features"]
    assert (feature["id"], feature["type"], feature["geometry"]) == ("urn:ngsi-ld:Car:1", "Feature", POINT)
    assert feature["properties"]["type"] == "Car"
    plain = subscription(
        endpoint={"accept": "application/geo+json", "notifierInfo": [{"key": "Prefer", "value": "body=json"}]}
    )
    assert "@context" not in tell(plain, Happening(entity(), Notice(NOW)))["data"]
