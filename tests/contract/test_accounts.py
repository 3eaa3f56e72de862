"""The books on every store: balanced, exact, and nothing is paid twice."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hutong.kernel.accounts import Account, Accounts, Entry, Money, Posting
from hutong.kernel.bookkeeping import Bookkeeper, OpenAccount, Post
from hutong.kernel.clock import FrozenClock
from hutong.kernel.commands import Request
from hutong.kernel.errors import AlreadyExists, Conflict, NotFound, OutOfRange
from hutong.kernel.ids import CountedIds
from hutong.kernel.writer import Writer
from hutong.store.sql.accounts import SqlAccounts
from hutong.store.sql.database import SqlDatabase
from tests.contract.core import Core

CLOCK = FrozenClock("2026-05-01T10:00:00+08:00")
FUND, FIRM, TREASURY = "fund", "firm", "treasury"
NUMBERS = count()


@pytest.fixture
def database(database_url: str) -> Iterator[SqlDatabase]:
    opened = SqlDatabase(database_url)
    yield opened
    opened.close()


@pytest.fixture
def books(database: SqlDatabase) -> Accounts:
    accounts = Accounts(SqlAccounts(database), CLOCK, CountedIds())
    with database.begin() as tx:
        accounts.open(tx, Account(id=TREASURY, kind="equity", owner="city", city="330100"))
        accounts.open(tx, Account(id=FUND, kind="asset", owner="office", city="330100", least=Money(0)))
        accounts.open(tx, Account(id=FIRM, kind="expense", owner="a firm", city="330100"))
    return accounts


def payment(key: str, fen: int, source: str = FUND, target: str = FIRM) -> Posting:
    return Posting(key=key, entries=(Entry(target, Money(fen)), Entry(source, Money(-fen))), reason="subsidy")


def fund(books: Accounts, database: SqlDatabase, fen: int) -> None:
    with database.begin() as tx:
        books.post(tx, payment("funding", fen, TREASURY, FUND))


def balances(books: Accounts, database: SqlDatabase) -> dict[str, int]:
    with database.begin() as tx:
        return {id: books.balance(tx, id).fen for id in (TREASURY, FUND, FIRM)}


def test_a_posting_moves_balances(books: Accounts, database: SqlDatabase) -> None:
    fund(books, database, 1_000)
    with database.begin() as tx:
        posted = books.post(tx, payment("p1", 250))
    assert posted.at == CLOCK.now()
    assert balances(books, database) == {TREASURY: -1_000, FUND: 750, FIRM: 250}


def test_a_payment_is_made_once_in_its_life(books: Accounts, database: SqlDatabase) -> None:
    fund(books, database, 1_000)
    with database.begin() as tx:
        first = books.post(tx, payment("p1", 250))
    with database.begin() as tx:
        assert books.post(tx, payment("p1", 250)) == first
    with database.begin() as tx, pytest.raises(Conflict, match="made before, and it was another one"):
        books.post(tx, payment("p1", 251))
    assert balances(books, database)[FIRM] == 250


def test_an_account_does_not_fall_below_its_least(books: Accounts, database: SqlDatabase) -> None:
    fund(books, database, 1_000)
    with (
        database.begin() as tx,
        pytest.raises(OutOfRange, match=r"account fund does not hold that much.*seen: -0.01 元"),
    ):
        books.post(tx, payment("p1", 1_001))
    with database.begin() as tx:
        books.post(tx, payment("p2", 1_000))
    assert balances(books, database)[FUND] == 0


def test_what_is_rolled_back_was_not_paid(books: Accounts, database: SqlDatabase) -> None:
    fund(books, database, 1_000)

    def pay_and_fail() -> None:
        with database.begin() as tx:
            books.post(tx, payment("p1", 250))
            books.post(tx, payment("p1", 251))

    with pytest.raises(Conflict):
        pay_and_fail()
    assert balances(books, database)[FIRM] == 0
    with database.begin() as tx:
        books.post(tx, payment("p1", 300))
    assert balances(books, database)[FIRM] == 300


def test_unknown_and_taken_accounts(books: Accounts, database: SqlDatabase) -> None:
    with database.begin() as tx, pytest.raises(NotFound, match="nowhere"):
        books.post(tx, payment("p1", 1, "nowhere"))
    with database.begin() as tx, pytest.raises(NotFound):
        books.balance(tx, "nowhere")
    with database.begin() as tx, pytest.raises(AlreadyExists):
        books.open(tx, Account(id=FUND, kind="income", owner="somebody else"))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payments=st.lists(st.tuples(st.integers(1, 10**12), st.sampled_from([(FUND, FIRM), (FIRM, FUND)]))))
def test_money_is_neither_made_nor_lost(
    books: Accounts, database: SqlDatabase, payments: list[tuple[int, tuple[str, str]]]
) -> None:
    before = balances(books, database)
    moved = 0
    for fen, (source, target) in payments:
        with database.begin() as tx:
            try:
                books.post(tx, payment(f"p{next(NUMBERS)}", fen, source, target))
            except OutOfRange:
                continue
        moved += fen if target == FIRM else -fen
    after = balances(books, database)
    assert sum(after.values()) == 0
    assert after[FIRM] - before[FIRM] == moved
    assert after[FUND] >= 0


def test_money_by_command_is_told_to_the_ledger_once(core: Core) -> None:
    books = Bookkeeper(Accounts(SqlAccounts(core.database), CLOCK, CountedIds()), CLOCK, "330100")
    writer = Writer(core.database, core.ledger, core.ledger_store, CLOCK, dict.fromkeys(books.COMMANDS, books))
    writer.start()

    def ask(command: object) -> Any:
        return writer.submit(Request(command=command, actor="treasurer")).result(60)

    for id, kind in ((FUND, "asset"), (FIRM, "expense")):
        ask(OpenAccount(account=Account(id=id, kind=kind, owner="office", city="330100")))  # type: ignore[arg-type]  # a Literal
    first, again = ask(Post(posting=payment("k", 100))), ask(Post(posting=payment("k", 100)))
    assert first == again
    with pytest.raises(Conflict):
        ask(Post(posting=payment("k", 200)))
    with pytest.raises(AlreadyExists):
        ask(OpenAccount(account=Account(id=FUND, kind="asset", owner="office", city="330100")))
    writer.close()
    kinds = [entry.row.kind for entry in core.ledger.entries()]
    assert kinds == ["accounts.opened", "accounts.opened", "accounts.posted"]
