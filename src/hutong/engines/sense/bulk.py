"""Questions about the history of whole types, answered in bulk: what rollups, quality and forecasts are made of."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import polars as pl

from hutong.engines.sense.periods import Period
from hutong.kernel.expressions.aggregates import Term

GRAIN = 15 * 60 * 1_000_000
"""Microseconds to which `News` rounds down: every period begins at such an instant of its zone."""


class RollQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Aggregates of a type's history. `members` has columns entity and member, the number of the group it is in.

    Of several values of one thing at one instant, the one recorded last counts; forecasts never do. Values outside
    `ranges` and suspect ones count only with `suspects`.
    """

    type: str
    terms: tuple[Term, ...]
    periods: Sequence[Period]
    members: pl.DataFrame
    ranges: Mapping[str, tuple[float | None, float | None]] = {}
    suspects: bool = False
    reach: int = 0  # how long before the first period meters are read, for the reading before


class KnownQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Values of a type's things from `low` up to and without `high`, corrected ones as corrected."""

    type: str
    attributes: tuple[str, ...]
    low: int
    high: int
    entities: Sequence[str] = ()  # all when empty


class CountQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How many values of a type came from `low` up to and without `high`, one in each `slot` of time counted."""

    type: str
    attributes: tuple[str, ...]
    low: int
    high: int
    slot: int
    ranges: Mapping[str, tuple[float | None, float | None]] = {}


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What history has heard: columns type, attribute, at (a multiple of GRAIN); and how far that goes in each lane."""

    spans: pl.DataFrame
    upto: Mapping[str, int]
    recorded_at: int


class BulkHistory(Protocol):
    """History asked for whole types, in the tenant without a name."""

    def roll(self, query: RollQuery) -> pl.DataFrame:
        """Columns member, at (the period's), marks, and one Float64 for each term; only periods with a value."""

    def known(self, query: KnownQuery) -> pl.DataFrame:
        """Columns entity, attribute, at, number, text, marks, extra; one row for each entity, attribute and instant.

        Booleans are numbers 1 and 0. A value that was taken back is there with neither number nor text.
        """

    def count(self, query: CountQuery) -> pl.DataFrame:
        """One row for each attribute (source null) and one for each source (attribute null).

        Columns attribute, source, received (slots with a value, of all series), series (things times attributes),
        things, valid (share of the values), last (instant).
        """

    def news(self, read: Mapping[str, Sequence[str]], after: Mapping[str, int], since: int) -> News:
        """Where, in these attributes by type, something was recorded beyond these ledger rows.

        `since` is what `News.recorded_at` gave with them.
        """
