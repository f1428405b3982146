"""Both ends of the path that `hemma bench latency` measures, and the bare relay beside it."""

import asyncio
import itertools
import random
import socket
import struct
import time
from collections.abc import Collection, Mapping
from multiprocessing.sharedctypes import RawArray, RawValue
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np

from hemma.bench.metering_signals import (
    FS_HZ,
    NOMINAL_V,
    PHASE_ANGLES,
    RATED_A,
    SECONDARY_A,
    Converter,
    Mains,
    Signal,
    sampled,
)
from runtime.actor import Actor
from runtime.modbus.figures import UnitFigures
from runtime.mqtt import BrokerAddress, MqttBus
from runtime.process import Service, Surroundings, run
from runtime.store import Store
from services.inverters.config import InvertersConfig
from services.inverters.drivers.base import Fast, Identity, Registers, Slow, Write
from services.inverters.drivers.profile import Profile
from services.inverters.drivers.sun2000 import SUN2000
from services.inverters.ledger import FlashLedger
from services.inverters.service import InvertersService
from services.inverters.unit import InverterUnit

BLOCK_S = 0.02
BLOCKS_A_LEVEL = 10
"""The load changes once a window, so that no two windows ask for the same setpoint."""
WINDOW_S = 0.2
RATED_W = 10_000.0
LAG_S = 1.0
HIGHEST_W, LOWEST_W = 8000.0, 1000.0
FALL_W = (60.0, 100.0)
"""The load falls by so much a window, and jumps up again at the lowest: PV rises towards it for a
while, then is held ever lower. So nearly every window asks for another limit."""
FIRST, SECOND = "hemma/v1/relay/cmd/first", "hemma/v1/relay/cmd/second"
"""Topics that the operator's credential may use and that nobody else hears."""

_SENT = struct.Struct("<d")


class Stamps:
    """Instants (monotonic, s) noted by one process and read by another; no lock, no system call."""

    def __init__(self, room: int) -> None:
        """Args: room: how many; further ones are forgotten."""
        self._count = RawValue("q", 0)
        self._instants = RawArray("d", room)

    def note(self, instant_s: float) -> None:
        """Add one."""
        if self._count.value < len(self._instants):
            self._instants[self._count.value] = instant_s
            self._count.value += 1

    def all(self) -> list[float]:
        """So far."""
        return list(self._instants[: self._count.value])


class Shared:
    """What the processes of a run have in common."""

    def __init__(self, seconds: float) -> None:
        """Args: seconds: how long the run may last."""
        self.blocks = Stamps(int(seconds / BLOCK_S))
        """When each block of samples was sent."""
        self.setpoints = Stamps(int(100 * seconds))
        """When the driver was handed each frame with a setpoint."""
        self.relayed = Stamps(int(20 * seconds))
        """In pairs: when a message of the relay's was sent, and when it came out."""
        self.limit_w = RawValue("d", 0.0)
        """The AC limit that the inverter holds."""
        self.fed_w = RawValue("d", 0.0)
        """What it feeds: the sun is always enough, and it takes its time."""


def stream_samples(listener: socket.socket, shared: Shared, seed: int) -> None:
    """Serve the samples of a house: a load that falls and jumps, less what PV gives."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    converter = Converter(bits=16, noise_counts=0.7, offset=0.0)
    count = round(FS_HZ * BLOCK_S)
    amps = PHASE_ANGLES[None, :] / (3 * NOMINAL_V)  # of 1 W
    signal = Signal((1,), NOMINAL_V * PHASE_ANGLES[None, :], amps)
    watt = sampled(signal, amps * SECONDARY_A / RATED_A, Mains(50.0), count)
    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            stream.sendall(converter.header(count))
            due_s, load_w = time.monotonic(), HIGHEST_W
            for number in itertools.count():
                load_w -= rng.uniform(*FALL_W) * BLOCK_S / WINDOW_S
                if load_w < LOWEST_W:
                    load_w = HIGHEST_W
                fed_w = shared.fed_w.value
                shared.fed_w.value += (shared.limit_w.value - fed_w) * BLOCK_S / LAG_S
                samples = watt.copy()
                samples[:, 3:] *= load_w - fed_w
                block = converter.block(number * count, samples, noise)
                due_s += BLOCK_S
                time.sleep(max(0.0, due_s - time.monotonic()))
                shared.blocks.note(time.monotonic())
                stream.sendall(block)
        except ConnectionError:
            continue


class NotingDriver:
    """An inverter in bright sun that is at its limit as soon as it is told."""

    def __init__(self, shared: Shared) -> None:
        """Args: shared: where to note setpoints."""
        self._shared = shared
        self._held: dict[str, float | None] = dict.fromkeys(SUN2000.actuators, 0.0)

    @property
    def profile(self) -> Profile:
        """A family with an AC limit."""
        return SUN2000

    @property
    def oddity(self) -> str | None:
        """Never anything."""
        return None

    async def identify(self) -> Identity:
        """What it is."""
        return Identity("SUN2000", "BENCH", RATED_W, RATED_W, has_battery=False)

    async def read_fast(self) -> Fast:
        """Its output."""
        power_w = self._shared.fed_w.value
        return Fast(time.monotonic(), power_w, power_w, None, None)

    async def read_slow(self) -> Slow:
        """Nothing of interest."""
        return Slow(None, (), None, None, None, None, None, None, None, None)

    async def read_back(self, names: Collection[str]) -> Registers:
        """What was written."""
        return {name: self._held[name] for name in names}

    async def write(self, write: Write) -> None:
        """Note a setpoint and follow it."""
        self._shared.setpoints.note(time.monotonic())
        self._held.update(write.quantities)
        self._shared.limit_w.value = self._held["ac_limit_w"] or 0.0

    def figures(self) -> UnitFigures:
        """There is no line."""
        return UnitFigures()


def run_inverters(config_file: Path, state_dir: Path, shared: Shared) -> int:
    """The service `inverters` with that driver, until it is stopped."""

    def make(bus: MqttBus, surroundings: Surroundings, config: Mapping[str, Any]) -> Actor:
        section: InvertersConfig = config["inverters"]
        ledger = FlashLedger(Store(surroundings.state_dir, "flash-writes"))
        units = [
            InverterUnit(
                unit,
                NotingDriver(shared),
                surroundings.clock,
                ledger,
                failsafe_limit_w=section.failsafe_limit_w,
                poll_period_s=section.poll_period_s,
                slow_period_s=section.slow_period_s,
            )
            for unit in section.units
        ]
        return InvertersService(bus, surroundings.clock, (), units)

    service = Service("inverters", {"inverters": InvertersConfig}, make)
    return run(service, config_file, state_dir, log_format="text")


def relay_first(broker: BrokerAddress, size: int, shared: Shared) -> None:
    """Say something five times a second, when no window ends: half a window after one."""

    async def speak() -> None:
        rng = random.Random(0)
        phase_s = shared.blocks.all()[0]
        async with _client(broker) as client:
            while True:
                past_s = (time.monotonic() - phase_s) % WINDOW_S
                await asyncio.sleep(WINDOW_S - past_s + rng.uniform(0.0, BLOCK_S))
                await client.publish(FIRST, _SENT.pack(time.monotonic()) + bytes(size - _SENT.size))

    asyncio.run(speak())


def relay_second(broker: BrokerAddress, size: int) -> None:
    """Answer each message with another one."""

    async def answer() -> None:
        async with _client(broker) as client:
            await client.subscribe(FIRST)
            async for message in client.messages:
                sent = bytes(message.payload)[: _SENT.size]
                await client.publish(SECOND, sent + bytes(size - _SENT.size))

    asyncio.run(answer())


def relay_third(broker: BrokerAddress, shared: Shared) -> None:
    """Note when the answers come."""

    async def listen() -> None:
        async with _client(broker) as client:
            await client.subscribe(SECOND)
            async for message in client.messages:
                arrived_s = time.monotonic()
                (sent_s,) = _SENT.unpack_from(bytes(message.payload))
                shared.relayed.note(sent_s)
                shared.relayed.note(arrived_s)

    asyncio.run(listen())


def _client(broker: BrokerAddress) -> aiomqtt.Client:
    """As bare as it gets, but with TCP_NODELAY: without it, two hops take 40 ms."""
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password(),
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
