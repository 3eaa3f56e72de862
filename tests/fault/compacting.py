"""A process that writes history until it dies. `compacting.py FOLDER [POINT TIMES]`; run by test_compaction.

Its ledger is a file with one line for each ledger row, synced before the row is appended, as the real one is.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from hutong.engines.sense.ports import HISTORY_SCHEMA
from hutong.kernel.clock import DAY, SECOND, FrozenClock, instant
from hutong.store.lake import LakeHistory, LakeSettings, files
from hutong.store.lake.lake import Lake
from hutong.store.lake.table import HistoryTable
from hutong.store.lake.tail import Tail

START = instant("2026-04-30T23:00:00Z")
LANE = "lane-a"
ENTITIES = tuple(f"urn:sensor:{i}" for i in range(7))
ROWS = 50  # of each ledger row
DIED = 9
SETTINGS = LakeSettings(pending_rows_max=120, chunk_rows=400, merge_files_min=3, row_group_rows=64, file_rows_max=2_000)

# Where the process dies: whose function, and whether before or after it has run.
POINTS: dict[str, tuple[Any, str, str]] = {
    "while files are written": (files, "sha256", "before"),
    "files written, not committed": (HistoryTable, "commit", "before"),
    "committed, not yet durable": (HistoryTable, "_write", "after"),
    "committed, recent rows still there": (Lake, "seal", "after"),
    "recent rows dropped": (LakeHistory, "compact", "after"),
    "while recent rows are sorted": (Tail, "sort", "after"),
    "while files are merged": (Lake, "_rewritten", "before"),
    "files merged": (Lake, "merge", "after"),
    "replaced files deleted, no checkpoint yet": (HistoryTable, "tidy", "before"),
}


def ledger_row(n: int) -> pl.DataFrame:
    """What ledger row `n` holds: every fifth repeats part of an earlier one, and some cross the end of a month."""

    def instant_of(i: int) -> int:
        return START + ((n * ROWS + i) - (60 if n % 5 == 0 and i % 3 == 0 else 0)) * 40 * SECOND

    rows = [
        {"entity": ENTITIES[i % len(ENTITIES)], "at": at, "recorded_at": at, "number": float(at // SECOND % 977)}
        for i, at in enumerate(map(instant_of, range(ROWS)))
    ]
    same = {
        "tenant": "", "type": "Sensor", "attribute": "pm25", "kind": "P", "text": None, "extra": None, "unit": "GQ",
        "marks": 0, "source": "gate", "lane": LANE, "n": n,
    }  # fmt: skip
    return pl.DataFrame([same | row for row in rows], schema=HISTORY_SCHEMA)


def committed(folder: Path) -> int:
    """How many rows the ledger has."""
    ledger = folder / "ledger"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def opened(folder: Path) -> LakeHistory:
    """The history as it is after a start: the lake, and from the ledger what the lake lacks."""
    store = LakeHistory(folder / "lake", FrozenClock(START + 40 * DAY), SETTINGS)
    for n in range(store.watermarks([LANE])[LANE] + 1, committed(folder)):
        store.append(ledger_row(n))
    return store


def written(folder: Path, store: LakeHistory) -> Iterator[int]:
    with (folder / "ledger").open("ab") as ledger:
        for n in range(committed(folder), 100_000):
            ledger.write(b"row\n")
            ledger.flush()
            os.fsync(ledger.fileno())
            store.append(ledger_row(n))
            yield n


def die_at(point: str, times: int) -> None:
    """Let the process end, without any clean-up, when a function of POINTS runs for the so-manieth time."""
    owner, name, when = POINTS[point]
    runs: Callable[..., Any] = getattr(owner, name)
    left = times

    @functools.wraps(runs)
    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if not left and when == "before":
            os._exit(DIED)
        answer = runs(*args, **kwargs)
        if not left:
            os._exit(DIED)
        return answer

    setattr(owner, name, dying)


def main(folder: Path, point: str = "", times: str = "1") -> None:
    if point:
        die_at(point, int(times))
    store = opened(folder)
    print("writing", flush=True)
    for n in written(folder, store):
        if n % 4 == 3:
            store.compact(store.recent().upto)
        if n % 24 == 23:
            store.optimise()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
