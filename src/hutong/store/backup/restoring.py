"""Restoring a backup into an empty place, whole or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hutong.kernel.errors import Conflict, IntegrityBroken
from hutong.store.backup.manifest import DATABASE, Manifest, described, read_manifest
from hutong.store.lake.files import sync
from hutong.store.lake.table import told
from hutong.store.sql.copying import copy_in
from hutong.store.sql.database import SqlDatabase

Progress = Callable[[str, int, int], None]


def restore(backup: Path, data: Path, store: str, progress: Progress) -> Manifest:
    """Bring a backup back into a new data folder and, where `store` is an address, into that empty database.

    Every file is compared with its hash. When anything is wrong, the folder is as it was. Raises Conflict where there
    are data already, IntegrityBroken for a damaged backup, StorageFull.
    """
    manifest = read_manifest(backup)
    if data.exists() and any(data.iterdir()):
        raise Conflict(
            "there is something in this folder already", where="--data", seen=str(data), fix="name a new folder"
        )
    with told(data):
        data.mkdir(parents=True, exist_ok=True)
        try:
            _copy(backup, data, manifest, progress)
            if store:
                database = SqlDatabase(store)
                try:
                    copy_in(data / DATABASE, database, lambda done, whole: progress("database", done, whole))
                finally:
                    database.close()
                (data / DATABASE).unlink()
        except BaseException:  # an interrupt too leaves the folder as it was
            for path in data.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise
    return manifest


def _copy(backup: Path, data: Path, manifest: Manifest, progress: Progress) -> None:
    folders = {data}
    for n, file in enumerate(manifest.files):
        progress("files", n, len(manifest.files))
        target = data / file.path
        if not target.resolve().is_relative_to(data.resolve()):
            raise IntegrityBroken("a path leads out of the backup", where=str(backup), seen=file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(backup / file.path, target)
        except FileNotFoundError as error:
            raise _damaged(backup, file.path, "missing", file.sha256) from error
        seen = described(data, file.path)
        if seen != file:
            raise _damaged(backup, file.path, seen.sha256, file.sha256)
        sync(target)
        folders |= {parent for parent in target.parents if parent.is_relative_to(data)}
    for folder in folders:
        sync(folder)
    progress("files", len(manifest.files), len(manifest.files))


def _damaged(backup: Path, path: str, seen: str, allowed: str) -> IntegrityBroken:
    return IntegrityBroken(
        "a file of this backup is not what was saved",
        where=str(backup / path),
        seen=seen,
        allowed=allowed,
        fix="use another backup",
    )
