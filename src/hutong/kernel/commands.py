"""Commands: how engines are asked. The composition root routes each kind to the engine that handles it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from hutong.kernel.errors import HutongError
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command on its way. With a `key` the same command again gets the first answer."""

    command: Any
    actor: str
    key: str = ""
    caused_by: str = ""

    def event(self, kind: str, payload: bytes, at: int, city: str) -> Event:
        """What came of it, for the ledger: of the whole city, by who asked."""
        return Event(
            kind=kind, payload=payload, at=at, actor=self.actor, city=city, scope=city, caused_by=self.caused_by
        )


class Handler(Protocol):
    """An engine's way of turning commands into events, many at a time, inside the append transaction.

    It brings its own projections (state, uniqueness) up to date in the same transaction.
    """

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        """One outcome per request, in order. An expected error is an outcome; raising rolls the group back."""

    def weight(self, command: Any) -> int:
        """How much work a command is; 1 for the smallest. Bounds the size of a group."""

    def encode(self, outcome: Any) -> bytes:
        """An outcome as bytes, kept for commands with a key."""

    def decode(self, outcome: bytes) -> Any: ...

    def committed(self) -> None:
        """What `handle` did is durable: tell followers."""

    def rolled_back(self) -> None:
        """What `handle` did is undone: forget it."""


class OpenCase(msgspec.Struct, frozen=True, kw_only=True, tag="open_case"):
    """Open a case of a declared type about something."""

    case_type: str
    about: str
    city: str
    reason: str
