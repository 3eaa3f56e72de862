"""The short way answers every request as the long way does.

With an encoded colon in the address it goes the long way.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import Server

ID = "urn:ngsi-ld:Vehicle:1"
SPEED = {"type": "Property", "value": 55, "observedAt": "2026-05-01T10:00:00Z", "unitCode": "KMH"}
JSON = {"Content-Type": "application/json"}
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"
LINK = {"Link": f'<{CORE}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        Server(tmp_path_factory.mktemp("city") / "data", "--open") as server,
        httpx.Client(base_url=f"{server.url}/ngsi-ld/v1", trust_env=False) as client,
    ):
        for tenant in ("short", "long"):
            made = client.post(
                "/entities",
                json={"id": ID, "type": "Vehicle", "speed": SPEED, "brand": {"type": "Property", "value": "x" * 800}},
                headers={"NGSILD-Tenant": tenant},
            )
            assert made.status_code == 201
        yield client


def both(
    http: httpx.Client, method: str, path: str, headers: dict[str, str], **sent: Any
) -> tuple[httpx.Response, httpx.Response]:
    """The answers of both ways, each to a tenant of its own, so that neither sees what the other did."""
    ways = (("short", path), ("long", path.replace(":", "%3A", 1)))
    short, long = (
        http.request(method, way, headers={"Accept-Encoding": "identity", **headers, "NGSILD-Tenant": tenant}, **sent)
        for tenant, way in ways
    )
    return short, long


def assert_same(short: httpx.Response, long: httpx.Response, status: int) -> None:
    assert short.status_code == long.status_code == status, (short.text, long.text)
    assert short.text == long.text.replace("%3A", ":")
    told = [
        {name: value for name, value in one.headers.items() if name not in ("connection", "date", "ngsild-tenant")}
        for one in (short, long)
    ]
    assert told[0] == told[1]
    assert (short.headers.get("ngsild-tenant"), long.headers.get("ngsild-tenant")) == ("short", "long")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/entities/{ID}", {}, 200),
        (f"/entities/{ID}?attrs=speed&options=keyValues", {}, 200),
        (f"/entities/{ID}", {"Accept": "application/ld+json"}, 200),
        (f"/entities/{ID}", {"Accept": "application/geo+json"}, 200),
        (f"/entities/{ID}", LINK, 200),
        (f"/entities/{ID}", {"Accept": "text/plain"}, 406),
        (f"/entities/{ID}?nonsense=1", {}, 400),
        (f"/entities/{ID}?attrs=none", {}, 404),
        ("/entities/urn:ngsi-ld:Vehicle:none", {}, 404),
        ("/entities/no:uri<", {}, 400),
    ],
)
def test_reading(http: httpx.Client, path: str, headers: dict[str, str], status: int) -> None:
    assert_same(*both(http, "GET", path, headers), status)


def test_head(http: httpx.Client) -> None:
    assert_same(*both(http, "HEAD", f"/entities/{ID}", {}), 200)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ('{"speed": {"type": "Property", "value": 56, "observedAt": "2026-05-01T10:01:00Z"}}', JSON, 204),
        ('{"speed": {"type": "Property"}}', JSON, 400),
        ('{"speed": ', JSON, 400),
        ("", JSON, 400),
        ('{"speed": 1}', {"Content-Type": "text/plain"}, 415),
        ('{"@context": "https://example.org/none", "speed": 1}', {"Content-Type": "application/ld+json"}, 504),
        ('{"speed": 1}', {**JSON, "NGSILD-Tenant": "no tenant!"}, 400),
    ],
)
def test_writing(http: httpx.Client, method: str, content: str, headers: dict[str, str], status: int) -> None:
    if "NGSILD-Tenant" in headers:
        ways = [
            http.request(method, f"/entities/{one}/attrs", content=content, headers=headers)
            for one in (ID, ID.replace(":", "%3A", 1))
        ]
        assert [one.status_code for one in ways] == [status, status]
        assert ways[0].text == ways[1].text
        return
    assert_same(*both(http, method, f"/entities/{ID}/attrs", headers, content=content), status)


def test_a_body_over_its_bound_goes_the_long_way(http: httpx.Client) -> None:
    huge = b'{"brand": {"type": "Property", "value": "' + b"x" * (17 << 20) + b'"}}'
    assert_same(*both(http, "PATCH", f"/entities/{ID}/attrs", JSON, content=huge), 413)


def test_what_was_written_is_read(http: httpx.Client) -> None:
    change = {"speed": {"type": "Property", "value": 91, "observedAt": "2026-05-01T11:00:00Z"}}
    both(http, "PATCH", f"/entities/{ID}/attrs", JSON, json=change)
    short, long = both(http, "GET", f"/entities/{ID}", {})
    assert short.json()["speed"]["value"] == long.json()["speed"]["value"] == 91
