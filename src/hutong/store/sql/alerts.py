"""Alerts, current and past, in SQL."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, literal, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from hutong.engines.sense.ports import Alert, AlertQuery, AlertState
from hutong.kernel.clock import Clock
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import alert

_FIELDS = tuple(Alert.__struct_fields__)
PAGE = 5_000


class SqlAlerts:
    """Implements AlertStore of the sense engine."""

    def __init__(self, database: SqlDatabase, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._columns = [alert.c[name] for name in _FIELDS]
        self._load = database.prepare(select(*self._columns).where(database.among(alert.c.id, "ids")), "ids")
        insert = (sqlite if database.sqlite else postgresql).insert(alert)
        self._save = database.prepare(
            insert.on_conflict_do_update(
                index_elements=["id"], set_={name: insert.excluded[name] for name in _FIELDS if name != "id"}
            ),
            *_FIELDS,
        )

    def load(self, tx: SqlTransaction, ids: Sequence[str]) -> dict[str, Alert]:
        found = tx.rows(self._load, self._database.listed(ids))
        return {one.id: one for one in map(_alert, found)}

    def get(self, id: str) -> Alert | None:
        rows = self._database.read(self._load, self._database.listed([id]))
        return _alert(rows[0]) if rows else None

    def save(self, tx: SqlTransaction, alerts: Sequence[Alert]) -> None:
        tx.one_by_one(self._save, [tuple(getattr(one, name) for name in _FIELDS) for one in alerts])

    def due(self, tx: SqlTransaction, limit: int) -> list[Alert]:
        statement = select(*self._columns).where(alert.c.state == str(AlertState.PENDING), alert.c.live == 1)
        return [
            _alert(values)
            for values in tx.rows(
                self._database.prepare(statement.order_by(alert.c.at).limit(literal_column(str(limit))))
            )
        ]

    def find(self, query: AlertQuery) -> list[Alert]:
        statement = select(*self._columns).where(*self._conditions(query)).order_by(alert.c.at.desc(), alert.c.id)
        return [
            _alert(values)
            for values in self._database.query(
                statement.limit(literal_column(str(query.limit))).offset(literal_column(str(query.offset)))
            )
        ]

    def count(self, query: AlertQuery) -> int:
        return int(self._database.query(select(func.count()).select_from(alert).where(*self._conditions(query)))[0][0])

    def each(self) -> Iterator[Alert]:
        last = ""
        while found := [
            _alert(values)
            for values in self._database.query(
                select(*self._columns).where(alert.c.id > last).order_by(alert.c.id).limit(literal_column(str(PAGE)))
            )
        ]:
            yield from found
            last = found[-1].id

    def _conditions(self, query: AlertQuery) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [alert.c.tenant == query.tenant]
        for column, wanted in (
            (alert.c.entity, query.entity),
            (alert.c.rule, query.rule),
            (alert.c.severity, query.severity),
        ):
            if wanted:
                found.append(column == wanted)
        for column, choices in ((alert.c.state, query.states), (alert.c.type, query.types)):
            if choices:
                found.append(column.in_([literal(str(one)) for one in choices]))
        if query.rules is not None:
            found.append(self._database.one_of(alert.c.rule, query.rules))
        if not query.silenced:
            found.append(or_(alert.c.silenced_until.is_(None), alert.c.silenced_until <= self._clock.now()))
        return found


def _alert(values: Sequence[Any]) -> Alert:
    return Alert(**dict(zip(_FIELDS, values, strict=True)))
