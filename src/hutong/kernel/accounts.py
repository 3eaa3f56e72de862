"""Money: double entry in fen. A posting balances or is refused, and has one key for life, so nothing is paid twice."""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Literal, Protocol

import msgspec

from hutong.kernel.clock import Clock
from hutong.kernel.errors import AlreadyExists, Conflict, InvalidInput, NotFound, OutOfRange
from hutong.kernel.ids import Ids
from hutong.kernel.transactions import Transaction

FEN_MAX = 10**14  # a trillion yuan; the sum of 90,000 such amounts still fits 64 bits
ENTRIES_MAX = 1_000

_FEN = Decimal("0.01")
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


class Money(msgspec.Struct, frozen=True, order=True):
    """An amount in fen, the hundredth part of a yuan; negative for what flows back."""

    fen: int

    @classmethod
    def yuan(cls, amount: Decimal | int | str, where: str = "") -> "Money":
        """Exactly this many yuan: `12.5` is 1250 fen.

        Raises InvalidInput for what is no decimal number or has fractions of a fen, OutOfRange beyond FEN_MAX.
        """
        try:
            exact = Decimal(amount)
        except InvalidOperation:
            raise InvalidInput("not an amount in yuan", where=where, seen=amount, fix='write it as "12.50"') from None
        if not exact.is_finite() or exact.copy_abs() > FEN_MAX // 100:
            raise OutOfRange("too much money", where=where, seen=amount, allowed=f"{FEN_MAX // 100} yuan at most")
        try:
            return cls(int(_EXACT.quantize(exact, _FEN).scaleb(2)))
        except Inexact:
            fix = "round it by the rule that grants it"
            raise InvalidInput("a fraction of a fen cannot be paid", where=where, seen=amount, fix=fix) from None

    def in_yuan(self) -> Decimal:
        """The amount in yuan with two decimals."""
        return Decimal(self.fen).scaleb(-2).quantize(_FEN)

    def __str__(self) -> str:
        return f"{self.in_yuan():,} 元"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.fen + other.fen)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.fen - other.fen)

    def __neg__(self) -> "Money":
        return Money(-self.fen)


Kind = Literal["asset", "liability", "equity", "income", "expense"]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Something that holds or owes money: a budget, a beneficiary, a deposit. `least` bounds its balance from below."""

    id: str
    kind: Kind
    owner: str
    city: str = ""
    place: str = ""
    least: Money | None = None


class Entry(msgspec.Struct, frozen=True):
    """One line of a posting: a debit to the account when positive, a credit when negative."""

    account: str
    amount: Money


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """Entries that belong together. `key` is the payment's for life; `caused_by` the event that owes it."""

    key: str
    entries: tuple[Entry, ...]
    reason: str
    caused_by: str = ""


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A posting as it stands in the books."""

    id: str
    at: int
    posting: Posting


class Standing(msgspec.Struct, frozen=True):
    """An account and its balance: the sum of its debits less its credits."""

    account: Account
    balance: Money


class AccountStore(Protocol):
    """Where accounts and postings are kept."""

    def open(self, tx: Transaction, account: Account) -> bool:
        """False when the id is taken."""

    def standing(self, tx: Transaction, ids: Sequence[str]) -> Mapping[str, Standing]:
        """Of those accounts that exist."""

    def find(self, tx: Transaction, key: str) -> Posted | None: ...

    def insert(self, tx: Transaction, posted: Posted) -> None: ...


class Accounts:
    """The books."""

    def __init__(self, store: AccountStore, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids

    def open(self, tx: Transaction, account: Account) -> None:
        """Raises AlreadyExists when the id is taken."""
        if not self._store.open(tx, account):
            raise AlreadyExists("there is an account with this id", where="id", seen=account.id)

    def post(self, tx: Transaction, posting: Posting) -> Posted:
        """Enter a posting; the same again answers what was entered first.

        Raises InvalidInput when it does not balance, NotFound for an unknown account, OutOfRange when a balance would
        fall below its least, and Conflict when its key stands for another payment.
        """
        _check(posting)
        known = self._store.find(tx, posting.key)
        if known is not None:
            if known.posting != posting:
                raise Conflict(
                    "this payment was made before, and it was another one",
                    where="key",
                    seen=posting.key,
                    fix="look at the first one; a new payment needs a key of its own",
                )
            return known
        self._check_accounts(tx, posting)
        posted = Posted(id=self._ids.new(), at=self._clock.now(), posting=posting)
        self._store.insert(tx, posted)
        return posted

    def known(self, tx: Transaction, key: str) -> bool:
        """Whether a posting with this key was entered before."""
        return self._store.find(tx, key) is not None

    def _check_accounts(self, tx: Transaction, posting: Posting) -> None:
        changes: dict[str, int] = {}
        for entry in posting.entries:
            changes[entry.account] = changes.get(entry.account, 0) + entry.amount.fen
        standing = self._store.standing(tx, sorted(changes))
        if missing := sorted(changes.keys() - standing.keys()):
            raise NotFound("there is no such account", where="entries", seen=", ".join(missing))
        for id, change in changes.items():
            least, after = standing[id].account.least, Money(standing[id].balance.fen + change)
            if least is not None and change < 0 and after < least:
                raise OutOfRange(
                    f"account {id} does not hold that much",
                    where="entries",
                    seen=str(after),
                    allowed=f"{least} or more",
                    fix="fund the account first",
                )

    def balance(self, tx: Transaction, account: str) -> Money:
        """Debits less credits. Raises NotFound."""
        found = self._store.standing(tx, [account])
        if account not in found:
            raise NotFound("there is no such account", where="account", seen=account)
        return found[account].balance


def _check(posting: Posting) -> None:
    if not posting.key:
        raise InvalidInput("a payment needs a key", where="key", fix="derive it from what is paid, not from the time")
    if not 2 <= len(posting.entries) <= ENTRIES_MAX:
        raise InvalidInput(
            "too few or too many entries",
            where="entries",
            seen=str(len(posting.entries)),
            allowed=f"2 to {ENTRIES_MAX}",
        )
    for i, entry in enumerate(posting.entries):
        if not 0 < abs(entry.amount.fen) <= FEN_MAX:
            raise OutOfRange(
                "not an amount that can be entered",
                where=f"entries[{i}].amount",
                seen=entry.amount.fen,
                allowed=f"1 to {FEN_MAX} fen, debit or credit",
            )
    rest = sum(entry.amount.fen for entry in posting.entries)
    if rest:
        raise InvalidInput(
            "debits and credits differ",
            where="entries",
            seen=str(Money(rest)),
            allowed=str(Money(0)),
            fix="enter where the rest comes from or goes to",
        )
