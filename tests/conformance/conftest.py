"""A city that takes everything it can, on each store, for hostile and careless clients."""

from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from tests.conformance.guarded_pack import write_pack
from tests.server import Server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A city without authentication that takes types nobody declared, on each store.

    A traceback in its log fails the module.
    """
    folder = tmp_path_factory.mktemp("bad")
    flags = ["--open", "--packs", str(write_pack(folder / "packs"))]
    if request.param == "postgresql":
        address: Callable[[str], str] = request.getfixturevalue("postgres_cluster")
        name = request.module.__name__.rpartition(".")[2]
        with psycopg.connect(address("postgres").replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        flags += ["--store", address(name)]
    with Server(folder / "data", *flags) as server:
        yield server


@pytest.fixture(scope="module")
def http(city: Server) -> Iterator[httpx.Client]:
    """A client whose patience is a bound on what may take long; nothing here may."""
    with httpx.Client(base_url=city.url, trust_env=False, timeout=30) as client:
        yield client
