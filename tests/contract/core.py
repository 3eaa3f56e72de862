"""The writing core over a real database and lake, with one declared type, for contract and fault tests."""

from pathlib import Path
from typing import Any

import msgspec

from hutong.engines.sense.amend import AmendHandler
from hutong.engines.sense.changes import Changer
from hutong.engines.sense.declarations import AlertDeclaration, EntityDeclaration
from hutong.engines.sense.documents import DocumentHandler
from hutong.engines.sense.handler import SenseHandler
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import (
    Alert,
    AlertAction,
    AlertQuery,
    Attribute,
    Change,
    Changed,
    ChangeEntities,
    Tick,
    Verb,
)
from hutong.engines.sense.subscriptions import Remind, Subscriptions
from hutong.engines.sense.upkeep import Upkeep
from hutong.kernel.clock import MINUTE, FrozenClock, instant
from hutong.kernel.commands import Handler, Request
from hutong.kernel.housekeeping import Housekeeper
from hutong.kernel.ids import CountedIds
from hutong.kernel.ledger import Ledger
from hutong.kernel.outbox import Outbox, OutboxHandler
from hutong.kernel.writer import Writer
from hutong.store.lake import LakeHistory
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.outbox import SqlOutbox
from hutong.store.sql.past import SqlPast

NOON = instant("2026-05-01T12:00:00+08:00")
TANK = {
    "grade": "open",
    "retention": "400 d",
    "property": {
        "name": {"type": "text"},
        "capacity": {"type": "number", "unit": "LTR", "min": 0},
        "level": {"type": "number", "unit": "LTR", "min": 0, "max": "capacity", "index": True},
        "share": {"type": "number", "unit": "C62", "derive": "level / capacity"},
        "valve": {"type": "text", "values": ["open", "shut"]},
        "pressure": {"type": "number", "unit": "KPA", "min": 0, "max": 900, "outside": "reject"},
        "location": {"type": "point"},
    },
}
RULES = {
    "full": {"on": "Tank", "when": "share >= 0.9", "clear": "share < 0.8", "for": "10 min"},
    "leak": {"on": "Tank", "when": "rate(level) < -1", "severity": "critical"},
    "silent": {"on": "Tank", "silent_for": "30 min"},
}


class Core:
    """Everything between a command and the stores, on one database address."""

    def __init__(self, url: str, folder: Path, *, undeclared: bool = False, keep_history: bool = True) -> None:
        self.clock = FrozenClock(NOON)
        rules = {name: (msgspec.convert(rule, AlertDeclaration), _nowhere) for name, rule in RULES.items()}
        self.overlays = {"Tank": Overlay("Tank", msgspec.convert(TANK, EntityDeclaration), _nowhere, rules)}
        self.database = SqlDatabase(url)
        self.ledger_store = SqlLedger(self.database)
        self.ledger = Ledger(self.ledger_store, "main")
        self.entities = SqlEntities(self.database)
        self.entities.index("Tank", "level")
        self.alerts = SqlAlerts(self.database, self.clock)
        self.documents = SqlDocuments(self.database)
        self.past = SqlPast(self.database)
        self.lake = LakeHistory(folder / "history", self.clock)
        self.published: list[Any] = []
        self.outbox = Outbox(SqlOutbox(self.database))
        self.subscriptions = Subscriptions(self.documents, self.outbox)
        self.handler = SenseHandler(
            self.overlays,
            self.entities,
            self.alerts,
            self.lake,
            self.clock,
            CountedIds(),
            city="330100",
            undeclared=undeclared,
            locate=lambda lon, lat: "330106" if lon > 120 else "",
            published=lambda changed, alerts: self.published.append((changed, alerts)),
            subscriptions=self.subscriptions,
            past=self.past,
            keep_history=keep_history,
        )
        amend = AmendHandler(self.handler.changer, self.entities, self.past, self.lake, self.clock, "330100")
        house = Housekeeper(self.ledger_store, self.ledger_store, self.clock, "330100")
        handlers: dict[type, Handler] = dict.fromkeys((ChangeEntities, Tick, Remind, AlertAction), self.handler)
        handlers |= dict.fromkeys(amend.COMMANDS, amend)
        handlers |= dict.fromkeys(house.COMMANDS, house)
        self.kept = DocumentHandler(self.documents, self.clock, "330100")
        handlers |= dict.fromkeys(self.kept.COMMANDS, self.kept)
        self.kept.listeners.append(self.subscriptions.heard)
        outgoing = OutboxHandler(self.outbox, self.clock, "330100")
        handlers |= dict.fromkeys(outgoing.COMMANDS, outgoing)
        self.writer = Writer(self.database, self.ledger, self.ledger_store, self.clock, handlers, self.outbox.committed)
        self.writer.start()
        self.upkeep = Upkeep(
            self.overlays,
            self.lake,
            self.entities,
            self.alerts,
            self.documents,
            self.past,
            self.subscriptions,
            self.ledger_store,
            self.ledger_store,
            self.writer,
            self.clock,
            folder / "checkpoints",
            self.database.snapshot,
            self.database.size_bytes,
        )
        self.upkeep.recover()

    @property
    def changer(self) -> Changer:
        return self.handler.changer

    def ask(self, command: Any, key: str = "") -> Any:
        return self.writer.submit(Request(command=command, actor="tester", key=key)).result(60)

    def change(self, *changes: Change, source: str = "api", key: str = "", marks: int = 0) -> list[Changed]:
        outcome: list[Changed] = self.ask(ChangeEntities(changes=list(changes), source=source, marks=marks), key)
        return outcome

    def observe(self, id: str, at: int | None = None, **values: Any) -> Changed:
        """Upsert a tank with values observed at an instant."""
        attributes = {name: Attribute(value=value, observed_at=at) for name, value in values.items()}
        return self.change(Change(verb=Verb.APPEND, upsert=True, id=id, types=("Tank",), attributes=attributes))[0]

    def document(self, id: str) -> dict[str, Attribute]:
        row = self.entities.get("", id)
        assert row is not None
        return msgspec.json.decode(row.doc, type=dict[str, Attribute])

    def raised(self, *states: str) -> list[Alert]:
        return self.alerts.find(AlertQuery(states=states))

    def minutes(self, count: int) -> None:
        self.clock.advance(count * MINUTE)

    def close(self) -> None:
        self.writer.close()
        self.lake.close()
        self.database.close()


def _nowhere(*path: str | int) -> str:
    return "tank:1"
