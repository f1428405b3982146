"""A converter whose samples a test chooses, and a meter on the other end of a connection."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np

from bus.inverters import Followed, InverterReading, Lease
from runtime.clock import FakeClock
from services.metering.samples import Block, StreamHeader
from services.metering.sources import Arrival, BlockArrived, StreamOpened

FS_HZ = 8000
BLOCK = 160
SCALES = {"u": 0.0138, "i": 5e-6}
NAMES = ("u1", "u2", "u3", "i1", "i2", "i3")
RATIO = 2000


def header(*names: str, scale: float = 1.0) -> StreamHeader:
    return StreamHeader.model_validate(
        {
            "stream": "hemma-samples",
            "version": 1,
            "fs_hz": FS_HZ,
            "dtype": "<i2",
            "block_samples": BLOCK,
            "channels": [
                {"name": n, "unit": "V" if n[0] == "u" else "A", "scale": SCALES[n[0]] * scale}
                for n in names or NAMES
            ],
        }
    )


class Converter:
    """A source in the test's hands: a three-phase house with a little noise."""

    name = "converter under test"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.index = 0
        self.amps: list[complex] = [2, 2, 2]
        """RMS, relative to the own voltage, import > 0."""
        self.volts = [230.0, 230.0, 230.0]
        self._coming: asyncio.Queue[Arrival] = asyncio.Queue()
        self._random = np.random.default_rng(1)

    async def arrivals(self) -> AsyncIterator[Arrival]:
        while True:
            yield await self._coming.get()

    def send(self, arrival: Arrival) -> None:
        self._coming.put_nowait(arrival)

    def open(self, stream: StreamHeader | None = None) -> None:
        self.send(StreamOpened(stream or header()))

    def samples(self) -> Block:
        """The next 20 ms."""
        first, self.index = self.index, self.index + BLOCK
        turn = np.exp(2j * np.pi * 50 * np.arange(first, self.index) / FS_HZ)
        rows = []
        for scale, sizes in ((SCALES["u"], self.volts), (SCALES["i"] * RATIO, self.amps)):
            for phase, size in enumerate(sizes):
                wave = np.sqrt(2) * (size * turn * np.exp(-2j * np.pi * phase / 3)).real
                rows.append(wave / scale + self._random.standard_normal(BLOCK))
        return Block(first, np.rint(rows).astype("<i2").T)

    async def play(self, seconds: float) -> None:
        """Let time pass while samples come."""
        for _ in range(round(seconds / 0.02)):
            await self.clock.advance(0.02)
            self.send(BlockArrived(self.samples(), self.clock.monotonic()))
        await self.clock.settle()


async def until(condition: Callable[[], bool]) -> None:
    """Let all tasks, threads and sockets go on until something holds."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise TimeoutError("it never came true")


class ModbusTcpMeter:
    """A device on a connection: input and holding registers are the same words."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.requests: list[tuple[int, int, int, int]] = []
        """Unit, function, address, count."""
        self._server: asyncio.Server | None = None

    def show(self, address: int, figure: float) -> None:
        high, low = struct.unpack(">2H", struct.pack(">f", figure))
        self.words |= {address: high, address + 1: low}

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(12)
                transaction, _, _, unit, function, address, count = struct.unpack(
                    ">3H2B2H", request
                )
                self.requests.append((unit, function, address, count))
                words: Sequence[int] = [self.words.get(address + n, 0) for n in range(count)]
                body = struct.pack(f">3B{count}H", unit, function, 2 * count, *words)
                writer.write(struct.pack(">3H", transaction, 0, len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def idle_inverter(clock: FakeClock) -> InverterReading:
    quiet = Followed(asked_w=None, confirmed_w=None, measured_w=0.0)
    return InverterReading(
        inverter_id="inv1",
        measured_at=clock.now(),
        ac_power_w=0.0,
        pv_power_w=0.0,
        battery_power_w=None,
        soc_pct=None,
        max_charge_w=None,
        max_discharge_w=None,
        lease=Lease.LEASED,
        battery=quiet,
        ac_limit=quiet,
    )
