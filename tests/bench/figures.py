"""The figures: each starts a real server, sends it real requests, and says what came of it."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import duckdb
import httpx
from deltalake import DeltaTable
from msgspec.structs import replace

from hutong.engines.sense.ports import Aggregation, HistoryQuery
from hutong.kernel.clock import HOUR, iso
from tests.bench import ceilings, filling, traffic
from tests.bench.load import Plan, Result, drive
from tests.bench.pack import write_pack
from tests.bench.spy import SPY_S, Spy
from tests.server import Server

MIB = 1 << 20
CONNECTIONS = {"upserts": 4, "small upserts": 16, "updates": 64, "retrievals": 16, "queries": 8}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. `least`: the aim is to be at most, not at least."""

    what: str
    value: float
    unit: str
    aim: float | None = None
    least: bool = False
    ceiling: str = ""
    ceiling_value: float | None = None
    note: str = ""


@dataclass
class Bench:
    """What the figures share: how long, how much, where; and the ceilings once they are known."""

    folder: Path
    seconds: float
    quick: bool
    spy: Spy
    known: dict[str, float] = field(default_factory=dict)

    @property
    def car_parks(self) -> int:
        return 10_000 if self.quick else 100_000

    def ceiling(self, name: str) -> float:
        """A ceiling by its name, measured when first asked for."""
        if name not in self.known:
            short = min(self.seconds, 10)
            print(f"  measuring the ceiling: {name} …", flush=True)
            if name.startswith("sqlite"):
                batches, singles = ceilings.sqlite_batches(self.folder, self.car_parks, short)
                self.known |= {"sqlite, a thousand to a commit": batches, "sqlite, one to a commit": singles}
            elif name == "fsync":
                self.known[name] = ceilings.fsyncs(self.folder, short)
            elif name == "decode":
                self.known[name] = ceilings.decoded(self.car_parks, short)
            elif name == "empty application":
                self.known[name] = ceilings.http(ceilings.RESPONDER, 64, short).rate
            else:
                self.known[name] = ceilings.http(ceilings.ECHO, 64, short).rate
        return self.known[name]

    @contextmanager
    def server(self, data: str) -> Iterator[Server]:
        """A server with the bench's pack over a data folder."""
        packs = write_pack(self.folder / "packs")
        with Server(self.folder / data, "--open", "--packs", str(packs)) as server:
            yield server

    def drive(self, server: Server, kind: str, seconds: float | None = None, batch: int = 1, label: str = "") -> Result:
        """Send one kind of request, and let the spy watch."""
        plan = Plan(
            kind=kind,
            port=server.port,
            connections=CONNECTIONS[label or kind],
            seconds=self.seconds if seconds is None else seconds,
            car_parks=self.car_parks,
            batch=batch,
        )
        if self.spy.wanted:
            with self.spy.watching(label or kind, server.pid):
                _sound(drive(replace(plan, seconds=SPY_S + 2)))
        return _sound(drive(plan))

    def create(self, server: Server) -> Result:
        """Make all car parks."""
        plan = Plan(kind="create", port=server.port, connections=2, car_parks=self.car_parks, batch=1000)
        return _sound(drive(plan))


def _sound(result: Result) -> Result:
    if result.refused:
        raise SystemExit(f"the server refused what was sent: {result.refused}\n{result.sample}")
    return result


def city(bench: Bench) -> Iterator[Figure]:
    """Reading and writing 100,000 car parks."""
    with bench.server("city") as server:
        made = bench.create(server)
        yield Figure(
            what="making entities, in batches of 1,000 with their places",
            value=made.answers * 1000 / made.seconds,
            unit="entities/s",
            note=f"{bench.car_parks:,} with name, place and two numbers; one is derived",
        )
        yield from _reading(bench, server)
        yield from _writing(bench, server)


def _reading(bench: Bench, server: Server) -> Iterator[Figure]:
    asked = bench.drive(server, "queries", min(bench.seconds, 20))
    yield Figure(
        what="typed query with `q`, 100 results of 100,000 entities",
        value=asked.rate,
        unit="requests/s",
        aim=300,
        ceiling="empty application",
        ceiling_value=bench.ceiling("empty application"),
        note=f"{_latency(asked)}; {asked.bytes / asked.answers / 1024:.0f} KiB an answer",
    )
    got = bench.drive(server, "retrievals", min(bench.seconds, 20))
    yield Figure(
        what="GET by id",
        value=got.rate,
        unit="requests/s",
        aim=10_000,
        ceiling="empty application",
        ceiling_value=bench.ceiling("empty application"),
        note=_latency(got),
    )


def _writing(bench: Bench, server: Server) -> Iterator[Figure]:
    single = bench.drive(server, "updates")
    yield Figure(
        what="single updates (PATCH attrs), 64 connections",
        value=single.rate,
        unit="updates/s",
        aim=8_000,
        ceiling="sqlite, one to a commit",
        ceiling_value=bench.ceiling("sqlite, one to a commit"),
        note="each durable when answered; commits are shared",
    )
    yield Figure(
        what="single updates, 99th percentile of latency",
        value=single.p99,
        unit="ms",
        aim=25,
        least=True,
        ceiling="one fsync alone",
        ceiling_value=1000 / bench.ceiling("fsync"),
        note=_latency(single),
    )
    yield _sustained("single updates", single)
    small = bench.drive(server, "upserts", min(bench.seconds, 20), batch=100, label="small upserts")
    yield Figure(
        what="batch upsert, 100 entities each, 16 connections",
        value=small.rate * 100,
        unit="entities/s",
        ceiling="sqlite, a thousand to a commit",
        ceiling_value=bench.ceiling("sqlite, a thousand to a commit"),
        note=_latency(small),
    )
    large = bench.drive(server, "upserts", batch=1000)
    for ceiling, note in (
        ("sqlite, a thousand to a commit", f"{_latency(large)}; aim at least 0.15 of this ceiling"),
        ("decode", "the same bodies decoded by msgspec, and nothing else"),
    ):
        yield Figure(
            what="batch upsert, 1,000 entities each, 4 connections",
            value=large.rate * 1000,
            unit="entities/s",
            aim=40_000,
            ceiling=ceiling,
            ceiling_value=bench.ceiling(ceiling),
            note=note,
        )
    yield _sustained("batch upsert", large)


def _sustained(what: str, result: Result) -> Figure:
    first, last = result.ends
    return Figure(
        what=f"{what}: the last sixth of the time against the first",
        value=last / first,
        unit="×",
        aim=1.0,
        note=f"over {result.seconds:.0f} s; the slowest second: {min(result.by_second) / result.rate:.0%} of the mean",
    )


def history(bench: Bench) -> Iterator[Figure]:
    """The hourly mean of one sensor-month, over HTTP, against DuckDB on the same files."""
    sensors = 232 if bench.quick else 2_315
    folder = bench.folder / "month"
    rows, seconds = filling.fill_history(folder, sensors)
    bare = _bare_duckdb(folder / "history")
    asked = filling.some(sensors)
    theirs = _median(bare, asked)
    with filling.opened(folder) as lake:
        query = HistoryQuery(entities=(), attributes=("availableSpotNumber",), begin=filling.BEGIN, end=filling.END)
        means = Aggregation(("avg",), HOUR)
        store = _median(lambda id_: lake.aggregate(replace(query, entities=(id_,)), means).height, asked)
    with bench.server("month") as server, httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        filling.make_known(client, asked)
        path = (
            f"/ngsi-ld/v1/temporal/entities/{{}}?attrs=availableSpotNumber&options=aggregatedValues&aggrMethods=avg"
            f"&aggrPeriodDuration=PT1H&timerel=between&timeAt={quote(iso(filling.BEGIN))}"
            f"&endTimeAt={quote(iso(filling.END))}"
        )

        def over_http(id_: str) -> int:
            answer = client.get(path.format(id_))
            return len(answer.raise_for_status().json()["availableSpotNumber"]["avg"])

        whole = _median(over_http, asked)
    note = f"medians of {len(asked)} sensors, each asked before; 8,640 rows to 720 means"
    for what, value, aim, more in (
        ("asked of the history", store, 2 * theirs, f"filled in {seconds:.0f} s"),
        ("over HTTP", whole, None, "written as JSON, sent, and read by a client in Python"),
    ):
        yield Figure(
            what=f"hourly mean of a sensor-month in {rows / 1e6:.0f} million rows, {what}",
            value=value,
            unit="ms",
            aim=aim,
            least=True,
            ceiling="DuckDB on the same files",
            ceiling_value=theirs,
            note=f"{note}; {more}",
        )


def _bare_duckdb(folder: Path) -> Callable[[str], int]:
    files = [str(folder / uri) for uri in DeltaTable(str(folder)).file_uris()]
    database = duckdb.connect(config={"threads": 2, "memory_limit": "512MB"})
    database.execute("SET parquet_metadata_cache = true")
    sql = f"""
        SELECT "at" - "at" % {HOUR} AS hour, avg(number) FROM read_parquet($files)
        WHERE entity = $id AND attribute = 'availableSpotNumber' AND "at" >= {filling.BEGIN} AND "at" < {filling.END}
        GROUP BY hour ORDER BY hour"""
    return lambda id_: len(database.execute(sql, {"files": files, "id": id_}).fetchall())


def _median(ask: Callable[[str], int], ids: list[str]) -> float:
    """The median time of an answer in milliseconds, after every question was asked once."""
    taken = []
    for turn in range(3):
        for id_ in ids:
            began = time.perf_counter()
            found = ask(id_)
            if turn:
                taken.append((time.perf_counter() - began) * 1000)
            if found != filling.HOURS:
                raise SystemExit(f"{id_} has {found} means, and should have {filling.HOURS}")
    return statistics.median(taken)


def start(bench: Bench) -> Iterator[Figure]:
    """Starting with a million entities."""
    entities = 100_000 if bench.quick else 1_000_000
    filling.fill_entities(bench.folder / "large", entities)
    with bench.server("large") as server:  # once, so that what is done only once is done
        server.stop()
        began = time.perf_counter()
        server.start()
        seconds = time.perf_counter() - began
        resident = _resident(server.pid)
    bare = time.perf_counter()
    with bench.server("empty") as empty:
        empty.stop()
        bare = time.perf_counter()
        empty.start()
        bare = time.perf_counter() - bare
        least = _resident(empty.pid)
    yield Figure(
        what=f"start with {entities:,} entities, until /health answers",
        value=seconds,
        unit="s",
        aim=5,
        least=True,
        ceiling="start with none",
        ceiling_value=bare,
    )
    yield Figure(
        what=f"resident memory after that start ({entities:,} entities)",
        value=resident / MIB,
        unit="MiB",
        aim=1024,
        least=True,
        ceiling="with none",
        ceiling_value=least / MIB,
    )


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files(bench: Bench) -> Iterator[Figure]:
    """Observations that come in a file."""
    rows = 20_000 if bench.quick else 400_000
    with bench.server("drop") as server:
        source = bench.folder / "gates-1.csv"
        filling.write_csv(source, rows)
        inbox = server.data / "inbox"
        began = time.perf_counter()
        shutil.copy(source, inbox / "gates-1.part")
        (inbox / "gates-1.part").rename(inbox / "gates-1.csv")
        done = inbox / "done" / "gates-1.csv"
        while not done.exists():
            time.sleep(0.05)
            if time.perf_counter() - began > 600:
                raise SystemExit("the file was not taken within ten minutes")
        seconds = time.perf_counter() - began
        counted = httpx.get(
            f"{server.url}/ngsi-ld/v1/entities?type={traffic.TYPE}&limit=0&count=true", trust_env=False
        ).headers["NGSILD-Results-Count"]
    yield Figure(
        what=f"file drop, a CSV of {rows:,} rows",
        value=rows / seconds,
        unit="rows/s",
        ceiling="sqlite, a thousand to a commit",
        ceiling_value=bench.ceiling("sqlite, a thousand to a commit"),
        note=f"from its arrival to its being put away, {seconds:.0f} s, of which the folder is watched for up to 4; "
        f"{counted} car parks",
    )


def generator(bench: Bench) -> Iterator[Figure]:
    """What the load generator itself could do."""
    yield Figure(
        what="the load generator against an answer that nobody computes",
        value=bench.ceiling("load generator"),
        unit="requests/s",
        note="no figure over HTTP can be higher than this",
    )
    yield Figure(
        what="the HTTP server with an application that does nothing",
        value=bench.ceiling("empty application"),
        unit="requests/s",
        note="Granian and uvloop, 64 connections",
    )


FIGURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "generator": generator,
    "city": city,
    "history": history,
    "start": start,
    "files": files,
}


def _latency(result: Result) -> str:
    return f"{result.p50:.1f} ms median, {result.p99:.1f} ms at the 99th percentile, {result.longest:.0f} ms at most"


def plain(value: float) -> str:
    """A number with three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
