"""Values from an MQTT broker. A message is acknowledged when what it tells is durable, and not before.

What the writer has no room for is not read: it waits in a bounded queue here, then in the socket, then at the broker.
A session stays at the broker while we are away, so that nothing sent with QoS 1 or 2 is missed; a message may come
twice.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from hutong.connectors.connections import Connection
from hutong.connectors.feeds import Feed, SourceFailed
from hutong.connectors.mapping import Reject
from hutong.connectors.mqtt.link import Link, LinkLost, read_address
from hutong.connectors.mqtt.wire import PACKET_BYTES_MAX, Message
from hutong.connectors.payloads import Row, read_rows
from hutong.connectors.tables import Chunk, joined
from hutong.kernel.errors import HutongError, TooLarge, shown

BATCH_MAX: Final = 1_000
BATCHES_MAX: Final = 2  # on their way to the writer
QUEUE_MAX: Final = 4_000
QUEUE_BYTES_MAX: Final = 16 << 20
LINGER_S: Final = 0.005
RECEIVE_MAX: Final = 8_000  # messages that the broker may send without an acknowledgement, in MQTT 5
TOPICS_KEPT: Final = 100_000


class Topics:
    """A declared topic: the filter to subscribe to, and what its levels in braces are called."""

    def __init__(self, declared: str) -> None:
        levels = declared.split("/")
        self._named = [(i, level[1:-1]) for i, level in enumerate(levels) if level[:1] == "{" and level[-1:] == "}"]
        named = {i for i, _ in self._named}
        self.filter = "/".join("+" if i in named else level for i, level in enumerate(levels))
        self._known: dict[str, Row] = {}

    def columns(self, topic: str) -> Row:
        """The columns that a topic gives."""
        found = self._known.get(topic)
        if found is None:
            levels = topic.split("/")
            found = {name: levels[i] for i, name in self._named if i < len(levels)}
            if len(self._known) >= TOPICS_KEPT:
                self._known.clear()
            self._known[topic] = found
        return found


class MqttSource:
    """Reads one declared source over a connection of its own, so that a flood of one does not hold up another."""

    def __init__(self, feed: Feed, connection: Connection, client: str) -> None:
        self.feed, self._connection, self._client = feed, connection, client
        declared = feed.source.declaration
        self._topics = Topics(declared.topic)
        group = f"$share/{declared.group}/" if declared.group else ""
        self._filter, self._qos, self._rate_max = group + self._topics.filter, declared.qos, declared.rate_max
        self._retained = bool(declared.at) if declared.retained is None else declared.retained
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._some = asyncio.Event()
        self._link: Link | None = None

    async def run(self) -> None:
        address, _ = read_address(self._connection.url, where="connections.toml")
        if self._connection.user:
            address = type(address)(
                address.host, address.port, address.tls, self._connection.user, self._connection.password
            )
        self._queue.clear()  # of a connection before; the broker sends again what was not acknowledged
        self._queued_bytes = 0
        try:
            self._link = link = await Link.open(
                address,
                client=self._client,
                version=self._connection.version,
                session=self._qos > 0,
                receive_max=RECEIVE_MAX,
                tls=self._connection.tls() if address.tls else None,
                received=self._received,
            )
            link.lost.add_done_callback(lambda _: self._some.set())
            await link.subscribe(self._filter, self._qos)
            self.feed.fine()
            await self._work(link)
        except LinkLost as error:
            raise SourceFailed(str(error)) from None
        finally:
            if self._link is not None:
                await self._link.close()

    def _received(self, messages: Sequence[Message]) -> None:
        self._queue.extend(messages)
        self._queued_bytes += sum(len(message.payload) for message in messages)
        self._some.set()
        if self._link is not None and (len(self._queue) > QUEUE_MAX or self._queued_bytes > QUEUE_BYTES_MAX):
            self._link.pause()

    async def _work(self, link: Link) -> None:
        under_way: deque[asyncio.Task[None]] = deque()
        try:
            while True:
                await self._some.wait()
                if link.lost.done():
                    raise LinkLost(link.lost.result())
                if len(self._queue) < BATCH_MAX:
                    await asyncio.sleep(LINGER_S)
                batch = self._take(link)
                if self._rate_max:
                    await asyncio.sleep(len(batch) / self._rate_max)
                if len(under_way) == BATCHES_MAX:
                    await under_way.popleft()
                under_way.append(asyncio.create_task(self._store(link, batch)))
        finally:
            await asyncio.gather(*under_way)

    def _take(self, link: Link) -> list[Message]:
        most = min(BATCH_MAX, self._rate_max or BATCH_MAX)
        batch = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        self._queued_bytes -= sum(len(message.payload) for message in batch)
        if not self._queue:
            self._some.clear()
        if len(self._queue) < QUEUE_MAX // 2 and self._queued_bytes < QUEUE_BYTES_MAX // 2:
            link.resume()
        return batch

    async def _store(self, link: Link, batch: Sequence[Message]) -> None:
        rows: list[Row] = []
        rejects: list[tuple[Reject, str]] = []
        for message in batch:
            if message.retained and not self._retained:
                continue
            try:
                found = self._read(message)
            except HutongError as error:
                rejects.append((Reject(0, error.fault), f"{message.topic}: {_start(message)}"))
                continue
            named = self._topics.columns(message.topic)
            rows += [{**row, **named} for row in found] if named else found
        await self.feed.store(Chunk(joined(rows, range(1, len(rows) + 1)), rejects, 0))
        link.acknowledge(batch)
        self.feed.fine()

    def _read(self, message: Message) -> list[Row]:
        if message.size > len(message.payload):
            raise TooLarge(
                "the message is too large", seen=f"{message.size} bytes", allowed=f"{PACKET_BYTES_MAX} bytes"
            )
        return read_rows(self.feed.source, message.payload)


def _start(message: Message) -> str:
    return shown(message.payload[:1000].decode("utf-8", "replace"), 1000)
