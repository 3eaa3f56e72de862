"""What is known of entities beside their present and their rows of history, in SQL."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy import Text as SqlText
from sqlalchemy.dialects import postgresql, sqlite

from hutong.engines.sense.history import Deletion, Forgotten, Past, PastChange
from hutong.engines.sense.ports import EntityQuery, Selector
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.entities import in_scope
from hutong.store.sql.tables import attribute_deletion, entity, entity_past, entity_type

_PAST = tuple(Past.__struct_fields__)
_DELETION = tuple(Deletion.__struct_fields__)
_LISTS = ("types", "scopes")
PAGE = 5_000


class SqlPast:
    """Implements PastStore of the sense engine."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._columns = [entity_past.c[name] for name in _PAST]
        self._deletion_columns = [attribute_deletion.c[name] for name in _DELETION]
        prepare = database.prepare
        tenant: BindParameter[str] = bindparam("the_tenant")
        insert = (sqlite if database.sqlite else postgresql).insert
        past = insert(entity_past)
        kept = {name: past.excluded[name] for name in _PAST if name not in ("tenant", "id")}
        self._save = prepare(past.on_conflict_do_update(index_elements=["tenant", "id"], set_=kept), *_PAST)
        self._note = prepare(insert(attribute_deletion).on_conflict_do_nothing(), *_DELETION)
        chosen = and_(entity_past.c.tenant == tenant, database.among(entity_past.c.id, "ids"))
        self._load = prepare(select(*self._columns).where(chosen), "the_tenant", "ids")
        self._drop = prepare(entity_past.delete().where(chosen), "the_tenant", "ids")
        of_entity = and_(attribute_deletion.c.tenant == tenant, database.among(attribute_deletion.c.entity, "ids"))
        self._drop_deletions = prepare(attribute_deletion.delete().where(of_entity), "the_tenant", "ids")
        attribute = attribute_deletion.c.attribute
        exact, of_any = attribute == bindparam("name"), func.substr(attribute, 1, bindparam("length"))
        self._drop_exact, self._drop_any = (
            prepare(attribute_deletion.delete().where(of_entity, condition), "the_tenant", "ids", *names)
            for condition, names in ((exact, ("name",)), (of_any == bindparam("start"), ("length", "start")))
        )
        key = [attribute_deletion.c[name] for name in ("entity", "attribute", "at")]
        self._deletions = prepare(select(*self._deletion_columns).where(of_entity).order_by(*key), "the_tenant", "ids")

    def load(self, tx: SqlTransaction, tenant: str, ids: Sequence[str]) -> dict[str, Past]:
        return {one.id: one for one in map(_past, tx.rows(self._load, tenant, self._database.listed(ids)))}

    def apply(self, tx: SqlTransaction, changes: Sequence[PastChange]) -> None:
        for kind, group in groupby(changes, type):
            some: list[Any] = list(group)
            if kind is Past:
                tx.one_by_one(self._save, [_row(one) for one in some])
            elif kind is Deletion:
                tx.one_by_one(self._note, [tuple(getattr(one, name) for name in _DELETION) for one in some])
            else:
                for one in some:
                    self._forget(tx, one)

    def _forget(self, tx: SqlTransaction, gone: Forgotten) -> None:
        ids = self._database.listed([gone.entity])
        if not gone.attribute:
            tx.rows_affected(self._drop, gone.tenant, ids)
            tx.rows_affected(self._drop_deletions, gone.tenant, ids)
            return
        tx.rows_affected(self._drop_exact, gone.tenant, ids, gone.attribute)
        if gone.datasets:
            start = f"{gone.attribute}@"
            tx.rows_affected(self._drop_any, gone.tenant, ids, len(start), start)

    def get(self, tenant: str, id: str) -> Past | None:
        rows = self._database.read(self._load, tenant, self._database.listed([id]))
        return _past(rows[0]) if rows else None

    def deletions(self, tenant: str, ids: Sequence[str]) -> list[Deletion]:
        found = self._database.read(self._deletions, tenant, self._database.listed(ids))
        return [_deletion(row) for row in found]

    def known(self, query: EntityQuery, after: str, limit: int) -> list[Past]:
        pages = (self._page(table, query, after, limit) for table in (entity_past, entity))
        both = union_all(*(select(page.subquery()) for page in pages)).subquery()
        ordered = select(both).order_by(both.c.id, both.c.present).limit(literal_column(str(limit)))
        by_id: dict[str, Past] = {}
        for *row, _ in self._database.query(ordered):
            one = _past(row)  # the present comes last and has the last word, but for the types of the past
            before = by_id.get(one.id)
            types = one.types if before is None else tuple(dict.fromkeys((*one.types, *before.types)))
            by_id[one.id] = msgspec.structs.replace(one, types=types)
        return list(by_id.values())

    def each(self) -> Iterator[Past]:
        last = ("", "")
        key = [entity_past.c.tenant, entity_past.c.id]
        statement = select(*self._columns).order_by(*key).limit(literal(PAGE))
        while found := [_past(r) for r in self._database.query(statement.where(tuple_(*key) > tuple_(*_bound(last))))]:
            yield from found
            last = (found[-1].tenant, found[-1].id)

    def each_deletion(self) -> Iterator[Deletion]:
        key = [attribute_deletion.c[name] for name in ("tenant", "entity", "attribute", "at")]
        statement = select(*self._deletion_columns).order_by(*key).limit(literal(PAGE))
        page = statement
        while found := [_deletion(row) for row in self._database.query(page)]:
            yield from found
            last = found[-1]
            place = (last.tenant, last.entity, last.attribute, last.at)
            page = statement.where(tuple_(*key) > tuple_(*_bound(place)))

    def _page(self, table: Table, query: EntityQuery, after: str, limit: int) -> Select[Any]:
        never = cast(null(), BigInteger).label("deleted_at")
        columns = [table.c.get(name, never) for name in _PAST]
        return (
            select(*columns, literal_column(str(int(table is entity))).label("present"))
            .where(*self._conditions(table, query), table.c.id > literal(after))
            .order_by(table.c.id)
            .limit(literal_column(str(limit)))
        )

    def _conditions(self, table: Table, query: EntityQuery) -> Iterator[ColumnElement[bool]]:
        yield table.c.tenant == literal(query.tenant)
        yield from self._selected(table, query)
        if query.selectors:
            yield or_(*(and_(true(), *self._selected(table, one)) for one in query.selectors))
        if query.first_types is not None:
            yield self._database.one_of(table.c.type, query.first_types)
        if query.scopes:
            yield or_(*(and_(*(in_scope(table.c.scopes, one) for one in some)) for some in query.scopes))

    def _selected(self, table: Table, asked: EntityQuery | Selector) -> Iterator[ColumnElement[bool]]:
        if asked.ids:
            yield self._database.one_of(table.c.id, asked.ids)
        if asked.id_pattern:
            yield table.c.id.regexp_match(asked.id_pattern)
        if asked.types:
            yield or_(*(and_(*(self._of_type(table, name) for name in together)) for together in asked.types))

    def _of_type(self, table: Table, name: str) -> ColumnElement[bool]:
        """An entity is of the types that it has, and of those that its history was told with."""
        several = select(entity_type.c.id).where(
            entity_type.c.tenant == table.c.tenant, entity_type.c.type == literal(name)
        )
        listed = entity_past.c.types.contains(msgspec.json.encode(name).decode(), autoescape=True)
        past = select(entity_past.c.id).where(entity_past.c.tenant == table.c.tenant, listed)
        return or_(table.c.type == literal(name), table.c.id.in_(several), table.c.id.in_(past))


def _bound(values: Sequence[Any]) -> list[Any]:
    return [cast(literal(value), SqlText) if isinstance(value, str) else literal(value) for value in values]


def _row(one: Past) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(one)
    return tuple(msgspec.json.encode(values[n]).decode() if n in _LISTS else values[n] for n in _PAST)


def _past(row: Sequence[Any]) -> Past:
    """From a row of entity_past, or of entity, where an empty list of types stands for the first one alone."""
    values = dict(zip(_PAST, row, strict=True))
    for name in _LISTS:
        values[name] = tuple(msgspec.json.decode(values[name])) if values[name] else ()
    return Past(**values | {"types": values["types"] or (values["type"],)})


def _deletion(row: Sequence[Any]) -> Deletion:
    return Deletion(**dict(zip(_DELETION, row, strict=True)))
