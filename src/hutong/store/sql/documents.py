"""Documents that clients keep, in SQL."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Integer as Int
from sqlalchemy import bindparam, func, literal, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from hutong.engines.sense.documents import Document
from hutong.kernel.access import Actor
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import document

_FIELDS = tuple(Document.__struct_fields__)
_KEY = ("tenant", "kind", "id")
_OWNER = msgspec.json.Decoder(Actor | None)
PAGE = 1_000


class SqlDocuments:
    """Implements DocumentStore of the sense engine."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        prepare, columns = database.prepare, [document.c[name] for name in _FIELDS]
        of_kind = [document.c[name] == bindparam(f"the_{name}") for name in _KEY[:2]]
        one = [*of_kind, document.c.id == bindparam("the_id")]
        names, whole = ("the_tenant", "the_kind"), ("the_tenant", "the_kind", "the_id")
        insert = (sqlite if database.sqlite else postgresql).insert(document)
        kept = {name: insert.excluded[name] for name in _FIELDS if name not in _KEY}
        self._save = prepare(insert.on_conflict_do_update(index_elements=list(_KEY), set_=kept), *_FIELDS)
        self._get = prepare(select(*columns).where(*one), *whole)
        self._delete = prepare(document.delete().where(*one), *whole)
        self._count = prepare(select(func.count()).select_from(document).where(*of_kind), *names)
        in_order = select(*columns).where(*of_kind).order_by(document.c.created_at, document.c.id)
        page = in_order.limit(bindparam("most", type_=Int)).offset(bindparam("skip", type_=Int))
        self._list = prepare(page, *names, "most", "skip")

    def load(self, tx: SqlTransaction, tenant: str, kind: str, id: str) -> Document | None:
        rows = tx.rows(self._get, tenant, kind, id)
        return _document(rows[0]) if rows else None

    def number(self, tx: SqlTransaction, tenant: str, kind: str) -> int:
        return int(tx.rows(self._count, tenant, kind)[0][0])

    def page(self, tx: SqlTransaction, tenant: str, kind: str, limit: int, offset: int = 0) -> list[Document]:
        return [_document(row) for row in tx.rows(self._list, tenant, kind, limit, offset)]

    def save(self, tx: SqlTransaction, documents: Iterable[Document]) -> None:
        tx.one_by_one(self._save, [_row(one) for one in documents])

    def delete(self, tx: SqlTransaction, tenant: str, kind: str, id: str) -> bool:
        return tx.rows_affected(self._delete, tenant, kind, id) == 1

    def get(self, tenant: str, kind: str, id: str) -> Document | None:
        rows = self._database.read(self._get, tenant, kind, id)
        return _document(rows[0]) if rows else None

    def list(self, tenant: str, kind: str, limit: int, offset: int = 0) -> list[Document]:
        return [_document(row) for row in self._database.read(self._list, tenant, kind, limit, offset)]

    def count(self, tenant: str, kind: str) -> int:
        return int(self._database.read(self._count, tenant, kind)[0][0])

    def each(self, kind: str = "") -> Iterator[Document]:
        key = [document.c[name] for name in _KEY]
        statement = select(*(document.c[name] for name in _FIELDS)).order_by(*key).limit(literal(PAGE))
        if kind:
            statement = statement.where(document.c.kind == kind)
        page = statement
        while found := [_document(row) for row in self._database.query(page)]:
            yield from found
            last = found[-1]
            page = statement.where(tuple_(*key) > tuple_(literal(last.tenant), literal(last.kind), literal(last.id)))


def _row(one: Document) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(one) | {"owner": msgspec.json.encode(one.owner)}
    return tuple(fields[name] for name in _FIELDS)


def _document(row: Sequence[Any]) -> Document:
    fields = dict(zip(_FIELDS, row, strict=True))
    return Document(**fields | {"body": bytes(fields["body"]), "owner": _OWNER.decode(fields["owner"])})
