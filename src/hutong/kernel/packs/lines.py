"""Line numbers of TOML keys, which tomllib does not give."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of a file: `("proof", 0, "then", 1, "status")`."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")


class KeyLines:
    """Where each key of a TOML document stands. The document must be one that tomllib has read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}
        self._document()

    def line(self, path: KeyPath) -> int:
        """The line (from 1) of the key, or of the nearest one above it that is written down."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._lines

    def under(self, path: KeyPath) -> set[int]:
        """The lines of the key and of all keys below it."""
        return {line for known, line in self._lines.items() if known[: len(path)] == path}

    def _document(self) -> None:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
                self._counts[table] = self._counts.get(table, -1) + 1
                table = (*table, self._counts[table])
                self._lines[table] = self._line()
            elif self._text.startswith("[", self._at):
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> KeyPath:
        self._at += brackets
        path: KeyPath = ()
        for part in self._key():
            if path in self._counts:
                path = (*path, self._counts[path])
            path = (*path, part)
            self._lines.setdefault(path, self._line())
        self._at += brackets
        return path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = _STRING.match(self._text, self._at)
            found = quoted or _BARE_KEY.match(self._text, self._at)
            if found is None:
                raise ValueError(f"no TOML key at {self._text[self._at : self._at + 20]!r}")
            parts.append(tomllib.loads(f"x = {found[0]}")["x"] if quoted else found[0])
            self._at = found.end()
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        for part in self._key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        opening = self._text[self._at]
        if opening == "{":
            self._members("}", lambda _: self._pair(path))
        elif opening == "[":
            self._members("]", lambda n: self._item((*path, n)))
        elif not self._skip_string():
            self._skip(_SCALAR)

    def _item(self, path: KeyPath) -> None:
        self._lines[path] = self._line()
        self._value(path)

    def _members(self, closing: str, member: Callable[[int], None]) -> None:
        self._at += 1
        count = 0
        while self._text[self._skip(_BLANK)] != closing:
            member(count)
            count += 1
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _skip_string(self) -> bool:
        found = _STRING.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found is not None

    def _skip(self, what: re.Pattern[str]) -> int:
        found = what.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1
