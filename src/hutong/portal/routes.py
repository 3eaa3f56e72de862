"""All pages as one router."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.config.csrf import CSRFConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.middleware.csrf import CSRFMiddleware
from litestar.params import FromPath, FromQuery
from litestar.response import ServerSentEvent, ServerSentEventMessage

from hutong.kernel.errors import HutongError, InvalidInput, NotFound
from hutong.portal.assets import built, static_file
from hutong.portal.pages import alerts, deliveries, exports, home, platform, sources, thing
from hutong.portal.pages.errors import ErrorPage, error_pages, language
from hutong.portal.ports import Portal
from hutong.portal.visit import HEADERS, Here, Site, Visit, both
from hutong.portal.words import LANGUAGES, Language


@dataclass(frozen=True)
class Pages:
    """What the composition root mounts: the router, error pages for the whole site, and what to close at the end."""

    router: Router
    errors: ErrorPage
    site: Site

    async def close(self) -> None:
        await self.site.boards.close()


def pages(portal: Portal) -> Pages:
    """Build the pages. Raises NotFound when scripts and styles were not built."""
    built()
    site = Site(portal)
    errors = error_pages(site)

    async def visit(request: Request[Any, Any, Any]) -> Visit:
        return Visit(site, request, language(request), portal.actor(request))

    csrf = CSRFConfig(
        secret=portal.csrf_secret, cookie_name="hutong_csrf", cookie_httponly=True, cookie_samesite="strict"
    )
    shown = Router(
        "/",
        route_handlers=[
            home.home,
            home.search,
            platform.platform,
            platform.alerts_part,
            platform.map_points,
            platform.one,
            thing.thing,
            thing.history,
            alerts.alerts,
            alerts.acknowledge,
            alerts.silence,
            sources.sources,
            deliveries.deliveries,
            deliveries.letter,
            deliveries.resend,
            deliveries.drop,
            deliveries.pause,
            deliveries.resume,
            exports.download,
            offline,
            missing,
            stream,
            districts,
        ],
        dependencies={"visit": Provide(visit)},
        exception_handlers={HutongError: errors, HTTPException: errors, Exception: errors},
        middleware=[DefineMiddleware(CSRFMiddleware, config=csrf)],
    )
    return Pages(Router("/", route_handlers=[shown, static_file, service_worker]), errors, site)


@get("/stream", include_in_schema=False)
async def stream(
    visit: Here, type: FromQuery[str], lang: FromQuery[Language] = LANGUAGES[0], since: FromQuery[str] = ""
) -> ServerSentEvent:
    """Changes of the things of a type. `since`, or the header Last-Event-ID, says what was seen."""
    platforms = [p for p in visit.site.portal.platforms if any(kind.name == type for kind in p.types)]
    if not platforms:
        raise InvalidInput("no platform shows this type", where="type", seen=type)
    board = await visit.board(platforms[0])
    seen = visit.request.headers.get("last-event-id") or since
    messages: AsyncIterator[ServerSentEventMessage] = visit.site.streams.follow(board, lang, seen)
    return ServerSentEvent(messages, headers=HEADERS | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


@get("/city/districts.geojson", include_in_schema=False, sync_to_thread=False)
def districts(visit: Here) -> Response[bytes]:
    return Response(
        msgspec.json.encode(visit.site.portal.city.districts),
        media_type="application/geo+json",
        headers=HEADERS | {"Cache-Control": "public, max-age=3600"},
    )


@get(both("/offline"), include_in_schema=False, sync_to_thread=False)
def offline(visit: Here) -> Response[str]:
    """Kept by the service worker and shown when the city cannot be reached."""
    return visit.page("offline.html")


@get(both("/{rest:path}"), include_in_schema=False, sync_to_thread=False)
def missing(rest: FromPath[str]) -> None:
    raise NotFound("no such page", seen=rest)


@get("/sw.js", include_in_schema=False, sync_to_thread=False)
def service_worker() -> Response[bytes]:
    return Response(
        built().file("sw.js")[0],
        media_type="text/javascript",
        headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
    )
