"""Alerts over HTTP, with a real server and tokens of real roles."""

from collections.abc import Iterator

import httpx
import pytest

from tests.server import Server

CAR_PARK = {"id": "urn:ngsi-ld:OffStreetParking:1", "type": "OffStreetParking", "totalSpotNumber": 100}
ALERTS = "/api/v1/alerts"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of staff in a city where one car park just lost most of its spaces."""
    with Server(tmp_path_factory.mktemp("alerts") / "data") as server:
        headers = {"Authorization": f"Bearer {server.token('staff')}"}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
            for free, at in ((90, "2026-05-01T02:00:00Z"), (5, "2026-05-01T02:00:10Z")):
                value = {"type": "Property", "value": free, "observedAt": at}
                sent = client.post(
                    "/ngsi-ld/v1/entityOperations/upsert?options=update",
                    json=[CAR_PARK | {"availableSpotNumber": value}],
                )
                assert sent.status_code in (201, 204), sent.text
            yield client


def test_a_firing_alert_is_listed_with_the_values_it_saw(city: httpx.Client) -> None:
    listed = city.get(ALERTS).json()
    assert listed["count"] == 1
    [alert] = listed["alerts"]
    assert (alert["rule"], alert["state"]) == ("smart_parking.sudden_change", "firing")
    assert alert["firing_since"] == "2026-05-01T02:00:10Z"
    assert alert["reason"]["saw"]["availableSpotNumber"] == 5
    assert city.get(ALERTS, params={"entity": "urn:other"}).json() == {"count": 0, "alerts": []}


def test_staff_acknowledge_and_silence_and_nobody_else(city: httpx.Client) -> None:
    alert = city.get(ALERTS).json()["alerts"][0]["id"]
    nobody = httpx.post(f"{city.base_url}{ALERTS}/{alert}/acknowledge", json={}, trust_env=False)
    assert nobody.status_code == 401
    seen = city.post(f"{ALERTS}/{alert}/acknowledge", json={"note": "looking"}).json()
    assert seen["acknowledged_by"].startswith("token:")
    quiet = city.post(f"{ALERTS}/{alert}/silence", json={"until": "2026-05-02T00:00:00+08:00"}).json()
    assert (quiet["silenced_until"], quiet["note"]) == ("2026-05-01T16:00:00Z", "looking")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nothing/acknowledge", {}, 404),
        ("nothing/silence", {"until": "tomorrow"}, 400),
        ("nothing/silence", {"x": 1}, 400),
    ],
)
def test_what_cannot_be_done_is_said(city: httpx.Client, path: str, body: dict[str, object], status: int) -> None:
    answer = city.post(f"{ALERTS}/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]
