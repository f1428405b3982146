"""Readings on a connection that takes them slowly."""

import asyncio
import socket

from runtime.mqtt import BrokerAddress, _Client
from runtime.mqtt_wire import pack


async def test_readings_are_neither_cut_nor_lost_when_the_broker_reads_slowly() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client = _Client(
            BrokerAddress("localhost", 1883, "meter", None),
            None,
            lambda *_: None,
            lambda *_: None,
        )
        client._client._sock = ours
        payloads = [bytes((number,)) * (300 * number) for number in range(100)]

        for payload in payloads:
            client.send_at_once("hemma/v1/meter/reading", payload, 2)
        wanted = b"".join(pack("hemma/v1/meter/reading", payload, 2) for payload in payloads)
        assert client._client.want_write()
        came = b""
        async with asyncio.timeout(5):
            while len(came) < len(wanted):
                came += await asyncio.get_running_loop().sock_recv(theirs, 7000)

        assert came == wanted
        assert not client._client.want_write()
        client._client._sock = None
