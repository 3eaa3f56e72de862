"""@contexts that clients keep here (clauses 5.13, 6.29 and 6.30)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hutong.api import ngsi_ld_contexts
from hutong.kernel.clock import MINUTE, iso
from hutong.standards.ngsi_ld.core_context import CORE_URL
from hutong.standards.ngsi_ld.headers import CONTEXT_REL
from tests.conformance.ngsi_ld.site import Site, site
from tests.conformance.sent import refused

PATH = "/ngsi-ld/v1/jsonldContexts"
ELSEWHERE = "https://elsewhere.example/c.jsonld"
GIVEN = '{"@context": {"weight": "https://example.org/weight"}}'
CONTEXT = {"@context": {"speed": "https://example.org/speed"}}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contexts") / "c.jsonld"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[Site]:
    file.write_text(GIVEN)
    with site(tmp_path_factory.mktemp("city") / "data", [f"{ELSEWHERE}={file}"]) as city:
        yield city


@pytest.fixture
def city(whole: Site, file: Path, request: pytest.FixtureRequest) -> Site:
    """The city in a tenant of the test's own, with nothing cached."""
    file.write_text(GIVEN)
    whole.http.headers["NGSILD-Tenant"] = f"t{abs(hash(request.node.nodeid))}"
    one = f"{PATH}/{quote(ELSEWHERE, safe='')}"
    whole.http.delete(one, params={"reload": "true"})
    whole.http.delete(one)
    return whole


def add(city: Site, context: Any = CONTEXT, **headers: str) -> str:
    answer = city.http.post(PATH, json=context, headers=headers)
    assert (answer.status_code, answer.content) == (201, b""), answer.text
    return str(answer.headers["location"])


def use(city: Site, url: str, name: str, value: int = 1, id: str = "urn:a:1") -> httpx.Response:
    """Create an entity under an @context named in a Link header."""
    link = f'<{url}>; rel="{CONTEXT_REL}"; type="application/ld+json"'
    body = {"id": id, "type": "T", name: {"type": "Property", "value": value}}
    return city.http.post("/ngsi-ld/v1/entities", json=body, headers={"Link": link})


def details(city: Site, location: str) -> dict[str, Any]:
    answer = city.http.get(location, params={"details": "true"})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_kept_context_is_served_as_it_came(city: Site) -> None:
    answer = city.http.get(add(city))
    assert answer.json() == CONTEXT
    assert answer.headers["content-type"] == "application/json"


def test_a_kept_context_gives_names_their_meaning_by_whatever_name_the_server_has(city: Site) -> None:
    location = add(city)
    assert use(city, "http://another.name:9" + location, "speed").status_code == 201
    found = city.http.get("/ngsi-ld/v1/entities/urn:a:1").json()
    assert "https://example.org/speed" in found


def test_details_tell_its_kind_its_age_and_its_use(city: Site) -> None:
    location = add(city)
    now = city.clock.now()
    assert details(city, location) == {
        "URL": "http://city.example" + location,
        "localId": location.rpartition("/")[2],
        "kind": "Hosted",
        "createdAt": iso(now),
        "numberOfHits": 0,
    }
    city.clock.advance(MINUTE)
    use(city, "http://city.example" + location, "speed")
    told = details(city, location)
    assert (told["numberOfHits"], told["lastUsage"]) == (2, iso(now + MINUTE))


def test_a_deleted_context_has_no_meaning_any_more(city: Site) -> None:
    location = add(city)
    use(city, "http://city.example" + location, "speed")
    assert city.http.delete(location).status_code == 204
    refused(city.http.get(location), 404, "ResourceNotFound")
    refused(city.http.delete(location), 404, "ResourceNotFound")
    refused(use(city, "http://city.example" + location, "speed", id="urn:a:2"), 504, "LdContextNotAvailable")


def test_a_context_survives_a_restart(tmp_path: Path) -> None:
    with site(tmp_path / "data") as before:
        location = add(before)
    with site(tmp_path / "data") as after:
        assert after.http.get(location).json() == CONTEXT


def test_tenants_neither_see_nor_delete_one_anothers_contexts(city: Site) -> None:
    location = add(city, **{"NGSILD-Tenant": "a"})
    for headers in ({}, {"NGSILD-Tenant": "b"}):
        refused(city.http.get(location, headers=headers), 404, "ResourceNotFound")
        refused(city.http.delete(location, headers=headers), 404, "ResourceNotFound")
        assert location not in city.http.get(PATH, headers=headers).text
    assert city.http.get(location, headers={"NGSILD-Tenant": "a"}).json() == CONTEXT


def test_what_the_operator_gave_is_cached_once_it_is_used(city: Site, file: Path) -> None:
    one = f"{PATH}/{quote(ELSEWHERE, safe='')}"
    refused(city.http.get(one, params={"details": "true"}), 404, "ResourceNotFound")
    assert use(city, ELSEWHERE, "weight").status_code == 201
    assert details(city, one)["kind"] == "Cached"
    refused(city.http.get(one), 422, "OperationNotSupported")
    file.write_text('{"@context": {"weight": "https://example.org/mass"}}')
    assert use(city, ELSEWHERE, "weight", id="urn:a:2").status_code == 201
    assert city.http.delete(one, params={"reload": "true"}).status_code == 204
    assert use(city, ELSEWHERE, "weight", id="urn:a:3").status_code == 201
    found = city.http.get("/ngsi-ld/v1/entities", params={"type": "T"}).json()
    assert [next(name for name in one if "example.org" in name) for one in found] == [
        "https://example.org/weight",
        "https://example.org/weight",
        "https://example.org/mass",
    ]
    assert city.http.delete(one).status_code == 204
    refused(city.http.delete(one), 404, "ResourceNotFound")


def test_what_cannot_be_read_again_stays_as_it_was(city: Site, file: Path) -> None:
    use(city, ELSEWHERE, "weight")
    file.write_text("no JSON")
    one = f"{PATH}/{quote(ELSEWHERE, safe='')}"
    refused(city.http.delete(one, params={"reload": "true"}), 504, "LdContextNotAvailable")
    assert use(city, ELSEWHERE, "weight", id="urn:a:2").status_code == 201


def test_lists_may_be_limited_to_a_kind(city: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngsi_ld_contexts, "PAGE", 2)
    kept = []
    for _ in range(5):
        kept.append("http://city.example" + add(city))
        city.clock.advance(MINUTE)
    assert city.http.get(PATH).json() == [CORE_URL, *kept]
    assert city.http.get(PATH, params={"kind": "hosted"}).json() == kept
    assert city.http.get(PATH, params={"kind": "Cached"}).json() == [CORE_URL]
    assert city.http.get(PATH, params={"kind": "ImplicitlyCreated", "details": "true"}).json() == []
    for wrong in ({"kind": "other"}, {"details": "perhaps"}):
        refused(city.http.get(PATH, params=wrong), 400, "BadRequestData", *wrong)


def test_the_core_context_is_there_and_stays(city: Site) -> None:
    old = f"{PATH}/{quote(CORE_URL.replace('v1.8', 'v1.3'), safe='')}"
    assert details(city, old)["kind"] == "Cached"
    refused(city.http.delete(old), 400, "BadRequestData")
    assert city.http.delete(old, params={"reload": "true"}).status_code == 204
    assert details(city, old)["URL"] == CORE_URL


@pytest.mark.parametrize("context", [1, True, ["x y"], [5], {"a": 5}, {"a": {"@context": {}}}])
def test_what_is_no_context_is_not_kept(city: Site, context: Any) -> None:
    refused(city.http.post(PATH, json={"@context": context}), 400, "BadRequestData")
    assert city.http.get(PATH, params={"kind": "Hosted"}).json() == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"A": "urn:a:b"}', b"null", b""])
def test_what_has_no_context_is_no_request(city: Site, body: bytes) -> None:
    refused(city.http.post(PATH, content=body, headers={"Content-Type": "application/json"}), 400, "InvalidRequest")


def test_a_context_that_names_an_unknown_one_is_not_kept(city: Site) -> None:
    told = refused(city.http.post(PATH, json={"@context": ["https://nowhere.example/c"]}), 504, "LdContextNotAvailable")
    assert told["seen"] == "https://nowhere.example/c"


def test_a_context_may_name_another_kept_one(city: Site) -> None:
    inner = "http://city.example" + add(city)
    outer = add(city, {"@context": [inner, {"w": "https://example.org/w"}]})
    assert use(city, "http://city.example" + outer, "speed").status_code == 201
    assert details(city, inner.removeprefix("http://city.example"))["numberOfHits"] == 1
    assert city.http.delete(inner.removeprefix("http://city.example")).status_code == 204
    refused(use(city, "http://city.example" + outer, "speed", id="urn:a:2"), 504, "LdContextNotAvailable")


def test_size_is_bounded(city: Site) -> None:
    context = {"@context": {f"term{n}": "https://example.org/" + "x" * 200 for n in range(2000)}}
    refused(city.http.post(PATH, json=context), 413, "InvalidRequest")


def test_only_a_cached_context_is_reloaded(city: Site) -> None:
    refused(city.http.delete(add(city), params={"reload": "true"}), 400, "BadRequestData", "reload")
    refused(city.http.delete(PATH + "/unknown", params={"reload": "false"}), 404, "ResourceNotFound")


def test_nobody_known_keeps_or_drops_a_context(tmp_path: Path) -> None:
    with site(tmp_path / "closed", open=False) as closed:
        assert closed.http.post(PATH, json=CONTEXT).status_code == 401
        assert closed.http.delete(f"{PATH}/{quote(CORE_URL, safe='')}?reload=true").status_code == 401
        assert closed.http.get(PATH).json() == [CORE_URL]
