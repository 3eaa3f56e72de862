"""Making a backup, online: the database as of one moment, and the history's files that belong to it."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import and_, exists, select

from hutong import __version__
from hutong.engines.sense.observations import CHANGED
from hutong.engines.sense.upkeep import noted
from hutong.kernel.clock import Clock, iso
from hutong.kernel.errors import Conflict, InvalidInput
from hutong.kernel.ledger import SEALED, Ledger, latest_seal
from hutong.store.backup.manifest import DATABASE, HISTORY, File, Manifest, described, read_manifest, write_manifest
from hutong.store.lake.files import sync
from hutong.store.lake.table import told
from hutong.store.lake.versions import files_of, watermarks_at
from hutong.store.sql.copying import alone, copy_out
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.state import state_of
from hutong.store.sql.tables import ledger_payload, ledger_row

CHECKPOINTS = "checkpoints"
UNFINISHED = ".part"
ATTEMPTS = 3  # while history is moved and erased, its files may go away under the copy

Progress = Callable[[str, int, int], None]
"""Told what is being copied, how much is done, and of how much."""


@dataclass(frozen=True)
class Copied:
    """What the copy of a database says."""

    lanes: dict[str, int]
    rows: dict[str, int]
    state: dict[str, str]
    history_version: int | None
    checkpoint: str


def make_backup(data: Path, database: SqlDatabase, into: Path, clock: Clock, progress: Progress) -> Path:
    """Copy a city's data as of now into a new folder of `into`, beside a server that may be running.

    Files of the history that an earlier backup in `into` has are linked, not copied again. Raises StorageFull,
    Conflict when history was moved away under every attempt, InvalidInput when `into` lies in the data folder.
    """
    if into.resolve().is_relative_to(data.resolve()):
        raise InvalidInput(
            "a backup cannot lie in the folder that it saves",
            where="DESTINATION",
            seen=str(into),
            fix="use another disk",
        )
    with told(into):
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in into.glob(f"*{UNFINISHED}"):
            shutil.rmtree(old)
    for attempt in range(1, ATTEMPTS + 1):
        name = iso(clock.now()).replace(":", "").replace(".", "-")
        part = into / f"{name}{UNFINISHED}"
        try:
            with told(into):
                part.mkdir(mode=0o700)
                _fill(part, data, database, newest(into), clock, progress)
                part.rename(into / name)
                sync(into)
            return into / name
        except (Conflict, FileNotFoundError) as error:
            shutil.rmtree(part)
            if attempt == ATTEMPTS:
                raise Conflict(
                    "the history was moved while it was copied", where=str(data), seen=str(error), fix="do it again"
                ) from error
        except (
            BaseException
        ):  # an interrupt too leaves no half backup; what cannot be removed now, the next one removes
            shutil.rmtree(part, ignore_errors=True)
            raise
    raise AssertionError("every attempt returns or raises")


def backups(into: Path) -> list[Path]:
    """The backups in a folder, oldest first."""
    return sorted(path.parent for path in into.glob("*/manifest.json") if path.parent.suffix != UNFINISHED)


def newest(into: Path) -> Path | None:
    """The newest backup in a folder."""
    return next(reversed(backups(into)), None)


def prune(into: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups; gives those that went."""
    gone = backups(into)[:-keep]
    for path in gone:
        shutil.rmtree(path)
    return gone


def _fill(part: Path, data: Path, database: SqlDatabase, before: Path | None, clock: Clock, progress: Progress) -> None:
    made_at = clock.now()
    copy_out(database, part / DATABASE, lambda done, whole: progress("database", done, whole))
    copied = _looked_at(part / DATABASE, data / HISTORY)
    known = {file.path: file for file in read_manifest(before).files} if before is not None else {}
    paths = list(_paths(data, copied))
    files = [described(part, DATABASE)]
    for n, path in enumerate(paths):
        progress("files", n, len(paths))
        if before is not None and path in known and path.startswith((HISTORY, CHECKPOINTS)):
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(before / path, part / path)
            files.append(known[path])
        elif (file := _copy(data, part, path)) is not None:
            files.append(file)
    progress("files", len(paths), len(paths))
    city = data / "city"
    write_manifest(
        part,
        Manifest(
            hutong=__version__,
            made_at=made_at,
            city=city.read_text().strip() if city.exists() else "",
            store="sqlite" if database.sqlite else "postgresql",
            lanes=copied.lanes,
            history_version=copied.history_version,
            rows=copied.rows,
            state=copied.state,
            files=tuple(files),
        ),
    )
    for folder in {part, *(path.parent for path in part.rglob("*"))}:
        sync(folder)


def _looked_at(file: Path, history: Path) -> Copied:
    """What stands in the copy; the history that belongs to it is the newest that its ledger tells of."""
    database = SqlDatabase(f"sqlite:///{file}")
    try:
        ledger = SqlLedger(database)
        lanes = dict(ledger.lanes())
        version = max((record.version for record in noted(ledger)), default=None)
        marks = watermarks_at(history, version, lanes) if version is not None else dict.fromkeys(lanes, -1)
        if any(_has_gap(database, lane, mark) for lane, mark in marks.items()):
            raise Conflict("history is being moved to its files", where=str(history), fix="do it again")
        seal = latest_seal(Ledger(ledger, "backup").entries(kinds=(SEALED,)))
        return Copied(
            lanes,
            database.row_counts(),
            dict(state_of(database)),
            version,
            seal.checkpoint if seal is not None else "",
        )
    finally:
        database.close()
        alone(file)


def _has_gap(database: SqlDatabase, lane: str, mark: int) -> bool:
    """Whether observations beyond the history's mark have left the ledger already."""
    pair = and_(ledger_payload.c.lane == ledger_row.c.lane, ledger_payload.c.n == ledger_row.c.n)
    beyond = and_(ledger_row.c.lane == lane, ledger_row.c.n > mark, ledger_row.c.kind == CHANGED)
    return bool(database.query(select(ledger_row.c.n).where(beyond, ~exists().where(pair)).limit(1)))


def _paths(data: Path, copied: Copied) -> Iterator[str]:
    """Everything that belongs to the copy of the database, below the data folder."""
    if copied.history_version is not None:
        yield from (f"{HISTORY}/{path}" for path in files_of(data / HISTORY, copied.history_version))
    if copied.checkpoint:
        yield f"{CHECKPOINTS}/{copied.checkpoint}"
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        own = name.startswith((f"{DATABASE}", f"{HISTORY}/", f"{CHECKPOINTS}/")) or path.suffix in (".lock", ".part")
        if not own and path.is_file() and not path.is_symlink():
            yield name


def _copy(data: Path, part: Path, path: str) -> File | None:
    """Copy a file durably; None when it has gone and may go, as files that wait in the inbox do."""
    source, target = data / path, part / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        if path.startswith((HISTORY, CHECKPOINTS)):
            raise
        return None
    sync(target)
    return described(part, path)
