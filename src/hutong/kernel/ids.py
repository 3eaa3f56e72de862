"""Identifiers: time-ordered, unguessable, and made in one place."""

import secrets
from typing import Protocol

from hutong.kernel.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case


class Ids(Protocol):
    """Gives a new identifier of 26 characters each time; later ones sort after earlier ones."""

    def new(self) -> str: ...


class TimeOrderedIds:
    """ULID layout: 48 bits of milliseconds, 80 random bits, in base 32 (github.com/ulid/spec)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self) -> str:
        return _encode((self._clock.now() // 1000) << 80 | secrets.randbits(80))


class CountedIds:
    """Predictable ids for proofs and tests: 0…1, 0…2 and so on."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        self._last += 1
        return _encode(self._last)


def secret(length_bytes: int = 32) -> str:
    """A fresh secret for tokens and keys, URL-safe."""
    return secrets.token_urlsafe(length_bytes)


def _encode(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
