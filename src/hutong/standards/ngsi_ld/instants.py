"""DateTime of NGSI-LD (clause 4.6.3) to and from microseconds since the epoch, at speed.

`2026-05-01T10:00:00Z` with up to six decimals takes the short way, everything else goes through the kernel's clock.
Offsets other than Z are understood on the way in, though the standard asks for Z; answers always carry Z.
"""

from datetime import date

from hutong.kernel import clock
from hutong.kernel.errors import InvalidInput

_DAYS_KEPT_MAX = 4096
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class _DayStarts(dict[str, int]):
    """`2026-05-01` -> microseconds of its midnight, UTC. Raises ValueError for what is no day."""

    def __missing__(self, text: str) -> int:
        if text[4] != "-" or text[7] != "-":
            raise ValueError(text)
        start = (date.fromisoformat(text).toordinal() - _EPOCH_DAY) * clock.DAY
        if len(self) >= _DAYS_KEPT_MAX:
            self.clear()
        self[text] = start
        return start


class _DayTexts(dict[int, str]):
    """Days since the epoch -> `2026-05-01`."""

    def __missing__(self, day: int) -> str:
        text = date.fromordinal(_EPOCH_DAY + day).isoformat()
        if len(self) >= _DAYS_KEPT_MAX:
            self.clear()
        self[day] = text
        return text


_day_start = _DayStarts()
_day_text = _DayTexts()
_MINUTE_TEXTS = tuple(f"T{m // 60:02}:{m % 60:02}:" for m in range(1440))
_MINUTE_STARTS = {text: m * clock.MINUTE for m, text in enumerate(_MINUTE_TEXTS)}
_SECOND_TEXTS = tuple(f"{s:02}" for s in range(60))
_SECOND_STARTS = {text: s * clock.SECOND for s, text in enumerate(_SECOND_TEXTS)}


def read_instant(text: object) -> int:
    """A DateTime as microseconds since the epoch. Raises InvalidInput, without `where`, for anything else."""
    if type(text) is not str:
        raise InvalidInput("a DateTime is a text", seen=text, allowed="2026-05-01T10:00:00Z")
    if len(text) >= 20 and text[-1] == "Z":
        try:
            at = _day_start[text[:10]] + _MINUTE_STARTS[text[10:17]] + _SECOND_STARTS[text[17:19]]
        except (KeyError, ValueError):
            return _read_slowly(text)
        if len(text) == 20:
            return at
        decimals = text[20:-1]
        if text[19] in ".," and decimals.isdecimal() and decimals.isascii() and len(decimals) <= 6:
            return at + int(decimals.ljust(6, "0"))
    return _read_slowly(text)


def _read_slowly(text: str) -> int:
    if len(text) < 17 or text[4] != "-" or text[7] != "-" or text[10] != "T":
        raise InvalidInput(
            "not a DateTime",
            seen=text,
            allowed="a date, T, a time and Z or an offset",
            fix="write it as 2026-05-01T10:00:00Z",
        )
    return clock.instant(text)


def write_instant(at: int) -> str:
    """Microseconds since the epoch as DateTime with Z, decimals only where there are any."""
    day, rest = divmod(at, clock.DAY)
    minute, rest = divmod(rest, clock.MINUTE)
    second, fraction = divmod(rest, clock.SECOND)
    text = _day_text[day] + _MINUTE_TEXTS[minute] + _SECOND_TEXTS[second]
    return f"{text}.{fraction:06}".rstrip("0") + "Z" if fraction else text + "Z"
