"""One connection to an MQTT broker: publish, subscribe, and messages that are acknowledged by who received them."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import msgspec

from hutong.connectors.mqtt import wire
from hutong.connectors.mqtt.wire import Malformed, Message, Packet, Version
from hutong.kernel.errors import InvalidInput

TIMEOUT_S: Final = 10.0
GOODBYE_S_MAX: Final = 1.0
KEEP_ALIVE_S: Final = 30
IN_FLIGHT_MAX: Final = 100  # messages of ours that the broker has not acknowledged
TOPIC_BYTES_MAX: Final = 65_535
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class LinkLost(Exception):
    """The broker cannot be reached, or does not answer, or has gone. The text is for people."""


class PublishRefused(Exception):
    """The broker answered that it does not take the message. `code` is MQTT 5's."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class Address(msgspec.Struct, frozen=True):
    """Where a broker is and who asks. Its text leaves the secret out."""

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self})"


def read_address(url: str, where: str = "") -> tuple[Address, str]:
    """`mqtt[s]://[user[:password]@]host[:port][/topic]` as an address and a topic. Raises InvalidInput."""
    fault = InvalidInput(
        "not the address of an MQTT broker",
        where=where,
        seen=url.rpartition("@")[2],
        allowed="mqtt://host:port/topic or mqtts://…",
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise fault from None
    if not host or not port or parts.scheme not in _PORTS:
        raise fault
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(host, port, parts.scheme == "mqtts", user, password), unquote(parts.path[1:])


def check_topic(topic: str, where: str = "") -> None:
    """Raise InvalidInput for a topic that no message can have."""
    if not topic or any(mark in topic for mark in "+#\0") or len(topic.encode()) > TOPIC_BYTES_MAX:
        raise InvalidInput(
            "no topic for a message", where=where, seen=topic, allowed="a name without + and #", fix="name one topic"
        )


class Link(asyncio.Protocol):
    """A connection. What arrives together is handed on together; `lost` is done when it has gone, and says why."""

    def __init__(self, version: Version, received: Callable[[Sequence[Message]], None] | None = None) -> None:
        self.version, self._received = version, received
        self._reader = wire.Reader(version)
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[Packet]] = {0: self._loop.create_future()}  # 0: CONNACK
        self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.Event()
        self._paused = False
        self._last_number = 0
        self._heard_at = self._loop.time()
        self._pulse: asyncio.TimerHandle | None = None
        self.session_present = False
        self._qos_max = 2

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        client: str = "",
        version: Version = "mqtt5.0",
        session: bool = False,
        receive_max: int = 0,
        tls: ssl.SSLContext | None = None,
        ip: str = "",
        received: Callable[[Sequence[Message]], None] | None = None,
    ) -> "Link":
        """Connect; to `ip` where that was looked up before. Raises LinkLost."""
        link = cls(version, received)
        secure = (tls or ssl.create_default_context()) if address.tls else None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await link._loop.create_connection(
                    lambda: link,
                    ip or address.host,
                    address.port,
                    ssl=secure,
                    server_hostname=address.host if secure else None,
                )
                link._write(
                    wire.connect(
                        version,
                        client,
                        user=address.user,
                        password=address.password,
                        keep_alive_s=KEEP_ALIVE_S,
                        session=session,
                        receive_max=receive_max,
                    )
                )
                welcome = await link._waiting[0]
        except TimeoutError:
            link._gone(f"no answer within {TIMEOUT_S:g} s")
            raise LinkLost(f"{address}: no answer within {TIMEOUT_S:g} s") from None
        except (OSError, LinkLost) as error:  # TLS errors are OSErrors
            raise LinkLost(f"{address}: {error}") from None
        if welcome.code:
            link._gone(welcome.reason)
            raise LinkLost(f"{address}: {welcome.reason}")
        link._welcomed(welcome)
        return link

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        content_type: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message; with QoS 1 and 2 wait until the broker has it. Raises LinkLost, PublishRefused."""
        if qos > self._qos_max:
            raise PublishRefused(0x9B, f"the broker takes QoS {self._qos_max} at most")
        async with self._in_flight:
            number = self._number() if qos else 0
            packet = wire.publish(
                self.version,
                topic,
                payload,
                qos=qos,
                number=number,
                retain=retain,
                content_type=content_type,
                properties=properties,
            )
            if not qos:
                await self._room()
                self._write(packet)
                return
            found = await self._ask(number, packet)
            if qos == 2 and found.kind == wire.PUBREC and found.code < 0x80:
                found = await self._ask(number, wire.answer(wire.PUBREL, number))
        if found.code >= 0x80:
            raise PublishRefused(found.code, found.reason)

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Ask for messages. Raises LinkLost, also when the broker refuses."""
        number = self._number()
        found = await self._ask(number, wire.subscribe(self.version, number, topic_filter, qos))
        for code in found.codes:
            if code >= 0x80:
                raise LinkLost(f"the broker refuses the subscription to {topic_filter}: {wire.REASONS.get(code, code)}")

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these are safe. Of a connection that has gone nobody knows any more."""
        answers = (
            wire.answer(wire.PUBACK if message.qos == 1 else wire.PUBREC, message.number)
            for message in messages
            if message.qos
        )
        if not self.lost.done():
            self._write(b"".join(answers))

    def pause(self) -> None:
        """Read no further until `resume`: the broker, and in the end its senders, have to wait."""
        if not self._paused and not self.lost.done():
            self._paused = True
            self._socket.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.lost.done():
            self._paused, self._heard_at = False, self._loop.time()
            self._socket.resume_reading()

    async def close(self) -> None:
        """Say goodbye."""
        if not self.lost.done():
            self._write(wire.GOODBYE)
            self._gone("closed", polite=True)
        if self._transport is not None:
            try:
                async with asyncio.timeout(GOODBYE_S_MAX):
                    await self._ended.wait()
            except TimeoutError:
                self._transport.abort()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        messages: list[Message] = []
        try:
            for packet in self._reader.feed(data):
                if isinstance(packet, Message):
                    messages.append(packet)
                else:
                    self._take(packet)
        except Malformed as error:
            self._gone(f"no MQTT is spoken there: {error}")
            return
        if messages and self._received is not None:
            self._received(messages)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()
        self._gone(str(exc) if exc is not None else "the broker closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- parts ---

    def _take(self, packet: Packet) -> None:
        if packet.kind == wire.DISCONNECT:
            self._gone(f"the broker ends the connection: {packet.reason}")
        elif packet.kind == wire.PUBREL:
            self._write(wire.answer(wire.PUBCOMP, packet.number))
        elif packet.kind != wire.PINGRESP:
            waiting = self._waiting.get(packet.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(packet)

    def _welcomed(self, welcome: Packet) -> None:
        told: Mapping[int, Any] = welcome.properties
        self.session_present = bool(welcome.flags & 1)
        self._qos_max = int(told.get(wire.MAXIMUM_QOS, 2))
        self._in_flight = asyncio.Semaphore(min(IN_FLIGHT_MAX, told.get(wire.RECEIVE_MAXIMUM, IN_FLIGHT_MAX)))
        self._beat(float(told.get(wire.SERVER_KEEP_ALIVE, KEEP_ALIVE_S)))

    def _beat(self, keep_alive_s: float) -> None:
        """Ask the broker now and then whether it is there; while we do not read we cannot hear it."""
        if self.lost.done():
            return
        if not self._paused and self._loop.time() - self._heard_at > 1.5 * keep_alive_s:
            self._gone("the broker has fallen silent")
            return
        self._write(wire.PING)
        self._pulse = self._loop.call_later(keep_alive_s / 2, self._beat, keep_alive_s)

    def _number(self) -> int:
        """A packet number that no packet under way has."""
        number = self._last_number % 65_535 + 1
        while number in self._waiting:
            number = number % 65_535 + 1
        self._last_number = number
        return number

    async def _ask(self, number: int, packet: bytes) -> Packet:
        """Send a packet and wait for what comes back for its number."""
        await self._room()
        future: asyncio.Future[Packet] = self._loop.create_future()
        self._waiting[number] = future
        try:
            self._write(packet)
            async with asyncio.timeout(TIMEOUT_S):
                return await future
        except TimeoutError:
            self._gone(f"no answer within {TIMEOUT_S:g} s")
            raise LinkLost(f"no answer within {TIMEOUT_S:g} s") from None
        finally:
            del self._waiting[number]

    async def _room(self) -> None:
        """Wait until the socket takes more."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._writable.wait()
        except TimeoutError:
            self._gone(f"nothing taken for {TIMEOUT_S:g} s")

    @property
    def _socket(self) -> asyncio.Transport:
        assert self._transport is not None, "nothing is done before there is a connection"
        return self._transport

    def _write(self, packet: bytes) -> None:
        if self.lost.done():
            raise LinkLost(self.lost.result())
        self._socket.write(packet)

    def _gone(self, reason: str, polite: bool = False) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._writable.set()
        if self._pulse is not None:
            self._pulse.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkLost(reason))
                future.exception()  # marked as seen: nobody may be waiting
        if self._transport is not None:
            self._transport.close() if polite else self._transport.abort()
