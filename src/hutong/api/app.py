"""The web application: who is asking, which routes there are, and how errors are told."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from hutong import __version__
from hutong.kernel.access import Actor
from hutong.kernel.errors import PROBLEM_TYPE, HutongError, NotAuthenticated

BODY_MAX = 16 * 1024 * 1024

log = logging.getLogger(__name__)

Identify: TypeAlias = Callable[[str], Actor]
"""The actor behind an Authorization header; an empty text is nobody. Raises NotAuthenticated."""
ErrorHandler: TypeAlias = Callable[[Request[Any, Any, Any], Exception], Response[Any]]


class Authentication(ASGIMiddleware):
    """Puts the actor into the request's state."""

    def __init__(self, identify: Identify) -> None:
        self._identify = identify

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scope["state"]["actor"] = self._identify(header.decode("latin-1"))
        await next_app(scope, receive, send)


def actor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Actor:
    """Who is behind a request."""
    actor: Actor = connection.scope["state"]["actor"]
    return actor


def problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """RFC 9457 for every error; what was not expected is logged and told without its inside."""
    if isinstance(error, HutongError):
        status, told = error.status, error.problem()
    elif isinstance(error, HTTPException):
        status = error.status_code
        told = {
            "type": f"{PROBLEM_TYPE}http-{status}",
            "title": "Request refused",
            "status": status,
            "detail": error.detail,
            "code": f"http-{status}",
        }
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
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotAuthenticated) else {}
    return Response(
        msgspec.json.encode(told), status_code=status, media_type="application/problem+json", headers=headers
    )


def application(
    routes: Sequence[Any],
    identify: Identify,
    on_shutdown: Sequence[Callable[[], Any]] = (),
    errors: ErrorHandler = problem,
) -> Litestar:
    """The ASGI application over these routes. `errors` answers what no route's own handler does."""
    handlers: list[ControllerRouterHandler] = list(routes)
    return Litestar(
        handlers,
        middleware=[Authentication(identify)],
        on_shutdown=list(on_shutdown),
        request_max_body_size=BODY_MAX,
        compression_config=CompressionConfig(backend="gzip", exclude=["^/stream", "^/static"]),
        exception_handlers={HutongError: errors, HTTPException: errors, Exception: errors},
        openapi_config=OpenAPIConfig(
            title="Hutong", version=__version__, path="/api", render_plugins=[JsonRenderPlugin()]
        ),
        logging_config=None,
        debug=False,
    )
