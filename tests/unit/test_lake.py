"""The lake behind the history: what is sealed, merged, expired, erased and verified, and who may write how much."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, HistoryQuery
from hutong.kernel.clock import DAY, HOUR, MINUTE, FrozenClock, SystemClock, instant
from hutong.kernel.errors import Conflict, IntegrityBroken, Overloaded
from hutong.store.lake import LakeHistory, LakeSettings, Span
from hutong.store.lake.files import ORDER, type_key
from hutong.store.lake.tail import Batch

NOON = instant("2026-05-01T12:00:00Z")
SETTINGS = LakeSettings(
    recent_rows_due=60, recent_rows_max=200, pending_frames_max=4, pending_rows_max=90, chunk_rows=100,
    row_group_rows=32, merge_files_min=3, file_rows_max=160,
)  # fmt: skip
SENSORS = tuple(f"urn:sensor:{i}" for i in range(3))

Open = Callable[..., LakeHistory]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the lake of this test, as often as it is called; all are closed in the end."""
    stores: list[LakeHistory] = []

    def open_one(now: int = NOON, **changes: Any) -> LakeHistory:
        settings = LakeSettings(**{name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__} | changes)
        stores.append(LakeHistory(tmp_path / "lake", FrozenClock(now), settings))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def observed(n: int, rows: int = 30, start: int | None = None, lane: str = "a", **columns: Any) -> pl.DataFrame:
    """Ledger row `n`: each sensor in turn, a minute apart."""
    first = NOON + n * 30 * MINUTE if start is None else start
    same = {
        "tenant": "", "type": "Sensor", "attribute": "pm25", "kind": "P", "text": None, "extra": None, "unit": "GQ",
        "marks": 0, "source": "gate", "lane": lane, "n": n,
    }  # fmt: skip
    made = [
        {"entity": SENSORS[i % 3], "at": first + i * MINUTE, "recorded_at": first + i * MINUTE, "number": float(i + n)}
        for i in range(rows)
    ]
    return pl.DataFrame([same | row | columns for row in made], schema=HISTORY_SCHEMA)


def everything(store: LakeHistory) -> pl.DataFrame:
    return store.read(HistoryQuery(entities=SENSORS))


def sealed_one_by_one(store: LakeHistory, count: int) -> None:
    for n in range(count):
        store.append(observed(n))
        store.compact({"a": n})


def test_compaction_says_what_it_sealed(opened: Open, tmp_path: Path) -> None:
    store = opened()
    assert store.compact({"a": 9}) is None
    store.append(pl.concat([observed(0), observed(0, type="https://example.org/类型#1", start=NOON + 60 * DAY)]))
    store.append(observed(2))
    sealed = store.compact({"a": 2})
    assert sealed is not None
    assert sealed.lanes == {"a": Span(0, 2)}
    assert sum(file.rows for file in sealed.added) == 90
    assert sorted(Path(file.path).parts[1] for file in sealed.added) == ["2026-05", "2026-06"]
    assert store.verify({file.path: file.sha256 for file in sealed.added}) == []
    assert [file.size for file in sealed.added] == [(tmp_path / "lake" / f.path).stat().st_size for f in sealed.added]
    assert store.watermarks(["a", "b"]) == {"a": 2, "b": -1}
    assert store.recent().rows == 0
    store.append(observed(3, lane="b"))
    again = store.compact({"b": 3, "a": 7})
    assert again is not None
    assert again.lanes == {"b": Span(0, 3)}
    assert store.records() == [sealed, again]
    assert opened().records(after=sealed.version) == [again]


def test_compaction_goes_no_further_than_rows_have_come(opened: Open) -> None:
    store = opened()
    store.append(observed(0))
    store.compact({"a": 5})
    assert store.watermarks(["a"]) == {"a": 0}
    store.append(observed(5))
    assert everything(store).height == 60


def test_compaction_may_stop_in_the_middle(opened: Open) -> None:
    store = opened()
    for n in range(7):
        store.append(pl.concat([observed(n, rows=9), observed(n, rows=6, lane="b")]))
    store.compact({"a": 3})
    assert store.recent().upto == {"a": 6, "b": 6}
    assert store.recent().rows == 7 * 15 - 4 * 9
    assert everything(store).unique(("lane", "n", "at")).height == 7 * 15 - 7 * 6  # lane b repeats lane a
    store.compact({"a": 5, "b": 6})
    assert store.recent().rows == 9
    assert everything(store).height == 7 * 9


def test_rows_that_the_lake_has_are_passed_over(opened: Open) -> None:
    store = opened()
    sealed_one_by_one(store, 2)
    again = opened()
    again.append(pl.concat([observed(1, number=99.0), observed(2)]))
    assert again.recent().rows == 30
    assert everything(again).height == 90


def test_files_are_sorted_and_cut(opened: Open, tmp_path: Path) -> None:
    store = opened()
    store.append(observed(0, rows=400).sample(fraction=1, shuffle=True, seed=1))
    sealed = store.compact({"a": 0})
    assert sealed is not None
    assert [file.rows for file in sealed.added] == [160, 160, 80]
    read = [pl.read_parquet(tmp_path / "lake" / file.path, hive_partitioning=False) for file in sealed.added]
    whole = pl.concat(read)
    assert whole.equals(whole.sort(ORDER))


def test_small_files_are_merged(opened: Open) -> None:
    store = opened(obsolete_hours_kept=0)
    sealed_one_by_one(store, 2)
    assert store.optimise() == []  # two files of a month that goes on are not worth it
    sealed_one_by_one(store, 4)
    before = everything(store)
    (merged,) = store.optimise()
    assert (len(merged.removed), [file.rows for file in merged.added], merged.dropped) == (4, [120], 0)
    assert everything(store).equals(before)
    assert store.optimise() == []
    assert store.watermarks(["a"]) == {"a": 3}
    assert everything(opened()).equals(before)


def test_a_month_that_is_over_is_merged_whole(opened: Open) -> None:
    store = opened(now=NOON + 40 * DAY, merge_files_min=100)
    sealed_one_by_one(store, 2)
    store.append(observed(2, start=NOON + 40 * DAY))
    store.compact({"a": 2})
    (merged,) = store.optimise()
    assert [file.rows for file in merged.added] == [60]
    assert everything(store).height == 90


def test_files_of_unlike_size_are_left_apart(opened: Open) -> None:
    store = opened(file_rows_max=1000)
    for n, rows in enumerate((2, 2, 2, 90, 90)):
        store.append(observed(n, rows=rows))
        store.compact({"a": n})
    (merged,) = store.optimise()
    assert [file.rows for file in merged.added] == [6]


def test_replaced_files_stay_for_a_while(opened: Open, tmp_path: Path) -> None:
    store = opened(now=SystemClock().now())  # deltalake judges the age of files by the machine's clock
    sealed_one_by_one(store, 4)
    store.optimise()
    assert len(list((tmp_path / "lake").rglob("Sensor/*/*.parquet"))) == 5
    other = opened(now=SystemClock().now() - 25 * HOUR)
    sealed_one_by_one(other, 8)
    other.optimise()
    other.optimise()
    assert len(list((tmp_path / "lake").rglob("Sensor/*/*.parquet"))) == 6


def test_what_expired_is_deleted_by_type(opened: Open) -> None:
    store = opened()
    store.append(pl.concat([observed(0), observed(0, type="Other", attribute="x", start=NOON - 40 * DAY)]))
    store.append(observed(1, start=NOON - 40 * DAY))
    store.compact({"a": 1})
    store.append(observed(2, start=NOON - 30 * DAY))
    assert store.retain("Nothing", NOON) is None
    gone = store.retain("Sensor", NOON + 10 * MINUTE)
    assert gone is not None
    assert (gone.purpose, gone.dropped) == ("retain", 40)
    left = everything(store)
    assert left.group_by("type").len().sort("type").rows() == [("Other", 30), ("Sensor", 20)]
    assert store.retain("Sensor", NOON + 10 * MINUTE) is None


def test_an_erased_entity_leaves_no_bytes(opened: Open, tmp_path: Path) -> None:
    store = opened()
    sealed_one_by_one(store, 2)
    store.append(observed(2, entity="urn:person:1"))
    store.compact({"a": 2})
    store.append(observed(3, entity="urn:person:1"))
    store.forget("", "urn:person:1")
    assert store.read(HistoryQuery(entities=("urn:person:1",))).is_empty()
    assert everything(store).height == 60
    (record,) = store.records(after=store.records()[-2].version)
    assert (record.purpose, record.dropped) == ("forget", 30)
    for path in (tmp_path / "lake").rglob("*.parquet"):
        assert b"urn:person:1" not in path.read_bytes()
    assert store.compact({"a": 3}) is None


def test_files_are_verified(opened: Open, tmp_path: Path) -> None:
    store = opened()
    sealed_one_by_one(store, 3)
    files = {file.path: file.sha256 for record in store.records() for file in record.added}
    assert store.verify(files) == []
    first, second, third = sorted(files)
    changed = tmp_path / "lake" / first
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    (tmp_path / "lake" / second).unlink()
    del files[third]
    found = {(fault.where, fault.code) for fault in store.verify(files)}
    assert found == {(first, "file-changed"), (second, "file-missing"), (third, "file-unknown")}
    with pytest.raises(IntegrityBroken, match="cannot be read"):
        everything(store)
    with pytest.raises(IntegrityBroken, match="cannot be read"):
        store.retain("Sensor", NOON + DAY)


def test_a_file_that_is_no_longer_in_the_table_is_told(opened: Open) -> None:
    store = opened()
    sealed_one_by_one(store, 1)
    files = {file.path: file.sha256 for file in store.records()[0].added}
    store.retain("Sensor", NOON + DAY)
    assert [fault.code for fault in store.verify(files)] == ["file-dropped"]


def test_writers_are_refused_when_recent_rows_fill_their_memory(opened: Open) -> None:
    store = opened()
    store.room(200)
    for n in range(6):
        assert store.compaction_due == (n >= 2)
        store.append(observed(n))
    store.room(20)
    with pytest.raises(Overloaded, match="180 rows"):
        store.room(21)
    store.compact(store.recent().upto)
    store.room(200)
    tight = opened(recent_bytes_max=100)
    tight.append(observed(6))
    with pytest.raises(Overloaded, match="30 rows"):
        tight.room(1)


def test_another_process_sees_what_was_compacted(opened: Open) -> None:
    one, other = opened(), opened()
    for n in range(3):
        one.append(observed(n))
        other.append(observed(n))
    one.compact({"a": 1})
    assert everything(other).height == 90
    assert everything(other)["n"].n_unique() == 3
    other.compact({"a": 2})
    assert other.recent().rows == 0
    assert everything(one).height == 90
    assert [record.lanes for record in one.records()] == [{"a": Span(0, 1)}, {"a": Span(2, 2)}]


def test_what_another_process_erased_does_not_come_back(opened: Open) -> None:
    one, other = opened(), opened()
    for store in (one, other):
        store.append(observed(0))
    one.compact({"a": 0})
    one.forget("", SENSORS[0])
    assert everything(other).height == 20
    assert not other.repeated(observed(0, rows=1)).any()


@pytest.mark.parametrize(("owner", "name"), [("_tail", "of_entities"), ("table", "snapshot")])
def test_rows_that_move_under_a_query_are_seen_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    store = opened()
    place = store._tail if owner == "_tail" else store._lake.table
    look = getattr(place, name)
    moved = threading.Event()

    def moved_after(*args: Any) -> Any:
        answer = look(*args)
        if not moved.is_set():
            moved.set()
            store.compact({"a": 0})
        return answer

    store.append(observed(0))
    monkeypatch.setattr(place, name, moved_after)
    assert everything(store).height == 30
    assert moved.is_set()


def test_rows_that_come_while_others_are_dropped_stay(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    store.append(pl.concat([observed(0), observed(0, lane="b", attribute="x")]))
    keep = Batch.kept

    def meanwhile(batch: Batch, kept: pl.Expr) -> Batch:
        store.append(observed(1))
        return keep(batch, kept)

    monkeypatch.setattr(Batch, "kept", meanwhile)
    store.compact({"a": 0})
    assert store.recent().rows == 60
    assert everything(store).height == 90


def test_the_second_of_two_processes_with_the_same_rows_is_refused(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = opened(), opened()
    for store in (one, other):
        store.append(observed(0))
    write = other._lake.table._write

    def outrun(*args: Any) -> None:
        one.compact({"a": 0})
        write(*args)

    monkeypatch.setattr(other._lake.table, "_write", outrun)
    with pytest.raises(Conflict):
        other.compact({"a": 0})
    monkeypatch.undo()
    assert len(list((tmp_path / "lake").rglob("Sensor/*/*.parquet"))) == 1
    for store in (one, other):
        assert everything(store).height == 30
    assert other.compact({"a": 0}) is None
    assert other.recent().rows == 0


@pytest.mark.parametrize("torn", [b"", b'{"commitInfo":{"timest', b"\0" * 700])
def test_a_commit_torn_by_a_power_cut_is_set_aside(opened: Open, tmp_path: Path, torn: bytes) -> None:
    store = opened()
    sealed_one_by_one(store, 2)
    entry = max((tmp_path / "lake" / "_delta_log").glob("*.json"))
    entry.write_bytes(torn)
    again = opened()
    assert again.watermarks(["a"]) == {"a": 0}
    again.append(observed(1))
    assert everything(again).height == 60
    assert again.compact({"a": 1}) is not None
    assert everything(opened()).height == 60


def test_a_table_torn_at_its_birth_is_made_anew(opened: Open, tmp_path: Path) -> None:
    opened()
    (tmp_path / "lake" / "_delta_log" / f"{0:020}.json").write_bytes(b"")
    store = opened()
    sealed_one_by_one(store, 1)
    assert everything(opened()).height == 30


def test_compaction_goes_on_while_files_are_merged(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    sealed_one_by_one(store, 3)
    rewrite = store._lake._rewritten

    def meanwhile(*args: Any) -> Any:
        store.append(observed(3))
        store.compact({"a": 3})
        return rewrite(*args)

    monkeypatch.setattr(store._lake, "_rewritten", meanwhile)
    (merged,) = store.optimise()
    assert len(merged.removed) == 3
    assert everything(store).height == 120
    assert store.watermarks(["a"]) == {"a": 3}


@pytest.mark.parametrize("name", ["_last_checkpoint", "*.checkpoint.parquet"])
def test_a_checkpoint_torn_by_a_power_cut_is_set_aside(opened: Open, tmp_path: Path, name: str) -> None:
    store = opened()
    sealed_one_by_one(store, 2)
    store.optimise()
    (path,) = (tmp_path / "lake" / "_delta_log").glob(name)
    path.write_bytes(path.read_bytes()[:10])
    again = opened()
    assert again.watermarks(["a"]) == {"a": 1}
    assert everything(again).height == 60
    again.optimise()
    assert everything(opened()).height == 60


def test_queries_survive_files_that_vanish(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    sealed_one_by_one(store, 2)
    ask = store._lake.reader.rows
    once = threading.Event()

    def erased_first(*args: Any) -> pl.DataFrame:
        if not once.is_set():
            once.set()
            store.forget("", SENSORS[0])
        return ask(*args)

    monkeypatch.setattr(store._lake.reader, "rows", erased_first)
    assert everything(store).height == 40


def test_many_recent_frames_are_read_as_few(opened: Open) -> None:
    store = opened(recent_rows_max=100_000)
    for n in range(100):
        store.append(observed(n, rows=7))
    found = store.aggregate(HistoryQuery(entities=SENSORS), Aggregation(("totalCount",)))
    assert found["totalCount"].sum() == 700
    assert store.recent().rows == 700
    assert store.read(HistoryQuery(entities=SENSORS[1:2], begin=NOON + 20 * HOUR)).height == 60 * 2


def test_types_become_distinct_safe_names() -> None:
    types = (
        "OffStreetParking", "urn:x:OffStreetParking", "https://e.org/a/b", "https://e.org/a-b", "../..", "", ".",
        "车位", "a" * 65, "a" * 66, "Sensor 1", "CON", "a/b",
    )  # fmt: skip
    keys = [type_key(name) for name in types]
    assert len(set(keys)) == len(types)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") for key in keys)
    assert all(key[0] not in ".-_" for key in keys)
    assert keys[0] == "OffStreetParking"
    assert type_key(keys[1]) != keys[1]  # a type named like another one's key gets a key of its own
