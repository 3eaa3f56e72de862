"""What clients send: car parks whose free spaces walk at random, as bytes of HTTP made ready beforehand.

Numbers have three digits and instants 24 characters, so that a request differs from the next only in places that are
known; what is made while the clock runs is one joining of bytes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from hutong.kernel.clock import moment

TYPE = "BenchParking"
ID = f"urn:ngsi-ld:{TYPE}:{{}}"
SPACES = (600, 999)
FREE = (0.18, 0.85)  # of the spaces: seldom so few or so many that an alert moves
STRIDE = 12  # the longest step of the walk
WALKS = 6  # prepared for each car park, sent one after the other and back again

Requests = Iterator[bytes]


@dataclass(frozen=True)
class CarPark:
    """One of the things measured with. `free` is its walk."""

    number: int
    spaces: int
    free: tuple[int, ...]
    place: tuple[float, float]

    @property
    def id(self) -> str:
        return ID.format(self.number)


def car_parks(count: int, seed: int = 7) -> list[CarPark]:
    """The same car parks each time."""
    random = Random(seed)
    return [_car_park(number, random) for number in range(count)]


def _car_park(number: int, random: Random) -> CarPark:
    spaces = random.randint(*SPACES)
    least, most = (int(spaces * share) for share in FREE)
    walk = [random.randint(least, most)]
    while len(walk) < WALKS:
        walk.append(min(most, max(least, walk[-1] + random.choice((-1, 1)) * random.randint(1, STRIDE))))
    return CarPark(number, spaces, tuple(walk), (120 + random.random() / 2, 30 + random.random() / 2))


def creations(parks: list[CarPark], batch: int) -> Requests:
    """Batches that make every car park once."""
    at = _stamp().decode()
    for first in range(0, len(parks), batch):
        body = ",".join(_whole(park, at) for park in parks[first : first + batch])
        yield _post("/ngsi-ld/v1/entityOperations/upsert?options=update", f"[{body}]".encode())


def upserts(parks: list[CarPark], batch: int) -> Requests:
    """Batches for ever: a gateway each that tells of its own car parks, one gateway after the other."""
    prepared: list[list[list[bytes]]] = []
    for first in range(0, len(parks), batch):
        own = parks[first : first + batch]
        prepared.append([_pieces(own, walk) for walk in range(WALKS)])
    turn = 0
    while True:
        walk = turn % (2 * WALKS - 2)
        walk = walk if walk < WALKS else 2 * WALKS - 2 - walk
        for gateway in prepared:
            yield _stamp().join(gateway[walk])
        turn += 1


def updates(parks: list[CarPark], seed: int) -> Requests:
    """One new observation of one car park after the other, for ever, in no order."""
    random = Random(seed)
    head = (
        "PATCH /ngsi-ld/v1/entities/{}/attrs HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\n\r\n"
    )
    value = b'{"availableSpotNumber":{"type":"Property","value":'
    length = len(value) + 3 + len(b',"observedAt":"') + 24 + len(b'"}}')
    heads = [head.format(park.id, length).encode() + value for park in parks]
    numbers = [str(number).encode() for number in range(1000)]
    while True:
        number = random.randrange(len(parks))
        park = parks[number]
        free = numbers[park.free[random.randrange(WALKS)]]
        yield b"".join((heads[number], free, b',"observedAt":"', _stamp(), b'"}}'))


def retrievals(parks: list[CarPark], seed: int) -> Requests:
    """One car park after the other by its id, for ever, in no order."""
    random = Random(seed)
    ready = [f"GET /ngsi-ld/v1/entities/{park.id} HTTP/1.1\r\nHost: bench\r\n\r\n".encode() for park in parks]
    while True:
        yield ready[random.randrange(len(ready))]


def queries(parks: list[CarPark], seed: int) -> Requests:
    """Car parks of the type with a certain number of free spaces, a hundred at most, for ever."""
    random = Random(seed)
    path = f"/ngsi-ld/v1/entities?type={TYPE}&limit=100&q=availableSpotNumber=={{}}"
    ready = [f"GET {path.format(n)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode() for n in common(parks)]
    while True:
        yield ready[random.randrange(len(ready))]


def common(parks: list[CarPark]) -> list[int]:
    """Numbers of free spaces that about a hundred car parks of 100,000 have at first, or as many as any have."""
    counts: dict[int, int] = {}
    for park in parks:
        counts[park.free[0]] = counts.get(park.free[0], 0) + 1
    wanted = min(100, sorted(counts.values())[-20])
    return [number for number, count in counts.items() if count >= wanted]


def nothing() -> Requests:
    """The smallest request, for ever."""
    while True:
        yield b"GET /nothing HTTP/1.1\r\nHost: bench\r\n\r\n"


KINDS: dict[str, Callable[..., Requests]] = {
    "updates": updates,
    "retrievals": retrievals,
    "queries": queries,
}


def _post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _whole(park: CarPark, at: str) -> str:
    lon, lat = park.place
    return (
        f'{{"id":"{park.id}","type":"{TYPE}","name":{{"type":"Property","value":"Car park {park.number}"}},'
        f'"location":{{"type":"GeoProperty","value":{{"type":"Point","coordinates":[{lon:.6f},{lat:.6f}]}}}},'
        f'"totalSpotNumber":{{"type":"Property","value":{park.spaces}}},'
        f'"availableSpotNumber":{{"type":"Property","value":{park.free[0]},"observedAt":"{at}"}}}}'
    )


def _pieces(parks: list[CarPark], walk: int) -> list[bytes]:
    """A batch of observations as a request, cut where instants go."""
    cut = "\0" * 24
    items = ",".join(
        f'{{"id":"{park.id}","type":"{TYPE}","availableSpotNumber":'
        f'{{"type":"Property","value":{park.free[walk]},"observedAt":"{cut}"}}}}'
        for park in parks
    )
    return _post("/ngsi-ld/v1/entityOperations/upsert?options=update", f"[{items}]".encode()).split(cut.encode())


def _stamp() -> bytes:
    """The present instant, 24 characters."""
    return moment(time.time_ns() // 1_000_000 * 1000).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].encode() + b"Z"
