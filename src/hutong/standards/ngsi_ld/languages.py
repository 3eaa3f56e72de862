"""The language filter (clause 4.15): one text out of a language map, by preferences as in Accept-Language."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hutong.kernel.errors import InvalidInput

LANGUAGES_MAX = 20


def choose_language(texts: Mapping[str, Any], preference: str) -> dict[str, Any]:
    """`{"value": text, "lang": tag}` in the language that suits best; in any where none does (RFC 4647, 3.4)."""
    for wanted in read_languages(preference):
        for tag in texts:
            if wanted in ("*", tag.lower()):
                return {"value": texts[tag], "lang": tag}
        for tag in texts:
            low = tag.lower()
            if low.startswith(wanted + "-") or wanted.startswith(low + "-"):
                return {"value": texts[tag], "lang": tag}
    tag = "@none" if "@none" in texts else next(iter(texts))
    return {"value": texts[tag], "lang": tag}


@lru_cache(maxsize=128)
def read_languages(preference: str) -> tuple[str, ...]:
    """The languages of a preference, best first, in lower case. Raises InvalidInput for what is none."""
    weighted: list[tuple[float, int, str]] = []
    for i, part in enumerate(preference.split(",")):
        tag, _, parameter = part.partition(";")
        name, _, weight = parameter.partition("=")
        tag = tag.strip().lower()
        try:
            quality = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            quality = -1.0
        if not 0 <= quality <= 1 or not (tag == "*" or (tag.isascii() and tag.replace("-", "").isalnum())):
            raise InvalidInput("no preference of languages", where="lang", seen=part, allowed="zh, en-GB;q=0.8, *")
        if quality > 0:
            weighted.append((-quality, i, tag))
    if len(weighted) > LANGUAGES_MAX:
        raise InvalidInput("too many languages", where="lang", seen=len(weighted), allowed=f"at most {LANGUAGES_MAX}")
    return tuple(tag for _, _, tag in sorted(weighted))
