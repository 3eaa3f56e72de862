"""A Hutong without authentication inside the test's own process, with a clock that stands where it is put."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from hutong.cli.composition import Composition
from hutong.cli.contexts import read_contexts
from hutong.cli.proofs import harness
from hutong.cli.runtime import Runtime, Settings, open_city, pack_format
from hutong.cli.web import web
from hutong.kernel.clock import FrozenClock

NOON = "2026-05-01T12:00:00Z"


@dataclass(frozen=True)
class Site:
    """A client and what stands behind it."""

    http: TestClient[Litestar]
    runtime: Runtime
    clock: FrozenClock


@contextmanager
def site(data: Path, contexts: Sequence[str] = (), *, open: bool = True, **settings: Any) -> Iterator[Site]:
    clock = FrozenClock(NOON)
    chosen = Settings(data=data, open=open, **settings)
    runtime = open_city(chosen, Composition(form=pack_format(), harness=harness), clock)
    runtime.start(beating=False)
    try:
        served = web(runtime, read_contexts(contexts))
        with TestClient(served, base_url="http://city.example", raise_server_exceptions=False) as client:
            yield Site(client, runtime, clock)
    finally:
        runtime.close()
