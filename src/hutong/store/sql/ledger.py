"""The ledger's rows, payloads, outcomes and cursors in SQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from hutong.kernel.ledger import Entry, Position, Row
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import command, cursor, ledger_payload, ledger_row

_COLUMNS = tuple(Row.__struct_fields__)


class SqlLedger:
    """Implements LedgerStore and CursorStore of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        dialect = sqlite if database.sqlite else postgresql
        self._insert_row = database.prepare(ledger_row.insert(), *_COLUMNS)
        self._insert_payload = database.prepare(ledger_payload.insert(), "lane", "n", "bytes", "key_id")
        self._insert_outcome = database.prepare(dialect.insert(command).on_conflict_do_nothing(), "id", "outcome", "at")
        self._outcomes = database.prepare(
            select(command.c.id, command.c.outcome).where(database.among(command.c.id, "ids")), "ids"
        )
        move = dialect.insert(cursor)
        self._move_cursor = database.prepare(
            move.on_conflict_do_update(index_elements=["name", "lane"], set_={"n": move.excluded.n}),
            "name",
            "lane",
            "n",
        )

    def last(self, lane: str) -> Row | None:
        rows = self._database.query(
            select(ledger_row).where(ledger_row.c.lane == lane).order_by(ledger_row.c.n.desc()).limit(1)
        )
        return _row(rows[0]) if rows else None

    def lanes(self) -> Mapping[str, int]:
        return dict(
            self._database.query(select(ledger_row.c.lane, func.max(ledger_row.c.n)).group_by(ledger_row.c.lane))
        )

    def insert(
        self, tx: SqlTransaction, rows: Sequence[Row], payloads: Sequence[bytes], key_ids: Sequence[str]
    ) -> None:
        tx.one_by_one(self._insert_row, [tuple(getattr(row, name) for name in _COLUMNS) for row in rows])
        tx.one_by_one(
            self._insert_payload,
            [(row.lane, row.n, payload, key_id) for row, payload, key_id in zip(rows, payloads, key_ids, strict=True)],
        )

    def read(self, lane: str, after: int, limit: int, kinds: Sequence[str] = ()) -> list[Entry]:
        statement = select(ledger_row, ledger_payload.c.bytes).select_from(
            ledger_row.outerjoin(
                ledger_payload, and_(ledger_row.c.lane == ledger_payload.c.lane, ledger_row.c.n == ledger_payload.c.n)
            )
        )
        statement = statement.where(ledger_row.c.lane == lane, ledger_row.c.n > after)
        if kinds:
            statement = statement.where(ledger_row.c.kind.in_(_literals(kinds)))
        found = self._database.query(statement.order_by(ledger_row.c.n).limit(limit))
        return [Entry(_row(values), bytes(values[-1]) if values[-1] is not None else None) for values in found]

    def drop_payloads(self, tx: SqlTransaction, upto: Mapping[str, int], kinds: Sequence[str]) -> int:
        dropped = 0
        for lane, n in upto.items():
            numbers = select(ledger_row.c.n).where(
                ledger_row.c.lane == lane, ledger_row.c.n <= n, ledger_row.c.kind.in_(_literals(kinds))
            )
            prepared = self._database.prepare(
                ledger_payload.delete().where(ledger_payload.c.lane == lane, ledger_payload.c.n.in_(numbers))
            )
            tx.cursor.execute(prepared.sql, prepared.arguments(()))
            dropped += tx.cursor.rowcount
        return dropped

    def outcomes(self, tx: SqlTransaction, command_ids: Sequence[str]) -> Mapping[str, bytes]:
        found = tx.rows(self._outcomes, self._database.listed(command_ids))
        return {key: bytes(outcome) for key, outcome in found}

    def remember(self, tx: SqlTransaction, outcomes: Iterable[tuple[str, bytes, int]]) -> None:
        tx.one_by_one(self._insert_outcome, outcomes)

    def position(self, name: str) -> Mapping[str, int]:
        return dict(self._database.query(select(cursor.c.lane, cursor.c.n).where(cursor.c.name == name)))

    def move(self, tx: SqlTransaction, name: str, to: Position) -> None:
        tx.one_by_one(self._move_cursor, [(name, to.lane, to.n)])


def _row(values: Sequence[Any]) -> Row:
    lane, n, prev_hash, payload_hash, *rest = values[: len(_COLUMNS)]
    return Row(lane, n, bytes(prev_hash), bytes(payload_hash), *rest)


def _literals(values: Sequence[str]) -> list[Any]:
    return [bindparam(None, value) for value in values]
