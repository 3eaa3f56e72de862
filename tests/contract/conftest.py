"""What the contract suites share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.core import Core


@pytest.fixture
def core(database_url: str, tmp_path: Path) -> Iterator[Core]:
    """The writing core, once on each store."""
    core = Core(database_url, tmp_path)
    yield core
    core.close()
