"""The HTTP binding (clause 6) of a running Hutong, operation by operation."""

from typing import Any

import httpx
import pytest

from hutong.standards.ngsi_ld.core_context import CORE_URL
from hutong.standards.ngsi_ld.errors import ERRORS
from hutong.standards.ngsi_ld.headers import CONTEXT_REL

NULL = "urn:ngsi-ld:null"
AT, LATER = "2026-05-01T10:00:00Z", "2026-05-01T10:05:00Z"
POINT = {"type": "Point", "coordinates": [120.15, 30.28]}
SPEED = {"type": "Property", "value": 55, "observedAt": AT, "unitCode": "KMH"}


def create(http: httpx.Client, name: str = "1", **attributes: Any) -> str:
    entity_id = f"urn:ngsi-ld:Vehicle:{name}"
    reply = http.post("/entities", json={"id": entity_id, "type": "Vehicle", "speed": SPEED, **attributes})
    assert reply.status_code == 201, reply.text
    assert reply.content == b""
    assert reply.headers["location"] == f"/ngsi-ld/v1/entities/{entity_id}"
    return entity_id


def retrieve(http: httpx.Client, entity_id: str, **params: str) -> dict[str, Any]:
    reply = http.get(f"/entities/{entity_id}", params=params)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def fails(reply: httpx.Response, status: int, name: str, where: str | None = None) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    told: dict[str, Any] = reply.json()
    assert told["type"] == ERRORS + name
    assert told["title"]
    assert told["detail"]
    assert where is None or told.get("where", "") == where
    return told


# --- one entity -----------------------------------------------------------------------------------------------


def test_an_entity_is_created_and_retrieved(http: httpx.Client) -> None:
    entity_id = create(http, location=POINT)
    reply = http.get(f"/entities/{entity_id}")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["link"] == f'<{CORE_URL}>; rel="{CONTEXT_REL}"; type="application/ld+json"'
    assert reply.headers["ngsild-tenant"] == http.headers["ngsild-tenant"]
    assert reply.json() == {
        "id": entity_id,
        "type": "Vehicle",
        "speed": SPEED,
        "location": {"type": "GeoProperty", "value": POINT},
    }
    fails(http.post("/entities", json={"id": entity_id, "type": "Vehicle"}), 409, "AlreadyExists")


def test_representations_of_an_entity(http: httpx.Client) -> None:
    entity_id = create(http, location=POINT)
    assert retrieve(http, entity_id, options="keyValues") == {
        "id": entity_id, "type": "Vehicle", "speed": 55, "location": POINT}  # fmt: skip
    assert retrieve(http, entity_id, format="concise", pick="speed") == {
        "speed": {"value": 55, "observedAt": AT, "unitCode": "KMH"}}  # fmt: skip
    assert {"createdAt", "modifiedAt"} <= set(retrieve(http, entity_id, options="sysAttrs")["speed"])
    with_context = http.get(f"/entities/{entity_id}", headers={"Accept": "application/ld+json"})
    assert with_context.json()["@context"] == CORE_URL
    assert "link" not in with_context.headers
    feature = http.get(f"/entities/{entity_id}", headers={"Accept": "application/geo+json"}).json()
    assert (feature["type"], feature["geometry"], feature["@context"]) == ("Feature", POINT, CORE_URL)
    bare = http.get(f"/entities/{entity_id}", headers={"Accept": "application/geo+json", "Prefer": "body=json"})
    assert "@context" not in bare.json()
    assert CORE_URL in bare.headers["link"]


def test_a_users_context_decides_what_names_mean(http: httpx.Client) -> None:
    body = {
        "id": "urn:ngsi-ld:Vehicle:ld",
        "type": "Vehicle",
        "speed": 5,
        "@context": {"Vehicle": "https://example.org/Vehicle", "speed": "https://example.org/speed"},
    }
    headers = {"Content-Type": "application/ld+json"}
    assert http.post("/entities", json=body, headers=headers).status_code == 201
    told = retrieve(http, "urn:ngsi-ld:Vehicle:ld")
    assert (told["type"], set(told)) == ("https://example.org/Vehicle", {"id", "type", "https://example.org/speed"})
    assert http.get("/entities", params={"type": "Vehicle"}).json() == []
    assert len(http.get("/entities", params={"type": "https://example.org/Vehicle"}).json()) == 1


def test_what_is_not_there_is_not_found(http: httpx.Client) -> None:
    entity_id = create(http)
    fails(http.get("/entities/urn:ngsi-ld:Vehicle:none"), 404, "ResourceNotFound")
    fails(http.get(f"/entities/{entity_id}", params={"attrs": "none"}), 404, "ResourceNotFound")
    fails(http.get(f"/entities/{entity_id}", params={"type": "Building"}), 404, "ResourceNotFound")
    fails(http.delete("/entities/urn:ngsi-ld:Vehicle:none"), 404, "ResourceNotFound")
    fails(http.put("/entities/urn:ngsi-ld:Vehicle:none", json={"type": "V"}), 404, "ResourceNotFound")
    fails(http.get("/entities/nope"), 400, "BadRequestData")


def test_an_entity_is_replaced(http: httpx.Client) -> None:
    entity_id = create(http, name="A")
    assert http.put(f"/entities/{entity_id}", json={"type": "Vehicle", "fuel": 7}).status_code == 204
    assert set(retrieve(http, entity_id)) == {"id", "type", "fuel"}


def test_an_entity_is_merged_into(http: httpx.Client) -> None:
    entity_id = create(http, address={"type": "Property", "value": {"street": "北山路", "city": "杭州"}}, gone=1)
    fragment = {
        "speed": {"type": "Property", "value": 60, "observedAt": LATER},
        "address": {"type": "Property", "value": {"street": NULL, "zip": "310000"}},
        "gone": {"type": "Property", "value": NULL},
        "new": {"type": "Relationship", "object": "urn:a:b"},
    }
    headers = {"Content-Type": "application/merge-patch+json"}
    reply = http.patch(f"/entities/{entity_id}", json=fragment, headers=headers)
    assert reply.status_code == 204, reply.text
    assert "content-length" not in reply.headers
    told = retrieve(http, entity_id)
    assert told["speed"] == {"type": "Property", "value": 60, "observedAt": LATER, "unitCode": "KMH"}
    assert told["address"]["value"] == {"city": "杭州", "zip": "310000"}
    assert "gone" not in told
    assert told["new"]["object"] == "urn:a:b"


def test_a_simplified_merge_keeps_kinds(http: httpx.Client) -> None:
    entity_id = create(http, owner={"type": "Relationship", "object": "urn:a:b"})
    reply = http.patch(f"/entities/{entity_id}", params={"format": "keyValues"}, json={"owner": "urn:c:d", "n": 1})
    assert reply.status_code == 204, reply.text
    told = retrieve(http, entity_id)
    assert told["owner"] == {"type": "Relationship", "object": "urn:c:d"}
    assert told["n"] == {"type": "Property", "value": 1}


def test_a_merge_cannot_add_an_attribute_without_a_value(http: httpx.Client) -> None:
    entity_id = create(http)
    fails(http.patch(f"/entities/{entity_id}", json={"new": {"observedAt": AT}}), 400, "BadRequestData", "new")
    assert "new" not in retrieve(http, entity_id)


def test_an_entity_is_deleted(http: httpx.Client) -> None:
    entity_id = create(http)
    assert http.delete(f"/entities/{entity_id}").status_code == 204
    fails(http.get(f"/entities/{entity_id}"), 404, "ResourceNotFound")


def test_tenants_do_not_see_one_another(http: httpx.Client) -> None:
    entity_id = create(http)
    other = {"NGSILD-Tenant": "another"}
    assert http.get(f"/entities/{entity_id}", headers=other).status_code == 404
    fails(http.get(f"/entities/{entity_id}", headers={"NGSILD-Tenant": "a b"}), 400, "BadRequestData")


# --- attributes -----------------------------------------------------------------------------------------------


def test_attributes_are_appended(http: httpx.Client) -> None:
    entity_id = create(http)
    attrs = f"/entities/{entity_id}/attrs"
    assert http.post(attrs, json={"fuel": 7, "speed": {"value": 60, "observedAt": LATER}}).status_code == 204
    assert retrieve(http, entity_id, options="keyValues")["speed"] == 60
    kept = http.post(attrs, params={"options": "noOverwrite"}, json={"fuel": 8, "name": "A"})
    assert kept.status_code == 207
    told = kept.json()
    assert told["updated"] == ["https://uri.etsi.org/ngsi-ld/default-context/name"]
    assert [one["attributeName"] for one in told["notUpdated"]] == ["https://uri.etsi.org/ngsi-ld/default-context/fuel"]
    assert retrieve(http, entity_id, options="keyValues")["fuel"] == 7


def test_attributes_are_updated_and_deleted_by_null(http: httpx.Client) -> None:
    entity_id = create(http, fuel=7)
    fragment = {"speed": {"value": 60, "observedAt": LATER}, "fuel": {"type": "Property", "value": NULL}, "name": "A"}
    assert http.patch(f"/entities/{entity_id}/attrs", json=fragment).status_code == 204
    assert set(retrieve(http, entity_id)) == {"id", "type", "speed", "name"}
    assert "unitCode" not in retrieve(http, entity_id)["speed"]


def test_part_of_an_attribute_is_updated(http: httpx.Client) -> None:
    entity_id = create(http)
    attribute = f"/entities/{entity_id}/attrs/speed"
    assert http.patch(attribute, json={"value": 60, "observedAt": LATER}).status_code == 204
    assert retrieve(http, entity_id)["speed"] == {**SPEED, "value": 60, "observedAt": LATER}
    fails(http.patch(attribute, json={"type": "Relationship", "object": "urn:a:b"}), 400, "BadRequestData", "type")
    fails(http.patch(attribute, json={}), 400, "BadRequestData")
    fails(http.patch(f"/entities/{entity_id}/attrs/none", json={"value": 1}), 404, "ResourceNotFound")
    fails(http.patch(f"/entities/{entity_id}/attrs/scope", json={"value": "/a"}), 400, "BadRequestData")


def test_an_attribute_is_replaced(http: httpx.Client) -> None:
    entity_id = create(http)
    attribute = f"/entities/{entity_id}/attrs/speed"
    assert http.put(attribute, json={"type": "Property", "value": 60, "observedAt": LATER}).status_code == 204
    assert retrieve(http, entity_id)["speed"] == {"type": "Property", "value": 60, "observedAt": LATER}
    fails(http.put(f"/entities/{entity_id}/attrs/none", json={"value": 1}), 404, "ResourceNotFound")


def test_attributes_are_deleted_by_dataset(http: httpx.Client) -> None:
    instances = [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}, {"value": 3, "datasetId": "urn:d:2"}]
    entity_id = create(http, n=instances)
    attribute = f"/entities/{entity_id}/attrs/n"
    assert http.delete(attribute, params={"datasetId": "urn:d:1"}).status_code == 204
    assert retrieve(http, entity_id, options="keyValues")["n"] == {"dataset": {"@none": 1, "urn:d:2": 3}}
    fails(http.delete(attribute, params={"datasetId": "urn:d:1"}), 404, "ResourceNotFound")
    assert http.delete(attribute, params={"deleteAll": "true"}).status_code == 204
    assert "n" not in retrieve(http, entity_id)


# --- batches --------------------------------------------------------------------------------------------------


def batch(*names: str, **attributes: Any) -> list[dict[str, Any]]:
    return [{"id": f"urn:ngsi-ld:Vehicle:{name}", "type": "Vehicle", **attributes} for name in names]


def test_a_batch_is_created_and_good_neighbours_are_stored(http: httpx.Client) -> None:
    reply = http.post("/entityOperations/create", json=batch("a", "b"))
    assert (reply.status_code, reply.json()) == (201, ["urn:ngsi-ld:Vehicle:a", "urn:ngsi-ld:Vehicle:b"])
    bad = {**batch("d")[0], "speed": {"value": 1, "observedAt": "noon"}}
    reply = http.post("/entityOperations/create", json=[*batch("a", "c"), bad, *batch("e", "c")])
    assert reply.status_code == 207
    told = reply.json()
    assert told["success"] == ["urn:ngsi-ld:Vehicle:c", "urn:ngsi-ld:Vehicle:e"]
    errors = {(one["entityId"], one["error"]["type"].removeprefix(ERRORS)) for one in told["errors"]}
    assert errors == {
        ("urn:ngsi-ld:Vehicle:a", "AlreadyExists"),
        ("urn:ngsi-ld:Vehicle:d", "BadRequestData"),
        ("urn:ngsi-ld:Vehicle:c", "AlreadyExists"),
    }
    assert "[2].speed.observedAt" in {one["error"].get("where") for one in told["errors"]}


def test_a_batch_is_upserted_in_order(http: httpx.Client) -> None:
    reply = http.post("/entityOperations/upsert", json=[*batch("a", speed=1, old=1), *batch("a", speed=2)])
    assert (reply.status_code, reply.json()) == (201, ["urn:ngsi-ld:Vehicle:a"])
    assert retrieve(http, "urn:ngsi-ld:Vehicle:a", options="keyValues") == {
        "id": "urn:ngsi-ld:Vehicle:a", "type": "Vehicle", "speed": 2}  # fmt: skip
    updated = http.post("/entityOperations/upsert", params={"options": "update"}, json=batch("a", fuel=3))
    assert (updated.status_code, updated.content) == (204, b"")
    assert set(retrieve(http, "urn:ngsi-ld:Vehicle:a")) == {"id", "type", "speed", "fuel"}


def test_batches_of_updates_merges_and_deletions(http: httpx.Client) -> None:
    create(http, "a", address={"type": "Property", "value": {"street": "x", "zip": "1"}})
    assert http.post("/entityOperations/update", json=batch("a", fuel=1)).status_code == 204
    assert http.post("/entityOperations/update", json=batch("none", fuel=1)).status_code == 207
    merged = batch("a", address={"type": "Property", "value": {"zip": NULL}})
    assert http.post("/entityOperations/merge", json=merged).status_code == 204
    assert retrieve(http, "urn:ngsi-ld:Vehicle:a")["address"]["value"] == {"street": "x"}
    ids = ["urn:ngsi-ld:Vehicle:a", "urn:ngsi-ld:Vehicle:none"]
    reply = http.post("/entityOperations/delete", json=ids)
    assert (reply.status_code, reply.json()["success"]) == (207, ids[:1])
    assert reply.json()["errors"][0]["entityId"] == ids[1]


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge", "delete"])
def test_batches_at_fault_as_a_whole(http: httpx.Client, operation: str) -> None:
    url = f"/entityOperations/{operation}"
    fails(http.post(url, json=[]), 400, "BadRequestData")
    fails(http.post(url, json=[*batch("a"), None]), 400, "BadRequestData", "[1]")
    fails(http.post(url, json={}), 400, "BadRequestData")
    fails(http.post(url, json=batch(*map(str, range(1001)))), 413, "InvalidRequest")
    json = {"Content-Type": "application/json"}
    fails(http.post(url, content=b"[{]", headers=json), 400, "InvalidRequest")


# --- questions ------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(http: httpx.Client) -> httpx.Client:
    for i in range(5):
        place = {"type": "Point", "coordinates": [120.0 + i, 30.0]}
        create(http, str(i), speed={"value": i * 10, "observedAt": f"2026-05-01T10:0{i}:00Z"}, location=place)
    return http


def found(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [one["id"].rpartition(":")[2] for one in reply.json()]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"type": "Vehicle"}, "01234"),
        ({"type": "Building,Vehicle", "q": "speed>10"}, "234"),
        ({"type": "Building"}, ""),
        ({"q": "speed==10..30"}, "123"),
        ({"q": "speed<10|speed>=40"}, "04"),
        ({"q": "speed.observedAt>=2026-05-01T10:03:00Z"}, "34"),
        ({"type": "Vehicle", "idPattern": ".*:[12]$"}, "12"),
        ({"type": "Vehicle", "id": "urn:ngsi-ld:Vehicle:3,urn:ngsi-ld:Vehicle:9"}, "3"),
        ({"attrs": "speed"}, "01234"),
        ({"attrs": "none"}, ""),
        ({"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[121.0,30.0]"}, "1"),
        ({"local": "true"}, "01234"),
    ],
)
def test_entities_are_found(fleet: httpx.Client, params: dict[str, str], expected: str) -> None:
    assert "".join(found(fleet.get("/entities", params=params))) == expected


def test_pages_follow_one_another(fleet: httpx.Client) -> None:
    page = fleet.get("/entities", params={"type": "Vehicle", "limit": "2", "count": "true"})
    seen = found(page)
    assert page.headers["ngsild-results-count"] == "5"
    assert "prev" not in page.links
    while "next" in page.links:
        page = fleet.get(page.links["next"]["url"].removeprefix("/ngsi-ld/v1"))
        assert "prev" in page.links
        seen += found(page)
    assert "".join(seen) == "01234"
    none = fleet.get("/entities", params={"type": "Vehicle", "limit": "0", "count": "true"})
    assert (none.json(), none.headers["ngsild-results-count"]) == ([], "5")


def test_a_question_in_a_body(fleet: httpx.Client) -> None:
    body = {"type": "Query", "entities": [{"type": "Vehicle"}], "q": "speed>20", "pick": ["id", "speed"]}
    reply = fleet.post("/entityOperations/query", json=body, params={"options": "keyValues", "limit": "1"})
    assert reply.json() == [{"id": "urn:ngsi-ld:Vehicle:3", "speed": 30}]
    assert "next" in reply.links


def test_a_feature_collection(fleet: httpx.Client) -> None:
    reply = fleet.get("/entities", params={"type": "Vehicle"}, headers={"Accept": "application/geo+json"})
    told = reply.json()
    assert (told["type"], len(told["features"]), told["@context"]) == ("FeatureCollection", 5, CORE_URL)
    assert reply.headers["content-type"] == "application/geo+json"


def test_types_in_use(fleet: httpx.Client) -> None:
    assert fleet.get("/types").json()["typeList"] == ["Vehicle"]
    [details] = fleet.get("/types", params={"details": "true"}).json()
    assert (details["id"], details["typeName"]) == ("https://uri.etsi.org/ngsi-ld/default-context/Vehicle", "Vehicle")


# --- time -----------------------------------------------------------------------------------------------------


def test_history_is_retrieved(http: httpx.Client) -> None:
    entity_id = create(http)
    for minute in range(1, 4):
        fragment = {"value": 55 + minute, "observedAt": f"2026-05-01T10:0{minute}:00Z"}
        assert http.patch(f"/entities/{entity_id}/attrs/speed", json=fragment).status_code == 204
    url = f"/temporal/entities/{entity_id}"
    speed = http.get(url).json()["speed"]
    assert [(one["value"], one["observedAt"]) for one in speed] == [
        (55 + minute, f"2026-05-01T10:0{minute}:00Z") for minute in range(4)
    ]
    between = {"timerel": "between", "timeAt": "2026-05-01T10:01:00Z", "endTimeAt": "2026-05-01T10:03:00Z"}
    assert [one["value"] for one in http.get(url, params=between).json()["speed"]] == [56, 57]
    last = http.get(url, params={"lastN": "1", "format": "temporalValues"}).json()
    assert last["speed"] == {"type": "Property", "values": [[58, "2026-05-01T10:03:00Z"]]}
    whole = {"timerel": "after", "timeAt": AT, "format": "aggregatedValues", "aggrMethods": "avg,max,totalCount"}
    hourly = http.get(url, params={**whole, "aggrPeriodDuration": "PT1H"}).json()["speed"]
    assert hourly == {
        "type": "Property",
        "avg": [[56.5, AT, "2026-05-01T11:00:00Z"]],
        "max": [[58.0, AT, "2026-05-01T11:00:00Z"]],
        "totalCount": [[4, AT, "2026-05-01T11:00:00Z"]],
    }
    fails(http.get(url, params={"attrs": "none"}), 404, "ResourceNotFound")
    fails(http.get(url, params={"timerel": "after"}), 400, "BadRequestData", "timeAt")
    fails(http.get("/temporal/entities/urn:ngsi-ld:Vehicle:none"), 404, "ResourceNotFound")


def test_histories_are_queried(fleet: httpx.Client) -> None:
    after = {"timerel": "after", "timeAt": "2026-05-01T10:03:00Z"}
    reply = fleet.get("/temporal/entities", params={"type": "Vehicle", "attrs": "speed", **after})
    assert found(reply) == ["3", "4"]
    body = {"type": "Query", "entities": [{"type": "Vehicle"}], "attrs": ["speed"], "temporalQ": after}
    assert found(fleet.post("/temporal/entityOperations/query", json=body)) == ["3", "4"]
    fails(fleet.get("/temporal/entities", params={"type": "Vehicle"}), 400, "BadRequestData", "timerel")


# --- bad input ------------------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "name"),
    [
        (b"{", JSON, 400, "InvalidRequest"),
        (b"", JSON, 400, "InvalidRequest"),
        (b'{"id": "urn:a:b", "type": "V", "x": NaN}', JSON, 400, "InvalidRequest"),
        (b'{"id": "urn:a:b", "type": "V", "x": "\xff"}', JSON, 400, "InvalidRequest"),
        (b"[" * 100_000, JSON, 400, "InvalidRequest"),
        (b"5", JSON, 400, "InvalidRequest"),
        (b'{"id": "urn:a:b", "type": "V", "@context": {}}', JSON, 400, "BadRequestData"),
        (b'{"id": "urn:a:b", "type": "V"}', {"Content-Type": "application/ld+json"}, 400, "BadRequestData"),
        (
            b'{"id": "urn:a:b", "type": "V", "@context": "https://nowhere.example/c"}',
            {"Content-Type": "application/ld+json"},
            504,
            "LdContextNotAvailable",
        ),
        (b"x" * (17 * 1024 * 1024), JSON, 413, "InvalidRequest"),
    ],
)
def test_bodies_that_are_refused(
    http: httpx.Client, body: bytes, headers: dict[str, str], status: int, name: str
) -> None:
    fails(http.post("/entities", content=body, headers=headers), status, name)


def test_a_body_of_another_media_type_or_of_unknown_length(http: httpx.Client) -> None:
    other = http.post("/entities", content=b"<a/>", headers={"Content-Type": "application/xml"})
    assert (other.status_code, other.content) == (415, b"")
    chunked = http.post("/entities", content=iter([b"{}"]), headers=JSON)
    assert (chunked.status_code, chunked.content) == (411, b"")


def test_an_entity_that_tells_of_the_future_is_refused_whole(http: httpx.Client) -> None:
    body = {
        "id": "urn:ngsi-ld:Vehicle:f",
        "type": "Vehicle",
        "a": {"value": 1, "observedAt": "2999-01-01T00:00:00Z"},
        "b": 2,
    }
    reply = http.post("/entities", json=body)
    assert reply.status_code == 400
    assert "observed in the future" in reply.json()["detail"]
    assert http.get("/entities/urn:ngsi-ld:Vehicle:f").status_code == 404


@pytest.mark.parametrize(
    ("url", "status", "name"),
    [
        ("/entities", 400, "BadRequestData"),
        ("/entities?type=A&foo=1", 400, "InvalidRequest"),
        ("/entities?type=A&q=a==", 400, "BadRequestData"),
        ("/entities?type=A&limit=5000", 403, "TooManyResults"),
        ("/entities?type=A&entityMap=true", 422, "OperationNotSupported"),
        ("/entities?type=A&q=%FF", 400, "InvalidRequest"),
        ("/entities?" + "&".join(f"a{i}=1" for i in range(200)), 400, "InvalidRequest"),
        ("/types?details=maybe", 400, "BadRequestData"),
    ],
)
def test_questions_that_are_refused(http: httpx.Client, url: str, status: int, name: str) -> None:
    fails(http.get(url), status, name)


def test_what_is_not_acceptable_says_what_there_is(http: httpx.Client) -> None:
    told = fails(http.get("/entities?type=A", headers={"Accept": "application/xml"}), 406, "InvalidRequest")
    assert "application/geo+json" in told["allowed"]
    fails(http.get("/types", headers={"Accept": "application/geo+json"}), 406, "InvalidRequest")


def test_ids_and_names_may_be_urls(http: httpx.Client) -> None:
    body = {"id": "https://example.org/cars/1", "type": "Vehicle", "https://example.org/speed": 5}
    created = http.post("/entities", json=body)
    assert created.status_code == 201
    url = created.headers["location"].removeprefix("/ngsi-ld/v1")
    assert http.get(url).json()["id"] == body["id"]
    attribute = f"{url}/attrs/https%3A%2F%2Fexample.org%2Fspeed"
    assert http.patch(attribute, json={"value": 6}).status_code == 204
    assert http.get(url, params={"options": "keyValues"}).json()["https://example.org/speed"] == 6
    assert http.delete(attribute).status_code == 204


def test_routes_and_methods_that_there_are_not(http: httpx.Client) -> None:
    fails(http.get("/nothing"), 404, "ResourceNotFound")
    refused = http.put("/entities", json={})
    fails(refused, 405, "OperationNotSupported")
    assert {"GET", "POST"} <= {method.strip() for method in refused.headers["allow"].split(",")}
