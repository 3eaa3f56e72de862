"""What operators see and do about messages: channels, dead letters, and sending them again."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from hutong.kernel.access import Access, Actor, Grade
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, InvalidInput, NotFound, TooLarge
from hutong.kernel.outbox import (
    ChannelState,
    DeadLetter,
    DropDead,
    OutboxStore,
    PauseChannel,
    Resend,
    ResumeChannel,
)
from hutong.kernel.writer import Writer

LIMIT_MAX = 1_000
OFFSET_MAX = 10_000_000
PARCELS_MAX = 1_000  # dead letters named in one command
T = TypeVar("T")


class Deliveries:
    """The verbs of operators. Each needs the action `outbox.operate`; what a message says is graded besides."""

    def __init__(self, store: OutboxStore, writer: Writer, access: Access) -> None:
        self._store, self._writer, self._access = store, writer, access
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="deliveries")

    def close(self) -> None:
        self._reader.shutdown()

    def may(self, actor: Actor) -> bool:
        """Whether the actor may see and do this at all; to show or hide a link."""
        return self._access.would_allow(actor, "outbox.operate")

    async def channels(self, actor: Actor, state: str = "", limit: int = 100, offset: int = 0) -> list[ChannelState]:
        """Channels in a state ("": in any), those in trouble first, with how many messages wait."""
        self._require(actor, "channels", limit, offset)
        return await self._off(lambda: self._counted(self._store.channels(state, limit, offset)))

    async def count_channels(self, actor: Actor, state: str = "") -> int:
        self._require(actor, "channels")
        return await self._off(lambda: self._store.count_channels(state))

    async def channel(self, actor: Actor, id: str) -> ChannelState:
        """Raises NotFound."""
        self._require(actor, id)
        found = await self._off(lambda: self._counted(list(self._store.states([id]).values())))
        if not found:
            raise NotFound("there is no such channel", where="channel", seen=id)
        return found[0]

    async def dead(self, actor: Actor, channel: str = "", limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        """Dead letters of a channel ("": of all) without what they say, the newest first."""
        self._require(actor, channel or "dead letters", limit, offset)
        return await self._off(lambda: self._store.dead(channel, limit, offset))

    async def count_dead(self, actor: Actor, channel: str = "") -> int:
        self._require(actor, channel or "dead letters")
        return await self._off(lambda: self._store.count_dead(channel))

    async def dead_letter(self, actor: Actor, n: int) -> DeadLetter:
        """A dead letter with what it says; looking at what is not open is recorded. Raises NotFound, AccessDenied."""
        self._require(actor, f"dead letter {n}")
        found = await self._off(lambda: self._store.dead_letter(n))
        if found is None:
            raise NotFound("there is no such dead letter", where="n", seen=n)
        what = f"dead letter {n} of {found.parcel.channel}"
        self._access.require(actor, "outbox.operate", grade=found.parcel.grade, what=what)
        return found

    async def resend(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int:
        """Put dead letters (all of the channel where none is named) back, last in line; gives how many."""
        return int(await self._do(actor, channel, Resend(channel=channel, parcels=tuple(parcels)), parcels))

    async def drop(self, actor: Actor, channel: str, parcels: Sequence[int] = ()) -> int:
        """Delete dead letters (all of the channel where none is named); gives how many."""
        return int(await self._do(actor, channel, DropDead(channel=channel, parcels=tuple(parcels)), parcels))

    async def pause(self, actor: Actor, channel: str) -> ChannelState:
        """Keep what is put and send nothing. Raises NotFound."""
        await self.channel(actor, channel)
        await self._do(actor, channel, PauseChannel(channel=channel))
        return await self.channel(actor, channel)

    async def resume(self, actor: Actor, channel: str) -> ChannelState:
        """Send again, now, whether it was paused, failing or closed. Raises NotFound."""
        await self.channel(actor, channel)
        await self._do(actor, channel, ResumeChannel(channel=channel))
        return await self.channel(actor, channel)

    async def _do(self, actor: Actor, channel: str, command: Any, parcels: Sequence[int] = ()) -> Any:
        self._require(actor, channel)
        if len(parcels) > PARCELS_MAX:
            raise TooLarge(
                "too many dead letters at once",
                where="parcels",
                seen=str(len(parcels)),
                allowed=str(PARCELS_MAX),
                fix="name none: then it is all of the channel",
            )
        outcome = await self._writer.ask(Request(command=command, actor=actor.id))
        if isinstance(outcome, HutongError):
            raise outcome
        return outcome

    def _require(self, actor: Actor, what: str, limit: int = 0, offset: int = 0) -> None:
        self._access.require(actor, "outbox.operate", grade=Grade.OPEN, what=what)
        if "\0" in what:
            raise InvalidInput("the character U+0000 is in the channel", where="channel", fix="leave it out")
        if limit > LIMIT_MAX or offset > OFFSET_MAX:
            raise TooLarge(
                "too much for one page",
                where="limit" if limit > LIMIT_MAX else "offset",
                seen=f"{limit}, {offset}",
                allowed=f"{LIMIT_MAX}, from {OFFSET_MAX} at most",
                fix="ask for fewer and follow the next page",
            )

    def _counted(self, channels: list[ChannelState]) -> list[ChannelState]:
        waiting = self._store.waiting([channel.id for channel in channels])
        return [msgspec.structs.replace(channel, waiting=waiting.get(channel.id, 0)) for channel in channels]

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)


def content(body: bytes) -> tuple[str, str]:
    """What a message says, for people, and in which form it was kept: text, msgpack (shown as JSON) or base64."""
    try:
        return body.decode(), "text"
    except UnicodeDecodeError:
        pass
    try:
        return msgspec.json.format(msgspec.json.encode(msgspec.msgpack.decode(body)), indent=2).decode(), "msgpack"
    except (msgspec.MsgspecError, TypeError, ValueError):
        return base64.b64encode(body).decode(), "base64"
