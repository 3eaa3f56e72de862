"""Connects a runtime to its routes and pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, Router, get

from hutong.api.alerts import AlertRoutes
from hutong.api.app import actor_of, answer_heads, application, problem
from hutong.api.courier import Courier
from hutong.api.ngsi_ld import NgsiLd
from hutong.api.ngsi_ld_contexts import NgsiLdContexts
from hutong.api.ngsi_ld_messages import PATH as NGSI_LD
from hutong.api.ngsi_ld_messages import keep_encoded_slashes, ngsi_problem
from hutong.api.ngsi_ld_registry import NgsiLdRegistry
from hutong.api.ngsi_ld_subscriptions import NgsiLdSubscriptions
from hutong.api.ngsi_ld_temporal import NgsiLdTemporal
from hutong.api.notifications import Notifications
from hutong.api.outbox import OutboxRoutes
from hutong.api.short_way import short_way
from hutong.api.source_notices import KIND as SOURCES
from hutong.api.source_notices import SourceNotifications
from hutong.api.sources import SourceRoutes
from hutong.cli.runtime import Runtime
from hutong.connectors.feeds import Health
from hutong.engines.sense.subscriptions import KIND
from hutong.kernel.access import Actor
from hutong.kernel.ids import secret
from hutong.kernel.mission import read_mission
from hutong.kernel.outbox import ChannelState
from hutong.portal import compose
from hutong.portal.ports import Portal
from hutong.portal.routes import pages
from hutong.standards.ngsi_ld.contexts import Contexts
from hutong.standards.ngsi_ld.library import Files, Library, NoFiles

SECRET_FILE = "portal.secret"
IDENTITY_SETTING = "identity"
MACHINE_PATHS = ("/ngsi-ld", "/health", "/api", "/metrics")


@get("/health", sync_to_thread=False)
def health() -> Response[dict[str, str]]:
    """Answers 200 once the city is served."""
    return Response({"status": "ok"})


def web(runtime: Runtime, files: Files | None = None) -> Litestar:
    """The application of a runtime: standards for machines, and pages for people where there is a city.

    `files` are @contexts by address.
    """
    library = Library(files or NoFiles(), lambda tenant, id_: _kept_context(runtime, tenant, id_), runtime.clock)
    contexts = Contexts(library, library.used)
    ngsi_ld = NgsiLd(runtime.sense, contexts)
    hosted = NgsiLdContexts(runtime.sense, contexts, library, runtime.ids)
    subscribers = runtime.sense.subscribers
    told = Notifications(subscribers, contexts, runtime.webhook, runtime.publisher, runtime.clock)
    runtime.transports[KIND] = told
    sources = runtime.sense.source_subscribers
    runtime.transports[SOURCES] = SourceNotifications(
        runtime.sense,
        runtime.source_notices,
        sources,
        contexts,
        Courier(runtime.webhook, runtime.publisher),
        runtime.clock,
    )
    check = runtime.webhook.guard.check
    others = [
        NgsiLdTemporal(runtime.sense.chronicle, contexts, runtime.clock, runtime.settings.history_page).router(),
        NgsiLdSubscriptions(
            subscribers, contexts, hosted.address, told.as_told, check, runtime.clock, runtime.ids
        ).router(),
        NgsiLdSubscriptions(
            sources, contexts, hosted.address, _as_known, check, runtime.clock, runtime.ids, sources=True
        ).router(),
        hosted.router(),
        NgsiLdRegistry(runtime.sense, contexts, runtime.clock, runtime.ids, _kept_identity(runtime)).router(),
    ]
    site = _site(runtime, [ngsi_ld.router(), *others])
    whole = keep_encoded_slashes(site.asgi_handler)
    short = short_way(whole, ngsi_ld.short_routes(), "entity_id", runtime.identify, ngsi_problem)
    site.asgi_handler = answer_heads(short)
    return site


def _as_known(_: str, state: ChannelState | None) -> ChannelState | None:
    return state


def _kept_context(runtime: Runtime, tenant: str, id: str) -> bytes | None:
    found = runtime.stores.documents.get(tenant, "context", id)
    return None if found is None else found.body


def _site(runtime: Runtime, standards: Sequence[Router]) -> Litestar:
    routes: list[Any] = [
        health,
        *standards,
        AlertRoutes(runtime.sense).router(),
        OutboxRoutes(runtime.deliveries).router(),
        SourceRoutes(lambda: runtime.sources.health, lambda: _figures(runtime), runtime.stores.access).router(),
    ]
    lifespan = (lambda _: runtime.sending(),)
    if runtime.city is None:
        return application(routes, runtime.identify, (), _machine_errors, lifespan)
    shown = pages(portal(runtime))

    def errors(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        machine = request.url.path.startswith(MACHINE_PATHS)
        return _machine_errors(request, error) if machine else shown.errors(request, error)

    return application([*routes, shown.router], runtime.identify, (shown.close,), errors, lifespan)


def _figures(runtime: Runtime) -> dict[str, float]:
    """What this process says of itself, by name."""
    return {"writer_backlog": runtime.writer.backlog, "database_bytes": runtime.stores.database.size_bytes()}


def _machine_errors(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What no route answers for, told as the standard asked for tells it."""
    return (ngsi_problem if request.url.path.startswith(NGSI_LD) else problem)(request, error)


def portal(runtime: Runtime) -> Portal:
    """What the pages of a runtime are given."""
    assert runtime.city is not None
    mission = read_mission()

    def may_handle(actor: Actor) -> bool:
        return runtime.stores.access.would_allow(actor, "sense.alert.acknowledge")

    def sources(actor: Actor) -> Sequence[Health]:
        runtime.stores.access.require(actor, "admin.metrics", what="sources")
        return runtime.sources.health

    return Portal(
        city=compose.city(runtime.city),
        platforms=compose.platforms(runtime.packs, mission),
        mission=mission,
        sense=runtime.sense,
        deliveries=runtime.deliveries,
        clock=runtime.clock,
        actor=actor_of,
        may_handle=may_handle,
        csrf_secret=_kept_secret(runtime.settings.data),
        sources=sources,
    )


def _kept_identity(runtime: Runtime) -> str:
    """A name for these data, given once, by which servers tell one another apart."""
    database = runtime.stores.database
    if (known := database.setting(IDENTITY_SETTING)) is None:
        known = runtime.ids.new()
        database.keep_setting(IDENTITY_SETTING, known)
    return known


def _kept_secret(data: Path) -> str:
    """The secret that signs forms, made once for a data folder."""
    file = data / SECRET_FILE
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secret())
    return file.read_text().strip()
