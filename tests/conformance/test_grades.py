"""What a pack does not grade as open is seen by those it is meant for, and by nobody else, by no way out."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.conformance.guarded_pack import (
    CONTACT,
    NEEDLES,
    OCCUPANTS,
    PATIENTS,
    SECRET_WARD,
    SHELTER,
    THINGS,
    WARD,
    write_pack,
)
from tests.server import Server

NGSI = "/ngsi-ld/v1"
SINCE = "timerel=after&timeAt=2020-01-01T00:00:00Z"
SUMS = "format=aggregatedValues&aggrMethods=sum,max,totalCount"
BOX = "georel=within&geometry=Polygon&coordinates=[[[120,30],[121,30],[121,31],[120,30]]]"
NEAR = "georel=near;maxDistance==5000&geometry=Point&coordinates=[120.137,30.273]"
PAGES = "/{lang}/platforms/guarded"
WAYS_OUT = [
    *(f"{NGSI}/entities{asked}" for asked in ("?local=true", "?type=Shelter", "?type=Ward", "?type=*", f"?id={WARD}")),
    f"{NGSI}/entities?type=Shelter&options=keyValues,sysAttrs&limit=1000",
    f"{NGSI}/entities?type=Shelter&attrs=name,beds",
    f"{NGSI}/entities/{SHELTER}",
    f"{NGSI}/entities/{SHELTER}?attrs=occupants,name",
    f"{NGSI}/entities/{SHELTER}?pick=name,location&options=concise",
    f"{NGSI}/entities/{WARD}",
    f"{NGSI}/types",
    f"{NGSI}/types?details=true",
    f"{NGSI}/temporal/entities/{SHELTER}",
    f"{NGSI}/temporal/entities/{SHELTER}?attrs=occupants",
    f"{NGSI}/temporal/entities/{SHELTER}?{SINCE}&{SUMS}",
    f"{NGSI}/temporal/entities/{SHELTER}?{SINCE}&{SUMS}&attrs=occupants",
    f"{NGSI}/temporal/entities/{WARD}",
    f"{NGSI}/temporal/entities/{SHELTER}?timeproperty=deletedAt",
    f"{NGSI}/temporal/entities/{SHELTER}?{SINCE}&lastN=1&format=aggregatedValues&aggrMethods=min,max",
    f"{NGSI}/temporal/entities?type=Ward&{SINCE}&timeproperty=deletedAt&pick=id",
    f"{NGSI}/temporal/entities?type=Shelter&{SINCE}",
    f"{NGSI}/temporal/entities?local=true&{SINCE}&{SUMS}",
    f"{NGSI}/temporal/entities?type=Ward&{SINCE}&format=temporalValues",
    "/api/v1/alerts",
    "/api/v1/alerts?state=pending&state=firing&state=resolved",
    f"/api/v1/alerts?entity={SHELTER}",
    *(
        page.format(lang=lang)
        for lang in ("zh", "en")
        for page in (
            "/{lang}",
            "/{lang}/alerts",
            "/{lang}/search?q=needle",
            PAGES,
            f"{PAGES}?q=needle",
            f"{PAGES}?sort=-occupants",
            f"{PAGES}/alerts",
            f"{PAGES}/map.json",
            f"{PAGES}/download/csv",
            f"{PAGES}/download/json",
            f"{PAGES}/download/geojson",
            f"{PAGES}/things/{SHELTER}",
            f"{PAGES}/things/{SHELTER}?show=occupants",
            f"{PAGES}/things/{WARD}",
            f"{PAGES}/history.json?thing={SHELTER}&show=occupants",
            f"{PAGES}/history.json?thing={WARD}&show=patients",
        )
    ),
]
ASKED_BY = [
    "type=Shelter&q=occupants>700000",
    "type=Shelter&q=beds>1|occupants>700000",
    "type=Shelter&q=!occupants",
    "type=Shelter&q=occupants.observedAt>2020-01-01T00:00:00Z",
    "type=Shelter&q=contact~=need.*",
    "type=Shelter&q=crowding<1",
    "type=Ward&q=name~=need.*",
    "type=Shelter&attrs=occupants",
    f"type=Shelter&{BOX}",
    f"type=Shelter&{NEAR}",
    "q=occupants>700000",
    "q=undeclared==1",
]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A city with things of every grade, reported by staff and alarming."""
    folder = tmp_path_factory.mktemp("guarded")
    with Server(folder / "data", "--packs", str(write_pack(folder / "packs"))) as server:
        sent = client(server, "staff").post(f"{NGSI}/entityOperations/upsert", json=THINGS)
        assert sent.status_code == 201, sent.text
        yield server


def client(server: Server, *role: str) -> httpx.Client:
    """A client with a token of a role, and more options of the command that makes it; nobody known without."""
    headers = {}
    if role:
        token = server.command("token", "create", "--role", *role).strip().splitlines()[-1]
        headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def nobody(city: Server) -> Iterator[httpx.Client]:
    with client(city) as http:
        yield http


@pytest.fixture(scope="module")
def staff(city: Server) -> Iterator[httpx.Client]:
    with client(city, "staff") as http:
        yield http


# --- nobody known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS_OUT)
def test_nobody_known_reads_what_is_not_open(nobody: httpx.Client, way: str) -> None:
    answer = nobody.get(way)
    assert answer.status_code < 500, answer.text
    told = str(answer.headers) + answer.text.replace(way, "")
    assert [needle for needle in NEEDLES if needle in told and needle not in way] == []


def test_who_may_see_it_finds_every_needle_by_the_same_ways(staff: httpx.Client) -> None:
    told = "".join(staff.get(way).text for way in WAYS_OUT)
    assert [needle for needle in NEEDLES if needle not in told] == []


@pytest.mark.parametrize("asked", ASKED_BY)
def test_nobody_known_asks_by_what_is_not_open(nobody: httpx.Client, asked: str) -> None:
    for path in ("/entities", "/temporal/entities"):
        times = f"&{SINCE}" if "temporal" in path else ""
        answer = nobody.get(f"{NGSI}{path}?{asked}&count=true{times}")
        assert answer.status_code == 403, answer.text
        assert "ngsild-results-count" not in answer.headers
        assert answer.json()["fix"]


def test_questions_in_a_body_are_no_other_way(nobody: httpx.Client) -> None:
    geo = {"georel": "near;maxDistance==5000", "geometry": "Point", "coordinates": [120.137, 30.273]}
    for more in ({"q": "occupants>1"}, {"geoQ": geo}, {"attrs": ["contact"]}):
        body = {"type": "Query", "entities": [{"type": "Shelter"}], **more}
        assert nobody.post(f"{NGSI}/entityOperations/query", json=body).status_code == 403
        timed = {**body, "temporalQ": {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}}
        assert nobody.post(f"{NGSI}/temporal/entityOperations/query", json=timed).status_code == 403


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("type=Ward", 0),
        (f"type=Ward&idPattern=.*{SECRET_WARD}", 0),
        (f"type=*&idPattern=.*{SECRET_WARD}", 0),
        (f"type=*&id={WARD}", 0),
        ("local=true&idPattern=urn:ngsi-ld:(Shelter|Ward):.*", 2),
        ("type=Shelter,Ward", 2),
        ("type=Shelter&q=beds>=10", 2),
    ],
)
def test_counts_tell_of_nothing_that_is_not_open(nobody: httpx.Client, asked: str, count: int) -> None:
    answer = nobody.get(f"{NGSI}/entities?{asked}&count=true&limit=1")
    assert answer.headers["ngsild-results-count"] == str(count)
    assert ("next" in answer.links) == (count > 1)


def test_types_that_are_closed_are_not_named(nobody: httpx.Client, staff: httpx.Client) -> None:
    named = nobody.get(f"{NGSI}/types").json()["typeList"]
    assert "Shelter" in named
    assert "Ward" not in named
    [details] = [one for one in nobody.get(f"{NGSI}/types?details=true").json() if one["typeName"] == "Shelter"]
    assert {"beds", "name"} <= set(details["attributeNames"]) <= {"beds", "inspected", "name", "status", "warmth"}
    assert {"Shelter", "Ward"} <= set(staff.get(f"{NGSI}/types").json()["typeList"])


def test_a_page_offers_only_kinds_of_which_something_may_be_seen(nobody: httpx.Client, staff: httpx.Client) -> None:
    page = PAGES.format(lang="en")
    assert "kind=Ward" not in nobody.get(page).text
    assert "kind=Ward" in staff.get(page).text


def test_alerts_of_rules_that_read_what_is_closed_are_not_told(nobody: httpx.Client, staff: httpx.Client) -> None:
    told = nobody.get("/api/v1/alerts").json()
    assert (told["count"], {one["rule"] for one in told["alerts"]}) == (2, {"guarded.few_beds"})
    known = staff.get("/api/v1/alerts").json()
    assert known["count"] == 4
    [closed] = [one for one in known["alerts"] if one["rule"] == "guarded.crowded"]
    answer = nobody.post(f"/api/v1/alerts/{closed['id']}/acknowledge", json={})
    assert (answer.status_code, "there is no such alert" in answer.text) == (404, True)


def test_a_stream_tells_nobody_known_of_what_is_not_open(city: Server, nobody: httpx.Client) -> None:
    told = ""
    with nobody.stream("GET", "/stream?type=Shelter&since=before-0") as stream:
        assert stream.status_code == 200
        with client(city, "staff") as staff:
            change = [{**THINGS[0], "name": "Moved", "occupants": OCCUPANTS + 1}]
            assert staff.post(f"{NGSI}/entityOperations/upsert", json=change).status_code == 204
            for part in stream.iter_text():
                told += part
                if "Moved" in told:
                    break
            assert staff.post(f"{NGSI}/entityOperations/upsert", json=THINGS[:1]).status_code == 204
    assert "beds" in told
    assert [needle for needle in (*NEEDLES, str(OCCUPANTS + 1)) if needle in told] == []


# --- somebody known -------------------------------------------------------------------------------------------


def values(http: httpx.Client, id: str) -> dict[str, object]:
    answer = http.get(f"{NGSI}/entities/{id}?options=keyValues")
    told: dict[str, object] = answer.json()
    return told if answer.status_code == 200 else {}


@pytest.mark.parametrize(
    ("role", "contact", "occupants"),
    [("resident", None, None), ("developer", None, None), ("operator", CONTACT, None), ("leader", CONTACT, OCCUPANTS)],
)
def test_a_role_sees_as_far_as_it_is_cleared(city: Server, role: str, contact: object, occupants: object) -> None:
    with client(city, role) as http:
        told = values(http, SHELTER)
        assert (told["name"], told.get("contact"), told.get("occupants")) == ("North", contact, occupants)
        asked = http.get(f"{NGSI}/entities?type=Shelter&q=contact=={CONTACT}")
        assert asked.status_code == (200 if contact else 403)


def test_staff_of_a_district_sees_what_is_closed_there_alone(city: Server) -> None:
    with client(city, "staff", "--place", "330106") as here, client(city, "staff", "--place", "330108") as elsewhere:
        assert (values(here, WARD).get("patients"), values(elsewhere, WARD)) == (PATIENTS, {})
        assert [one["id"] for one in here.get(f"{NGSI}/entities?type=Ward").json()] == [WARD]
        assert elsewhere.get(f"{NGSI}/entities?type=Ward").json() == []
        assert {one["rule"] for one in elsewhere.get("/api/v1/alerts").json()["alerts"]} == {"guarded.few_beds"}
        moved = {"location": {"type": "Point", "coordinates": [120.21, 30.21]}}
        for where, body, status in ((here, {"name": "N"}, 204), (elsewhere, {"name": "N"}, 403), (here, moved, 403)):
            answer = where.patch(f"{NGSI}/entities/{WARD}", json=body)
            assert answer.status_code == status, answer.text
        gone = here.patch(f"{NGSI}/entities/{WARD}", json={"location": "urn:ngsi-ld:null"})
        assert gone.status_code == 403  # it would be nowhere, and that is not within the district
        assert here.patch(f"{NGSI}/entities/{WARD}", json={"name": SECRET_WARD}).status_code == 204


def test_a_device_writes_its_own_type_alone(city: Server) -> None:
    with client(city, "device", "--type", "Ward") as device, client(city, "device") as unbound:
        tried = [
            device.post(f"{NGSI}/entities", json={"id": "urn:x:s", "type": "Shelter", "name": "x"}),
            device.post(f"{NGSI}/entities", json={"id": "urn:x:s", "type": ["Ward", "Shelter"], "name": "x"}),
            device.patch(f"{NGSI}/entities/{SHELTER}", json={"name": "x"}),
            device.post(f"{NGSI}/entities/{SHELTER}/attrs", json={"type": "Ward", "name": "x"}),
            device.put(f"{NGSI}/entities/{SHELTER}", json={"type": "Ward", "name": "x"}),
            device.delete(f"{NGSI}/entities/{SHELTER}"),
            device.delete(f"{NGSI}/entities/{SHELTER}/attrs/name"),
            device.post(f"{NGSI}/entityOperations/delete", json=[WARD, SHELTER]),
            unbound.post(f"{NGSI}/entities", json={"id": "urn:x:w", "type": "Ward", "name": "x"}),
        ]
        assert [answer.status_code for answer in tried] == [403] * len(tried)
        ward = [{"id": "urn:ngsi-ld:Ward:2", "type": "Ward", "name": "x"}]
        assert device.post(f"{NGSI}/entityOperations/upsert", json=ward).status_code == 201
        assert values(device, "urn:ngsi-ld:Ward:2") == {}  # what it wrote is closed to it
        assert device.post(f"{NGSI}/entityOperations/delete", json=["urn:ngsi-ld:Ward:2"]).status_code == 204
    assert values(client(city), SHELTER)["name"] == "North"


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ht_",
        "Bearer ht_a_b",
        "Bearer ht__",
        "Basic YTpi",
        "Token x",
        "Bearer " + "x" * 5000,
        "Bearer \xff\xfe",
        "ht_a_b",
    ],
)
def test_a_token_that_is_none_is_refused_and_told_why(nobody: httpx.Client, authorization: str) -> None:
    headers = [(b"authorization", authorization.encode("latin-1"))]
    for path in (f"{NGSI}/entities?type=Shelter", "/api/v1/alerts"):
        answer = nobody.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["fix"]
    assert nobody.get("/en", headers=headers).status_code == 401


def test_tokens_that_were_revoked_or_have_expired_are_refused(city: Server) -> None:
    with client(city, "staff") as revoked, client(city, "staff", "--days", "1") as expired:
        city.command("token", "revoke", revoked.headers["authorization"].split("_")[1])
        with closing(sqlite3.connect(city.data / "hutong.db", timeout=30)) as database, database:
            database.execute("UPDATE access_token SET expires_at = 1 WHERE expires_at IS NOT NULL")
        for http, why in ((revoked, "revoked"), (expired, "expired")):
            answer = http.get(f"{NGSI}/entities/{WARD}")
            assert (answer.status_code, why in answer.json()["detail"]) == (401, True)
