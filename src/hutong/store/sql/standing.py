"""How far jobs stand, in a table."""

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import standing


class SqlStanding:
    """Implements StandingStore."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        made = (sqlite if database.sqlite else postgresql).insert(standing)
        put = made.on_conflict_do_update(index_elements=["job"], set_={"doc": made.excluded.doc})
        self._put = database.prepare(put, "job", "doc")
        self._get = database.prepare(select(standing.c.doc).where(standing.c.job == bindparam("wanted")), "wanted")

    def get(self, job: str) -> bytes | None:
        found = self._database.read(self._get, job)
        return bytes(found[0][0]) if found else None

    def put(self, tx: SqlTransaction, job: str, doc: bytes) -> None:
        tx.one_by_one(self._put, [(job, doc)])
