"""Moves SQLite's write-ahead log into its file beside the writer, so that no commit has to move all of it at once.

A passive checkpoint never holds a writer up, but under load it never moves the last few pages either, and SQLite
begins its log anew only when all are moved. So the writer moves those itself, right before its next transaction.
"""

import logging
import sqlite3
import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

EVERY_S = 0.5
PASSES = 4  # each moves what was written while the one before ran, which is ever less
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"

log = logging.getLogger(__name__)


class Checkpoints:
    """A thread that moves the log, twice a second while there is something to move."""

    def __init__(self, engine: Engine) -> None:
        self._connection: Any = engine.raw_connection()
        self._some, self._stop = threading.Event(), threading.Event()
        self._nearly = False  # all but the last few pages are moved
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        """There is something to move."""
        self._some.set()

    def finish(self, cursor: Any) -> None:
        """On the writer's connection, between two transactions: move what little is left."""
        if self._nearly:
            self._nearly = False
            with suppress(sqlite3.OperationalError):  # a full disk is the next commit's to tell
                cursor.execute(CHECKPOINT)

    def close(self) -> None:
        self._stop.set()
        self._some.set()
        self._thread.join()
        self._connection.detach()
        self._connection.close()

    def _run(self) -> None:
        held = False
        while not self._stop.wait(EVERY_S) and self._some.wait():
            self._some.clear()
            try:
                for _ in range(PASSES):
                    self._connection.cursor().execute(CHECKPOINT)
            except sqlite3.OperationalError as error:
                if not held:
                    log.warning("the log of the database cannot be moved: %s", error)
                held = True
                self._some.set()
            else:
                held, self._nearly = False, True
