"""Connects a runtime to its routes."""

from litestar import Litestar, get
from litestar.response import Response

from hutong.api.app import application
from hutong.api.ngsi_ld import NgsiLd
from hutong.cli.runtime import Runtime
from hutong.standards.ngsi_ld.contexts import Contexts


@get("/health", sync_to_thread=False)
def health() -> Response[dict[str, str]]:
    """Answers 200 once the city is served."""
    return Response({"status": "ok"})


def web(runtime: Runtime) -> Litestar:
    """The application of a runtime."""
    ngsi_ld = NgsiLd(runtime.sense, Contexts({}), runtime.clock)
    return application([health, ngsi_ld.router()], runtime.identify)
