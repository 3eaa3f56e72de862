"""Connects a runtime to its routes."""

from litestar import Litestar, get
from litestar.response import Response

from hutong.api.app import actor_of, application
from hutong.cli.runtime import Runtime


@get("/health", include_in_schema=True, sync_to_thread=False)
def health() -> Response[dict[str, str]]:
    """Answers 200 once the city is served."""
    return Response({"status": "ok"})


def web(runtime: Runtime) -> Litestar:
    """The application of a runtime."""
    return application([health], runtime.identify)


__all__ = ["actor_of", "web"]
