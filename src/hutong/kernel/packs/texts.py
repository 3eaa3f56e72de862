"""text/zh.toml and text/en.toml: what people read, laid out as the declarations are.

    [pack]                                  # the pack itself
    name = "智慧停车"
    about = "全市停车场的空余车位"             # one sentence, may be left out

    [entity.OffStreetParking]               # a declared name with names below it
    name = "停车场"
    property.availableSpotNumber = "空余车位"  # a declared name: its text
    property.category = { name = "类别", values.public = "公共" }

    [alert]
    nearly_full = { name = "即将停满", about = "占用率达到百分之九十五" }

Every name that a declaration marks as read by people has its text in both languages, and there are no others.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from hutong.kernel.packs.faults import Faults, listed, nearest
from hutong.kernel.packs.lines import KeyLines, KeyPath

LANGUAGES = ("zh", "en")
TEXT_FILES = {language: f"text/{language}.toml" for language in LANGUAGES}


class Text(Struct, frozen=True):
    """A name, and a sentence about it where there is one."""

    name: str
    about: str = ""


Texts: TypeAlias = Mapping[tuple[str, ...], Text]


class TextReader:
    """Reads one text file. `declared` are the paths that need a text; `complete` is False when more may be declared
    in a file that could not be read."""

    def __init__(
        self, name: str, lines: KeyLines, faults: Faults, declared: Collection[tuple[str, ...]], complete: bool
    ) -> None:
        self._name = name
        self._lines = lines
        self._faults = faults
        self._declared = set(declared)
        self._above = {path[:depth] for path in declared for depth in range(1, len(path))}
        self._complete = complete
        self._found: dict[tuple[str, ...], Text] = {}

    def read(self, seen: dict[str, Any]) -> Texts:
        """The texts by path; missing, empty, mistyped and undeclared ones are noted."""
        self._walk(seen, ())
        for path in sorted(self._declared - self._found.keys()):
            key = ".".join(path)
            self._faults.add(
                "missing-text",
                f"`{key}` has no text",
                where=self._where(path),
                allowed="a text for every declared name",
                fix=f'add `{key} = "…"`',
            )
        return self._found

    def _walk(self, table: dict[str, Any], at: tuple[str, ...]) -> None:
        for key, seen in table.items():
            path = (*at, key)
            if path not in self._declared and path not in self._above:
                if at in self._declared and key in ("name", "about"):
                    continue
                path = self._undeclared(key, path, table.keys())
            if path in self._declared:
                self._text(seen, path)
            elif path in self._above and isinstance(seen, dict):
                self._walk(seen, path)
            elif path in self._above:
                self._mistyped(seen, path, "a table")

    def _undeclared(self, key: str, path: tuple[str, ...], given: Collection[str]) -> tuple[str, ...]:
        """Note a key that nothing declares, and give the path that was meant, or its own when none looks like it."""
        if not self._complete:
            return path
        at = path[:-1]
        known = {
            each[len(at)] for each in self._declared | self._above if len(each) > len(at) and each[: len(at)] == at
        }
        near = nearest(key, known - set(given))
        self._faults.add(
            "text-without-declaration",
            f"`{'.'.join(path)}` is not declared",
            where=self._where(path),
            seen=key,
            allowed=listed(known),
            fix=f"did you mean `{near}`?" if near else "remove it, or declare it",
        )
        return (*at, near) if near else path

    def _text(self, seen: Any, path: tuple[str, ...]) -> None:
        if not isinstance(seen, dict):
            self._found[path] = Text(self._words(seen, path))
            return
        if "name" in seen:
            about = self._words(seen["about"], (*path, "about")) if "about" in seen else ""
            self._found[path] = Text(self._words(seen["name"], (*path, "name")), about)
        self._walk(seen, path)

    def _words(self, seen: Any, path: tuple[str, ...]) -> str:
        if not isinstance(seen, str):
            self._mistyped(seen, path, "a text in quotes")
        elif not seen.strip():
            self._faults.add(
                "empty-text",
                f"`{'.'.join(path)}` is empty",
                where=self._where(path),
                fix="write what people shall read",
            )
        return str(seen)

    def _mistyped(self, seen: Any, path: tuple[str, ...], allowed: str) -> None:
        what = f"`{'.'.join(path)}`: a value of another type"
        self._faults.add("wrong-type", what, where=self._where(path), seen=seen, allowed=allowed)

    def _where(self, path: KeyPath) -> str:
        return f"{self._name}:{self._lines.line(path)}"
