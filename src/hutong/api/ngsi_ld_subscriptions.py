"""Subscriptions over HTTP (ETSI GS CIM 009 v1.8.1, clauses 5.8, 6.10 and 6.11)."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import quote

import msgspec
from litestar import Router, delete, get, patch, post

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import PATH, Call, Empty, Reply
from hutong.engines.sense.subscriptions import Kept, Subscription
from hutong.kernel.access import Actor
from hutong.kernel.clock import Clock
from hutong.kernel.errors import InvalidInput
from hutong.kernel.ids import Ids
from hutong.kernel.outbox import ChannelState
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.entities import context_of, decode
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults
from hutong.standards.ngsi_ld.headers import LD_JSON
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.query import LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX
from hutong.standards.ngsi_ld.subscription_answers import write_subscription
from hutong.standards.ngsi_ld.subscriptions import read_fragment, read_subscription
from hutong.standards.ngsi_ld.uris import read_uri

Check: TypeAlias = Callable[[str, str], None]
"""Raises InvalidInput for an HTTP address that may not be notified: the address, and where it stands."""
AsTold: TypeAlias = Callable[[str, ChannelState | None], ChannelState | None]
"""How a channel stands now, where its state may be a moment behind."""
Address: TypeAlias = Callable[[Actor, str, Context, str], Awaitable[str]]
"""An address under which a context is to be had: actor, tenant, context, the server's own address."""


class Subscribers(Protocol):
    """The verbs about subscriptions that these routes call."""

    async def subscribe(
        self, actor: Actor, tenant: str, subscription: Subscription, only: Literal["new", "known"], /
    ) -> None: ...

    async def unsubscribe(self, actor: Actor, tenant: str, id: str, /) -> None: ...

    async def one(self, actor: Actor, tenant: str, id: str, /) -> Kept: ...

    async def page(self, actor: Actor, tenant: str, limit: int, offset: int, /) -> list[Kept]: ...

    async def count(self, actor: Actor, tenant: str, /) -> int: ...

    async def states(self, subscriptions: Iterable[Kept], /) -> Mapping[str, ChannelState]: ...


class NgsiLdSubscriptions:
    """Creating, changing, listing and deleting subscriptions: to changes, or to context sources (5.11, 6.12, 6.13)."""

    def __init__(
        self,
        subscribers: Subscribers,
        contexts: Contexts,
        address: Address,
        as_told: AsTold,
        check: Check,
        clock: Clock,
        ids: Ids,
        *,
        sources: bool = False,
    ) -> None:
        self._subscribers, self._contexts, self._address, self._as_told = subscribers, contexts, address, as_told
        self._check, self._clock, self._ids, self._sources = check, clock, ids, sources
        self._path = "/csourceSubscriptions" if sources else "/subscriptions"

    def __deepcopy__(self, memo: object) -> "NgsiLdSubscriptions":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        every, one = self._path, self._path + "/{subscription_id:str}"
        what, clause = ("context sources", "5.11") if self._sources else ("changes", "5.8")
        n = (2, 3, 4, 5, 6) if self._sources else (1, 2, 3, 4, 5)
        return http.router(
            [
                post(every, summary=f"Subscribe to {what} ({clause}.{n[0]})")(self.create),
                get(every, summary=f"List subscriptions to {what} ({clause}.{n[3]})")(self.listed),
                get(one, summary=f"Retrieve a subscription to {what} ({clause}.{n[2]})")(self.retrieve),
                patch(one, status_code=204, summary=f"Change a subscription to {what} ({clause}.{n[1]})")(self.update),
                delete(one, status_code=204, summary=f"End a subscription to {what} ({clause}.{n[4]})")(self.delete),
            ]
        )

    async def create(self, request: Call) -> Reply:
        http.parameters(request, frozenset())
        raw, context = await self._body(request)
        made = f"urn:ngsi-ld:Subscription:{self._ids.new()}"
        one = read_subscription(raw, context, self._contexts, now=self._clock.now(), id_=made)
        self._check_whole(one)
        actor, tenant = actor_of(request), http.tenant(request)
        if not context.url:  # what receivers of plain JSON are told must be to be had somewhere
            one.wire["@link"] = await self._address(actor, tenant, context, str(request.base_url))
        await self._subscribers.subscribe(actor, tenant, one, "new")
        return http.made(request, f"{PATH}{self._path}/{quote(one.id, safe=':')}")

    async def update(self, request: Call) -> Empty:
        http.parameters(request, frozenset())
        raw, context = await self._body(request, patch=True)
        actor, tenant = actor_of(request), http.tenant(request)
        known = await self._subscribers.one(actor, tenant, _id(request))
        changed = read_fragment(raw, known.subscription, context, self._contexts, now=self._clock.now())
        self._check_whole(changed)
        await self._subscribers.subscribe(actor, tenant, changed, "known")
        return http.empty(request)

    async def retrieve(self, request: Call) -> Reply:
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        system = _system(http.parameters(request, frozenset(("options",))))
        kept = await self._subscribers.one(actor_of(request), http.tenant(request), _id(request))
        [told] = await self._told(request, [kept], context, system)
        return http.reply_json(request, told, answer, context)

    async def listed(self, request: Call) -> Reply:
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        parameters = http.parameters(request, frozenset(("limit", "offset", "count", "options")))
        count, limit, offset = _page(parameters)
        actor, tenant = actor_of(request), http.tenant(request)
        found = await self._subscribers.page(actor, tenant, limit + 1, offset) if limit else []
        told = await self._told(request, found[:limit], context, _system(parameters))
        hinted = msgspec.structs.replace(answer, media_type=LD_JSON)  # as the standard's examples do
        links = http.neighbours(request, limit, offset, len(found) > limit, hinted)
        reply = http.reply_json(request, told, answer, context, *links)
        if count:
            reply.headers["NGSILD-Results-Count"] = str(await self._subscribers.count(actor, tenant))
        return reply

    async def delete(self, request: Call) -> Empty:
        http.parameters(request, frozenset())
        await self._subscribers.unsubscribe(actor_of(request), http.tenant(request), _id(request))
        return http.empty(request)

    def _check_whole(self, one: Subscription) -> None:
        if "temporalQ" in one.wire and not self._sources:
            raise InvalidInput("changes happen now", where="temporalQ", fix="leave it out")
        uri: str = one.wire["notification"]["endpoint"]["uri"]
        if uri.lower().startswith("http"):
            self._check(uri, "notification.endpoint.uri")

    async def _body(self, request: Call, *, patch: bool = False) -> tuple[Any, Context]:
        context = http.body_context(request, self._contexts, patch=patch)
        raw = decode(await http.body(request))
        return raw, context_of(raw, self._contexts, context)

    async def _told(self, request: Call, found: list[Kept], context: Context, system: bool) -> list[dict[str, Any]]:
        states, actor, now = await self._subscribers.states(found), actor_of(request), self._clock.now()
        return [
            write_subscription(
                kept,
                self._as_told(kept.channel, states.get(kept.channel)),
                context,
                now=now,
                own=kept.owner is not None and kept.owner.id == actor.id,
                system=system,
            )
            for kept in found
        ]


def _id(request: Call) -> str:
    return read_uri(http.segment(request, "subscription_id"), "the id of the address")


def _system(parameters: Parameters) -> bool:
    options = parameters.items("options")
    if any(option != "sysAttrs" for option in options):
        raise InvalidRequest("no such option", where="options", seen=",".join(options), allowed="sysAttrs")
    return bool(options)


def _page(parameters: Parameters) -> tuple[bool, int, int]:
    """Whether to count, how many, and from where."""
    count = parameters.flag("count") or False
    limit = parameters.number("limit", LIMIT_DEFAULT) or 0
    if limit > LIMIT_MAX:
        raise TooManyResults("the page is too large", where="limit", seen=limit, allowed=f"at most {LIMIT_MAX}")
    if limit == 0 and not count:
        raise InvalidInput("a page of nothing", where="limit", seen=0, fix="add count=true, or ask for more")
    return count, limit, min(parameters.number("offset", 0) or 0, OFFSET_MAX)
