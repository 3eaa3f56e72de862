"""The database's log is moved while it is written, so that it stays short and no commit moves all of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from hutong.store.sql import checkpoints
from hutong.store.sql.database import SqlDatabase

PAGE = 4096 + 24  # as the log holds it
PAGES_WRITTEN = 4_000
PATIENCE_S = 30  # a bound on waiting, not an expectation


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlDatabase]:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.01)
    database = SqlDatabase(f"sqlite:///{tmp_path / 'some.db'}")
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE sheet (n INTEGER PRIMARY KEY, filling BLOB)"))
    yield database
    database.close()


def write(database: SqlDatabase, n: int) -> None:
    """A transaction that fills a page or two of the log."""
    with database.begin() as tx:
        tx.cursor.execute("INSERT OR REPLACE INTO sheet VALUES (?, ?)", (n % 50, bytes(4000)))


def test_the_log_stays_short_under_load(database: SqlDatabase, tmp_path: Path) -> None:
    for n in range(PAGES_WRITTEN):
        write(database, n)
    log = (tmp_path / "some.db-wal").stat().st_size
    assert log < PAGES_WRITTEN * PAGE / 2, "it never began anew"


def test_what_was_written_last_is_moved_when_all_is_quiet(database: SqlDatabase, tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    for n in range(50):
        write(database, n)
    deadline = time.monotonic() + PATIENCE_S
    while file.stat().st_size < 50 * 4096:
        assert time.monotonic() < deadline, "it was never moved"
        time.sleep(0.01)


def test_closing_waits_for_the_thread_and_loses_nothing(database: SqlDatabase, tmp_path: Path) -> None:
    for n in range(50):
        write(database, n)
    database.close()
    again = SqlDatabase(f"sqlite:///{tmp_path / 'some.db'}")
    cursor = again.reader().cursor()
    cursor.execute("SELECT count(*) FROM sheet")
    assert cursor.fetchone() == (50,)
    again.close()
