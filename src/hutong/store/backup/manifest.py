"""What a backup says of itself."""

import hashlib
import os
from pathlib import Path

import msgspec

from hutong.kernel.errors import IntegrityBroken, NotFound

NAME = "manifest.json"
DATABASE = "hutong.db"
HISTORY = "history"


class File(msgspec.Struct, frozen=True):
    """A file of a backup, by its path in it."""

    path: str
    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Written last: a folder without it is no backup. `state` are hashes of entities and alerts (canonical form)."""

    hutong: str
    made_at: int  # instant
    city: str
    store: str
    lanes: dict[str, int]  # the highest ledger row of each
    history_version: int | None  # of the Delta table; None where nothing was compacted yet
    rows: dict[str, int]  # of each table
    state: dict[str, str]
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup. Raises NotFound, IntegrityBroken."""
    try:
        return msgspec.json.decode((backup / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise NotFound(
            "this is no backup", where=str(backup), fix=f"name a folder that holds {NAME}; `hutong backup` made it"
        ) from None
    except msgspec.DecodeError as error:
        raise IntegrityBroken(
            "the manifest of this backup is damaged", where=str(backup / NAME), seen=str(error), fix="use another one"
        ) from error


def write_manifest(backup: Path, manifest: Manifest) -> None:
    """Write it durably."""
    with (backup / NAME).open("xb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(manifest)))
        out.flush()
        os.fsync(out.fileno())


def described(root: Path, path: str) -> File:
    """A file below a folder, with its hash."""
    place = root / path
    with place.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return File(path, digest, place.stat().st_size)
