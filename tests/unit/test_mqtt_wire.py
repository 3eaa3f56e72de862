"""MQTT on the wire: packets survive being cut anywhere, and what is no MQTT is told as such."""

import pytest

from hutong.connectors.mqtt import wire
from hutong.connectors.mqtt.link import Address, check_topic, read_address
from hutong.connectors.mqtt.wire import Malformed, Message, Packet, Reader
from hutong.kernel.errors import InvalidInput

VERSIONS: tuple[wire.Version, ...] = ("mqtt3.1.1", "mqtt5.0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_messages_are_read_however_they_are_cut(version: wire.Version, step: int) -> None:
    properties = {"kind": "level", "unit": "m"}
    sent = b"".join(
        wire.publish(
            version, f"river/{n}", b"x" * n, qos=n % 3, number=n or 1, content_type="text/plain", properties=properties
        )
        for n in (0, 1, 130, 300)
    )
    reader = Reader(version)
    found: list[Message | Packet] = []
    for at in range(0, len(sent), step):
        found += reader.feed(sent[at : at + step])
    assert [(one.topic, len(one.payload), one.qos) for one in found if isinstance(one, Message)] == [
        ("river/0", 0, 0), ("river/1", 1, 1), ("river/130", 130, 1), ("river/300", 300, 0),
    ]  # fmt: skip


def test_a_message_over_the_bound_is_cut_off_and_the_next_one_read() -> None:
    large = wire.publish("mqtt5.0", "large", b"x" * (wire.PACKET_BYTES_MAX + 10), qos=1, number=7)
    sent = large + wire.publish("mqtt5.0", "small", b"y", qos=0)
    reader = Reader("mqtt5.0")
    found: list[Message | Packet] = []
    for at in range(0, len(sent), 65_536):
        found += reader.feed(sent[at : at + 65_536])
    first, second = found
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.topic, first.number, first.size) == ("large", 7, wire.PACKET_BYTES_MAX + 10)
    assert len(first.payload) < wire.HEAD_BYTES_MAX
    assert second.payload == b"y"


def test_a_refusal_of_mqtt_5_says_why() -> None:
    reason = b"\x1f\0\x04full"
    [packet] = Reader("mqtt5.0").feed(b"\x40" + bytes((4 + len(reason),)) + b"\0\x05\x97" + bytes((7,)) + reason)
    assert isinstance(packet, Packet)
    assert (packet.number, packet.code, packet.reason) == (5, 0x97, "quota exceeded: full")


def test_reasons_of_3_1_1_are_told_as_those_of_5() -> None:
    [packet] = Reader("mqtt3.1.1").feed(b"\x20\x02\0\x05")
    assert isinstance(packet, Packet)
    assert packet.reason == "not authorized"


@pytest.mark.parametrize("content", [b"HTTP/1.1 400 Bad Request\r\n", b"\x30\xff\xff\xff\xff\x7f", b"\x40\x00"])
def test_what_is_no_mqtt_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        list(Reader("mqtt5.0").feed(content * 20))


def test_an_address_names_host_port_user_and_topic_and_hides_the_secret() -> None:
    address, topic = read_address("mqtts://me:p%40ss@broker.example/a/b%20c")
    assert (address, topic) == (Address("broker.example", 8883, True, "me", "p@ss"), "a/b c")
    assert "p@ss" not in f"{address} {address!r}"


@pytest.mark.parametrize("url", ["http://broker.example/a", "mqtt://", "mqtt://host:0x1/a", "broker:1883"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        read_address(url)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "x" * 65_536])
def test_what_no_message_can_be_sent_to_is_no_topic(topic: str) -> None:
    with pytest.raises(InvalidInput):
        check_topic(topic)
