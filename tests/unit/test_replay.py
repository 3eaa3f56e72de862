"""Recorded data are played in their order, at their pace, to a server that may be away; and nothing is lost of it."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from hutong.cli.broker import Broker
from hutong.cli.composition import Composition
from hutong.cli.main import hutong
from hutong.cli.replay import replay
from hutong.cli.runtime import pack_format
from hutong.connectors.replay import Player, Recording, matching, summary
from hutong.engines.sense.ports import Change, ChangeEntities
from hutong.kernel.clock import SECOND, FrozenClock, instant
from hutong.kernel.commands import Request
from hutong.kernel.errors import (
    AccessDenied,
    DeclarationFaults,
    Fault,
    HutongError,
    InvalidInput,
    MalformedBody,
    NotAuthenticated,
    NotFound,
    Overloaded,
)
from tests.declared import declared, packaged, sources
from tests.sensing import Sensing

ENTITIES = """
[entity.Gauge]
grade = "open"
[entity.Gauge.property]
name = { type = "text" }
level = { type = "number" }
"""
SOURCES = """
[source.levels]
connector = "file"
entity = "Gauge"
files = ["levels*.csv"]
id = "urn:gauge:{gauge}"
at = "time"
set = { level = "level" }

[source.gauges]
connector = "file"
entity = "Gauge"
files = ["gauges.csv"]
id = "urn:gauge:{gauge}"
set = { name = "name" }
"""
LEVELS = """gauge,time,level
b,2026-05-01T00:10:00Z,3
a,2026-05-01T00:00:00Z,1
b,2026-05-01T00:00:00Z,2
a,2026-05-01T00:10:00Z,nothing
"""
PACKS = declared(entities=ENTITIES, sources=SOURCES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    (folder / "more").mkdir(parents=True)
    (folder / "levels.csv").write_text(LEVELS)
    (folder / "more" / "levels-2.csv.gz").write_bytes(gzip.compress(b"gauge,time,level\na,2026-05-01T00:05:00Z,9\n"))
    (folder / "gauges.csv").write_text("gauge,name\na,Old bridge\nb,New bridge\n")
    (folder / "notes.txt").write_text("not data")
    return folder


class Listener:
    """Stands where changes are sent, and says when each came by the clock."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock, self.began = clock, clock.now()
        self.batches: list[tuple[float, list[tuple[str, object]]]] = []

    def __call__(self, changes: Sequence[Change]) -> list[tuple[int, Fault]]:
        heard = [(change.id, next(iter(change.attributes.values())).value) for change in changes]
        self.batches.append(((self.clock.now() - self.began) / SECOND, heard))
        return []

    @property
    def heard(self) -> list[tuple[str, object]]:
        return [one for _, batch in self.batches for one in batch]


def play(recording: Recording, speed: float = 0.0) -> Listener:
    clock = FrozenClock("2026-06-01T00:00:00Z")
    listener = Listener(clock)
    Player(recording, listener, clock, lambda seconds: clock.advance(round(seconds * SECOND)), speed).play()
    return listener


def test_what_has_no_time_goes_first_then_all_files_in_order_of_time(folder: Path) -> None:
    recording = Recording(folder, sources(PACKS))
    listener = play(recording)
    assert listener.heard == [
        ("urn:gauge:a", "Old bridge"),
        ("urn:gauge:b", "New bridge"),
        ("urn:gauge:a", 1.0),
        ("urn:gauge:b", 2.0),
        ("urn:gauge:a", 9.0),
        ("urn:gauge:b", 3.0),
    ]
    assert recording.files == {"levels.csv": 3, "more/levels-2.csv.gz": 1, "gauges.csv": 2}
    assert recording.span == (instant("2026-05-01T00:00:00Z"), instant("2026-05-01T00:10:00Z"))
    assert [(origin.file, origin.row, fault.where) for origin, fault in recording.rejects] == [
        ("levels.csv", 5, "level")
    ]


def test_an_id_comes_once_in_a_batch(folder: Path) -> None:
    for _, batch in play(Recording(folder, sources(PACKS))).batches:
        assert len({id for id, _ in batch}) == len(batch)


def test_rows_come_at_their_time_divided_by_the_speed(folder: Path) -> None:
    listener = play(Recording(folder, sources(PACKS)), speed=60)
    assert [(round(at, 3), len(batch)) for at, batch in listener.batches] == [(0, 2), (0, 2), (5, 1), (10, 1)]


def test_a_window_leaves_out_what_was_before_and_after(folder: Path) -> None:
    begin, end = instant("2026-05-01T00:05:00Z"), instant("2026-05-01T00:10:00Z")
    recording = Recording(folder, sources(PACKS), begin, end)
    assert [value for _, value in play(recording).heard] == ["Old bridge", "New bridge", 9.0]


def test_playing_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    core = Sensing(PACKS, tmp_path, "2026-06-01T00:00:00Z")

    def send(changes: Sequence[Change]) -> list[tuple[int, Fault]]:
        core.writer.submit(Request(command=ChangeEntities(changes=list(changes)), actor="test")).result()
        return []

    def once() -> int:
        timed = Recording(folder, [source for source in sources(PACKS) if source.declaration.at])
        Player(timed, send, core.clock, lambda seconds: None, 0).play()
        return core.history.rows.height

    assert once() == once() == 4
    assert core.values("urn:gauge:a") == {"level": 9.0}
    core.close()


def test_the_wrong_folder_is_told_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(NotFound) as raised:
        matching(tmp_path, sources(PACKS))
    fault = raised.value.fault
    assert fault.seen == "holiday.jpg"
    assert fault.allowed == "gauges.csv (test.gauges), levels*.csv (test.levels)"
    assert "--mapping" in fault.fix


def test_a_damaged_file_is_told_by_name(folder: Path) -> None:
    (folder / "levels-3.csv.gz").write_bytes(gzip.compress(LEVELS.encode())[:-5])
    with pytest.raises(MalformedBody, match=r"levels-3\.csv\.gz"):
        Recording(folder, sources(PACKS))


# --- the server -----------------------------------------------------------------------------------------------


class Server:
    """Answers from a list; then 204 for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()
        self.waits: list[float] = []
        self.told: list[str] = []
        self.clock = FrozenClock("2026-06-01T00:00:00Z")
        transport = httpx.MockTransport(self.answer)
        self.broker = Broker("http://city.test", "secret", self.clock, self.wait, self.told.append, transport)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(204)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(round(seconds * SECOND))


def changes(folder: Path) -> list[Change]:
    return [change for at, _, change in Recording(folder, sources(PACKS)).play() if at is not None][:2]


def test_changes_go_as_an_upsert_with_their_own_times(folder: Path) -> None:
    server = Server()
    assert server.broker.upsert(changes(folder)) == []
    [request] = server.requests
    assert (request.method, request.url.path) == ("POST", "/ngsi-ld/v1/entityOperations/upsert")
    assert dict(request.url.params) == {"options": "update"}
    assert (request.headers["content-type"], request.headers["authorization"]) == ("application/json", "Bearer secret")
    assert msgspec.json.decode(request.content)[0] == {
        "id": "urn:gauge:a",
        "type": "Gauge",
        "level": {"type": "Property", "value": 1.0, "observedAt": "2026-05-01T00:00:00Z"},
    }


def test_a_server_that_is_away_or_full_is_waited_for(folder: Path) -> None:
    server = Server(
        httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(507, json={"detail": "no space"})
    )
    assert server.broker.upsert(changes(folder)) == []
    assert len(server.requests) == 4
    assert server.waits == [0.25, 0.5, 1.0]
    assert [text for text in server.told if text] == [
        "it cannot be reached: refused",
        "it answers 503: Service Unavailable",
        "it answers 507: no space",
    ]
    assert server.told[-1] == ""


def test_patience_ends(folder: Path) -> None:
    server = Server(*[httpx.Response(503)] * 100)
    with pytest.raises(Overloaded, match="takes nothing"):
        server.broker.upsert(changes(folder))


def test_what_the_server_does_not_take_is_told_by_row(folder: Path) -> None:
    problem = {"type": "https://uri.etsi.org/ngsi-ld/errors/BadRequestData", "title": "Bad", "detail": "too high"}
    result = {"success": ["urn:gauge:a"], "errors": [{"entityId": "urn:gauge:b", "error": problem}]}
    server = Server(httpx.Response(207, json=result))
    assert server.broker.upsert(changes(folder)) == [(1, Fault(code="BadRequestData", what="too high"))]


@pytest.mark.parametrize(
    ("status", "error", "fix"),
    [
        (401, NotAuthenticated, "--token"),
        (403, AccessDenied, "token"),
        (404, NotFound, "--to"),
        (400, InvalidInput, ""),
    ],
)
def test_an_answer_that_waiting_does_not_mend_ends_it(
    folder: Path, status: int, error: type[HutongError], fix: str
) -> None:
    with pytest.raises(error) as raised:
        Server(httpx.Response(status, json={"detail": "no"})).broker.upsert(changes(folder))
    assert fix in raised.value.fault.fix


# --- the command ----------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    def harness(*_: object) -> None:
        raise AssertionError("nothing is proved here")

    composition = Composition(form=pack_format(), harness=harness)  # type: ignore[arg-type]  # never called
    return CliRunner().invoke(replay, arguments, obj=composition)


def refusal(*arguments: str) -> HutongError:
    result = run(*arguments)
    assert isinstance(result.exception, HutongError), result.output
    return result.exception


def test_the_command_is_there() -> None:
    assert isinstance(hutong, click.Group)
    assert "replay" in hutong.commands


def test_the_command_refuses_what_it_cannot_do(folder: Path, tmp_path: Path) -> None:
    assert isinstance(refusal(str(folder)), NotFound)  # none of the packaged sources reads these
    assert refusal(str(folder), "--speed", "-1").fault.where == "--speed"
    assert refusal(str(folder), "--source", "nothing").fault.where == "--source"
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[source.x]\nconnector = "file"\nentity = "Unheard"\nfiles = ["*"]\nid = "urn:{a}"\n')
    error = refusal(str(folder), "--mapping", str(mapping))
    assert isinstance(error, DeclarationFaults)
    assert [fault.where for fault in error.faults if fault.code == "unknown-type"] == [
        f"{tmp_path.name}/mapping.toml:3"
    ]


def test_the_parking_recording_plays_whole_and_in_order(shared: Callable[[str], Path]) -> None:
    recording = Recording(shared("data/parking_germany"), sources(packaged()))
    assert (recording.rows, len(recording.rejects)) == (442_158 + 71, 0)
    last, parks = 0, 0
    for at, origin, change in recording.play():
        if at is None:
            assert origin.file == "places.csv"
            assert last == 0
            parks += 1
        else:
            assert at >= last
            assert change.attributes["availableSpotNumber"].observed_at == at
            last = at
    assert parks == 71
    assert recording.span == (instant("2021-05-03T00:00:01Z"), instant("2021-07-11T23:45:02Z"))
    clock = FrozenClock("2026-06-01T00:00:00Z")
    played = Player(recording, lambda _: [], clock, lambda s: clock.advance(round(s * SECOND)), 86_400).play()
    assert played.rows == recording.rows
    assert "442229 of 442229 rows of 2 files played" in summary(played, recording)
