"""Amounts are exact, and postings balance."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.kernel.accounts import ENTRIES_MAX, FEN_MAX, Account, Accounts, Entry, Money, Posted, Posting, Standing
from hutong.kernel.clock import FrozenClock
from hutong.kernel.errors import InvalidInput, OutOfRange
from hutong.kernel.ids import CountedIds
from hutong.kernel.transactions import Transaction


class NoStore:
    """Fails when it is reached: what is wrong with a posting is found before."""

    def open(self, tx: Transaction, account: Account) -> bool:
        raise AssertionError

    def standing(self, tx: Transaction, ids: object) -> dict[str, Standing]:
        raise AssertionError

    def find(self, tx: Transaction, key: str) -> Posted | None:
        raise AssertionError

    def insert(self, tx: Transaction, posted: Posted) -> None:
        raise AssertionError


class NoTransaction:
    lane = "none"


@given(st.integers(-FEN_MAX, FEN_MAX))
def test_yuan_and_fen_are_the_same_amount(fen: int) -> None:
    money = Money(fen)
    assert Money.yuan(money.in_yuan()) == money
    assert Money.yuan(str(money.in_yuan())) == money
    assert money - money == Money(0)
    assert money + -money == Money(0)


@given(st.decimals(min_value=0, max_value=10_000, places=4))
def test_no_fraction_of_a_fen_is_lost_or_made(yuan: Decimal) -> None:
    if yuan * 100 == int(yuan * 100):
        assert Money.yuan(yuan).fen == yuan * 100
    else:
        with pytest.raises(InvalidInput, match="a fraction of a fen"):
            Money.yuan(yuan)


@pytest.mark.parametrize(
    ("amount", "error", "says"),
    [
        ("0.001", InvalidInput, "a fraction of a fen"),
        ("12.3400000000000000000000000000000000000000000000001", InvalidInput, "a fraction of a fen"),
        ("1e-999999999", InvalidInput, "a fraction of a fen"),
        ("twelve", InvalidInput, "amount: not an amount in yuan; seen: twelve"),
        ("", InvalidInput, "not an amount"),
        ("NaN", OutOfRange, "too much money"),
        ("Infinity", OutOfRange, "too much money"),
        ("1e999999999", OutOfRange, "too much money"),
        (FEN_MAX // 100 + 1, OutOfRange, "too much money"),
    ],
)
def test_amounts_that_are_none(amount: str | int, error: type[InvalidInput], says: str) -> None:
    with pytest.raises(error, match=says):
        Money.yuan(amount, "amount")


def test_how_amounts_read() -> None:
    assert str(Money.yuan("1234567.5")) == "1,234,567.50 元"
    assert str(Money(-1)) == "-0.01 元"
    assert Money.yuan("12.50000") == Money.yuan(Decimal("12.5")) == Money(1250)


@pytest.mark.parametrize(
    ("fens", "says"),
    [
        ((100, -99), "debits and credits differ; seen: 0.01 元"),
        ((100,), "too few or too many entries"),
        ((0, 0), r"entries\[0\].amount: not an amount"),
        ((FEN_MAX + 1, -FEN_MAX - 1), r"entries\[0\].amount: not an amount"),
        ((1,) * ENTRIES_MAX + (-ENTRIES_MAX,), "too few or too many entries"),
    ],
)
def test_a_posting_that_does_not_balance_is_refused(fens: tuple[int, ...], says: str) -> None:
    books = Accounts(NoStore(), FrozenClock(0), CountedIds())
    entries = tuple(Entry(f"account{n}", Money(fen)) for n, fen in enumerate(fens))
    with pytest.raises(InvalidInput, match=says):
        books.post(NoTransaction(), Posting(key="p", entries=entries, reason="test"))


def test_a_payment_needs_a_key() -> None:
    entries = (Entry("a", Money(1)), Entry("b", Money(-1)))
    with pytest.raises(InvalidInput, match="a payment needs a key"):
        Accounts(NoStore(), FrozenClock(0), CountedIds()).post(
            NoTransaction(), Posting(key="", entries=entries, reason="test")
        )
