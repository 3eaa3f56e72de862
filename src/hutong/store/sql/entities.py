"""Entities as they stand now, in SQL."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from hutong.engines.sense.ports import EntityQuery, EntityRow, Form, GeoFilter, InUse, Selector
from hutong.engines.sense.watch import LIVE_LAG_MAX
from hutong.kernel.errors import TooLarge
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.filters import JsonPlace, condition, number_index
from hutong.store.sql.geo import matcher, reach
from hutong.store.sql.tables import entity, entity_type

_FIELDS = tuple(EntityRow.__struct_fields__)
_WRITTEN = tuple(name for name in _FIELDS if name != "seq")
_CHANGED = tuple(name for name in _WRITTEN if name not in ("tenant", "id"))
_LIVELY = ("doc", "version", "modified_at", "observed_at", "source", "rules")  # most updates change no more than these
_new_values, _changed_values, _lively_values = (
    attrgetter(*names) for names in (_WRITTEN, (*_CHANGED, "seq"), (*_LIVELY, "seq"))
)
STREAM_PAGE = 5_000
GEO_CANDIDATES_MAX = 200_000
IN_USE_MAX = 10_000  # attributes by type and kind


class SqlEntities:
    """Implements EntityStore of the sense engine."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._indexed: set[tuple[str, str]] = set()
        self._columns = [
            cast(entity.c.doc, Text).label("doc") if name == "doc" and not database.sqlite else entity.c[name]
            for name in _FIELDS
        ]
        prepare = database.prepare
        tenant: BindParameter[str] = bindparam("tenant")
        id_: BindParameter[str] = bindparam("id")
        chosen = and_(entity.c.tenant == tenant, database.among(entity.c.id, "ids"))
        self._load = prepare(select(*self._columns).where(chosen), "tenant", "ids")
        self._delete = prepare(entity.delete().where(chosen), "tenant", "ids")
        self._delete_types = prepare(
            entity_type.delete().where(entity_type.c.tenant == tenant, database.among(entity_type.c.id, "ids")),
            "tenant",
            "ids",
        )
        self._get = prepare(select(*self._columns).where(entity.c.tenant == tenant, entity.c.id == id_), "tenant", "id")
        self._insert = prepare(entity.insert().values({name: bindparam(name) for name in _WRITTEN}), *_WRITTEN)
        self._update, self._refresh = (
            prepare(
                entity.update()
                .where(entity.c.seq == bindparam("row"))
                .values({name: bindparam(name) for name in names}),
                *names,
                "row",
            )
            for names in (_CHANGED, _LIVELY)
        )
        self._insert_type = prepare(entity_type.insert(), "tenant", "type", "id")
        self._page = prepare(
            select(*self._columns)
            .where(tuple_(entity.c.tenant, entity.c.id) > tuple_(tenant, id_))
            .order_by(entity.c.tenant, entity.c.id)
            .limit(literal_column(str(STREAM_PAGE))),
            "tenant",
            "id",
        )

    def load(self, tx: SqlTransaction, tenant: str, ids: Sequence[str]) -> dict[str, EntityRow]:
        return {row.id: row for row in map(_row, tx.rows(self._load, tenant, self._database.listed(ids)))}

    def save(
        self,
        tx: SqlTransaction,
        new: Sequence[EntityRow],
        known: Sequence[EntityRow],
        settled: Sequence[EntityRow] = (),
    ) -> None:
        if new:
            tx.one_by_one(self._insert, map(_new_values, new))
        if known:
            tx.one_by_one(self._update, map(_changed_values, known))
        if settled:
            tx.one_by_one(self._refresh, map(_lively_values, settled))
        several = [row for row in (*new, *known) if row.types]
        if several:
            for row in several:
                tx.rows_affected(self._delete_types, row.tenant, self._database.listed([row.id]))
            tx.one_by_one(
                self._insert_type, [(row.tenant, name, row.id) for row in several for name in json.loads(row.types)]
            )

    def delete(self, tx: SqlTransaction, tenant: str, ids: Sequence[str]) -> None:
        tx.rows_affected(self._delete, tenant, self._database.listed(ids))
        tx.rows_affected(self._delete_types, tenant, self._database.listed(ids))

    def get(self, tenant: str, id: str) -> EntityRow | None:
        rows = self._database.read(self._get, tenant, id)
        return _row(rows[0]) if rows else None

    def find(self, query: EntityQuery) -> list[EntityRow]:
        statement = select(*self._columns).where(*self._conditions(query)).order_by(entity.c.seq)
        if query.geo is None:
            return [
                _row(values)
                for values in self._database.query(
                    statement.limit(literal_column(str(query.limit))).offset(literal_column(str(query.offset)))
                )
            ]
        inside = self._inside(statement, query.geo)
        return [row for _, row in zip(range(query.offset + query.limit), inside, strict=False)][query.offset :]

    def count(self, query: EntityQuery) -> int:
        if query.geo is None:
            return int(
                self._database.query(select(func.count()).select_from(entity).where(*self._conditions(query)))[0][0]
            )
        return sum(
            1
            for _ in self._inside(
                select(*self._columns).where(*self._conditions(query)).order_by(entity.c.seq), query.geo
            )
        )

    def each(self) -> Iterator[EntityRow]:
        last = ("", "")
        while rows := [_row(values) for values in self._database.read(self._page, *last)]:
            yield from rows
            last = (rows[-1].tenant, rows[-1].id)

    def types(self, tenant: str) -> dict[str, int]:
        """Each type in use and how many entities have it."""
        found: Counter[str] = Counter()
        for names, there in self._typed(tenant):
            for name, count in self._database.query(select(names, func.count()).where(*there).group_by(names)):
                found[name] += count
        return dict(found)

    def in_use(self, tenant: str, type: str, attribute: str) -> list[InUse]:
        sqlite = self._database.sqlite
        each = (func.json_each if sqlite else func.jsonb_each)(entity.c.doc).table_valued("key", "value")
        key, value = each.c.key, each.c.value
        name = func.substr(key, 1, func.instr(key + "@", "@") - 1) if sqlite else func.split_part(key, "@", 1)
        letter = func.json_extract(value, "$.k") if sqlite else cast(value, JSONB).op("->>")("k")
        found: Counter[tuple[str, str, str]] = Counter()
        for names, there in self._typed(tenant):
            columns = (names.label("t"), name.label("a"), func.coalesce(letter, "P").label("k"))
            asked = select(*columns, func.count()).select_from(entity, each).where(*there)
            if type:
                asked = asked.where(names == literal(type))
            if attribute:
                asked = asked.where(name == literal(attribute))
            grouped = asked.group_by(literal_column("t"), literal_column("a"), literal_column("k"))
            for *what, count in self._database.query(grouped.limit(literal_column(str(IN_USE_MAX)))):
                found[what[0], what[1], what[2]] += count
        return [InUse(*what, count) for what, count in sorted(found.items())]

    @staticmethod
    def _typed(tenant: str) -> list[tuple[ColumnElement[str], list[ColumnElement[bool]]]]:
        """Entities of one type, and of several: where their types stand, and the conditions that join them."""
        own = entity.c.tenant == literal(tenant)
        several = [entity_type.c.tenant == entity.c.tenant, entity_type.c.id == entity.c.id]
        return [(entity.c.type, [own, entity.c.types == literal("")]), (entity_type.c.type, [own, *several])]

    def table(
        self, type: str, columns: Sequence[str], properties: Mapping[str, Form], limit: int
    ) -> list[tuple[Any, ...]]:
        wanted = [
            JsonPlace(self._database.sqlite, (name, "v")).read(properties[name]).label(f"c{n}")
            if name in properties
            else entity.c[name]
            for n, name in enumerate(columns)
        ]
        return [
            tuple(values)
            for values in self._database.query(
                select(*wanted)
                .where(entity.c.tenant == literal(""), entity.c.type == _literal(type))
                .order_by(entity.c.seq)
                .limit(literal_column(str(limit)))
            )
        ]

    def index(self, type: str, number: str) -> None:
        """See to it that comparisons of a declared number of a type find an index."""
        self._indexed.add((type, number))
        self._partial_index(f"entity_{type}_{number}", type, str(number_index(self._database.sqlite, number)))

    def index_silence(self, type: str) -> None:
        """See to it that `silent` finds an index."""
        self._partial_index(f"entity_{type}_silence", type, "observed_at")

    def _partial_index(self, name: str, type: str, expression: str) -> None:
        safe = re.sub(r"\W", "_", name)[:60]
        of_type = type.replace("'", "''")
        with self._database.engine.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE INDEX IF NOT EXISTS {safe} ON entity "
                f"({expression.replace('entity.', '')}) WHERE type = '{of_type}'"
            )

    def silent(self, type: str, before: int, rule: str, sources: Sequence[str], limit: int) -> list[EntityRow]:
        return [
            _row(values)
            for values in self._database.query(
                select(*self._columns)
                .where(
                    entity.c.type == _literal(type),
                    entity.c.observed_at < before,
                    or_(
                        entity.c.modified_at - entity.c.observed_at <= LIVE_LAG_MAX,
                        entity.c.source.in_([literal(source) for source in sources]),
                    ),
                    not_(entity.c.rules.contains(f'"{rule}"', autoescape=True)),
                )
                .order_by(entity.c.observed_at)
                .limit(literal_column(str(limit)))
            )
        ]

    def _conditions(self, query: EntityQuery) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [entity.c.tenant == literal(query.tenant)]
        found += self._selected(query)
        if query.selectors:
            found.append(or_(*(and_(true(), *self._selected(one)) for one in query.selectors)))
        if query.first_types is not None:
            found.append(self._database.one_of(entity.c.type, query.first_types))
        if query.attributes:
            found.append(or_(*(self._has(name) for name in query.attributes)))
        if query.where is not None:
            scalars = {
                name
                for _, name in self._indexed
                if query.types and all((kind, name) in self._indexed for together in query.types for kind in together)
            }
            found.append(condition(self._database.sqlite, query.where, scalars))
        if query.scopes:
            found.append(or_(*(and_(*(in_scope(entity.c.scopes, one) for one in some)) for some in query.scopes)))
        if query.place:
            found.append(and_(entity.c.place >= query.place, entity.c.place < query.place + "~"))
        if query.geo is not None and query.geo.attribute == "location":
            found.append(_near(query.geo))
        return found

    def _selected(self, asked: EntityQuery | Selector) -> Iterator[ColumnElement[bool]]:
        if asked.ids:
            yield entity.c.id.in_([literal(one) for one in asked.ids])
        if asked.id_pattern:
            yield entity.c.id.regexp_match(asked.id_pattern)
        if asked.types:
            yield or_(*(and_(*(self._of_type(name) for name in together)) for together in asked.types))

    def _of_type(self, name: str) -> ColumnElement[bool]:
        extra = select(entity_type.c.id).where(
            entity_type.c.tenant == entity.c.tenant, entity_type.c.type == literal(name)
        )
        if not self._several_types():
            return entity.c.type == _literal(name)
        return or_(entity.c.type == _literal(name), entity.c.id.in_(extra))

    def _several_types(self) -> bool:
        """Whether any entity has more than one type; without, the plain index on type answers alone."""
        return bool(
            self._database.query(select(literal_column("1")).select_from(entity_type).limit(literal_column("1")))
        )

    def _has(self, name: str) -> ColumnElement[bool]:
        if self._database.sqlite:
            return JsonPlace(True, (name,)).type().is_not(None)
        return entity.c.doc.op("?")(literal(name))

    def _inside(self, statement: Select[Any], geo: GeoFilter) -> Iterator[EntityRow]:
        """Rows that the exact geometry admits, read page by page."""
        matches, seq, seen = matcher(geo), 0, 0
        while rows := [
            _row(values)
            for values in self._database.query(
                statement.where(entity.c.seq > seq).limit(literal_column(str(STREAM_PAGE)))
            )
        ]:
            yield from (row for row in rows if matches(row))
            seq, seen = rows[-1].seq, seen + len(rows)
            if seen > GEO_CANDIDATES_MAX:
                raise TooLarge(
                    "too many things lie near that geometry",
                    allowed=f"{GEO_CANDIDATES_MAX} candidates",
                    fix="name a type or a smaller area",
                )


def _row(values: Sequence[Any]) -> EntityRow:
    return EntityRow(*values)  # selected in the order of its fields


def in_scope(scopes: ColumnElement[str], scope: str) -> ColumnElement[bool]:
    """NGSI-LD scope query: `/a/b` itself, `/a/#` it and all below, `+` any one level."""
    if scope.endswith("/#"):
        pattern = f'"{scope[:-2]}(/[^"]*)?"'
    else:
        pattern = f'"{scope}"'
    return scopes.regexp_match(pattern.replace("+", '[^/"]+'))


def _near(geo: GeoFilter) -> ColumnElement[bool]:
    """Bounding boxes that can match; exact geometry decides among them."""
    box = reach(geo)
    if box is None:
        return entity.c.west.is_not(None)
    west, south, east, north = box
    return and_(entity.c.west <= east, entity.c.east >= west, entity.c.south <= north, entity.c.north >= south)


def _literal(name: str) -> ColumnElement[str]:
    """A type written into the statement: SQLite uses a partial index only where it sees the value."""
    return literal(name, literal_execute=True)
