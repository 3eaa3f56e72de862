"""What the fault suites share."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.services import running_postgres


@pytest.fixture(scope="module")
def durable() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL cluster that waits for the disk, and a function that makes a database there."""
    with running_postgres() as address:

        def made(name: str) -> str:
            with psycopg.connect(address("postgres").replace("+psycopg", ""), autocommit=True) as admin:
                admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            return address(name)

        yield made
