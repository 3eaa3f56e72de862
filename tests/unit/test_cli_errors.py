"""What goes wrong on the command line is told in a line or two, with the way out, and never by a traceback."""

import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hutong.cli.main import main
from hutong.store.sql.database import SqlDatabase

Told = Callable[..., tuple[int, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Told:
    """Runs `hutong` with arguments in an empty folder; gives its exit status and what it says of errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["hutong", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err + said.out
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.err

    return run


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of the loopback address that somebody listens on, willing to share it as servers are."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def wrong(answer: tuple[int, str], *parts: str, status: int = 1) -> None:
    code, said = answer
    assert code == status, said
    for part in parts:
        assert part in said


# --- up -------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(told: Told, taken_port: int, tmp_path: Path) -> None:
    answer = told("up", "--data", "data", "--port", str(taken_port))
    wrong(answer, "--port", "somebody listens", str(taken_port), "choose another")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "parts", "status"),
    [
        (["--port", "99999"], ["--port"], 2),
        (["--port", "abc"], ["--port"], 2),
        (["--host", "999.1.1.1"], ["--host", "no such address"], 1),
        (["--host", "nowhere.invalid"], ["--host", "no such address"], 1),
        (["--host", "192.0.2.1"], ["--host", "cannot be listened on"], 1),
        (["--host", "0.0.0.0", "--open"], ["--host", "only this machine", "leave --open out"], 1),
        (["--city", "atlantis"], ["--city", "no such city", "hangzhou"], 1),
        (["--packs", "nowhere"], ["--packs", "nowhere"], 2),
        (["--cities", "nowhere"], ["--cities", "nowhere"], 2),
        (["--store", "nonsense"], ["--store", "postgresql+psycopg://"], 1),
        (["--store", "mysql://host/db"], ["--store", "mysql", "sqlite:///"], 1),
        (["--store", "sqlite:////nowhere/x.db"], ["/nowhere/x.db", "cannot be opened"], 1),
        (["--nonsense"], ["--nonsense"], 2),
    ],
)
def test_settings_that_cannot_be(told: Told, arguments: Sequence[str], parts: Sequence[str], status: int) -> None:
    wrong(told("up", "--data", "data", *arguments), *parts, status=status)


def test_a_database_that_does_not_answer_is_named_without_its_password(told: Told) -> None:
    answer = told("up", "--data", "data", "--store", "postgresql+psycopg://city:s3cret@127.0.0.1:1/city")
    wrong(answer, "127.0.0.1:1/city", "does not answer", "refused", "start it")
    assert "s3cret" not in answer[1]


@pytest.mark.parametrize("command", [("up",), ("token", "create", "--role", "staff"), ("verify",), ("rebuild",)])
def test_a_data_folder_that_cannot_be_used(told: Told, tmp_path: Path, command: Sequence[str]) -> None:
    (tmp_path / "file").touch()
    code, said = told(*command, "--data", "file")
    assert (code in (1, 2), "--data" in said, "file" in said) == (True, True, True)
    code, said = told(*command, "--data", "file/below")
    assert (code, "--data" in said, "file/below" in said) == (1, True, True)


def test_a_data_folder_that_is_not_ours(told: Told, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hutong.db").write_bytes(b"not a database" * 1000)
    wrong(told("up", "--data", "data"), "hutong.db", "not a database", "fix")


def test_data_of_another_version(told: Told, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = SqlDatabase(f"sqlite:///{tmp_path / 'data' / 'hutong.db'}")
    database.keep_setting("schema", "0")
    database.close()
    wrong(told("up", "--data", "data"), "another version", "start them with that version")


def test_a_pack_with_faults_is_told_with_all_of_them_and_where(told: Told, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "faulty_pack", tmp_path / "packs" / "faulty_pack")
    code, said = told("up", "--data", "data", "--packs", "packs")
    faults = said.strip().splitlines()
    assert (code, len(faults) >= 10) == (1, True)
    assert all(fault.startswith("hutong: faulty_pack/") for fault in faults), said


# --- beside a server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("verify", "--data", "nowhere"), ["--data", "no data of a city", "nowhere"]),
        (("rebuild", "--data", "nowhere"), ["--data", "no data of a city"]),
        (("token", "list", "--data", "nowhere"), ["--data", "no data of a city"]),
        (("token", "revoke", "x", "--data", "nowhere"), ["--data", "no data of a city"]),
        (("token", "create", "--role", "stuff", "--data", "d"), ["role", "stuff", "did you mean staff?"]),
        (("token", "create", "--role", "staff", "--place", "99x", "--data", "d"), ["place", "99x", "330106"]),
        (("verify", "--store", "nonsense"), ["--store", "nonsense"]),
    ],
)
def test_commands_beside_a_server(told: Told, tmp_path: Path, arguments: Sequence[str], parts: Sequence[str]) -> None:
    wrong(told(*arguments), *parts)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("arguments", [("--days", "0"), ("--days", "x"), ()])
def test_tokens_asked_for_in_vain(told: Told, arguments: Sequence[str]) -> None:
    role = ("--role", "staff") if arguments else ()
    wrong(told("token", "create", *role, *arguments, "--data", "d"), status=2)


# --- replay ---------------------------------------------------------------------------------------------------

RECORDED = "timestamp,place_id,free\n2026-05-01 10:00:00,1,5\n"


@pytest.mark.parametrize(
    ("files", "arguments", "parts"),
    [
        ({}, [], ["no source reads any file", "an empty folder", "free_places.csv"]),
        ({"x.csv": RECORDED}, [], ["no source reads any file", "x.csv", "--mapping"]),
        ({"free_places.csv": "a,b\n1,2\n"}, [], ["free_places.csv", "no column", "a, b"]),
        ({"free_places.csv": ""}, [], ["free_places.csv", "empty"]),
        ({"free_places.csv": "\0\x01\x02"}, [], ["free_places.csv"]),
        ({"free_places.csv": RECORDED}, ["--speed", "fast"], ["--speed", "fast", "max"]),
        ({"free_places.csv": RECORDED}, ["--speed", "nan"], ["--speed", "nan"]),
        ({"free_places.csv": RECORDED}, ["--from", "yesterday"], ["--from", "yesterday"]),
        ({"free_places.csv": RECORDED}, ["--until", "2026-05-01T10:00:00"], ["--until", "without offset"]),
        ({"free_places.csv": RECORDED}, ["--source", "nope"], ["--source", "nope", "free_spaces"]),
        ({"free_places.csv": RECORDED}, ["--to", "nonsense"], ["--to", "nonsense", "http://"]),
        ({"free_places.csv": RECORDED}, ["--to", "ftp://host"], ["--to", "ftp://host"]),
        ({"free_places.csv": RECORDED}, ["--to", "http://[x"], ["--to"]),
        ({"free_places.csv": RECORDED}, ["--rejects", "nowhere/x.ndjson"], ["--rejects", "nowhere"]),
    ],
)
def test_a_replay_of_the_wrong_folder_or_way(
    told: Told, tmp_path: Path, files: dict[str, str], arguments: Sequence[str], parts: Sequence[str]
) -> None:
    (tmp_path / "recorded").mkdir()
    for name, text in files.items():
        (tmp_path / "recorded" / name).write_text(text)
    wrong(told("replay", "recorded", *arguments), *parts)


def test_a_replay_of_no_folder(told: Told) -> None:
    wrong(told("replay", "nowhere"), "nowhere", status=2)


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ("x", ["mapping.toml:1", "not TOML"]),
        ('[source.a]\nconnector = "file"\nentity = "Nope"\nfiles = ["*.csv"]\n', ["mapping.toml:3", "Nope"]),
        ('[source.a]\nconnector = "file"\nentity = "OffStreetParking"\nfoo = 1\n', ["mapping.toml:4", "foo"]),
    ],
)
def test_a_mapping_with_faults(told: Told, tmp_path: Path, mapping: str, parts: Sequence[str]) -> None:
    (tmp_path / "recorded").mkdir()
    (tmp_path / "mapping.toml").write_text(mapping)
    wrong(told("replay", "recorded", "--mapping", "mapping.toml"), *parts)
