"""The outbox over HTTP: operators see, pause, resend and drop; nobody else does, and contents are guarded."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from hutong.cli.proofs import TemporaryCity
from hutong.kernel.access import Grade
from hutong.kernel.clock import instant
from hutong.kernel.housekeeping import Within
from hutong.kernel.outbox import DeadLetter, Parcel, Settle, Settlement
from hutong.kernel.packs import Packs
from tests.outbox import FakeTransport

NOON = "2026-05-01T04:00:00Z"
CHANNEL = "test:urn:x:1"


class City:
    """A city in memory with a channel that has a dead letter of each grade, and one that waits."""

    def __init__(self) -> None:
        self.at = instant(NOON)
        self._city = TemporaryCity(Packs({}), None, self.at)
        self.runtime = self._city._runtime
        self.runtime.transports["test"] = FakeTransport()
        store = self.runtime.stores.outbox.store
        bodies = ((b'{"a": 1}', Grade.OPEN), (msgspec.msgpack.encode({"b": "\u4e8c"}), Grade.CLOSED))
        parcels = [Parcel(CHANNEL, body, self.at, grade=grade) for body, grade in bodies]
        self.runtime.ask(Within(kind="", work=lambda tx: store.turn(tx, CHANNEL, "paused")))
        self.runtime.ask(Within(kind="", work=lambda tx: store.put(tx, [*parcels, Parcel(CHANNEL, b"waits", self.at)])))
        kept = store.take([CHANNEL], 2)[CHANNEL]
        letters = [DeadLetter(parcel=one, died_at=self.at, attempts=12, reason="answered 500") for one in kept]
        settlement = Settlement(channel=CHANNEL, at=self.at, dead=tuple(letters), error="answered 500", failures=12)
        self.runtime.ask(Settle(settlements=(settlement,)))
        self.open, self.closed = (one.n for one in kept)

    def ask(self, method: str, path: str, body: Any = None, role: str = "operator") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        sent = b"" if body is None else msgspec.json.encode(body)
        found = self._city.request(method, f"/api/v1/outbox/{path}", body=sent, headers=headers, role=role)
        return found.status, msgspec.json.decode(found.body)

    def close(self) -> None:
        self._city.close()


@pytest.fixture
def city() -> Iterator[City]:
    city = City()
    yield city
    city.close()


def test_operators_see_how_channels_fare(city: City) -> None:
    status, told = city.ask("GET", "channels")
    assert (status, told["count"]) == (200, 1)
    [channel] = told["channels"]
    assert channel == {
        "id": CHANNEL,
        "kind": "test",
        "state": "paused",
        "waiting": 1,
        "dead": 2,
        "times_sent": 0,
        "times_failed": 1,
        "times_refused": 0,
        "failures": 12,
        "last_failed_at": NOON,
        "last_error": "answered 500",
    }
    assert city.ask("GET", f"channel?id={CHANNEL}") == (200, channel)
    assert city.ask("GET", "channels?state=failing") == (200, {"count": 0, "channels": []})


def test_dead_letters_are_listed_without_what_they_say(city: City) -> None:
    status, told = city.ask("GET", "dead")
    assert (status, told["count"]) == (200, 2)
    assert [one["n"] for one in told["dead"]] == [city.closed, city.open]
    assert told["dead"][1] == {
        "n": city.open,
        "channel": CHANNEL,
        "put_at": NOON,
        "died_at": NOON,
        "attempts": 12,
        "reason": "answered 500",
        "size": 8,
    }
    assert city.ask("GET", "dead?limit=1&offset=1")[1]["dead"] == told["dead"][1:]
    assert city.ask("GET", "dead?channel=other")[1] == {"count": 0, "dead": []}


def test_what_they_say_is_shown_to_those_who_are_cleared_for_it(city: City) -> None:
    status, told = city.ask("GET", f"dead/{city.open}")
    assert (status, told["content"], told["form"]) == (200, '{"a": 1}', "text")
    status, told = city.ask("GET", f"dead/{city.closed}")
    assert (status, told["code"]) == (403, "access-denied")
    status, told = city.ask("GET", f"dead/{city.closed}", role="admin")
    assert (status, msgspec.json.decode(told["content"]), told["form"]) == (200, {"b": "\u4e8c"}, "msgpack")
    entries = {(entry.what, entry.allowed) for entry in city.runtime.stores.access_log.take()}
    assert (f"dead letter {city.closed} of {CHANNEL}", False) in entries
    assert (f"dead letter {city.closed} of {CHANNEL}", True) in entries


def test_operators_resend_drop_pause_and_resume(city: City) -> None:
    assert city.ask("POST", "resend", {"channel": CHANNEL, "parcels": [city.open]}) == (200, {"count": 1})
    assert city.ask("GET", f"channel?id={CHANNEL}")[1]["waiting"] == 2
    assert city.ask("POST", "drop", {"channel": CHANNEL}) == (200, {"count": 1})
    assert city.ask("GET", "dead")[1]["count"] == 0
    assert city.ask("POST", "resume", {"channel": CHANNEL})[1]["state"] == "active"
    assert city.ask("POST", "pause", {"channel": CHANNEL})[1]["state"] == "paused"
    entries = city.runtime.stores.ledger.read("main", 0, 100)
    told = [(one.row.kind, one.row.actor) for one in entries if one.row.kind.startswith("outbox.")]
    assert told == [
        ("outbox.dead", "system:hutong"),
        ("outbox.resent", "proof:operator"),
        ("outbox.dead_dropped", "proof:operator"),
        ("outbox.resumed", "proof:operator"),
        ("outbox.paused", "proof:operator"),
    ]


@pytest.mark.parametrize("role", ["", "resident", "developer", "device", "staff", "leader"])
def test_nobody_else_sees_or_does_any_of_it(city: City, role: str) -> None:
    expected = 403 if role else 401
    for path in ("channels", f"channel?id={CHANNEL}", "dead", f"dead/{city.open}"):
        assert city.ask("GET", path, role=role)[0] == expected
    for verb in ("resend", "drop", "pause", "resume"):
        assert city.ask("POST", verb, {"channel": CHANNEL}, role=role)[0] == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "channel?id=none", None, 404),
        ("GET", "dead/99999999999999999999999", None, 404),
        ("GET", "dead/-1", None, 404),
        ("GET", "channels?limit=1001", None, 400),
        ("GET", "channels?state=odd", None, 400),
        ("POST", "resume", {"channel": "none"}, 404),
        ("POST", "pause", {"channel": ""}, 400),
        ("POST", "resend", {"channel": "none"}, 404),
        ("POST", "resend", {"channel": CHANNEL, "parcels": [2**70]}, 400),
        ("POST", "drop", {"channel": CHANNEL, "parcels": list(range(1_001))}, 400),
        ("POST", "drop", {"channel": "nul\0", "more": 1}, 400),
        ("POST", "drop", {"channel": "nul\0"}, 400),
    ],
)
def test_what_cannot_be_done_is_said(city: City, method: str, path: str, body: Any, status: int) -> None:
    found, told = city.ask(method, path, body)
    assert (found, bool(told["detail"])) == (status, True), told
