"""The load generator: `python -m tests.bench.load PLAN` (JSON) in a process of its own; prints a Result as JSON.

Plain HTTP/1.1 with connections kept open, one request under way on each: the next is sent when the answer is there.
"""

import asyncio
import gc
import subprocess
import sys
import time
from array import array
from itertools import islice
from math import ceil
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from tests.bench import traffic

ROOT = Path(__file__).resolve().parents[2]
GIVE_UP_S = 120


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send. `kind`: create, upserts, updates, retrievals, queries or nothing."""

    kind: str
    port: int
    connections: int
    seconds: float = 0.0  # create goes on until all are made
    car_parks: int = 0
    batch: int = 1
    seed: int = 1


class Result(msgspec.Struct, kw_only=True):
    """What came of it. Latencies in milliseconds; `by_second` counts answers; `cpu` is the share of a core it took."""

    answers: int
    seconds: float
    by_second: list[int]
    p50: float
    p90: float
    p99: float
    longest: float
    cpu: float
    bytes: int
    refused: dict[int, int]
    sample: str = ""

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    @property
    def ends(self) -> tuple[float, float]:
        """Answers a second in the first and the last sixth."""
        part = max(1, len(self.by_second) // 6)
        return sum(self.by_second[:part]) / part, sum(self.by_second[-part:]) / part


class Run:
    """Shared by all connections."""

    def __init__(self, requests: traffic.Requests, seconds: float) -> None:
        self.requests, self.seconds = requests, seconds
        self.latencies = array("d")
        self.ended = array("d")
        self.refused: dict[int, int] = {}
        self.sample = ""
        self.bytes = 0
        self.open = 0
        self.done: asyncio.Event = asyncio.Event()
        self.begin = time.perf_counter()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not one by descent
        self._run.open += 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.open -= 1
        if not self._run.open:
            self._run.done.set()

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = buffer.find(b"content-length: ", 0, head)
        length = int(buffer[at + 16 : buffer.index(b"\r", at)]) if at >= 0 else 0
        if len(buffer) < head + 4 + length:
            return
        run, now = self._run, time.perf_counter()
        run.latencies.append(now - self._sent)
        run.ended.append(now - run.begin)
        run.bytes += len(buffer)
        if buffer[9] != 50:  # the first digit of the status is a 2
            status = int(buffer[9:12])
            run.refused[status] = run.refused.get(status, 0) + 1
            run.sample = run.sample or buffer[:1000].decode("utf-8", "replace")
        elif buffer[9:12] == b"207":
            run.refused[207] = run.refused.get(207, 0) + 1
            run.sample = run.sample or buffer[:1000].decode("utf-8", "replace")
        self._buffer = b""
        self._next()

    def _next(self) -> None:
        run = self._run
        request = None if run.seconds and time.perf_counter() - run.begin > run.seconds else next(run.requests, None)
        assert self._transport is not None
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def requests(plan: Plan) -> traffic.Requests:
    parks = traffic.car_parks(plan.car_parks)
    if plan.kind == "create":
        return traffic.creations(parks, plan.batch)
    if plan.kind == "upserts":
        return traffic.upserts(parks, plan.batch)
    if plan.kind == "nothing":
        return traffic.nothing()
    return traffic.KINDS[plan.kind](parks, plan.seed)


async def _drive(plan: Plan) -> Result:
    source = requests(plan)
    first = list(islice(source, 1))  # prepares everything
    gc.collect()
    gc.freeze()
    gc.disable()
    run = Run(_chained(first, source), plan.seconds)
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    run.begin = began
    for _ in range(plan.connections):
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", plan.port)
    await asyncio.wait_for(run.done.wait(), (plan.seconds or 3600) + GIVE_UP_S)
    seconds = max(run.ended)
    by_second = [0] * (int(seconds) + 1)
    for at in run.ended:
        by_second[int(at)] += 1
    whole = by_second[: int(plan.seconds)] if plan.seconds else by_second
    ordered = sorted(run.latencies)
    return Result(
        answers=len(ordered),
        seconds=seconds,
        by_second=whole,
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        longest=ordered[-1] * 1000,
        cpu=(time.process_time() - cpu) / seconds,
        bytes=run.bytes,
        refused=run.refused,
        sample=run.sample,
    )


def _chained(first: list[bytes], rest: traffic.Requests) -> traffic.Requests:
    yield from first
    yield from rest


def percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of sorted seconds, in milliseconds."""
    return ordered[max(0, ceil(len(ordered) * share / 100) - 1)] * 1000


def drive(plan: Plan) -> Result:
    """Run a plan in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(plan).decode()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Result)


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.argv[1], type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_drive(wanted))))
