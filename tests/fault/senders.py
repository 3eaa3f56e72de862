"""Clients that send observations and remember what was acknowledged, and what cannot be known to be.

Each has car parks of its own, so that the newest observation of each is its own affair. An observation is known by
its car park and its instant; its value follows from the instant.
"""

import http.client
import threading
from random import Random
from typing import Any, NamedTuple

import msgspec

from hutong.kernel.clock import iso

TYPE = "OffStreetParking"
PROPERTY = "availableSpotNumber"
SPACES = 500
CAR_PARKS = 12  # of each sender
STEP = 1_000  # microseconds between the instants of one sender
PATIENCE_S = 60  # a bound on a hanging server, not an expectation
JSON = {"Content-Type": "application/json"}


class Observed(NamedTuple):
    """An observation."""

    car_park: str
    at: int

    @property
    def value(self) -> int:
        return self.at // STEP % SPACES


class Sender(threading.Thread):
    """Sends one request after the other until the server is gone or `enough` is set."""

    def __init__(self, name: str, begin: int, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.random = Random(f"{name}:{seed}")
        self.port = 0
        self.car_parks = [f"urn:ngsi-ld:{TYPE}:{name}-{i}" for i in range(CAR_PARKS)]
        self.acknowledged: set[Observed] = set()
        self.doubtful: tuple[Observed, ...] = ()
        self.refused: list[tuple[int, bytes]] = []
        self.enough = threading.Event()
        self._at = begin

    def again(self) -> "Sender":
        """The same sender on a thread of its own, for the next time that the server is up."""
        other = Sender(self.name, self._at, self.random.getrandbits(32))
        other.acknowledged, other.doubtful = self.acknowledged, self.doubtful
        return other

    @property
    def newest(self) -> dict[str, Observed]:
        """The newest acknowledged observation of each car park."""
        return {one.car_park: one for one in sorted(self.acknowledged, key=lambda one: one.at)}

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            self._send(connection, self.doubtful)  # a client that did not hear an answer asks again
            while not self.enough.is_set():
                self._send(connection, self._next())
        except (OSError, http.client.HTTPException):
            pass  # the server is gone; what was under way stays doubtful
        finally:
            connection.close()

    def _next(self) -> tuple[Observed, ...]:
        """One or several observations: new ones, late ones, and some that were acknowledged already."""
        self._at += STEP
        kind = self.random.random()
        newest = self.newest
        if kind < 0.5 or len(newest) < CAR_PARKS:
            chosen = self.random.sample(self.car_parks, self.random.randint(1, CAR_PARKS))
            return tuple(Observed(car_park, self._at) for car_park in chosen)
        some = newest[self.random.choice(self.car_parks)]
        if kind < 0.85:
            return (Observed(some.car_park, self._at),)
        if kind < 0.95:
            return (Observed(some.car_park, some.at - STEP // 2),)
        return (some,)

    def _send(self, connection: http.client.HTTPConnection, observed: tuple[Observed, ...]) -> None:
        if not observed:
            return
        self.doubtful = observed
        if len(observed) == 1 and observed[0].car_park in self.newest:
            path = f"/ngsi-ld/v1/entities/{observed[0].car_park}/attrs"
            connection.request("PATCH", path, msgspec.json.encode({PROPERTY: _property(observed[0])}), JSON)
        else:
            path = "/ngsi-ld/v1/entityOperations/upsert?options=update"
            connection.request("POST", path, msgspec.json.encode([_entity(one) for one in observed]), JSON)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status in (201, 204):
            self.acknowledged.update(observed)
        else:
            self.refused.append((answer.status, told))
        self.doubtful = ()


def _property(one: Observed) -> dict[str, Any]:
    return {"type": "Property", "value": one.value, "observedAt": iso(one.at)}


def _entity(one: Observed) -> dict[str, Any]:
    return {
        "id": one.car_park,
        "type": TYPE,
        "totalSpotNumber": {"type": "Property", "value": SPACES, "observedAt": iso(one.at)},
        PROPERTY: _property(one),
    }
