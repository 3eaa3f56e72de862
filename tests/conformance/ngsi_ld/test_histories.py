"""Histories over HTTP (clauses 5.6.11 to 5.6.16, 5.7.3, 5.7.4, 6.3.10, 6.18 to 6.22), in files and in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hutong.kernel.clock import MINUTE
from tests.conformance.ngsi_ld.site import Site, site
from tests.conformance.sent import refused

PATH = "/ngsi-ld/v1/temporal/entities"
ID = "urn:ngsi-ld:Car:1"
PAGE = 6
WINDOW = {"type": "Car", "timerel": "between", "timeAt": "2026-03-01T00:00:00Z", "endTimeAt": "2026-03-02T00:00:00Z"}
NULL = "urn:ngsi-ld:null"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("city") / "data", history_page=PAGE) as city:
        yield city


@pytest.fixture(params=["recent", "compacted"])
def city(whole: Site, request: pytest.FixtureRequest) -> Site:
    """The city in a tenant of the test's own; what is told is compacted at once, or not."""
    whole.http.headers["NGSILD-Tenant"] = f"t{abs(hash(request.node.nodeid))}"
    whole.http.headers["X-Test-Stage"] = request.param
    return whole


def at(minute: int, hour: int = 12, day: int = 1) -> str:
    return f"2026-03-{day:02}T{hour:02}:{minute:02}:00Z"


def told(value: Any, when: str, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": when, **more}


def tell(city: Site, id: str = ID, **members: Any) -> httpx.Response:
    answer = city.http.post(PATH, json={"id": id, "type": "Car", **members})
    if city.http.headers["X-Test-Stage"] == "compacted":
        city.runtime.upkeep.compact()
    return answer


def get(city: Site, id: str = ID, **params: Any) -> dict[str, Any]:
    answer = city.http.get(f"{PATH}/{id}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ask(city: Site, **params: Any) -> list[dict[str, Any]]:
    answer = city.http.get(PATH, params=WINDOW | params)
    assert answer.status_code in (200, 206), answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def values(one: dict[str, Any], name: str = "speed") -> list[Any]:
    return [instance["value"] for instance in one.get(name, [])]


def test_a_history_is_told_added_to_and_deleted(city: Site) -> None:
    answer = tell(city, speed=[told(1, at(0)), told(2, at(1))])
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/{ID}")
    assert city.http.get(f"/ngsi-ld/v1/entities/{ID}").status_code == 404
    assert tell(city, type=["Car", "Taxi"], speed=[told(9, at(1)), told(2, at(2))]).status_code == 204
    assert (get(city)["type"], values(get(city))) == (["Car", "Taxi"], [1, 9, 2])
    fragment = {"heading": [told(90, at(0), datasetId="urn:d:1"), told(91, at(0))]}
    assert city.http.post(f"{PATH}/{ID}/attrs", json=fragment).status_code == 204
    one = f"{PATH}/{ID}/attrs/heading"
    assert city.http.delete(one, params={"datasetId": "urn:d:1"}).status_code == 204
    assert values(get(city), "heading") == [91]
    assert city.http.delete(one, params={"deleteAll": "true"}).status_code == 204
    assert "heading" not in get(city)
    refused(city.http.delete(one), 404, "ResourceNotFound")
    assert city.http.delete(f"{PATH}/{ID}").status_code == 204
    refused(city.http.get(f"{PATH}/{ID}"), 404, "ResourceNotFound")
    refused(city.http.delete(f"{PATH}/{ID}"), 404, "ResourceNotFound")
    refused(city.http.post(f"{PATH}/{ID}/attrs", json=fragment), 404, "ResourceNotFound")
    for wrong in ("", "/attrs", "/attrs/speed", "/attrs/speed/urn:i:1"):
        method = "POST" if wrong == "/attrs" else "DELETE"
        refused(city.http.request(method, f"{PATH}/nouri{wrong}", json={}), 400, "BadRequestData")
    refused(city.http.post(f"{PATH}//attrs", json=fragment), 400, "BadRequestData")


def test_an_instance_is_changed_and_deleted(city: Site) -> None:
    tell(city, speed=[told(1, at(0), unitCode="KMH"), told(2, at(1))])
    first, second = (instance["instanceId"] for instance in get(city)["speed"])
    one = f"{PATH}/{ID}/attrs/speed"
    city.clock.advance(MINUTE)
    change = {"type": "Property", "value": 7, "observedAt": at(5)}
    assert city.http.patch(f"{one}/{first}", json=change).status_code == 204
    by_id = {instance["instanceId"]: instance for instance in get(city, options="sysAttrs")["speed"]}
    changed = by_id[first]
    assert (changed["value"], changed["unitCode"], changed["observedAt"]) == (7, "KMH", at(5))
    assert changed["createdAt"] < changed["modifiedAt"]
    assert city.http.patch(f"{one}/{first}", json={"value": 8}).status_code == 204
    assert values(get(city)) == [2, 8]
    assert city.http.delete(f"{one}/{second}").status_code == 204
    assert values(get(city)) == [8]
    refused(city.http.delete(f"{one}/{second}"), 404, "ResourceNotFound")
    refused(city.http.delete(f"{PATH}/{ID}/attrs/other/{first}"), 404, "ResourceNotFound")
    refused(city.http.patch(f"{one}/nouri", json=change), 400, "BadRequestData")
    refused(
        city.http.patch(f"{one}/{first}", json={"type": "Relationship", "object": "urn:a:b"}), 400, "BadRequestData"
    )


def test_what_was_deleted_is_told_by_the_time_of_deletion(city: Site) -> None:
    city.http.post("/ngsi-ld/v1/entities", json={"id": ID, "type": "Car", "speed": 1, "name": "x", "scope": "/a"})
    for name in ("speed", "scope"):
        assert city.http.delete(f"/ngsi-ld/v1/entities/{ID}/attrs/{name}").status_code == 204
    gone = get(city, timeproperty="deletedAt")
    assert set(gone) == {"id", "type", "speed", "scope"}
    assert (gone["speed"][0]["value"], gone["scope"][0]["value"]) == (NULL, [])
    assert get(city, timeproperty="deletedAt", format="temporalValues")["speed"]["values"][0][0] == NULL
    city.http.delete(f"/ngsi-ld/v1/entities/{ID}")
    assert "deletedAt" in get(city, timeproperty="deletedAt")
    after = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "deletedAt"}
    found = city.http.get(PATH, params={"type": "Car", **after}).json()
    assert [one["id"] for one in found] == [ID]
    assert values(get(city), "name") == ["x"]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("speed>25", ["fast", "sets"]),  # the slow one was fast outside the window only
        ("speed>5;heading<90", ["fast"]),
        ("speed>25|heading>100", ["fast", "sets", "slow"]),
        ("speed!=10", ["fast", "sets"]),
        ("!heading;speed>1", ["sets"]),
        ("speed==10..40", ["fast", "slow"]),
        ('route=="550","551"', ["fast"]),
        ("ref==urn:a:b", ["shapes"]),
        ('tags=="a"', ["shapes"]),
        ('tags!="a"', []),
        ("name~=^m", ["shapes"]),
        ("on==true", ["slow"]),
        ("speed>50", ["sets"]),  # of an instance with a datasetId
        ('speed.unitCode=="KMH"', ["fast"]),
        ("speed.accuracy>0.5", ["slow"]),
        ('place[town]=="H"', ["shapes"]),
        ("speed.observedAt>2026-03-01T12:30:00Z", ["slow"]),
        ("heading", ["fast", "slow"]),
        ("speed>1000", []),
    ],
)
def test_entities_are_found_by_what_they_were(city: Site, q: str, found: list[str]) -> None:
    given: dict[str, dict[str, Any]] = {
        "fast": {"speed": [told(30, at(0), unitCode="KMH"), told(90, at(0, day=5))], "heading": told(45, at(0)),
                 "route": told("550", at(0))},
        "slow": {"speed": [told(10, at(45), accuracy=0.9), told(80, at(0, day=5))], "heading": told(170, at(0)),
                 "on": told(True, at(0))},
        "shapes": {"name": told("m", at(0)), "ref": {"type": "Relationship", "object": "urn:a:b", "observedAt": at(0)},
                   "tags": told(["a", "b"], at(0)), "place": told({"town": "H"}, at(0))},
        "outside": {"speed": told(99, at(0, day=5))},
        "sets": {"speed": [told(5, at(0)), told(60, at(0), datasetId="urn:d:1")]},
    }  # fmt: skip
    for name, members in given.items():
        tell(city, f"urn:ngsi-ld:Car:{name}", **members)
    assert [one["id"].rpartition(":")[2] for one in ask(city, q=q)] == sorted(found)


def test_entities_are_found_by_where_they_were(city: Site) -> None:
    def place(lon: float, when: str) -> dict[str, Any]:
        point = {"type": "Point", "coordinates": [lon, 30.0]}
        return {"type": "GeoProperty", "value": point, "observedAt": when}

    tell(city, "urn:ngsi-ld:Car:near", location=[place(120.0, at(0)), place(121.0, at(0, day=5))])
    tell(city, "urn:ngsi-ld:Car:later", location=[place(121.0, at(0)), place(120.0, at(0, day=5))])
    near = {"georel": "near;maxDistance==2000", "geometry": "Point", "coordinates": "[120.001,30]"}
    assert [one["id"] for one in ask(city, **near)] == ["urn:ngsi-ld:Car:near"]


def test_pages_of_entities_part_what_was_found(city: Site) -> None:
    for i in range(5):
        tell(city, f"urn:ngsi-ld:Car:{i}", speed=[told(i, at(0)), told(99, at(0, day=5))])
    answer = city.http.get(PATH, params=WINDOW | {"q": "speed>1", "limit": 2, "count": "true"})
    assert answer.headers["ngsild-results-count"] == "3"
    assert 'rel="next"' in answer.headers["link"]
    pages = [ask(city, q="speed>1", limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [[one["id"][-1] for one in page] for page in pages] == [["2", "3"], ["4"], []]
    assert ask(city, pick="id", limit=1) == [{"id": "urn:ngsi-ld:Car:0"}]


def test_pages_of_instances_tell_their_range(city: Site) -> None:
    """Clause 6.3.10: following the range to its end tells everything, and of the past before it with lastN."""
    tell(city, speed=[told(i, at(i)) for i in range(10)], heading=[told(i, at(20 + i)) for i in range(4)])
    seen: list[Any] = []
    since = at(0)
    for _ in range(9):
        answer = city.http.get(f"{PATH}/{ID}", params={"timerel": "after", "timeAt": since})
        found = answer.json()
        seen += [one["instanceId"] for name in ("speed", "heading") for one in found.get(name, [])]
        if answer.status_code == 200:
            break
        assert answer.status_code == 206
        unit, _, covered = answer.headers["content-range"].partition(" ")
        start, since = covered[:20], covered[21:41]
        assert (unit, covered[41:], found["heading"] if start == at(0) else []) == ("date-time", "/*", [])
    assert len(set(seen)) == 14
    last = city.http.get(f"{PATH}/{ID}", params={"lastN": 20})
    assert last.headers["content-range"] == f"date-time {at(23)}-{at(8)}/20"
    assert values(last.json(), "speed") == [8, 9]
    assert values(get(city, firstN=1)) == [0]
    assert values(get(city, lastN=1)) == [9]


@pytest.mark.parametrize(
    ("name", "methods", "expected"),
    [
        ("speed", "sum,avg,min,max,sumsq", [6.0, 2.0, 1.0, 3.0, 14.0]),
        ("speed", "totalCount,distinctCount,stddev", [3, 3, pytest.approx(0.8165, abs=1e-4)]),
        ("name", "totalCount,distinctCount,min,max", [3, 2, "a", "b"]),
        ("on", "sum,avg,min,max,totalCount", [2.0, pytest.approx(2 / 3), 0.0, 1.0, 3]),
        ("tags", "sum,avg,min,max,totalCount", [4.0, 2.0, 1.0, 3.0, 2]),
        ("doc", "totalCount,distinctCount", [1, 1]),
    ],
)
def test_everything_is_aggregated_as_its_kind_allows(city: Site, name: str, methods: str, expected: list[Any]) -> None:
    members: dict[str, list[Any]] = {
        "speed": [1, 2, 3], "name": ["b", "a", "a"], "on": [True, False, True], "tags": [["x"], ["x", "y", "z"]],
        "doc": [{"a": 1}],
    }  # fmt: skip
    instances: Any = [told(value, at(i)) for i, value in enumerate(members[name])]
    tell(city, **{name: instances})
    found = get(city, format="aggregatedValues", aggrMethods=methods)[name]
    assert [found[method][0][0] for method in methods.split(",")] == expected


def test_periods_may_be_months_and_years(city: Site) -> None:
    days = ["2025-01-31T00:00:00Z", "2025-02-27T23:00:00Z", "2025-02-28T00:00:00Z", "2025-03-30T00:00:00Z",
            "2025-03-31T00:00:00Z"]  # fmt: skip
    tell(city, speed=[told(i, day) for i, day in enumerate(days)])
    how = {"format": "aggregatedValues", "aggrMethods": "totalCount"}
    months = get(city, **how, aggrPeriodDuration="P1M")["speed"]["totalCount"]
    assert months == [[2, days[0], days[2]], [2, days[2], days[4]], [1, days[4], "2025-04-30T00:00:00Z"]]
    [year] = get(city, **how, aggrPeriodDuration="P1Y")["speed"]["totalCount"]
    assert year == [5, days[0], "2026-01-31T00:00:00Z"]


def test_what_is_told_of_the_past_may_make_a_present(tmp_path: Path) -> None:
    with site(tmp_path / "data", history_makes_present=True, keep_history=False) as city:
        city.http.headers["X-Test-Stage"] = "recent"
        present = f"/ngsi-ld/v1/entities/{ID}"
        assert tell(city, speed=[told(2, at(1)), told(1, at(0))]).status_code == 201
        assert city.http.get(present).json()["speed"]["value"] == 2
        assert values(get(city)) == [1, 2]
        assert city.http.delete(f"{PATH}/{ID}").status_code == 204
        assert [city.http.get(one).status_code for one in (present, f"{PATH}/{ID}")] == [404, 404]
        city.http.post("/ngsi-ld/v1/entities", json={"id": ID, "type": "Car", "speed": 1})
        assert city.http.delete(f"{PATH}/{ID}").status_code == 204
        assert (city.http.get(present).status_code, values(get(city))) == (200, [])
        city.http.delete(present)
        assert city.http.get(f"{PATH}/{ID}").status_code == 404
