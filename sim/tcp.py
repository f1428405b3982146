"""Modbus TCP: one port, one or several unit ids, with the manners of real gateways.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b; field reports on SUN2000 dongles
(requests in the first second after connecting are dropped, a second client is turned away).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from sim.modbus import GATEWAY_TARGET_SILENT, exception
from sim.station import Station

HEAD = 7
MAX_LENGTH = 254
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class PortReport:
    """What a port has seen."""

    connections: int = 0
    turned_away: int = 0
    requests: int = 0
    dropped_early: int = 0
    bad_frames: int = 0


class TcpPort:
    """A listening socket in front of stations.

    Args:
        units: Stations by unit id; others get exception 0Bh.
        port: 0 picks a free one.
        one_client: Turn a second client away while one is connected.
        settle_s: Drop what arrives in this time after connecting.
    """

    def __init__(
        self,
        units: Mapping[int, Station],
        *,
        port: int = 0,
        one_client: bool = False,
        settle_s: float = 0.0,
    ) -> None:
        self.units = units
        self.host = LOOPBACK
        self.port = port
        self.one_client = one_client
        self.settle_s = settle_s
        self.report = PortReport()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    @property
    def running(self) -> bool:
        """Whether the port listens."""
        return self._server is not None

    async def start(self) -> None:
        """Listen; a port picked once is kept over a stop."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all connections and stop listening."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for writer in tuple(self._clients):
            writer.transport.abort()
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.one_client and self._clients:
            self.report.turned_away += 1
            writer.transport.abort()
            return
        self.report.connections += 1
        self._clients.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._requests(reader, writer)
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        ready_s = loop.time() + self.settle_s
        while True:
            head = await reader.readexactly(HEAD)
            length = int.from_bytes(head[4:6], "big")
            if head[2:4] != b"\0\0" or not 2 <= length <= MAX_LENGTH:  # noqa: PLR2004 - unit and function
                self.report.bad_frames += 1
                return
            pdu = await reader.readexactly(length - 1)
            self.report.requests += 1
            if loop.time() < ready_s:
                self.report.dropped_early += 1
                continue
            await self._answer(head, pdu, writer)

    async def _answer(self, head: bytes, pdu: bytes, writer: asyncio.StreamWriter) -> None:
        station = self.units.get(head[6])
        if station is None:
            writer.write(_frame(head, exception(pdu[0], GATEWAY_TARGET_SILENT)))
            return
        reply = station.reply(pdu)
        if reply is None:
            return
        await asyncio.sleep(reply.delay_s)
        frame = _frame(head, reply.pdu)
        # the head stays whole: a garbled length would only end the connection
        writer.write(frame[:HEAD] + station.on_the_way(frame[HEAD:]))
        await writer.drain()


def _frame(head: bytes, pdu: bytes) -> bytes:
    return head[:4] + (len(pdu) + 1).to_bytes(2, "big") + head[6:7] + pdu
