"""A database: connections, transactions, and statements compiled once.

Statements are written in SQLAlchemy Core. On hot paths their compiled text runs on the driver directly, because
SQLAlchemy's per-execution work costs more than the database's own.
"""

import errno
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import Any

import msgspec
import psycopg
import re2
from sqlalchemy import (
    ARRAY,
    URL,
    ColumnElement,
    Engine,
    Text,
    bindparam,
    create_engine,
    event,
    func,
    literal,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql import ClauseElement

from hutong.kernel.errors import IntegrityBroken, InvalidInput, Overloaded, StorageFull, TooLarge
from hutong.store.sql import tables
from hutong.store.sql.checkpoints import Checkpoints

CACHE_KIB = 128 * 1024
WAL_PAGES_BEFORE_CHECKPOINT = 64_000  # beyond this a commit moves the log itself
LOST_COMMIT_S_MAX = 60  # how long to look for what became of a commit whose connection broke
QUESTION_S_MAX = 30  # how long a question may take, so that a few hostile ones do not keep all readers
PATTERNS_KEPT_MAX = 256
PROGRESS_STEPS = 1_000_000  # of SQLite's machine between two looks at the clock


class Prepared:
    """A Core statement as text of the driver, taking tuples in the order of `names`."""

    def __init__(self, statement: ClauseElement, engine: Engine, names: Sequence[str] = ()) -> None:
        compiled = statement.compile(engine, compile_kwargs={"render_postcompile": True})
        order = compiled.positiontup or []  # type: ignore[attr-defined]  # set by every positional dialect
        self.sql = str(compiled)
        self._constants = compiled.params
        self._order = tuple((names.index(name) if name in names else -1, name) for name in order)
        self._direct = [i for i, _ in self._order] == list(range(len(names)))

    def each(self, rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
        return rows if self._direct else map(self.arguments, rows)

    def arguments(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._direct:
            return values
        return tuple(values[i] if i >= 0 else self._constants[name] for i, name in self._order)


class SqlTransaction:
    """A transaction under way on the writer's connection."""

    def __init__(self, cursor: Any, lane: str) -> None:
        self.cursor = cursor
        self.lane = lane

    def one_by_one(self, prepared: Prepared, rows: Iterable[tuple[Any, ...]]) -> None:
        self.cursor.executemany(prepared.sql, prepared.each(rows))

    def rows_affected(self, prepared: Prepared, *values: Any) -> int:
        self.cursor.execute(prepared.sql, prepared.arguments(values))
        return int(self.cursor.rowcount)

    def rows(self, prepared: Prepared, *values: Any) -> list[Any]:
        self.cursor.execute(prepared.sql, prepared.arguments(values))
        found: list[Any] = self.cursor.fetchall()
        return found


class SqlDatabase:
    """Opens `sqlite:///file` or `postgresql+psycopg://…`. One writing connection, one reading connection a thread."""

    def __init__(self, url: str, lane: str = "main") -> None:
        self.lane = lane
        address = _address(url)
        positional: dict[str, Any] = {"paramstyle": "format"} if url.startswith("postgresql") else {}
        self.engine = create_engine(address, pool_size=32, max_overflow=32, **positional)
        self.sqlite = self.engine.dialect.name == "sqlite"
        if self.sqlite:
            event.listen(self.engine, "connect", _tune_sqlite)
        try:
            self._open(address)
        except BaseException:
            self.engine.dispose()
            raise
        self._writing = self.engine.raw_connection()
        self._checkpoints = Checkpoints(self.engine) if self.sqlite else None
        self._local = threading.local()
        self._readers: list[Any] = []

    def _open(self, address: URL) -> None:
        """See that the database is there, and of this version. Raises Overloaded, IntegrityBroken."""
        try:
            with translated():
                self._migrate()
        except Overloaded as error:
            raise Overloaded(
                f"the database does not answer: {_reason(error.__cause__)}",
                where=address.render_as_string(hide_password=True),
                fix="start it, or mend its address",
            ) from error
        except DBAPIError as error:
            raise IntegrityBroken(
                f"the database cannot be opened: {_reason(error)}",
                where=address.render_as_string(hide_password=True),
                fix="name a database of Hutong, or an empty one",
            ) from error

    def prepare(self, statement: ClauseElement, *names: str) -> Prepared:
        return Prepared(statement, self.engine, names)

    @contextmanager
    def begin(self) -> Iterator[SqlTransaction]:
        """The writing transaction; durable when the block is left. Only one thread may use it."""
        with translated():
            if not self.sqlite and _driver(self._writing).closed:
                self._renew()
            cursor = self._writing.cursor()
            try:
                if self._checkpoints:
                    self._checkpoints.finish(cursor)
                    cursor.execute("BEGIN IMMEDIATE")
                yield SqlTransaction(cursor, self.lane)
                if self._checkpoints:
                    cursor.execute("COMMIT")
                    self._checkpoints.wrote()
                else:
                    self._commit(cursor)
            except BaseException:
                self._roll_back(cursor)
                raise
            finally:
                cursor.close()

    def among(self, column: Any, name: str, kind: Any = Text) -> ColumnElement[bool]:
        """The column is one of the values of a parameter that `listed` has made."""
        return self._among(column, bindparam(name, type_=None if self.sqlite else ARRAY(kind)))

    def one_of(self, column: Any, values: Sequence[str]) -> ColumnElement[bool]:
        """The column is one of the values, however many."""
        return self._among(column, literal(self.listed(values), None if self.sqlite else ARRAY(Text)))

    def _among(self, column: Any, values: ColumnElement[Any]) -> ColumnElement[bool]:
        found: ColumnElement[bool] = (
            column.in_(select(func.json_each(values).table_valued("value").c.value))
            if self.sqlite
            else column == func.any(values)
        )
        return found

    def listed(self, values: Sequence[str] | Sequence[int]) -> Any:
        return msgspec.json.encode(values).decode() if self.sqlite else list(values)

    def read(self, prepared: Prepared, *values: Any) -> list[Any]:
        """Rows of a query outside any transaction, on this thread's own connection."""
        with translated():
            try:
                return self._read(prepared, values)
            except psycopg.OperationalError:
                lost = _driver(self._local.connection)
                if lost.closed and lost.autocommit:  # the server went away since the last question: ask on a fresh one
                    return self._read(prepared, values)
                raise

    def _read(self, prepared: Prepared, values: tuple[Any, ...]) -> list[Any]:
        cursor = self.reader().cursor()
        try:
            cursor.execute(prepared.sql, prepared.arguments(values))
            rows: list[Any] = cursor.fetchall()
        finally:
            cursor.close()
        return rows

    def query(self, statement: ClauseElement) -> list[Any]:
        """Rows of a statement built for this one question. Raises TooLarge when it takes longer than QUESTION_S_MAX."""
        self._local.deadline = time.perf_counter() + QUESTION_S_MAX
        try:
            return self.read(self.prepare(statement))
        finally:
            self._local.deadline = inf

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that this thread reads within the block belongs to one moment."""
        connection = self.reader()
        if self.sqlite:
            connection.cursor().execute("BEGIN")
        else:
            _driver(connection).autocommit = False
            connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        finally:
            connection.rollback()
            if not self.sqlite:
                _driver(connection).autocommit = True

    def reader(self) -> Any:
        """This thread's reading connection, in autocommit."""
        connection = getattr(self._local, "connection", None)
        if connection is None or (not self.sqlite and _driver(connection).closed):
            lost, connection = connection, self.engine.raw_connection()
            if self.sqlite:
                _driver(connection).set_progress_handler(self._is_late, PROGRESS_STEPS)
            else:
                _driver(connection).autocommit = True
                connection.cursor().execute(f"SET statement_timeout = '{QUESTION_S_MAX}s'")
            self._local.connection = connection
            self._readers.append(connection)
            if lost is not None:
                self._readers.remove(lost)
                lost.invalidate()
        return connection

    def _is_late(self) -> bool:
        """Whether the question of this thread has taken too long."""
        return time.perf_counter() > getattr(self._local, "deadline", inf)

    def setting(self, name: str) -> str | None:
        """A setting kept with the data."""
        found = self.query(select(tables.setting.c.value).where(tables.setting.c.name == name))
        return str(found[0][0]) if found else None

    def keep_setting(self, name: str, value: str) -> None:
        """Keep a setting with the data; for the time before the writer starts."""
        if self.setting(name) != value:  # a start writes nothing that is there: the disk may be full
            made = (sqlite if self.sqlite else postgresql).insert(tables.setting).values(name=name, value=value)
            with translated(), self.engine.begin() as connection:
                connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def size_bytes(self) -> int:
        """What the database holds; pages that are free to be used again do not count."""
        sql = (
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
            if self.sqlite
            else "SELECT pg_database_size(current_database())"
        )
        cursor = self.reader().cursor()
        cursor.execute(sql)
        return int(cursor.fetchone()[0])

    def row_counts(self) -> dict[str, int]:
        """How many rows each table has."""
        return {
            table.name: int(self.query(select(func.count()).select_from(table))[0][0])
            for table in tables.metadata.sorted_tables
        }

    def close(self) -> None:
        if self._checkpoints:
            self._checkpoints.close()
        for connection in (self._writing, *self._readers):
            connection.detach()
            connection.close()
        self.engine.dispose()

    def _commit(self, cursor: Any) -> None:
        """Commit on PostgreSQL; where the connection breaks meanwhile, find out on another what became of it."""
        cursor.execute("SELECT pg_current_xact_id()::text")
        [number] = cursor.fetchone()
        try:
            self._writing.commit()
        except psycopg.OperationalError:
            for _ in range(LOST_COMMIT_S_MAX):
                if (status := self._status(number)) == "committed":
                    return
                if status == "aborted":
                    raise
                time.sleep(1)
            raise IntegrityBroken(
                "the database went away during a commit, and whether it was kept cannot be told",
                fix="restart when the database is back",
            ) from None

    def _status(self, number: str) -> str:
        try:
            self._renew()
            [[status]] = _driver(self._writing).execute("SELECT pg_xact_status(%s::xid8)", (number,)).fetchall()
            self._writing.rollback()
            return str(status)
        except (psycopg.OperationalError, DBAPIError):
            return "unknown"

    def _renew(self) -> None:
        """Write on a fresh connection from now on: the server went away under the old one."""
        lost, self._writing = self._writing, self.engine.raw_connection()
        lost.invalidate()

    def _roll_back(self, cursor: Any) -> None:
        if not self.sqlite:
            if not _driver(self._writing).closed:
                self._writing.rollback()
        elif _driver(self._writing).in_transaction:
            cursor.execute("ROLLBACK")

    def _migrate(self) -> None:
        tables.metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            found = connection.execute(select(tables.setting.c.value).where(tables.setting.c.name == "schema")).scalar()
            if found is None:
                connection.execute(tables.setting.insert().values(name="schema", value=str(tables.SCHEMA_VERSION)))
            elif int(found) != tables.SCHEMA_VERSION:
                raise IntegrityBroken(
                    "the data were written by another version of Hutong",
                    seen=found,
                    allowed=str(tables.SCHEMA_VERSION),
                    fix="start them with that version",
                )


def _address(url: str) -> URL:
    """A database's address. Raises InvalidInput for one of another kind."""
    try:
        address = make_url(url)
    except ArgumentError:
        address = None
    if address is None or address.drivername not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise InvalidInput(
            "no database that Hutong can use",
            where="--store",
            seen=address.drivername if address is not None else url,
            allowed="sqlite:///file, postgresql+psycopg://user@host/database",
        )
    return address


def _reason(error: BaseException | None) -> str:
    """What the driver says, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())


def _driver(connection: PoolProxiedConnection) -> Any:
    """The driver's own connection, for what SQLAlchemy does not offer."""
    return connection.driver_connection


@contextmanager
def translated() -> Iterator[None]:
    """Tell a full disk, a database that is away and a question without end from other faults."""
    try:
        yield
    except (sqlite3.OperationalError, psycopg.Error, DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        full = (
            getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            or getattr(cause, "sqlstate", None) == "53100"
            or getattr(cause, "errno", None) == errno.ENOSPC
            or getattr(cause, "sqlite_errorname", "").startswith("SQLITE_IOERR_WRITE")
        )
        if full:
            raise StorageFull(
                "the disk is full; nothing of this was kept", fix="make space; no restart is needed"
            ) from error
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT or (
            getattr(cause, "sqlstate", None) == "57014"
        ):
            raise TooLarge(
                "the question takes too long", allowed=f"{QUESTION_S_MAX} s", fix="name a type, or ask for less"
            ) from error
        if isinstance(cause, psycopg.OperationalError) and (cause.sqlstate or "08").startswith(("08", "57P")):
            raise Overloaded("the database does not answer", fix="send it again when it is back") from error
        raise


_REGEXP = re2.Options()
_REGEXP.dot_nl = True  # as on PostgreSQL, a dot is any character


@lru_cache(PATTERNS_KEPT_MAX)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, _REGEXP)


def _regexp(pattern: str, value: Any) -> bool:
    """RE2, so that no pattern a user sends can take more than linear time."""
    return isinstance(value, str) and _compiled(pattern).search(value) is not None


def _tune_sqlite(connection: Any, _: Any) -> None:
    connection.create_function("regexp", 2, _regexp, deterministic=True)
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "busy_timeout = 10000",
        "temp_store = MEMORY",
        f"cache_size = -{CACHE_KIB}",
        "mmap_size = 1073741824",
        f"wal_autocheckpoint = {WAL_PAGES_BEFORE_CHECKPOINT}",
    ):
        connection.execute(f"PRAGMA {pragma}")
