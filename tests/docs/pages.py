"""The documents as readers find them: pages, the links on them, and their fenced blocks in order.

A comment above a block says what the machine that follows the page needs to know and a reader does not:

    <!-- shown -->  not executed: it names a machine or a clone that only its reader has; it is only parsed
    <!-- soon -->   it takes a few seconds until the answer is as shown
    <!-- fails -->  the commands are meant to fail
    <!-- stop -->   here, without a block: the reader stops the server with Ctrl-C
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.tidy.tree import ROOT, below

LANGUAGES: Final = {"sh", "toml", "json", "csv", "text"}
MARKS: Final = {"shown", "soon", "fails", "stop"}
_FENCE = re.compile(r'```(\w*)(?: title="([^"]+)")?')
_MARK = re.compile(r"<!-- (\w+) -->")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)|<img [^>]*src=\"([^\"]+)\"")


class Block(NamedTuple):
    """A fenced block, or a stop. With a title it is a file; `text` and `json` without one are what commands answer."""

    language: str
    title: str
    text: str
    line: int
    mark: str

    @property
    def is_answer(self) -> bool:
        return self.language in ("text", "json") and not self.title


def documents() -> list[Path]:
    """Every Markdown page of the repository that people read."""
    return list(below("", suffix=".md"))


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order. Raises ValueError for a fence that is not closed, or a mark that is none."""
    mark, opened = "", None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened is not None:
            if line.rstrip() == "```":
                yield Block(opened[0], opened[1], "".join(f"{each}\n" for each in lines), opened[2], mark)
                opened, mark, lines = None, "", []
            else:
                lines.append(line)
        elif fence := _FENCE.fullmatch(line.rstrip()):
            opened = (fence[1], fence[2] or "", number)
        elif found := _MARK.fullmatch(line.strip()):
            if found[1] not in MARKS:
                raise ValueError(f"{page.relative_to(ROOT)}:{number}: no mark {found[1]}")
            mark = found[1]
            if mark == "stop":
                yield Block("", "", "", number, mark)
                mark = ""
        elif line.startswith("```"):
            raise ValueError(f"{page.relative_to(ROOT)}:{number}: not a fence that is understood: {line}")
    if opened is not None:
        raise ValueError(f"{page.relative_to(ROOT)}:{opened[2]}: the block does not end")


def links(page: Path) -> Iterator[tuple[int, str]]:
    """The targets of links and images outside blocks, each with its line."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            for found in _LINK.finditer(re.sub(r"`[^`]*`", "", line)):
                yield number, found[1] or found[2]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be linked by, as GitHub makes them."""
    found = set()
    for line in page.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ (.*)", line):
            words = re.sub(r"[^\w\- ]", "", heading[1].lower())
            found.add(words.replace(" ", "-"))
    return found
