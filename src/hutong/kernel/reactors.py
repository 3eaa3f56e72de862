"""Reactors: how engines follow one another. Each reads the ledger after commit with a cursor of its own."""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError
from hutong.kernel.housekeeping import CursorStore, MoveCursor
from hutong.kernel.ledger import Entry, LedgerStore, Position
from hutong.kernel.writer import Writer

PAGE = 200
PAUSE_S = 0.5

log = logging.getLogger(__name__)


class Reactor(Protocol):
    """Turns what happened into commands. It must answer the same entry with the same commands."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of event that it wants to see."""

    def react(self, entry: Entry) -> Sequence[Request]: ...


class Reactors:
    """Runs all reactors. What they emit is keyed by what they saw, so that doing it again changes nothing."""

    def __init__(self, reactors: Sequence[Reactor], ledger: LedgerStore, cursors: CursorStore, writer: Writer) -> None:
        self._reactors, self._ledger, self._cursors, self._writer = reactors, ledger, cursors, writer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reactors", daemon=True)

    def start(self) -> None:
        if self._reactors:
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self) -> int:
        """Let every reactor see everything there is now. Gives the number of entries seen."""
        return sum(self._follow(reactor) for reactor in self._reactors)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            try:
                self.catch_up()
            except HutongError as error:  # the cursor did not move: the next turn tries the same again
                log.warning("reactors wait: %s", error)

    def _follow(self, reactor: Reactor) -> int:
        seen = 0
        cursors = dict(self._cursors.position(reactor.name))
        for lane in self._ledger.lanes():
            while entries := self._ledger.read(lane, cursors.get(lane, 0), PAGE, reactor.kinds):
                waiting = [self._writer.submit(request) for entry in entries for request in self._keyed(reactor, entry)]
                for future in waiting:
                    future.result()
                cursors[lane] = entries[-1].row.n
                self._writer.submit(
                    Request(
                        command=MoveCursor(name=reactor.name, to={lane: cursors[lane]}), actor=f"reactor:{reactor.name}"
                    )
                ).result()
                seen += len(entries)
        return seen

    @staticmethod
    def _keyed(reactor: Reactor, entry: Entry) -> list[Request]:
        at = Position(entry.row.lane, entry.row.n)
        return [
            Request(
                command=request.command,
                actor=f"reactor:{reactor.name}",
                caused_by=str(at),
                key=f"{reactor.name}:{at}:{i}",
            )
            for i, request in enumerate(reactor.react(entry))
        ]
