"""Hands notifications to their receivers, by HTTP or MQTT."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from hutong.standards.ngsi_ld.notifications import Telling

TIMEOUT_S: Final = 10.0


class Webhook(Protocol):
    """HTTP to receivers."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> object: ...


class Publisher(Protocol):
    """MQTT to receivers' brokers."""

    async def publish(self, url: str, payload: bytes, *, qos: int, version: Any, content_type: str) -> None: ...


class Courier:
    """Hands a notification to its receiver. Raises DeliveryFailed, DeliveryRefused."""

    def __init__(self, webhook: Webhook, publisher: Publisher) -> None:
        self._webhook, self._publisher = webhook, publisher

    async def deliver(self, tenant: str, telling: Telling, notification: Mapping[str, Any]) -> None:
        endpoint = telling.endpoint
        headers = {"Content-Type": telling.answer.media_type}
        if telling.link:
            headers["Link"] = telling.link
        if tenant:
            headers["NGSILD-Tenant"] = tenant
        headers |= {pair.key: pair.value for pair in endpoint.receiverInfo}
        if endpoint.scheme in ("http", "https"):
            timeout_s = endpoint.timeout / 1_000 if endpoint.timeout else TIMEOUT_S
            await self._webhook.post(endpoint.uri, msgspec.json.encode(notification), headers, timeout_s)
        else:
            await self._publisher.publish(
                endpoint.uri,
                msgspec.json.encode({"metadata": headers, "body": notification}),
                qos=int(endpoint.setting("MQTT-QoS", "0")),
                version=endpoint.setting("MQTT-Version", "mqtt5.0"),
                content_type="application/json",
            )
