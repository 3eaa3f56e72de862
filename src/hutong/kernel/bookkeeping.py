"""Money by command: accounts are opened and postings entered inside the append transaction, and the ledger is told."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from hutong.kernel.accounts import Account, Accounts, Posted, Posting
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction

OPENED, POSTED = "accounts.opened", "accounts.posted"


class OpenAccount(msgspec.Struct, frozen=True, kw_only=True, tag="accounts.open"):
    """Command: open an account. The outcome is its id, or AlreadyExists."""

    account: Account


class Post(msgspec.Struct, frozen=True, kw_only=True, tag="accounts.post"):
    """Command: enter a posting. The outcome is the Posted; the same posting again gets the first one."""

    posting: Posting


class Bookkeeper:
    """Implements the kernel's Handler for the commands of accounts."""

    COMMANDS = (OpenAccount, Post)

    def __init__(self, accounts: Accounts, clock: Clock, city: str) -> None:
        self._accounts, self._clock, self._city = accounts, clock, city

    def weight(self, command: Any) -> int:
        return 1

    def encode(self, outcome: Any) -> bytes:
        return msgspec.msgpack.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        found = msgspec.msgpack.decode(outcome)
        return found if isinstance(found, str) else msgspec.convert(found, Posted)

    def committed(self) -> None:
        """Nobody waits for money to move; followers read the ledger."""

    def rolled_back(self) -> None:
        """Nothing was kept outside the transaction."""

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        return [self._one(tx, request, emit) for request in requests]

    def _one(self, tx: Transaction, request: Request, emit: Callable[[Event], Position]) -> Any | HutongError:
        command, outcome = request.command, cast(Any, None)
        try:
            if isinstance(command, OpenAccount):
                self._accounts.open(tx, command.account)
                kind, told, outcome = OPENED, msgspec.msgpack.encode(command.account), command.account.id
            else:
                before = self._accounts.known(tx, command.posting.key)
                posted = self._accounts.post(tx, command.posting)
                if before:
                    return posted
                kind, told, outcome = POSTED, msgspec.msgpack.encode(posted), posted
        except HutongError as error:
            return error
        emit(request.event(kind, told, self._clock.now(), self._city))
        return outcome
