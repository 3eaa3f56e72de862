"""Bookmarks: how far a reader of something outside is, kept beside what it has read."""

from typing import Protocol

from hutong.kernel.transactions import Transaction


class Bookmarks(Protocol):
    """Where bookmarks are kept, by the reader's name."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, tx: Transaction, name: str, content: bytes) -> None: ...
