"""How long a question to DuckDB may take, so that a few hostile ones do not keep all readers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from hutong.kernel.errors import TooLarge

BEAT_S = 0.5


class Deadline:
    """Interrupts questions that have gone on for `seconds`, within a beat."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._left: dict[duckdb.DuckDBPyConnection, float] = {}
        self._late: set[duckdb.DuckDBPyConnection] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="history-deadline", daemon=True)
        self._thread.start()

    @contextmanager
    def of(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Within the block the cursor is watched. Raises TooLarge."""
        with self._lock:
            self._left[cursor] = self._seconds
        try:
            yield
        except duckdb.InterruptException as error:
            raise TooLarge(
                "the question takes too long",
                where="history",
                allowed=f"{self._seconds:g} s",
                fix="ask for a shorter time, or for fewer things",
            ) from error
        finally:
            with self._lock:  # so that nobody interrupts what the cursor does next
                del self._left[cursor]

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        beat = min(BEAT_S, self._seconds)
        while not self._closing.wait(beat):
            with self._lock:
                for cursor in self._left:
                    self._left[cursor] -= beat
                    if self._left[cursor] <= 0:
                        cursor.interrupt()
