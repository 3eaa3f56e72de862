"""Words, numbers and times of the pages."""

import re
import tomllib
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest

from hutong.engines.sense.declarations import PropertyDeclaration
from hutong.kernel.clock import DAY, HOUR, MINUTE, instant
from hutong.portal import figures
from hutong.portal.words import Words, preferred, words

SHANGHAI = ZoneInfo("Asia/Shanghai")
AT = instant("2026-05-01T10:00:00+08:00")


def test_both_languages_have_the_same_texts_with_the_same_places_to_fill() -> None:
    def places(text: object) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", str(text)))

    zh, en = (
        dict(Words(tomllib.loads((files("hutong.portal") / "text" / f"{lang}.toml").read_text("utf-8"))).items())
        for lang in ("zh", "en")
    )
    assert zh.keys() == en.keys()
    assert {key: places(zh[key]) for key in zh} == {key: places(en[key]) for key in zh}


def test_every_text_is_used() -> None:
    portal = files("hutong.portal")
    sources = "".join(
        path.read_text("utf-8")
        for folder in (portal, portal / "pages", portal / "templates", portal / "templates" / "parts")
        for path in folder.iterdir()
        if path.name.endswith((".html", ".py"))
    )
    built = (
        "state.",
        "severity.",
        "error.",
        "time.",
        "alerts.",
        "chart.span_",
        "sources.state_",
        "deliveries.",
    )  # keys put together from a value
    unused = [
        key
        for key, _ in words("zh").items()
        if not key.startswith(built) and f'"{key}"' not in sources.replace("'", '"')
    ]
    assert not unused


@pytest.mark.parametrize(
    ("header", "lang"),
    [("", "zh"), ("en-GB,en;q=0.9", "en"), ("de,en;q=0.5", "en"), ("fr", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh")],
)
def test_the_first_language_there_is(header: str, lang: str) -> None:
    assert preferred(header) == lang


def test_plural() -> None:
    assert words("en")("list.found", n=1) == "1 place"
    assert words("en")("list.found", n="0") == "0 places"


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        (0, "0", "0"),
        (99_999, "99,999", "99,999"),
        (123_456, "12.3万", "123,456"),
        (250_000_000, "2.50亿", "250,000,000"),
        (-7, "\N{MINUS SIGN}7", "\N{MINUS SIGN}7"),
        (3.14159, "3.14", "3.14"),
    ],
)
def test_large_figures(value: float, zh: str, en: str) -> None:
    assert figures.large(value, "zh") == zh
    assert figures.large(value, "en") == en


def test_dates_and_spans() -> None:
    assert figures.when(AT, SHANGHAI, "zh") == "2026年5月1日 10:00"
    assert figures.when(AT, SHANGHAI, "en") == "1 May 2026, 10:00"
    assert figures.short(AT, AT + HOUR, SHANGHAI, "zh") == "10:00"
    assert figures.short(AT, AT + 3 * DAY, SHANGHAI, "zh") == "5月1日 10:00"
    assert figures.short(AT, AT + 400 * DAY, SHANGHAI, "en") == "1 May 2026"
    assert figures.ago(AT, AT + 3 * MINUTE, "zh") == "3 分钟前"
    assert figures.duration(26 * HOUR, "en") == "1 day"


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (PropertyDeclaration(type="number", unit="C62"), 0.934, ("93", "%")),
        (PropertyDeclaration(type="number", unit="C62"), 1, ("100", "%")),
        (PropertyDeclaration(type="integer", unit="C62"), 1204, ("1,204", "")),
        (PropertyDeclaration(type="number", unit="CEL"), 21.46, ("21.5", "°C")),
        (PropertyDeclaration(type="text"), "=1+1", ("=1+1", "")),
        (PropertyDeclaration(type="integer"), None, ("—", "")),
    ],
)
def test_values_as_written(declared: PropertyDeclaration, value: object, text: tuple[str, str]) -> None:
    assert figures.written(value, declared) == text
