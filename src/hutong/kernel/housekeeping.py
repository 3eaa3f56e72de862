"""Commands of the kernel itself: note an event, seal payloads away, move a cursor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError
from hutong.kernel.ledger import SEALED, Event, LedgerStore, Position, Sealed
from hutong.kernel.transactions import Transaction


class Note(msgspec.Struct, frozen=True, kw_only=True, tag="kernel.note"):
    """Command: append one event that no projection waits for. The outcome is its position."""

    kind: str
    payload: bytes


class Seal(msgspec.Struct, frozen=True, kw_only=True, tag="kernel.seal"):
    """Command: state stands in a checkpoint. Payloads of these kinds, up to `drop` of each lane, leave the ledger.

    The outcome counts them.
    """

    sealed: Sealed
    kinds: tuple[str, ...]
    drop: Mapping[str, int]


class MoveCursor(msgspec.Struct, frozen=True, kw_only=True, tag="kernel.move_cursor"):
    """Command: a reactor has dealt with everything up to these positions."""

    name: str
    to: Mapping[str, int]


class Within(msgspec.Struct, frozen=True, kw_only=True, tag="kernel.within"):
    """Command: one small piece of a kernel room's work (a token, a grant) inside the append transaction.

    `work` gets the transaction and gives the outcome; a HutongError that it raises is its outcome. Without a `kind` the
    ledger is not told.
    """

    kind: str
    work: Callable[[Transaction], Any]


class CursorStore(Protocol):
    """Where each reactor stands."""

    def position(self, name: str) -> Mapping[str, int]: ...

    def move(self, tx: Transaction, name: str, to: Position) -> None: ...


class Housekeeper:
    """Handles the kernel's own commands."""

    COMMANDS = (Note, Seal, MoveCursor, Within)

    def __init__(self, ledger: LedgerStore, cursors: CursorStore, clock: Clock, city: str) -> None:
        self._ledger, self._cursors, self._clock, self._city = ledger, cursors, clock, city

    def weight(self, command: Any) -> int:
        return 1

    def encode(self, outcome: Any) -> bytes:
        return msgspec.msgpack.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        return msgspec.msgpack.decode(outcome)

    def committed(self) -> None:
        """Nothing follows these."""

    def rolled_back(self) -> None:
        """Nothing was kept."""

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        outcomes: list[Any] = []
        for request in requests:
            command = request.command
            if isinstance(command, MoveCursor):
                for lane, n in command.to.items():
                    self._cursors.move(tx, command.name, Position(lane, n))
                outcomes.append(len(command.to))
                continue
            if isinstance(command, Within):
                outcomes.append(self._within(tx, request, command, emit))
                continue
            kind, payload = (
                (command.kind, command.payload)
                if isinstance(command, Note)
                else (SEALED, msgspec.msgpack.encode(command.sealed))
            )
            position = emit(request.event(kind, payload, self._clock.now(), self._city))
            outcomes.append(
                str(position)
                if isinstance(command, Note)
                else self._ledger.drop_payloads(tx, command.drop, command.kinds)
            )
        return outcomes

    def _within(
        self, tx: Transaction, request: Request, command: Within, emit: Callable[[Event], Position]
    ) -> Any | HutongError:
        try:
            outcome = command.work(tx)
        except HutongError as error:
            return error
        if not command.kind:
            return outcome
        emit(request.event(command.kind, b"", self._clock.now(), self._city))
        return outcome
