"""Files that arrive are taken once, whatever happens meanwhile, and what is wrong with them is told by row."""

import gzip
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from hutong.connectors.file_drop import FileDrop, Progress, State
from hutong.engines.sense.ports import AlertQuery, Mark
from hutong.kernel.clock import iso
from hutong.kernel.commands import Request
from hutong.kernel.errors import Conflict, InvalidInput, StorageFull
from tests.declared import declared, packaged, sources
from tests.sensing import Sensing

NOW = "2026-05-01T10:00:00+08:00"
ENTITIES = """
[entity.Gauge]
grade = "open"
[entity.Gauge.property]
name = { type = "text" }
level = { type = "number", unit = "MTR", min = 0, max = 20 }
pressure = { type = "number", min = 0, max = 9, outside = "reject" }
location = { type = "point" }
"""
SOURCES = """
[source.levels]
connector = "file"
entity = "Gauge"
files = ["levels*.csv", "levels*.ndjson", "levels*.parquet"]
id = "urn:gauge:{gauge}"
at = "time"
set = { level = "level", pressure = "pressure" }

[source.feet]
connector = "file"
entity = "Gauge"
files = ["feet.csv"]
id = "urn:gauge:{gauge}"
set.level = "level"
unit.level = "{unit}"

[source.gauges]
connector = "file"
entity = "Gauge"
files = ["gauges.csv"]
encoding = "gb18030"
id = "urn:gauge:{gauge}"
set = { name = "名称" }
"""
HEAD = "gauge,time,level,pressure\n"


class Station:
    """A file drop over a core of its own."""

    def __init__(self, folder: Path) -> None:
        self.packs = declared(entities=ENTITIES, sources=SOURCES)
        self.core = Sensing(self.packs, folder, NOW)
        self.inbox = folder / "inbox"
        self.drop = self.dropping()

    def dropping(self, submit: Callable[[Request], "Future[Any]"] | None = None) -> FileDrop:
        return FileDrop(self.inbox, sources(self.packs), submit or self.core.writer.submit, self.core.clock)

    def rejects(self, name: str) -> list[dict[str, Any]]:
        lines = (self.inbox / "rejects" / f"{name}.ndjson").read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def levels(self) -> list[tuple[str, float]]:
        rows = self.core.history.rows.filter(pl.col("attribute") == "level").sort("entity", "at")
        return list(zip(rows["entity"].to_list(), rows["number"].to_list(), strict=True))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path)
    yield station
    station.drop.close()
    station.core.close()


def rows(count: int, first: int = 0) -> str:
    """Readings of one gauge, a minute apart."""
    begin = 1_777_000_000_000_000
    return "".join(f"g,{iso(begin + n * 60_000_000)},{n % 10},1\n" for n in range(first, first + count))


@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_file_is_taken_and_put_away(station: Station, packed: bool) -> None:
    content, name = (HEAD + "g,2026-05-01T01:00:00Z,2.5,\n").encode(), "levels-1.csv" + ".gz" * packed
    progress = station.drop.receive(name, gzip.compress(content) if packed else content)
    assert (progress.state, progress.sources, progress.taken, progress.rejected) == (
        State.DONE, ("test.levels",), 1, 0
    )  # fmt: skip
    assert progress.read_bytes == progress.size_bytes
    assert station.core.values("urn:gauge:g") == {"level": 2.5}
    assert (station.inbox / "done" / name).exists()
    assert not (station.inbox / name).exists()
    assert list((station.inbox / "rejects").iterdir()) == []


def test_ndjson_and_parquet_are_taken_too(station: Station, tmp_path: Path) -> None:
    lines = b'{"gauge": "a", "time": "2026-05-01T01:00:00Z", "level": 1.5}\n\n{"gauge": "b", "time": null}\n'
    assert station.drop.receive("levels.ndjson", lines).taken == 1
    frame = pl.DataFrame({"gauge": ["c"], "time": ["2026-05-01T01:00:00Z"], "level": [3], "pressure": [None]})
    moments = frame.with_columns(pl.col("time").str.to_datetime("%+"))
    moments.write_parquet(tmp_path / "levels.parquet")
    assert station.drop.receive("levels.parquet", (tmp_path / "levels.parquet").read_bytes()).taken == 1
    assert station.levels() == [("urn:gauge:a", 1.5), ("urn:gauge:c", 3.0)]
    assert [line["row"] for line in station.rejects("levels.ndjson")] == [3]


def test_bad_rows_go_to_a_file_with_reasons_and_good_ones_are_taken(station: Station) -> None:
    content = HEAD + (
        "a,2026-05-01T01:00:00Z,1,1\n"
        "b,2026-05-01T01:00:00,1,1\n"  # no offset
        "c,2026-05-01T01:00:00Z,NaN,1\n"
        "d,2027-05-01T01:00:00Z,1,\n"  # to come
        "e,2026-05-01T01:00:00Z,1,99\n"  # the engine refuses
        "f,2026-05-01T01:00:00Z\n"  # cut short
        '"g\nh",2026-05-01T01:00:00Z,1,1\n'
        "z,2026-05-01T01:00:00Z,21,1\n"  # outside its range, kept as suspect
    )
    progress = station.drop.receive("levels.csv", content.encode())
    assert (progress.taken, progress.rejected) == (3, 5)
    told = {line["row"]: (line["reason"]["where"], line["original"]) for line in station.rejects("levels.csv")}
    assert {row: where for row, (where, _) in told.items()} == {
        3: "time", 4: "level", 5: "level.observedAt", 6: "pressure", 7: "line 7"
    }  # fmt: skip
    assert told[4][1] == {"gauge": "c", "time": "2026-05-01T01:00:00Z", "level": "NaN", "pressure": "1"}
    assert told[7][1] == "f,2026-05-01T01:00:00Z"
    assert [id for id, _ in station.levels()] == ["urn:gauge:a", "urn:gauge:g%0Ah", "urn:gauge:z"]
    suspect = station.core.history.rows.filter(pl.col("marks") == Mark.SUSPECT)
    assert suspect["entity"].to_list() == ["urn:gauge:z"]


def test_units_are_converted_and_a_wrong_one_is_told(station: Station) -> None:
    progress = station.drop.receive("feet.csv", b"gauge,level,unit\na,10,FOT\nb,10,KGM\nc,10,yards\n")
    assert (progress.taken, progress.rejected) == (1, 2)
    assert station.core.values("urn:gauge:a")["level"] == pytest.approx(3.048)
    assert [(line["row"], line["reason"]["where"], line["reason"]["seen"]) for line in station.rejects("feet.csv")] == [
        (3, "level.unitCode", "KGM"),
        (4, "level.unitCode", "yards"),
    ]


def test_the_encoding_that_is_declared_is_read_and_another_is_refused_whole(station: Station) -> None:
    assert station.drop.receive("gauges.csv", "gauge,名称\na,老桥\n".encode("gb18030")).state is State.DONE
    assert station.core.values("urn:gauge:a") == {"name": "老桥"}
    progress = station.drop.receive("levels.csv", HEAD.encode() + rows(5).encode() + "桥,x\n".encode("gb18030"))
    assert (progress.state, progress.taken) == (State.REFUSED, 0)
    [line] = station.rejects("levels.csv")
    assert (line["row"], line["reason"]["where"]) == (0, "line 7")
    assert 'encoding = "gb18030"' in line["reason"]["fix"]
    assert station.levels() == []
    assert (station.inbox / "rejects" / "levels.csv").exists()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("other.csv", b"a,b\n1,2\n", "no source reads files of this name"),
        ("levels.xlsx", b"PK", "not a file of a known format"),
        ("levels.csv", b"", "the file is empty, or its first line is"),
        ("levels.csv", b"gauge,time\n", "there is no column level, pressure"),
        ("levels.csv", b"gauge,gauge,time,level,pressure\n", "two columns have one name"),
        ("levels.csv.gz", gzip.compress(HEAD.encode() * 99)[:-9], "the gzip file is damaged or cut off"),
        ("levels.parquet", b"PAR1", "the file cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(station: Station, name: str, content: bytes, what: str) -> None:
    progress = station.drop.receive(name, content)
    assert progress.state is State.REFUSED
    assert what in progress.reason
    assert station.rejects(name)[0]["reason"]["what"].startswith(what)
    assert (station.inbox / "rejects" / name).exists()


def test_a_folder_chooses_the_source(station: Station) -> None:
    for folder, name in (("levels", "readings.csv"), ("test.levels", "others.csv"), ("nobody", "lost.csv")):
        (station.inbox / folder).mkdir()
        (station.inbox / folder / name).write_text(HEAD + f"{folder},2026-05-01T01:00:00Z,1,1\n")
    station.drop.look()
    station.drop.look()
    assert {progress.file: progress.state for progress in station.drop.progress} == {
        "levels/readings.csv": State.DONE,
        "test.levels/others.csv": State.DONE,
        "nobody/lost.csv": State.REFUSED,
    }
    assert station.rejects("nobody-lost.csv")[0]["reason"]["seen"] == "nobody"


def test_a_file_that_grows_is_waited_for_and_unfinished_names_are_left_alone(station: Station) -> None:
    file, part = station.inbox / "levels.csv", station.inbox / "levels-2.csv.part"
    file.write_text(HEAD + rows(1))
    part.write_text(HEAD + rows(1))
    station.drop.look()
    with file.open("a") as more:
        more.write(rows(1, first=1))
    station.drop.look()
    assert [progress.state for progress in station.drop.progress] == [State.GROWING]
    assert station.levels() == []
    station.drop.look()
    assert [progress.state for progress in station.drop.progress] == [State.DONE]
    assert len(station.levels()) == 2
    assert part.exists()


def test_a_name_that_is_a_path_or_taken_is_refused(station: Station) -> None:
    for name in ("../levels.csv", "", ".levels.csv"):
        with pytest.raises(InvalidInput):
            station.drop.receive(name, b"")
    (station.inbox / "levels.csv").write_text(HEAD)
    with pytest.raises(Conflict):
        station.drop.receive("levels.csv", b"")


def test_the_same_file_again_changes_nothing_and_both_are_kept(station: Station) -> None:
    content = (HEAD + rows(3) + "x,no time,1,1\n").encode()
    first = station.drop.receive("levels.csv", content)
    before = station.core.rows()
    again = station.drop.receive("levels.csv", content)
    assert (again.taken, again.rejected) == (first.taken, first.rejected) == (3, 1)
    assert station.core.rows() == before
    assert len(station.levels()) == 3
    assert {path.name for path in (station.inbox / "done").iterdir()} == {"levels.csv", "levels.csv~2"}


def test_a_file_is_taken_exactly_once_though_the_reader_is_stopped_at_every_chunk(station: Station) -> None:
    """The reader ends as by a kill: between two chunks, with commands on their way."""
    content = HEAD + rows(9_000) + "x,no time,1,1\n" + "y,2027-01-01T00:00:00Z,1,\n"
    (station.inbox / "levels.csv").write_text(content)
    drop = station.drop
    for allowed in range(1, 7):
        drop = stopped_after(station, allowed)
        drop.look()
        drop.look()
        if drop.progress[0].state is State.DONE:
            break
        assert (station.inbox / "levels.csv").exists()
    assert drop.progress[0].state is State.DONE
    assert (drop.progress[0].taken, drop.progress[0].rejected) == (9_000, 2)
    assert station.core.history.rows.filter(pl.col("attribute") == "level").height == 9_000
    assert [line["row"] for line in station.rejects("levels.csv")] == [9_002, 9_003]


def stopped_after(station: Station, allowed: int) -> FileDrop:
    """A file drop that is told to stop as it sends its so-manieth command."""
    sent = 0

    def submit(request: Request) -> "Future[Any]":
        nonlocal sent
        sent += 1
        if sent == allowed:
            drop.close()
        return station.core.writer.submit(request)

    drop = station.dropping(submit)
    return drop


def test_a_full_disk_is_waited_out(station: Station) -> None:
    full = threading.Event()
    full.set()
    seen: list[Progress] = []

    def submit(request: Request) -> "Future[Any]":
        if full.is_set() and len(seen) < 2:
            seen.append(drop.progress[0])
            future: Future[Any] = Future()
            future.set_exception(StorageFull("the disk is full"))
            return future
        full.clear()
        return station.core.writer.submit(request)

    drop = station.dropping(submit)
    assert drop.receive("levels.csv", (HEAD + rows(2)).encode()).state is State.DONE
    assert seen[-1].state is State.HELD
    assert "the disk is full" in seen[-1].reason
    assert len(station.levels()) == 2


def test_the_parking_recording_is_taken_whole_with_its_suspects(shared: Callable[[str], Path], tmp_path: Path) -> None:
    core = Sensing(packaged(), tmp_path, "2026-05-01T10:00:00+08:00")
    drop = FileDrop(tmp_path / "inbox", sources(packaged()), core.writer.submit, core.clock)
    places, free = (shared(f"data/parking_germany/{name}") for name in ("places.csv", "free_places.csv.gz"))
    assert drop.receive(places.name, places.read_bytes()).taken == 71
    progress = drop.receive(free.name, free.read_bytes())
    assert (progress.taken, progress.rejected) == (442_158, 0)
    told = core.history.rows.filter(pl.col("attribute") == "availableSpotNumber")
    assert told.height == 442_158
    assert told.filter(pl.col("marks") & int(Mark.SUSPECT) > 0).height == 7_888
    parks = core.rows("OffStreetParking")
    assert len(parks) == 71
    assert sum(park.lon is None for park in parks) == 47
    assert core.alerts.count(AlertQuery(states=("resolved",))) > 1_000
    core.close()
