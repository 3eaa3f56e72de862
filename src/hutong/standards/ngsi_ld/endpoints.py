"""Where notifications go: endpoint of a Subscription (clause 5.2.15) and its headers and settings (5.2.22)."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.headers import GEO_JSON, JSON, LD_JSON
from hutong.standards.ngsi_ld.uris import is_uri

SCHEMES: Final = ("http", "https", "mqtt", "mqtts")
ACCEPTED: Final = (JSON, LD_JSON, GEO_JSON)
TIMEOUT_MS_MAX: Final = 60_000
COOLDOWN_MS_MAX: Final = 7 * 24 * 3600 * 1000
PAIRS_MAX: Final = 50
VALUE_LENGTH_MAX: Final = 4096
MQTT_VERSIONS: Final = ("mqtt3.1.1", "mqtt5.0")
HIDDEN: Final = "***"

_MEMBERS = frozenset(("uri", "accept", "timeout", "cooldown", "receiverInfo", "notifierInfo"))
_OWN_HEADERS = frozenset(("host", "content-length", "content-type", "transfer-encoding", "connection", "te", "upgrade"))
_header_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch
_header_value = re.compile(r"[\x20-\x7e\x80-\xff\t]*").fullmatch


class Pair(msgspec.Struct, frozen=True):
    """A header that the receiver gets, or a setting for whoever notifies."""

    key: str
    value: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where notifications go and in which form. `timeout` and `cooldown` are milliseconds."""

    uri: str
    accept: str = ""
    timeout: float | None = None
    cooldown: float | None = None
    receiverInfo: tuple[Pair, ...] = ()  # noqa: N815  # the standard's own name
    notifierInfo: tuple[Pair, ...] = ()  # noqa: N815  # the standard's own name

    @property
    def scheme(self) -> str:
        return urlsplit(self.uri).scheme.lower()

    @property
    def media_type(self) -> str:
        return self.accept or JSON

    def setting(self, key: str, default: str) -> str:
        """A setting of notifierInfo."""
        return next((pair.value for pair in self.notifierInfo if pair.key.lower() == key.lower()), default)


def read_endpoint(raw: Any) -> Endpoint:
    """An endpoint. Raises InvalidInput with a place below it."""
    if type(raw) is not dict:
        raise InvalidInput("no endpoint", seen=raw, allowed="an object with uri")
    for name in raw:
        if name not in _MEMBERS:
            raise InvalidInput("no such member", where=name, seen=name, allowed=", ".join(sorted(_MEMBERS)))
    accept = raw.get("accept", "")
    if accept not in ("", *ACCEPTED):
        raise InvalidInput("no media type of notifications", where="accept", seen=accept, allowed=", ".join(ACCEPTED))
    endpoint = Endpoint(
        uri=_read_uri(raw.get("uri", "")),
        accept=accept,
        timeout=_milliseconds(raw, "timeout", TIMEOUT_MS_MAX),
        cooldown=_milliseconds(raw, "cooldown", COOLDOWN_MS_MAX),
        receiverInfo=_pairs(raw, "receiverInfo"),
        notifierInfo=_pairs(raw, "notifierInfo"),
    )
    for i, pair in enumerate(endpoint.receiverInfo):
        if not _header_name(pair.key) or not _header_value(pair.value) or pair.key.lower() in _OWN_HEADERS:
            raise InvalidInput("no header to be sent", where=f"receiverInfo[{i}]", seen=pair.key, allowed="a header")
    if endpoint.scheme.startswith("mqtt"):
        _check_mqtt(endpoint)
    return endpoint


def _check_mqtt(endpoint: Endpoint) -> None:
    if endpoint.setting("MQTT-Version", "mqtt5.0") not in MQTT_VERSIONS:
        seen = endpoint.setting("MQTT-Version", "")
        raise InvalidInput("no version of MQTT", where="notifierInfo", seen=seen, allowed=", ".join(MQTT_VERSIONS))
    if endpoint.setting("MQTT-QoS", "0") not in ("0", "1", "2"):
        raise InvalidInput(
            "no quality of service", where="notifierInfo", seen=endpoint.setting("MQTT-QoS", ""), allowed="0, 1, 2"
        )
    topic = unquote(urlsplit(endpoint.uri).path.removeprefix("/"))
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise InvalidInput(
            "the address names no topic", where="uri", seen=endpoint.uri, allowed="mqtt://host:port/topic/subtopic"
        )


def _read_uri(value: Any) -> str:
    try:
        parts = urlsplit(value) if is_uri(value) else None
        good = parts is not None and parts.scheme.lower() in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        allowed = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InvalidInput("no address that can be notified", where="uri", seen=value, allowed=allowed)
    return str(value)


def _milliseconds(raw: Mapping[str, Any], name: str, most: int) -> float | None:
    value = raw.get(name)
    if value is not None and (type(value) not in (int, float) or not 0 < value <= most):
        raise InvalidInput("no time", where=name, seen=value, allowed=f"milliseconds, above 0 and up to {most}")
    return value


def _pairs(raw: Mapping[str, Any], name: str) -> tuple[Pair, ...]:
    given = raw.get(name, [])
    if type(given) is not list or len(given) > PAIRS_MAX:
        raise InvalidInput("no pairs", where=name, seen=given, allowed=f"an array of at most {PAIRS_MAX} pairs")
    pairs = []
    for i, one in enumerate(given):
        texts = type(one) is dict and one.keys() == {"key", "value"} and all(type(v) is str for v in one.values())
        if not texts or not one["key"] or len(one["value"]) > VALUE_LENGTH_MAX:
            raise InvalidInput("no pair", where=f"{name}[{i}]", allowed='{"key": text, "value": text}')
        pairs.append(Pair(one["key"], one["value"]))
    return tuple(pairs)


def without_secrets(endpoint: dict[str, Any]) -> dict[str, Any]:
    """An endpoint as others than its owner may see it: no values of headers and settings, no password."""
    told = dict(endpoint)
    for name in ("receiverInfo", "notifierInfo"):
        if name in told:
            told[name] = [{"key": pair["key"], "value": HIDDEN} for pair in told[name]]
    parts = urlsplit(told["uri"])
    if "@" in parts.netloc:
        told["uri"] = parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}", query="").geturl()
    return told
