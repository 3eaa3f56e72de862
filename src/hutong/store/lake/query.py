"""Questions about history as DuckDB SQL over Parquet files and recent rows.

The lake holds no exact repeat (compaction sees to it), and recent rows come here without repeats among themselves.
So the two are compared only where recent rows overlap files in time, and nothing pays for a DISTINCT.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, HistoryQuery, Method
from hutong.store.lake.files import ORDER
from hutong.store.lake.settings import LakeSettings

IDENTITY = ("tenant", "entity", "attribute", "at", "kind", "number", "text", "extra")
"""Two rows that agree in all of these are the same observation."""

_NUMBER = "CASE WHEN kind = 'B' THEN (text = 'true')::DOUBLE ELSE number END"
_METHODS: Mapping[Method, str] = {
    "totalCount": "count(*)",
    "distinctCount": "count(DISTINCT (kind, coalesce(number::VARCHAR, text, extra)))",
    "sum": f"sum({_NUMBER})",
    "avg": f"avg({_NUMBER})",
    "min": f"min({_NUMBER})",
    "max": f"max({_NUMBER})",
    "stddev": f"stddev_pop({_NUMBER})",
    "sumsq": f"sum(({_NUMBER}) ** 2)",
}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_ALL = _listed(HISTORY_SCHEMA)
_SAME = " AND ".join(f'r."{name}" IS NOT DISTINCT FROM l."{name}"' for name in IDENTITY)


@dataclass(frozen=True)
class Source:
    """A table expression, its parameters and the frames it names."""

    sql: str
    values: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)


def source(query: HistoryQuery, files: Sequence[Path], recent: pl.DataFrame, overlapping: Sequence[Path]) -> Source:
    """What the query is about: rows of `files`, and those of `recent` that are not in `overlapping` too.

    `recent` holds nothing but what the query asks for.
    """
    whose = {f"entity{i}": name for i, name in enumerate(query.entities)} | {"tenant": query.tenant}
    which = {f"attribute{i}": name for i, name in enumerate(query.attributes)}
    of_entities = f"tenant = $tenant AND entity IN ({_named(query.entities, 'entity')})"
    parts: list[str] = []
    values: dict[str, Any] = {}
    frames: dict[str, pl.DataFrame] = {}
    if files:
        when = {name: at for name, at in (("begin", query.begin), ("end", query.end)) if at is not None}
        limits = [
            of_entities,
            f"attribute IN ({_named(query.attributes, 'attribute')})" if which else "",
            f'"{query.by}" >= $begin' if "begin" in when else "",
            f'"{query.by}" < $end' if "end" in when else "",
        ]
        parts.append(f"SELECT {_ALL} FROM {parquet(files)} WHERE {' AND '.join(filter(None, limits))}")
        values |= whose | which | when
    if recent.height:
        frames["recent"] = recent
        known = (
            ""
            if not overlapping
            else (
                f"ANTI JOIN (SELECT {_listed(IDENTITY)} FROM {parquet(overlapping)} WHERE {of_entities}"
                f' AND "at" BETWEEN $overlap_begin AND $overlap_end) l ON {_SAME}'
            )
        )
        parts.append(f"SELECT {_ALL} FROM recent r {known}")
        if known:
            values |= whose | {"overlap_begin": recent["at"].min(), "overlap_end": recent["at"].max()}
    return Source(" UNION ALL ".join(parts), values, frames)


class Reader:
    """One DuckDB in memory for the process, with a cursor for each thread that asks. It writes nothing but spills."""

    def __init__(self, spill: Path, settings: LakeSettings) -> None:
        self._database = duckdb.connect(
            ":memory:",
            config={
                "threads": settings.query_threads,
                "memory_limit": settings.query_memory,
                "temp_directory": str(spill),
                "max_temp_directory_size": settings.query_spill_max,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._database.execute("SET parquet_metadata_cache = true")  # sound, as files never change
        self._database.execute("SET python_enable_replacements = false")
        self._of_thread = threading.local()

    def close(self) -> None:
        self._database.close()

    def rows(self, query: HistoryQuery, of: Source) -> pl.DataFrame:
        """Rows of HISTORY_SCHEMA in order, `query.limit` at most."""
        rank = f'row_number() OVER (PARTITION BY entity, attribute ORDER BY "{query.by}" DESC, n DESC)'
        latest = "" if query.last is None else f"QUALIFY {rank} <= $last"
        values = of.values | {"rows": query.limit} | ({} if query.last is None else {"last": query.last})
        with self._cursor(of.frames) as cursor:
            found = cursor.sql(
                f"SELECT {_ALL} FROM ({of.sql}) {latest} ORDER BY {_listed(ORDER)} LIMIT $rows", params=values
            ).to_arrow_table()
        return pl.DataFrame(found).cast(pl.Schema(HISTORY_SCHEMA))

    def buckets(self, query: HistoryQuery, how: Aggregation, of: Source) -> pl.DataFrame:
        """Entity, attribute, bucket and one Float64 for each method, in order; `last` and `limit` count buckets."""
        origin = "(SELECT min(t) FROM source)" if query.begin is None else f"{query.begin}::BIGINT"
        bucket = f"t - (t - {origin}) % {how.period}" if how.period else origin
        # A name that can only be one is not grouped by: that spares a quarter of a short query.
        single = {
            name: only[0]
            for name, only in (("entity", query.entities), ("attribute", query.attributes))
            if len(only) == 1
        }
        names = {name: f"${name}::VARCHAR" if name in single else f'"{name}"' for name in ("entity", "attribute")}
        columns = [
            *(f'{sql} AS "{name}"' for name, sql in names.items()),
            f"{bucket} AS bucket",
            *(f'({_METHODS[method]})::DOUBLE AS "{method}"' for method in how.methods),
        ]
        groups = [f'"{name}"' for name in names if name not in single]
        latest = (
            ""
            if query.last is None
            else "QUALIFY row_number() OVER (PARTITION BY entity, attribute ORDER BY bucket DESC) <= $last"
        )
        sql = (
            f'WITH source AS (SELECT *, "{query.by}" AS t FROM ({of.sql})), '
            f"grouped AS (SELECT {', '.join(columns)} FROM source GROUP BY {', '.join((*groups, 'bucket'))}) "
            f"SELECT * FROM grouped {latest} ORDER BY entity, attribute, bucket LIMIT $rows"
        )
        values = of.values | single | {"rows": query.limit} | ({} if query.last is None else {"last": query.last})
        with self._cursor(of.frames) as cursor:
            found = cursor.execute(sql, values).fetchall()
        return bucket_frame(found, how)

    def frame(self, sql: str, values: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """The answer of any SELECT over files and frames."""
        with self._cursor(frames) as cursor:
            return pl.DataFrame(cursor.sql(sql, params=dict(values)).to_arrow_table())

    def present(self, rows: pl.DataFrame, files: Sequence[Path]) -> pl.Series:
        """Positions of the rows that are in the files too."""
        values = {
            "begin": rows["at"].min(),
            "end": rows["at"].max(),
            "first": rows["entity"].min(),
            "final": rows["entity"].max(),
        }
        with self._cursor({"asked": rows.select(IDENTITY).with_row_index("row")}) as cursor:
            found = cursor.execute(
                f"SELECT r.row FROM asked r SEMI JOIN (SELECT {_listed(IDENTITY)} FROM {parquet(files)} WHERE"
                f' "at" BETWEEN $begin AND $end AND entity BETWEEN $first AND $final) l ON {_SAME}',
                values,
            ).fetchall()
        return pl.Series([row for (row,) in found], dtype=pl.UInt32)

    def holding(self, tenant: str, entity: str, files: Sequence[Path]) -> set[str]:
        """Those of the files that hold rows of the entity."""
        with self._cursor({}) as cursor:
            found = cursor.execute(
                f"SELECT DISTINCT filename FROM {parquet(files, 'filename = true')} WHERE tenant = $tenant AND"
                " entity = $entity",
                {"tenant": tenant, "entity": entity},
            ).fetchall()
        return {name for (name,) in found}

    @contextmanager
    def stream(
        self, files: Sequence[Path], keep: str, values: Mapping[str, Any], batch_rows: int
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Rows of sorted files for which `keep` holds, sorted, as Arrow batches. Spills what memory cannot sort."""
        order = f"ORDER BY {_listed(ORDER)}" if len(files) > 1 else ""  # one file comes in the order it has
        with self._cursor({}) as cursor:
            yield iter(
                cursor.sql(
                    f"SELECT {_ALL} FROM {parquet(files)} WHERE {keep} {order}", params=dict(values)
                ).to_arrow_reader(batch_rows)
            )

    @contextmanager
    def _cursor(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._of_thread, "cursor", None)
        if cursor is None:
            cursor = self._of_thread.cursor = self._database.cursor()
        for name, frame in frames.items():
            cursor.register(name, frame.to_arrow())
        try:
            yield cursor
        finally:
            for name in frames:
                cursor.unregister(name)


def bucket_frame(found: Sequence[tuple[Any, ...]], how: Aggregation) -> pl.DataFrame:
    """Aggregated rows as a frame: entity, attribute, bucket, then the methods in the order asked for."""
    schema = pl.Schema({"entity": pl.String(), "attribute": pl.String(), "bucket": pl.Int64()})
    schema.update(dict.fromkeys(how.methods, pl.Float64()))
    return pl.DataFrame(found, schema=schema, orient="row")


def _named(names: Sequence[str], prefix: str) -> str:
    return ", ".join(f"${prefix}{i}" for i in range(len(names)))


def parquet(files: Sequence[Path], options: str = "") -> str:
    """A table expression over these files."""
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}]{', ' + options if options else ''})"
