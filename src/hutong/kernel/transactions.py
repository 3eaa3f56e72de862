"""A transaction is a token that stores hand out and take back; what it is only they know."""

from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

Transaction: TypeAlias = Any
"""Work that becomes durable as a whole or not at all. Opaque to all but the store that made it."""


class Database(Protocol):
    """Something that can begin transactions. Leaving the block commits; an exception rolls back."""

    def begin(self) -> AbstractContextManager[Transaction]: ...
