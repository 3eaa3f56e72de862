"""Whatever happens to the process or the disk, every acknowledged observation is in the history exactly once."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hutong.engines.sense.ports import Aggregation, HistoryQuery
from hutong.kernel.clock import HOUR, FrozenClock
from hutong.kernel.errors import StorageFull
from hutong.store.lake import LakeHistory, LakeSettings
from hutong.store.lake.query import IDENTITY
from tests.components import left_out
from tests.fault.compacting import DIED, ENTITIES, LANE, POINTS, SETTINGS, START, committed, ledger_row, opened

EVERYTHING = HistoryQuery(entities=ENTITIES)
CHILD = Path(__file__).with_name("compacting.py")


def expected(rows: int) -> pl.DataFrame:
    """What the history must show of so many ledger rows: each observation once, however often it was sent."""
    return pl.concat([ledger_row(0).clear(), *map(ledger_row, range(rows))]).unique(IDENTITY).sort(IDENTITY).drop("n")


def assert_exactly_once(store: LakeHistory, rows: int) -> None:
    due = expected(rows)
    assert store.read(EVERYTHING).sort(IDENTITY).drop("n").equals(due)
    counted = store.aggregate(EVERYTHING, Aggregation(("totalCount", "sum")))
    assert counted["totalCount"].sum() == due.height
    assert counted["sum"].sum() == due["number"].sum()


def assert_sound(folder: Path) -> None:
    """All is there after a start, after the next compaction and merge, and after one more start."""
    rows = committed(folder)
    store = opened(folder)
    assert_exactly_once(store, rows)
    store.compact(store.recent().upto)
    assert_exactly_once(store, rows)
    store.optimise()
    assert_exactly_once(store, rows)
    store.close()
    again = opened(folder)
    assert again.recent().rows == 0
    assert_exactly_once(again, rows)
    assert_told(again, rows)
    again.close()


def assert_told(store: LakeHistory, rows: int) -> None:
    """The records cover the ledger without gap or overlap, and name exactly the files that are there."""
    files: dict[str, str] = {}
    covered = -1
    for record in store.records():
        for span in record.lanes.values():
            assert span.first == covered + 1
            covered = span.last
        files |= {file.path: file.sha256 for file in record.added}
        for path in record.removed:
            del files[path]
    assert covered == rows - 1
    assert store.verify(files) == []


def child(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, CHILD, folder, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("point", POINTS)
def test_death_at_any_point_loses_and_doubles_nothing(tmp_path: Path, point: str, times: int) -> None:
    with child(tmp_path, point, str(times)) as process:
        process.communicate(timeout=120)
    assert process.returncode == DIED
    assert committed(tmp_path) > 0
    assert_sound(tmp_path)


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    for delay_ms in (40, 310, 130, 620, 5):
        with child(tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            time.sleep(delay_ms / 1000)
            process.send_signal(signal.SIGKILL)
        store = opened(tmp_path)
        assert_exactly_once(store, committed(tmp_path))
        store.close()
    assert_sound(tmp_path)


def test_readers_see_each_row_once_while_it_moves(tmp_path: Path) -> None:
    store = LakeHistory(tmp_path / "lake", FrozenClock(START), SETTINGS)
    sent: list[int] = []
    done = threading.Event()
    faults: list[str] = []
    counts = [expected(n).height for n in range(81)]

    def look() -> None:
        while not done.is_set():
            before = len(sent)
            seen = store.aggregate(EVERYTHING, Aggregation(("totalCount",)))["totalCount"].sum()
            rows = store.read(EVERYTHING)
            after = len(sent) + 1  # one may be visible that is not yet in the list
            if not counts[before] <= seen <= counts[min(after, 80)]:
                faults.append(f"{seen} rows counted, between {before} and {after} ledger rows sent")
            if rows.select(IDENTITY).is_duplicated().any() or rows.height < counts[before]:
                faults.append(f"{rows.height} rows read, {before} ledger rows sent")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for n in range(80):
            store.append(ledger_row(n))
            sent.append(n)
            if n % 3 == 2:
                store.compact(store.recent().upto)
            if n % 20 == 19:
                store.optimise()
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert faults == []
    store.close()


def test_an_entity_forgotten_while_its_rows_move_stays_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LakeHistory(tmp_path / "lake", FrozenClock(START), SETTINGS)
    store.append(ledger_row(0))
    forgetting = threading.Thread(target=store.forget, args=("", ENTITIES[0]))
    seal = store._lake.seal

    def meanwhile(*args: Any) -> Any:
        forgetting.start()
        forgetting.join(timeout=0.2)  # it may not get through before the rows are where they go
        return seal(*args)

    monkeypatch.setattr(store._lake, "seal", meanwhile)
    store.compact({LANE: 0})
    forgetting.join()
    assert sorted(set(store.read(EVERYTHING)["entity"])) == sorted(ENTITIES[1:])
    store.close()


@contextmanager
def files_bounded(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1_000, 10_000])
def test_a_disk_that_takes_no_more_leaves_all_as_it_was(tmp_path: Path, size: int) -> None:
    """0: nothing can be written; 1,000: a data file begins; 10,000: the first data file is whole, the next is not."""
    store = LakeHistory(tmp_path / "lake", FrozenClock(START), SETTINGS)
    for n in range(10):
        store.append(ledger_row(n))
    with files_bounded(size), pytest.raises(StorageFull, match="no space"):
        store.compact({LANE: 9})
    assert store.recent().rows == 10 * 50
    assert list((tmp_path / "lake").rglob("*.parquet")) == []
    assert_exactly_once(store, 10)
    assert store.compact({LANE: 9}) is not None
    assert_exactly_once(store, 10)
    with files_bounded(size), pytest.raises(StorageFull, match="no space"):
        store.retain("Sensor", START + 2 * HOUR)
    assert_exactly_once(store, 10)
    assert_told(store, 10)
    store.close()


def test_a_log_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LakeHistory(tmp_path / "lake", FrozenClock(START), SETTINGS)
    store.append(ledger_row(0))
    write = store._lake.table._write

    def full(*args: object) -> None:
        with files_bounded(100):
            write(*args)  # type: ignore[arg-type]  # passes on what it is given

    monkeypatch.setattr(store._lake.table, "_write", full)
    with pytest.raises(StorageFull):
        store.compact({LANE: 0})
    assert_exactly_once(store, 1)
    assert list((tmp_path / "lake").rglob("*.parquet")) == []
    monkeypatch.undo()
    assert store.compact({LANE: 0}) is not None
    assert_exactly_once(store, 1)
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        left_out("a small disk", f"mounting one needs root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_history_is_healthy_again_when_space_returns(small_disk: Path) -> None:
    settings = LakeSettings(recent_rows_max=600)
    store = LakeHistory(small_disk / "lake", FrozenClock(START), settings)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    with ballast.open("wb") as sink:
        os.posix_fallocate(sink.fileno(), 0, free.f_bavail * free.f_bsize)
    for n in range(10):
        store.append(ledger_row(n))
    with pytest.raises(StorageFull, match="no space"):
        store.compact({LANE: 9})
    store.room(100)
    with pytest.raises(StorageFull, match="disk takes no more"):
        store.room(101)
    assert_exactly_once(store, 10)
    ballast.unlink()
    assert store.compact({LANE: 9}) is not None
    store.room(600)
    assert_exactly_once(store, 10)
    store.close()
