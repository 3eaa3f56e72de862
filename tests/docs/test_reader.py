"""The reader who follows pages notices when an answer is not as the page says."""

from pathlib import Path

import pytest

from tests.docs.pages import Block, anchors, blocks, links
from tests.docs.reader import Reader, difference, text_matches
from tests.tidy.tree import ROOT


@pytest.mark.parametrize(
    ("wanted", "said", "same"),
    [
        ("a  b\n", " a b \n", True),
        ("a\n", "a\nb\n", False),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b d\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("…\nd\n", "d\n", True),
        ("…\nd\n", "d\ne\n", False),
    ],
)
def test_texts(wanted: str, said: str, same: bool) -> None:
    assert text_matches(wanted, said) is same


@pytest.mark.parametrize(
    ("wanted", "said", "differs"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {"a": 2}, "/a is 2, the page says 1"),
        ({"a": "…"}, {"a": {"b": 2}}, ""),
        ({"a": "x … z"}, {"a": "x y"}, "/a is 'x y'"),
        ({"a": 1}, {"a": 1, "b": 2}, " has b besides"),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, ""),
        ({"a": 1}, {}, "/a is missing"),
        ([1, 2], [1, 2, 3], " has 3 items"),
        ([1, "…"], [1, 2, 3], ""),
        ([1, 2, 3, "…"], [1], " has 1 items"),
    ],
)
def test_documents(wanted: object, said: object, differs: str) -> None:
    assert next(difference(wanted, said, ""), "") == differs


@pytest.mark.parametrize(
    ("commands", "answer", "fault"),
    [
        ("echo good\n", "good\n", ""),
        ("echo bad\n", "good\n", "not the answer of the page"),
        ("false\n", "", "ended with 1"),
    ],
)
def test_a_page_is_followed(commands: str, answer: str, fault: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "page.md"
    steps = [Block("sh", "", commands, 1, ""), Block("text", "", answer, 2, "")]
    with Reader(tmp_path) as reader:
        if not fault:
            reader.do(page, steps)
            return
        with pytest.raises(pytest.fail.Exception, match=fault):
            reader.do(page, steps)


def test_what_commands_set_is_there_for_the_next(tmp_path: Path) -> None:
    steps = [
        Block("csv", "there/a.csv", "1\n", 1, ""),
        Block("sh", "", "cd there\nNAME='a b'\n", 2, ""),
        Block("sh", "", 'cat a.csv\necho "$NAME"\n', 3, ""),
        Block("text", "", "1\na b\n", 4, ""),
    ]
    with Reader(tmp_path) as reader:
        reader.do(ROOT / "docs" / "page.md", steps)


def test_pages_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, and c\n\n[x](y.md#z) `[no](link)`\n\n<!-- soon -->\n```sh\nls\n```\n\n<!-- stop -->\n\n"
        '```toml title="a/b.toml"\n[no](link)\n```\n',
        encoding="utf-8",
    )
    assert list(blocks(page)) == [
        Block("sh", "", "ls\n", 6, "soon"),
        Block("", "", "", 10, "stop"),
        Block("toml", "a/b.toml", "[no](link)\n", 12, ""),
    ]
    assert list(links(page)) == [(3, "y.md#z")]
    assert anchors(page) == {"a-b-and-c"}
