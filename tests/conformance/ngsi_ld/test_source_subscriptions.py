"""Subscriptions to context sources, and what they are told (clauses 5.11, 5.3.2, 6.12, 6.13)."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from hutong.connectors.webhook import WebhookSender
from hutong.kernel.clock import MINUTE, SECOND, iso
from tests.conformance.ngsi_ld.site import Site, site
from tests.conformance.ngsi_ld.test_registry import HERE, PATH, about, register, registration
from tests.conformance.sent import refused

SUBSCRIPTIONS = "/ngsi-ld/v1/csourceSubscriptions"
RECEIVER = "https://receiver.example/told"
PATIENCE_S = 10  # a bound on waiting, not an expectation

Heard = list[tuple[Mapping[str, str], dict[str, Any]]]


@pytest.fixture(scope="module")
def heard() -> Heard:
    """Headers and body of everything told, in order."""
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> Iterator[Site]:
    async def post(
        self: WebhookSender, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float = 0
    ) -> None:
        heard.append((dict(headers), msgspec.json.decode(body)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebhookSender, "post", post)
        with site(tmp_path_factory.mktemp("city") / "data") as city:
            yield city


@pytest.fixture
def city(whole: Site, heard: Heard, request: pytest.FixtureRequest) -> Site:
    """The city in a tenant of the test's own, nothing told yet."""
    whole.http.headers["NGSILD-Tenant"] = f"t{abs(hash(request.node.nodeid))}"
    heard.clear()
    return whole


def subscription(**members: Any) -> dict[str, Any]:
    return {
        "id": "urn:ngsi-ld:Subscription:1",
        "type": "Subscription",
        "entities": [{"type": "Bus"}],
        "notification": {"endpoint": {"uri": RECEIVER}},
        **members,
    }


def subscribe(city: Site, **members: Any) -> str:
    answer = city.http.post(SUBSCRIPTIONS, json=subscription(**members))
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def told(heard: Heard, number: int = 1) -> list[tuple[str, list[str]]]:
    """Reason and names of registrations of each notification, once there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while len(heard) < number and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(heard) == number, heard
    return [(one["triggerReason"], [d["id"].rpartition(":")[2] for d in one["data"]]) for _, one in heard]


def test_a_subscription_is_told_as_it_was_given(city: Site) -> None:
    location = subscribe(city, csf='vendor=="a"', temporalQ={"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"})
    one = city.http.get(location).json()
    assert one.items() >= subscription(csf='vendor=="a"', status="active").items()
    assert "notificationTrigger" not in one
    assert [each["id"] for each in city.http.get(SUBSCRIPTIONS).json()] == [one["id"]]
    assert city.http.get("/ngsi-ld/v1/subscriptions").json() == []
    refused(city.http.post(SUBSCRIPTIONS, json=subscription()), 409, "AlreadyExists")


def test_what_begins_to_match_changes_and_matches_no_longer_is_told(city: Site, heard: Heard) -> None:
    subscribe(city)
    register(city, "1")
    register(city, "2", **about({"type": "Tram"}))
    one = f"{PATH}/urn:ngsi-ld:ContextSourceRegistration:1"
    city.http.patch(one, json={"description": "new"})
    city.http.patch(one, json=about({"type": "Tram"}))
    city.http.patch(one, json=about({"type": "Bus"}))
    city.http.delete(one)
    assert told(heard, 5) == [
        ("newlyMatching", ["1"]),
        ("updated", ["1"]),
        ("noLongerMatching", ["1"]),
        ("newlyMatching", ["1"]),
        ("noLongerMatching", ["1"]),
    ]


def test_what_matches_already_is_told_at_first_and_after_a_change(city: Site, heard: Heard) -> None:
    register(city, "1")
    register(city, "2", **about({"type": "Tram"}))
    location = subscribe(city)
    assert told(heard) == [("newlyMatching", ["1"])]
    city.http.patch(location, json={"entities": [{"type": "Tram"}]})
    assert told(heard, 2)[1] == ("newlyMatching", ["2"])


def test_a_notification_has_the_form_of_the_standard_and_only_what_matches(city: Site, heard: Heard) -> None:
    subscribe(city, notification={"endpoint": {"uri": RECEIVER, "receiverInfo": [{"key": "X-Key", "value": "k"}]}})
    both = [{"entities": [{"type": "Bus"}]}, {"entities": [{"type": "Tram"}]}]
    register(city, "1", information=both)
    told(heard)
    [(headers, notification)] = heard
    assert headers["X-Key"] == "k"
    assert headers["NGSILD-Tenant"] == city.http.headers["NGSILD-Tenant"]
    assert notification.pop("id").startswith("urn:ngsi-ld:ContextSourceNotification:")
    assert notification == {
        "type": "ContextSourceNotification",
        "subscriptionId": "urn:ngsi-ld:Subscription:1",
        "notifiedAt": iso(city.clock.now()),
        "triggerReason": "newlyMatching",
        "data": [{**registration(information=both[:1]), "mode": "inclusive", "operations": ["federationOps"]}],
    }


@pytest.mark.parametrize(
    ("members", "matching"),
    [
        ({"csf": 'vendor=="a"'}, {"vendor": "a"}),
        ({"q": "speed>5"}, about({"type": "Bus"}, names=("speed",))),
        ({"watchedAttributes": ["speed"]}, about({"type": "Bus"}, names=("speed",))),
        ({"entities": [{"type": "*", "id": "urn:bus:1"}]}, about({"type": "Bus", "id": "urn:bus:1"})),
        ({"scopeQ": "/a/#"}, {"scope": "/a/b"}),
        (
            {"geoQ": {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": HERE["coordinates"]}},
            {"location": HERE},
        ),
        (
            {"temporalQ": {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}},
            {"observationInterval": {"startAt": "2025-01-01T00:00:00Z"}},
        ),
    ],
)
def test_a_subscription_asks_as_a_query_does(
    city: Site, heard: Heard, members: dict[str, Any], matching: dict[str, Any]
) -> None:
    subscribe(city, **members)
    register(city, "other", **about({"type": "Bus", "id": "urn:bus:2"}, names=("fuel",)))
    register(city, "right", **matching)
    assert told(heard) == [("newlyMatching", ["right"])]


def test_paused_and_expired_subscriptions_are_told_nothing(city: Site, heard: Heard) -> None:
    location = subscribe(city, isActive=False)
    subscribe(city, id="urn:ngsi-ld:Subscription:2", expiresAt=iso(city.clock.now() + MINUTE))
    city.clock.advance(MINUTE)
    register(city, "1")
    city.http.patch(location, json={"isActive": True})
    assert told(heard) == [("newlyMatching", ["1"])]
    statuses = [one["status"] for one in city.http.get(SUBSCRIPTIONS).json()]
    assert sorted(statuses) == ["active", "expired"]


def test_with_an_interval_it_is_told_every_so_often(city: Site, heard: Heard) -> None:
    register(city, "1")
    location = subscribe(city, timeInterval=10)
    assert told(heard) == [("newlyMatching", ["1"])]
    city.runtime.pulse()
    city.clock.advance(10 * SECOND)
    city.runtime.pulse()
    city.runtime.pulse()
    assert told(heard, 2)[1] == ("newlyMatching", ["1"])
    city.http.delete(location)
    city.clock.advance(10 * SECOND)
    city.runtime.pulse()
    told(heard, 2)


def test_a_registration_that_expires_matches_no_longer(city: Site, heard: Heard) -> None:
    subscribe(city)
    register(city, "1", expiresAt=iso(city.clock.now() + MINUTE))
    assert told(heard) == [("newlyMatching", ["1"])]
    city.clock.advance(MINUTE)
    city.runtime.pulse()
    assert told(heard, 2)[1] == ("noLongerMatching", ["1"])
    assert city.runtime.stores.documents.count(city.http.headers["NGSILD-Tenant"], "registration") == 0


def test_other_tenants_are_told_nothing(city: Site, heard: Heard) -> None:
    city.http.post(SUBSCRIPTIONS, json=subscription(), headers={"NGSILD-Tenant": "other"})
    subscribe(city)
    register(city, "1")
    assert told(heard) == [("newlyMatching", ["1"])]


def test_a_deleted_subscription_is_told_nothing(city: Site, heard: Heard) -> None:
    assert city.http.delete(subscribe(city)).status_code == 204
    subscribe(city, id="urn:ngsi-ld:Subscription:2")
    register(city, "1")
    told(heard)
    assert heard[0][1]["subscriptionId"] == "urn:ngsi-ld:Subscription:2"
    refused(city.http.delete(f"{SUBSCRIPTIONS}/urn:ngsi-ld:Subscription:1"), 404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"type": "CsourceSubscription"}, "type"),
        ({"notification": {"format": "keyValues"}}, "notification.endpoint"),
        ({"q": "speed>"}, None),
        ({"csf": "vendor=="}, None),
        ({"watchedAttributes": []}, "watchedAttributes"),
        ({"temporalQ": {"timerel": "during"}}, "temporalQ.timerel"),
        ({"temporalQ": {}}, "temporalQ"),
        ({"temporalQ": {"timerel": "after"}}, "temporalQ.timeAt"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ],
)
def test_what_is_no_subscription_is_refused_at_its_place(
    city: Site, members: dict[str, Any], where: str | None
) -> None:
    refused(city.http.post(SUBSCRIPTIONS, json=subscription(**members)), 400, "BadRequestData", where)


def test_a_subscription_to_changes_has_no_temporal_query(city: Site) -> None:
    body = subscription(temporalQ={"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"})
    refused(city.http.post("/ngsi-ld/v1/subscriptions", json=body), 400, "BadRequestData", "temporalQ")


def test_counters_are_told(city: Site, heard: Heard) -> None:
    location = subscribe(city)
    register(city, "1")
    told(heard)
    deadline = time.monotonic() + PATIENCE_S
    while "timesSent" not in (told_of := city.http.get(location).json()["notification"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (told_of["timesSent"], told_of["status"]) == (1, "ok")
