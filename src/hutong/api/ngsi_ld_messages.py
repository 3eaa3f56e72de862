"""Requests and replies of NGSI-LD over HTTP: what is given, and how outcomes and errors are told (clause 6.3)."""

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, unquote

import msgspec
from litestar import Request, Response, Router
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from hutong.api.app import refusal
from hutong.engines.sense.ports import Changed, Verb
from hutong.kernel.errors import HutongError, InvalidInput, NotAuthenticated
from hutong.standards.ngsi_ld.attributes import split_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts, full_name
from hutong.standards.ngsi_ld.entities import context_of, decode
from hutong.standards.ngsi_ld.errors import (
    ERRORS,
    InvalidRequest,
    LengthRequired,
    UnsupportedMediaType,
    batch_result,
    internal_problem,
    problem,
    update_result,
)
from hutong.standards.ngsi_ld.headers import (
    JSON,
    Answer,
    answer_to,
    context_of_body,
    context_of_header,
    page_links,
    read_tenant,
)
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.uris import read_uri

PATH = "/ngsi-ld/v1"
PARAMETERS_MAX = 100
_ENCODED_SLASH = "%2F"
# What an address ends with that lacks the id or name it is about, by method.
_NAMED = {"PUT": ("/",), "DELETE": ("/",), "PATCH": ("/entities/", "/csourceRegistrations/")}
_ALL_OF_THEM = "/subscriptions/"  # nothing changes or ends all subscriptions at once: the method is refused (405)
_SLASH = "\ue000"  # stands for it on the way to the routes: of private use, and in no URI
_NOTHING = "\ue001"  # likewise for a segment that is empty

Call: TypeAlias = Request[Any, Any, Any]
Reply: TypeAlias = Response[Any]
Empty: TypeAlias = Response[None]

log = logging.getLogger(__name__)


def keep_encoded_slashes(app: ASGIApp) -> ASGIApp:
    """Let ids and names that are URLs reach the routes: a slash that the client encoded does not part segments.

    An empty segment reaches them too, where it is refused as no id and no name.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["path"].startswith(PATH):
            raw = scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
            if _ENCODED_SLASH in raw.upper():
                scope["path"] = unquote(raw.replace("%2f", _ENCODED_SLASH).replace(_ENCODED_SLASH, _SLASH))
            path, named = scope["path"], _NAMED.get(scope["method"], ())
            if path.endswith(named) and not path.endswith(_ALL_OF_THEM) and not scope["query_string"]:
                scope["path"] += _NOTHING
            if "//" in scope["path"]:
                scope["path"] = scope["path"].replace("//", f"/{_NOTHING}/")
        await app(scope, receive, send)

    return handle


# --- what a request gives -------------------------------------------------------------------------------------


def segment(request: Call, name: str) -> str:
    """A part of the address, its encoded slashes decoded."""
    return str(request.path_params[name]).replace(_SLASH, "/").replace(_NOTHING, "")


def id_of(request: Call, name: str) -> str:
    """An id in the address. Raises InvalidInput for what is no URI."""
    return read_uri(segment(request, name), "the id of the address")


def entity_id(request: Call) -> str:
    return id_of(request, "entity_id")


def tenant(request: Call) -> str:
    return read_tenant(request.headers.get("ngsild-tenant", ""))


def link(request: Call) -> str:
    return str(request.headers.get("link", ""))


def answer(request: Call, *, geojson: bool = False) -> Answer:
    """How the answer is to be sent."""
    headers = request.headers
    return answer_to(headers.get("accept", ""), headers.get("prefer", ""), geojson=geojson)


def given(request: Call) -> dict[str, list[str]]:
    """The parameters of the address. Raises InvalidRequest for what is not UTF-8, or too much of it."""
    text = request.scope["query_string"].decode("latin-1")
    if not text:
        return {}
    try:
        return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except UnicodeDecodeError:
        raise InvalidRequest("the parameters are not UTF-8", where="the address", seen=text) from None
    except ValueError as error:
        raise InvalidRequest("the parameters cannot be read", where="the address", seen=str(error)) from None


def parameters(request: Call, allowed: frozenset[str]) -> Parameters:
    """The parameters of an operation that has these."""
    return Parameters.of_address(given(request), allowed)


async def body(request: Call) -> bytes:
    """The body. Raises LengthRequired where its length is not told; its bound is the application's."""
    if "content-length" not in request.headers:
        raise LengthRequired("the length of the body is missing", where="Content-Length")
    return await request.body()


def body_context(request: Call, contexts: Contexts, *, patch: bool = False) -> Context | None:
    """The @context that goes with a body; None where the body is to tell."""
    return context_of_body(request.headers.get("content-type", ""), link(request), contexts, patch=patch)


def header_context(request: Call, contexts: Contexts) -> Context:
    """The @context of a request without a body."""
    return context_of_header(link(request), contexts)


async def query_body(request: Call, contexts: Contexts) -> tuple[Any, Context]:
    """A query that came as a body, and its @context."""
    context = body_context(request, contexts)
    raw = decode(await body(request))
    return raw, context_of(raw, contexts, context)


# --- replies --------------------------------------------------------------------------------------------------


def reply(request: Call, content: bytes, how: Answer, context: Context, *links: str) -> Reply:
    """An answer with what was asked for, its @context and its neighbours told in Link headers."""
    all_links = [one for one in (how.link(context), *links) if one]
    headers = {**echo(request), **({"Link": ", ".join(all_links)} if all_links else {})}
    return Response(content, media_type=how.media_type, headers=headers)


def reply_json(request: Call, told: Any, how: Answer, context: Context, *links: str) -> Reply:
    """The same, of JSON-ready objects; each object of an array gets its own @context."""
    if how.context_in_body:
        for one in told if isinstance(told, list) else [told]:
            one["@context"] = context.source
    return reply(request, msgspec.json.encode(told), how, context, *links)


def neighbours(request: Call, limit: int, offset: int, more: bool, how: Answer) -> list[str]:
    """Links to the next and previous page of this address."""
    pairs = [
        (name, quote(value, safe="=%&+,;:()[]{}!*'/?@-._~|$"))
        for name, _, value in (
            part.partition("=") for part in request.scope["query_string"].decode("latin-1").split("&")
        )
        if name and name not in ("limit", "offset")
    ]
    return page_links(request.scope["path"], pairs, limit, offset, more=more, media_type=how.media_type)


def made(request: Call, address: str) -> Reply:
    """201 for what now stands under an address."""
    return Response(b"", status_code=201, media_type=JSON, headers={**echo(request), "Location": address})


def empty(request: Call) -> Empty:
    return Response(None, status_code=204, headers=echo(request))


def created(request: Call, outcome: Changed) -> Reply:
    """The reply to a creation: 201, or 207 where some attributes were not taken. Raises its error."""
    if outcome.error is not None:
        raise outcome.error
    headers = {**echo(request), "Location": f"{PATH}/entities/{quote(outcome.id, safe=':')}"}
    if outcome.refused:
        told = batch_result([outcome.id], [(outcome.id, _refusal(outcome))])
        return Response(msgspec.json.encode(told), status_code=207, media_type=JSON, headers=headers)
    return Response(b"", status_code=201, media_type=JSON, headers=headers)


def updated(request: Call, outcome: Changed) -> Reply:
    """The reply to a change of several attributes: 204, or 207 with an UpdateResult. Raises its error."""
    if outcome.error is not None:
        raise outcome.error
    if not outcome.refused:
        return empty(request)
    told = update_result(outcome, lambda key: full_name(split_key(key)[0]))
    return Response(msgspec.json.encode(told), status_code=207, media_type=JSON, headers=echo(request))


def done(request: Call, outcome: Changed) -> Empty:
    """The reply to a change of one thing: 204. Raises why it was not done."""
    if outcome.error is not None:
        raise outcome.error
    if outcome.refused:
        raise next(iter(outcome.refused.values()))
    return empty(request)


def batch_done(
    request: Call, verb: Verb, outcomes: Sequence[Changed], refused: Sequence[tuple[str, HutongError]]
) -> Reply:
    """The reply to a batch: 201 or 204 where all went well, 207 with a BatchOperationResult otherwise."""
    errors = list(refused)
    success: list[str] = []
    for outcome in outcomes:
        if outcome.error is not None:
            errors.append((outcome.id, outcome.error))
        elif outcome.refused:
            errors.append((outcome.id, _refusal(outcome)))
        else:
            success.append(outcome.id)
    if errors:
        told: Any = batch_result(list(dict.fromkeys(success)), errors)
        return Response(msgspec.json.encode(told), status_code=207, media_type=JSON, headers=echo(request))
    told = list(dict.fromkeys(outcome.id for outcome in outcomes if outcome.created))
    if verb is Verb.CREATE or told:
        return Response(msgspec.json.encode(told), status_code=201, media_type=JSON, headers=echo(request))
    return empty(request)


def _refusal(outcome: Changed) -> HutongError:
    """One error for the attributes of an entity that were not taken; its others were."""
    reasons = "; ".join(str(error.fault) for error in outcome.refused.values())
    taken = "the others were taken" if outcome.changed else "nothing else changed"
    return InvalidInput(
        f"some attributes were not taken: {reasons}; {taken}", where=outcome.id, seen=", ".join(outcome.refused)
    )


def echo(request: Call) -> dict[str, str]:
    """The tenant, told back (clause 6.3.14)."""
    name = request.headers.get("ngsild-tenant", "")
    return {"NGSILD-Tenant": name} if name else {}


# --- routes ---------------------------------------------------------------------------------------------------


def router(handlers: Sequence[BaseRouteHandler]) -> Router:
    """Routes under the path of NGSI-LD, with errors as it tells them."""
    errors: dict[int | type[Exception], Any] = dict.fromkeys((HutongError, HTTPException, Exception), ngsi_problem)
    return Router(PATH, route_handlers=handlers, exception_handlers=errors, tags=["NGSI-LD"])


# --- errors ---------------------------------------------------------------------------------------------------

_HTTP_TYPES = {404: "ResourceNotFound", 405: "OperationNotSupported"}


def ngsi_problem(request: Call, error: Exception) -> Reply:
    """Any error as NGSI-LD tells it (clauses 5.5.3, 6.3.3): application/json, always with type, title and detail."""
    headers = {name: value for name, value in echo(request).items() if value.isprintable()}
    if isinstance(error, LengthRequired | UnsupportedMediaType):
        return Response(b"", status_code=error.status, media_type=JSON, headers=headers)  # clause 6.3.4: bare
    if isinstance(error, HutongError):
        told = problem(error)
        if isinstance(error, NotAuthenticated):
            headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, HTTPException):
        told = {
            "type": ERRORS + _HTTP_TYPES.get(error.status_code, "InvalidRequest"),
            "title": "Request refused",
            "status": error.status_code,
            **refusal(request, error),
        }
        headers |= error.headers or {}
    else:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        told = internal_problem(f"{request.method} {request.url.path}")
    return Response(msgspec.json.encode(told), status_code=told["status"], media_type=JSON, headers=headers)
