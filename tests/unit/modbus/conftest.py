"""A Modbus RTU line on a pseudo-terminal: its own idea of the protocol, and faults on order."""

import os
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sim.storm import Storm


def crc(frame: bytes) -> bytes:
    check = 0xFFFF
    for byte in frame:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ 0xA001 if check & 1 else check >> 1
    return check.to_bytes(2, "little")


def holds(unit: int, address: int) -> int:
    """What every register of the emulated units says: never the same in two places."""
    return (unit * 40503 + address * 31) & 0xFFFF


@dataclass
class EmulatedLine:
    """Units on one line. Answers in order, one at a time; `fault` may spoil an answer."""

    units: tuple[int, ...] = (1, 2, 3)
    char_s: float = 0.0
    t35_s: float = 0.0
    device_s: float = 0.0
    refuse: Callable[[int, int, int], int] = lambda _unit, _start, _count: 0
    """Exception code for a read of so many registers from an address; 0: answer."""
    fault: Callable[["EmulatedLine", bytes, bytes], None] | None = None
    """Sends what it likes instead of the answer: (line, request, answer)."""
    dead: set[int] = field(default_factory=set)
    requests: list[tuple[float, bytes]] = field(default_factory=list)
    written: dict[tuple[int, int], int] = field(default_factory=dict)
    silence_violations: int = 0

    def __post_init__(self) -> None:
        self.fd, self.other = os.openpty()
        tty.setraw(self.fd)
        tty.setraw(self.other)
        self.port = os.ttyname(self.other)
        self.last_byte_s = time.monotonic()
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Unplug it."""
        if self._thread.is_alive():
            os.write(self._stopped, b"x")
            self._thread.join(5)
            for descriptor in (self.fd, self.other, self._stop, self._stopped):
                os.close(descriptor)

    def send(self, frame: bytes) -> None:
        """Put bytes on the line at its speed."""
        for start in range(0, len(frame), 16):
            piece = frame[start : start + 16]
            if self.char_s:
                time.sleep(len(piece) * self.char_s)
            os.write(self.fd, piece)
            self.last_byte_s = time.monotonic()

    def answer(self, request: bytes) -> bytes:
        unit, function, start, count = struct.unpack(">BBHH", request[:6])
        code = self.refuse(unit, start, count) if function != 16 else 0
        if code:
            return _framed(bytes((unit, function | 0x80, code)))
        if function == 16:
            for offset, word in enumerate(struct.unpack(f">{count}H", request[7:-2])):
                self.written[unit, start + offset] = word
            return _framed(request[:6])
        words = [
            self.written.get((unit, start + offset), holds(unit, start + offset))
            for offset in range(count)
        ]
        return _framed(struct.pack(f">BBB{count}H", unit, function, 2 * count, *words))

    def _run(self) -> None:
        buffer = b""
        while True:
            ready = select.select([self.fd, self._stop], [], [])[0]
            if self._stop in ready:
                return
            if not buffer and time.monotonic() - self.last_byte_s < self.t35_s:
                self.silence_violations += 1
            buffer += os.read(self.fd, 4096)
            length = 9 + buffer[6] if len(buffer) > 6 and buffer[1] == 16 else 8
            if len(buffer) < length:
                continue
            request, buffer = buffer[:length], buffer[length:]
            assert _framed(request[:-2]) == request, "the client sent a damaged frame"
            self.requests.append((time.monotonic(), request))
            if request[0] not in self.units or request[0] in self.dead:
                continue
            answer = self.answer(request)
            pause_s = length * self.char_s + self.device_s
            if pause_s:
                time.sleep(pause_s)
            if self.fault is None:
                self.send(answer)
            else:
                self.fault(self, request, answer)


def _framed(body: bytes) -> bytes:
    return body + crc(body)


class FaultStorm(Storm):
    """The simulator's storm of faults, on this line."""

    def spoil(self, line: EmulatedLine, request: bytes, answer: bytes) -> None:
        """Fits `EmulatedLine.fault`."""
        began_s = time.monotonic()
        for after_s, content in self(request, answer):
            time.sleep(max(began_s + after_s - time.monotonic(), 0.0))
            line.send(content)


@pytest.fixture
def storm() -> type[FaultStorm]:
    return FaultStorm


@pytest.fixture
def register_at() -> Callable[[int, int], int]:
    return holds


@pytest.fixture
def emulated_line() -> Iterator[Callable[..., EmulatedLine]]:
    lines: list[EmulatedLine] = []

    def build(**how: object) -> EmulatedLine:
        lines.append(EmulatedLine(**how))  # type: ignore[arg-type]
        return lines[-1]

    yield build
    for line in lines:
        line.cut()
