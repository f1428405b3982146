"""The far end of the line that `hemma bench modbus` measures, in a process of its own."""

import contextlib
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sim.line import PacedLine
from sim.station import Station
from sim.storm import Storm
from sim.wire import BITS_PER_CHARACTER, LineReport, Wire

UNITS = (1, 2, 3)
SETPOINT = 40126
START_S = 10.0


def word_at(unit: int, address: int) -> int:
    """What a register says: never the same in two places, so that a wrong one shows."""
    return (unit * 40503 + address * 31) & 0xFFFF


@dataclass(frozen=True)
class Far:
    """How the line and its units behave."""

    baud: int
    device_s: float
    storm_share: float = 0.0
    late_s: float = 0.0
    silence_s: float | None = None
    """None: the standard's."""
    seed: int = 0


@dataclass
class Outcome:
    """What the far end has seen."""

    report: LineReport
    written: Sequence[tuple[float, int]]
    """(instant by the monotonic clock, first word) of each write."""
    kinds_tried: float
    """Part of the kinds of faults that the storm came to."""


@dataclass
class _Registers:
    """A device whose registers never change; it notes when it is written to."""

    unit: int
    written: list[tuple[float, int]] = field(default_factory=list)

    def read(self, function: int, address: int, count: int) -> bytes:
        del function
        words = (word_at(self.unit, address + offset) for offset in range(count))
        return struct.pack(f">{count}H", *words)

    def write(self, address: int, words: Sequence[int]) -> None:
        if address == SETPOINT:
            self.written.append((time.monotonic(), words[0]))

    def objects(self) -> dict[int, bytes]:
        return {}


class FarEnd:
    """The other side's handle: where to open the port, and orders."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.port: str = self._answer()

    def mute(self, unit: int) -> None:
        """This unit answers no more."""
        self._pipe.send(("mute", unit))
        self._answer()

    def outcome(self) -> Outcome:
        """End it and say what it has seen."""
        self._pipe.send(("end", 0))
        outcome: Outcome = self._answer()
        return outcome

    def _answer(self) -> Any:  # noqa: ANN401  whatever was sent
        if not self._pipe.poll(START_S):
            raise TimeoutError("the simulated line does not answer")
        return self._pipe.recv()


@contextlib.contextmanager
def far_end(far: Far) -> Iterator[FarEnd]:
    """A line with its units, as long as the block lasts."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(far, theirs), daemon=True)
    process.start()
    try:
        yield FarEnd(ours)
    finally:
        process.terminate()
        process.join()


def _serve(far: Far, pipe: Connection) -> None:
    sys.setswitchinterval(1e-4)  # see `sim.line`
    storm = Storm(far.seed, far.storm_share, far.late_s, BITS_PER_CHARACTER / far.baud)
    devices = {unit: _Registers(unit) for unit in UNITS}
    stations = {
        unit: Station(str(unit), device, device_s=(far.device_s, far.device_s))
        for unit, device in devices.items()
    }
    wire = Wire(stations, far.baud, strict=True, distort=storm, silence_s=far.silence_s)
    with tempfile.TemporaryDirectory(prefix="hemma-line-") as folder:
        line = PacedLine(wire, Path(folder) / "line")
        line.start()
        pipe.send(str(line.link))
        while (order := pipe.recv()) and order[0] == "mute":
            stations[order[1]].muted = True
            pipe.send(order)
        line.stop()
        written = [note for device in devices.values() for note in device.written]
        kinds_tried = len(storm.counted) / len(storm.kinds)
        pipe.send(Outcome(wire.report, sorted(written), kinds_tried))
