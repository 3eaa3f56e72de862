"""A writer with an outbox, and a transport that does as it is told, for the tests of what is sent."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hutong.kernel.clock import MINUTE, FrozenClock
from hutong.kernel.commands import Handler, Request
from hutong.kernel.dispatching import Dispatcher, Patience
from hutong.kernel.housekeeping import Housekeeper, Within
from hutong.kernel.ledger import Ledger
from hutong.kernel.outbox import (
    ChannelState,
    ClaimChannels,
    DeadLetter,
    Outbox,
    OutboxHandler,
    Parcel,
    Sent,
    Settle,
    Settlement,
)
from hutong.kernel.writer import Writer
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.outbox import SqlOutbox

NOON = 1_777_608_000_000_000


@dataclass
class Post:
    """A writer with an outbox, on one database address."""

    url: str
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOON))
    told: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = SqlDatabase(self.url)
        self.ledger = SqlLedger(self.database)
        self.store = SqlOutbox(self.database)
        self.outbox = Outbox(self.store)
        self.outbox.follow(lambda channels, anew: self.told.append(set(channels)))
        house = Housekeeper(self.ledger, self.ledger, self.clock, "")
        handlers: dict[type, Handler] = dict.fromkeys(house.COMMANDS, house)
        handlers |= dict.fromkeys(OutboxHandler.COMMANDS, OutboxHandler(self.outbox, self.clock, ""))
        ledger = Ledger(self.ledger, "main")
        self.writer = Writer(self.database, ledger, self.ledger, self.clock, handlers, self.outbox.committed)
        self.writer.start()

    def ask(self, command: Any) -> Any:
        return self.writer.submit(Request(command=command, actor="tester")).result(60)

    def put(self, *parcels: Parcel) -> None:
        self.ask(Within(kind="", work=lambda tx: self.outbox.put(tx, parcels)))

    def texts(self, channel: str, *texts: str) -> list[Parcel]:
        """Put parcels with these texts and claim the channel; gives all that wait there."""
        self.put(*(Parcel(channel, text.encode(), self.clock.now()) for text in texts))
        self.ask(ClaimChannels(ids=(channel,), holder="main", until=self.clock.now() + MINUTE))
        return self.taken(channel)

    def taken(self, channel: str, limit: int = 100) -> list[Parcel]:
        return self.store.take([channel], limit)[channel]

    def state(self, channel: str) -> ChannelState:
        return self.store.states([channel])[channel]

    def kinds(self) -> list[str]:
        return [entry.row.kind for entry in self.ledger.read("main", 0, 100)]

    def bury(self, channel: str, parcels: Sequence[Parcel]) -> None:
        letters = [DeadLetter(parcel=p, died_at=self.clock.now(), attempts=3, reason="answered 500") for p in parcels]
        self.ask(Settle(settlements=(Settlement(channel=channel, at=self.clock.now(), dead=tuple(letters)),)))

    def close(self) -> None:
        self.writer.close()
        self.database.close()

    def dispatcher(self, transport: "FakeTransport", holder: str = "main", **patience: int) -> Dispatcher:
        """A dispatcher that takes turns only when told to. It hears of commits while the test waits for them."""
        dispatcher = Dispatcher(
            self.outbox,
            {"a": transport},
            self.writer,
            self.clock,
            holder=holder,
            scatter=random.Random(1),
            patience=Patience(**patience),
        )
        self.outbox.follow(dispatcher.wake)
        return dispatcher


class FakeTransport:
    """Takes everything and remembers it, unless `answer` raises, waits or says that it takes less."""

    def __init__(self, answer: Callable[[str, Sequence[Parcel]], Sent | None] = lambda channel, parcels: None) -> None:
        self.answer = answer
        self.gates: dict[str, asyncio.Event] = {}
        self.batches: list[tuple[str, list[str]]] = []

    async def send(self, channel: str, parcels: Sequence[Parcel]) -> Sent:
        if channel in self.gates:
            await self.gates[channel].wait()
        sent = self.answer(channel, parcels) or Sent(len(parcels))
        self.batches.append((channel, [parcel.body.decode() for parcel in parcels[: sent.count]]))
        return sent

    def got(self, channel: str) -> list[str]:
        """Everything that was taken of a channel, in order."""
        return [text for one, texts in self.batches if one == channel for text in texts]


async def turns(dispatcher: Dispatcher, count: int = 4) -> None:
    """Let the dispatcher do what is due by its clock."""
    for _ in range(count):
        await dispatcher.turn()
        await dispatcher.idle()
