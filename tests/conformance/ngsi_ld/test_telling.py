"""Subscribers of a running Hutong: told over HTTP, counted, and never told into the operator's own network."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver import Receiver
from tests.server import PATIENCE_S, Server

THING = "urn:ngsi-ld:Meter:1"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("told") / "data", "--open") as server:
        yield server


@pytest.fixture
def http(server: Server, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client in a tenant of its own."""
    tenant = "t" + str(abs(hash(request.node.nodeid)))
    headers = {"NGSILD-Tenant": tenant}
    with httpx.Client(base_url=f"{server.url}/ngsi-ld/v1", headers=headers, trust_env=False) as client:
        yield client


def subscribe(http: httpx.Client, url: str, status: int = 201, **members: Any) -> dict[str, Any]:
    endpoint = {"uri": url, **members.pop("endpoint", {})}
    wire = {"id": "urn:s:1", "type": "Subscription", "entities": [{"type": "Meter"}]}
    answer = http.post("/subscriptions", json={**wire, "notification": {"endpoint": endpoint}, **members})
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json() if answer.content else {}
    return told


def count(http: httpx.Client, value: int) -> None:
    entity = {"id": THING, "type": "Meter", "count": {"type": "Property", "value": value}}
    answer = http.post("/entityOperations/upsert", params={"options": "update"}, json=[entity])
    assert answer.is_success, answer.text


def fared(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/subscriptions/urn:s:1").json()["notification"]
    return found


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def arrived(receiver: Receiver, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Head and body of what came under a path."""
    pairs = zip(list(receiver.arrived), receiver.headers, receiver.notifications, strict=False)
    return [(head, body) for (_, at, _), head, body in pairs if at == path]


def test_a_subscriber_is_told_with_headers_tenant_and_context(http: httpx.Client, receiver: Receiver) -> None:
    subscribe(http, f"{receiver.url}/told", endpoint={"receiverInfo": [{"key": "X-Key", "value": "k"}]})
    count(http, 1)
    count(http, 2)
    wait(lambda: len(arrived(receiver, "/told")) == 2)
    assert [body["data"][0]["count"]["value"] for _, body in arrived(receiver, "/told")] == [1, 2]
    head = arrived(receiver, "/told")[0][0].lower()
    assert "x-key: k" in head
    assert f"ngsild-tenant: {http.headers['ngsild-tenant']}" in head
    assert "json-ld#context" in head
    assert (fared(http)["status"], fared(http)["timesSent"]) == ("ok", 2)


def test_counters_and_what_waits_survive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    server = Server(tmp_path / "data", "--open")
    server.start()
    base = f"{server.url}/ngsi-ld/v1"
    with httpx.Client(base_url=base, trust_env=False) as http:
        subscribe(http, f"{receiver.url}/again")
        count(http, 1)
        wait(lambda: fared(http).get("timesSent") == 1)
        receiver.status = "503 Busy"
        count(http, 2)
        wait(lambda: fared(http).get("status") == "failed")
    server.kill()
    receiver.status = "200 OK"
    server.start()
    with httpx.Client(base_url=base, trust_env=False) as http:
        wait(lambda: len(arrived(receiver, "/again")) == 2)
        wait(lambda: fared(http)["status"] == "ok")
        assert fared(http)["timesFailed"] >= 1
        assert fared(http)["lastFailure"]
    server.stop()


def test_a_paused_one_hears_nothing_until_it_goes_on(http: httpx.Client, receiver: Receiver) -> None:
    subscribe(http, f"{receiver.url}/paused")
    assert http.patch("/subscriptions/urn:s:1", json={"isActive": False}).status_code == 204
    count(http, 1)
    assert http.patch("/subscriptions/urn:s:1", json={"isActive": True}).status_code == 204
    count(http, 2)
    wait(lambda: bool(arrived(receiver, "/paused")))
    assert [body["data"][0]["count"]["value"] for _, body in arrived(receiver, "/paused")] == [2]


def test_an_inline_context_is_kept_for_receivers(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = {"uri": f"{receiver.url}/inline"}
    wire = {
        "id": "urn:s:1",
        "type": "Subscription",
        "entities": [{"type": "Meter"}],
        "notification": {"endpoint": endpoint},
        "@context": [{"Meter": "https://example.org/Meter", "count": "https://example.org/count"}],
    }
    headers = {"Content-Type": "application/ld+json"}
    assert http.post("/subscriptions", json=wire, headers=headers).status_code == 201
    entity = {"id": THING, "type": "Meter", "count": {"type": "Property", "value": 1}, "@context": wire["@context"]}
    assert http.post("/entities", json=entity, headers=headers).status_code == 201
    wait(lambda: bool(arrived(receiver, "/inline")))
    head, body = arrived(receiver, "/inline")[0]
    assert body["data"][0]["count"]["value"] == 1
    link = next(line for line in head.split("\r\n") if line.lower().startswith("link:"))
    address = link.partition("<")[2].partition(">")[0]
    kept = httpx.get(address, headers={"NGSILD-Tenant": http.headers["ngsild-tenant"]}, trust_env=False)
    assert "https://example.org/count" in kept.text


def test_lists_are_paged_and_counted(http: httpx.Client) -> None:
    for number in range(3):
        subscribe(http, "http://127.0.0.1:9/n", id=f"urn:s:{number}")
    page = http.get("/subscriptions", params={"limit": 2, "offset": 1, "count": "true"})
    assert [one["id"] for one in page.json()] == ["urn:s:1", "urn:s:2"]
    assert page.headers["ngsild-results-count"] == "3"
    assert 'rel="prev"' in page.headers["link"]
    assert http.get("/subscriptions", params={"limit": 0}).status_code == 400
    assert http.get("/subscriptions", params={"other": 1}).status_code == 400
    system = http.get("/subscriptions/urn:s:1", params={"options": "sysAttrs"}).json()
    assert {"createdAt", "modifiedAt"} <= system.keys()


def test_an_id_is_taken_once_and_gone_after_its_deletion(http: httpx.Client) -> None:
    subscribe(http, "http://127.0.0.1:9/n")
    subscribe(http, "http://127.0.0.1:9/n", status=409)
    assert http.delete("/subscriptions/urn:s:1").status_code == 204
    assert http.delete("/subscriptions/urn:s:1").status_code == 404
    assert http.patch("/subscriptions/urn:s:1", json={"isActive": True}).status_code == 404
    made = http.post(
        "/subscriptions",
        json={
            "type": "Subscription",
            "entities": [{"type": "*"}],
            "notification": {"endpoint": {"uri": "http://127.0.0.1:9"}},
        },
    )
    assert made.headers["location"].startswith("/ngsi-ld/v1/subscriptions/urn:")


def test_nobody_is_told_into_the_operators_own_network(http: httpx.Client) -> None:
    for address in ("http://10.0.0.1/n", "http://169.254.169.254/latest", "http://[fd00::1]/n"):
        told = subscribe(http, address, status=400)
        assert told["where"] == "notification.endpoint.uri"
