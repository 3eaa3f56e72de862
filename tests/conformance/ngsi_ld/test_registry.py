"""The registry of context sources (clauses 5.9, 5.10, 5.12, 5.15)."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hutong.api import ngsi_ld_registry
from hutong.engines.sense import documents
from hutong.kernel.clock import MINUTE, iso
from tests.conformance.ngsi_ld.site import Site, site
from tests.conformance.sent import refused

PATH = "/ngsi-ld/v1/csourceRegistrations"
HERE = {"type": "Point", "coordinates": [120.15, 30.28]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("city") / "data") as city:
        yield city


@pytest.fixture
def city(whole: Site, request: pytest.FixtureRequest) -> Site:
    """The city in a tenant of the test's own."""
    whole.http.headers["NGSILD-Tenant"] = f"t{abs(hash(request.node.nodeid))}"
    return whole


def registration(name: str = "1", **members: Any) -> dict[str, Any]:
    return {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{name}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Bus"}]}],
        "endpoint": "https://source.example/ngsi-ld/v1",
        **members,
    }


def about(*entities: dict[str, str], names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Members of a registration about these entities, and these properties of them."""
    part: dict[str, Any] = {"entities": list(entities)} if entities else {}
    return {"information": [part | ({"propertyNames": list(names)} if names else {})]}


def register(city: Site, name: str = "1", **members: Any) -> httpx.Response:
    return city.http.post(PATH, json=registration(name, **members))


def found(city: Site, **params: str) -> list[str]:
    answer = city.http.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return [one["id"].rpartition(":")[2] for one in answer.json()]


# --- registering ----------------------------------------------------------------------------------------------


def test_a_registration_is_told_as_it_was_given_with_its_defaults(city: Site) -> None:
    given = registration(
        location=HERE,
        registrationName="buses",
        observationInterval={"startAt": "2026-01-01T00:00:00Z"},
        scope=["/city/north"],
        contextSourceInfo=[{"key": "X-Key", "value": "v"}],
        management={"localOnly": True, "timeout": 500},
        vendor="Bus & Co",
    )
    answer = city.http.post(PATH, json=given)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"] == f"{PATH}/{given['id']}"
    told = city.http.get(answer.headers["location"]).json()
    assert told == {**given, "mode": "inclusive", "operations": ["federationOps"]}


def test_without_an_id_it_gets_one(city: Site) -> None:
    body = registration()
    del body["id"]
    location = city.http.post(PATH, json=body).headers["location"]
    assert city.http.get(location).json()["id"] == location.rpartition("/")[2]


def test_an_id_is_taken_once(city: Site) -> None:
    register(city)
    refused(register(city), 409, "AlreadyExists")


def test_names_follow_the_context_of_whoever_asks(city: Site) -> None:
    body = registration(**about({"type": "Bus"}, names=("speed",)), vendor=1)
    body["@context"] = {name: f"https://example.org/{name}" for name in ("Bus", "speed", "vendor")}
    headers = {"Content-Type": "application/ld+json"}
    assert city.http.post(PATH, json=body, headers=headers).status_code == 201
    told = city.http.get(f"{PATH}/{body['id']}").json()
    [part] = told["information"]
    assert part["entities"] == [{"type": "https://example.org/Bus"}]
    assert part["propertyNames"] == ["https://example.org/speed"]
    assert told["https://example.org/vendor"] == 1
    assert found(city, type="Bus") == []
    assert found(city, type="https://example.org/Bus") == ["1"]


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"type": "Registration"}, "type"),
        ({"information": None}, "information"),
        ({"information": []}, "information"),
        ({"information": [{}]}, "information[0]"),
        ({"information": [{"entities": []}]}, "information[0].entities"),
        ({"information": [{"entities": [{}]}]}, "information[0].entities[0].type"),
        ({"information": [{"entities": [{"type": "T", "id": "no uri"}]}]}, "information[0].entities[0].id"),
        ({"information": [{"entities": [{"type": "T", "idPattern": "("}]}]}, "information[0].entities[0].idPattern"),
        ({"information": [{"propertyNames": ["type"]}]}, "information[0].propertyNames[0]"),
        ({"information": [{"attributes": ["a"]}]}, "information[0].attributes"),
        ({"endpoint": 5}, "endpoint"),
        ({"endpoint": "not an address"}, "endpoint"),
        ({"expiresAt": "2026-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "soon"}, "expiresAt"),
        ({"mode": "proxied"}, "mode"),
        ({"operations": ["forgetEntity"]}, "operations[0]"),
        ({"mode": "auxiliary", "operations": ["updateEntity"]}, "operations"),
        ({"mode": "exclusive"}, "information[0].entities"),
        ({"mode": "exclusive", **about({"type": "T", "id": "urn:a:1"})}, "information[0]"),
        ({"location": {"type": "Circle"}}, "location.type"),
        ({"tenant": "a b"}, "tenant"),
        ({"scope": "1"}, "scope"),
        ({"refreshRate": "often"}, "refreshRate"),
        ({"contextSourceInfo": [{"key": "k"}]}, "contextSourceInfo[0]"),
        ({"contextSourceInfo": [{"key": "k", "value": 1}]}, "contextSourceInfo[0].value"),
        ({"management": {"timeout": 0}}, "management.timeout"),
        ({"management": {"cooldown": True}}, "management.cooldown"),
        ({"management": {"cacheDuration": "P"}}, "management.cacheDuration"),
        ({"observationInterval": {"endAt": "2026-01-01T00:00:00Z"}}, "observationInterval.startAt"),
        (
            {"managementInterval": {"startAt": "2026-02-01T00:00:00Z", "endAt": "2026-01-01T00:00:00Z"}},
            "managementInterval.endAt",
        ),
    ],
)
def test_what_is_no_registration_is_refused_at_its_place(city: Site, members: dict[str, Any], where: str) -> None:
    refused(register(city, **members), 400, "BadRequestData", where)


def test_a_fragment_replaces_members_and_null_takes_one_away(city: Site) -> None:
    register(city, description="old", vendor="Bus & Co", location=HERE)
    one = f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:1"
    fragment = {"description": "new", "vendor": None, "location": "urn:ngsi-ld:null"}
    assert city.http.patch(one, json=fragment).status_code == 204
    told = city.http.get(one).json()
    assert told["description"] == "new"
    assert not {"vendor", "location"} & told.keys()
    refused(city.http.patch(one, json={"endpoint": None}), 400, "BadRequestData", "endpoint")
    refused(city.http.patch(one, json={"id": "urn:a:2"}), 400, "BadRequestData", "id")
    refused(city.http.patch(one + "0", json=fragment), 404, "ResourceNotFound")


def test_a_registration_ends_when_it_expires_and_its_id_is_free_again(city: Site) -> None:
    register(city, "short", expiresAt=iso(city.clock.now() + MINUTE))
    assert found(city, type="Bus") == ["short"]
    city.clock.advance(MINUTE)
    assert found(city, type="Bus") == []
    refused(city.http.get(f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:short"), 404, "ResourceNotFound")
    assert register(city, "short").status_code == 201


def test_a_deleted_registration_is_gone(city: Site) -> None:
    register(city)
    one = f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:1"
    assert city.http.delete(one).status_code == 204
    refused(city.http.delete(one), 404, "ResourceNotFound")
    assert found(city, type="Bus") == []


def test_system_attributes_are_told_when_asked_for(city: Site) -> None:
    register(city)
    told = city.http.get(PATH, params={"type": "Bus", "options": "sysAttrs"}).json()
    assert told[0]["createdAt"] == told[0]["modifiedAt"]
    refused(city.http.get(PATH, params={"type": "Bus", "options": "concise"}), 400, "InvalidRequest", "options")


def test_tenants_have_registries_of_their_own(city: Site) -> None:
    register(city)
    other = {"NGSILD-Tenant": "other"}
    assert city.http.get(PATH, params={"type": "Bus"}, headers=other).json() == []
    assert city.http.delete(f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:1", headers=other).status_code == 404


def test_only_so_many_are_kept(city: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = documents.Rules("sense.read", "sense.register", 1)
    monkeypatch.setattr(documents, "RULES", {**documents.RULES, "registration": kind})
    assert register(city, "1").status_code == 201
    refused(register(city, "2"), 413, "InvalidRequest")


# --- in one another's way -------------------------------------------------------------------------------------

ONE = about({"type": "Bus", "id": "urn:bus:1"}, names=("speed",))


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("exclusive", "exclusive", 409),
        ("exclusive", "redirect", 409),
        ("redirect", "exclusive", 409),
        ("redirect", "redirect", 201),
        ("exclusive", "inclusive", 201),
        ("inclusive", "exclusive", 201),
    ],
)
def test_only_one_may_be_exclusive_about_the_same(city: Site, first: str, second: str, status: int) -> None:
    assert register(city, "1", mode=first, **ONE).status_code == 201
    assert register(city, "2", mode=second, **ONE).status_code == status


def test_exclusive_ones_may_have_other_entities_or_attributes(city: Site) -> None:
    register(city, "1", mode="exclusive", **ONE)
    assert register(
        city, "2", mode="exclusive", **about({"type": "Bus", "id": "urn:bus:2"}, names=("speed",))
    ).is_success
    assert register(
        city, "3", mode="exclusive", **about({"type": "Bus", "id": "urn:bus:1"}, names=("fuel",))
    ).is_success
    one = f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:3"
    refused(city.http.patch(one, json=ONE), 409, "Conflict", "information")
    assert city.http.patch(one, json=about({"type": "Bus", "id": "urn:bus:1"}, names=("seats",))).is_success


def test_no_source_stands_for_what_is_kept_here(city: Site) -> None:
    entity = {"id": "urn:bus:1", "type": "Bus", "fuel": {"type": "Property", "value": 1}}
    assert city.http.post("/ngsi-ld/v1/entities", json=entity).status_code == 201
    refused(register(city, mode="redirect", **ONE), 409, "Conflict", "information")
    assert register(city, "2", mode="exclusive", **ONE).status_code == 201
    fuel = about({"type": "Bus", "id": "urn:bus:1"}, names=("fuel",))
    refused(register(city, "3", mode="exclusive", **fuel), 409, "Conflict", "information")


# --- looking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("information", "asked", "answers"),
    [
        (about({"type": "Bus"}), {"type": "Bus"}, True),
        (about({"type": "Bus"}), {"type": "Tram"}, False),
        (about({"type": "Bus"}), {"type": "Tram,Bus"}, True),
        (about({"type": "Bus"}), {"id": "urn:bus:9"}, True),
        (about({"type": "Bus"}), {"type": "Bus", "attrs": "speed"}, True),
        (about({"type": "Bus", "id": "urn:bus:1"}), {"id": "urn:bus:1,urn:bus:2"}, True),
        (about({"type": "Bus", "id": "urn:bus:1"}), {"id": "urn:bus:2"}, False),
        (about({"type": "Bus", "id": "urn:bus:1"}), {"idPattern": "1$"}, True),
        (about({"type": "Bus", "id": "urn:bus:1"}), {"idPattern": "2$"}, False),
        (about({"type": "Bus", "idPattern": "^urn:bus"}), {"id": "urn:bus:2"}, True),
        (about({"type": "Bus", "idPattern": "^urn:bus"}), {"id": "urn:tram:2"}, False),
        (about({"type": "Bus", "idPattern": "^urn:bus"}), {"idPattern": "tram"}, True),
        (about({"type": "Bus"}, names=("speed",)), {"attrs": "fuel,speed"}, True),
        (about({"type": "Bus"}, names=("speed",)), {"attrs": "fuel"}, False),
        (about(names=("speed",)), {"type": "Tram", "attrs": "speed"}, True),
        (about({"type": "Bus"}, names=("speed",)), {"q": "speed>5"}, True),
        (about({"type": "Bus"}, names=("speed",)), {"q": "speed>5;fuel<1"}, False),
        (about({"type": "Bus"}), {"q": "speed>5"}, True),
    ],
)
def test_what_a_source_has_decides(
    city: Site, information: dict[str, Any], asked: dict[str, str], answers: bool
) -> None:
    assert register(city, **information).status_code == 201
    assert found(city, **asked) == (["1"] if answers else [])


@pytest.mark.parametrize(
    ("members", "asked", "answers"),
    [
        ({"vendor": "a"}, {"csf": 'vendor=="a"'}, True),
        ({"vendor": "a"}, {"csf": 'vendor=="b"'}, False),
        ({"vendor": {"type": "Property", "value": 5}}, {"csf": "vendor>4"}, True),
        ({}, {"csf": 'endpoint=="https://source.example/ngsi-ld/v1"'}, True),
        ({}, {"csf": "vendor"}, False),
        ({"scope": "/a/b"}, {"scopeQ": "/a/#"}, True),
        ({"scope": ["/x", "/a/b"]}, {"scopeQ": "/+/b"}, True),
        ({"scope": "/a/b"}, {"scopeQ": "/a"}, False),
        ({}, {"scopeQ": "/a"}, False),
    ],
)
def test_properties_and_scopes_of_the_source_decide(
    city: Site, members: dict[str, Any], asked: dict[str, str], answers: bool
) -> None:
    assert register(city, **members).status_code == 201
    assert found(city, **asked) == (["1"] if answers else [])


def test_where_a_source_is_decides(city: Site) -> None:
    register(city, "here", location=HERE)
    register(city, "nowhere")
    register(city, "watching", observationSpace=HERE)
    near = {"georel": "near;maxDistance==500", "geometry": "Point", "coordinates": "[120.151,30.28]"}
    assert found(city, **near) == ["here"]
    assert found(city, **near, geoproperty="observationSpace") == ["watching"]
    assert found(city, **near | {"coordinates": "[121,30.28]"}) == []


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ({}, ["now"]),
        ({"timerel": "before", "timeAt": "2026-01-02T00:00:00Z"}, ["ended", "open"]),
        ({"timerel": "before", "timeAt": "2026-01-01T00:00:00Z"}, []),
        ({"timerel": "after", "timeAt": "2026-03-01T00:00:00Z"}, ["open"]),
        ({"timerel": "after", "timeAt": "2026-01-31T00:00:00Z"}, ["ended", "open"]),
        (
            {"timerel": "between", "timeAt": "2026-02-02T00:00:00Z", "endTimeAt": "2026-03-01T00:00:00Z"},
            ["open"],
        ),
        ({"timerel": "after", "timeAt": "2026-01-31T00:00:00Z", "timeproperty": "modifiedAt"}, ["managed"]),
    ],
)
def test_when_a_source_has_something_decides(city: Site, asked: dict[str, str], answers: list[str]) -> None:
    begin, end = {"startAt": "2026-01-01T00:00:00Z"}, {"endAt": "2026-02-01T00:00:00Z"}
    register(city, "now")
    register(city, "ended", observationInterval=begin | end)
    register(city, "open", observationInterval=begin)
    register(city, "managed", managementInterval=begin)
    assert found(city, type="Bus", **asked) == answers


@pytest.mark.parametrize(
    ("asked", "kind", "where"),
    [
        ({}, "BadRequestData", ""),
        ({"id": "no uri"}, "BadRequestData", "id"),
        ({"q": "(a"}, "BadRequestData", None),
        ({"csf": "a=="}, "BadRequestData", None),
        ({"georel": "within"}, "BadRequestData", ""),
        ({"timerel": "before"}, "BadRequestData", "timeAt"),
        ({"timerel": "during", "timeAt": "2026-01-01T00:00:00Z"}, "BadRequestData", "timerel"),
        ({"type": "T", "timeAt": "2026-01-01T00:00:00Z"}, "BadRequestData", "timeAt"),
        ({"type": "T", "limit": "0"}, "BadRequestData", "limit"),
        ({"type": "T", "limit": "5000"}, "TooManyResults", "limit"),
        ({"type": "T", "pick": "a"}, "InvalidRequest", "pick"),
    ],
)
def test_what_is_no_question_is_refused(city: Site, asked: dict[str, str], kind: str, where: str | None) -> None:
    refused(city.http.get(PATH, params=asked), 403 if kind == "TooManyResults" else 400, kind, where)


def test_answers_come_in_pages_and_are_counted(city: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngsi_ld_registry, "PAGE", 2)
    for n in range(5):
        register(city, str(n), **about({"type": "Bus" if n != 1 else "Tram"}))
        city.clock.advance(1)
    answer = city.http.get(PATH, params={"type": "Bus", "limit": "2", "offset": "1", "count": "true"})
    assert [one["id"][-1] for one in answer.json()] == ["2", "3"]
    assert answer.headers["ngsild-results-count"] == "4"
    assert f'<{PATH}?type=Bus&count=true&limit=2&offset=3>; rel="next"' in answer.headers["link"]
    assert f'<{PATH}?type=Bus&count=true&limit=2&offset=0>; rel="prev"' in answer.headers["link"]
    assert found(city, type="Bus", limit="0", count="true") == []


def test_the_source_has_an_alias_in_each_tenant(city: Site) -> None:
    first = city.http.get("/ngsi-ld/v1/info/sourceIdentity").json()
    assert first["type"] == "ContextSourceIdentity"
    assert first["contextSourceUptime"].startswith("PT")
    assert city.http.get("/ngsi-ld/v1/info/sourceIdentity").json()["contextSourceAlias"] == first["contextSourceAlias"]
    other = city.http.get("/ngsi-ld/v1/info/sourceIdentity", headers={"NGSILD-Tenant": "x"}).json()
    assert other["contextSourceAlias"] != first["contextSourceAlias"]
