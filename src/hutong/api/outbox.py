"""Messages for operators: which channels fare badly, what could not be delivered, and sending it again."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from hutong.api.app import actor_of
from hutong.kernel.clock import iso
from hutong.kernel.deliveries import LIMIT_MAX, OFFSET_MAX, PARCELS_MAX, Deliveries, content
from hutong.kernel.outbox import ChannelState, DeadLetter

PATH = "/api/v1/outbox"
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)]
Offset = Annotated[int, QueryParameter(ge=0, le=OFFSET_MAX)]
Channel = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class ChannelView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A channel as it is told; instants are ISO 8601 in UTC. `waiting` and `dead` count messages."""

    id: str
    kind: str
    state: str
    waiting: int
    dead: int
    times_sent: int
    times_failed: int
    times_refused: int
    failures: int = 0
    next_at: str | None = None
    last_sent_at: str | None = None
    last_failed_at: str | None = None
    last_error: str = ""


class Channels(msgspec.Struct):
    """A page of channels, those in trouble first, and how many there are in all."""

    count: int
    channels: list[ChannelView]


class DeadLetterView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A dead letter as it is told. `content` and its `form` (text, msgpack as JSON, base64) are told of one alone."""

    n: int
    channel: str
    put_at: str
    died_at: str
    attempts: int
    reason: str
    size: int
    content: str | None = None
    form: str | None = None


class DeadLetters(msgspec.Struct):
    """A page of dead letters, the newest first, and how many there are in all."""

    count: int
    dead: list[DeadLetterView]


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """A channel."""

    channel: Channel


class ChosenDead(msgspec.Struct, forbid_unknown_fields=True):
    """Dead letters of a channel by number; all of them when none is named."""

    channel: Channel
    parcels: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]], msgspec.Meta(max_length=PARCELS_MAX)
    ] = []


class Done(msgspec.Struct):
    """How many dead letters it was done to."""

    count: int


class OutboxRoutes:
    """The routes over the verbs of operators."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def __deepcopy__(self, memo: object) -> "OutboxRoutes":
        return self  # Litestar copies routes when it registers them

    def router(self) -> Router:
        """The routes under /api/v1/outbox."""
        routes = [
            get("/channels", operation_id="list_channels")(self.channels),
            get("/channel", operation_id="get_channel")(self.channel),
            post("/pause", status_code=200, operation_id="pause_channel")(self.pause),
            post("/resume", status_code=200, operation_id="resume_channel")(self.resume),
            get("/dead", operation_id="list_dead_letters")(self.dead),
            get("/dead/{n:int}", operation_id="get_dead_letter")(self.dead_letter),
            post("/resend", status_code=200, operation_id="resend_dead_letters")(self.resend),
            post("/drop", status_code=200, operation_id="drop_dead_letters")(self.drop),
        ]
        return Router(PATH, route_handlers=routes, tags=["Outbox"])

    async def channels(
        self,
        request: Request[Any, Any, Any],
        wanted: Annotated[
            Literal["", "active", "failing", "paused", "closed"],
            QueryParameter(name="state", description="any when absent"),
        ] = "",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> Channels:
        """Where messages go, and how that fares; those in trouble first."""
        actor = actor_of(request)
        found = await self._deliveries.channels(actor, wanted, limit, offset)
        return Channels(await self._deliveries.count_channels(actor, wanted), [_channel(one) for one in found])

    async def channel(self, request: Request[Any, Any, Any], id: FromQuery[str]) -> ChannelView:
        """One channel."""
        return _channel(await self._deliveries.channel(actor_of(request), id))

    async def pause(self, request: Request[Any, Any, Any], data: JSONBody[Chosen]) -> ChannelView:
        """Keep what is to be sent, and send nothing."""
        return _channel(await self._deliveries.pause(actor_of(request), data.channel))

    async def resume(self, request: Request[Any, Any, Any], data: JSONBody[Chosen]) -> ChannelView:
        """Send again, now, whether it was paused, failing or closed."""
        return _channel(await self._deliveries.resume(actor_of(request), data.channel))

    async def dead(
        self,
        request: Request[Any, Any, Any],
        channel: FromQuery[str] = "",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> DeadLetters:
        """What could not be delivered, of one channel or of all."""
        actor = actor_of(request)
        found = await self._deliveries.dead(actor, channel, limit, offset)
        return DeadLetters(await self._deliveries.count_dead(actor, channel), [_letter(one) for one in found])

    async def dead_letter(self, request: Request[Any, Any, Any], n: FromPath[int]) -> DeadLetterView:
        """What one of them says; whoever looks needs to be cleared for it."""
        found = await self._deliveries.dead_letter(actor_of(request), min(n, 2**63 - 1))
        text, form = content(found.parcel.body)
        return msgspec.structs.replace(_letter(found), content=text, form=form)

    async def resend(self, request: Request[Any, Any, Any], data: JSONBody[ChosenDead]) -> Done:
        """Send dead letters again, after what waits already."""
        return Done(await self._deliveries.resend(actor_of(request), data.channel, data.parcels))

    async def drop(self, request: Request[Any, Any, Any], data: JSONBody[ChosenDead]) -> Done:
        """Delete dead letters for good."""
        return Done(await self._deliveries.drop(actor_of(request), data.channel, data.parcels))


def _channel(one: ChannelState) -> ChannelView:
    return ChannelView(
        id=one.id,
        kind=one.kind,
        state=one.state,
        waiting=one.waiting,
        dead=one.dead,
        times_sent=one.times_sent,
        times_failed=one.times_failed,
        times_refused=one.times_refused,
        failures=one.failures,
        next_at=iso(one.next_at) if one.next_at else None,
        last_sent_at=_told(one.last_sent_at),
        last_failed_at=_told(one.last_failed_at),
        last_error=one.last_error,
    )


def _letter(one: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        n=one.parcel.n,
        channel=one.parcel.channel,
        put_at=iso(one.parcel.at),
        died_at=iso(one.died_at),
        attempts=one.attempts,
        reason=one.reason,
        size=one.size or len(one.parcel.body),
    )


def _told(at: int | None) -> str | None:
    return None if at is None else iso(at)
