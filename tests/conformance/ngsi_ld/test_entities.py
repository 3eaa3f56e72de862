"""Entities and fragments as clauses 4.5, 5.4 and 5.5.4 have them: how they are read, and what is refused."""

from typing import Any

import msgspec
import pytest

from hutong.engines.sense.ports import Attribute, Verb
from hutong.kernel.clock import instant
from hutong.kernel.errors import InvalidInput, MalformedBody, Unsupported
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT
from hutong.standards.ngsi_ld.entities import read_attribute, read_change
from tests.conformance.ngsi_ld.wire import AT, CONTEXTS, ID, NULL, POINT, read, read_one


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        (55, "P", 55),
        ("text", "P", "text"),
        ([1, 2], "P", [1, 2]),
        ({"city": "Hangzhou"}, "P", {"city": "Hangzhou"}),
        ({"value": 5, "unitCode": "CEL"}, "P", 5),
        (POINT, "G", POINT),
        ({"value": POINT}, "G", POINT),
        ({"object": "urn:a:b"}, "R", "urn:a:b"),
        ({"languageMap": {"zh": "好"}}, "L", {"zh": "好"}),
        ({"vocab": "x"}, "V", "x"),
        ({"json": {"a": None}}, "J", {"a": None}),
        ({"valueList": [1]}, "T", [1]),
        ({"objectList": ["urn:a:b"]}, "S", ["urn:a:b"]),
        ({"type": "https://uri.etsi.org/ngsi-ld/Property", "value": 1}, "P", 1),
        ({"@type": "ngsi-ld:Relationship", "object": "urn:a:b"}, "R", "urn:a:b"),
        ({"type": "GeoProperty", "value": '{"type": "Point", "coordinates": [1.5, 2]}'}, "G",
         {"type": "Point", "coordinates": [1.5, 2]}),
    ],
)  # fmt: skip
def test_concise_input_is_understood(given: Any, kind: str, value: Any) -> None:
    attribute = read_one(given)
    assert (attribute.kind, attribute.value) == (kind, value)


def test_an_entity_may_have_several_types_and_scopes() -> None:
    change = read({"id": ID, "type": ["Vehicle", "Home", "Vehicle"], "scope": ["/Zhejiang/Hangzhou", "Fleet"]})
    assert change.types == ("Vehicle", "Home")
    assert change.scopes == ("/Zhejiang/Hangzhou", "/Fleet")


def test_json_ld_keywords_may_stand_for_id_and_type() -> None:
    change = read({"@id": ID, "@type": "Vehicle"})
    assert (change.id, change.types) == (ID, ("Vehicle",))


def test_what_the_system_gives_is_read_past() -> None:
    change = read({"id": ID, "type": "Vehicle", "createdAt": AT, "speed": {"value": 1, "modifiedAt": AT}})
    assert change.attributes == {"speed": Attribute(value=1)}


def test_instances_are_kept_apart_by_dataset() -> None:
    change = read(
        {"id": ID, "type": "V", "speed": [{"value": 1, "datasetId": "@none"}, {"value": 2, "datasetId": "urn:d:1"}]}
    )
    assert {key: a.value for key, a in change.attributes.items()} == {"speed": 1, "speed@urn:d:1": 2}


@pytest.mark.parametrize(
    "at",
    ["2026-05-01T02:00:00Z", "2026-05-01T02:00:00.000Z", "2026-05-01T02:00:00,0Z", "2026-05-01T10:00:00+08:00"],
)
def test_the_same_instant_in_several_spellings(at: str) -> None:
    assert read_one({"value": 1, "observedAt": at}).observed_at == instant(AT)


@pytest.mark.parametrize(
    ("attribute", "where"),
    [
        ({"type": "Property"}, "speed.value"),
        ({"type": "Relationship"}, "speed.object"),
        ({"type": "LanguageProperty"}, "speed.languageMap"),
        ({"type": "Property", "value": None}, "speed.value"),
        (None, "speed"),
        ({"type": "Property", "value": {"a": [1, {"b": None}]}}, "speed.value.a[1].b"),
        ({"type": "Property", "value": 1, "object": "urn:a:b"}, "speed.object"),
        ({"type": "Property", "value": 1, "previousValue": 1}, "speed.previousValue"),
        ({"type": "Property", "value": 1, "@context": {}}, "speed.@context"),
        ({"type": "Relationship", "object": "urn:a:b", "unitCode": "MTR"}, "speed.unitCode"),
        ({"type": "Relationship", "object": "urn:a:b", "value": 1}, "speed.value"),
        ({"type": "Relationship", "object": "not a uri"}, "speed.object"),
        ({"type": "Relationship", "object": []}, "speed.object"),
        ({"type": "LanguageProperty", "languageMap": {"en": 5}}, "speed.languageMap.en"),
        ({"type": "LanguageProperty", "languageMap": {"": "x"}}, "speed.languageMap"),
        ({"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": "xsd:string"}, "speed.valueType"),
        ({"type": "JsonProperty", "json": 5}, "speed.json"),
        ({"type": "JsonProperty", "json": {}, "unitCode": "MTR"}, "speed.unitCode"),
        ({"type": "VocabProperty", "vocab": 5}, "speed.vocab"),
        ({"type": "ListProperty", "valueList": [1], "value": 1}, "speed.value"),
        ({"type": "ListProperty", "valueList": 1}, "speed.valueList"),
        ({"type": "ListRelationship", "objectList": ["nope"]}, "speed.objectList[0]"),
        ({"type": "PostalAddress", "city": "x"}, "speed.type"),
        ({"type": ["Property"], "value": 1}, "speed.type"),
        ({"value": 1, "observedAt": "2026-05-01T10:00:00"}, "speed.observedAt"),
        ({"value": 1, "observedAt": "2026-02-30T10:00:00Z"}, "speed.observedAt"),
        ({"value": 1, "observedAt": "2026-05-01T25:00:00Z"}, "speed.observedAt"),
        ({"value": 1, "observedAt": "2026-05-01"}, "speed.observedAt"),
        ({"value": 1, "observedAt": {"type": "Property", "value": AT}}, "speed.observedAt"),
        ({"value": 1, "observedAt": 1777629600}, "speed.observedAt"),
        ({"value": 1, "unitCode": 5}, "speed.unitCode"),
        ({"value": 1, "datasetId": "nope"}, "speed.datasetId"),
        ({"value": 1, "datasetId": NULL}, "speed.datasetId"),
        ({"observedAt": AT}, "speed.value"),
        ({"type": "Property", "value": NULL}, "speed.value"),
        ({"type": "Relationship", "object": NULL}, "speed.object"),
        ({"type": "LanguageProperty", "languageMap": {"@none": NULL}}, "speed.languageMap"),
        ({"type": "Property", "value": {"country": NULL}}, "speed.value.country"),
        (NULL, "speed"),
        ({"value": 1, "sub": {"type": "Property", "value": NULL}}, "speed.sub.value"),
        ({"value": 1, "my sub": 2}, "speed.my sub"),
        ([{"value": 1}, {"value": 2}], "speed[1].datasetId"),
        ([{"value": 1}, {"value": 2, "datasetId": "@none"}], "speed[1].datasetId"),
        ([{"value": 1, "datasetId": "urn:d:1"}, {"value": 2, "datasetId": "urn:d:1"}], "speed[1].datasetId"),
        ({"value": 2**63}, "speed.value"),
        ({"type": "GeoProperty", "value": "not a geometry"}, "speed.value"),
        ({"type": "GeoProperty", "value": {"type": "GeometryCollection", "geometries": [POINT]}}, "speed.value.type"),
        ({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [300, 30]}}, "speed.value.coordinates[0]"),
        ({"type": "Point", "coordinates": [30.28, 120.15]}, "speed.coordinates[1]"),
        ({"type": "Point"}, "speed.coordinates"),
    ],
)  # fmt: skip
def test_what_is_no_attribute_is_refused_with_its_place(attribute: Any, where: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_one(attribute)
    assert raised.value.fault.where == where
    assert raised.value.fault.what


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"type": "Vehicle"}, "id"),
        ({"id": "no uri", "type": "Vehicle"}, "id"),
        ({"id": 5, "type": "Vehicle"}, "id"),
        ({"id": NULL, "type": "Vehicle"}, "id"),
        ({"id": "urn:x:a\u202eb", "type": "Vehicle"}, "id"),
        ({"id": "urn:x:a\u200bb", "type": "Vehicle"}, "id"),
        ({"id": "urn:x:a\ufe0fb", "type": "Vehicle"}, "id"),
        ({"id": ID}, "type"),
        ({"id": ID, "type": []}, "type"),
        ({"id": ID, "type": 5}, "type"),
        ({"id": ID, "type": "9Vehicle"}, "type"),
        ({"id": ID, "type": "Vehicle", "datasetId": {"type": "Property", "value": 1}}, "datasetId"),
        ({"id": ID, "type": "Vehicle", "observedAt": AT}, "observedAt"),
        ({"id": ID, "type": "Vehicle", "location": {"type": "Property", "value": 7}}, "location"),
        ({"id": ID, "type": "Vehicle", "scope": "9bad"}, "scope"),
        ({"id": ID, "type": "Vehicle", "scope": "/a//b"}, "scope"),
        ({"id": ID, "type": "Vehicle", "scope": ["/ok", "a-b"]}, "scope"),
        ({"id": ID, "type": "Vehicle", "scope": NULL}, "scope"),
    ],
)
def test_what_is_no_entity_is_refused_with_its_place(raw: Any, where: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(raw)
    assert raised.value.fault.where == where


def test_ids_with_characters_of_other_scripts_are_uris() -> None:
    assert read({"id": "urn:ngsi-ld:停车场:西湖", "type": "停车场"}).types == ("停车场",)


@pytest.mark.parametrize("member", ["entity", "attribute"])
def test_what_expires_is_refused_rather_than_kept_for_ever(member: str) -> None:
    raw: dict[str, Any] = {"id": ID, "type": "V", "speed": {"value": 1}}
    (raw if member == "entity" else raw["speed"])["expiresAt"] = AT
    with pytest.raises(Unsupported):
        read(raw)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b"\xff\xfe", b'{"a": "\xff"}', b'"\\ud800"',
     b"[" * 100_000, b'{"a":' * 100_000, "停".encode("gb18030")],
)  # fmt: skip
def test_what_is_no_json_is_a_malformed_body(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_change(body, Verb.CREATE, CONTEXTS, CORE_CONTEXT)


def test_values_and_sub_attributes_have_a_bound_on_their_depth() -> None:
    value: Any = 1
    for _ in range(50):
        value = [value]
    with pytest.raises(InvalidInput, match="nested too deeply"):
        read_one({"value": value})
    sub: Any = {"value": 1}
    for _ in range(20):
        sub = {"value": 1, "sub": sub}
    with pytest.raises(InvalidInput, match="too deep"):
        read_one(sub)


def test_the_context_stands_in_the_body_or_in_the_header_never_in_both() -> None:
    raw = {"id": ID, "type": "Vehicle", "@context": {"Vehicle": "https://example.org/Vehicle"}}
    assert read_change(msgspec.json.encode(raw), Verb.CREATE, CONTEXTS, None).types == ("https://example.org/Vehicle",)
    with pytest.raises(InvalidInput) as raised:
        read(raw)
    assert raised.value.fault.where == "@context"
    with pytest.raises(InvalidInput, match="@context is missing"):
        read_change(msgspec.json.encode({"id": ID, "type": "Vehicle"}), Verb.CREATE, CONTEXTS, None)


def test_a_merge_fragment_deletes_by_null_and_may_lack_values() -> None:
    change = read(
        {
            "batteryLevel": {"type": "Property", "value": 7, "observedAt": AT, "providedBy": NULL},
            "uncharged": {"type": "Property", "value": NULL},
            "locatedAt": {"type": "Relationship", "object": NULL},
            "says": {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
            "period": {"type": "ListProperty", "valueList": [NULL]},
            "gone": NULL,
            "address": {"type": "Property", "value": {"street": "北山路", "country": NULL}},
            "noted": {"observedAt": AT},
            "unitless": {"unitCode": NULL, "value": 3},
            "scope": NULL,
        },
        Verb.MERGE,
        entity_id=ID,
    )
    gone = [key for key, attribute in change.attributes.items() if attribute.value == NULL]
    assert gone == ["uncharged", "locatedAt", "says", "period", "gone"]
    battery = change.attributes["batteryLevel"]
    assert battery.sub is not None
    assert (battery.value, battery.sub["providedBy"].value) == (7, NULL)
    assert change.attributes["address"].value == {"street": "北山路", "country": None}
    assert change.attributes["noted"] == Attribute(kind="", observed_at=instant(AT))
    unitless = change.attributes["unitless"].sub
    assert unitless is not None
    assert unitless["unitCode"].value == NULL
    assert change.scopes == ()


def test_null_inside_a_value_is_for_merging_only() -> None:
    with pytest.raises(InvalidInput):
        read({"address": {"value": {"country": NULL}}}, Verb.APPEND, entity_id=ID, nulls=True)


def test_an_update_may_delete_by_null_where_it_is_let() -> None:
    fragment = {"speed": {"type": "Property", "value": NULL}}
    assert read(fragment, Verb.APPEND, entity_id=ID, nulls=True).attributes["speed"].value == NULL
    with pytest.raises(InvalidInput):
        read(fragment, Verb.APPEND, entity_id=ID)


def test_a_merge_in_simplified_representation_leaves_kinds_open() -> None:
    change = read(
        {
            "speed": 5,
            "owner": "urn:a:b",
            "says": {"languageMap": {"en": "hi"}},
            "n": {"dataset": {"@none": 1, "urn:d:1": 2}},
        },
        Verb.MERGE,
        entity_id=ID,
        simplified=True,
    )
    assert {key: (a.kind, a.value) for key, a in change.attributes.items()} == {
        "speed": ("", 5),
        "owner": ("", "urn:a:b"),
        "says": ("L", {"en": "hi"}),
        "n": ("", 1),
        "n@urn:d:1": ("", 2),
    }


def test_a_fragment_must_be_of_the_entity_of_its_address() -> None:
    with pytest.raises(InvalidInput) as raised:
        read({"id": "urn:other:1", "speed": 1}, Verb.APPEND, entity_id=ID)
    assert raised.value.fault.allowed == ID


@pytest.mark.parametrize(
    ("fragment", "key", "expected"),
    [
        ({"value": 100, "observedAt": AT}, "speed", Attribute(value=100, observed_at=instant(AT))),
        ({"observedAt": AT}, "speed", Attribute(kind="", observed_at=instant(AT))),
        ({"type": "Relationship", "object": "urn:a:b"}, "speed", Attribute(kind="R", value="urn:a:b")),
        ({"value": 1, "datasetId": "urn:d:1"}, "speed@urn:d:1", Attribute(value=1)),
        ({"value": NULL}, "speed", Attribute(value=NULL)),
        ({"accuracy": {"value": 0.5}}, "speed", Attribute(kind="", sub={"accuracy": Attribute(value=0.5)})),
    ],
)
def test_attribute_fragments(fragment: Any, key: str, expected: Attribute) -> None:
    body = msgspec.json.encode(fragment)
    change = read_attribute(body, Verb.PATCH, CONTEXTS, CORE_CONTEXT, entity_id=ID, name="speed")
    assert change.attributes == {key: expected}


@pytest.mark.parametrize(
    ("fragment", "name"), [({}, "speed"), ({"value": 1}, "scope"), ({"value": 1}, "observedAt"), ({"value": 1}, "a b")]
)
def test_attribute_fragments_that_are_refused(fragment: Any, name: str) -> None:
    with pytest.raises(InvalidInput):
        read_attribute(msgspec.json.encode(fragment), Verb.PATCH, CONTEXTS, CORE_CONTEXT, entity_id=ID, name=name)
