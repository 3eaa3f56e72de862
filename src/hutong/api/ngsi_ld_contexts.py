"""@contexts over HTTP (ETSI GS CIM 009 v1.8.1, clauses 5.13, 6.29 and 6.30): clients' own are kept and served here."""

import hashlib
from typing import Any, Protocol

import msgspec
from litestar import Response, Router, delete, get, post

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import Call, Empty, Reply
from hutong.engines.sense.documents import Document, DocumentKind
from hutong.kernel.access import Actor
from hutong.kernel.clock import iso
from hutong.kernel.errors import InvalidInput, NotFound, TooLarge, Unsupported
from hutong.kernel.ids import Ids
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.core_context import CORE_URL, is_core_url
from hutong.standards.ngsi_ld.entities import decode
from hutong.standards.ngsi_ld.errors import InvalidRequest
from hutong.standards.ngsi_ld.headers import JSON
from hutong.standards.ngsi_ld.library import HOSTED_PATH, KINDS, KeptContext, Kind, Library, Usage, local_id, new_id
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.uris import is_uri

CONTEXT_BYTES_MAX = 256 * 1024
PAGE = 50  # documents read at once: each may be as long as its bound


class Sense(Protocol):
    """The verbs of the sense engine that these routes call."""

    def check_keeping(self, actor: Actor, tenant: str, kind: DocumentKind, /) -> None: ...

    async def keep_document(self, actor: Actor, document: Document) -> Document: ...

    async def drop_document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str, /) -> None: ...

    async def document(self, actor: Actor, tenant: str, kind: DocumentKind, id: str, /) -> Document: ...

    async def documents(
        self, actor: Actor, tenant: str, kind: DocumentKind, limit: int, offset: int, /
    ) -> list[Document]: ...


class NgsiLdContexts:
    """Adding, listing, serving and deleting @contexts."""

    def __init__(self, engine: Sense, contexts: Contexts, library: Library, ids: Ids) -> None:
        self._engine, self._contexts, self._library, self._ids = engine, contexts, library, ids

    def __deepcopy__(self, memo: object) -> "NgsiLdContexts":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        one = "/jsonldContexts/{context_id:str}"
        return http.router(
            [
                post("/jsonldContexts", summary="Keep an @context (5.13.2)")(self.add),
                get("/jsonldContexts", summary="List @contexts (5.13.3)")(self.listed),
                get(one, summary="Serve an @context (5.13.4)")(self.serve),
                delete(one, status_code=204, summary="Delete or reload an @context (5.13.5)")(self.delete),
            ]
        )

    async def address(self, actor: Actor, tenant: str, context: Context, base: str) -> str:
        """An address that a client may be told: the @context's own, or that of an implicitly created one.

        `base` is the server's address. The same @context gets the same address each time.
        """
        if context.url:
            return context.url
        document = msgspec.json.encode({"@context": context.source})
        local = new_id(tenant, hashlib.sha256(document).hexdigest()[:32])
        try:
            await self._engine.document(actor, tenant, "context", local)
        except NotFound:
            await self._keep(actor, tenant, local, KeptContext("ImplicitlyCreated", msgspec.Raw(document)))
        return base.rstrip("/") + HOSTED_PATH + local

    async def add(self, request: Call) -> Reply:
        http.parameters(request, frozenset())
        http.body_context(request, self._contexts)
        document = decode(await http.body(request))
        if type(document) is not dict or "@context" not in document:
            raise InvalidRequest("no @context", where="@context", allowed="an object with the member @context")
        self._contexts.compile(document["@context"])
        tenant = http.tenant(request)
        local, raw = (
            new_id(tenant, self._ids.new()),
            msgspec.Raw(msgspec.json.encode({"@context": document["@context"]})),
        )
        await self._keep(actor_of(request), tenant, local, KeptContext("Hosted", raw))
        return http.made(request, HOSTED_PATH + local)

    async def listed(self, request: Call) -> Reply:
        parameters = http.parameters(request, frozenset(("details", "kind")))
        details, kind = parameters.flag("details") or False, _kind(parameters)
        found = [_told(url, url, "Cached", usage) for url, usage in self._library.cached.items()]
        offset, page = 0, await self._page(request, 0)
        while page:
            found += [self._told_kept(request, one) for one in page]
            offset += len(page)
            page = await self._page(request, offset) if len(page) == PAGE else []
        told = [one if details else one["URL"] for one in found if not kind or one["kind"] == kind]
        return _json(request, told)

    async def serve(self, request: Call) -> Reply:
        details = http.parameters(request, frozenset(("details",))).flag("details") or False
        id_ = _id(request)
        if is_uri(id_):
            url = _known(self._library, id_)
            if not details:
                raise Unsupported(
                    "a cached @context is not served", where="details", seen=id_, fix="ask its address, or for details"
                )
            told = _told(url, url, "Cached", self._library.cached[url])
            self._library.used((url,))
            return _json(request, told)
        found = await self._engine.document(actor_of(request), http.tenant(request), "context", id_)
        told = self._told_kept(request, found)
        self._library.used((HOSTED_PATH + id_,))
        if details:
            return _json(request, told)
        return _json(request, msgspec.json.decode(found.body, type=KeptContext).document)

    async def delete(self, request: Call) -> Empty:
        reload = http.parameters(request, frozenset(("reload",))).flag("reload") or False
        id_, actor = _id(request), actor_of(request)
        if is_uri(id_):
            url = _known(self._library, id_)
            self._engine.check_keeping(actor, http.tenant(request), "context")
            if reload:
                self._library.reload(url)
            elif is_core_url(url):
                raise InvalidInput("the core @context cannot be deleted", seen=url, fix="it may be reloaded")
            else:
                del self._library.cached[url]
        elif reload:
            raise InvalidInput("only a cached @context is reloaded", where="reload", seen=id_, allowed="its address")
        else:
            await self._engine.drop_document(actor, http.tenant(request), "context", id_)
            self._library.forget(id_)
        self._contexts.forget()
        return http.empty(request)

    async def _keep(self, actor: Actor, tenant: str, local: str, kept: KeptContext) -> None:
        if len(kept.document) > CONTEXT_BYTES_MAX:
            raise TooLarge("the @context is too long", seen=len(kept.document), allowed=f"{CONTEXT_BYTES_MAX} bytes")
        body = msgspec.json.encode(kept)
        await self._engine.keep_document(actor, Document(tenant=tenant, kind="context", id=local, body=body))

    async def _page(self, request: Call, offset: int) -> list[Document]:
        return await self._engine.documents(actor_of(request), http.tenant(request), "context", PAGE, offset)

    def _told_kept(self, request: Call, document: Document) -> dict[str, Any]:
        usage = msgspec.structs.replace(self._library.usage(document.id), since=document.created_at)
        url = str(request.base_url).rstrip("/") + HOSTED_PATH + document.id
        return _told(url, document.id, msgspec.json.decode(document.body, type=KeptContext).kind, usage)


def _told(url: str, local: str, kind: Kind, usage: Usage) -> dict[str, Any]:
    """What there is to know of an @context beside its terms (clause 5.13.3.5)."""
    told: dict[str, Any] = {"URL": url, "localId": local, "kind": kind, "createdAt": iso(usage.since)}
    if usage.last is not None:
        told["lastUsage"] = iso(usage.last)
    return {**told, "numberOfHits": usage.hits}


def _kind(parameters: Parameters) -> str:
    asked = parameters.text("kind")
    kind = next((one for one in KINDS if one.lower() == asked.lower()), "")
    if asked and not kind:
        raise InvalidInput("no such kind", where="kind", seen=asked, allowed=", ".join(KINDS))
    return kind


def _id(request: Call) -> str:
    """The id in the address: local, or the address of a cached one; a whole address of this server is local too."""
    given = http.segment(request, "context_id")
    return local_id(given) or given


def _known(library: Library, url: str) -> str:
    """The address under which a cached @context is known. Raises NotFound."""
    known = CORE_URL if is_core_url(url) else url
    if known not in library.cached:
        raise NotFound("no such @context is cached here", where="the @context", seen=url)
    return known


def _json(request: Call, told: Any) -> Reply:
    return Response(msgspec.json.encode(told), media_type=JSON, headers=http.echo(request))
