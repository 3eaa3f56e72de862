"""Kill -9 while subscribers are told: every acknowledged value arrives at least once, in the order of each thing."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.receiver import Receiver
from tests.server import PATIENCE_S, Server

SUBSCRIPTIONS = 100
THINGS = 20  # so that each change is told to five
KILLS = 2


def subscribe(client: httpx.Client, number: int, url: str) -> None:
    thing = f"urn:ngsi-ld:Counter:{number % THINGS}"
    answer = client.post(
        "/subscriptions",
        json={
            "id": f"urn:ngsi-ld:Subscription:{number}",
            "type": "Subscription",
            "entities": [{"type": "Counter", "id": thing}],
            "notification": {"format": "keyValues", "endpoint": {"uri": f"{url}/{number}"}},
        },
    )
    assert answer.status_code == 201, answer.text


def count_up(client: httpx.Client, values: list[int], until: float) -> None:
    """Give each thing its next value, over and over; what was not acknowledged is given again."""
    while time.monotonic() < until:
        for thing in range(THINGS):
            attribute = {"type": "Property", "value": values[thing] + 1}
            entity = {"id": f"urn:ngsi-ld:Counter:{thing}", "type": "Counter", "count": attribute}
            try:
                answer = client.post("/entityOperations/upsert", params={"options": "update"}, json=[entity])
            except httpx.TransportError:
                return  # the server is gone
            assert answer.status_code in (201, 204), answer.text
            values[thing] += 1


def told(receiver: Receiver) -> dict[str, list[int]]:
    """The values that each subscription was told, in order of arrival."""
    found: dict[str, list[int]] = {}
    for notification in receiver.notifications:
        for entity in notification["data"]:
            found.setdefault(notification["subscriptionId"], []).append(entity["count"])
    return found


def complete(found: dict[str, list[int]], values: list[int]) -> bool:
    return all(
        set(range(1, values[number % THINGS] + 1)) <= set(found.get(f"urn:ngsi-ld:Subscription:{number}", ()))
        for number in range(SUBSCRIPTIONS)
    )


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_value_is_lost_and_each_thing_is_told_in_order(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    flags: tuple[str, ...] = ("--open",)
    if store == "postgresql":
        made: Callable[[str], str] = request.getfixturevalue("durable")
        flags += ("--store", made("notifications"))
    random, values = Random(store), [0] * THINGS
    server = Server(tmp_path / "data", *flags)
    with Receiver() as receiver:
        for life in range(KILLS + 1):
            server.start()
            with httpx.Client(base_url=f"{server.url}/ngsi-ld/v1", trust_env=False, timeout=PATIENCE_S) as client:
                for number in range(SUBSCRIPTIONS if life == 0 else 0):
                    subscribe(client, number, receiver.url)
                count_up(client, values, time.monotonic() + random.uniform(0.5, 1.5))
                if life < KILLS:
                    server.kill()
        deadline = time.monotonic() + PATIENCE_S
        while not complete(told(receiver), values) and time.monotonic() < deadline:
            time.sleep(0.1)
        fared = _states(server)
        server.stop()
        found = told(receiver)
    assert complete(found, values)
    for name, seen in found.items():
        first = list(dict.fromkeys(seen))
        assert first == sorted(first), name
    assert all(one["status"] == "ok" for one in fared)


def _states(server: Server) -> list[dict[str, Any]]:
    answer = httpx.get(f"{server.url}/ngsi-ld/v1/subscriptions", params={"limit": SUBSCRIPTIONS}, trust_env=False)
    return [one["notification"] for one in answer.json()]
