"""Messages to any MQTT broker, over one connection to each that is kept and made again when it is lost."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from hutong.connectors.mqtt.link import Address, Link, LinkLost, PublishRefused, check_topic, read_address
from hutong.connectors.mqtt.wire import Version
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, InvalidInput, ReceiverAway

BROKERS_MAX: Final = 64
"""Connections kept; the one used least recently gives way."""

PAYLOAD_BYTES_MAX: Final = 4 << 20

_NEVER: Final = frozenset((0x90, 0x95, 0x99, 0x9A, 0x9B))  # the message itself is wrong: it will not be taken later

Resolve: TypeAlias = Callable[[str, int], Awaitable[str]]
"""The IP address of a host and port that may be sent to. Raises DeliveryFailed, DeliveryRefused."""

_Key: TypeAlias = tuple[Address, Version]


class MqttSender:
    """Publishes to brokers. `resolve` decides which addresses are allowed; `tls` trusts what the system trusts."""

    def __init__(self, resolve: Resolve, tls: ssl.SSLContext | None = None) -> None:
        self._resolve, self._tls = resolve, tls
        self._links: OrderedDict[_Key, asyncio.Task[Link]] = OrderedDict()

    async def publish(
        self,
        url: str,
        payload: bytes,
        *,
        topic: str = "",
        qos: int = 0,
        version: Version = "mqtt5.0",
        user: str = "",
        password: str = "",
        retain: bool = False,
        content_type: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send one message to `mqtt[s]://[user[:password]@]host[:port]/topic`; `topic` and `user` go before the URL's.

        With QoS 0 it is on its way when this returns, with 1 and 2 the broker has it. Content type and properties
        are told in MQTT 5 only. Raises DeliveryFailed when it may succeed later (ReceiverAway when
        the broker is not there), DeliveryRefused when it never will.
        """
        try:
            address, named = read_address(url)
            check_topic(topic or named)
        except InvalidInput as error:
            raise DeliveryRefused(str(error.fault)) from None
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise DeliveryRefused(f"a message of {len(payload)} bytes; {PAYLOAD_BYTES_MAX} are allowed")
        if user:
            address = Address(address.host, address.port, address.tls, user, password)
        try:
            link = await self._link((address, version))
            await link.publish(
                topic or named, payload, qos=qos, retain=retain, content_type=content_type, properties=properties
            )
        except PublishRefused as error:
            refusal = DeliveryRefused if error.code in _NEVER else DeliveryFailed
            raise refusal(f"{address}: {error}") from None
        except LinkLost as error:
            raise ReceiverAway(str(error)) from None

    async def close(self) -> None:
        """Say goodbye to all brokers."""
        while self._links:
            await _close(self._links.popitem()[1])

    async def _link(self, key: _Key) -> Link:
        """The connection to a broker, made where there is none; who asks meanwhile waits for the same."""
        opening = self._links.get(key)
        if opening is None or _useless(opening):
            opening = self._links[key] = asyncio.create_task(self._open(key))
        self._links.move_to_end(key)
        while len(self._links) > BROKERS_MAX:
            await _close(self._links.popitem(last=False)[1])
        return await asyncio.shield(opening)

    async def _open(self, key: _Key) -> Link:
        address, version = key
        ip = await self._resolve(address.host, address.port)
        return await Link.open(address, version=version, tls=self._tls, ip=ip)


def _useless(opening: "asyncio.Task[Link]") -> bool:
    """Whether nothing can be sent that way any more."""
    return opening.done() and (opening.cancelled() or opening.exception() is not None or opening.result().lost.done())


async def _close(opening: "asyncio.Task[Link]") -> None:
    if not opening.cancel() and not _useless(opening):
        await opening.result().close()
