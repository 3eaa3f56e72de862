"""Rows that history no longer has, although files still hold them: told apart at once, taken out of files later.

What strikes rows is an amendment in the ledger; it hits rows that came before it, never those after.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import polars as pl

from hutong.engines.sense.history import Strike, Struck
from hutong.kernel.errors import Overloaded

STRIKES_MAX = 100_000  # that wait to be taken out of files

_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "tenant": pl.String,
    "entity": pl.String,
    "attribute": pl.String,
    "datasets": pl.Boolean,
    "at": pl.Int64,
    "kind": pl.String,
    "number": pl.Float64,
    "text": pl.String,
    "extra": pl.String,
    "lane": pl.String,
    "n": pl.Int64,
    "recorded_at": pl.Int64,
}
_CONTENT = ("kind", "number", "text", "extra")

HIT = (
    "s.tenant = d.tenant AND s.entity = d.entity AND (d.attribute IS NULL OR s.attribute = d.attribute"
    " OR (d.datasets AND starts_with(s.attribute, d.attribute || '@')))"
    ' AND (d."at" IS NULL OR (s."at" = d."at"'
    + "".join(f' AND s."{name}" IS NOT DISTINCT FROM d."{name}"' for name in _CONTENT)
    + ")) AND CASE WHEN s.lane = d.lane THEN s.n < d.n ELSE s.recorded_at <= d.recorded_at END"
)
"""Whether a row `s` is struck by a row `d` of a frame of strikes, as SQL."""


class Strikes:
    """All strikes that files do not reflect yet. Any thread may ask; each change replaces what readers see."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], tuple[Struck, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def room(self, strikes: int) -> None:
        """Return if so many more may come. Raises Overloaded."""
        if self._count + strikes > STRIKES_MAX:
            raise Overloaded(
                "too many amendments wait to be taken into the files of history",
                where="history",
                seen=self._count,
                allowed=str(STRIKES_MAX),
                fix="send it again later",
            )

    def add(self, struck: Iterable[Struck]) -> None:
        with self._lock:
            waiting = dict(self._waiting)
            for one in struck:
                key = one.tenant, one.strike.entity
                waiting[key] = (*waiting.get(key, ()), one)
                self._count += 1
            self._waiting = waiting

    def remove(self, struck: Sequence[Struck]) -> None:
        """Forget strikes that the files reflect now."""
        gone = set(map(id, struck))
        with self._lock:
            kept = {key: tuple(one for one in some if id(one) not in gone) for key, some in self._waiting.items()}
            self._waiting = {key: some for key, some in kept.items() if some}
            self._count = sum(map(len, self._waiting.values()))

    def all(self) -> list[Struck]:
        return [one for some in self._waiting.values() for one in some]

    def of(self, tenant: str | None, entities: Iterable[str]) -> list[Struck]:
        """Those of some entities; of any tenant where None."""
        waiting = self._waiting
        if not waiting:
            return []
        wanted = set(entities)
        return [
            one
            for (whose, entity), some in waiting.items()
            if entity in wanted and tenant in (None, whose)
            for one in some
        ]


def frame(struck: Sequence[Struck]) -> pl.DataFrame:
    """Strikes as the frame that HIT looks at."""
    rows = [(one.tenant, *_cells(one.strike), one.lane, one.n, one.recorded_at) for one in struck]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _cells(strike: Strike) -> tuple[Any, ...]:
    content = (getattr(strike, name) for name in _CONTENT)
    return strike.entity, strike.attribute or None, strike.datasets, strike.at, *content


def struck_rows(struck: Sequence[Struck]) -> pl.Expr:
    """Whether a row of history is struck, as an expression."""
    return reduce(or_, (_hit(one) for one in struck), pl.lit(False))


def _hit(one: Struck) -> pl.Expr:
    column, strike = pl.col, one.strike
    parts: Iterator[pl.Expr] = iter(
        (
            column("tenant") == one.tenant,
            column("entity") == strike.entity,
            pl.when(column("lane") == one.lane)
            .then(column("n") < one.n)
            .otherwise(column("recorded_at") <= one.recorded_at),
            *_of_attribute(strike),
        )
    )
    return pl.all_horizontal(*parts)


def _of_attribute(strike: Strike) -> Iterator[pl.Expr]:
    if strike.attribute:
        named = pl.col("attribute") == strike.attribute
        yield named | pl.col("attribute").str.starts_with(f"{strike.attribute}@") if strike.datasets else named
    if strike.at is not None:
        yield pl.col("at") == strike.at
        for name in _CONTENT:
            yield pl.col(name).eq_missing(pl.lit(getattr(strike, name)))
