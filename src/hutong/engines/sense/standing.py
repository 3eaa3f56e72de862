"""How far the work stands that the engine does by itself: one document for each job, written with what it did."""

from collections.abc import Sequence
from typing import Protocol

from hutong.kernel.transactions import Transaction

SPANS_MAX = 500
Span = tuple[int, int]
"""From an instant up to and without another."""


class StandingStore(Protocol):
    """Keeps the documents."""

    def get(self, job: str) -> bytes | None: ...

    def put(self, tx: Transaction, job: str, doc: bytes) -> None: ...


def joined(spans: Sequence[Span], most: int = SPANS_MAX) -> list[Span]:
    """The spans in order, touching ones as one; the nearest are joined too while there are more than `most`."""
    merged: list[Span] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    if len(merged) <= most:
        return merged
    gaps = sorted(range(1, len(merged)), key=lambda i: merged[i][0] - merged[i - 1][1])
    closed = set(gaps[: len(merged) - most])
    found: list[Span] = []
    for i, (low, high) in enumerate(merged):
        if i in closed:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found
