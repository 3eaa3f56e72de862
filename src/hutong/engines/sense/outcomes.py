"""Outcomes of the engine's commands as bytes, so that a repeat of a command is told the same, faults included."""

import zlib
from typing import Any

import msgspec

from hutong.engines.sense.ports import Alert, Changed
from hutong.kernel.errors import Fault, error_of


def encode(outcome: Any) -> bytes:
    """An outcome as it is kept."""
    kept = [_kept(one) for one in outcome] if isinstance(outcome, list) else outcome
    return zlib.compress(msgspec.msgpack.encode(kept), 1)


def decode(outcome: bytes) -> Any:
    """The outcome that was kept."""
    found = msgspec.msgpack.decode(zlib.decompress(outcome))
    if isinstance(found, list):
        return [_changed(*one) for one in found]
    return msgspec.convert(found, Alert) if isinstance(found, dict) else found


def _kept(one: Changed) -> tuple[Any, ...]:
    refused = {key: error.fault for key, error in one.refused.items()}
    return one.id, one.created, one.changed, refused, one.error and one.error.fault


def _changed(id: str, created: bool, changed: list[str], refused: dict[str, Any], error: Any) -> Changed:
    return Changed(
        id=id,
        created=created,
        changed=tuple(changed),
        refused={key: error_of(msgspec.convert(fault, Fault)) for key, fault in refused.items()},
        error=error and error_of(msgspec.convert(error, Fault)),
    )
