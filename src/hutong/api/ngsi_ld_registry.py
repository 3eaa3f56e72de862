"""The registry of context sources over HTTP (ETSI GS CIM 009 v1.8.1, clauses 5.9, 5.10, 5.15, 6.8, 6.9 and 6.33).

Registrations are kept and told to those who look for sources; no request is passed on to a source.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec
from litestar import Router, delete, get, patch, post

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import PATH, Call, Empty, Reply
from hutong.engines.sense.documents import Document, DocumentKind, missing
from hutong.engines.sense.ports import Entity
from hutong.kernel.access import Actor
from hutong.kernel.clock import SECOND, Clock
from hutong.kernel.errors import Conflict, InvalidInput, NotFound
from hutong.kernel.ids import Ids
from hutong.standards.ngsi_ld.attributes import split_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.discovery import SELECTING, Discoverer, read_discovery
from hutong.standards.ngsi_ld.entities import context_of, decode
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults
from hutong.standards.ngsi_ld.headers import LD_JSON, Answer
from hutong.standards.ngsi_ld.instants import write_instant
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.query import LIMIT_DEFAULT, LIMIT_MAX
from hutong.standards.ngsi_ld.registrations import (
    Registration,
    check_conflict,
    read_registration,
    read_registration_fragment,
    write_registration,
)

KIND: DocumentKind = "registration"
PAGE = 500  # documents read at once
_LOOK = frozenset(("options",))
_PAGING = frozenset(("limit", "offset", "count", "options"))


class Sense(Protocol):
    """The verbs of the sense engine that these routes call."""

    def entity(self, actor: Actor, tenant: str, id: str, /) -> Entity: ...

    async def keep_document(self, actor: Actor, document: Document, only: Literal["new", "known"], /) -> Document: ...

    async def drop_document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str, /) -> None: ...

    async def document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str, /) -> Document: ...

    async def documents(
        self, actor: Actor, tenant: str, kind: DocumentKind, limit: int, offset: int, /
    ) -> list[Document]: ...


class NgsiLdRegistry:
    """Registering context sources, and looking for them. `identity` tells this server from others, for good."""

    def __init__(self, engine: Sense, contexts: Contexts, clock: Clock, ids: Ids, identity: str) -> None:
        self._engine, self._contexts, self._clock, self._ids = engine, contexts, clock, ids
        self._identity, self._began = identity, clock.now()
        self._writing = asyncio.Lock()  # or two that exclude one another might be let in at once

    def __deepcopy__(self, memo: object) -> "NgsiLdRegistry":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        one = "/csourceRegistrations/{registration_id:str}"
        return http.router(
            [
                post("/csourceRegistrations", summary="Register a context source (5.9.2)")(self.create),
                get("/csourceRegistrations", summary="Look for context sources (5.10.2)")(self.query),
                get(one, summary="Retrieve a registration (5.10.1)")(self.retrieve),
                patch(one, status_code=204, summary="Change a registration (5.9.3)")(self.update),
                delete(one, status_code=204, summary="Delete a registration (5.9.4)")(self.delete),
                get("/info/sourceIdentity", summary="Who this context source is (5.15.1)")(self.source_identity),
            ]
        )

    # --- registering ---

    async def create(self, request: Call) -> Reply:
        http.parameters(request, frozenset())
        context = http.body_context(request, self._contexts)
        raw = decode(await http.body(request))
        fresh = f"urn:ngsi-ld:ContextSourceRegistration:{self._ids.new()}"
        one = read_registration(raw, context_of(raw, self._contexts, context), now=self._clock.now(), id_=fresh)
        async with self._writing:
            await self._drop_expired(request, one.id)
            await self._keep(request, one, "new")
        return http.made(request, f"{PATH}/csourceRegistrations/{one.id}")

    async def update(self, request: Call) -> Empty:
        http.parameters(request, frozenset())
        id_ = http.id_of(request, "registration_id")
        given = http.body_context(request, self._contexts, patch=True)
        raw = decode(await http.body(request))
        context = context_of(raw, self._contexts, given)
        async with self._writing:
            known, _ = await self._known(request, id_)
            await self._keep(request, read_registration_fragment(raw, known, context, now=self._clock.now()), "known")
        return http.empty(request)

    async def delete(self, request: Call) -> Empty:
        http.parameters(request, frozenset())
        id_ = http.id_of(request, "registration_id")
        await self._engine.drop_document(actor_of(request), http.tenant(request), KIND, id_)
        return http.empty(request)

    async def _keep(self, request: Call, one: Registration, only: Literal["new", "known"]) -> None:
        if one.mode in ("exclusive", "redirect"):
            self._check_entities(request, one)
            async for known, _ in self._all(request):
                check_conflict(one, known)
        document = Document(tenant=http.tenant(request), kind=KIND, id=one.id, body=msgspec.json.encode(one))
        await self._engine.keep_document(actor_of(request), document, only)

    def _check_entities(self, request: Call, one: Registration) -> None:
        """Raises Conflict for a source that is to stand for what is here already (clause 5.9.2.4)."""
        for part in one.information:
            for info in part.entities:
                if info.id and (mine := self._attributes(request, info.id)) is not None:
                    shared = part.attributes & mine if part.attributes else mine
                    if shared or one.mode == "redirect":
                        raise Conflict("this entity is kept here", where="information", seen=info.id)

    def _attributes(self, request: Call, entity: str) -> set[str] | None:
        try:
            found = self._engine.entity(actor_of(request), http.tenant(request), entity)
        except NotFound:
            return None
        return {split_key(key)[0] for key in found.attributes}

    async def _drop_expired(self, request: Call, id_: str) -> None:
        """Make room for a registration whose id one that expired still has."""
        actor, tenant = actor_of(request), http.tenant(request)
        try:
            old = await self._engine.document(actor, tenant, KIND, id_)
        except NotFound:
            return
        if not _read(old).holds(self._clock.now()):
            await self._engine.drop_document(actor, tenant, KIND, id_)

    # --- looking ---

    async def retrieve(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        system = _system(http.parameters(request, _LOOK))
        known, document = await self._known(request, http.id_of(request, "registration_id"))
        return http.reply_json(request, _told(known, document, context, system), answer, context)

    async def query(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        parameters = http.parameters(request, SELECTING | _PAGING)
        limit, offset, count, system = *read_page(parameters), _system(parameters)
        discoverer = Discoverer(read_discovery(parameters, context))
        told, found = [], 0
        async for known, document in self._all(request):
            if discoverer.find(known):
                found += 1
                if offset < found <= offset + limit:
                    told.append(_told(known, document, context, system))
        links = neighbours(request, limit, offset, found > offset + limit, answer)
        reply = http.reply_json(request, told, answer, context, *links)
        if count:
            reply.headers["NGSILD-Results-Count"] = str(found)
        return reply

    async def _known(self, request: Call, id_: str) -> tuple[Registration, Document]:
        document = await self._engine.document(actor_of(request), http.tenant(request), KIND, id_)
        known = _read(document)
        if not known.holds(self._clock.now()):
            raise missing(KIND, id_)
        return known, document

    async def _all(self, request: Call) -> AsyncIterator[tuple[Registration, Document]]:
        """Every registration that has not expired, in order of creation."""
        actor, tenant, now, offset = actor_of(request), http.tenant(request), self._clock.now(), 0
        while page := await self._engine.documents(actor, tenant, KIND, PAGE, offset):
            for document in page:
                if (known := _read(document)).holds(now):
                    yield known, document
            offset += len(page)

    # --- who this is ---

    async def source_identity(self, request: Call) -> Reply:
        """A context source has an alias in each tenant, so that a request that comes round is known again."""
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        http.parameters(request, frozenset())
        tenant, now = http.tenant(request), self._clock.now()
        alias = f"{self._identity}.{tenant}" if tenant else self._identity
        told = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{alias}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": f"PT{(now - self._began) // SECOND}S",
            "contextSourceTimeAt": write_instant(now),
        }
        return http.reply_json(request, told, answer, context)


def read_page(parameters: Parameters) -> tuple[int, int, bool]:
    """limit, offset and count of a list (clause 5.5.9). Raises InvalidInput, TooManyResults."""
    count = parameters.flag("count") or False
    limit, offset = parameters.number("limit", LIMIT_DEFAULT) or 0, parameters.number("offset", 0) or 0
    if limit > LIMIT_MAX:
        raise TooManyResults("the page is too large", where="limit", seen=limit, allowed=f"at most {LIMIT_MAX}")
    if limit == 0 and not count:
        raise InvalidInput("a page of nothing", where="limit", seen=0, fix="add count=true, or ask for more")
    return limit, offset, count


def neighbours(request: Call, limit: int, offset: int, more: bool, answer: Answer) -> list[str]:
    """Links to other pages; of this list the standard's own examples hint at JSON-LD, whatever was accepted."""
    return http.neighbours(request, limit, offset, more, msgspec.structs.replace(answer, media_type=LD_JSON))


def _system(parameters: Parameters) -> bool:
    options = parameters.items("options")
    if options not in ((), ("sysAttrs",)):
        raise InvalidRequest("no such option", where="options", seen=",".join(options), allowed="sysAttrs")
    return bool(options)


def _read(document: Document) -> Registration:
    return msgspec.json.decode(document.body, type=Registration)


def _told(known: Registration, document: Document, context: Context, system: bool) -> dict[str, object]:
    told = write_registration(known, context)
    if system:
        told["createdAt"], told["modifiedAt"] = write_instant(document.created_at), write_instant(document.modified_at)
    return told
