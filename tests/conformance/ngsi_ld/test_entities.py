"""Entities, fragments and batches as clauses 4.5, 5.4 and 5.5.4 have them: read, written back, and refused."""

from typing import Any

import msgspec
import pytest

from hutong.engines.sense.ports import Attribute, Change, Entity, Mark, Verb
from hutong.kernel.clock import instant
from hutong.kernel.errors import AlreadyExists, HutongError, InvalidInput, MalformedBody, TooLarge, Unsupported
from hutong.standards.ngsi_ld import entities as module
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.entities import Refused, read_attribute, read_batch, read_change, read_ids
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable
from hutong.standards.ngsi_ld.representations import Form, Shape, write_entity, write_feature

ID = "urn:ngsi-ld:Vehicle:A100"
AT = "2026-05-01T02:00:00Z"
POINT = {"type": "Point", "coordinates": [120.15, 30.28]}
NULL = "urn:ngsi-ld:null"
CONTEXTS = Contexts()


def read(raw: Any, verb: Verb = Verb.CREATE, **more: Any) -> Change:
    return read_change(msgspec.json.encode(raw), verb, CONTEXTS, CORE_CONTEXT, **more)


def read_one(attribute: Any, verb: Verb = Verb.CREATE, name: str = "speed") -> Attribute:
    return read({"id": ID, "type": "Vehicle", name: attribute}, verb).attributes[name]


def entity_of(raw: dict[str, Any]) -> Entity:
    change = read({"id": ID, "type": "Vehicle", **raw})
    return Entity(id=ID, types=change.types, attributes=change.attributes, scopes=change.scopes or ())


def write(raw: dict[str, Any], form: Form = "normalized", **shape: Any) -> dict[str, Any]:
    return write_entity(entity_of(raw), CORE_CONTEXT, Shape(form=form, **shape))


NORMALIZED: dict[str, Any] = {
    "property": {"type": "Property", "value": 55},
    "float": {"type": "Property", "value": 55.5, "observedAt": AT, "unitCode": "KMH"},
    "boolean": {"type": "Property", "value": False},
    "compound": {"type": "Property", "value": {"street": "解放路", "lines": [1, {"x": "y"}]}},
    "array": {"type": "Property", "value": ["public", "feeCharged"]},
    "typed": {"type": "Property", "value": "5", "valueType": "xsd:double"},
    "literal": {"type": "Property", "value": {"@type": "@json", "@value": None}},
    "geo": {"type": "GeoProperty", "value": POINT, "observedAt": AT},
    "relationship": {"type": "Relationship", "object": "urn:ngsi-ld:Car:1", "objectType": "Car"},
    "relationships": {"type": "Relationship", "object": ["urn:ngsi-ld:Car:1", "urn:ngsi-ld:Car:2"]},
    "language": {
        "type": "LanguageProperty",
        "languageMap": {"zh": "停车场", "en": ["car park", "parking"], "@none": "P"},
    },
    "gender": {"type": "VocabProperty", "vocab": "Male"},
    "genders": {"type": "VocabProperty", "vocab": ["Male", "Tall"]},
    "raw": {"type": "JsonProperty", "json": {"id": "no uri", "value": None, "type": "raw"}},
    "raws": {"type": "JsonProperty", "json": [{"a": 1}, {"b": 2}]},
    "list": {"type": "ListProperty", "valueList": ["First", 2, {"third": 3}]},
    "list_relationship": {"type": "ListRelationship", "objectList": [{"object": "urn:a:1"}, {"object": "urn:a:2"}]},
    "sub": {
        "type": "Property",
        "value": 1,
        "accuracy": {"type": "Property", "value": 0.9, "method": {"type": "Property", "value": "radar"}},
        "measuredBy": {"type": "Relationship", "object": "urn:ngsi-ld:Device:1"},
        "where": {"type": "GeoProperty", "value": POINT},
    },
    "instances": [
        {"type": "Property", "value": 55},
        {"type": "Property", "value": 11, "datasetId": "urn:ngsi-ld:Dataset:gps"},
    ],
}


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


# --- fragments ------------------------------------------------------------------------------------------------


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


# --- batches --------------------------------------------------------------------------------------------------


def batch(items: Any, verb: Verb = Verb.CREATE, **more: Any) -> list[Change | Refused]:
    return read_batch(msgspec.json.encode(items), verb, CONTEXTS, CORE_CONTEXT, **more)


def test_faulty_items_of_a_batch_do_not_hold_back_the_others() -> None:
    good = {"id": "urn:a:1", "type": "V", "speed": 1}
    results = batch(
        [
            good,
            {"id": "urn:a:2", "type": "V", "speed": {"value": 1, "observedAt": "noon"}},
            5,
            {"type": "V"},
            {**good, "id": "urn:a:3"},
        ]
    )
    assert [type(result) for result in results] == [Change, Refused, Refused, Refused, Change]
    refused = [result for result in results if isinstance(result, Refused)]
    assert [(r.index, r.id, r.error.fault.where) for r in refused] == [
        (1, "urn:a:2", "[1].speed.observedAt"),
        (2, "", "[2]"),
        (3, "", "[3].id"),
    ]


def test_an_id_twice_in_a_batch_of_creations_is_refused_the_second_time() -> None:
    item = {"id": "urn:a:1", "type": "V"}
    first, second = batch([item, item])
    assert isinstance(first, Change)
    assert isinstance(second, Refused)
    assert isinstance(second.error, AlreadyExists)
    assert second.error.fault.where == "[1].id"


def test_an_id_twice_in_a_batch_of_upserts_is_applied_in_order() -> None:
    items = [{"id": "urn:a:1", "type": "V", "speed": i} for i in (1, 2)]
    results = batch(items, Verb.REPLACE, upsert=True)
    assert [r.attributes["speed"].value for r in results if isinstance(r, Change)] == [1, 2]
    assert all(isinstance(r, Change) and r.upsert for r in results)


def test_each_item_may_bring_its_own_context() -> None:
    def item(n: int) -> dict[str, Any]:
        return {"id": f"urn:a:{n}", "type": "V", "@context": {"V": f"https://example.org/{n}"}}

    items = [item(1), item(2), {**item(3), "@context": "https://nowhere.example/c"}, {"id": "urn:a:4", "type": "V"}]
    results = read_batch(msgspec.json.encode(items), Verb.CREATE, CONTEXTS, None)
    assert [r.types for r in results if isinstance(r, Change)] == [
        ("https://example.org/1",),
        ("https://example.org/2",),
    ]
    errors = [type(r.error) for r in results if isinstance(r, Refused)]
    assert errors == [LdContextNotAvailable, InvalidInput]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"[]", InvalidInput), (b"{}", InvalidInput), (b"[null]", InvalidInput), (b"[1,", MalformedBody)],
)
def test_a_batch_at_fault_as_a_whole(body: bytes, error: type[HutongError]) -> None:
    with pytest.raises(error):
        read_batch(body, Verb.CREATE, CONTEXTS, CORE_CONTEXT)


def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTITIES_PER_BATCH_MAX", 2)
    with pytest.raises(TooLarge):
        batch([{"id": f"urn:a:{i}", "type": "V"} for i in range(3)])


def test_a_batch_of_deletions() -> None:
    results = read_ids(b'["urn:a:1", "nope", 5]')
    assert results[0] == Change(verb=Verb.DELETE, id="urn:a:1")
    assert [(r.index, r.id) for r in results if isinstance(r, Refused)] == [(1, "nope"), (2, "")]


# --- what is shown --------------------------------------------------------------------------------------------


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
