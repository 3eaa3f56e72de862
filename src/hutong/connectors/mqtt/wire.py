"""MQTT 3.1.1 and 5.0 on the wire (OASIS): packets as bytes, and bytes as packets.

Written here rather than taken, so that a message can be acknowledged when it is durable and not before, reading can
stop when there is no room, and thousands of messages that arrive together are read together.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

Version = Literal["mqtt3.1.1", "mqtt5.0"]

PACKET_BYTES_MAX: Final = 1 << 20
HEAD_BYTES_MAX: Final = 70_000  # of a larger packet so much is kept: its topic and its number are in it
LENGTH_MAX: Final = 268_435_455  # what the length of a packet can say

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = range(1, 10)
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

SESSION_EXPIRY: Final = 0x11
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
MAXIMUM_QOS: Final = 0x24
SERVER_KEEP_ALIVE: Final = 0x13
CONTENT_TYPE: Final = 0x03
USER_PROPERTY: Final = 0x26

_BYTE: Final = frozenset((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A))
_TWO: Final = frozenset((0x13, 0x21, 0x22, 0x23))
_FOUR: Final = frozenset((0x02, 0x11, 0x18, 0x27))
_TEXT: Final = frozenset((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F))
_NEVER_EXPIRES: Final = 0xFFFFFFFF

REASONS: Final[Mapping[int, str]] = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x84: "this version of MQTT is not spoken there",
    0x85: "the client identifier is not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8D: "keep alive time-out",
    0x8E: "another client has taken over the session",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9E: "shared subscriptions not supported",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}
_OLD_REASONS: Final = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}  # of CONNACK in 3.1.1


class Malformed(Exception):
    """The other side does not speak MQTT, or not well."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message that arrived. `size` is larger than the payload's length where it was cut off for being too large."""

    topic: str
    payload: bytes
    qos: int
    number: int
    retained: bool
    size: int


class Packet(msgspec.Struct, frozen=True, gc=False):
    """A packet other than a message: `kind`, and what stands in it as far as anybody wants to know."""

    kind: int
    number: int = 0
    code: int = 0  # reason code of MQTT 5, of 3.1.1 translated
    flags: int = 0
    codes: bytes = b""
    properties: Mapping[int, Any] = {}

    @property
    def reason(self) -> str:
        """Why, in words."""
        said = str(self.properties.get(REASON_STRING, ""))
        known = REASONS.get(self.code, f"reason code 0x{self.code:02x}")
        return f"{known}: {said}" if said else known


# --- writing ---


def connect(
    version: Version,
    client: str,
    *,
    user: str = "",
    password: str = "",
    keep_alive_s: int,
    session: bool = False,
    receive_max: int = 0,
) -> bytes:
    """CONNECT. `session`: the broker keeps subscriptions and messages for this client while it is away."""
    flags = (0 if session else 2) | (0x80 if user else 0) | (0x40 if password else 0)
    head = _text("MQTT") + bytes((5 if version == "mqtt5.0" else 4, flags)) + struct.pack(">H", keep_alive_s)
    if version == "mqtt5.0":
        properties = b""  # no maximum of packets: the broker would drop larger ones, and nobody would hear of them
        if session:
            properties += struct.pack(">BI", SESSION_EXPIRY, _NEVER_EXPIRES)
        if receive_max:
            properties += struct.pack(">BH", RECEIVE_MAXIMUM, receive_max)
        head += _length(len(properties)) + properties
    named = (_text(user) if user else b"") + (_text(password) if password else b"")
    return _packet(CONNECT << 4, head + _text(client) + named)


def publish(
    version: Version,
    topic: str,
    payload: bytes,
    *,
    qos: int,
    number: int = 0,
    retain: bool = False,
    content_type: str = "",
    properties: Mapping[str, str] | None = None,
) -> bytes:
    """PUBLISH. A content type and properties of one's own are for MQTT 5; before, nobody is told of them."""
    head = _text(topic) + (struct.pack(">H", number) if qos else b"")
    if version == "mqtt5.0":
        told = bytes((CONTENT_TYPE,)) + _text(content_type) if content_type else b""
        for name, value in (properties or {}).items():
            told += bytes((USER_PROPERTY,)) + _text(name) + _text(value)
        head += _length(len(told)) + told
    return _packet(PUBLISH << 4 | qos << 1 | retain, head + payload)


def subscribe(version: Version, number: int, topic_filter: str, qos: int) -> bytes:
    none = b"\0" if version == "mqtt5.0" else b""
    return _packet(SUBSCRIBE << 4 | 2, struct.pack(">H", number) + none + _text(topic_filter) + bytes((qos,)))


def answer(kind: int, number: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP that tells of success."""
    return struct.pack(">BBH", kind << 4 | (2 if kind == PUBREL else 0), 2, number)


PING: Final = bytes((PINGREQ << 4, 0))
GOODBYE: Final = bytes((DISCONNECT << 4, 0))


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(count: int) -> bytes:
    """A length of one to four bytes, seven bits in each."""
    found = bytearray()
    while True:
        count, low = count >> 7, count & 0x7F
        found.append(low | (0x80 if count else 0))
        if not count:
            return bytes(found)


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack(">H", len(content)) + content


# --- reading ---


class Reader:
    """Makes packets of bytes as they arrive. Holds at most one packet of PACKET_BYTES_MAX, and what came behind it."""

    def __init__(self, version: Version) -> None:
        self._v5 = version == "mqtt5.0"
        self._rest = b""
        self._skip = 0

    def feed(self, content: bytes) -> Iterator[Message | Packet]:
        """Every packet that is whole now. Raises Malformed."""
        if self._skip:
            passed = min(self._skip, len(content))
            self._skip -= passed
            content = content[passed:]
        data = self._rest + content if self._rest else content
        at, end = 0, len(data)
        while at + 2 <= end:
            length, body = data[at + 1], at + 2
            if length & 0x80:
                length, body = self._long(data, at + 1)
                if not body:
                    break
            if body + length > end:
                if length > PACKET_BYTES_MAX and end - body >= HEAD_BYTES_MAX:
                    self._skip = body + length - end
                    yield self._read(data[at], data[body : body + HEAD_BYTES_MAX], length)
                    at = end
                break
            yield self._read(data[at], data[body : body + length], length)
            at = body + length
        self._rest = data[at:]

    @staticmethod
    def _long(data: bytes, at: int) -> tuple[int, int]:
        """The length that begins there and the place behind it, 0 while it is not whole."""
        length = 0
        for i in range(4):
            if at + i >= len(data):
                return 0, 0
            length |= (data[at + i] & 0x7F) << 7 * i
            if not data[at + i] & 0x80:
                return length, at + i + 1
        raise Malformed("a packet whose length has no end")

    def _read(self, first: int, body: bytes, length: int) -> Message | Packet:
        try:
            if first >> 4 == PUBLISH:
                return self._message(first, body, length)
            return self._other(first >> 4, body)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise Malformed(f"a packet of kind {first >> 4} that cannot be read: {error}") from None

    def _message(self, first: int, body: bytes, length: int) -> Message:
        qos, at = first >> 1 & 3, 2 + (body[0] << 8 | body[1])
        topic, number = body[2:at].decode(), 0
        if qos:
            number = body[at] << 8 | body[at + 1]
            at += 2
        if self._v5:
            if body[at : at + 1] == b"\0":
                at += 1
            else:
                size, at = self._long(body, at)
                at += size
        return Message(topic, body[at:], qos, number, bool(first & 1), length - at)

    def _other(self, kind: int, body: bytes) -> Packet:
        if kind == CONNACK:
            code = body[1] if self._v5 else _OLD_REASONS.get(body[1], body[1])
            return Packet(kind=kind, flags=body[0], code=code, properties=self._properties(body, 2))
        if kind == DISCONNECT:
            return Packet(kind=kind, code=body[0] if body else 0, properties=self._properties(body, 1))
        if kind == PINGRESP:
            return Packet(kind=kind)
        number = body[0] << 8 | body[1]
        if kind == SUBACK:
            at = 2
            if self._v5:
                size, at = self._long(body, at)
                at += size
            return Packet(kind=kind, number=number, codes=body[at:])
        return Packet(
            kind=kind, number=number, code=body[2] if len(body) > 2 else 0, properties=self._properties(body, 3)
        )

    def _properties(self, body: bytes, at: int) -> Mapping[int, Any]:
        """Properties of MQTT 5 by number; those of one's own are left out."""
        if not self._v5 or len(body) <= at:
            return {}
        size, at = self._long(body, at)
        end = at + size
        found: dict[int, Any] = {}
        while at < end:
            key = body[at]
            at += 1
            if key in _BYTE:
                found[key], at = body[at], at + 1
            elif key in _TWO:
                (found[key],), at = struct.unpack_from(">H", body, at), at + 2
            elif key in _FOUR:
                (found[key],), at = struct.unpack_from(">I", body, at), at + 4
            elif key in _TEXT:
                size = body[at] << 8 | body[at + 1]
                found[key], at = body[at + 2 : at + 2 + size].decode(), at + 2 + size
            elif key in (USER_PROPERTY, 0x09, 0x16):
                for _ in range(2 if key == USER_PROPERTY else 1):
                    at += 2 + (body[at] << 8 | body[at + 1])
            else:
                raise Malformed(f"a property 0x{key:02x} that MQTT 5 does not know")
        return found
