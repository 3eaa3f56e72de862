"""Messages reach a real broker, over TLS too, and what cannot be sent says whether to try again."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hutong.connectors.mqtt import MqttSender
from hutong.connectors.mqtt.wire import Version
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, ReceiverAway
from tests.mqtt import Client, Mosquitto, broker


async def anywhere(host: str, port: int) -> str:
    return "127.0.0.1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with broker(tmp_path_factory.mktemp("broker")) as one:
        yield one


@pytest.mark.parametrize("version", ["mqtt3.1.1", "mqtt5.0"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_arrives_as_it_was_sent(running: Mosquitto, version: Version, qos: int) -> None:
    async def send() -> None:
        sender = MqttSender(anywhere)
        url = f"mqtt://broker.example:{running.port}/city/{version}/{qos}"
        for n in range(3):
            await sender.publish(url, b"%d" % n, qos=qos, version=version, content_type="text/plain")
        await sender.close()

    with Client(running.port, f"city/{version}/{qos}") as receiver:
        asyncio.run(send())
        messages = [receiver.next() for _ in range(3)]
    assert [message.payload for message in messages] == [b"0", b"1", b"2"]
    assert {message.qos for message in messages} == {qos}
    told = getattr(messages[0].properties, "ContentType", None)
    assert told == ("text/plain" if version == "mqtt5.0" else None)


def test_many_at_once_share_a_connection(running: Mosquitto) -> None:
    async def send() -> None:
        sender = MqttSender(anywhere)
        url = f"mqtt://127.0.0.1:{running.port}/many"
        await asyncio.gather(*(sender.publish(url, b"%d" % n, qos=2) for n in range(500)))
        await sender.close()

    with Client(running.port, "many") as receiver:
        asyncio.run(send())
        assert sorted(int(receiver.next().payload) for _ in range(500)) == list(range(500))


def test_a_broker_that_comes_back_is_sent_to_again(tmp_path: Path) -> None:
    async def send(one: Mosquitto) -> None:
        sender = MqttSender(anywhere)
        url = f"mqtt://127.0.0.1:{one.port}/back"
        await sender.publish(url, b"before", qos=1)
        one.stop(kill=True)
        with pytest.raises(ReceiverAway):
            await sender.publish(url, b"lost", qos=1)
        one.start()
        await sender.publish(url, b"after", qos=1)
        await sender.close()

    with broker(tmp_path) as one:
        asyncio.run(send(one))


def test_tls_trusts_the_authority_given_and_checks_the_name(tmp_path: Path) -> None:
    async def send(host: str, port: int, tls: ssl.SSLContext | None) -> None:
        sender = MqttSender(anywhere, tls)
        await sender.publish(f"mqtts://{host}:{port}/secret", b"seen", qos=1)
        await sender.close()

    with broker(tmp_path, tls=True) as one, Client(one.port, "secret", ca=one.ca) as receiver:
        trusting = ssl.create_default_context(cafile=one.ca)
        asyncio.run(send("localhost", one.port, trusting))
        assert receiver.next().payload == b"seen"
        for host, tls in (("localhost", None), ("other.example", trusting)):
            with pytest.raises(DeliveryFailed, match="certificate verify failed"):
                asyncio.run(send(host, one.port, tls))


def test_a_wrong_password_and_a_forbidden_topic_are_told(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    subprocess.run(["mosquitto_passwd", "-b", tmp_path / "passwords", "me", "p@ss"], check=True)
    (tmp_path / "acl").write_text("user me\ntopic write open/#\n")

    async def send(port: int, topic: str, user: str, password: str) -> None:
        sender = MqttSender(anywhere)
        try:
            await sender.publish(f"mqtt://127.0.0.1:{port}/{topic}", b"x", qos=1, user=user, password=password)
        finally:
            await sender.close()

    rules = ("allow_anonymous false", f"password_file {tmp_path}/passwords", f"acl_file {tmp_path}/acl")
    with broker(tmp_path, *rules) as one:
        asyncio.run(send(one.port, "open/a", "me", "p@ss"))
        with pytest.raises(DeliveryFailed, match=r"not authorized|bad user name") as raised:
            asyncio.run(send(one.port, "open/a", "me", "wr0ng"))
        assert "wr0ng" not in str(raised.value)
        with pytest.raises(DeliveryFailed, match="not authorized"):
            asyncio.run(send(one.port, "closed/a", "me", "p@ss"))


@pytest.mark.parametrize("url", ["http://127.0.0.1/a", "mqtt://127.0.0.1/a/+/b", "mqtt://127.0.0.1"])
def test_what_can_never_be_sent_is_refused(url: str) -> None:
    with pytest.raises(DeliveryRefused):
        asyncio.run(MqttSender(anywhere).publish(url, b""))


def test_an_address_that_is_not_allowed_is_not_connected_to(running: Mosquitto) -> None:
    async def nowhere(host: str, port: int) -> str:
        raise DeliveryRefused("an address in the operator's own network")

    with pytest.raises(DeliveryRefused, match="own network"):
        asyncio.run(MqttSender(nowhere).publish(f"mqtt://127.0.0.1:{running.port}/a", b""))
