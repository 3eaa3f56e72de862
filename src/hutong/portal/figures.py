"""How numbers, units and times are written, in Chinese and in English."""

from datetime import UTC, datetime, tzinfo
from typing import Any

from msgspec import json

from hutong.engines.sense.declarations import PropertyDeclaration
from hutong.kernel.clock import DAY, HOUR, MINUTE, moment
from hutong.kernel.units import unit
from hutong.portal.words import Language, words

MISSING = "—"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def number(value: float, decimals: int | None = None) -> str:
    """Grouped by thousands; by default whole numbers plain and others to three significant digits at least."""
    if isinstance(value, int) or (decimals is None and value == int(value)):
        return f"{int(value):,}".replace("-", "−")
    if decimals is None:
        decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}".replace("-", "−")


def large(value: float, lang: Language) -> str:
    """A key figure: from a hundred thousand on in 万 and 亿 in Chinese; in full in English."""
    if lang == "zh" and abs(value) >= 1e8:
        return f"{number(value / 1e8, 2)}亿"
    if lang == "zh" and abs(value) >= 1e5:
        return f"{number(value / 1e4, 1)}万"
    return number(round(value)) if abs(value) >= 100 else number(value)


def percent(share: float) -> str:
    return f"{share * 100:.0f}".replace("-", "−")


def when(at: int, zone: tzinfo, lang: Language) -> str:
    """`2026年5月1日 10:00`, `1 May 2026, 10:00`."""
    local = moment(at).astimezone(zone)
    return f"{day(local, lang)}{' ' if lang == 'zh' else ', '}{local:%H:%M}"


def day(local: datetime, lang: Language) -> str:
    if lang == "zh":
        return f"{local.year}年{local.month}月{local.day}日"
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def short(at: int, now: int, zone: tzinfo, lang: Language) -> str:
    """The clock time on the day of `now`; day and time in its year; otherwise the date alone."""
    local, today = moment(at).astimezone(zone), moment(now).astimezone(zone)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if local.year == today.year:
        date = f"{local.month}月{local.day}日" if lang == "zh" else f"{local.day} {_MONTHS[local.month - 1]}"
        return f"{date} {local:%H:%M}"
    return day(local, lang)


def wall_ms(at: int, zone: tzinfo) -> int:
    """The zone's wall clock, as if it were UTC, in milliseconds."""
    return int(moment(at).astimezone(zone).replace(tzinfo=UTC).timestamp() * 1000)


def duration(microseconds: int, lang: Language) -> str:
    """The largest whole unit: `3 分钟`, `2 h`, `5 d`."""
    name, size = next(
        ((n, s) for n, s in (("d", DAY), ("h", HOUR), ("min", MINUTE)) if microseconds >= s), ("min", MINUTE)
    )
    count = microseconds // size
    return words(lang)("time.under_minute") if count < 1 else words(lang)(f"time.{name}", n=count)


def ago(at: int, now: int, lang: Language) -> str:
    if now - at < MINUTE:
        return words(lang)("time.just_now")
    return words(lang)("time.ago", span=duration(now - at, lang))


def written(value: Any, declared: PropertyDeclaration) -> tuple[str, str]:
    """A value and the symbol of its unit, as texts.

    A `number` (not an `integer`, which counts) in the unit one (UN/CEFACT C62) is a share, written in percent.
    """
    if value is None:
        return MISSING, ""
    match declared.type:
        case "number" if declared.unit == "C62":
            return percent(value), "%"
        case "number" | "integer":
            return number(value), "" if declared.unit in ("", "C62") else unit(declared.unit).symbol
        case "boolean":
            return ("✓" if value else "✗"), ""
        case "point" | "geometry" | "json":
            return json.encode(value).decode(), ""
    return str(value), ""
