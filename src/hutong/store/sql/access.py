"""Tokens, grants and the access log in SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, literal_column, select

from hutong.kernel.access import AccessEntry, Actor, Grade, Grant
from hutong.kernel.tokens import Token
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import access_entry, access_grant, access_token

_TOKEN = tuple(Token.__struct_fields__)
_GRANT = ("id", "holder", "grade", "purpose", "expires_at", "place", "types", "created_by", "created_at")
_ENTRY = tuple(AccessEntry.__struct_fields__)
_ACTOR = msgspec.json.Decoder(Actor)


class SqlTokens:
    """Implements TokenStore of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        prepare, columns = database.prepare, [access_token.c[name] for name in _TOKEN]
        wanted, at = access_token.c.id == bindparam("wanted"), bindparam("then", type_=BigInteger)
        self._insert = prepare(access_token.insert(), *_TOKEN)
        self._get = prepare(select(*columns).where(wanted), "wanted")
        self._all = prepare(select(*columns).order_by(access_token.c.created_at.desc(), access_token.c.id.desc()))
        alive = access_token.update().where(wanted, access_token.c.revoked_at.is_(None))
        self._revoke = prepare(alive.values(revoked_at=at), "then", "wanted")
        self._touch = prepare(access_token.update().where(wanted).values(last_used_at=at), "then", "wanted")

    def insert(self, tx: SqlTransaction, token: Token) -> None:
        fields = msgspec.structs.asdict(token) | {"actor": msgspec.json.encode(token.actor)}
        tx.rows_affected(self._insert, *(fields[name] for name in _TOKEN))

    def get(self, id: str) -> Token | None:
        rows = self._database.read(self._get, id)
        return _token(rows[0]) if rows else None

    def all(self) -> list[Token]:
        return [_token(row) for row in self._database.read(self._all)]

    def revoke(self, tx: SqlTransaction, id: str, at: int) -> bool:
        return tx.rows_affected(self._revoke, at, id) == 1

    def touch(self, tx: SqlTransaction, used: Mapping[str, int]) -> None:
        tx.one_by_one(self._touch, [(at, id) for id, at in used.items()])


class SqlGrants:
    """Implements GrantStore of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        alive = access_grant.c.revoked_at.is_(None)
        self._insert = database.prepare(access_grant.insert(), *_GRANT)
        revoked = access_grant.update().where(access_grant.c.id == bindparam("wanted"), alive)
        self._revoke = database.prepare(revoked.values(revoked_at=bindparam("then")), "then", "wanted")
        held = select(*(access_grant.c[name] for name in _GRANT)).where(
            database.among(access_grant.c.holder, "holders"), alive
        )
        self._held_by = database.prepare(held.order_by(access_grant.c.id), "holders")

    def insert(self, tx: SqlTransaction, grant: Grant) -> None:
        fields = msgspec.structs.asdict(grant)
        fields |= {"holder": grant.to, "grade": int(grant.grade), "types": msgspec.json.encode(grant.types).decode()}
        tx.rows_affected(self._insert, *(fields[name] for name in _GRANT))

    def revoke(self, tx: SqlTransaction, id: str, at: int) -> bool:
        return tx.rows_affected(self._revoke, at, id) == 1

    def held_by(self, holders: Sequence[str]) -> list[Grant]:
        return [_grant(row) for row in self._database.read(self._held_by, self._database.listed(holders))]


class SqlAccessLog:
    """Where the access log is written, and read by those whose data was looked at."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._insert = database.prepare(
            access_entry.insert().values({name: bindparam(name) for name in _ENTRY}), *_ENTRY
        )

    def write(self, tx: SqlTransaction, entries: Sequence[AccessEntry]) -> None:
        rows = [
            msgspec.structs.asdict(entry) | {"grade": int(entry.grade), "allowed": int(entry.allowed)}
            for entry in entries
        ]
        tx.one_by_one(self._insert, [tuple(row[name] for name in _ENTRY) for row in rows])

    def find(self, *, what: str = "", actor: str = "", limit: int = 100) -> list[AccessEntry]:
        """Entries about a thing, by an actor, or all; newest first."""
        statement = select(*(access_entry.c[name] for name in _ENTRY))
        for column, wanted in ((access_entry.c.what, what), (access_entry.c.actor, actor)):
            if wanted:
                statement = statement.where(column == wanted)
        statement = statement.order_by(access_entry.c.n.desc()).limit(literal_column(str(limit)))
        return [_entry(row) for row in self._database.query(statement)]


def _token(row: Sequence[Any]) -> Token:
    fields = dict(zip(_TOKEN, row, strict=True))
    return Token(**fields | {"actor": _ACTOR.decode(fields["actor"]), "secret_hash": bytes(fields["secret_hash"])})


def _grant(row: Sequence[Any]) -> Grant:
    fields = dict(zip(_GRANT, row, strict=True))
    fields["to"] = fields.pop("holder")
    types = msgspec.json.decode(fields["types"], type=tuple[str, ...])
    return Grant(**fields | {"grade": Grade(fields["grade"]), "types": types})


def _entry(row: Sequence[Any]) -> AccessEntry:
    fields = dict(zip(_ENTRY, row, strict=True))
    return AccessEntry(**fields | {"grade": Grade(fields["grade"]), "allowed": bool(fields["allowed"])})
