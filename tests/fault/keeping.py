"""All that a data folder and its database hold of the history, to be compared with what was sent."""

from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from hutong.engines.sense.observations import CHANGED, Block
from hutong.kernel.clock import FrozenClock, SystemClock
from hutong.kernel.ledger import Position
from hutong.store.lake import LakeHistory
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.ledger import SqlLedger


def kept(data: Path, address: str) -> pl.DataFrame:
    """Every row that is kept: those in the lake's files, and those that only the ledger has, none left out."""
    folder = data / "history"
    database = SqlDatabase(address)
    ledger = SqlLedger(database)
    lake = LakeHistory(folder, FrozenClock(SystemClock().now()))
    lanes = ledger.lanes()
    marks = lake.watermarks(list(lanes))
    lake.close()
    frames = [pl.read_parquet(folder / file) for file in DeltaTable(str(folder)).file_uris()]
    for lane in lanes:
        after = max(0, marks[lane])
        while entries := ledger.read(lane, after, 500, (CHANGED,)):
            frames += [
                Block.decode(payload).history(Position(lane, row.n)) for row, payload in entries if payload is not None
            ]
            after = entries[-1].row.n
    database.close()
    return pl.concat([frame.select("entity", "attribute", "at", "number") for frame in frames])
