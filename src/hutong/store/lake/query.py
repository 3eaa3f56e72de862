"""Questions about history as DuckDB SQL over Parquet files and recent rows.

The lake holds no exact repeat (compaction sees to it), and recent rows come here without repeats among themselves.
So the two are compared only where recent rows overlap files in time, and nothing pays for a DISTINCT.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
import pyarrow as pa

from hutong.engines.sense.geometry import admits, geometry
from hutong.engines.sense.history import HistoryPage
from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, Filter, GeoFilter, HistoryQuery, Mark, Method
from hutong.kernel.errors import TooLarge
from hutong.store.lake.conditions import Conditions
from hutong.store.lake.deadline import Deadline
from hutong.store.lake.files import ORDER
from hutong.store.lake.periods import edges
from hutong.store.lake.settings import LakeSettings
from hutong.store.lake.struck import HIT

GONE = "urn:ngsi-ld:null"
"""The text of a computed value that was taken back."""
IDENTITY = ("tenant", "entity", "attribute", "at", "kind", "number", "text", "extra")
"""Two rows that agree in all of these are the same observation."""

_NUMBER = "CASE WHEN kind = 'B' THEN (text = 'true')::DOUBLE ELSE number END"
_LENGTH = "CASE WHEN json_type(extra, '$.v') = 'ARRAY' THEN json_array_length(extra, '$.v')::DOUBLE END"
_ANY_NUMBER = (
    "CASE WHEN kind = 'B' THEN (text = 'true')::DOUBLE WHEN number IS NOT NULL THEN number"
    f" WHEN extra IS NOT NULL AND kind IN ('P', 'T') THEN {_LENGTH} END"
)
_METHODS: Mapping[Method, str] = {
    "totalCount": "count(*)",
    "distinctCount": "count(DISTINCT (kind, coalesce(number::VARCHAR, text, extra)))",
    "sum": "sum({0})",
    "avg": "avg({0})",
    "min": "min({0})",
    "max": "max({0})",
    "stddev": "stddev_pop({0})",
    "sumsq": "sum(({0}) ** 2)",
}
_TEXTS: Mapping[str, str] = {
    "kind": "any_value(kind)",
    **{f"{method} text": f"{method}(text) FILTER (kind = 'P' AND text IS NOT NULL)" for method in ("min", "max")},
}
FEW = 50  # names that stand in a statement; more are looked up in a frame
GEOMETRIES_MAX = 100_000  # that one question may look at


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


def source(
    query: HistoryQuery,
    files: Sequence[Path],
    recent: pl.DataFrame,
    overlapping: Sequence[Path],
    struck: pl.DataFrame | None = None,
) -> Source:
    """What the query is about: rows of `files`, and those of `recent` that are not in `overlapping` too.

    `recent` holds nothing but what the query asks for; of files, rows that are `struck` are left out.
    """
    frames: dict[str, pl.DataFrame] = {}
    whose: dict[str, Any] = {"tenant": query.tenant}
    if len(query.entities) <= FEW:
        whose |= {f"entity{i}": name for i, name in enumerate(query.entities)}
        of_entities = f"tenant = $tenant AND entity IN ({_named(query.entities, 'entity')})"
    else:
        frames["asked"] = pl.DataFrame({"entity": query.entities}, schema={"entity": pl.String})
        of_entities = "tenant = $tenant AND entity IN (SELECT entity FROM asked)"
    if struck is not None:
        frames["struck"] = struck
    parts: list[str] = []
    values: dict[str, Any] = {}
    if files:
        when = {name: at for name, at in (("begin", query.begin), ("end", query.end)) if at is not None}
        which = {f"attribute{i}": name for i, name in enumerate(query.attributes)}
        limits = [
            of_entities,
            _of_attributes(query),
            f'"{query.by}" >= $begin' if "begin" in when else "",
            f'"{query.by}" < $end' if "end" in when else "",
        ]
        parts.append(f"SELECT {_ALL} FROM {kept(files, struck)} WHERE {' AND '.join(filter(None, limits))}")
        values |= whose | which | when
    if recent.height:
        frames["recent"] = recent
        known = (
            ""
            if not overlapping
            else (
                f"ANTI JOIN (SELECT {_listed(IDENTITY)} FROM {kept(overlapping, struck)} WHERE {of_entities}"
                f' AND "at" BETWEEN $overlap_begin AND $overlap_end) l ON {_SAME}'
            )
        )
        parts.append(f"SELECT {_ALL} FROM recent r {known}")
        if known:
            values |= whose | {"overlap_begin": recent["at"].min(), "overlap_end": recent["at"].max()}
    return Source(" UNION ALL ".join(parts), values, frames)


def _of_attributes(query: HistoryQuery) -> str:
    names = [f"$attribute{i}" for i in range(len(query.attributes))]
    if not names:
        return ""
    exact = f"attribute IN ({', '.join(names)})"
    if not query.datasets:
        return exact
    return f"({' OR '.join((exact, *(f'starts_with(attribute, {name} || chr(64))' for name in names)))})"


def settled(of: Source) -> Source:
    """The same without computed values that were corrected or taken back later."""
    word = 'row_number() OVER (PARTITION BY entity, attribute, "at" ORDER BY recorded_at DESC, n DESC)'
    computed = f"(marks & {int(Mark.DERIVED | Mark.FORECAST)}) <> 0"
    last = f"SELECT {_ALL} FROM ({of.sql}) QUALIFY NOT {computed} OR {word} = 1"
    sql = f"SELECT {_ALL} FROM ({last}) WHERE NOT {computed} OR text IS DISTINCT FROM '{GONE}'"
    return Source(sql, of.values, of.frames)


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
        self._deadline = Deadline(settings.question_seconds_max)

    def close(self) -> None:
        self._deadline.close()
        self._database.close()

    def rows(self, query: HistoryQuery, of: Source) -> pl.DataFrame:
        """Rows of HISTORY_SCHEMA in order, `query.limit` at most."""
        chosen, values = _chosen(query, of)
        with self._asking(of.frames) as cursor:
            found = cursor.sql(
                f"{chosen} ORDER BY {_listed(ORDER)} LIMIT $rows", params=values | {"rows": query.limit}
            ).to_arrow_table()
        return _frame(found)

    def page(self, query: HistoryQuery, rows: int, of: Source) -> HistoryPage:
        """The earliest rows (with `last`, the latest), about so many: whole moments."""
        chosen, values = _chosen(query, of)
        by, backwards = query.by, query.last is not None
        order = f'"{by}" {"DESC" if backwards else "ASC"}, {_listed(ORDER)}'
        with self._asking(of.frames) as cursor:
            found = _frame(
                cursor.sql(
                    f"{chosen} ORDER BY {order} LIMIT $rows", params=values | {"rows": rows + 1}
                ).to_arrow_table()
            )
            if found.height <= rows:
                return HistoryPage(rows=found.sort(ORDER, maintain_order=True))
            until, page = int(found[by][rows - 1]), found.head(rows)
            if found[by][rows] == until:
                side = ">=" if backwards else "<="
                whole = f'SELECT * FROM ({chosen}) WHERE "{by}" {side} $until LIMIT $rows'
                page = _frame(
                    cursor.sql(whole, params=values | {"until": until, "rows": query.limit + 1}).to_arrow_table()
                )
                if page.height > query.limit:
                    raise TooLarge(
                        "too many observations at one moment", allowed=str(query.limit), fix="ask for fewer attributes"
                    )
            there = cursor.execute(
                f"SELECT entity, attribute, any_value(kind) FROM ({chosen}) GROUP BY ALL ORDER BY ALL", values
            ).fetchall()
        return HistoryPage(rows=page.sort(ORDER, maintain_order=True), until=until, there=tuple(there))

    def instance(self, query: HistoryQuery, id: str, of: Source) -> pl.DataFrame:
        """Rows that say in `extra` that they are this instance."""
        sql = f"SELECT {_ALL} FROM ({of.sql}) WHERE extra IS NOT NULL AND json_extract_string(extra, '$.i') = $id"
        with self._asking(of.frames) as cursor:
            return _frame(cursor.sql(sql, params=of.values | {"id": id}).to_arrow_table())

    def moments(self, moments: pl.DataFrame, of: Source) -> pl.DataFrame:
        """Rows that agree with a frame of attribute and at."""
        sql = f'SELECT {_ALL} FROM ({of.sql}) SEMI JOIN moments USING (attribute, "at") LIMIT $rows'
        with self._asking({**of.frames, "moments": moments}) as cursor:
            return _frame(cursor.sql(sql, params=of.values | {"rows": 10 * moments.height + FEW}).to_arrow_table())

    def matching(self, attributes: Sequence[str], where: Filter | None, geo: GeoFilter | None, of: Source) -> list[str]:
        """The entities, sorted, whose rows have one of the attributes (none: any) and pass the filters."""
        conditions = Conditions()
        having = [f"({conditions.has(attributes)})"] if attributes else []
        having += [conditions.holds(where)] if where is not None else []
        kept = f"HAVING {' AND '.join(having)}" if having else ""
        with self._asking(of.frames) as cursor:
            found = cursor.execute(
                f"SELECT entity FROM ({of.sql}) GROUP BY entity {kept} ORDER BY entity", of.values | conditions.values
            ).fetchall()
            inside = None if geo is None else self._inside(cursor, geo, of)
        return [name for (name,) in found if inside is None or name in inside]

    @staticmethod
    def _inside(cursor: duckdb.DuckDBPyConnection, geo: GeoFilter, of: Source) -> set[str]:
        conditions = Conditions()
        named = conditions.named(geo.attribute)
        found = cursor.execute(
            f"SELECT DISTINCT entity, json_extract(extra, '$.v')::VARCHAR FROM ({of.sql}) WHERE kind = 'G' AND {named}"
            f" AND extra IS NOT NULL LIMIT {GEOMETRIES_MAX + 1}",
            of.values | conditions.values,
        ).fetchall()
        if len(found) > GEOMETRIES_MAX:
            raise TooLarge(
                "too many places were told of in this time", allowed=str(GEOMETRIES_MAX), fix="name a shorter time"
            )
        matches = admits(geo)
        return {entity for entity, text in found if matches(geometry(msgspec.json.decode(text)))}

    def buckets(self, query: HistoryQuery, how: Aggregation, of: Source) -> pl.DataFrame:
        """Entity, attribute, bucket and one Float64 for each method, in order; `last` and `limit` count buckets."""
        frames, ends = of.frames, ""
        origin = "(SELECT min(t) FROM source)" if query.begin is None else f"{query.begin}::BIGINT"
        bucket = f"t - (t - {origin}) % {how.period}" if how.period else origin
        if how.months:
            frames = frames | {"edges": self._edges(query, how, of)}
            bucket, ends = "e.bucket", "ASOF JOIN edges e ON t >= e.bucket"
        # A name that can only be one is not grouped by: that spares a quarter of a short query.
        single = {
            name: only[0]
            for name, only in (("entity", query.entities), ("attribute", query.attributes))
            if len(only) == 1 and not (name == "attribute" and query.datasets)
        }
        names = {name: f"${name}::VARCHAR" if name in single else f'"{name}"' for name in ("entity", "attribute")}
        number = _ANY_NUMBER if how.texts else _NUMBER
        columns = [
            *(f'{sql} AS "{name}"' for name, sql in names.items()),
            f"{bucket} AS bucket",
            *(f'({_METHODS[method].format(number)})::DOUBLE AS "{method}"' for method in how.methods),
            *(f'{_TEXTS[name]} AS "{name}"' for name in texts_of(how)),
            *(["any_value(e.until) AS until"] if how.months else []),
        ]
        groups = [f'"{name}"' for name in names if name not in single]
        latest = (
            ""
            if query.last is None
            else "QUALIFY row_number() OVER (PARTITION BY entity, attribute ORDER BY bucket DESC) <= $last"
        )
        sql = (
            f'WITH source AS (SELECT *, "{query.by}" AS t FROM ({of.sql})), grouped AS (SELECT {", ".join(columns)}'
            f" FROM source {ends} GROUP BY {', '.join((*groups, 'bucket'))}) "
            f"SELECT * FROM grouped {latest} ORDER BY entity, attribute, bucket LIMIT $rows"
        )
        values = of.values | single | {"rows": query.limit} | ({} if query.last is None else {"last": query.last})
        with self._asking(frames) as cursor:
            found = cursor.execute(sql, values).fetchall()
        return bucket_frame(found, how)

    def frame(self, sql: str, values: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """The answer of any SELECT over files and frames."""
        with self._cursor(frames) as cursor:
            return pl.DataFrame(cursor.sql(sql, params=dict(values)).to_arrow_table())

    def _edges(self, query: HistoryQuery, how: Aggregation, of: Source) -> pl.DataFrame:
        """Where buckets of calendar months begin and end, over all that was found."""
        with self._asking(of.frames) as cursor:
            low, high = cursor.execute(
                f'SELECT min("{query.by}"), max("{query.by}") FROM ({of.sql})', of.values
            ).fetchall()[0]
        begins = [] if low is None else edges(low if query.begin is None else query.begin, high, how.months, how.period)
        return pl.DataFrame(list(pairwise(begins)), schema={"bucket": pl.Int64, "until": pl.Int64}, orient="row")

    def present(self, rows: pl.DataFrame, files: Sequence[Path], struck: pl.DataFrame | None = None) -> pl.Series:
        """Positions of the rows that are in the files too, and not struck there."""
        values = {
            "begin": rows["at"].min(),
            "end": rows["at"].max(),
            "first": rows["entity"].min(),
            "final": rows["entity"].max(),
        }
        frames = {"asked": rows.select(IDENTITY).with_row_index("row")}
        with self._cursor(frames if struck is None else {**frames, "struck": struck}) as cursor:
            found = cursor.execute(
                f"SELECT r.row FROM asked r SEMI JOIN (SELECT {_listed(IDENTITY)} FROM {kept(files, struck)} WHERE"
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

    def hit(self, struck: pl.DataFrame, files: Sequence[Path]) -> set[str]:
        """Those of the files that hold rows that are struck."""
        with self._cursor({"struck": struck}) as cursor:
            found = cursor.execute(
                f"SELECT DISTINCT filename FROM {parquet(files, 'filename = true')} s SEMI JOIN struck d ON {HIT}"
            ).fetchall()
        return {name for (name,) in found}

    @contextmanager
    def stream(
        self,
        files: Sequence[Path],
        keep: str,
        values: Mapping[str, Any],
        batch_rows: int,
        struck: pl.DataFrame | None = None,
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Rows of sorted files for which `keep` holds, sorted, as Arrow batches. Spills what memory cannot sort."""
        # One file comes in the order it has, unless a join may disturb it.
        order = f"ORDER BY {_listed(ORDER)}" if len(files) > 1 or struck is not None else ""
        with self._cursor({} if struck is None else {"struck": struck}) as cursor:
            yield iter(
                cursor.sql(
                    f"SELECT {_ALL} FROM {kept(files, struck)} WHERE {keep} {order}", params=dict(values)
                ).to_arrow_reader(batch_rows)
            )

    @contextmanager
    def _asking(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for a question that may not take for ever. Raises TooLarge."""
        with self._cursor(frames) as cursor, self._deadline.of(cursor):
            yield cursor

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


def texts_of(how: Aggregation) -> list[str]:
    """The columns of texts that go with an aggregation."""
    return ["kind", *(f"{method} text" for method in how.methods if method in ("min", "max"))] if how.texts else []


def bucket_frame(found: Sequence[tuple[Any, ...]], how: Aggregation) -> pl.DataFrame:
    """Aggregated rows as a frame: entity, attribute, bucket, then the methods in the order asked for."""
    schema = pl.Schema({"entity": pl.String(), "attribute": pl.String(), "bucket": pl.Int64()})
    schema.update(dict.fromkeys(how.methods, pl.Float64()))
    schema.update(dict.fromkeys(texts_of(how), pl.String()))
    if how.months:
        schema["until"] = pl.Int64()
    return pl.DataFrame(found, schema=schema, orient="row")


def _chosen(query: HistoryQuery, of: Source) -> tuple[str, dict[str, Any]]:
    """The rows asked for, at most so many of the latest or earliest of each attribute; and the parameters."""
    number = query.last if query.last is not None else query.first
    if number is None:
        return f"SELECT {_ALL} FROM ({of.sql})", of.values
    order = "DESC" if query.last is not None else "ASC"
    rank = f'row_number() OVER (PARTITION BY entity, attribute ORDER BY "{query.by}" {order}, n {order})'
    return f"SELECT {_ALL} FROM ({of.sql}) QUALIFY {rank} <= $ranks", of.values | {"ranks": number}


def _frame(found: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(found).cast(pl.Schema(HISTORY_SCHEMA))


def _named(names: Sequence[str], prefix: str) -> str:
    return ", ".join(f"${prefix}{i}" for i in range(len(names)))


def kept(files: Sequence[Path], struck: pl.DataFrame | None) -> str:
    """The rows of files without those that are struck, as a table expression."""
    return parquet(files) if struck is None else f"(SELECT s.* FROM {parquet(files)} s ANTI JOIN struck d ON {HIT})"


def parquet(files: Sequence[Path], options: str = "") -> str:
    """A table expression over these files."""
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}]{', ' + options if options else ''})"
