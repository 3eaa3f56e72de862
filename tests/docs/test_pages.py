"""What all documents keep to: blocks that are understood, commands that exist, links that hit, no private places."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hutong.cli.main import hutong
from tests.docs.pages import LANGUAGES, Block, anchors, blocks, documents, links
from tests.tidy.tree import ROOT, short, text

PLACES = re.compile(
    r"(?<![\w.:$])/(work|root|home|tmp|mnt)/|\b(pypi|npmjs|pythonhosted|crates|proxy\.golang)\.(org|com|io)\b|/simple/\w"
)
EVERY_PAGE = pytest.mark.parametrize("page", documents(), ids=short)


@EVERY_PAGE
def test_blocks_are_understood(page: Path) -> None:
    for block in blocks(page):
        where = f"{short(page)}:{block.line}"
        assert block.mark == "stop" or block.language in LANGUAGES, f"{where}: say which of {sorted(LANGUAGES)} it is"
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "sh":
            faults = list(unknown_commands(block))
            assert not faults, f"{where}: {faults}"


def unknown_commands(block: Block) -> Iterator[str]:
    """Commands and options of Hutong and ./dev in a block that there are not."""
    usage = text(ROOT / "dev")
    for line in block.text.replace("\\\n", " ").splitlines():
        for called in re.findall(r"\./dev (\w+)", line):
            if f"\n./dev {called} " not in usage:
                yield f"./dev {called}"
        for called in re.findall(r"(?:^|\$\(|[|;&] *)hutong ([^|;&)>]*)", line):
            yield from _unknown(hutong, called.split(), "hutong")


def _unknown(command: click.Command, words: list[str], path: str) -> Iterator[str]:
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        yield from _unknown(found, words[1:], f"{path} {words[0]}") if found else [f"{path} {words[0]}"]
        return
    known = {option for param in command.params for option in param.opts} | {"--help", "--version"}
    yield from (f"{path} {word}" for word in words if word.startswith("--") and word.split("=")[0] not in known)


@EVERY_PAGE
def test_links_to_headings_hit_one(page: Path) -> None:
    for number, target in links(page):
        path, _, heading = target.partition("#")
        if heading and "://" not in target:
            there = (page.parent / path).resolve() if path else page
            assert heading in anchors(there), f"{short(page)}:{number}: {target} hits no heading"


@EVERY_PAGE
def test_no_private_places_are_named(page: Path) -> None:
    found = [f"{short(page)}:{n}" for n, line in enumerate(text(page).splitlines(), 1) if PLACES.search(line)]
    assert not found, "names a folder of some machine, or where packages come from"


def test_both_readmes_say_the_same() -> None:
    """As far as a machine can tell: the same headings in number and depth, the same commands, the same count."""
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"

    def shape(page: Path) -> list[str]:
        return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL), re.MULTILINE)

    assert shape(english) == shape(chinese)
    assert [block._replace(line=0) for block in blocks(english)] == [
        block._replace(line=0) for block in blocks(chinese)
    ]


def test_the_count_in_the_readmes_is_the_reports() -> None:
    report = text(ROOT / "docs" / "reference" / "mission.md")
    summary = re.search(r"\*\*(\d+ of \d+ functions proved .*)\*\*", report)
    assert summary is not None
    for name in ("README.md", "README.zh-CN.md"):
        assert f"> {summary[1]}" in text(ROOT / name), f"{name} does not say: {summary[1]}"
