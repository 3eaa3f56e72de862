"""The tutorial does what it says, in both languages."""

from pathlib import Path

from tests.docs.pages import blocks
from tests.docs.reader import Reader
from tests.tidy.tree import ROOT

ENGLISH = ROOT / "docs" / "tutorial" / "your-first-pack.md"
CHINESE = ENGLISH.with_suffix(".zh-CN.md")


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        reader.follow(ENGLISH)


def test_both_languages_do_the_same() -> None:
    """Then one of them followed is both."""
    english, chinese = ([block._replace(line=0) for block in blocks(page)] for page in (ENGLISH, CHINESE))
    assert english == chinese
