"""Bookmarks in SQL."""

from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import bookmark


class SqlBookmarks:
    """Implements Bookmarks of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        made = (sqlite if database.sqlite else postgresql).insert(bookmark)
        values: dict[str, Any] = {name: bindparam(name) for name in ("name", "content")}
        upsert = made.values(values).on_conflict_do_update(
            index_elements=["name"], set_={"content": made.excluded.content}
        )
        self._upsert = database.prepare(upsert, *values)
        self._select = database.prepare(select(bookmark.c.content).where(bookmark.c.name == bindparam("of")), "of")

    def read(self, name: str) -> bytes | None:
        found = self._database.read(self._select, name)
        return bytes(found[0][0]) if found else None

    def write(self, tx: SqlTransaction, name: str, content: bytes) -> None:
        tx.one_by_one(self._upsert, [(name, content)])
