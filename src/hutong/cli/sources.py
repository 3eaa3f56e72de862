"""Builds the sources that run by themselves: each declared one with its connector and the city's connection."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from hutong.connectors.connections import FILE, Connection, read_connections
from hutong.connectors.feeds import Feed, Tools
from hutong.connectors.file_drop import REJECTS
from hutong.connectors.http_poll import HttpPoll, Resolve
from hutong.connectors.mapping import Source, by_connector
from hutong.connectors.mqtt.source import MqttSource
from hutong.connectors.rejects import RejectsLog
from hutong.connectors.running import Polling, Runner, Sources, Unset
from hutong.connectors.sql import SqlSource
from hutong.kernel.bookmarks import Bookmarks
from hutong.kernel.clock import Clock
from hutong.kernel.ids import Ids
from hutong.kernel.writer import Writer

CLIENT_FILE = "mqtt.client"


def running_sources(
    data: Path,
    sources: Sequence[Source],
    writer: Writer,
    bookmarks: Bookmarks,
    clock: Clock,
    ids: Ids,
    resolve: Resolve,
) -> Sources:
    """All of a city, ready to start; `resolve` looks at the addresses that packs give.

    Raises InvalidInput for connections that cannot be read.
    """
    tools = Tools(submit=writer.submit, clock=clock, bookmarks=bookmarks, rejects=RejectsLog(data / "inbox" / REJECTS))
    connections = read_connections(data, os.environ)
    chosen = by_connector(sources, "mqtt", "http_poll", "prometheus", "sql")
    return Sources(partial(_runners, chosen, tools, connections, _client(data, ids), resolve))


def _runners(
    sources: Sequence[Source], tools: Tools, connections: Mapping[str, Connection], client: str, resolve: Resolve
) -> list[Runner]:
    return [_runner(Feed(source, tools), connections, client, resolve) for source in sources]


def _runner(feed: Feed, connections: Mapping[str, Connection], client: str, resolve: Resolve) -> Runner:
    declared = feed.source.declaration
    connection = connections.get(declared.connection)
    if connection is None and declared.connection:
        return Unset(feed, f"{FILE} of the data folder has no connection {declared.connection}")
    if connection is None or declared.connector in ("http_poll", "prometheus"):
        return Polling(feed, lambda: HttpPoll(feed, connection, resolve))
    if declared.connector == "sql":
        return Polling(feed, lambda: SqlSource(feed, connection))
    return MqttSource(feed, connection, f"{client}-{feed.source.name}")


def _client(data: Path, ids: Ids) -> str:
    """The name by which brokers know this data folder, chosen once: they keep messages for it."""
    file = data / CLIENT_FILE
    if not file.exists():
        file.write_text(f"hutong-{ids.new()}")
    return file.read_text().strip()
