"""Bad input gets a precise error, its good neighbours are stored, and what was taken breaks no later question."""

import itertools
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.sent import ERRORS, NGSI, entity, nested, place, prop, refused

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024
NULL = "urn:ngsi-ld:null"
Fault = tuple[str, Any, str | None, str]
"""What it is, members that spoil a good thing, where the fault is, what is said of it."""

# --- items of a batch -----------------------------------------------------------------------------------------

FAULTY_ITEMS: list[Fault] = [
    ("U+0000 in a text", {"a": "x\0y"}, "a", "U+0000"),
    ("U+0000 deep in a value", {"a": prop({"b": ["\0"]})}, "a", "U+0000"),
    ("U+0000 in a key", {"a": prop({"b\0": 1})}, "a", "U+0000"),
    ("U+0000 in a language map", {"a": {"type": "LanguageProperty", "languageMap": {"zh": "\0"}}}, "a", "U+0000"),
    ("U+0000 in raw JSON", {"a": {"type": "JsonProperty", "json": {"b": "\0"}}}, "a", "U+0000"),
    ("U+0000 in a geometry", {"location": place("Point", [1, 2], name="\0")}, "location", "U+0000"),
    ("an integer of 64 bits and one", {"a": prop(2**63)}, "a.value", "too large"),
    ("a huge integer", {"a": prop([10**400])}, "a.value[0]", "too large"),
    ("a huge integer in raw JSON", {"a": {"type": "JsonProperty", "json": {"b": 10**400}}}, "a.json", "too large"),
    ("a huge integer in a literal", {"a": prop({"@type": "@json", "@value": -(10**30)})}, "a.value", "too large"),
    ("a value nested deeply", {"a": prop(nested(40))}, "a.value" + "[0]" * 32, "nested too deeply"),
    ("raw JSON nested deeply", {"a": {"type": "JsonProperty", "json": {"b": nested(500)}}}, "a.json", "nested"),
    ("null", {"a": prop(None)}, "a.value", "null"),
    ("NGSI-LD Null", {"a": prop(NULL)}, "a.value", "Null"),
    ("a value without a value", {"a": {"type": "Property"}}, "a.value", "missing"),
    ("an unknown type of attribute", {"a": {"type": "Propperty", "value": 1}}, "a.type", "no type of attribute"),
    ("an object that is no URI", {"a": {"type": "Relationship", "object": "a b"}}, "a.object", "no URI"),
    (
        "a language tag that is none",
        {"a": {"type": "LanguageProperty", "languageMap": {"": "x"}}},
        None,
        "language tag",
    ),
    ("a datasetId that is none", {"a": prop(1, datasetId="x y")}, "a.datasetId", "datasetId"),
    ("two instances alike", {"a": [prop(1), prop(2)]}, "a[1].datasetId", "same datasetId"),
    ("a unit that is none", {"a": prop(1, unitCode="")}, "a.unitCode", "no unit"),
    ("a unit of a relationship", {"a": {"object": "urn:a:b", "unitCode": "CEL"}}, "a.unitCode", "no unit"),
    ("an id that is none", {"id": "a b"}, "id", "no URI"),
    ("an empty id", {"id": ""}, "id", "missing"),
    ("an id with U+0000", {"id": "urn:x:\0"}, "id", "U+0000"),
    ("an id with a line break", {"id": "urn:x:a\nb"}, "id", "no URI"),
    ("an id with quotes", {"id": 'urn:x:"a"'}, "id", "no URI"),
    ("an id with a backslash", {"id": "urn:x:a\\b"}, "id", "no URI"),
    ("an id written from right to left", {"id": "urn:x:a\u202eb"}, "id", "no URI"),
    ("an id too long", {"id": "urn:x:" + "a" * 3000}, "id", "no URI"),
    ("an id with too many bytes", {"id": "urn:x:" + "停" * 2000}, "id", "no URI"),
    ("an id that is a number", {"id": 5}, "id", "no URI"),
    ("no type", {"type": None}, "type", "missing"),
    ("a type that is a number", {"type": 5}, "type", "no type"),
    ("a type with quotes", {"type": 'a"b'}, "type", "not a name"),
    ("a type too long", {"type": "urn:x:" + "t" * 600}, "type", "not a name"),
    ("too many types", {"type": [f"T{i}" for i in range(101)]}, "type", "too many types"),
    ("a name with quotes", {'a"b': 1}, 'a"b', "not a name"),
    ("a name with a backslash", {"a\\b": 1}, "a\\b", "not a name"),
    ("a name that is empty", {"": 1}, "", "not a name"),
    ("a name with @", {"urn:x:a@b": 1}, "urn:x:a@b", "not a name"),
    ("a name too long", {"a" * 300: 1}, None, "not a name"),
    ("too many attributes", {f"a{i}": i for i in range(1001)}, None, "too many attributes"),
    (
        "attributes of attributes without end",
        {"a": json.loads('{"value":1,"s":' * 20 + "1" + "}" * 20)},
        None,
        "too deep",
    ),
    ("a scope that is none", {"scope": "/a b"}, "scope", "no scope"),
    ("a scope too long", {"scope": "/a" * 1000}, "scope", "no scope"),
    ("too many scopes", {"scope": [f"/a{i}" for i in range(101)]}, "scope", "no scopes"),
    ("a longitude of 181", {"location": place("Point", [181, 30])}, "location.value.coordinates[0]", "longitude"),
    ("latitude first", {"location": place("Point", [30.2, 120.1])}, "location.value.coordinates[1]", "latitude"),
    (
        "an impossible altitude",
        {"location": place("Point", [1, 2, 1e300])},
        "location.value.coordinates[2]",
        "altitude",
    ),
    ("a truth as coordinate", {"location": place("Point", [True, 2])}, "location.value.coordinates[0]", "not a number"),
    ("a text as coordinate", {"location": place("Point", ["1", "2"])}, "location.value.coordinates[0]", "not a number"),
    ("a point of one number", {"location": place("Point", [1])}, "location.value.coordinates", "not a position"),
    ("a line without length", {"location": place("LineString", [[1, 2], [1, 2]])}, None, "two positions"),
    ("a ring without area", {"location": place("Polygon", [[[1, 2]] * 4])}, None, "four positions"),
    ("an open ring", {"location": place("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 1]]])}, None, "not closed"),
    ("a geometry that is none", {"location": place("Circle", [1, 2])}, "location.value.type", "no type of geometry"),
    (
        "a geometry as deep text",
        {"location": {"type": "GeoProperty", "value": "[" * 5000}},
        "location.value",
        "GeoJSON",
    ),
    ("a location that is none", {"location": prop(5)}, "location", "not a GeoProperty"),
    ("a time without offset", {"a": prop(1, observedAt="2026-05-01T10:00:00")}, "a.observedAt", "without offset"),
    ("a month too many", {"a": prop(1, observedAt="2026-13-01T10:00:00Z")}, "a.observedAt", "not a date-time"),
    ("a date alone", {"a": prop(1, observedAt="2026-05-01")}, "a.observedAt", "not a DateTime"),
    ("an empty time", {"a": prop(1, observedAt="")}, "a.observedAt", "not a DateTime"),
    ("a number as time", {"a": prop(1, observedAt=1767225600)}, "a.observedAt", "DateTime is a text"),
    ("the future", {"a": prop(1, observedAt="2999-01-01T00:00:00Z")}, "a.observedAt", "future"),
    ("the end of time", {"a": prop(1, observedAt="9999-12-31T23:59:59Z")}, "a.observedAt", "future"),
    ("after the end of time", {"a": prop(1, observedAt="9999-12-31T23:59:59-12:00")}, "a.observedAt", "calendar"),
    ("before all time", {"a": prop(1, observedAt="0001-01-01T00:00:00+08:00")}, "a.observedAt", "calendar"),
    ("the first day", {"a": prop(1, observedAt="0001-01-01T00:00:00Z")}, "a.observedAt", "calendar"),
    ("an @context in JSON", {"@context": {"a": "urn:x:a"}}, "@context", "has no place"),
    ("expiry", {"expiresAt": "2026-05-01T10:00:00Z"}, "expiresAt", "do not expire"),
    ("a member of attributes", {"value": 1}, "value", "kept for"),
]
TYPED = "Shelter"
FAULTY_VALUES: list[Fault] = [
    ("a text for a number", {"warmth": "21"}, "warmth", "another type"),
    ("a truth for a number", {"warmth": True}, "warmth", "another type"),
    ("a list for a number", {"warmth": prop([1])}, "warmth", "another type"),
    ("a fraction for an integer", {"beds": 1.5}, "beds", "another type"),
    ("a number for a text", {"name": 5}, "name", "another type"),
    ("a relationship for a number", {"beds": {"object": "urn:a:b"}}, "beds", "another type"),
    ("out of range", {"warmth": 61}, "warmth", "outside its range"),
    ("far out of range", {"warmth": -1e308}, "warmth", "outside its range"),
    ("a unit of another quantity", {"warmth": prop(20, unitCode="KMH")}, "warmth.unitCode", ""),
    ("a unit nobody knows", {"warmth": prop(20, unitCode="XYZ")}, "warmth.unitCode", ""),
    ("out of range in another unit", {"warmth": prop(900, unitCode="KEL")}, "warmth", "outside its range"),
    ("not in the list", {"status": "ajar"}, "status", "not in its list"),
    ("more than 64 bits for an integer", {"beds": 1e300}, "beds", "too large"),
    ("no datetime", {"inspected": "yesterday"}, "inspected", "not a date-time"),
    ("a datetime without offset", {"inspected": "2026-05-01T10:00:00"}, "inspected", "without offset"),
    (
        "an area for a point",
        {"location": place("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 0]]])},
        "location",
        "another type",
    ),
    ("another type in one of several", {"warmth": [prop(1), prop("x", datasetId="urn:d:1")]}, None, "another type"),
]


def faulty(item: Fault, number: int, type: str) -> dict[str, Any]:
    return {**entity(number), "type": type, **item[1]}


@pytest.mark.parametrize(("faults", "type", "tens"), [(FAULTY_ITEMS, "Thing", 1), (FAULTY_VALUES, TYPED, 2)])
@pytest.mark.parametrize("operation", ["create", "upsert"])
def test_each_item_of_a_batch_gets_its_own_error_and_good_neighbours_are_stored(
    http: httpx.Client, faults: list[Fault], type: str, tens: int, operation: str
) -> None:
    start = tens * 1000 + (500 if operation == "upsert" else 0)
    good = [{**entity(start + 2 * n), "type": type, "name": "good"} for n in range(len(faults))]
    bad = [faulty(item, start + 2 * n + 1, type) for n, item in enumerate(faults)]
    batch = [one for pair in zip(good, bad, strict=True) for one in pair]
    answer = http.post(f"{NGSI}/entityOperations/{operation}", json=batch)
    assert answer.status_code == 207, answer.text
    told = answer.json()
    assert told["success"] == [one["id"] for one in good]
    by_id: dict[str, list[dict[str, Any]]] = {}
    for one in told["errors"]:
        by_id.setdefault(one["entityId"], []).append(one["error"])
    for n, (what, _, where, says) in enumerate(faults):
        id_ = bad[n]["id"] if isinstance(bad[n]["id"], str) else ""
        error = by_id[id_].pop(0)
        assert says in error["detail"], (what, error)
        assert (error["status"], bool(error["title"])) in ((400, True), (422, True)), (what, error)
        if where is not None:
            paths = {where, f"[{2 * n + 1}]" + (f".{where}" if where else "")}
            assert error["where"] in paths, (what, error)
        stored = http.get(f"{NGSI}/entities/{quote(id_, safe='')}") if not set(id_) & set("/?#") and id_ else None
        assert stored is None or stored.status_code in (400, 404), what
    assert not any(by_id.values())
    for one in good:
        assert http.get(f"{NGSI}/entities/{one['id']}?options=keyValues").json()["name"] == "good"


@pytest.mark.parametrize("fault", FAULTY_ITEMS, ids=[item[0] for item in FAULTY_ITEMS])
def test_alone_it_is_refused_as_well(http: httpx.Client, fault: Fault) -> None:
    told = refused(http.post(f"{NGSI}/entities", json=faulty(fault, 1, "Thing")), 422 if "expire" in fault[3] else 400)
    assert fault[3] in told["detail"]
    assert fault[2] in (None, told.get("where", ""))


def test_a_value_that_is_computed_is_refused_and_the_others_are_taken(http: httpx.Client) -> None:
    answer = http.post(f"{NGSI}/entities", json={**entity(5), "type": TYPED, "crowding": 1, "beds": 3})
    assert answer.status_code == 207
    assert "computed" in answer.json()["errors"][0]["error"]["detail"]
    assert http.get(f"{NGSI}/entities/{entity(5)['id']}?options=keyValues").json()["beds"] == 3


def test_a_duplicate_id_in_a_batch_is_told_once_created_and_applied_in_order_else(http: httpx.Client) -> None:
    twice = [entity(10, a=1), entity(11, a=1), entity(10, a=2)]
    told = http.post(f"{NGSI}/entityOperations/create", json=twice).json()
    assert told["success"] == [entity(10)["id"], entity(11)["id"]]
    assert told["errors"][0]["error"]["type"] == ERRORS + "AlreadyExists"
    assert told["errors"][0]["error"]["where"] == "[2].id"
    assert http.post(f"{NGSI}/entityOperations/upsert", json=twice).status_code == 204
    assert http.get(f"{NGSI}/entities/{entity(10)['id']}?options=keyValues").json()["a"] == 2


# --- bodies ---------------------------------------------------------------------------------------------------

BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "empty"),
    ("blank", b"  \n", 400, "no JSON"),
    ("broken", b'{"id": "urn:a:b"', 400, "no JSON"),
    ("more than one", b'{"id": "urn:a:b", "type": "T"} {}', 400, "no JSON"),
    ("NaN", b'{"id": "urn:a:b", "type": "T", "a": NaN}', 400, "no JSON"),
    ("Infinity", b'{"id": "urn:a:b", "type": "T", "a": -Infinity}', 400, "no JSON"),
    ("a number without end", b'{"id": "urn:a:b", "type": "T", "a": 1e400}', 400, "out of range"),
    ("half a character", b'{"id": "urn:a:b", "type": "T", "a": "\\ud800"}', 400, "no JSON"),
    ("a control character", b'{"id": "urn:a:b", "type": "T", "a": "\x01"}', 400, "no JSON"),
    ("GBK", '{"id": "urn:a:b", "type": "T", "a": "杭州"}'.encode("gbk"), 400, "UTF-8"),
    ("UTF-16", '{"id": "urn:a:b", "type": "T"}'.encode("utf-16"), 400, "no JSON"),
    ("nested without end", b"[" * 200_000, 400, "nested"),
    ("a number", b"5", 400, ""),
    ("null", b"null", 400, ""),
    ("a text", b'"x"', 400, ""),
    ("over the limit", b'{"id": "urn:a:b", "type": "T", "a": "' + b"x" * (16 * MIB) + b'"}', 413, "too large"),
]
WRITING = [
    ("POST", "/entities"),
    ("PUT", "/entities/urn:ngsi-ld:Thing:1"),
    ("PATCH", "/entities/urn:ngsi-ld:Thing:1"),
    ("POST", "/entities/urn:ngsi-ld:Thing:1/attrs"),
    ("PATCH", "/entities/urn:ngsi-ld:Thing:1/attrs"),
    ("PATCH", "/entities/urn:ngsi-ld:Thing:1/attrs/a"),
    ("PUT", "/entities/urn:ngsi-ld:Thing:1/attrs/a"),
    *(("POST", f"/entityOperations/{name}") for name in ("create", "upsert", "update", "merge", "delete", "query")),
    ("POST", "/temporal/entityOperations/query"),
]


@pytest.mark.parametrize(("body", "status", "says"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_a_body_that_cannot_be_read(http: httpx.Client, body: bytes, status: int, says: str) -> None:
    for method, path in WRITING:
        answer = http.request(method, NGSI + path, content=body, headers=JSON)
        told = refused(answer, status)
        assert says in told["detail"], (method, path)
    assert http.get(f"{NGSI}/entities/urn:a:b").status_code == 404


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "*/*", "x" * 5000])
def test_a_body_of_another_media_type(http: httpx.Client, media_type: str) -> None:
    for method, path in WRITING:
        answer = http.request(method, NGSI + path, content=b"{}", headers={"Content-Type": media_type})
        assert answer.status_code == 415, (method, path)


def test_too_many_items_in_a_batch(http: httpx.Client) -> None:
    for operation in ("create", "upsert", "update", "merge", "delete"):
        items = [entity(n) if operation != "delete" else entity(n)["id"] for n in range(1001)]
        told = refused(http.post(f"{NGSI}/entityOperations/{operation}", json=items), 413, "InvalidRequest")
        assert "1000" in told["allowed"]


def test_an_entity_cannot_grow_without_bound(http: httpx.Client) -> None:
    full = {f"a{n}": n for n in range(1000)}
    assert http.post(f"{NGSI}/entities", json=entity(20, **full)).status_code == 201
    attrs = f"{NGSI}/entities/{entity(20)['id']}/attrs"
    assert "1000" in refused(http.post(attrs, json={"b": 1}), 400)["allowed"]
    assert http.post(attrs, json={"a1": 5}).status_code == 204
    assert http.put(attrs.removesuffix("/attrs"), json={"type": "Thing", "b": 1}).status_code == 204


@pytest.mark.parametrize(
    "context",
    [5, {"a": 5}, {"@vocab": "x"}, {"a": "b:c", "b": "a:c"}, {f"t{i}": f"t{i + 1}" for i in range(3000)},
     {f"t{i}": "urn:x:y" for i in range(10_001)}, {"@import": "x"}, {"a": {"@context": {}}}, {"@foo": "x"},
     {"a": 'urn:"x"'}, [[[5]]]],
)  # fmt: skip
def test_a_context_that_is_none(http: httpx.Client, context: Any) -> None:
    body = {**entity(1), "@context": context}
    told = refused(http.post(f"{NGSI}/entities", json=body, headers={"Content-Type": "application/ld+json"}), 400)
    assert told["where"].startswith("@context")


# --- what is at a bound is taken, and comes back --------------------------------------------------------------

SOUND = [
    "", "\u0001\u001f\u007f\u2028", "杭州", "\U0001f697", "'; DROP TABLE entity; --", 'a"b\\c', "%s %(x)s ${x} {{x}}",
    "=cmd()|x", "<script>alert(1)</script>", "\\u0000", "x" * MIB, 2**63 - 1, -(2**63), 5e-324, 1.7e308, -0.0, 0.1,
    True, [], {}, [[], {}], {"": {"": 1}}, {'a"b': {"c\\d": [1]}}, nested(30),
]  # fmt: skip
IDS = [
    "urn:x:a%2Fb", "urn:x:a%2fb", "urn:x:a/b", "urn:x:%20", "urn:x:%", "https://example.org/a/b?c=d&e#f", "urn:停车:一",
    "urn:x:a'b", "urn:x:a+b", "urn:x:" + "a" * 2000, "urn:x:..", "urn:x:;:@&=$-_.!~*()",
]  # fmt: skip


@pytest.mark.parametrize("value", SOUND, ids=range(len(SOUND)))
def test_a_value_that_is_odd_and_sound_comes_back(http: httpx.Client, value: Any) -> None:
    number = 3000 + SOUND.index(value)
    assert http.post(f"{NGSI}/entities", json=entity(number, a=prop(value))).status_code == 201
    told = http.get(f"{NGSI}/entities/{entity(number)['id']}").json()["a"]["value"]
    assert (float(told) if isinstance(value, float) else told) == value
    assert isinstance(told, bool) == isinstance(value, bool)
    [history] = http.get(f"{NGSI}/temporal/entities/{entity(number)['id']}").json()["a"]
    assert history["value"] == value


@pytest.mark.parametrize("id_", IDS)
def test_an_id_that_is_odd_and_sound_is_found_under_its_location(http: httpx.Client, id_: str) -> None:
    created = http.post(f"{NGSI}/entities", json={"id": id_, "type": "Odd", "a": 1})
    assert created.status_code == 201, created.text
    location = created.headers["location"]
    assert http.get(location).json()["id"] == id_
    assert [one["id"] for one in http.get(f"{NGSI}/entities", params={"id": id_, "type": "Odd"}).json()] == [id_]
    assert http.get(location.replace("/entities/", "/temporal/entities/")).json()["id"] == id_
    assert http.patch(f"{location}/attrs/a", json={"value": 2}).status_code == 204
    assert http.delete(location).status_code == 204
    assert http.get(location).status_code == 404


# --- afterwards -----------------------------------------------------------------------------------------------

WIDE = {"georel": "intersects", "geometry": "Polygon", "coordinates": "[[[-180,-90],[180,-90],[180,90],[-180,-90]]]"}
SHAPES = {
    "a bow tie": place("Polygon", [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]),
    "a hole outside": place("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 0]], [[5, 5], [6, 5], [6, 6], [5, 5]]]),
    "one point twice": place("MultiPoint", [[0, 0], [0, 0]]),
    "one area twice": place("MultiPolygon", [[[[0, 0], [2, 0], [2, 2], [0, 0]]]] * 2),
    "heights here and there": place("Polygon", [[[0, 0], [1, 1, 5], [1, 0], [0, 0]]]),
    "a point": place("Point", [0.5, 0.5, -20]),
    "a line there and back": place("LineString", [[0, 0], [1, 1], [0, 0]]),
}


def test_shapes_that_are_odd_and_sound_can_be_asked_about(http: httpx.Client) -> None:
    for n, shape in enumerate(SHAPES.values()):
        assert (
            http.post(f"{NGSI}/entities", json={**entity(40 + n), "type": "Odd", "location": shape}).status_code == 201
        )
    relations = ["within", "contains", "intersects", "equals", "disjoint", "overlaps"]
    relations += ["near;maxDistance==100000", "near;minDistance==10", "near;maxDistance==1e308"]
    for relation, shape in itertools.product(relations, SHAPES.values()):
        value = shape["value"]
        params = {"georel": relation, "geometry": value["type"], "coordinates": json.dumps(value["coordinates"])}
        answer = http.get(f"{NGSI}/entities", params={"type": "Odd", **params})
        assert answer.status_code == 200, (relation, value, answer.text)


@pytest.mark.parametrize(
    "asked",
    [
        {"local": "true"},
        {"local": "true", "options": "concise,sysAttrs"},
        {"q": "a>0|a<0|a==1,2,x,true|a~=x.*|a!=5|a[b]==1|a[b.c]>1|!a"},
        {"q": 'a=="a".."z"|a.unitCode=="CEL"|a.observedAt>1990-01-01T00:00:00Z'},
        {"q": "|".join(f"a~=.*{n}.*" for n in range(60))},
        {"q": "a!=" + ",".join(map(str, range(200)))},
        {"attrs": ",".join(f"a{n}" for n in range(100))},
        {"type": "(" + ";".join(f"T{n}" for n in range(100)) + ")"},
        {"type": ",".join(f"T{n}" for n in range(100))},
        {"idPattern": r"^urn:.*[^0-9]?\d{1,255}$", "type": "*"},
        {"scopeQ": ",".join(f"/a{n}" for n in range(100)), "type": "*"},
        WIDE,
    ],
)
def test_nothing_that_was_taken_breaks_a_later_question(http: httpx.Client, asked: dict[str, str]) -> None:
    seen, offset = 0, 0
    while True:
        page = {"limit": "1000", "offset": str(offset), "count": "true", **asked}
        answer = http.get(f"{NGSI}/entities", params=page)
        assert answer.status_code == 200, answer.text
        seen, offset = seen + len(answer.json()), offset + 1000
        if "next" not in answer.links:
            break
    assert seen == int(answer.headers["ngsild-results-count"])


def test_nothing_that_was_taken_breaks_a_history(http: httpx.Client) -> None:
    for form in ("normalized", "temporalValues", "aggregatedValues"):
        how = {"format": form} if form != "normalized" else {}
        methods = {"aggrMethods": "totalCount,max"} if form == "aggregatedValues" else {}
        times = {"timerel": "after", "timeAt": "0001-01-01T00:00:00Z"}
        answer = http.get(
            f"{NGSI}/temporal/entities", params={"local": "true", "limit": "1000", **times, **how, **methods}
        )
        assert answer.status_code == 200, answer.text
