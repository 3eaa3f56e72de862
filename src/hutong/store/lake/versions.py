"""One version of the history's files, for a copy that belongs to one moment."""

from collections.abc import Collection
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from hutong.kernel.errors import Conflict
from hutong.store.lake.log import HINT

LOG = "_delta_log"


def files_of(folder: Path, version: int) -> list[str]:
    """Paths below `folder` of all that makes this version: data files and the log up to it, sorted.

    Raises Conflict when the version cannot be opened any more.
    """
    try:
        table = DeltaTable(str(folder), version=version)
    except DeltaError as error:
        raise Conflict(
            "this version of the history is gone already", where=str(folder), seen=str(version), fix="do it again"
        ) from error
    data = table.file_uris()
    root = folder.resolve()
    return sorted([*(str(Path(file).resolve().relative_to(root)) for file in data), *_log(folder, version)])


def watermarks_at(folder: Path, version: int, lanes: Collection[str]) -> dict[str, int]:
    """The highest ledger row of each lane that the files of this version hold; -1 where there is none."""
    table = DeltaTable(str(folder), version=version)
    marks = {lane: table.transaction_version(lane) for lane in lanes}
    return {lane: -1 if mark is None else mark for lane, mark in marks.items()}


def _log(folder: Path, version: int) -> list[str]:
    """Names of the log up to a version. The hint to its newest checkpoint stays away: it may name a later one."""
    names = (path.name for path in (folder / LOG).iterdir() if path.is_file() and path.name != HINT)
    return [f"{LOG}/{name}" for name in names if name[:20].isdigit() and int(name[:20]) <= version]
