"""Modbus RTU over a serial port: our own framing, because a late answer must not be believed.

A read answer names neither the address nor the transaction, so after a time-out the late answer to
one request looks like the answer to the next. Four rules keep it from being taken for that:

1. Silence (t3.5, or the profile's) since the last received byte before every request, then drain.
2. An answer ends with t3.5 of silence as the specification says; bytes glued to it spoil it.
3. After a time-out the line rests until the late answer has come or is no longer plausible.
4. Until a unit has answered something else in order, a request that a late answer could still be
   mistaken for is preceded by a short read whose answer has another length (`_resynchronise`).

Sources: Modbus over serial line 1.02, section 2.5.1; docs/decisions/0003-own-rtu-framing.md.
"""

import asyncio
import contextlib
import os
import termios
import time
from collections import defaultdict
from dataclasses import dataclass

import serial

from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    NoAnswerError,
)
from runtime.modbus.figures import DeviceTimes, LineFigures, UnitFigures
from runtime.modbus.frames import answer_length, is_answer, missing, read_answer, request_frame
from runtime.modbus.planner import LineModel
from runtime.modbus.precise import PreciseTimer
from runtime.modbus.request import READ_HOLDING, Answer, Request

_LONGEST_BURST = 520
"""Two of the longest frames; more without a silence is a babbling line."""
_FORGET_S = 10.0
"""An answer that has not come by then never will."""
_BABBLE_S = 1.0
_SHORTEST_DOZE_S = 0.002

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class SerialSettings:
    """How a line runs."""

    port: str
    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    silence_s: float = 0.0
    """Pause before each request that the devices need beyond t3.5."""
    gap_s: float = 0.05
    """Longest pause inside a frame: USB adapters deliver in pieces, busy machines late."""
    first_window_s: float = 0.5
    """Waited for an answer, beyond the wire time, until the device's own time is learned."""
    shortest_window_s: float = 0.1
    longest_window_s: float = 0.5

    @property
    def char_s(self) -> float:
        """Time of one character: start, eight data bits, parity, stop."""
        return (9 + (self.parity != "N") + self.stop_bits) / self.baud

    @property
    def t35_s(self) -> float:
        """The silent interval between frames: 3.5 characters of 11 bits, 1.75 ms above 19200."""
        return 3.5 * 11 / self.baud if self.baud <= 19200 else 0.00175  # noqa: PLR2004  2.5.1.1


def open_serial(settings: SerialSettings) -> serial.Serial:
    """Open and configure the port, non-blocking and for this process alone.

    Raises:
        OSError: It is not there, not a serial port, or in use.
    """
    device = serial.Serial(
        settings.port,
        settings.baud,
        parity=settings.parity,
        stopbits=settings.stop_bits,
        timeout=0,
        exclusive=True,
    )
    os.set_blocking(device.fileno(), False)
    # pyserial sets VMIN to 0, where "nothing yet" and "unplugged" both read as no bytes.
    attributes = termios.tcgetattr(device.fileno())
    attributes[6][termios.VMIN] = 1
    termios.tcsetattr(device.fileno(), termios.TCSANOW, attributes)
    return device


class RtuPort:
    """One serial line. `transact` is never called twice at a time: the link sees to that."""

    def __init__(self, settings: SerialSettings) -> None:
        self.settings = settings
        self.name = settings.port
        self.figures_of_line = LineFigures()
        self._units: defaultdict[int, UnitFigures] = defaultdict(self._new_unit)
        self._device: serial.Serial | None = None
        self._fd = -1
        self._timer: PreciseTimer | None = None
        self._burst = bytearray()
        self._last_byte_s = float("-inf")
        self._quarantine: tuple[float, int] | None = None
        self._sent_s = 0.0
        self._owed: defaultdict[int, dict[Signature, float]] = defaultdict(dict)
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._broken: OSError | None = None

    async def open(self) -> None:
        """Open the port.

        Raises:
            LinkDownError: It cannot be opened.
        """
        self.close()
        try:
            # Opening can block for a second with some USB adapters.
            self._device = await asyncio.to_thread(open_serial, self.settings)
        except (OSError, ValueError, termios.error) as error:
            raise LinkDownError(self.name, str(error)) from error
        self._fd = self._device.fileno()
        self._broken = None
        self._burst.clear()
        self._timer = PreciseTimer(self._wake)
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        self._last_byte_s = time.monotonic()  # what came before is unknown: keep silent first

    def close(self) -> None:
        """Let go of the port."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        if self._device is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._device.close()
            self._device = None
            self._fd = -1

    def figures(self, unit: int) -> UnitFigures:
        """Counters and learned times of one unit."""
        return self._units[unit]

    def line(self, unit: int) -> LineModel:
        """What transactions with one unit cost just now."""
        settings = self.settings
        silence_s = max(settings.t35_s, settings.silence_s)
        return LineModel(settings.char_s, silence_s, self._units[unit].times.typical_s)

    async def transact(self, request: Request) -> Answer:
        """Ask one unit and wait for its answer.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`.
        """
        if self._fd < 0:
            raise LinkDownError(self.name, "not open")
        owed = self._still_owed(request.unit)
        if _signature(request) in owed:
            await self._resynchronise(request, owed)
        return await self._exchange(request)

    # --- one exchange

    async def _exchange(self, request: Request) -> Answer:
        await self._line_at_rest(request.unit)
        unit = self._units[request.unit]
        char_s = self.settings.char_s
        sent = request_frame(request)
        self._send(sent)
        asked_s = self._sent_s + len(sent) * char_s  # the last bit of the request has left
        answer_s = answer_length(request) * char_s
        deadline_s = asked_s + unit.times.window_s + answer_s
        await self._doze(asked_s + unit.times.shortest_s + answer_s)
        try:
            while True:
                burst = await self._next_burst(request, deadline_s)
                if burst.startswith(sent):
                    self.figures_of_line.echoes += 1
                    burst = burst[len(sent) :]
                    if not burst:
                        continue
                if not burst:
                    raise self._no_answer(request, deadline_s)
                if is_answer(request, burst):
                    break
                # Somebody else's frame, a late one or noise: ours may still come.
                self.figures_of_line.stray += 1
            device_s = self._last_byte_s - len(burst) * char_s - asked_s
            words = read_answer(request, burst)
        except BadFrameError:
            unit.bad_frames += 1
            raise
        except ExceptionCodeError:
            unit.exceptions += 1
            raise
        unit.times.learn(device_s)
        unit.answered += 1
        owed = self._owed[request.unit]
        if owed and _signature(request) not in owed:
            owed.clear()  # devices answer in order: what was owed before will not come any more
        return Answer(words, asked_s + max(0.0, device_s) / 2)

    def _no_answer(self, request: Request, deadline_s: float) -> NoAnswerError:
        unit = self._units[request.unit]
        unit.timed_out += 1
        self._quarantine = (deadline_s + unit.times.quarantine_s, request.unit)
        self._owed[request.unit][_signature(request)] = time.monotonic()
        return NoAnswerError(request.unit, time.monotonic() - self._sent_s)

    async def _resynchronise(self, request: Request, owed: dict[Signature, float]) -> None:
        function = request.function if request.reads else READ_HOLDING
        probes = (Request(request.unit, function, request.address, n) for n in range(1, 126))
        probe = next(probe for probe in probes if _signature(probe) not in owed)
        self.figures_of_line.resynchronised += 1
        with contextlib.suppress(ExceptionCodeError):  # an answer too, of a length of its own
            await self._exchange(probe)
        owed.clear()

    def _still_owed(self, unit: int) -> dict[Signature, float]:
        owed = self._owed[unit]
        oldest_s = time.monotonic() - _FORGET_S
        for signature in [known for known, since_s in owed.items() if since_s < oldest_s]:
            del owed[signature]
        return owed

    # --- bytes and time

    async def _line_at_rest(self, unit: int) -> None:
        """Wait for the silent interval, and after a time-out for the late answer; drain."""
        silence_s = max(self.settings.t35_s, self.settings.silence_s)
        give_up_s = time.monotonic() + _BABBLE_S
        while True:
            self._readable()
            if self._burst:
                self._dropped()
            rest_until_s = self._last_byte_s + silence_s
            if self._quarantine is not None:
                rest_until_s = max(rest_until_s, self._quarantine[0])
                give_up_s = max(give_up_s, rest_until_s + _BABBLE_S)
            now_s = time.monotonic()
            if now_s >= rest_until_s:
                self._quarantine = None
                return
            if now_s >= give_up_s:
                raise BadFrameError(unit, "the line is never silent")
            await self._until(1, rest_until_s)

    def _dropped(self) -> None:
        """Bytes that nobody waits for: the late answer if one is owed, else noise."""
        if self._quarantine is not None:
            unit = self._units[self._quarantine[1]]
            unit.late += 1
            unit.times.learn(self._last_byte_s - self._sent_s)
            self._quarantine = None
        else:
            self.figures_of_line.stray += 1
        self._burst.clear()

    def _send(self, frame: bytes) -> None:
        self._sent_s = time.monotonic()
        if self._sent_s - self._last_byte_s < self.settings.t35_s:
            self.figures_of_line.silence_violations += 1
        try:
            written = os.write(self._fd, frame)
        except OSError as error:
            raise self._down(str(error)) from error
        if written != len(frame):
            raise self._down("the port does not take a whole frame")

    async def _next_burst(self, request: Request, deadline_s: float) -> bytes:
        """Bytes up to the silence behind them; empty when none came by the deadline."""
        if not await self._until(1, deadline_s):
            return b""
        while len(self._burst) < _LONGEST_BURST:
            length = len(self._burst)
            lacking = missing(request, self._burst)
            pause_s = self.settings.gap_s if lacking else self.settings.t35_s
            await self._until(length + max(1, lacking), self._last_byte_s + pause_s)
            if time.monotonic() >= self._last_byte_s + pause_s:
                self._readable()  # we may have been held up ourselves, with bytes waiting
                if len(self._burst) == length:
                    break
        burst = bytes(self._burst)
        self._burst.clear()
        return burst

    async def _doze(self, at_s: float) -> None:
        """Leave the bytes to the kernel as long as no whole answer can have come.

        Woken for every few bytes, a slow line would cost several times the processor time.
        """
        if at_s - time.monotonic() < _SHORTEST_DOZE_S:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        try:
            await self._until(_LONGEST_BURST, at_s)
        finally:
            if self._device is not None:
                loop.add_reader(self._fd, self._readable)

    async def _until(self, length: int, at_s: float) -> bool:
        """Wait for so many bytes in all, at most until an instant; whether they are there."""
        if self._timer is None:
            raise LinkDownError(self.name, "closed")
        if len(self._burst) < length and time.monotonic() < at_s:
            self._wanted = length
            self._waiter = asyncio.get_running_loop().create_future()
            self._timer.arm(at_s)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._broken is not None:
            raise self._down(str(self._broken))
        return len(self._burst) >= length

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken = error
            self._wake()
            return
        if not chunk:
            self._broken = OSError("the other end is gone")
            self._wake()
            return
        self._last_byte_s = time.monotonic()
        self._burst += chunk
        if len(self._burst) >= self._wanted:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _down(self, reason: str) -> LinkDownError:
        self.close()
        return LinkDownError(self.name, reason)

    def _new_unit(self) -> UnitFigures:
        settings = self.settings
        return UnitFigures(
            DeviceTimes(
                settings.first_window_s, settings.shortest_window_s, settings.longest_window_s
            )
        )


def _signature(request: Request) -> Signature:
    """What an answer can be told apart by: its length for reads, the address too for writes."""
    return request.function, request.count, -1 if request.reads else request.address
