"""The data folder of a city: whose it is, and that one process at a time has it."""

import fcntl
import os
from pathlib import Path
from typing import IO

from hutong.kernel.clock import SystemClock
from hutong.kernel.errors import Conflict, InvalidInput
from hutong.kernel.ids import TimeOrderedIds

CITY_FILE = "city"


def usable(data: Path) -> Path:
    """A data folder, made where it is not there yet. Raises InvalidInput where it cannot be written."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        if os.access(data, os.W_OK | os.X_OK):
            return data
        reason = "it cannot be written"
    except OSError as error:
        reason = str(error.strerror)
    raise InvalidInput(
        "the data folder cannot be used", where="--data", seen=str(data), fix=f"{reason}; choose another, or mend that"
    )


def kept_city(data: Path, wanted: str = "") -> str:
    """The city that a data folder belongs to, else the one wanted. Raises Conflict when they differ."""
    file = data / CITY_FILE
    kept = file.read_text().strip() if file.exists() else wanted
    if wanted and kept != wanted:
        raise Conflict(
            "these data belong to another city",
            where="--city",
            seen=wanted,
            allowed=kept,
            fix="leave --city out, or choose another --data",
        )
    return kept


def locked(data: Path, name: str) -> IO[str]:
    """Hold a data folder for one process at a time. Raises Conflict."""
    file = (data / f"{name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Conflict(
            "another Hutong has this data folder open", where=str(data), fix="stop it, or choose another --data"
        ) from None
    return file


def lane_of(data: Path) -> str:
    """The ledger lane of this data folder, chosen once."""
    file = data / "lane"
    if not file.exists():
        file.write_text(f"lane-{TimeOrderedIds(SystemClock()).new()}")
    return file.read_text().strip()
