"""A folder of this process for what does not fit in memory; those of processes that died are swept away."""

import fcntl
import shutil
from pathlib import Path
from typing import IO

from hutong.kernel.ids import Ids


class Spill:
    """Holds a lock in its folder for as long as it lives; the system lets go of it when the process dies."""

    def __init__(self, home: Path, ids: Ids) -> None:
        home.mkdir(exist_ok=True)
        for old in home.glob("[!.]*"):
            with (old / "lock").open("ab") as lock:
                if _taken(lock):
                    shutil.rmtree(old, ignore_errors=True)
        name = ids.new()
        draft = home / f".{name}"  # passed over by others until it is locked
        draft.mkdir()
        self._lock = (draft / "lock").open("ab")
        _taken(self._lock)
        self.folder = draft.rename(home / name)

    def close(self) -> None:
        shutil.rmtree(self.folder)
        self._lock.close()


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
