"""Readings as bytes on the wire, judged by the library that they go past."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from runtime.mqtt_wire import pack, unpack

TOPIC = "hemma/v1/metering/grid/reading"


@pytest.fixture
def wires() -> Iterator[tuple[Client, socket.socket]]:
    """A client of the library at one end of a connection, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client._sock = ours
    with ours, theirs:
        yield client, theirs


def properties(**fields: object) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    for name, content in fields.items():
        setattr(made, name, content)
    return made


@pytest.mark.parametrize("size", [0, 1, 80, 127, 128, 651, 16_400, 60_000])
def test_the_library_would_send_the_same_bytes(
    wires: tuple[Client, socket.socket], size: int
) -> None:
    client, broker = wires
    payload = bytes(n % 251 for n in range(size))

    client.publish(TOPIC, payload, 0, properties=properties(MessageExpiryInterval=2))

    assert pack(TOPIC, payload, 2) == broker.recv(100_000)


def test_the_library_reads_what_we_pack(wires: tuple[Client, socket.socket]) -> None:
    client, broker = wires
    heard: list[MQTTMessage] = []
    client.on_message = lambda _client, _userdata, message: heard.append(message)

    broker.send(pack(TOPIC, b"230 V", 3))
    client.loop_read()

    assert [(one.topic, one.payload) for one in heard] == [(TOPIC, b"230 V")]
    assert heard[0].properties is not None
    assert heard[0].properties.MessageExpiryInterval == 3


def test_readings_in_a_row_are_told_apart_and_the_rest_is_waited_for() -> None:
    first, second = pack(TOPIC, b"a" * 200, 2), pack("hemma/v1/policy/dispatch", b"", 3)
    received = first + second + first[:-1]

    one = unpack(received, 0)
    assert one == (TOPIC, b"a" * 200, len(first))
    other = unpack(received, one.end)
    assert other == ("hemma/v1/policy/dispatch", b"", len(first + second))
    assert unpack(received, other.end) is None
    assert unpack(received, len(received)) is None


def test_a_reading_without_expiry_is_read_too(wires: tuple[Client, socket.socket]) -> None:
    client, broker = wires
    client.publish(TOPIC, b"x", 0)

    assert unpack(broker.recv(1000), 0) == (TOPIC, b"x", 36)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"qos": 1}, id="to be acknowledged"),
        pytest.param({"retain": True}, id="retained"),
        pytest.param(
            {"properties": properties(ResponseTopic="r", CorrelationData=b"c")}, id="a request"
        ),
        pytest.param(
            {"properties": properties(MessageExpiryInterval=2, ContentType="t")}, id="and a type"
        ),
    ],
)
def test_all_other_messages_are_left_to_the_library(
    wires: tuple[Client, socket.socket], keys: dict[str, Any]
) -> None:
    client, broker = wires
    client.publish(TOPIC, b"x", **keys)

    assert unpack(broker.recv(1000), 0) is None


@given(st.binary(max_size=40).map(lambda end: b"\x30" + end))
def test_whatever_comes_is_a_message_within_its_bounds_or_none(received: bytes) -> None:
    arrived = unpack(received, 0)

    assert arrived is None or len(arrived.payload) < arrived.end <= len(received)
