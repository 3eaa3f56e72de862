"""The ledger, its seals and its followers hold the same promises on every store."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from hutong.engines.sense.observations import CHANGED
from hutong.engines.sense.ports import Attribute, Change, ChangeEntities, HistoryQuery, Verb
from hutong.kernel.commands import Request
from hutong.kernel.errors import NotFound, Overloaded, StorageFull
from hutong.kernel.housekeeping import MoveCursor, Note, Seal, Within
from hutong.kernel.ledger import GENESIS, SEALED, Entry, Event, Ledger, Sealed, latest_seal
from hutong.kernel.reactors import Reactors
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.tables import ledger_payload
from tests.contract.core import NOON, Core


@pytest.fixture
def database(database_url: str) -> Iterator[SqlDatabase]:
    database = SqlDatabase(database_url)
    yield database
    database.close()


@pytest.fixture
def store(database: SqlDatabase) -> SqlLedger:
    return SqlLedger(database)


def event(kind: str = "told", payload: bytes = b"something") -> Event:
    return Event(kind=kind, payload=payload, at=NOON, actor="tester", city="330100", scope="330106", caused_by="why")


def append(database: SqlDatabase, ledger: Ledger, *events: Event) -> list[str]:
    with database.begin() as tx:
        positions = [str(ledger.emit(one)) for one in events]
        ledger.write(tx)
    ledger.committed()
    return positions


def test_events_come_back_as_they_were_told_and_in_order(database: SqlDatabase, store: SqlLedger) -> None:
    ledger = Ledger(store, "main")
    assert append(database, ledger, event(payload=b"\0\xff"), event("other")) == ["main:1", "main:2"]
    first, second = ledger.entries()
    assert first.payload == b"\0\xff"
    assert (first.row.kind, first.row.at, first.row.actor, first.row.city, first.row.scope, first.row.caused_by) == (
        "told", NOON, "tester", "330100", "330106", "why",
    )  # fmt: skip
    assert first.row.prev_hash == GENESIS
    assert second.row.n == 2
    assert [entry.row.n for entry in ledger.entries(kinds=("other",))] == [2]
    assert [entry.row.n for entry in ledger.entries({"main": 1})] == [2]
    assert store.lanes() == {"main": 2}
    assert list(ledger.verify()) == []


def test_pages_end_where_they_may(database: SqlDatabase, store: SqlLedger) -> None:
    ledger = Ledger(store, "main")
    append(database, ledger, *(event(payload=bytes([n])) for n in range(7)))
    for page in (1, 3, 7, 10):
        assert [entry.payload for entry in ledger.entries(page=page)] == [bytes([n]) for n in range(7)]


def test_what_is_rolled_back_leaves_neither_trace_nor_gap(database: SqlDatabase, store: SqlLedger) -> None:
    ledger = Ledger(store, "main")
    append(database, ledger, event())
    with suppress(ZeroDivisionError), database.begin() as tx:
        ledger.emit(event())
        ledger.emit(event())
        ledger.write(tx)
        raise ZeroDivisionError
    ledger.rolled_back()
    assert store.lanes() == {"main": 1}
    assert append(database, ledger, event("after")) == ["main:2"]
    assert [entry.row.kind for entry in ledger.entries()] == ["told", "after"]
    assert list(ledger.verify()) == []


def test_the_chain_goes_on_after_a_restart(database: SqlDatabase, store: SqlLedger) -> None:
    append(database, Ledger(store, "main"), event(), event())
    again = Ledger(store, "main")
    assert append(database, again, event()) == ["main:3"]
    assert list(again.verify()) == []


def test_lanes_are_chains_of_their_own(database: SqlDatabase, store: SqlLedger) -> None:
    here, there = Ledger(store, "here"), Ledger(store, "there")
    append(database, here, event("a"))
    append(database, there, event("b"))
    append(database, here, event("c"))
    assert store.lanes() == {"here": 2, "there": 1}
    assert {(entry.row.lane, entry.row.n, entry.row.kind) for entry in here.entries()} == {
        ("here", 1, "a"), ("here", 2, "c"), ("there", 1, "b"),
    }  # fmt: skip
    assert list(here.verify()) == []


def test_the_hash_may_be_sm3_and_is_not_mistaken(database: SqlDatabase, store: SqlLedger) -> None:
    append(database, Ledger(store, "main", "sm3"), event(), event())
    assert list(Ledger(store, "main", "sm3").verify()) == []
    assert list(Ledger(store, "main", "sha256").verify()) != []


def test_a_payload_that_is_gone_without_a_seal_is_noticed(database: SqlDatabase, store: SqlLedger) -> None:
    ledger = Ledger(store, "main")
    append(database, ledger, event(), event())
    with database.engine.begin() as connection:
        connection.execute(ledger_payload.delete().where(ledger_payload.c.n == 2))
    assert ["main:2" in fault for fault in ledger.verify()] == [True]


def test_outcomes_are_kept_once(database: SqlDatabase, store: SqlLedger) -> None:
    with database.begin() as tx:
        store.remember(tx, [("a", b"first", NOON), ("b", b"\0", NOON)])
    with database.begin() as tx:
        store.remember(tx, [("a", b"second", NOON)])
        assert store.outcomes(tx, ["a", "b", "c"]) == {"a": b"first", "b": b"\0"}


def test_a_note_is_an_event_and_tells_its_place(core: Core) -> None:
    assert core.ask(Note(kind="lake.told", payload=b"much")) == "main:1"
    [entry] = core.ledger.entries()
    assert (entry.row.kind, entry.row.actor, entry.payload) == ("lake.told", "tester", b"much")


def test_a_seal_drops_payloads_of_its_kinds_only_and_the_chain_still_verifies(core: Core) -> None:
    for kind in ("big", "small", "big", "big"):
        core.ask(Note(kind=kind, payload=kind.encode()))
    sealed = Sealed(upto={"main": 3}, checkpoint="file", checkpoint_hash=b"hash")
    assert core.ask(Seal(kinds=("big",), drop={"main": 3}, sealed=sealed)) == 2
    payloads = {entry.row.n: entry.payload for entry in core.ledger.entries()}
    assert (payloads[1], payloads[2], payloads[3], payloads[4]) == (None, b"small", None, b"big")
    assert latest_seal(core.ledger.entries(kinds=(SEALED,))) == sealed
    assert list(core.ledger.verify()) == []


def test_a_piece_of_work_is_an_outcome_or_a_refusal_and_only_work_with_a_kind_is_told(core: Core) -> None:
    assert core.ask(Within(kind="", work=lambda tx: 41)) == 41
    assert core.ask(Within(kind="work.done", work=lambda tx: 42)) == 42

    def refuse(tx: Any) -> None:
        raise NotFound("not this one")

    with pytest.raises(NotFound):
        core.ask(Within(kind="work.done", work=refuse))
    assert [entry.row.kind for entry in core.ledger.entries()] == ["work.done"]


def test_a_cursor_stands_where_it_was_moved_to(core: Core) -> None:
    assert core.ledger_store.position("reader") == {}
    core.ask(MoveCursor(name="reader", to={"main": 3, "side": 1}))
    core.ask(MoveCursor(name="reader", to={"main": 4}))
    assert core.ledger_store.position("reader") == {"main": 4, "side": 1}


class Counting:
    """A reactor: for each change of a tank it adds an observation, without a time, to a tally."""

    name = "counting"
    kinds = (CHANGED,)

    def __init__(self) -> None:
        self.saw: list[int] = []

    def react(self, entry: Entry) -> Sequence[Request]:
        if entry.row.actor == f"reactor:{self.name}":
            return ()  # what it did itself
        self.saw.append(entry.row.n)
        change = Change(
            verb=Verb.APPEND,
            upsert=True,
            id="urn:tally",
            types=("Tank",),
            attributes={"level": Attribute(value=float(entry.row.n))},
        )
        return [Request(command=ChangeEntities(changes=[change], source="tally"), actor="ignored")]


class Failing:
    """A writer that takes everything but moves of cursors, as one whose process dies before."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def submit(self, request: Request) -> Any:
        if isinstance(request.command, MoveCursor):
            raise StorageFull("died here")
        return self._core.writer.submit(request)


def tallied(core: Core) -> list[float]:
    core.minutes(1)
    return core.lake.read(HistoryQuery(entities=("urn:tally",), attributes=("level",)))["number"].to_list()


def test_a_reactor_follows_with_a_cursor_and_tells_what_it_saw(core: Core) -> None:
    core.observe("urn:tank:a", NOON, level=1.0)
    core.observe("urn:tank:b", NOON, level=2.0)
    counting = Counting()
    reactors = Reactors((counting,), core.ledger_store, core.ledger_store, core.writer)
    assert reactors.catch_up() == 4  # two, and then its own two
    assert reactors.catch_up() == 0
    assert counting.saw == [1, 2]
    caused = [entry.row.caused_by for entry in core.ledger.entries() if entry.row.actor == "reactor:counting"]
    assert caused == ["main:1", "main:2"]


def test_a_crash_between_a_command_and_the_cursor_doubles_nothing(core: Core) -> None:
    core.observe("urn:tank:a", NOON, level=1.0)
    core.observe("urn:tank:b", NOON, level=2.0)
    dying = Reactors((Counting(),), core.ledger_store, core.ledger_store, Failing(core))  # type: ignore[arg-type]  # a writer that fails
    with pytest.raises(StorageFull):
        dying.catch_up()
    assert core.ledger_store.position("counting") == {}
    before = tallied(core)
    assert sorted(before) == [1.0, 2.0]
    again = Counting()
    Reactors((again,), core.ledger_store, core.ledger_store, core.writer).catch_up()
    assert again.saw == [1, 2], "it saw them again"
    assert tallied(core) == before, "and did nothing again"
    assert core.ledger_store.position("counting")["main"] >= 2


def test_a_keyed_repeat_is_told_the_first_outcome_faults_included(core: Core) -> None:
    changes = [
        Change(verb=Verb.CREATE, id="urn:tank:a", types=("Tank",), attributes={"level": Attribute(value=1.0)}),
        Change(verb=Verb.UPDATE, id="urn:tank:none", attributes={"level": Attribute(value=1.0)}),
        Change(verb=Verb.APPEND, id="urn:tank:a", attributes={"share": Attribute(value=1.0)}),
    ]
    first, second = (core.change(*msgspec.msgpack.decode(msgspec.msgpack.encode(changes), type=list[Change]), key="k")
                     for _ in range(2))  # fmt: skip
    for once in (first, second):
        assert (once[0].created, once[0].changed) == (True, ("level",))
        assert isinstance(once[1].error, NotFound)
        assert list(once[2].refused) == ["share"]
    assert str(second[1].error) == str(first[1].error)
    assert str(second[2].refused["share"]) == str(first[2].refused["share"])


@pytest.fixture
def on_postgres(postgres: str, tmp_path: Path) -> Iterator[Core]:
    """The writing core where a server can go away."""
    core = Core(postgres, tmp_path)
    yield core
    core.close()


def end_other_sessions(core: Core) -> None:
    """What a restart of the database does to those who use it."""
    with core.database.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_that_goes_away_is_told_as_such_and_work_goes_on_when_it_is_back(on_postgres: Core) -> None:
    core = on_postgres
    core.observe("urn:tank:a", NOON, level=0.0)
    end_other_sessions(core)
    with pytest.raises(Overloaded, match="does not answer"):
        core.observe("urn:tank:a", NOON + 1, level=1.0)
    core.observe("urn:tank:a", NOON + 2, level=2.0)
    assert core.document("urn:tank:a")["level"].value == 2.0
    assert list(core.ledger.verify()) == []


class Breaking:
    """A writing connection that breaks at its next commit, before or after the server has done it."""

    def __init__(self, core: Core, done: bool) -> None:
        self._core, self._connection, self._done = core, core.database._writing, done

    def commit(self) -> None:
        if self._done:
            self._connection.commit()
        end_other_sessions(self._core)
        raise psycopg.OperationalError("the connection is lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("done", [True, False], ids=["committed", "not committed"])
def test_a_commit_whose_answer_is_lost_is_looked_up(on_postgres: Core, done: bool) -> None:
    core = on_postgres
    core.observe("urn:tank:a", NOON, level=0.0)
    core.database._writing = Breaking(core, done)  # type: ignore[assignment]  # one that breaks
    if done:
        assert core.observe("urn:tank:a", NOON + 1, level=1.0).changed == ("level",)
    else:
        with pytest.raises(Overloaded):
            core.observe("urn:tank:a", NOON + 1, level=1.0)
    core.observe("urn:tank:a", NOON + 2, level=2.0)
    history = core.lake.read(HistoryQuery(entities=("urn:tank:a",), attributes=("level",)))
    assert history["number"].to_list() == ([0.0, 1.0, 2.0] if done else [0.0, 2.0])
    assert list(core.ledger.verify()) == []
