"""The writing core of a city with its packs, in memory but for the database, for tests of what feeds it."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.compile import compile_types
from hutong.engines.sense.handler import SenseHandler
from hutong.engines.sense.history import Struck
from hutong.engines.sense.ports import (
    HISTORY_SCHEMA,
    AlertAction,
    Attribute,
    ChangeEntities,
    EntityQuery,
    EntityRow,
    Tick,
)
from hutong.engines.sense.subscriptions import Subscriptions
from hutong.kernel.clock import FrozenClock
from hutong.kernel.housekeeping import Housekeeper
from hutong.kernel.ids import CountedIds
from hutong.kernel.ledger import Ledger
from hutong.kernel.outbox import Outbox
from hutong.kernel.packs import Packs
from hutong.kernel.packs.faults import Faults
from hutong.kernel.writer import Writer
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.outbox import SqlOutbox
from hutong.store.sql.past import SqlPast


class KeptHistory:
    """A HistoryWriter that keeps every row it was given, in order."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    @property
    def rows(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=HISTORY_SCHEMA), *self._frames])

    def append(self, rows: pl.DataFrame) -> None:
        self._frames.append(rows)

    def room(self, rows: int) -> None:
        """There is always room."""

    def repeated(self, rows: pl.DataFrame) -> pl.Series:
        same = ["tenant", "entity", "attribute", "at", "kind", "number", "text"]
        known = self.rows.select(same).unique().with_columns(known=True)
        return rows.join(known, on=same, how="left", nulls_equal=True)["known"].fill_null(False)

    def strike(self, struck: Sequence[Struck]) -> None:
        raise NotImplementedError

    def strike_room(self, strikes: int) -> None:
        raise NotImplementedError


class Sensing:
    """A writer over a database file, with the types and rules that packs declare."""

    def __init__(self, packs: Packs, folder: Path, at: int | str) -> None:
        faults = Faults()
        overlays = compile_types(packs, faults)
        faults.check()
        self._gate = threading.Lock()
        self.clock, self.history = FrozenClock(at), KeptHistory()
        self.database = SqlDatabase(f"sqlite:///{folder / 'hutong.db'}")
        ledger = SqlLedger(self.database)
        self.entities, self.alerts = SqlEntities(self.database), SqlAlerts(self.database, self.clock)
        handler = SenseHandler(
            overlays,
            self.entities,
            self.alerts,
            self.history,
            self.clock,
            CountedIds(),
            city="330100",
            undeclared=False,
            locate=lambda lon, lat: "",
            published=self._published,
            subscriptions=Subscriptions(SqlDocuments(self.database), Outbox(SqlOutbox(self.database))),
            past=SqlPast(self.database),
        )
        house = Housekeeper(ledger, ledger, self.clock, "330100")
        self.writer = Writer(
            self.database,
            Ledger(ledger, "main"),
            ledger,
            self.clock,
            {
                **dict.fromkeys((ChangeEntities, Tick, AlertAction), handler),
                **dict.fromkeys(house.COMMANDS, house),
            },
        )
        self.writer.start()

    def _published(self, changed: object, alerts: object) -> None:
        with self._gate:
            return

    def close(self) -> None:
        self.writer.close()
        self.database.close()

    def rows(self, type: str = "") -> Sequence[EntityRow]:
        """Entities as they stand, of a type or of all."""
        types = ((type,),) if type else ()
        return self.entities.find(EntityQuery(types=types, limit=100_000))

    def latest(self, id: str) -> int | None:
        row = self.entities.get("", id)
        return None if row is None else row.observed_at

    def values(self, id: str) -> Mapping[str, Any]:
        """The values of an entity by property."""
        row = self.entities.get("", id)
        assert row is not None
        document = msgspec.json.decode(row.doc, type=dict[str, Attribute])
        return {key: attribute.value for key, attribute in document.items()}

    def pause(self) -> None:
        """Let the writer stand still in front of its next group."""
        self._gate.acquire()

    def resume(self) -> None:
        self._gate.release()
