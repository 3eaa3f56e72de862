"""The page of HTTP routes, written from the application that serves them."""

import inspect
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from litestar import Litestar
from litestar.routes import HTTPRoute

from hutong.cli.runtime import Runtime, Settings
from hutong.cli.web import web
from hutong.kernel.clock import FrozenClock
from hutong.kernel.ids import CountedIds
from hutong.kernel.packs import City, Packs

_INTRODUCTION = """Written by `hutong reference` from the application itself; a running city serves the same as OpenAPI
at `/api/openapi.json`. Send a token as `Authorization: Bearer ht_…`; without one, what is open can be read. Errors are
told as [errors.md](errors.md) says, bounds are in [bounds.md](bounds.md).

运行中的系统在 `/api/openapi.json` 提供同样内容的 OpenAPI 文档。
令牌写在 `Authorization: Bearer ht_…` 中；没有令牌时可读公开数据。"""


class Route(NamedTuple):
    """A method of an address, and what it does. `listed`: it stands in the OpenAPI document."""

    method: str
    path: str
    summary: str
    listed: bool


def routes(city: City | None) -> str:
    """Every route of a city as Markdown, each with a heading of its own."""
    parts = ["# HTTP routes HTTP 接口", "", _INTRODUCTION]
    found = served(city)
    for title, listed in (("Interfaces", True), ("Pages, and what they load", False)):
        parts += ["", f"## {title}"]
        for route in found:
            if route.listed is listed:
                parts += ["", f"### `{route.method} {route.path}`", *(("", route.summary) if route.summary else ())]
    return "\n".join(parts) + "\n"


def served(city: City | None) -> Sequence[Route]:
    """Every route of a city without packs, in order of its address; without a city there are no pages."""
    with tempfile.TemporaryDirectory(prefix="hutong-routes-") as folder:
        runtime = Runtime(Settings(data=Path(folder)), Packs({}), city, FrozenClock(0), CountedIds())
        runtime.start(beating=False)
        try:
            return sorted(_routes(web(runtime)))
        finally:
            runtime.close()


def _routes(application: Litestar) -> Iterator[Route]:
    for route in application.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            said = handler.summary or inspect.getdoc(handler.fn) or ""
            for method in sorted(set(handler.http_methods) - {"OPTIONS", "HEAD"}):
                yield Route(method, route.path_format, said.split("\n\n")[0], handler.resolve_include_in_schema())
