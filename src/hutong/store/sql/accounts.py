"""Accounts and postings in SQL. A balance stands beside its account and moves with each entry, in one transaction."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from hutong.kernel.accounts import Account, Money, Posted, Posting, Standing
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import account, posting, posting_entry

_ACCOUNT = ("id", "kind", "owner", "city", "place", "least", "balance")
_POSTING = msgspec.json.Decoder(Posting)


class SqlAccounts:
    """Implements AccountStore of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        prepare, insert = database.prepare, (sqlite if database.sqlite else postgresql).insert
        self._open = prepare(insert(account).on_conflict_do_nothing(), *_ACCOUNT)
        self._standing = prepare(
            select(*(account.c[name] for name in _ACCOUNT)).where(database.among(account.c.id, "ids")), "ids"
        )
        self._find = prepare(
            select(posting.c.id, posting.c.at, posting.c.doc).where(posting.c.key == bindparam("wanted")), "wanted"
        )
        self._insert = prepare(posting.insert(), "key", "id", "at", "doc")
        self._insert_entry = prepare(posting_entry.insert(), "posting", "n", "account", "fen", "at")
        moved = account.update().where(account.c.id == bindparam("moved"))
        self._move = prepare(moved.values(balance=account.c.balance + bindparam("fen")), "fen", "moved")

    def open(self, tx: SqlTransaction, new: Account) -> bool:
        least = new.least.fen if new.least is not None else None
        return tx.rows_affected(self._open, new.id, new.kind, new.owner, new.city, new.place, least, 0) == 1

    def standing(self, tx: SqlTransaction, ids: Sequence[str]) -> Mapping[str, Standing]:
        return {row[0]: _standing(*row) for row in tx.rows(self._standing, self._database.listed(ids))}

    def find(self, tx: SqlTransaction, key: str) -> Posted | None:
        rows = tx.rows(self._find, key)
        return Posted(id=rows[0][0], at=rows[0][1], posting=_POSTING.decode(rows[0][2])) if rows else None

    def insert(self, tx: SqlTransaction, posted: Posted) -> None:
        key, entries = posted.posting.key, posted.posting.entries
        tx.rows_affected(self._insert, key, posted.id, posted.at, msgspec.json.encode(posted.posting))
        tx.one_by_one(
            self._insert_entry,
            [(key, n, entry.account, entry.amount.fen, posted.at) for n, entry in enumerate(entries)],
        )
        tx.one_by_one(self._move, [(entry.amount.fen, entry.account) for entry in entries])


def _standing(id: str, kind: str, owner: str, city: str, place: str, least: int | None, balance: int) -> Standing:
    fields = {"id": id, "kind": kind, "owner": owner, "city": city, "place": place}
    bound = Money(least) if least is not None else None
    return Standing(msgspec.structs.replace(msgspec.convert(fields, Account), least=bound), Money(balance))
