"""Values over MQTT: a real Mosquitto, a process that publishes with QoS 1, and the city that reads."""

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from hutong.connectors.mqtt import wire
from tests.bench.figures import Bench, Figure
from tests.bench.pack import write_pack
from tests.mqtt import broker
from tests.server import Server

SOURCE = """
[source.counters]
connector = "mqtt"
entity = "BenchParking"
connection = "broker"
topic = "parking/+/status"
id = "urn:ngsi-ld:BenchParking:{n}"
set = { availableSpotNumber = "free", totalSpotNumber = "total" }
"""
UNACKNOWLEDGED_MAX = 2_000
PATIENCE_S = 120


def messages(bench: Bench) -> Iterator[Figure]:
    """Single values and lists of a hundred, from publishing to durable."""
    packs = write_pack(bench.folder / "mqtt-packs")
    [declared] = packs.glob("*/sources.toml")
    declared.write_text(SOURCE)
    folder, data = bench.folder / "mosquitto", bench.folder / "mqtt"
    folder.mkdir()
    data.mkdir()
    count = 20_000 if bench.quick else 200_000
    unbounded = (
        "max_inflight_messages 0",
        "max_queued_messages 0",
    )  # or the broker drops what the city has yet to read
    with broker(folder, "allow_anonymous true", *unbounded, durable=False) as one:
        connections = data / "connections.toml"
        connections.touch(mode=0o600)
        connections.write_text(f'[connection.broker]\nurl = "mqtt://127.0.0.1:{one.port}"\n')
        with Server(data, "--open", "--packs", str(packs)) as server, httpx.Client(base_url=server.url) as client:
            for what, size, aim in (("one entity a message", 1, 19_000), ("a hundred entities a message", 100, 19_000)):
                rate = _rate(client, one.port, count, size, bench.car_parks)
                note = "QoS 1, acknowledged when durable; broker and publisher share the processors"
                yield Figure(what=f"MQTT, {what}", value=rate, unit="entities/s", aim=aim, note=note)


def _rate(client: httpx.Client, port: int, count: int, size: int, things: int) -> float:
    """Entities a second until all are stored."""
    _wait(client, lambda source: source["state"] == "running")
    before = _source(client)["stored"]
    publisher = multiprocessing.get_context("spawn").Process(target=publish, args=(port, count // size, size, things))
    publisher.start()
    _wait(client, lambda source: source["stored"] > before)
    began, first = time.perf_counter(), _source(client)["stored"]
    _wait(client, lambda source: source["stored"] >= before + count)
    taken = time.perf_counter() - began
    publisher.join()
    return float(before + count - first) / taken


def _source(client: httpx.Client) -> dict[str, Any]:
    [found] = client.get("/api/v1/sources").json()["sources"]
    return dict(found)


def _wait(client: httpx.Client, met: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while not met(_source(client)):
        if time.perf_counter() > deadline:
            raise SystemExit(f"it does not come to an end: {_source(client)}")
        time.sleep(0.05)


def publish(port: int, count: int, size: int, things: int) -> None:
    """Publish with QoS 1 as fast as the broker acknowledges, over one connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(wire.connect("mqtt5.0", "bench", keep_alive_s=600))
        reader, acknowledged = wire.Reader("mqtt5.0"), -1
        for n in range(count):
            values = [(n * size + i) % things for i in range(size)]
            if size == 1:
                topic, body = f"parking/{values[0]}/status", f'{{"n": {values[0]}, "free": {n % 90}, "total": 100}}'
            else:
                topic = f"parking/{n % things}/status"
                body = "[" + ",".join(f'{{"n": {i}, "free": {(n + i) % 90}, "total": 100}}' for i in values) + "]"
            connection.sendall(wire.publish("mqtt5.0", topic, body.encode(), qos=1, number=n % 65_535 + 1))
            while n - acknowledged > UNACKNOWLEDGED_MAX:
                acknowledged += sum(1 for _ in reader.feed(connection.recv(65_536)))
        connection.sendall(wire.GOODBYE)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
