"""A real server killed while a receiver fails: its counters and reasons survive, and all arrives once it heals."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.server import PATIENCE_S, Server


class Failing(ThreadingHTTPServer):
    """Answers each POST with `status`, and keeps the values of those that it took."""

    status = 500
    daemon_threads = True

    def __init__(self) -> None:
        self.values: list[int] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Failing)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.values += [entity["count"] for entity in msgspec.json.decode(body)["data"]]
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """The test tells what went wrong."""


@contextmanager
def receiving() -> Iterator[Failing]:
    with Failing() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


def channel(server: Server) -> dict[str, Any]:
    found: list[dict[str, Any]] = httpx.get(f"{server.url}/api/v1/outbox/channels", trust_env=False).json()["channels"]
    return found[0] if found else {}


def eventually(server: Server, reason: str) -> dict[str, Any]:
    """The channel, once its last failure is this."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := channel(server)).get("last_error") != reason:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_failures_survive_a_kill_and_everything_arrives_when_the_receiver_heals(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--open")
    with receiving() as receiver:
        server.start()
        endpoint = {"uri": f"http://127.0.0.1:{receiver.server_address[1]}/n"}
        subscription = {
            "id": "urn:ngsi-ld:Subscription:1",
            "type": "Subscription",
            "entities": [{"type": "Counter"}],
            "notification": {"format": "keyValues", "endpoint": endpoint},
        }
        base = f"{server.url}/ngsi-ld/v1"
        assert httpx.post(f"{base}/subscriptions", json=subscription, trust_env=False).status_code == 201
        for value in range(1, 6):
            entity = {"id": "urn:c:1", "type": "Counter", "count": {"type": "Property", "value": value}}
            httpx.post(f"{base}/entityOperations/upsert", json=[entity], trust_env=False).raise_for_status()
        before = eventually(server, "answered 500")
        server.kill()
        receiver.status = 302
        server.start()
        after = eventually(server, "answered 302: redirects are not followed")
        assert after["times_failed"] > before["times_failed"]
        assert (after["state"], after["waiting"], after["times_sent"]) == ("failing", 5, 0)
        receiver.status = 200
        resumed = {"channel": after["id"]}
        httpx.post(f"{server.url}/api/v1/outbox/resume", json=resumed, trust_env=False).raise_for_status()
        deadline = time.monotonic() + PATIENCE_S
        while channel(server)["waiting"] and time.monotonic() < deadline:
            time.sleep(0.05)
        healed = channel(server)
        server.stop()
    assert receiver.values == [1, 2, 3, 4, 5]
    assert (healed["state"], healed["waiting"], healed["times_sent"]) == ("active", 0, 5)
    assert healed["times_failed"] >= after["times_failed"]
