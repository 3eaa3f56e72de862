"""A department's old database: a table read by the columns by which it grows, page by page, and never written to.

Each page is a command with a key of its own, and how far it reaches is kept before it is stored, so that after a kill
the same page is read again and nothing is taken twice. Columns of bytes, and all texts of SQLite, are decoded as the
source's `encoding` says.
"""

import asyncio
import datetime
import decimal
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Engine, MetaData, Select, Table, and_, create_engine, event, inspect, or_, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import NullType

from hutong.connectors.connections import Connection
from hutong.connectors.feeds import Feed, SourceFailed
from hutong.connectors.tables import Chunk, joined
from hutong.kernel.packs.faults import listed, meant

PAGE_ROWS: Final = 2_000
CONNECT_S_MAX: Final = 10
STATEMENT_S_MAX: Final = 60
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}

Key = list[int | float | str]


class Position(msgspec.Struct, kw_only=True):
    """Rows up to `after` are stored; those up to `upto`, where it is given, may be."""

    after: Key | None = None
    upto: Key | None = None


class SqlSource:
    """Reads the table of one declared source."""

    def __init__(self, feed: Feed, connection: Connection) -> None:
        self.feed, self._declared = feed, feed.source.declaration
        self._engine = _engine(connection, self._declared.encoding)
        self._table: Table | None = None
        self._names = tuple(dict.fromkeys((*feed.source.columns, *self._declared.key)))
        self.position = msgspec.json.decode(feed.position, type=Position | None) or Position()

    async def turn(self) -> bool:
        """Store one page. True when there may be more."""
        position = self.position
        try:
            rows = await asyncio.to_thread(self._page, position)
        except SQLAlchemyError as error:
            self._table = None
            raise SourceFailed(f"the database cannot be read: {_reason(error)}") from None
        if not rows:
            if position.upto is None:
                return False
            self.position = Position(after=position.upto)  # what was there has been deleted meanwhile
            return True
        if position.upto is None:
            position = Position(after=position.after, upto=_key(rows[-1], self._declared.key))
            await self.feed.save(position)
        texts = [{name: _text(row[name], self._declared.encoding) for name in self.feed.source.columns} for row in rows]
        chunk = Chunk(joined(texts, range(1, len(texts) + 1)), [], 0)
        source = self.feed.source
        reach = msgspec.json.encode((position.after, position.upto)).decode()
        await self.feed.store(chunk, f"sql:{source.name}:{source.digest}:{reach}")
        self.position = Position(after=position.upto)
        await self.feed.save(self.position)
        return len(rows) == PAGE_ROWS

    def _page(self, position: Position) -> Sequence[Mapping[str, Any]]:
        table = self._table = self._table if self._table is not None else self._reflected()
        with self._engine.connect() as connection:
            _read_only(connection)
            found = connection.execute(self._query(table, position))
            return [row._asdict() for row in found]

    def _query(self, table: Table, position: Position) -> Select[Any]:
        """Rows behind `after`, up to `upto` where that was decided before."""
        keys = [table.c[name] for name in self._declared.key]
        query = select(*(table.c[name] for name in self._names)).order_by(*keys).limit(PAGE_ROWS)
        query = query.where(*(key.is_not(None) for key in keys))
        if position.after is not None:
            query = query.where(_behind(keys, position.after))
        if position.upto is not None:
            query = query.where(~_behind(keys, position.upto))
        return query

    def _reflected(self) -> Table:
        """The table as it is now. Raises SourceFailed when it has not what is read."""
        schema, _, name = self._declared.table.rpartition(".")
        try:
            table = Table(name, MetaData(), schema=schema or None, autoload_with=self._engine, resolve_fks=False)
        except NoSuchTableError:
            known = inspect(self._engine).get_table_names(schema or None)
            raise SourceFailed(
                f"there is no table {self._declared.table} any more, or it may not be read; there are {listed(known)}"
            ) from None
        if self._engine.dialect.name == "sqlite":  # its values have types, its columns only say so
            for column in table.c:
                column.type = NullType()
        absent = [name for name in self._names if name not in table.c]
        if absent:
            guess = meant(absent[0], list(table.c.keys()))
            has = listed(list(table.c.keys()))
            told = f"the table {self._declared.table} has no column {listed(absent)}; it has {has}"
            raise SourceFailed(f"{told}; {guess}" if guess else told)
        return table


def _behind(keys: Sequence[Column[Any]], values: Key) -> Any:
    """Rows whose key is greater; several columns are compared one after the other."""
    parts = []
    for i, (key, value) in enumerate(zip(keys, values, strict=True)):
        same = [one == _bound(one, known) for one, known in zip(keys[:i], values, strict=False)]
        parts.append(and_(*same, key > _bound(key, value)))
    return or_(*parts)


def _bound(column: Column[Any], value: int | float | str) -> Any:
    """A part of a key as its column wants it."""
    try:
        kind = column.type.python_type
    except NotImplementedError:  # so SQLAlchemy tells of a column type that Python has none for: compared as it came
        return value
    if isinstance(value, str) and issubclass(kind, datetime.date):
        return kind.fromisoformat(value)
    return decimal.Decimal(value) if isinstance(value, str) and kind is decimal.Decimal else value


def _key(row: Mapping[str, Any], names: Sequence[str]) -> Key:
    return [row[name] if isinstance(row[name], int | float) else (_text(row[name], "utf-8") or "") for name in names]


def _text(value: Any, encoding: str) -> str | None:
    """A cell as a text. Raises SourceFailed for bytes in another encoding."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes() | bytearray() | memoryview():
            try:
                return bytes(value).decode(encoding)
            except UnicodeDecodeError:
                raise SourceFailed(f"a text is not {encoding}: {bytes(value)[:20]!r}; declare its `encoding`") from None
        case datetime.datetime() | datetime.date():
            return value.isoformat()
    return str(value)


def _engine(connection: Connection, encoding: str) -> Engine:
    """An engine that only reads. Raises SourceFailed for an address of another kind."""
    try:
        url = make_url(connection.url)
    except ArgumentError:
        raise SourceFailed("the connection's url is no address of a database") from None
    if url.drivername not in _DRIVERS:
        raise SourceFailed(f"no such kind of database: {url.drivername}; there are sqlite, postgresql, mysql")
    url = url.set(drivername=_DRIVERS[url.drivername])
    if connection.user:
        url = url.set(username=connection.user, password=connection.password)
    engine = create_engine(_read_only_file(url), poolclass=NullPool, connect_args=_arguments(url, connection))
    if url.drivername == "sqlite" and encoding != "utf-8":

        @event.listens_for(engine, "connect")
        def raw(connection: Any, _record: Any) -> None:
            connection.text_factory = _decoded(encoding)

    return engine


def _decoded(encoding: str) -> Any:
    def decode(content: bytes) -> str | bytes:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            return content

    return decode


def _read_only_file(url: URL) -> URL:
    if url.drivername != "sqlite":
        return url
    return url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})


def _arguments(url: URL, connection: Connection) -> dict[str, Any]:
    if url.drivername == "sqlite":
        return {"timeout": CONNECT_S_MAX}
    if url.drivername.startswith("mysql"):
        charset = {"charset": connection.charset} if connection.charset else {}
        return {"connect_timeout": CONNECT_S_MAX, "read_timeout": STATEMENT_S_MAX, **charset}
    return {
        "connect_timeout": CONNECT_S_MAX,
        "options": f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_S_MAX * 1000}",
    }


def _read_only(connection: Any) -> None:
    if connection.dialect.name == "mysql":
        connection.execute(text("SET SESSION TRANSACTION READ ONLY"))


def _reason(error: SQLAlchemyError) -> str:
    """What the driver says, without the statement and the address."""
    return str(getattr(error, "orig", None) or type(error).__name__)
