"""Which keys of a declared source go with which connector, and which must be there.

A further way in (HJ 212, OPC UA, Modbus, OCPP) is a further line here and a module beside this one.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hutong.engines.sense.declarations import Connector, SourceDeclaration
from hutong.kernel.packs.faults import Faults, listed

Where = Callable[..., str]

_ALL: Final = ("connector", "entity", "silent_after")
_ROWS: Final = ("id", "set", "unit", "at", "format", "zone", "datum", "missing", "where", "encoding")
_ASKED: Final = ("connection", "url", "every")

KEYS: Final[Mapping[Connector, tuple[str, ...]]] = {
    "http": (),
    "file": (*_ROWS, "files"),
    "mqtt": (*_ROWS, "connection", "topic", "qos", "group", "retained", "rate_max", "payload", "rows"),
    "http_poll": (*_ROWS, *_ASKED, "payload", "rows"),
    "prometheus": (*_ROWS, *_ASKED),
    "sql": (*_ROWS, "connection", "every", "table", "key"),
}
REQUIRED: Final[Mapping[Connector, tuple[str, ...]]] = {
    "http": (),
    "file": ("files", "id", "set"),
    "mqtt": ("connection", "topic", "id", "set"),
    "http_poll": ("every", "id", "set"),
    "prometheus": ("every", "id", "set"),
    "sql": ("connection", "every", "table", "key", "id", "set"),
}
_PAYLOADS: Final[Mapping[str, tuple[str, ...]]] = {
    "mqtt": ("json", "csv", "number", "text"),
    "http_poll": ("json", "csv", "geojson", "ngsi-ld", "prometheus"),
}


def check_keys(declaration: SourceDeclaration, where: Where, faults: Faults) -> None:
    """Note keys that do not go with the connector, and those that it lacks."""
    kind = declaration.connector
    plain = SourceDeclaration(connector=kind, entity=declaration.entity)
    for key in SourceDeclaration.__struct_fields__:
        if key not in (*_ALL, *KEYS[kind]) and getattr(declaration, key) != getattr(plain, key):
            fitting = [name for name, keys in KEYS.items() if key in keys]
            faults.add(
                "key-not-for-connector",
                f"`{key}` is not for this connector",
                seen=kind,
                allowed=listed(fitting),
                where=where(key),
                fix="remove it, or choose another connector",
            )
    for key in REQUIRED[kind]:
        if not getattr(declaration, key):
            faults.add("missing-key", f"a source by {kind} needs `{key}`", where=where(), fix=f"add `{key}`")
    if kind in ("http_poll", "prometheus") and not (declaration.url or declaration.connection):
        faults.add("missing-key", "there is no address to ask", where=where(), fix="add `url` or `connection`")
    payloads = _PAYLOADS.get(kind, (declaration.payload,))
    if declaration.payload not in payloads:
        faults.add(
            "key-not-for-connector",
            f"a source by {kind} does not read this",
            where=where("payload"),
            seen=declaration.payload,
            allowed=listed(payloads),
            fix="choose one of these",
        )
