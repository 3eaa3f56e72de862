"""Builds the sources that run by themselves: each declared one with its connector and the city's connection."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from hutong.connectors.connections import FILE, Connection, read_connections
from hutong.connectors.feeds import Feed, Tools
from hutong.connectors.file_drop import REJECTS
from hutong.connectors.mapping import Source, by_connector
from hutong.connectors.mqtt.source import MqttSource
from hutong.connectors.rejects import RejectsLog
from hutong.connectors.running import Runner, Sources, Unset
from hutong.kernel.bookmarks import Bookmarks
from hutong.kernel.clock import Clock
from hutong.kernel.ids import Ids
from hutong.kernel.writer import Writer

CLIENT_FILE = "mqtt.client"


def running_sources(
    data: Path, sources: Sequence[Source], writer: Writer, bookmarks: Bookmarks, clock: Clock, ids: Ids
) -> Sources:
    """All of a city, ready to start. Raises InvalidInput for connections that cannot be read."""
    tools = Tools(submit=writer.submit, clock=clock, bookmarks=bookmarks, rejects=RejectsLog(data / "inbox" / REJECTS))
    connections = read_connections(data, os.environ)
    chosen = by_connector(sources, "mqtt")
    return Sources(partial(_runners, chosen, tools, connections, _client(data, ids)))


def _runners(
    sources: Sequence[Source], tools: Tools, connections: Mapping[str, Connection], client: str
) -> list[Runner]:
    return [_runner(Feed(source, tools), connections, client) for source in sources]


def _runner(feed: Feed, connections: Mapping[str, Connection], client: str) -> Runner:
    declared = feed.source.declaration
    connection = connections.get(declared.connection)
    if connection is None:
        return Unset(feed, f"{FILE} of the data folder has no connection {declared.connection}")
    return MqttSource(feed, connection, f"{client}-{feed.source.name}")


def _client(data: Path, ids: Ids) -> str:
    """The name by which brokers know this data folder, chosen once: they keep messages for it."""
    file = data / CLIENT_FILE
    if not file.exists():
        file.write_text(f"hutong-{ids.new()}")
    return file.read_text().strip()
