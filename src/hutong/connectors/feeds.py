"""What all sources that run by themselves share: rows become commands and are counted, bad ones kept with reasons."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from hutong.connectors.mapping import ROW, Mapped, Reject, Source
from hutong.connectors.rejects import RejectsLog
from hutong.connectors.tables import Chunk
from hutong.engines.sense.ports import Changed, ChangeEntities
from hutong.kernel.bookmarks import Bookmarks
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, Overloaded, StorageFull
from hutong.kernel.housekeeping import Within
from hutong.kernel.transactions import Transaction

RETRY_EVERY_S: Final = 0.5
REASON_LENGTH_MAX: Final = 500

Submit = Callable[[Request], "Future[Any]"]
State = Literal["starting", "running", "failing", "unset"]


class SourceFailed(Exception):
    """A source cannot be read, or gives what it should not. The text is for people."""


class Health(msgspec.Struct, kw_only=True):
    """How a source fares. Counts are of rows, since the city began; instants as everywhere.

    `unset`: the city has no connection of the name that the source asks for. `newest` is the latest time of
    observation that it told.
    """

    source: str
    connector: str
    entity: str
    state: State = "starting"
    received: int = 0
    stored: int = 0
    rejected: int = 0
    last_ok: int | None = None
    last_error: str = ""
    last_error_at: int | None = None
    newest: int | None = None


class Bookmark(msgspec.Struct, kw_only=True):
    """What is kept of a source: counts, and how far it is (its own matter)."""

    health: Health
    position: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What sources are given by who runs them."""

    submit: Submit
    clock: Clock
    bookmarks: Bookmarks
    rejects: RejectsLog


class Feed:
    """Brings rows of one source to the engine. Commands are submitted in the order in which `store` is called."""

    def __init__(self, source: Source, tools: Tools) -> None:
        self.source, self.clock, self._tools = source, tools.clock, tools
        self.actor = f"connector:{source.declaration.connector}"
        self.health = Health(
            source=source.name, connector=source.declaration.connector, entity=source.declaration.entity
        )
        self._turn = asyncio.Lock()
        self._name = f"source:{source.name}"
        self.position = msgspec.Raw(b"null")
        kept = tools.bookmarks.read(self._name)
        if kept is not None:
            bookmark = msgspec.json.decode(kept, type=Bookmark)
            self.position = bookmark.position.copy()
            self.health = msgspec.structs.replace(bookmark.health, state="starting")
        self._saved = msgspec.json.encode(self.health)

    async def store(self, chunk: Chunk, key: str = "", mapped: Mapped | None = None) -> None:
        """Take the rows of a chunk; durable when it returns, however long there is no room for them."""
        async with self._turn:
            mapped = mapped or self.source.map(chunk.frame)
            command = ChangeEntities(changes=mapped.changes(), source=self.source.name)
            request = Request(command=command, actor=self.actor, key=key)
            future = await self._enqueue(request) if command.changes else None
        outcomes: Sequence[Changed] = []
        while future is not None:
            try:
                outcomes = await asyncio.wrap_future(future)
                break
            except (Overloaded, StorageFull) as error:
                self.failed(str(error.fault))
                await asyncio.sleep(RETRY_EVERY_S)
                future = await self._enqueue(request)
        self._count(chunk, mapped, outcomes)

    async def _enqueue(self, request: Request) -> "Future[Any]":
        """Submit, waiting while the writer's queue is full."""
        while True:
            try:
                return self._tools.submit(request)
            except Overloaded as error:
                self.failed(str(error.fault))
                await asyncio.sleep(RETRY_EVERY_S)

    def _count(self, chunk: Chunk, mapped: Mapped, outcomes: Sequence[Changed]) -> None:
        refused = [
            Reject(row, error.fault)
            for row, outcome in zip(mapped.rows, outcomes, strict=True)
            for error in ([outcome.error] if outcome.error is not None else outcome.refused.values())
        ]
        rejects = [*mapped.rejects, *refused]
        bad = len({reject.row for reject in rejects})
        if rejects:
            numbers = {reject.row for reject in rejects}
            rows = {row.pop(ROW): row for row in chunk.frame.to_dicts() if row[ROW] in numbers}
            for reject in rejects:
                self._tools.rejects.add(self.source.name, reject, rows.get(reject.row), self.clock.now())
        for reject, original in chunk.rejects:
            self.reject(reject, original)
        health = self.health
        health.received += chunk.frame.height
        health.rejected += bad
        health.stored += len(outcomes) - len({reject.row for reject in refused})
        if outcomes:
            newest = mapped.frame["at"].max()
            if isinstance(newest, int):
                health.newest = max(newest, health.newest or newest)

    def reject(self, reject: Reject, original: Any) -> None:
        """Something that was no row at all."""
        self.health.received += 1
        self.health.rejected += 1
        self._tools.rejects.add(self.source.name, reject, original, self.clock.now())

    def fine(self) -> None:
        """It was heard of."""
        self.health.state, self.health.last_ok = "running", self.clock.now()

    def failed(self, reason: str) -> None:
        line = " ".join(reason.split())[:REASON_LENGTH_MAX]
        self.health.last_error, self.health.last_error_at, self.health.state = line, self.clock.now(), "failing"

    async def save(self, position: Any = None) -> None:
        """Make counts durable, and with them how far the source is; without a position that stays."""
        if position is not None:
            self.position = msgspec.Raw(msgspec.json.encode(position))
        self._saved = msgspec.json.encode(self.health)
        content = msgspec.json.encode(Bookmark(health=self.health, position=self.position))

        def write(tx: Transaction) -> None:
            self._tools.bookmarks.write(tx, self._name, content)

        await asyncio.wrap_future(self._tools.submit(Request(command=Within(kind="", work=write), actor=self.actor)))

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return msgspec.json.encode(self.health) != self._saved


def told(error: Exception) -> str:
    """An error as a reason for people."""
    if isinstance(error, HutongError):
        return str(error.fault)
    return str(error) or type(error).__name__
