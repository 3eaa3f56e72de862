"""What a backup holds, and what is refused: on both databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from hutong.kernel.clock import SystemClock
from hutong.kernel.errors import Conflict, IntegrityBroken, InvalidInput, NotFound
from hutong.store.backup.making import backups, make_backup, prune
from hutong.store.backup.manifest import DATABASE, read_manifest
from hutong.store.backup.restoring import restore
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.state import state_of
from tests.contract.core import NOON, Core

SAY: list[tuple[str, int, int]] = []


def _say(what: str, done: int, whole: int) -> None:
    SAY.append((what, done, whole))


@pytest.fixture
def saved(core: Core, tmp_path: Path) -> Path:
    """A backup of some tanks, with history in files and in the ledger, and a checkpoint."""
    core.observe("urn:ngsi-ld:Tank:西湖", NOON, capacity=100, level=95, name="西湖 tank", valve="open")
    core.upkeep.checkpoint()
    core.observe("urn:ngsi-ld:Tank:2", NOON, capacity=1e9, level=0.1)
    return make_backup(tmp_path, core.database, tmp_path.parent / f"{tmp_path.name}-saved", SystemClock(), _say)


def _emptied(cluster: Callable[[str], str]) -> str:
    """The address of an empty database of PostgreSQL, whichever the city's own is."""
    with psycopg.connect(cluster("postgres").replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
        admin.execute("CREATE DATABASE restored TEMPLATE template0")
    return cluster("restored")


@contextmanager
def _opened(url: str) -> Iterator[SqlDatabase]:
    database = SqlDatabase(url)
    yield database
    database.close()


def test_a_restored_database_has_the_same_state_and_rows(core: Core, saved: Path, tmp_path: Path) -> None:
    manifest = restore(saved, tmp_path / "new", "", _say)
    with _opened(f"sqlite:///{tmp_path / 'new' / DATABASE}") as restored:
        assert state_of(restored) == state_of(core.database) == manifest.state
        assert restored.row_counts() == core.database.row_counts() == manifest.rows
    assert manifest.rows["entity"] == 2
    assert manifest.history_version is not None
    assert {what for what, done, whole in SAY if done == whole} == {"database", "files"}


def test_it_comes_back_into_postgresql_and_goes_on_numbering(
    saved: Path, tmp_path: Path, postgres_cluster: Callable[[str], str]
) -> None:
    address = _emptied(postgres_cluster)
    manifest = restore(saved, tmp_path / "new", address, _say)
    assert not (tmp_path / "new" / DATABASE).exists()
    with _opened(address) as restored:
        assert state_of(restored) == manifest.state
    core = Core(address, tmp_path / "new")
    assert core.observe("urn:ngsi-ld:Tank:3", NOON, capacity=1).created
    core.close()
    with pytest.raises(Conflict, match="data in this database"):
        restore(saved, tmp_path / "again", address, _say)
    assert list((tmp_path / "again").iterdir()) == []


def test_what_an_earlier_backup_has_is_linked(core: Core, saved: Path, tmp_path: Path) -> None:
    second = make_backup(tmp_path, core.database, saved.parent, SystemClock(), _say)
    data = list(second.rglob("*.parquet"))
    assert data
    assert all(path.samefile(saved / path.relative_to(second)) for path in data)
    assert backups(saved.parent) == [saved, second]
    assert prune(saved.parent, 1) == [saved]
    assert backups(saved.parent) == [second]
    assert restore(second, tmp_path / "new", "", _say).rows["entity"] == 2


def test_a_changed_file_is_named_and_nothing_is_left(saved: Path, tmp_path: Path) -> None:
    [file, *_] = saved.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityBroken, match="not what was saved") as caught:
        restore(saved, tmp_path / "new", "", _say)
    assert str(file.relative_to(saved)) in str(caught.value)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_gone_is_named(saved: Path, tmp_path: Path) -> None:
    (saved / DATABASE).unlink()
    with pytest.raises(IntegrityBroken, match=r"not what was saved.*missing"):
        restore(saved, tmp_path / "new", "", _say)


def test_a_folder_in_use_is_left_alone(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("x")
    with pytest.raises(Conflict, match="something in this folder"):
        restore(saved, tmp_path / "new", "", _say)
    assert (tmp_path / "new" / "mine").read_text() == "x"


def test_a_backup_does_not_lie_in_what_it_saves(core: Core, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot lie in the folder"):
        make_backup(tmp_path, core.database, tmp_path / "backups", SystemClock(), _say)


def test_what_was_not_finished_is_no_backup(core: Core, saved: Path, tmp_path: Path) -> None:
    unfinished = saved.rename(saved.with_suffix(".part"))
    assert backups(saved.parent) == []
    with pytest.raises(NotFound, match="no backup"):
        read_manifest(saved.parent)
    made = make_backup(tmp_path, core.database, saved.parent, SystemClock(), _say)
    assert not unfinished.exists()
    assert backups(saved.parent) == [made]


def test_a_path_that_leads_out_is_refused(saved: Path, tmp_path: Path) -> None:
    manifest = (saved / "manifest.json").read_text()
    (saved / "manifest.json").write_text(manifest.replace('"hutong.db"', '"../../hutong.db"'))
    with pytest.raises(IntegrityBroken, match="leads out"):
        restore(saved, tmp_path / "new", "", _say)
