"""Representations of entities (clauses 4.5.2 to 4.5.5, 4.5.16 to 4.5.24, 4.15, 4.21), there and back."""

from typing import Any

import msgspec
import pytest

from hutong.engines.sense.ports import Attribute, Entity, Mark, Verb
from hutong.kernel.clock import instant
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT
from hutong.standards.ngsi_ld.entities import read_change
from hutong.standards.ngsi_ld.representations import Shape, write_entity, write_feature
from tests.conformance.ngsi_ld.wire import AT, CONTEXTS, ID, NORMALIZED, POINT, entity_of, read_one, write


@pytest.mark.parametrize("name", NORMALIZED)
def test_the_normalized_representation_comes_back_as_it_went(name: str) -> None:
    assert write({name: NORMALIZED[name]})[name] == NORMALIZED[name]


@pytest.mark.parametrize("name", NORMALIZED)
def test_the_concise_representation_loses_nothing(name: str) -> None:
    concise = write({name: NORMALIZED[name]}, "concise")
    assert "Property" not in msgspec.json.encode(concise[name]).decode()
    assert write({name: concise[name]})[name] == NORMALIZED[name]


@pytest.mark.parametrize("name", NORMALIZED)
def test_expansion_and_compaction_under_a_users_context_cancel_out(name: str) -> None:
    context = CONTEXTS.resolve({name: f"https://example.org/{name}", "Vehicle": "https://example.org/Vehicle"})
    raw = {"id": ID, "type": "Vehicle", name: NORMALIZED[name]}
    change = read_change(msgspec.json.encode(raw), Verb.CREATE, CONTEXTS, context)
    assert change.types == ("https://example.org/Vehicle",)
    assert all(key.startswith(f"https://example.org/{name}") for key in change.attributes)
    assert write_entity(Entity(id=ID, types=change.types, attributes=change.attributes), context) == raw


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("property", 55),
        ("geo", POINT),
        ("relationship", "urn:ngsi-ld:Car:1"),
        ("language", {"languageMap": NORMALIZED["language"]["languageMap"]}),
        ("gender", {"vocab": "Male"}),
        ("raw", {"json": NORMALIZED["raw"]["json"]}),
        ("list", ["First", 2, {"third": 3}]),
        ("list_relationship", ["urn:a:1", "urn:a:2"]),
        ("instances", {"dataset": {"@none": 55, "urn:ngsi-ld:Dataset:gps": 11}}),
    ],
)
def test_the_simplified_representation(name: str, value: Any) -> None:
    assert write({name: NORMALIZED[name]}, "simplified")[name] == value


def test_marks_are_told_as_quality() -> None:
    attribute = Attribute(value=7, marks=Mark.SUSPECT)
    entity = Entity(id=ID, types=("V",), attributes={"free": attribute})
    assert write_entity(entity, CORE_CONTEXT)["free"]["quality"] == {"type": "Property", "value": "suspect"}
    assert write_entity(entity, CORE_CONTEXT, Shape(form="concise"))["free"] == {"value": 7, "quality": "suspect"}
    attribute.marks = Mark.SUSPECT | Mark.SIMULATED
    attribute.sub = {"quality": Attribute(value="calibrated in May")}
    told = write_entity(entity, CORE_CONTEXT)["free"]["quality"]
    assert told == {"type": "Property", "value": ["suspect", "simulated", "calibrated in May"]}


def test_a_sender_may_say_simulated_but_not_suspect() -> None:
    attribute = read_one({"value": 1, "quality": {"type": "Property", "value": ["simulated", "suspect"]}})
    assert (attribute.marks, attribute.sub) == (Mark.SIMULATED, None)
    own = read_one({"value": 1, "quality": {"type": "Property", "value": "good"}})
    assert own.marks == 0
    assert own.sub == {"quality": Attribute(value="good")}


def test_system_attributes_are_shown_when_asked_for() -> None:
    attribute = Attribute(value=1, created_at=instant(AT), modified_at=instant("2026-05-01T03:00:00.5Z"))
    entity = Entity(
        id=ID, types=("V",), attributes={"speed": attribute}, created_at=instant(AT), modified_at=instant(AT)
    )
    assert "createdAt" not in write_entity(entity, CORE_CONTEXT)
    told = write_entity(entity, CORE_CONTEXT, Shape(system=True))
    assert (told["createdAt"], told["modifiedAt"]) == (AT, AT)
    assert (told["speed"]["createdAt"], told["speed"]["modifiedAt"]) == (AT, "2026-05-01T03:00:00.5Z")


MANY = {"name": "A", "speed": NORMALIZED["instances"], "scope": "/x"}


@pytest.mark.parametrize(
    ("shape", "members"),
    [
        ({}, {"id", "type", "scope", "name", "speed"}),
        ({"pick": frozenset(["name"])}, {"name"}),
        ({"pick": frozenset(["id", "speed"])}, {"id", "speed"}),
        ({"omit": frozenset(["type", "name"])}, {"id", "scope", "speed"}),
        ({"attributes": frozenset(["name"])}, {"id", "type", "scope", "name"}),
    ],
)
def test_members_are_picked_and_omitted(shape: Any, members: set[str]) -> None:
    assert set(write(MANY, **shape)) == members


@pytest.mark.parametrize(
    ("datasets", "speed"),
    [
        ([""], NORMALIZED["instances"][0]),
        (["urn:ngsi-ld:Dataset:gps"], NORMALIZED["instances"][1]),
        (["urn:d:no"], None),
    ],
)
def test_instances_are_chosen_by_dataset(datasets: list[str], speed: Any) -> None:
    assert write(MANY, datasets=frozenset(datasets)).get("speed") == speed


@pytest.mark.parametrize(
    ("language", "tag"),
    [
        ("fr", "fr"),
        ("FR", "fr"),
        ("nl-BE", "nl"),
        ("en", "en-US"),
        ("fr;q=0.2,nl;q=0.9", "nl"),
        ("pt,*;q=0.5", "fr"),
        ("pt", "fr"),
        ("fr;q=0", "fr"),
    ],
)
def test_a_language_is_chosen(language: str, tag: str) -> None:
    texts = {"fr": "Grand Place", "nl": "Grote Markt", "en-US": "Main Square"}
    raw = {"name": {"type": "LanguageProperty", "languageMap": texts}}
    assert write(raw, language=language)["name"] == {"type": "Property", "value": texts[tag], "lang": tag}
    assert write(raw, "simplified", language=language)["name"] == texts[tag]


def test_a_feature_has_the_default_instance_of_the_chosen_property_as_geometry() -> None:
    other = {"type": "Point", "coordinates": [9.0, 9.0]}
    location = [
        {"type": "GeoProperty", "value": other, "datasetId": "urn:d:gps"},
        {"type": "GeoProperty", "value": POINT},
    ]
    entity = entity_of({"location": location, "speed": 5})
    feature = write_feature(entity, CORE_CONTEXT)
    assert (feature["id"], feature["type"], feature["geometry"]) == (ID, "Feature", POINT)
    assert set(feature["properties"]) == {"type", "location", "speed"}
    assert write_feature(entity, CORE_CONTEXT, Shape(geometry="speed"))["geometry"] is None
    assert write_feature(entity, CORE_CONTEXT, Shape(datasets=frozenset(["urn:d:gps"])))["geometry"] == other
    simplified = write_feature(entity_of({"location": POINT}), CORE_CONTEXT, Shape(form="simplified"))
    assert simplified["properties"] == {"type": "Vehicle", "location": POINT}
