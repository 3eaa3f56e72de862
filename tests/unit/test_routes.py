"""Every route, as nobody known: nothing can be changed, and nothing fails inside."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from hutong.cli.composition import Composition
from hutong.cli.proofs import harness
from hutong.cli.runtime import Runtime, Settings, open_city, pack_format
from hutong.cli.web import web
from hutong.kernel.clock import FrozenClock

CHANGES = {"POST", "PUT", "PATCH", "DELETE"}
READING_BY_POST = ("/ngsi-ld/v1/entityOperations/query", "/ngsi-ld/v1/temporal/entityOperations/query")
BODY = b'{"id": "urn:x:1", "type": "T", "a": {"type": "Property", "value": 1}}'


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    composition = Composition(form=pack_format(), harness=harness)
    runtime = open_city(
        Settings(data=tmp_path_factory.mktemp("city")), composition, FrozenClock("2026-05-01T00:00:00Z")
    )
    runtime.start(beating=False)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def site(runtime: Runtime) -> Iterator[TestClient[Litestar]]:
    with TestClient(web(runtime), raise_server_exceptions=False) as client:
        yield client


def operations(app: Litestar) -> list[tuple[str, str]]:
    """(method, path) of every route, parameters filled with something."""
    found: list[tuple[str, str]] = []
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            path = "/" + "/".join(part if isinstance(part, str) else "x" for part in route.path_components)
            found += [(str(method), path) for method in route.methods if method not in ("HEAD", "OPTIONS")]
    return found


def test_nobody_known_can_change_nothing(site: TestClient[Litestar]) -> None:
    changing = [
        (method, path) for method, path in operations(site.app) if method in CHANGES and path not in READING_BY_POST
    ]
    assert len(changing) > 10
    for method, path in changing:
        answer = site.request(method, path, content=_body(path), headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 401, 403, 404), f"{method} {path}: {answer.status_code} {answer.text[:200]}"


def test_no_route_fails_inside(site: TestClient[Litestar]) -> None:
    for method, path in operations(site.app):
        if path != "/stream":
            answer = site.request(method, path, content=b"\xff{", headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text[:300]}"


def test_a_token_that_is_not_known_is_refused_everywhere(site: TestClient[Litestar]) -> None:
    for scheme in ("Bearer ht_a_b", "Bearer nonsense", "Basic YTpi"):
        assert site.get("/ngsi-ld/v1/types", headers={"Authorization": scheme}).status_code == 401


def test_the_api_describes_itself(site: TestClient[Litestar]) -> None:
    document: dict[str, Any] = site.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/ngsi-ld/v1/entities" in document["paths"]


def test_data_of_another_schema_are_refused(tmp_path: Path) -> None:
    from hutong.kernel.errors import IntegrityBroken
    from hutong.store.sql.database import SqlDatabase

    url = f"sqlite:///{tmp_path / 'old.db'}"
    database = SqlDatabase(url)
    database.keep_setting("schema", "0")
    database.close()
    with pytest.raises(IntegrityBroken, match="another version"):
        SqlDatabase(url)


def _body(path: str) -> bytes:
    if path.endswith("entityOperations/delete"):
        return b'["urn:x:1"]'
    return b"[" + BODY + b"]" if "entityOperations" in path else BODY
