"""Questions about whole types as DuckDB SQL: one for each rollup and span of time, whatever the number of things."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import polars as pl

from hutong.engines.sense.bulk import GRAIN, CountQuery, KnownQuery, News, RollQuery
from hutong.engines.sense.periods import Period
from hutong.engines.sense.ports import Mark
from hutong.kernel.clock import HOUR
from hutong.kernel.expressions.aggregates import METERED, Term
from hutong.store.lake.files import type_key
from hutong.store.lake.history import LakeHistory
from hutong.store.lake.query import GONE, kept
from hutong.store.lake.table import Snapshot

CLOCK_STEP_MAX: Final = HOUR
"""How far a clock may step back without news being overlooked that were compacted before they were asked for."""
_NEEDED: Final = ("entity", "attribute", "at", "recorded_at", "n", "kind", "number", "text", "extra", "marks", "source")
_COLUMNS: Final = ", ".join(f'"{name}"' for name in _NEEDED)
_VALUE: Final = "CASE WHEN kind = 'B' THEN (text = 'true')::DOUBLE ELSE number END"
_LAST_WORD: Final = 'row_number() OVER (PARTITION BY entity, attribute, "at" ORDER BY recorded_at DESC, n DESC) = 1'
_AGGREGATES: Final[Mapping[str, str]] = {
    "count": "count(v) FILTER ({own})",
    "sum": "sum(v) FILTER ({own})",
    "avg": "avg(v) FILTER ({own})",
    "min": "min(v) FILTER ({own})",
    "max": "max(v) FILTER ({own})",
    "stddev": "stddev_pop(v) FILTER ({own})",
    "quantile": "quantile_cont(v, {share!r}) FILTER ({own})",
    "first": 'arg_min(v, "at") FILTER ({own})',
    "last": 'arg_max(v, "at") FILTER ({own})',
    "things": "count(DISTINCT entity) FILTER ({own})",
    "increase": "sum(greatest(step, 0)) FILTER ({own} AND step IS NOT NULL)",
    "resets": "count(*) FILTER ({own} AND step < 0)",
    "gap": "max(elapsed) FILTER ({own}) / 1e6",
}
_KNOWN: Final = {
    "entity": pl.String,
    "attribute": pl.String,
    "at": pl.Int64,
    "number": pl.Float64,
    "text": pl.String,
    "marks": pl.UInt8,
    "extra": pl.String,
}


class LakeBulk:
    """Implements BulkHistory over a LakeHistory."""

    def __init__(self, history: LakeHistory) -> None:
        self._history = history

    def roll(self, query: RollQuery) -> pl.DataFrame:
        schema = {"member": pl.Int64, "at": pl.Int64, "marks": pl.UInt8} | {
            term.column: pl.Float64 for term in query.terms
        }
        if not query.periods or query.members.is_empty():
            return pl.DataFrame(schema=schema)
        low = min(period.begin for period in query.periods) - query.reach
        high = max(period.end for period in query.periods)
        attributes = sorted({term.attribute for term in query.terms})
        periods = pl.DataFrame(
            {name: [getattr(one, name) for one in query.periods] for name in ("at", "begin", "end")},
            schema=dict.fromkeys(("at", "begin", "end"), pl.Int64),
        ).sort("begin")
        frames = {"members": query.members.select("entity", "member"), "periods": periods}
        sql = _rolled(query, _overlap(query.periods))
        return self._ask(query.type, attributes, low, high, sql, frames, schema)

    def known(self, query: KnownQuery) -> pl.DataFrame:
        frames = {}
        among = ""
        if query.entities:
            frames["asked"] = pl.DataFrame({"entity": query.entities}, schema={"entity": pl.String})
            among = "SEMI JOIN asked USING (entity)"
        sql = (
            f' SELECT entity, attribute, "at", {_VALUE} AS number, '
            f"CASE WHEN kind = 'B' OR text = '{GONE}' THEN NULL ELSE text END AS text, marks, extra "
            f"FROM source {among} QUALIFY {_LAST_WORD}"
        )
        return self._ask(query.type, query.attributes, query.low, query.high, sql, frames, _KNOWN)

    def count(self, query: CountQuery) -> pl.DataFrame:
        valid = " AND ".join([f"(marks & {int(Mark.SUSPECT)}) = 0", *_within(query.ranges)])
        schema = {"attribute": pl.String, "source": pl.String, **dict.fromkeys(_COUNTS, pl.Int64), "valid": pl.Float64}
        sql = (
            f', told AS (SELECT entity, attribute, "at", marks, source, {_VALUE} AS v, "at" // {query.slot} AS slot '
            f"FROM source WHERE (marks & {int(Mark.FORECAST)}) = 0 QUALIFY {_LAST_WORD}) "
            "SELECT attribute, source, count(DISTINCT (entity, attribute, slot)) AS received, "
            "count(DISTINCT (entity, attribute)) AS series, count(DISTINCT entity) AS things, "
            f'max("at") AS "last", avg(({valid})::INTEGER) AS valid '
            "FROM told WHERE v IS NOT NULL GROUP BY GROUPING SETS ((attribute), (source))"
        )
        return self._ask(query.type, query.attributes, query.low, query.high, sql, {}, schema).select(*schema)

    def news(self, read: Mapping[str, Sequence[str]], after: Mapping[str, int], since: int) -> News:
        wanted = pl.DataFrame(
            [(type_, attribute) for type_, names in read.items() for attribute in names],
            schema={"type": pl.String, "attribute": pl.String},
            orient="row",
        )
        keys = [type_key(name) for name in read]
        fresh = pl.all_horizontal(True, *((pl.col("lane") != lane) | (pl.col("n") > n) for lane, n in after.items()))
        told = pl.col("type").is_in(list(read)) & (pl.col("marks") & int(Mark.FORECAST) == 0)
        lanes = {f"lane{i}": lane for i, lane in enumerate(after)}
        beyond = " AND ".join(f"(lane <> ${name} OR n > {int(after[lane])})" for name, lane in lanes.items()) or "true"
        sql = (
            f'SELECT type, attribute, "at" - ("at" % {GRAIN} + {GRAIN}) % {GRAIN} AS "at", lane, max(n) AS n, '
            f"max(recorded_at) AS recorded_at FROM source SEMI JOIN wanted USING (type, attribute) "
            f"WHERE {beyond} AND (marks & {int(Mark.FORECAST)}) = 0 AND tenant = '' GROUP BY ALL"
        )

        def ask(snapshot: Snapshot, recent: pl.DataFrame) -> pl.DataFrame:
            files = snapshot.files.filter(
                pl.col("type_key").is_in(keys) & (pl.col("max.recorded_at") >= since - CLOCK_STEP_MAX)
            )
            columns = 'type, tenant, attribute, "at", lane, n, recorded_at, marks'
            source, frames = self._source(files["path"].to_list(), recent, columns, "true")
            if not source:
                return pl.DataFrame(schema={"type": pl.String, "attribute": pl.String, "at": pl.Int64} | _REACHED)
            text = f"WITH source AS ({source}) {sql}"
            return self._history.frame(text, lanes, frames | {"wanted": wanted})

        found = self._history.over(fresh & told & (pl.col("tenant") == ""), None, None, ask)
        ends = found.group_by("lane").agg(pl.col("n").max())
        latest = found["recorded_at"].max()
        return News(
            spans=found.select("type", "attribute", "at").unique(),
            upto=dict(after) | dict(ends.iter_rows()),
            recorded_at=max(since, latest) if isinstance(latest, int) else since,
        )

    def _ask(
        self,
        type_: str,
        attributes: Sequence[str],
        low: int,
        high: int,
        sql: str,
        frames: Mapping[str, pl.DataFrame],
        schema: Mapping[str, Any],
    ) -> pl.DataFrame:
        """The answer of `sql` over `source`: rows of a type and these attributes from `low` to `high`."""
        when = f'"at" >= {low} AND "at" < {high}'
        names = {f"attribute{i}": name for i, name in enumerate(attributes)}
        among = ", ".join(f"${name}" for name in names)
        rows = (
            (pl.col("type") == type_)
            & (pl.col("tenant") == "")
            & pl.col("at").is_between(low, high, closed="left")
            & pl.col("attribute").is_in(list(attributes))
        )

        def ask(snapshot: Snapshot, recent: pl.DataFrame) -> pl.DataFrame:
            files = snapshot.files.filter(
                (pl.col("type_key") == type_key(type_)) & (pl.col("max.at") >= low) & (pl.col("min.at") < high)
            )
            limits = f"tenant = '' AND type = $type AND {when} AND attribute IN ({among})"
            source, recents = self._source(files["path"].to_list(), recent, _COLUMNS, limits)
            if not source:
                return pl.DataFrame(schema=schema)
            values = (names | {"type": type_}) if files.height else {}
            return self._history.frame(f"WITH source AS ({source}){sql}", values, {**frames, **recents})

        return self._history.over(rows, low, high, ask).cast(pl.Schema(schema))

    def _source(
        self, files: Sequence[str], recent: pl.DataFrame, columns: str, limits: str
    ) -> tuple[str, dict[str, pl.DataFrame]]:
        struck = self._history.struck()
        rows = kept(self._history.paths(files), struck)
        parts = [f"SELECT {columns} FROM {rows} WHERE {limits}"] if files else []
        if recent.height:
            parts.append(f"SELECT {columns} FROM recent")
        frames = {"recent": recent} if recent.height else {}
        return " UNION ALL ".join(parts), frames if struck is None else {**frames, "struck": struck}


_COUNTS: Final = ("received", "series", "things", "last")
_REACHED: Final = {"lane": pl.String, "n": pl.Int64, "recorded_at": pl.Int64}


def _overlap(periods: Sequence[Period]) -> bool:
    ordered = sorted(periods, key=lambda one: one.begin)
    return any(one.end > other.begin for one, other in pairwise(ordered))


def _within(ranges: Mapping[str, tuple[float | None, float | None]]) -> list[str]:
    """Conditions that values `v` are within the ranges of their attributes."""
    found = []
    for key, (low, high) in ranges.items():
        name = key.replace("'", "''")
        inside = [f"v {sign} {bound!r}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
        found.append(f"(attribute <> '{name}' OR ({' AND '.join(inside)}))")
    return found


def _rolled(query: RollQuery, overlap: bool) -> str:
    """SQL for a roll, to follow `WITH source AS (…)`: the last word on each reading, the valid ones, the periods."""
    valid = ["v IS NOT NULL"]
    if not query.suspects:
        valid.append(f"(marks & {int(Mark.SUSPECT)}) = 0")
        valid += _within(query.ranges)
    metered = any(term.function in METERED for term in query.terms)
    reading = 'PARTITION BY entity, attribute ORDER BY "at"'
    steps = f', v - lag(v) OVER ({reading}) AS step, "at" - lag("at") OVER ({reading}) AS elapsed' if metered else ""
    joined = (
        'JOIN periods p ON r."at" >= p.begin AND r."at" < p."end"'
        if overlap
        else 'ASOF JOIN periods p ON r."at" >= p.begin'
    )
    columns = ", ".join(f'({_aggregate(term)})::DOUBLE AS "{_quoted(term.column)}"' for term in query.terms)
    return (
        f', told AS (SELECT entity, attribute, "at", marks, {_VALUE} AS v FROM source '
        f"WHERE (marks & {int(Mark.FORECAST)}) = 0 QUALIFY {_LAST_WORD}), "
        f"readings AS (SELECT *{steps} FROM told WHERE {' AND '.join(valid)}), "
        f'placed AS (SELECT m.member, p."at" AS period, r.* FROM readings r JOIN members m USING (entity) {joined} '
        f'WHERE r."at" < p."end") '
        f'SELECT member, period AS "at", bit_or(marks) AS marks, {columns} FROM placed GROUP BY member, period'
    )


def _aggregate(term: Term) -> str:
    own = "attribute = '{}'".format(term.attribute.replace("'", "''"))
    return _AGGREGATES[term.function].format(own=own, share=term.share)


def _quoted(name: str) -> str:
    return name.replace('"', '""')
