"""Each page of docs/howto works as it is written."""

from pathlib import Path

import pytest

from tests.docs.reader import Reader
from tests.tidy.tree import ROOT

FOLDER = ROOT / "docs" / "howto"
THEIR_DATABASE = "postgresql+psycopg://hutong:secret@db.example/hutong"


@pytest.mark.parametrize("page", sorted(path.name for path in FOLDER.glob("*.md")))
def test_the_page_works_as_it_is_written(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    known = {}
    if THEIR_DATABASE in (FOLDER / page).read_text(encoding="utf-8"):
        known = {THEIR_DATABASE: request.getfixturevalue("postgres")}
    with Reader(tmp_path, known) as reader:
        reader.follow(FOLDER / page)
