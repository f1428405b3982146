"""Sources on real connections and files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import FakeClock, SystemClock
from runtime.modbus.link import Link
from runtime.modbus.tcp import TcpPort, TcpSettings
from services.metering.meters import DTSU666_H, SDM630, MeterModel, ModbusMeter
from services.metering.sources import (
    Arrival,
    BlockArrived,
    MeterAnswered,
    RecordedFile,
    SourceLost,
    StreamClient,
    StreamOpened,
)
from tests.service.metering.house import Converter, ModbusTcpMeter, header, until


def first_line() -> bytes:
    return header().model_dump_json().encode() + b"\n"


def stream_bytes(converter: Converter, blocks: int) -> bytes:
    made = [converter.samples() for _ in range(blocks)]
    return b"".join(b.first_sample.to_bytes(8, "little") + b.counts.tobytes() for b in made)


class StreamServer:
    """Serves bytes that the test chooses to whoever connects."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.greeting = first_line()

    async def start(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self._welcome, "127.0.0.1", port)
        chosen: int = self.server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        self.server.close()
        for writer in self.connections:
            writer.transport.abort()
        await self.server.wait_closed()

    async def _welcome(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        writer.write(self.greeting)


class Listener:
    """Gathers what a source says."""

    def __init__(self, arrivals: AsyncIterator[Arrival]) -> None:
        self.heard: list[Arrival] = []
        self._task = asyncio.get_running_loop().create_task(self._listen(arrivals))

    async def _listen(self, arrivals: Any) -> None:  # noqa: ANN401  an async generator
        async with aclosing(arrivals):
            async for arrival in arrivals:
                self.heard.append(arrival)

    def count(self, kind: type) -> int:
        return sum(isinstance(arrival, kind) for arrival in self.heard)

    def has(self, kind: type, count: int = 1) -> Callable[[], bool]:
        return lambda: self.count(kind) >= count

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_stream_is_followed_through_the_loss_of_its_connection(clock: FakeClock) -> None:
    server, converter = StreamServer(), Converter(clock)
    port = await server.start()
    listener = Listener(StreamClient("127.0.0.1", port, clock).arrivals())

    await until(listener.has(StreamOpened))
    server.connections[0].write(stream_bytes(converter, 3))
    await until(listener.has(BlockArrived, 3))
    server.connections[0].transport.abort()
    await until(listener.has(SourceLost))
    await clock.advance(0.2)
    await until(listener.has(StreamOpened, 2))
    server.connections[1].write(stream_bytes(converter, 1))
    await until(listener.has(BlockArrived, 4))

    await listener.stop()
    await server.stop()


async def test_nobody_there_is_asked_again_with_growing_pauses(clock: FakeClock) -> None:
    server = StreamServer()
    port = await server.start()
    await server.stop()
    listener = Listener(StreamClient("127.0.0.1", port, clock).arrivals())
    lost_s: list[float] = []

    while len(lost_s) < 8:
        await clock.advance(0.05)
        if listener.count(SourceLost) > len(lost_s):
            lost_s.append(clock.monotonic())

    pauses_s = [later - earlier for earlier, later in pairwise(lost_s)]
    assert pauses_s == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.11)
    assert isinstance(listener.heard[0], SourceLost)
    assert not listener.heard[0].refused

    await server.start(port)
    await clock.advance(5)
    await until(listener.has(StreamOpened))
    await listener.stop()
    await server.stop()


async def test_a_connection_that_falls_silent_is_given_up(clock: FakeClock) -> None:
    server = StreamServer()
    port = await server.start()
    listener = Listener(StreamClient("127.0.0.1", port, clock).arrivals())
    await until(listener.has(StreamOpened))

    await clock.advance(1.9)
    assert listener.count(SourceLost) == 0
    await clock.advance(0.2)
    await until(listener.has(SourceLost))
    await clock.advance(0.3)
    await until(listener.has(StreamOpened, 2))

    await listener.stop()
    await server.stop()


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "header refused", id="another protocol"),
        pytest.param(
            first_line() + 2 * (bytes(8) + bytes(160 * 6 * 2)), "came again", id="a block twice"
        ),
    ],
)
async def test_a_stream_that_cannot_be_trusted_is_left_and_tried_again(
    clock: FakeClock, greeting: bytes, reason: str
) -> None:
    server = StreamServer()
    server.greeting = greeting
    port = await server.start()
    listener = Listener(StreamClient("127.0.0.1", port, clock).arrivals())

    await until(listener.has(SourceLost))
    lost = listener.heard[-1]
    assert isinstance(lost, SourceLost)
    assert lost.refused
    assert reason in lost.reason
    server.greeting = first_line()
    await clock.advance(0.3)
    await until(lambda: isinstance(listener.heard[-1], StreamOpened))

    await listener.stop()
    await server.stop()


@pytest.fixture
def recording(tmp_path: Path, clock: FakeClock) -> Path:
    path = tmp_path / "house.samples"
    path.write_bytes(first_line() + stream_bytes(Converter(clock), 50))
    return path


async def test_a_recording_plays_at_its_own_pace(recording: Path, clock: FakeClock) -> None:
    began_s = clock.monotonic()
    listener = Listener(RecordedFile(recording, clock).arrivals())

    await clock.advance(0.5)
    assert listener.count(BlockArrived) == 25
    await clock.advance(0.6)
    assert listener.count(BlockArrived) == 50
    stamps = [a.arrived_s - began_s for a in listener.heard if isinstance(a, BlockArrived)]
    assert stamps == pytest.approx([0.02 * n for n in range(1, 51)])
    assert listener.heard[-1] == SourceLost("end of the recording")

    await listener.stop()


async def test_a_recording_can_be_read_at_once_and_over_again(
    recording: Path, clock: FakeClock
) -> None:
    at_once = Listener(RecordedFile(recording, clock, paced=False).arrivals())
    await until(at_once.has(SourceLost))
    assert at_once.count(BlockArrived) == 50
    await at_once.stop()

    again = Listener(RecordedFile(recording, clock, repeat=True).arrivals())
    await clock.advance(3.05)
    assert again.count(BlockArrived) == 152
    assert again.count(StreamOpened) == 4
    await again.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "No such file", id="no file"),
        pytest.param(b"", "unfinished", id="empty"),
        pytest.param(b"RIFF....WAVE\n", "header refused", id="another format"),
        pytest.param(first_line() + bytes(100), "100 bytes", id="cut short"),
    ],
)
async def test_a_file_that_is_no_recording_is_told(
    tmp_path: Path, clock: FakeClock, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "house.samples"
    if content is not None:
        path.write_bytes(content)
    listener = Listener(RecordedFile(path, clock, paced=False).arrivals())

    await until(listener.has(SourceLost))
    lost = listener.heard[-1]
    assert isinstance(lost, SourceLost)
    assert reason in lost.reason
    await listener.stop()


@pytest.mark.parametrize("model", [SDM630, DTSU666_H], ids=lambda model: model.name)
async def test_a_meter_on_modbus_tcp_is_polled(model: MeterModel) -> None:
    device = ModbusTcpMeter()
    rows = model.table
    device.show(rows["grid_power_w"].address, -1234.5)
    device.show(rows["import_energy_wh"].address, 12.5)
    port = await device.start()
    clock = SystemClock()
    link = Link(TcpPort(TcpSettings("127.0.0.1", port, settle_s=0.0)), clock)
    began_s = clock.monotonic()
    listener = Listener(ModbusMeter(model, model.unit, link, clock, period_s=0.0).arrivals())

    await until(listener.has(MeterAnswered, 3))
    first = next(a for a in listener.heard if isinstance(a, MeterAnswered))
    assert first.figures["grid_power_w"] == -1234.5
    assert first.figures["import_energy_wh"] == 12_500
    assert began_s <= first.measured_s <= clock.monotonic()
    assert {request[:2] for request in device.requests} == {(model.unit, model.function)}
    assert all(request[3] <= model.max_registers for request in device.requests)

    await listener.stop()
    await device.stop()


async def test_a_meter_that_tells_no_power_is_refused() -> None:
    device = ModbusTcpMeter()
    device.show(SDM630.table["grid_power_w"].address, float("nan"))
    port = await device.start()
    clock = SystemClock()
    link = Link(TcpPort(TcpSettings("127.0.0.1", port, settle_s=0.0)), clock)
    listener = Listener(ModbusMeter(SDM630, 1, link, clock, period_s=0.0).arrivals())

    await until(listener.has(SourceLost))
    assert listener.heard[0] == SourceLost("SDM630 does not tell its power", refused=True)
    assert listener.count(MeterAnswered) == 0

    await listener.stop()
    await device.stop()
