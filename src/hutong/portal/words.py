"""The pages' own words, one file a language, addressed by dotted keys."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, cast

Language: TypeAlias = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")  # the first is the default
TAGS: Mapping[Language, str] = {"zh": "zh-CN", "en": "en"}


def other(lang: Language) -> Language:
    return "en" if lang == "zh" else "zh"


def preferred(accept_language: str) -> Language:
    """The first language of an Accept-Language header that there is; the default for none."""
    for part in accept_language.split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]


class Words:
    """Texts of one language. A text may be a table `{one, other}`, chosen by the argument `n`."""

    def __init__(self, texts: Mapping[str, Any]) -> None:
        self._texts = dict(_flat(texts))

    def __call__(self, key: str, **values: Any) -> str:
        """The text with its `{placeholders}` filled. Raises KeyError for a key that is not there."""
        text = self._texts[key]
        if not isinstance(text, str):
            text = text["one" if values.get("n") in (1, "1") else "other"]
        return cast(str, text.format_map(values)) if values else cast(str, text)

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._texts.items()


@cache
def words(lang: Language) -> Words:
    return Words(tomllib.loads((files("hutong.portal") / "text" / f"{lang}.toml").read_text("utf-8")))


def _flat(texts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, text in texts.items():
        if isinstance(text, Mapping) and "other" not in text:
            yield from _flat(text, f"{prefix}{key}.")
        else:
            yield prefix + key, text
