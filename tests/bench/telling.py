"""Notifications under load: how late they are, and whether any is lost."""

import http.client
import threading
import time
from collections.abc import Iterator

import httpx
import msgspec

from hutong.kernel.clock import SECOND, SystemClock
from tests.bench.figures import Bench, Figure
from tests.receiver import Receiver

SUBSCRIPTIONS = 100
GROUPS = 20  # of things, each of five subscriptions
THINGS = 2_000
UPDATES_PER_SECOND = 5_000
SENDERS = 4
BATCH = 50
SETTLE_S = 60
JSON = {"Content-Type": "application/json"}


class Sender(threading.Thread):
    """Sends batches at a steady pace; the value of an update is the instant when it was sent."""

    def __init__(self, port: int, number: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._port, self._number, self._seconds = port, number, seconds
        self.sent: list[tuple[str, int]] = []
        self.late = 0.0  # by how much it fell behind its pace at worst

    def run(self) -> None:
        clock, connection = SystemClock(), http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        things = [f"urn:ngsi-ld:Counter:{n:04}" for n in range(self._number, THINGS, SENDERS)]
        pause, begin, count = BATCH * SENDERS / UPDATES_PER_SECOND, time.monotonic(), 0
        while (due := begin + count * pause) < begin + self._seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            self.late = max(self.late, time.monotonic() - due)
            start = count * BATCH % len(things)
            now, chosen = clock.now(), (things[start:] + things)[:BATCH]
            batch = [{"id": id_, "type": "Counter", "count": {"type": "Property", "value": now}} for id_ in chosen]
            body = msgspec.json.encode(batch)
            connection.request("POST", "/ngsi-ld/v1/entityOperations/upsert?options=update", body, JSON)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (201, 204):
                raise SystemExit(f"the server refused a batch: {answer.status}")
            self.sent += [(id_, now) for id_ in chosen]
            count += 1


def subscriptions(bench: Bench) -> Iterator[Figure]:
    """5,000 updates a second with 100 subscriptions, each update told to five."""
    with bench.server("subscriptions") as server, Receiver() as receiver:
        _subscribe(server.url, receiver.url)
        senders = [Sender(server.port, number, bench.seconds) for number in range(SENDERS)]
        begin = time.monotonic()
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        took = time.monotonic() - begin
        sent = [one for sender in senders for one in sender.sent]
        expected = len(sent) * SUBSCRIPTIONS // GROUPS
        _settle(receiver)
        told, delays = _told(receiver)
    late = max(sender.late for sender in senders)
    yield Figure(
        what="updates taken while 100 subscribe, in batches of 50",
        value=len(sent) / took,
        unit="updates/s",
        aim=UPDATES_PER_SECOND * 0.99,
        note=f"the senders fell behind their pace by {late:.1f} s at most",
    )
    yield Figure(
        what="delay of a notification, 99th percentile, at that rate",
        value=delays[int(len(delays) * 0.99)] / SECOND,
        unit="s",
        aim=1.0,
        least=True,
        note=f"{delays[len(delays) // 2] / 1000:.0f} ms median, {delays[-1] / SECOND:.1f} s at most",
    )
    yield Figure(
        what="changes lost on the way to five subscribers each",
        value=expected - len(told),
        unit=f"of {expected:,}",
        aim=0,
        least=True,
        note=f"{len(receiver.arrived):,} notifications carried them",
    )


def _subscribe(server: str, receiver: str) -> None:
    with httpx.Client(base_url=f"{server}/ngsi-ld/v1", trust_env=False) as client:
        for number in range(SUBSCRIPTIONS):
            ends = "|".join(f"{last:02}" for last in range(number % GROUPS, 100, GROUPS))
            answer = client.post(
                "/subscriptions",
                json={
                    "id": f"urn:ngsi-ld:Subscription:{number}",
                    "type": "Subscription",
                    "entities": [{"type": "Counter", "idPattern": f"({ends})$"}],
                    "notification": {"format": "keyValues", "endpoint": {"uri": f"{receiver}/{number}"}},
                },
            )
            answer.raise_for_status()


def _settle(receiver: Receiver) -> None:
    """Wait until nothing more has come for two seconds."""
    deadline, seen = time.monotonic() + SETTLE_S, -1
    while len(receiver.arrived) != seen and time.monotonic() < deadline:
        seen = len(receiver.arrived)
        time.sleep(2)


def _told(receiver: Receiver) -> tuple[set[tuple[str, str, int]], list[int]]:
    """Each change with the subscription that heard of it, and how late each was when it came first."""
    told: set[tuple[str, str, int]] = set()
    delays: list[int] = []
    for at, path, body in receiver.arrived:
        for entity in msgspec.json.decode(body)["data"]:
            one = (path, entity["id"], entity["count"])
            if one not in told:
                told.add(one)
                delays.append(at - entity["count"])
    return told, sorted(delays)
