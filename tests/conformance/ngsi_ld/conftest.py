"""What the suites of NGSI-LD over HTTP share: a running Hutong without authentication."""

from collections.abc import Iterator

import httpx
import pytest

from tests.server import Server


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("city") / "data", "--open") as server:
        yield f"{server.url}/ngsi-ld/v1"


@pytest.fixture
def http(base: str, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client in a tenant of its own, so that no test sees another's entities."""
    tenant = "t" + str(abs(hash(request.node.nodeid)))
    with httpx.Client(base_url=base, headers={"NGSILD-Tenant": tenant}, trust_env=False) as client:
        yield client
