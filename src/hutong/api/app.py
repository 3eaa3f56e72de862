"""The web application: who is asking, which routes there are, and how errors are told."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from hutong import __version__
from hutong.kernel.access import Actor
from hutong.kernel.errors import PROBLEM_TYPE, HutongError, InvalidInput, NotAuthenticated, shown

BODY_MAX = 16 * 1024 * 1024

log = logging.getLogger(__name__)

Identify: TypeAlias = Callable[[str], Actor]
"""The actor behind an Authorization header; an empty text is nobody. Raises NotAuthenticated."""
ErrorHandler: TypeAlias = Callable[[Request[Any, Any, Any], Exception], Response[Any]]


class Authentication(ASGIMiddleware):
    """Puts the actor into the request's state; no address with U+0000, which no store can keep, gets further."""

    def __init__(self, identify: Identify) -> None:
        self._identify = identify

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise InvalidInput(
                "the address holds the character U+0000", where="the address", seen=scope["path"], fix="leave it out"
            )
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scope["state"]["actor"] = self._identify(header.decode("latin-1"))
        await next_app(scope, receive, send)


def answer_heads(app: ASGIApp) -> ASGIApp:
    """Answer HEAD as GET without its body (RFC 9110, 9.3.2)."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return
        told = False

        async def receive_until_told() -> Any:
            return {"type": "http.disconnect"} if told else await receive()

        async def send_head(message: Any) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                await send(message)
            elif not told:
                told = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        scope["method"] = HttpMethod.GET
        await app(scope, receive_until_told, send_head)

    return handle


def actor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Actor:
    """Who is behind a request."""
    actor: Actor = connection.scope["state"]["actor"]
    return actor


def refusal(request: Request[Any, Any, Any], error: HTTPException) -> dict[str, str]:
    """What the framework refuses before any route sees it, in the words of this house: detail, where, seen, allowed."""
    told = {"detail": error.detail}
    if error.status_code == 404:
        told = {"detail": "there is no such address", "where": "the address", "seen": shown(request.url.path)}
    elif error.status_code == 405:
        told = {
            "detail": "this address does not take this method",
            "where": "the method",
            "seen": request.method,
            "allowed": (error.headers or {}).get("allow", ""),
        }
    elif error.status_code == 413:
        told = {
            "detail": "the body is too large",
            "where": "the body",
            "seen": f"{request.headers.get('content-length', 'more')} bytes",
            "allowed": f"{BODY_MAX} bytes",
            "fix": "send it in parts",
        }
    elif isinstance(error.extra, list) and error.extra and isinstance(error.extra[0], dict):  # what validation found
        told |= {"detail": str(error.extra[0].get("message", "")), "where": str(error.extra[0].get("key", ""))}
    return {name: text for name, text in told.items() if text}


def problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """RFC 9457 for every error; what was not expected is logged and told without its inside."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotAuthenticated) else {}
    if isinstance(error, HutongError):
        status, told = error.status, error.problem()
    elif isinstance(error, HTTPException):
        status = error.status_code
        told = {
            "type": f"{PROBLEM_TYPE}http-{status}",
            "title": "Request refused",
            "status": status,
            "code": f"http-{status}",
            **refusal(request, error),
        }
        headers |= error.headers or {}
    else:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        status = 500
        told = {
            "type": f"{PROBLEM_TYPE}internal",
            "title": "Internal error",
            "status": 500,
            "code": "internal",
            "detail": "something went wrong inside; it was logged",
            "fix": "tell the operator the time of this",
        }
    return Response(
        msgspec.json.encode(told), status_code=status, media_type="application/problem+json", headers=headers
    )


def application(
    routes: Sequence[Any],
    identify: Identify,
    on_shutdown: Sequence[Callable[[], Any]] = (),
    errors: ErrorHandler = problem,
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[Any]]] = (),
) -> Litestar:
    """The ASGI application over these routes. `errors` answers what no route's own handler does.

    What is in `lifespan` is entered when serving begins and left when it ends.
    """
    handlers: list[ControllerRouterHandler] = list(routes)
    return Litestar(
        handlers,
        middleware=[Authentication(identify)],
        on_shutdown=list(on_shutdown),
        lifespan=list(lifespan),
        request_max_body_size=BODY_MAX,
        compression_config=CompressionConfig(backend="gzip", exclude=["^/stream", "^/static"]),
        exception_handlers={HutongError: errors, HTTPException: errors, Exception: errors},
        openapi_config=OpenAPIConfig(
            title="Hutong", version=__version__, path="/api", render_plugins=[JsonRenderPlugin()]
        ),
        logging_config=None,
        debug=False,
    )
