"""What tests of the wire format share: attributes of every kind, and short ways to read and write them."""

from typing import Any

import msgspec

from hutong.engines.sense.ports import Attribute, Change, Entity, Verb
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.entities import read_change
from hutong.standards.ngsi_ld.representations import Form, Shape, write_entity

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
