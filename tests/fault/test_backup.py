"""Backups made beside a server under load can be restored, whole, into either database."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hutong.kernel.clock import HOUR, SystemClock
from hutong.store.backup.making import backups
from tests.fault.keeping import kept
from tests.fault.senders import PROPERTY, Observed, Sender
from tests.fault.test_kill import HURRIED
from tests.server import Server

MADE = 2


@pytest.mark.parametrize("origin", ["sqlite", "postgresql"])
def test_backups_under_load_hold_all_that_was_acknowledged_before(
    tmp_path: Path, durable: Callable[[str], str], origin: str
) -> None:
    """The server compacts, merges and seals as fast as it can meanwhile."""
    store = ("--store", durable("saved")) if origin == "postgresql" else ()
    server = Server(tmp_path / "data", "--open", *store, main=HURRIED)
    sender = Sender("saved", SystemClock().now() - HOUR, 1)
    before: list[set[Observed]] = []
    with server:
        sender.port = server.port
        sender.start()
        while len(sender.acknowledged) < 100:
            time.sleep(0.05)
        for _ in range(MADE):
            before.append(set(sender.acknowledged))
            server.command("backup", str(tmp_path / "backups"), *store)
        sender.enough.set()
        sender.join()
    made = backups(tmp_path / "backups")
    assert len(made) == MADE
    assert sender.refused == []
    other = durable(f"restored_{origin}")
    for n, (backup, due) in enumerate(zip(made, before, strict=True)):
        assert "can be restored" in server.run("drill", str(backup))
        restored = Server(tmp_path / f"restored{n}", "--open")
        into = ("--store", other) if n == MADE - 1 and origin == "sqlite" else ()
        restored.command("restore", str(backup), *into)
        restored.command("verify", *into)
        restored.command("rebuild", *into)
        rows = kept(restored.data, other if into else f"sqlite:///{restored.data / 'hutong.db'}")
        there = {
            Observed(*row) for row in rows.filter(rows["attribute"] == PROPERTY).select("entity", "at").iter_rows()
        }
        assert due <= there <= sender.acknowledged | set(sender.doubtful)
