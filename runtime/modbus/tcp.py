"""Modbus TCP, and the same inside TLS: pymodbus' client behind the link's port.

pymodbus compares transaction and unit ids; the number of registers is compared here. It takes one
request at a time, as most gateways do anyway, and is not left to reconnect on its own: the link
decides when.
"""

import asyncio
import ssl
import time
from collections import defaultdict
from dataclasses import dataclass

from pymodbus.client import AsyncModbusTcpClient, AsyncModbusTlsClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU

from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    NoAnswerError,
)
from runtime.modbus.figures import DeviceTimes, UnitFigures
from runtime.modbus.planner import LineModel
from runtime.modbus.request import READ_HOLDING, READ_INPUT, Answer, Request

_RECONNECT_AFTER = 5
"""Requests in a row without an answer: a connection can be dead without saying so."""


@dataclass(frozen=True)
class TcpSettings:
    """Where a device or gateway listens."""

    host: str
    port: int = 502
    tls: ssl.SSLContext | None = None
    connect_s: float = 5.0
    settle_s: float = 1.0
    """Pause after connecting: real gateways drop earlier requests."""
    silence_s: float = 0.0
    """Pause between an answer and the next request that the device needs."""
    window_s: float = 3.0
    """Longest wait for an answer; a gateway serves several clients and a slow serial line."""


class TcpPort:
    """One connection, one request in flight."""

    def __init__(self, settings: TcpSettings) -> None:
        self.settings = settings
        self.name = f"{settings.host}:{settings.port}"
        self._units: defaultdict[int, UnitFigures] = defaultdict(self._new_unit)
        self._client: AsyncModbusTcpClient | None = None
        self._last_answer_s = float("-inf")
        self._unanswered = 0

    async def open(self) -> None:
        """Connect, and let the gateway settle.

        Raises:
            LinkDownError: Nobody answers there, or not in TLS.
        """
        self.close()
        settings = self.settings
        # reconnect_delay=0: pymodbus would otherwise reconnect behind the link's back.
        if settings.tls is None:
            client = AsyncModbusTcpClient(
                settings.host,
                port=settings.port,
                timeout=settings.connect_s,
                retries=0,
                reconnect_delay=0,
            )
        else:
            client = AsyncModbusTlsClient(
                settings.host,
                port=settings.port,
                sslctx=settings.tls,
                timeout=settings.connect_s,
                retries=0,
                reconnect_delay=0,
            )
            # The library's TLS framer takes whatever one TLS record holds for a frame; the one for
            # TCP reads the header's length, which inside TLS is the same (Modbus/TCP security 2.0).
            client.ctx.framer = FramerSocket(DecodePDU(is_server=False))
        try:
            connected = await client.connect()
        except (OSError, ssl.SSLError) as error:
            raise LinkDownError(self.name, str(error)) from error
        if not connected:
            raise LinkDownError(self.name, "cannot connect")
        self._client = client
        self._unanswered = 0
        await asyncio.sleep(settings.settle_s)

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def figures(self, unit: int) -> UnitFigures:
        """Counters and learned times of one unit."""
        return self._units[unit]

    def line(self, unit: int) -> LineModel:
        """What transactions with one unit cost: the bytes nothing, the answer all."""
        return LineModel(0.0, self.settings.silence_s / 2, self._units[unit].times.typical_s)

    async def transact(self, request: Request) -> Answer:
        """Ask one unit and wait for its answer.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`.
        """
        client = self._client
        if client is None or not client.connected or self._unanswered >= _RECONNECT_AFTER:
            self.close()
            raise LinkDownError(self.name, "the connection is gone")
        pause_s = self._last_answer_s + self.settings.silence_s - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        unit = self._units[request.unit]
        asked_s = time.monotonic()
        try:
            async with asyncio.timeout(unit.times.window_s):
                answer = await _ask(client, request)
        except TimeoutError as error:
            # A connection keeps the order, so the late answer carries its old transaction id and
            # is dropped by the library.
            unit.timed_out += 1
            self._unanswered += 1
            raise NoAnswerError(request.unit, time.monotonic() - asked_s) from error
        except (ConnectionException, OSError) as error:
            self.close()
            raise LinkDownError(self.name, str(error)) from error
        except ModbusException as error:
            unit.bad_frames += 1
            raise BadFrameError(request.unit, str(error)) from error
        self._last_answer_s = time.monotonic()
        self._unanswered = 0
        device_s = self._last_answer_s - asked_s
        unit.times.learn(device_s)
        if isinstance(answer, ExceptionResponse):
            unit.exceptions += 1
            raise ExceptionCodeError(request.unit, answer.exception_code)
        words = tuple(answer.registers) if request.reads else ()
        if request.reads and len(words) != request.count:
            unit.bad_frames += 1
            raise BadFrameError(request.unit, f"{len(words)} registers, not {request.count}")
        unit.answered += 1
        return Answer(words, asked_s + device_s / 2)

    def _new_unit(self) -> UnitFigures:
        window_s = self.settings.window_s
        return UnitFigures(DeviceTimes(window_s, min(1.0, window_s), window_s))


async def _ask(client: AsyncModbusTcpClient, request: Request) -> ModbusPDU:
    if request.function == READ_HOLDING:
        return await client.read_holding_registers(
            request.address, count=request.count, device_id=request.unit
        )
    if request.function == READ_INPUT:
        return await client.read_input_registers(
            request.address, count=request.count, device_id=request.unit
        )
    return await client.write_registers(
        request.address, list(request.words), device_id=request.unit
    )
