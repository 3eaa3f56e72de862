"""What a run of the suite found: its cases, out of the output.xml that Robot Framework writes."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path, PurePath

import msgspec

ROOT = "TP/NGSI-LD/"
REASON_LENGTH_MAX = 240
_SINCE = re.compile(r"since_v(\d+)\.(\d+)\.(\d+)").fullmatch
_ADDRESS = re.compile(r"(?:localhost|127\.0\.0\.1):\d+")
_RANDOM = re.compile(r"\d{16}")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One test case. `since` is the version of the standard that it is tagged with, () where it has no such tag."""

    id: str
    name: str
    folder: str
    since: tuple[int, ...]
    passed: bool
    reason: str = ""

    @property
    def group(self) -> str:
        return "/".join(self.folder.split("/")[: 3 if self.folder.startswith("ContextInformation/") else 2])


def read_cases(output: Path) -> list[Case]:
    """The cases of an output.xml, in the order in which they ran."""
    return list(_cases(ElementTree.parse(output).getroot(), ""))


def _cases(suite: ElementTree.Element, source: str) -> Iterator[Case]:
    source = suite.get("source") or source
    for test in suite.findall("test"):
        id, _, name = (test.get("name") or "").partition(" ")
        status = test.find("status")
        passed = status is not None and status.get("status") == "PASS"
        yield Case(
            id=id,
            name=name,
            folder=str(PurePath(source.partition(ROOT)[2]).parent),
            since=max((_version(tag.text or "") for tag in test.findall("tag")), default=()),
            passed=passed,
            reason="" if passed else _reason("" if status is None else status.text or ""),
        )
    for inner in suite.findall("suite"):
        yield from _cases(inner, source)


def _version(tag: str) -> tuple[int, ...]:
    found = _SINCE(tag)
    return tuple(int(part) for part in found.groups()) if found else ()


def _reason(text: str) -> str:
    """The message in one line, without what differs from run to run."""
    line = " ".join(text.split("\n\nAlso teardown failed:")[0].split())
    line = _RANDOM.sub("…", _ADDRESS.sub("…", line))
    return line if len(line) <= REASON_LENGTH_MAX else line[: REASON_LENGTH_MAX - 1] + "…"
