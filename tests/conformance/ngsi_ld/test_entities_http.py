"""Entities over HTTP beyond the plain: linked ones, scopes, expiry, discovery, purge, tenants."""

from typing import Any

import httpx
import pytest

from hutong.standards.ngsi_ld.errors import ERRORS


def create(http: httpx.Client, number: str = "1", **attributes: Any) -> str:
    entity_id = f"urn:ngsi-ld:Vehicle:{number}"
    reply = http.post("/entities", json={"id": entity_id, "type": "Vehicle", "speed": 55, **attributes})
    assert reply.status_code == 201, reply.text
    return entity_id


def retrieve(http: httpx.Client, entity_id: str, **params: str) -> Any:
    reply = http.get(f"/entities/{entity_id}", params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


def fails(reply: httpx.Response, status: int, name: str) -> None:
    assert (reply.status_code, reply.json()["type"]) == (status, ERRORS + name), reply.text


# --- linked entities ------------------------------------------------------------------------------------------


@pytest.fixture
def family(http: httpx.Client) -> httpx.Client:
    """Vehicle 1 -> 2 -> 3 -> 1, and a list of both others in the first."""
    for name, to in (("1", "2"), ("2", "3"), ("3", "1")):
        follows = {"type": "Relationship", "object": f"urn:ngsi-ld:Vehicle:{to}"}
        create(http, name, follows=follows, name=name)
    both = [f"urn:ngsi-ld:Vehicle:{name}" for name in "29"]
    reply = http.post(
        "/entities/urn:ngsi-ld:Vehicle:1/attrs", json={"all": {"type": "ListRelationship", "objectList": both}}
    )
    assert reply.status_code == 204
    return http


def test_linked_entities_stand_inside_as_deep_as_asked_and_never_in_themselves(family: httpx.Client) -> None:
    told = retrieve(family, "urn:ngsi-ld:Vehicle:1", join="inline", joinLevel="8")
    second = told["follows"]["entity"]
    assert second["name"]["value"] == "2"
    assert second["follows"]["entity"]["follows"] == {"type": "Relationship", "object": "urn:ngsi-ld:Vehicle:1"}
    assert [one["id"] for one in told["all"]["entityList"]] == ["urn:ngsi-ld:Vehicle:2"]
    once = retrieve(family, "urn:ngsi-ld:Vehicle:1", join="inline")
    assert "entity" not in once["follows"]["entity"]["follows"]
    contained = retrieve(family, "urn:ngsi-ld:Vehicle:1", join="inline", containedBy="urn:ngsi-ld:Vehicle:2")
    assert "entity" not in contained["follows"]


def test_linked_entities_follow_flat_each_once(family: httpx.Client) -> None:
    reply = family.get("/entities", params={"type": "Vehicle", "q": 'name=="1"', "join": "flat", "joinLevel": "5"})
    assert [one["name"]["value"] for one in reply.json()] == ["1", "2", "3"]
    alone = retrieve(family, "urn:ngsi-ld:Vehicle:1", join="flat", pick="id,name")
    assert alone == {"id": "urn:ngsi-ld:Vehicle:1", "name": {"type": "Property", "value": "1"}}


def test_linked_entities_in_other_representations(family: httpx.Client) -> None:
    params = {"join": "inline", "options": "keyValues", "pick": "id,follows{name},all{id}"}
    told = retrieve(family, "urn:ngsi-ld:Vehicle:1", **params)
    assert told["follows"] == {"name": "2"}
    assert told["all"] == [{"id": "urn:ngsi-ld:Vehicle:2"}, "urn:ngsi-ld:Vehicle:9"]
    reply = family.get(
        "/entities", params={"type": "Vehicle", "join": "inline"}, headers={"Accept": "application/geo+json"}
    )
    feature = reply.json()["features"][0]
    assert feature["properties"]["follows"]["entity"]["id"] == "urn:ngsi-ld:Vehicle:2"


def test_what_is_missing_in_an_address_is_bad_request_data(http: httpx.Client) -> None:
    fails(http.request("PATCH", f"{http.base_url}entities/", json={}), 400, "BadRequestData")
    fails(http.post(f"{http.base_url}entities//attrs", json={"a": 1}), 400, "BadRequestData")
    fails(http.delete(f"{http.base_url}entities//attrs/a"), 400, "BadRequestData")


def test_scopes_are_appended_replaced_or_left_out(http: httpx.Client) -> None:
    bare, scoped = create(http, "bare"), create(http, "scoped", scope="/a")
    assert http.post(f"/entities/{scoped}/attrs?options=noOverwrite", json={"scope": "/b"}).status_code == 204
    assert retrieve(http, scoped)["scope"] == ["/a", "/b"]
    assert http.patch(f"/entities/{scoped}/attrs/", json={"scope": "/c"}).status_code == 204
    assert retrieve(http, scoped)["scope"] == "/c"
    reply = http.patch(f"/entities/{bare}/attrs", json={"scope": "/c", "speed": 5})
    assert (reply.status_code, [one["attributeName"] for one in reply.json()["notUpdated"]]) == (
        207,
        ["https://uri.etsi.org/ngsi-ld/scope"],
    )
    assert "scope" not in retrieve(http, bare)
    assert len(http.get("/entities?type=Vehicle&scopeQ=/c;/c,/d").json()) == 1


def test_types_and_attributes_in_use_are_told(http: httpx.Client) -> None:
    speeds = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]
    create(http, "1", speed=speeds, follows={"type": "Relationship", "object": "urn:x:1"})
    http.post("/entities", json={"id": "urn:x:2", "type": ["Vehicle", "Bus"], "name": "No 7"}).raise_for_status()
    assert http.get("/types").json()["typeList"] == ["Bus", "Vehicle"]
    details = {one["typeName"]: one["attributeNames"] for one in http.get("/types?details=true").json()}
    assert details == {"Bus": ["name"], "Vehicle": ["follows", "name", "speed"]}
    vehicle = http.get("/types/Vehicle").json()
    kinds = {one["attributeName"]: one["attributeTypes"] for one in vehicle["attributeDetails"]}
    assert (vehicle["entityCount"], kinds) == (
        2,
        {"follows": ["Relationship"], "name": ["Property"], "speed": ["Property"]},
    )
    assert http.get("/attributes").json()["attributeList"] == ["follows", "name", "speed"]
    by_name = {one["attributeName"]: one["typeNames"] for one in http.get("/attributes?details=true").json()}
    assert by_name["name"] == ["Bus", "Vehicle"]
    speed = http.get("/attributes/speed").json()
    assert (speed["attributeCount"], speed["attributeTypes"], speed["typeNames"]) == (2, ["Property"], ["Vehicle"])
    fails(http.get("/types/Train"), 404, "ResourceNotFound")
    fails(http.get("/attributes/none"), 404, "ResourceNotFound")
