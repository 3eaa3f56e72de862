"""What the machine itself can do: the bounds that figures are held against, measured in the same run."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from tests.bench import traffic
from tests.bench.load import ROOT, Plan, Result, drive
from tests.components import free_port

BATCH = 1_000
DOCUMENT = (
    '{{"name":{{"v":"Car park {0}","c":1770000000000000,"m":1770000000000000}},'
    '"totalSpotNumber":{{"v":800,"c":1770000000000000,"m":1770000000000000}},'
    '"availableSpotNumber":{{"v":{1},"o":{2},"c":1770000000000000,"m":{2}}},'
    '"location":{{"k":"G","v":{{"type":"Point","coordinates":[120.1,30.2]}},"c":1770000000000000,"m":1770000000000000}},'
    '"occupancy":{{"v":0.58612500000000001,"o":{2},"u":"C62","c":1770000000000000,"m":{2},"q":2}}}}'
)
"""As long as what Hutong keeps of a car park."""


class RawSqlite:
    """State and history in bare SQLite: one upsert and one insert for each update, an index on the number."""

    def __init__(self, folder: Path, car_parks: int) -> None:
        self._database = sqlite3.connect(folder / "raw.db", isolation_level=None)
        run = self._database.execute
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -131072", "mmap_size = 1073741824"):
            run(f"PRAGMA {pragma}")
        run("CREATE TABLE state (id TEXT PRIMARY KEY, free INTEGER, doc TEXT)")
        run("CREATE INDEX state_free ON state (free)")
        run("CREATE TABLE history (id TEXT, attribute TEXT, at INTEGER, number REAL)")
        self._ids = [traffic.ID.format(n) for n in range(car_parks)]
        self._at = 1_770_000_000_000_000
        for first in range(0, car_parks, BATCH):
            self.write(self._ids[first : first + BATCH])

    def batches(self) -> Iterator[list[str]]:
        while True:
            yield from (self._ids[first : first + BATCH] for first in range(0, len(self._ids), BATCH))

    def write(self, ids: list[str]) -> None:
        """One durable transaction."""
        self._at += 1
        at = self._at
        state = [(id_, at % 700 + 100, DOCUMENT.format(id_, at % 700 + 100, at)) for id_ in ids]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT INTO state VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET free = excluded.free, doc = excluded.doc",
            state,
        )
        self._database.executemany(
            "INSERT INTO history VALUES (?, 'availableSpotNumber', ?, ?)", [(id_, at, free) for id_, free, _ in state]
        )
        self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()


def rate(work: Callable[[], int], seconds: float) -> float:
    """How much of what the work counts is done a second."""
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        done += work()
    return done / passed


def sqlite_batches(folder: Path, car_parks: int, seconds: float) -> tuple[float, float]:
    """Upserts with history a second in bare SQLite: a thousand to a transaction, and one by one."""
    raw = RawSqlite(folder, car_parks)
    batches = raw.batches()

    def batch() -> int:
        raw.write(next(batches))
        return BATCH

    def single() -> int:
        raw.write(next(batches)[:1])
        return 1

    found = rate(batch, seconds), rate(single, seconds)
    raw.close()
    return found


def fsyncs(folder: Path, seconds: float) -> float:
    """Appends of 4 KiB a second, each waited for."""
    handle = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    page = bytes(4096)

    def append() -> int:
        os.write(handle, page)
        os.fsync(handle)
        return 1

    found = rate(append, seconds)
    os.close(handle)
    return found


def decoded(car_parks: int, seconds: float) -> float:
    """Entities of a batch's JSON decoded a second by msgspec, with nothing done to them."""
    request = next(traffic.upserts(traffic.car_parks(min(car_parks, BATCH)), BATCH))
    body = request.partition(b"\r\n\r\n")[2]
    return rate(lambda: len(msgspec.json.decode(body)), seconds)


RESPONDER = """
import sys, uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"{}"}

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send(HEAD)
        await send(BODY)
    else:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

server = Server(app, address="127.0.0.1", port=int(sys.argv[1]), interface=Interfaces.ASGI, log_enabled=False)
uvloop.run(server.serve())
"""
"""The same HTTP server as Hutong's, with an application that does nothing."""

ECHO = """
import asyncio, sys, uvloop

ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}"

class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER)

async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

uvloop.run(main())
"""
"""What answers the same to anything, without reading it: bounds the load generator."""


@contextmanager
def responder(program: str) -> Iterator[int]:
    """The port of a process that runs the program."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.perf_counter() + 30
        while not _answers(port):
            assert time.perf_counter() < deadline, "the responder did not come up"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def http(program: str, connections: int, seconds: float) -> Result:
    """The smallest requests against a responder."""
    with responder(program) as port:
        return drive(Plan(kind="nothing", port=port, connections=connections, seconds=seconds))
