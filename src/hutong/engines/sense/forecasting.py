"""Methods of forecasting, and how good each has been: rolling backtests against what the naive one would have done.

A series is an array of numbers, one for each period, NaN where there is none. Another method joins by a function here
and its name in `METHODS`; its errors are measured as those of all.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec
import numpy as np

Series: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
Method: TypeAlias = Callable[[Series, int, int], Series]
"""From a series, the periods of a season and the periods ahead to the values of these; NaN where it has none."""

ORIGINS_MAX: Final = 56
"""Instants of a backtest from which it forecasts, as if nothing later were known."""
SEASONS_BACK: Final = 3
"""So many seasons the seasonal naive method looks back for a value where the last is missing."""
ORIGINS_MIN: Final = 4


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How good a method has been: errors in the unit of the series, None where they cannot be told."""

    mae: float | None = None
    naive_mae: float | None = None  # of the last value held on, at the same origins
    mase: float | None = None  # mean absolute scaled error (Hyndman and Koehler, 2006)
    skill: float | None = None  # 1 - mae / naive_mae
    coverage: float | None = None  # share of later values within the band that earlier errors give
    band: float | None = None  # half the width of the interval
    backtested: int = 0  # origins


def seasonal_naive(series: Series, season: int, ahead: int) -> Series:
    """What was one season before; where that is missing, one more season before."""
    steps = np.arange(ahead)
    found: Series = np.full(ahead, np.nan)
    for back in range(SEASONS_BACK):
        at = len(series) + steps - season * (steps // season + 1 + back)
        usable = np.isnan(found) & (at >= 0)
        found[usable] = series[at[usable]]
    return found


METHODS: Final[Mapping[str, Method]] = {"seasonal_naive": seasonal_naive}


def measure(method: Method, series: Series, season: int, ahead: int, span: int, interval: float) -> Measured:
    """Forecast from up to ORIGINS_MAX instants of the last `span` periods, and compare with what came."""
    first = max(2 * season, len(series) - span)
    step = max(1, (len(series) - first) // ORIGINS_MAX) | 1  # odd, so that origins fall on all hours of a day
    errors, naive = [], []
    for origin in range(first, len(series), step):
        known, came = series[:origin], series[origin : origin + ahead]
        errors.append(np.abs(came - method(known, season, ahead)[: len(came)]))
        last = known[~np.isnan(known)][-1:]
        naive.append(np.abs(came - last) if len(last) else np.full(len(came), np.nan))
    told = [one[~np.isnan(one)] for one in errors]
    every = np.concatenate(told) if told else np.empty(0)
    if len(told) < ORIGINS_MIN or not len(every):
        return Measured(backtested=len(told))
    half = len(told) // 2
    early, late = np.concatenate(told[:half]), np.concatenate(told[half:])
    inside = late <= np.quantile(early, interval) if len(early) and len(late) else np.empty(0)
    scale = _mean(np.abs(np.diff(series)))
    mae, naive_mae = float(every.mean()), _mean(np.concatenate(naive))
    return Measured(
        mae=mae,
        naive_mae=naive_mae,
        mase=mae / scale if scale else None,
        skill=1 - mae / naive_mae if naive_mae else None,
        coverage=float(inside.mean()) if len(inside) else None,
        band=float(np.quantile(every, interval)),
        backtested=len(told),
    )


def _mean(values: Series) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
