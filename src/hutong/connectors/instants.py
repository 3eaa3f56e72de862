"""Times written as text to instants, a column at a time."""

from typing import NamedTuple

import polars as pl

_ISO = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2}(?:[.,]\d{1,9})?))?)? ?(Z|z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?$"
)
_WITH_OFFSET = ("%z", "%:z", "%#z", "%s", "%+")


class Problem(NamedTuple):
    """What may be wrong with a value: where `is_bad` is true, and what to say of it."""

    is_bad: pl.Expr
    what: str
    allowed: str
    fix: str


def instants(text: pl.Expr, form: str, zone: str) -> tuple[pl.Expr, list[Problem]]:
    """Microseconds since the epoch, missing where the text is or cannot be read, and what may be wrong.

    `form` is a format as strftime has it, ISO 8601 when empty; without a time of day it is midnight. `zone` is for
    times without offset.
    """
    local, offset_s = _formatted(text, form) if form else _iso(text)
    allowed = f"a time written as {form}" if form else "ISO 8601 with offset"
    problems = [
        Problem(
            text.is_not_null() & local.is_null(),
            "not a date-time",
            allowed,
            "" if form else "write it as 2026-05-01T10:00:00+08:00",
        )
    ]
    bare = local.is_not_null() & offset_s.is_null()
    if not zone:
        problems.append(
            Problem(
                bare,
                "a date-time without offset names no instant",
                "ISO 8601 with offset",
                "add Z or +08:00, or declare the `zone` of the source",
            )
        )
        return local.dt.epoch("us") - offset_s * 1_000_000, problems
    zoned = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.epoch("us")
    problems.append(
        Problem(
            bare & zoned.is_null(),
            "clocks were changed then: this time names no instant, or two",
            f"a time that occurs once in {zone}",
            "give it with its offset",
        )
    )
    return pl.coalesce(local.dt.epoch("us") - offset_s * 1_000_000, zoned), problems


def _iso(text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Local time, and its offset in seconds where one is given."""
    date, minutes, seconds, offset = (text.str.extract(_ISO, group) for group in (1, 2, 3, 4))
    spelled = pl.concat_str(
        date, pl.lit("T"), minutes.fill_null("00:00"), pl.lit(":"), seconds.fill_null("00").str.replace(",", ".")
    )
    local = spelled.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    hours, rest = (offset.str.slice(*part).cast(pl.Int64, strict=False) for part in ((1, 2), (-2, 2)))
    return local, pl.when(offset.str.to_uppercase() == "Z").then(0).otherwise(sign * (hours * 3600 + rest * 60))


def _formatted(text: pl.Expr, form: str) -> tuple[pl.Expr, pl.Expr]:
    read = text.str.to_datetime(form, time_unit="us", strict=False)
    if any(mark in form for mark in _WITH_OFFSET):
        return read.dt.replace_time_zone(None), pl.lit(0, pl.Int64)
    return read, pl.lit(None, pl.Int64)
