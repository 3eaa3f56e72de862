"""Data folders filled without a server, for figures that begin with much."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import msgspec
import numpy as np
import polars as pl

from hutong.engines.sense.ports import HISTORY_SCHEMA, Attribute, EntityRow
from hutong.kernel.clock import DAY, MINUTE, SystemClock, instant, iso
from hutong.store.lake import LakeHistory
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.entities import SqlEntities
from tests.bench import traffic

BEGIN = instant("2026-03-01T00:00:00Z")
END = BEGIN + 30 * DAY
HOURS = 30 * 24
STEP = 5 * MINUTE
LANE = "filled"
ASKED = 20
ROWS_AT_ONCE = 200_000


def fill_history(data: Path, sensors: int) -> tuple[int, float]:
    """Give a lake one month of so many sensors, moved and merged as upkeep does. Gives rows and seconds."""
    began = time.perf_counter()
    data.mkdir(parents=True)
    lake = LakeHistory(data / "history", SystemClock())
    instants = np.arange(BEGIN, END, STEP)
    random = np.random.default_rng(7)
    rows = n = 0
    at_once = max(1, ROWS_AT_ONCE // sensors)  # instants: the sensors report together, as they do in life
    for first in range(0, len(instants), at_once):
        some = instants[first : first + at_once]
        n += 1
        lake.append(_frame(sensors, some, n, random))
        rows += sensors * len(some)
        if lake.compaction_due:
            lake.compact({LANE: n})
    lake.compact({LANE: n})
    lake.optimise()
    lake.close()
    return rows, time.perf_counter() - began


def _frame(
    sensors: int, instants: "np.ndarray[tuple[int], np.dtype[np.int64]]", n: int, random: np.random.Generator
) -> pl.DataFrame:
    count = sensors * len(instants)
    whole = {
        "tenant": "", "type": traffic.TYPE, "attribute": "availableSpotNumber", "kind": "P", "text": None,
        "extra": None, "unit": None, "marks": 0, "source": "api", "lane": LANE, "n": n,
    }  # fmt: skip
    return pl.DataFrame(
        {
            "entity": [traffic.ID.format(i) for i in range(sensors)] * len(instants),
            "at": np.repeat(instants, sensors),
            "recorded_at": np.repeat(instants, sensors),
            "number": random.integers(100, 800, count).astype(float),
        }
    ).select(
        pl.col(name).cast(kind) if name not in whole else pl.lit(whole[name], kind).alias(name)
        for name, kind in HISTORY_SCHEMA.items()
    )


@contextmanager
def opened(data: Path) -> Iterator[LakeHistory]:
    """The history of a data folder, as a server has it."""
    lake = LakeHistory(data / "history", SystemClock())
    yield lake
    lake.close()


def some(sensors: int) -> list[str]:
    """Sensors spread over all."""
    return [traffic.ID.format(i) for i in range(0, sensors, max(1, sensors // ASKED))][:ASKED]


def make_known(client: httpx.Client, ids: list[str]) -> None:
    """Tell a server of entities whose history it has."""
    batch = [
        {
            "id": id_,
            "type": traffic.TYPE,
            "availableSpotNumber": {"type": "Property", "value": 500, "observedAt": iso(END + DAY)},
        }
        for id_ in ids
    ]
    client.post("/ngsi-ld/v1/entityOperations/upsert", json=batch).raise_for_status()


def fill_entities(data: Path, count: int) -> None:
    """Write so many entities as the engine would have."""
    data.mkdir(parents=True)
    database = SqlDatabase(f"sqlite:///{data / 'hutong.db'}")
    entities = SqlEntities(database)
    entities.index(traffic.TYPE, "availableSpotNumber")
    random = Random(7)
    now = SystemClock().now()
    for first in range(0, count, 10_000):
        rows = [_row(number, now, random) for number in range(first, min(first + 10_000, count))]
        with database.begin() as tx:
            entities.save(tx, rows, [])
    database.close()


def _row(number: int, now: int, random: Random) -> EntityRow:
    lon, lat = 120 + random.random() / 2, 30 + random.random() / 2
    free, spaces = random.randint(100, 800), random.randint(800, 999)
    document = {
        "name": Attribute(value=f"Car park {number}"),
        "location": Attribute(kind="G", value={"type": "Point", "coordinates": [lon, lat]}),
        "totalSpotNumber": Attribute(value=spaces),
        "availableSpotNumber": Attribute(value=free, observed_at=now),
        "occupancy": Attribute(value=1 - free / spaces, observed_at=now, unit="C62", marks=2),
    }
    for attribute in document.values():
        attribute.created_at = attribute.modified_at = now
    return EntityRow(
        tenant="", id=traffic.ID.format(number), type=traffic.TYPE, doc=msgspec.json.encode(document).decode(),
        city="330100", lon=lon, lat=lat, west=lon, east=lon, south=lat, north=lat, created_at=now, modified_at=now,
        observed_at=now, source="api",
    )  # fmt: skip


def write_csv(file: Path, rows: int) -> None:
    """Observations of a thousand car parks, in order of time."""
    random = Random(7)
    begin = SystemClock().now() - rows * MINUTE // 1000 - MINUTE
    with file.open("w", encoding="utf-8") as sink:
        sink.write("number,time,free\n")
        for n in range(rows):
            sink.write(f"{n % 1000},{iso(begin + n // 1000 * MINUTE)},{random.randint(150, 600)}\n")
