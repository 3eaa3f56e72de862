"""Reads one file of a pack or a city: bytes, text, TOML, each with its fault."""

import re
import tomllib
from importlib.resources.abc import Traversable
from typing import Any

from msgspec import Struct

from hutong.kernel.packs.faults import Faults
from hutong.kernel.packs.lines import KeyLines

FILE_BYTES_MAX = 4 << 20


class Document(Struct, frozen=True):
    """A TOML file as it was read, and where its keys stand."""

    table: dict[str, Any]
    lines: KeyLines


def read_text(entry: Traversable, where: str, faults: Faults) -> str | None:
    """The file as text, with or without a byte order mark; None with a fault when it is none."""
    content = entry.read_bytes()
    if len(content) > FILE_BYTES_MAX:
        faults.add(
            "too-large",
            "the file is too large",
            where=where,
            seen=f"{len(content)} bytes",
            allowed=f"{FILE_BYTES_MAX} bytes",
        )
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(
            "not-utf8",
            "the file is not UTF-8",
            where=f"{where}:{line}",
            allowed="UTF-8",
            seen=content[error.start : error.start + 8],
            fix="save it as UTF-8",
        )
        return None


def read_document(entry: Traversable, where: str, faults: Faults) -> Document | None:
    """The file as TOML; None with a fault when it is none."""
    text = read_text(entry, where, faults)
    if text is None:
        return None
    try:
        return Document(tomllib.loads(text), KeyLines(text))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        faults.add("toml-syntax", f"not TOML: {error}", where=f"{where}:{line}", allowed="TOML 1.0")
        return None
