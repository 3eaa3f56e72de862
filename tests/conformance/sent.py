"""What tests of bad input send, and what they want to be told."""

from typing import Any

import httpx

NGSI = "/ngsi-ld/v1"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"


def refused(answer: httpx.Response, status: int, type: str = "", where: str | None = None) -> dict[str, Any]:
    """The problem that an answer tells, once it is precise enough."""
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    assert set(told) & {"seen", "allowed", "fix", "where"}, told
    assert not type or told["type"] == ERRORS + type, told
    assert where is None or told.get("where", "") == where, told
    return told


def entity(number: int, **members: Any) -> dict[str, Any]:
    """A thing of a type that nobody declared."""
    return {"id": f"urn:ngsi-ld:Thing:{number}", "type": "Thing", **members}


def prop(value: Any, **more: Any) -> dict[str, Any]:
    """A Property."""
    return {"type": "Property", "value": value, **more}


def place(kind: str, coordinates: Any, **more: Any) -> dict[str, Any]:
    """A GeoProperty."""
    return {"type": "GeoProperty", "value": {"type": kind, "coordinates": coordinates, **more}}


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
