"""Makes forecasts when a period begins, and again when what they rest on has changed. A repeat changes nothing."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from hutong.engines.sense.bulk import BulkHistory, KnownQuery, RollQuery
from hutong.engines.sense.forecasting import METHODS, Measured, Series, measure
from hutong.engines.sense.forecasts import COUNTS, SAME_UNIT, SHARES, SOURCE, STEPS, Forecast
from hutong.engines.sense.periods import Period, Periods, Unit
from hutong.engines.sense.ports import Attribute, EntityStore, Mark
from hutong.engines.sense.publishing import ACTOR, Documents, Made, Place, changes, published, send
from hutong.engines.sense.roller import CELLS_MAX, MEMBERS_MAX, METER_REACH, whole_columns
from hutong.kernel.clock import MINUTE, Clock
from hutong.kernel.commands import Request
from hutong.kernel.expressions.aggregates import METERED, PERIOD
from hutong.kernel.writer import Writer

AGAIN_EVERY = 15 * MINUTE
_SCALARS = (*SAME_UNIT, *SHARES, *COUNTS)


class Forecaster:
    """All forecasts of a city."""

    def __init__(
        self,
        forecasts: Sequence[Forecast],
        history: BulkHistory,
        entities: EntityStore,
        writer: Writer,
        clock: Clock,
        periods: Callable[[Unit, int], Periods],
    ) -> None:
        self.forecasts = tuple(forecasts)
        self._history, self._entities, self._writer, self._clock = history, entities, writer, clock
        self._periods = {one.name: periods(one.declaration.period, 0) for one in forecasts}
        self._made: dict[str, tuple[int, int]] = {}
        self._began = clock.now()
        self._stop = threading.Event()

    def close(self) -> None:
        """Stop after the things at hand."""
        self._stop.set()

    def pulse(self) -> int:
        """Make what is due; gives how many changes were sent."""
        sent, now = 0, self._clock.now()
        for one in self.forecasts:
            again = MINUTE if now - self._began < AGAIN_EVERY else AGAIN_EVERY  # what was is still coming in
            due = self._periods[one.name].of(now).at, now // again
            if self._made.get(one.name) != due:
                sent += self._make(one, now)
                self._made[one.name] = due
        return sent

    def _make(self, one: Forecast, now: int) -> int:
        declared = one.declaration
        here = self._periods[one.name].of(now)
        past = self._before(one, here, declared.backtest + 2 * declared.season)
        ahead = list(islice(self._from(one, here), declared.horizon))
        rows = self._entities.table(one.on, ["id"], {}, MEMBERS_MAX)
        things = [str(id_) for (id_,) in rows]
        sent, step = 0, max(1, CELLS_MAX // (len(past) + len(ahead)))
        for begin in range(0, len(things), step):
            if self._stop.is_set():
                break
            sent += self._publish(one, things[begin : begin + step], past, ahead)
        return sent

    def _from(self, one: Forecast, period: Period) -> Iterator[Period]:
        while True:
            yield period
            period = self._periods[one.name].of(period.end)

    def _before(self, one: Forecast, here: Period, count: int) -> list[Period]:
        """The periods that ended last, oldest first, as far as history is kept."""
        found: list[Period] = []
        begin, kept = here.begin, self._clock.now() - one.retention if one.retention else None
        while len(found) < count and (kept is None or begin > kept):
            found.append(self._periods[one.name].of(begin - 1))
            begin = found[-1].begin
        return found[::-1]

    def _publish(self, one: Forecast, things: Sequence[str], past: Sequence[Period], ahead: Sequence[Period]) -> int:
        series, marks = self._series(one, things, past)
        frame = pl.concat([self._foretold(one, n, series[n], ahead) for n in range(len(things))])
        values = self._told(one, frame)
        targets = {one.target(id_): id_ for id_ in things}
        names = list(targets)
        known = published(
            self._history.known(
                KnownQuery(
                    type=one.into,
                    attributes=tuple(one.values),
                    low=ahead[0].at,
                    high=ahead[-1].at + 1,
                    entities=tuple(targets),
                )
            ).iter_rows()
        )
        made: dict[Place, Made] = {}
        for member, at, row in zip(frame["member"], frame["at"], values.iter_rows(named=True), strict=True):
            place = names[member], at
            there, first = known.get(place, {}), at == ahead[0].at
            told = {
                key: row[key]
                for key, kind in one.values.items()
                if first or (kind.stepwise and (row[key] is not None or there.get(key) is not None))
            }
            if told:
                made[place] = Made(told, marks[member])
        documents = Documents(self._entities)

        def along(id_: str, document: Mapping[str, Attribute]) -> dict[str, Attribute]:
            thing = documents(targets[id_])
            return {
                key: Attribute(kind=thing[key].kind, value=thing[key].value, unit=thing[key].unit)
                for key in one.declaration.carry
                if key in thing and (key not in document or document[key].value != thing[key].value)
            }

        return send(
            self._ask,
            changes(one.into, made, known, one.units, documents, along, self._clock.now(), True),
            f"{SOURCE}{one.name}",
            int(Mark.FORECAST),
        )

    def _ask(self, command: Any) -> Any:
        return self._writer.submit(Request(command=command, actor=ACTOR)).result()

    def _series(self, one: Forecast, things: Sequence[str], past: Sequence[Period]) -> tuple[list[Series], list[int]]:
        """The past of each thing, a number for each period, and what is to be said of it."""
        rolled = self._history.roll(
            RollQuery(
                type=one.on,
                terms=one.terms,
                periods=past,
                members=pl.DataFrame({"entity": things}, schema={"entity": pl.String}).with_columns(
                    member=pl.int_range(pl.len(), dtype=pl.Int64)
                ),
                ranges=one.ranges,
                reach=METER_REACH if any(term.function in METERED for term in one.terms) else 0,
            )
        )
        lengths = {period.at: (period.end - period.begin) / 1e6 for period in past}
        whole = whole_columns(one.terms)
        frame = rolled.with_columns(
            pl.col("at").replace_strict(lengths, return_dtype=pl.Float64).alias(PERIOD),
            *(pl.col(name).cast(pl.Int64) for name in whole),
        )
        place = {period.at: n for n, period in enumerate(past)}
        series = [np.full(len(past), np.nan) for _ in things]
        marks = [0] * len(things)
        values = one.of.evaluate(frame)
        for member, at, mark, value in zip(frame["member"], frame["at"], frame["marks"], values, strict=True):
            if value is not None:
                series[member][place[at]] = value
                marks[member] |= mark & int(Mark.SIMULATED)
        return series, marks

    @staticmethod
    def _foretold(one: Forecast, member: int, series: Series, ahead: Sequence[Period]) -> pl.DataFrame:
        """A row for each step ahead: what is foretold of one thing, and how good that has been."""
        declared, method = one.declaration, METHODS[one.declaration.method]
        known = np.flatnonzero(~np.isnan(series))
        told = series[known[0] :] if len(known) else series[:0]  # what was before the first value is no gap
        found, value = Measured(), np.full(len(ahead), np.nan)
        was = np.nan
        if len(told) >= 2 * declared.season and not np.isnan(told[-declared.season :]).all():
            found = measure(method, told, declared.season, declared.horizon, declared.backtest, declared.interval)
            value = method(told, declared.season, len(ahead))
            was = method(told[:-1], declared.season, 1)[0]
        band = np.nan if found.band is None else found.band
        scalars: dict[str, float | int | None] = {
            **{name: getattr(found, name) for name in ("mae", "naive_mae", *SHARES, "backtested")},
            "history": len(known),
            "actual": series[-1] if len(series) else np.nan,
            "was": was,
            "was_lower": was - band,
            "was_upper": was + band,
        }
        return pl.DataFrame(
            {"member": member, "at": [period.at for period in ahead]}
            | dict(zip(STEPS, (value, value - band, value + band), strict=True))
            | {name: [scalars[name]] * len(ahead) for name in _SCALARS},
            schema={"member": pl.Int64, "at": pl.Int64}
            | dict.fromkeys(STEPS, pl.Float64)
            | dict.fromkeys((*SAME_UNIT, *SHARES), pl.Float64)
            | dict.fromkeys(COUNTS, pl.Int64),
            nan_to_null=True,
            strict=False,
        ).with_columns(pl.col((*STEPS, *SAME_UNIT)).fill_nan(None))

    @staticmethod
    def _told(one: Forecast, frame: pl.DataFrame) -> pl.DataFrame:
        """The properties that the forecast sets, row by row."""
        terms = dict.fromkeys(term for told in one.values.values() for term in told.terms)
        over = {
            term.column: getattr(pl.col(term.attribute), _POLARS[term.function])().over("member").alias(term.column)
            for term in terms
        }
        wide = frame.with_columns(over.values()).with_columns(pl.lit(0.0).alias(PERIOD))
        return wide.select(told.value.polars().alias(key) for key, told in one.values.items())


_POLARS = {"avg": "mean", "sum": "sum", "min": "min", "max": "max", "first": "first", "last": "last"}
