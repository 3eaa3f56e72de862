"""The ledger: everything that happens, durable and chained before it is acknowledged.

A row carries the hash of its payload and of the row before it in its lane; the payload stands apart, so that it can be
erased or moved while the chain still verifies. A lane belongs to one writing process.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from hutong.kernel.errors import IntegrityBroken
from hutong.kernel.transactions import Transaction

ALGORITHMS = ("sha256", "sm3")
SEALED = "ledger.sealed"
GENESIS = b"\0" * 32


class Position(NamedTuple):
    """A place in the ledger. Within a lane `n` counts from 1 without gaps."""

    lane: str
    n: int

    def __str__(self) -> str:
        return f"{self.lane}:{self.n}"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. `at` is when it became known; `caused_by` is a position or a command id."""

    kind: str
    payload: bytes
    at: int
    actor: str
    city: str = ""
    scope: str = ""
    caused_by: str = ""
    key_id: str = ""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An event as the chain holds it, without its payload."""

    lane: str
    n: int
    prev_hash: bytes
    payload_hash: bytes
    kind: str
    city: str
    scope: str
    at: int
    actor: str
    caused_by: str


class Entry(NamedTuple):
    """A row and its payload; None when the payload was sealed away or erased."""

    row: Row
    payload: bytes | None


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a `ledger.sealed` event: rows up to these positions now stand in a checkpoint."""

    upto: Mapping[str, int]
    checkpoint: str
    checkpoint_hash: bytes


class LedgerStore(Protocol):
    """Where rows and payloads are kept."""

    def last(self, lane: str) -> Row | None: ...

    def lanes(self) -> Mapping[str, int]:
        """Every lane and its last n."""

    def insert(
        self, tx: Transaction, rows: Sequence[Row], payloads: Sequence[bytes], key_ids: Sequence[str]
    ) -> None: ...

    def read(self, lane: str, after: int, limit: int, kinds: Sequence[str] = ()) -> list[Entry]:
        """Entries of a lane with n > after, in order."""

    def drop_payloads(self, tx: Transaction, upto: Mapping[str, int], kinds: Sequence[str]) -> int: ...

    def outcomes(self, tx: Transaction, command_ids: Sequence[str]) -> Mapping[str, bytes]: ...

    def remember(self, tx: Transaction, outcomes: Iterable[tuple[str, bytes, int]]) -> None:
        """Keep the outcome of commands (id, outcome, at) so that a repeat gets the first answer."""


class Ledger:
    """Appends to one lane and reads all. Only the writer's thread may append."""

    def __init__(self, store: LedgerStore, lane: str, algorithm: str = "sha256") -> None:
        if algorithm not in ALGORITHMS:
            raise IntegrityBroken("unknown hash algorithm", seen=algorithm, allowed=", ".join(ALGORITHMS))
        self._store, self.lane, self._algorithm = store, lane, algorithm
        last = store.last(lane)
        self._n, self._head = (last.n, self._hash_row(last)) if last else (0, GENESIS)
        self._pending: list[tuple[Row, bytes, str]] = []
        self._committed = (self._n, self._head)

    def emit(self, event: Event) -> Position:
        """Queue an event for the transaction under way; its position is final if that commits."""
        row = Row(
            self.lane,
            self._n + 1,
            self._head,
            self._hash(event.payload),
            event.kind,
            event.city,
            event.scope,
            event.at,
            event.actor,
            event.caused_by,
        )
        self._pending.append((row, event.payload, event.key_id))
        self._n, self._head = row.n, self._hash_row(row)
        return Position(self.lane, row.n)

    def write(self, tx: Transaction) -> None:
        """Write what was emitted into the transaction."""
        if self._pending:
            rows, payloads, key_ids = zip(*self._pending, strict=True)
            self._store.insert(tx, rows, payloads, key_ids)

    def committed(self) -> None:
        self._pending, self._committed = [], (self._n, self._head)

    def rolled_back(self) -> None:
        self._pending, (self._n, self._head) = [], self._committed

    def entries(
        self, after: Mapping[str, int] | None = None, kinds: Sequence[str] = (), page: int = 500
    ) -> Iterator[Entry]:
        """Entries of every lane after the given positions; each lane in order, lanes by order of time at page ends."""
        cursors = dict.fromkeys(self._store.lanes(), 0) | dict(after or {})
        for lane, cursor in sorted(cursors.items()):
            while batch := self._store.read(lane, cursor, page, kinds):
                yield from batch
                cursor = batch[-1].row.n

    def verify(self) -> Iterator[str]:
        """Walk every chain; yields a sentence for each thing that is wrong."""
        sealed: dict[str, int] = {}
        bare: dict[str, list[int]] = {}
        for lane in self._store.lanes():
            expected, head = 1, GENESIS
            for row, payload in self.entries({other: 1 << 62 for other in self._store.lanes() if other != lane}):
                if row.n != expected:
                    yield f"{lane}:{expected} is missing: the next row is {lane}:{row.n}"
                if row.prev_hash != head:
                    yield f"{lane}:{row.n} does not follow the row before it: one of the two was altered"
                if payload is None:
                    bare.setdefault(lane, []).append(row.n)
                elif self._hash(payload) != row.payload_hash:
                    yield f"{lane}:{row.n} ({row.kind}): the payload is not the one that was written"
                elif row.kind == SEALED:
                    for other, n in msgspec.msgpack.decode(payload, type=Sealed).upto.items():
                        sealed[other] = max(n, sealed.get(other, 0))
                expected, head = row.n + 1, self._hash_row(row)
        for lane, numbers in bare.items():
            lost = [n for n in numbers if n > sealed.get(lane, 0)]
            if lost:
                yield f"{lane}:{lost[0]} and {len(lost) - 1} more have lost their payload, and no seal covers them"

    def _hash(self, data: bytes) -> bytes:
        return hashlib.new(self._algorithm, data).digest()

    def _hash_row(self, row: Row) -> bytes:
        return self._hash(msgspec.msgpack.encode(row))


def latest_seal(entries: Iterable[Entry]) -> Sealed | None:
    """The newest seal among the entries."""
    found: Sealed | None = None
    latest = -1
    for row, payload in entries:
        if row.kind == SEALED and payload is not None and row.at >= latest:
            latest, found = row.at, msgspec.msgpack.decode(payload, type=Sealed)
    return found
