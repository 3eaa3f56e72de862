"""The Delta log on disk: made durable after each commit, and mended at start after a power cut.

deltalake writes log entries without fsync. A commit counts here only once its entry is synced, so what a power cut
may tear is the newest entry, whose rows the ledger still has, or a checkpoint, which repeats older entries.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hutong.store.lake.files import sync

HINT = "_last_checkpoint"


def entry(log: Path, version: int) -> Path:
    """Where the commit of a version is written."""
    return log / f"{version:020}.json"


def persist(log: Path, first: int, last: int) -> None:
    """Make the commits `first` to `last` survive a power cut."""
    for version in range(first, last + 1):
        sync(entry(log, version))
    sync(log)


def persist_checkpoint(log: Path, version: int) -> None:
    """Make the checkpoint of a version survive a power cut."""
    sync(checkpoint(log, version))
    sync(log / HINT)
    sync(log)


def mend(log: Path) -> None:
    """Set aside torn checkpoints and a torn newest entry, as `*.torn`."""
    torn = [path for path in log.glob("*.checkpoint.parquet") if not _is_parquet(path)]
    if (log / HINT).exists() and not _names_checkpoint(log, torn):
        torn.append(log / HINT)
    newest = max(log.glob("[0-9]*.json"), default=None)
    if newest is not None and not _is_entry(newest):
        torn.append(newest)
    for path in torn:
        path.rename(path.with_name(f"{path.name}.torn"))


def checkpoint(log: Path, version: int) -> Path:
    """Where the checkpoint of a version is written."""
    return log / f"{version:020}.checkpoint.parquet"


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except pa.ArrowInvalid:
        return False
    return True


def _names_checkpoint(log: Path, torn: list[Path]) -> bool:
    try:
        named = checkpoint(log, int(json.loads((log / HINT).read_bytes())["version"]))
    except (ValueError, KeyError):
        return False
    return named.exists() and named not in torn


def _is_entry(path: Path) -> bool:
    lines = path.read_bytes().splitlines()
    try:
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False
