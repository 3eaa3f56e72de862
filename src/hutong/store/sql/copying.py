"""A whole database as one SQLite file, and back: the same form whichever database it came from."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, bindparam, cast, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB

from hutong.kernel.errors import Conflict
from hutong.store.sql.database import SqlDatabase, translated
from hutong.store.sql.tables import metadata

PAGES = 4_096
ROWS = 5_000

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def copy_out(database: SqlDatabase, file: Path, progress: Progress) -> None:
    """Write everything as of one moment into a new SQLite file, while others write. Raises StorageFull."""
    with translated():
        if database.sqlite:
            _copy_pages(database.reader().driver_connection, file, progress)
        else:
            with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as source:
                _copy_rows(source, file, progress)


def copy_in(file: Path, database: SqlDatabase, progress: Progress) -> None:
    """Fill an empty database from such a file, in one transaction. Raises Conflict when it is not empty."""
    source = create_engine(f"sqlite:///{file}")
    try:
        with translated(), source.connect() as old, database.engine.begin() as new:
            whole, done = sum(row_counts(old).values()), 0
            for table in metadata.sorted_tables:
                if table.name == "setting":
                    new.execute(table.delete())
                elif new.execute(select(table).limit(1)).first() is not None:
                    raise Conflict(
                        "there are data in this database already",
                        where="--store",
                        seen=table.name,
                        fix="name an empty database",
                    )
                insert = table.insert().values({column.name: _taken(column, new) for column in table.columns})
                for rows in _pages(old, table):
                    new.execute(insert, rows)
                    done += len(rows)
                    progress(done, whole)
                if not database.sqlite:
                    _count_on(new, table)
    finally:
        source.dispose()


def alone(file: Path) -> None:
    """Make a SQLite file that nobody has open one file, without a log beside it, and durable."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def row_counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in metadata.sorted_tables
    }


def _copy_pages(source: sqlite3.Connection, file: Path, progress: Progress) -> None:
    with closing(sqlite3.connect(file)) as target:
        source.execute("BEGIN")  # held, so that the copy is of this moment and never begins again
        try:
            source.execute("SELECT value FROM setting LIMIT 1").fetchone()
            source.backup(target, pages=PAGES, sleep=0, progress=lambda _, left, all_: progress(all_ - left, all_))
        finally:
            source.rollback()
    alone(file)


def _copy_rows(source: Connection, file: Path, progress: Progress) -> None:
    target = create_engine(f"sqlite:///{file}")
    try:
        metadata.create_all(target)
        whole, done = sum(row_counts(source).values()), 0
        with target.begin() as new:
            for table in metadata.sorted_tables:
                for rows in _pages(source, table):
                    new.execute(table.insert(), rows)
                    done += len(rows)
                    progress(done, whole)
    finally:
        target.dispose()


def _pages(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """All rows in portions; JSON as its text."""
    columns = [cast(c, Text).label(c.name) if _is_json(c, source) else c for c in table.columns]
    with source.execution_options(yield_per=ROWS).execute(select(*columns)) as result:
        for rows in result.mappings().partitions(ROWS):
            yield [dict(row) for row in rows]


def _taken(column: Column[Any], target: Connection) -> ColumnElement[Any]:
    """The value for a column out of `_pages`."""
    if _is_json(column, target):
        return cast(bindparam(column.name, type_=Text), JSONB)
    return bindparam(column.name, type_=column.type)


def _is_json(column: Column[Any], connection: Connection) -> bool:
    return isinstance(column.type.dialect_impl(connection.dialect), JSONB)


def _count_on(target: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows after those that came with numbers."""
    column = table.autoincrement_column
    if column is not None and column.autoincrement is True:
        highest = target.execute(select(func.max(column))).scalar()
        if highest is not None:
            target.execute(select(func.setval(func.pg_get_serial_sequence(table.name, column.name), highest)))
