"""Sources for operators: whether each is heard of, what came of it, and the city's own figures for Prometheus."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hutong.api.app import actor_of
from hutong.connectors.feeds import Health
from hutong.kernel.access import Access
from hutong.kernel.clock import SECOND, iso

PATH = "/api/v1/sources"
METRICS = "/metrics"
_LOOPBACK = ("127.0.0.1", "::1")


class SourceView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A source as it is told; instants are ISO 8601 in UTC, counts are of rows."""

    source: str
    connector: str
    entity: str
    state: str
    received: int
    stored: int
    rejected: int
    last_ok: str | None = None
    last_error: str = ""
    last_error_at: str | None = None
    newest: str | None = None


class SourceViews(msgspec.Struct):
    """All sources that run by themselves, by name."""

    sources: list[SourceView]


class SourceRoutes:
    """The routes over what the runtime tells: health of the sources, and named figures of its own."""

    def __init__(
        self, health: Callable[[], Sequence[Health]], figures: Callable[[], Mapping[str, float]], access: Access
    ) -> None:
        self._health, self._figures, self._access = health, figures, access

    def __deepcopy__(self, memo: object) -> "SourceRoutes":
        return self  # Litestar copies routes when it registers them

    def router(self) -> Router:
        """/api/v1/sources and /metrics."""
        routes = [
            get(PATH, operation_id="list_sources")(self.sources),
            get(METRICS, operation_id="read_metrics", media_type="application/openmetrics-text")(self.metrics),
        ]
        return Router("/", route_handlers=routes, tags=["Sources"])

    async def sources(self, request: Request[Any, Any, Any]) -> SourceViews:
        """How each source that runs by itself fares."""
        self._access.require(actor_of(request), "admin.metrics", what="sources")
        return SourceViews([view(one) for one in self._health()])

    async def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The city's own figures in the text format of OpenMetrics, for operators and for this machine itself."""
        near = request.client is not None and request.client.host in _LOOPBACK and not _forwarded(request)
        if not near:
            self._access.require(actor_of(request), "admin.metrics", what="metrics")
        registry = CollectorRegistry()
        registry.register(_Figures(self._health(), self._figures()))
        text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the package gives it no types
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def view(health: Health) -> SourceView:
    """Health as it is told."""
    plain = msgspec.structs.asdict(health)
    for name in ("last_ok", "last_error_at", "newest"):
        plain[name] = None if plain[name] is None else iso(plain[name])
    return SourceView(**plain)


class _Figures(Collector):
    def __init__(self, sources: Sequence[Health], figures: Mapping[str, float]) -> None:
        self._sources, self._figures = sources, figures

    def collect(self) -> Iterator[Metric]:
        for name, value in self._figures.items():
            yield GaugeMetricFamily(f"hutong_{name}", name.replace("_", " "), value)
        for name in ("received", "stored", "rejected"):
            rows = CounterMetricFamily(f"hutong_source_{name}", f"rows {name}", labels=["source"])
            for one in self._sources:
                rows.add_metric([one.source], getattr(one, name))
            yield rows
        up = GaugeMetricFamily("hutong_source_up", "1 while the source is heard of", labels=["source", "connector"])
        seen = GaugeMetricFamily("hutong_source_last_ok_seconds", "when it was heard of last", labels=["source"])
        for one in self._sources:
            up.add_metric([one.source, one.connector], one.state == "running")
            if one.last_ok is not None:
                seen.add_metric([one.source], one.last_ok / SECOND)
        yield up
        yield seen


def _forwarded(request: Request[Any, Any, Any]) -> bool:
    """Whether a proxy on this machine asks for somebody else."""
    return "forwarded" in request.headers or "x-forwarded-for" in request.headers
