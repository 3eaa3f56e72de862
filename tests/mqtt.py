"""A real MQTT broker that tests may kill, and a client that is not ours to talk to it."""

import queue
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import trustme
from paho.mqtt.enums import CallbackAPIVersion

from tests.components import free_port, program

PATIENCE_S = 20.0


class Mosquitto:
    """Debian's broker. It keeps sessions and messages on disk, so that being killed loses nothing acknowledged."""

    def __init__(self, folder: Path, *settings: str, tls: bool = False, durable: bool = True) -> None:
        self.port, self._folder = free_port(), folder
        self._binary = program(("mosquitto",), "Mosquitto", "mosquitto", "usr/sbin")
        lines = [f"listener {self.port} 127.0.0.1", "user root", "max_queued_messages 100000"]
        lines += settings or ("allow_anonymous true",)
        if durable:
            lines += [f"persistence_location {folder}/", "autosave_interval 1", "autosave_on_changes true"]
        lines.append(f"persistence {str(durable).lower()}")
        self.ca = folder / "ca.pem"
        if tls:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(self.ca)
            certificate = authority.issue_cert("localhost")
            certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
            lines += [f"certfile {folder}/server.pem", f"keyfile {folder}/server.pem"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-c", self._folder / "mosquitto.conf"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while not listens(self.port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None


@contextmanager
def broker(folder: Path, *settings: str, tls: bool = False, durable: bool = True) -> Iterator[Mosquitto]:
    """A broker that runs; the settings go into its configuration."""
    running = Mosquitto(folder, *settings, tls=tls, durable=durable)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Client:
    """Eclipse Paho, as devices and receivers use it."""

    def __init__(self, port: int, topic: str = "", *, ca: Path | None = None, v5: bool = True, **signed: str) -> None:
        version = paho.MQTTv5 if v5 else paho.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self.received: queue.Queue[Any] = queue.Queue()
        self._client.on_message = lambda _client, _data, message: self.received.put(message)
        subscribed: queue.Queue[bool] = queue.Queue()
        self._client.on_subscribe = lambda *_: subscribed.put(True)
        if signed:
            self._client.username_pw_set(**signed)
        if ca is not None:
            self._client.tls_set(ca_certs=str(ca))
        self._client.connect("localhost" if ca else "127.0.0.1", port)
        self._client.loop_start()
        if topic:
            self._client.subscribe(topic, 2)
            subscribed.get(timeout=PATIENCE_S)

    def publish(self, topic: str, payloads: Sequence[str | bytes], qos: int = 1, retain: bool = False) -> None:
        """Send messages and wait until the broker has them."""
        for info in [self._client.publish(topic, payload, qos, retain) for payload in payloads]:
            info.wait_for_publish(PATIENCE_S)

    def next(self) -> Any:
        return self.received.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
