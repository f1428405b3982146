"""One RS485 line as a timeline of bytes: who sends when, what overlaps, what was too early.

No clock and no file here: `heard` takes bytes that the client wrote, `due` gives the bytes that
have come over the wire by now, `next_s` says when to ask again. All times are seconds of one
monotonic clock.

The client's bytes enter at line speed from the moment they are written. A frame is complete after
the silent interval t3.5; the addressed unit answers after its device time; the answer is handed
over in chunks, each when its last bit would have arrived. Senders that overlap garble each other.

Source: MODBUS over Serial Line V1.02, 2.5.1 (RTU framing, t1.5, t3.5).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sim.modbus import crc16, with_crc
from sim.station import Station

BITS_PER_CHARACTER = 10
"""8N1: start, eight data bits, stop."""
SILENCE_BITS = 3.5 * 11
FIXED_SILENCE_S, FIXED_SILENCE_ABOVE_BAUD = 1.75e-3, 19200
BROADCAST = 0
SHORTEST_FRAME = 4
LATE_S = 0.3e-3

Distort = Callable[[bytes, bytes], Sequence[tuple[float, bytes]]]
"""Turns (request frame, answer frame) into what really goes over the wire: (delay beyond the device
time in seconds, bytes) each. For storms of faults; an empty answer means the units kept silent."""


def silence_s(baud: int) -> float:
    """The silent interval t3.5 between frames."""
    return FIXED_SILENCE_S if baud > FIXED_SILENCE_ABOVE_BAUD else SILENCE_BITS / baud


@dataclass(slots=True)
class LineReport:
    """What a line has seen."""

    requests: int = 0
    answers: int = 0
    early_requests: int = 0
    """Requests that began less than t3.5 after the last byte on the line."""
    shortest_silence_s: float = math.inf
    collisions: int = 0
    bad_frames: int = 0
    unknown_units: int = 0
    released_bytes: int = 0
    lost_bytes: int = 0
    """Nobody read them and the pseudo-terminal was full."""
    chunks: int = 0
    late_sum_s: float = 0.0
    late_max_s: float = 0.0
    """How long after its due time a chunk was handed over."""
    late_chunks: int = 0
    """Chunks handed over more than LATE_S after their time."""


class _Sending:
    """Bytes on their way to the client, handed over chunk by chunk."""

    __slots__ = (
        "_character_s",
        "_step",
        "end_s",
        "frame",
        "next_end",
        "next_s",
        "released",
        "start_s",
    )

    def __init__(self, start_s: float, content: bytes, character_s: float, chunk_s: float) -> None:
        self.start_s = start_s
        self.frame = bytearray(content)
        self.end_s = start_s + len(content) * character_s
        self.released = 0
        self._character_s = character_s
        self._step = max(1, int(chunk_s / character_s))
        self._plan()

    def _plan(self) -> None:
        self.next_end = min(self.released + self._step, len(self.frame))
        self.next_s = self.start_s + self.next_end * self._character_s

    def take(self) -> bytearray:
        """The chunk that is through."""
        chunk = self.frame[self.released : self.next_end]
        self.released = self.next_end
        self._plan()
        return chunk

    def garble(self, from_s: float, to_s: float) -> None:
        """Flip what overlaps and is still to be handed over."""
        first = math.floor((from_s - self.start_s) / self._character_s)
        last = math.ceil((to_s - self.start_s) / self._character_s)
        for i in range(max(first, self.released), min(last, len(self.frame))):
            self.frame[i] ^= 0x55


@dataclass(slots=True)
class Wire:
    """The line, its units, and what is under way on it.

    `strict` units take a request that came too early for a part of the frame before, and keep
    silent; others answer it, and it is only counted.
    """

    units: Mapping[int, Station]
    baud: int = 9600
    chunk_s: float = 1.05e-3
    """Longest time between two chunks of an answer; at least one character."""
    strict: bool = False
    distort: Distort | None = None
    silence_s: float | None = None
    """The silent interval between frames; None: the standard's."""
    report: LineReport = field(default_factory=LineReport)
    _heard: bytearray = field(default_factory=bytearray)
    _heard_from_s: float = 0.0
    _heard_to_s: float = -math.inf
    _spoiled: bool = False
    _busy_to_s: float = -math.inf
    _sendings: list[_Sending] = field(default_factory=list)
    character_s: float = 0.0
    """Time of one character."""
    _silence_s: float = 0.0

    def __post_init__(self) -> None:
        """Times that follow from the line speed."""
        self._silence_s = silence_s(self.baud) if self.silence_s is None else self.silence_s
        self.character_s = BITS_PER_CHARACTER / self.baud

    @property
    def next_s(self) -> float:
        """When `due` has something to do; infinity when the line is quiet."""
        next_s = self._heard_to_s + self._silence_s if self._heard else math.inf
        for sending in self._sendings:
            next_s = min(next_s, sending.next_s)
        return next_s

    def heard(self, written: bytes, now_s: float) -> None:
        """Bytes that the client wrote just now."""
        if not self._heard:
            silent_s = now_s - self._busy_to_s
            if silent_s < self._silence_s:
                self.report.early_requests += 1
                self._spoiled = self.strict
            if math.isfinite(silent_s):
                shortest_s = max(0.0, silent_s)
                self.report.shortest_silence_s = min(self.report.shortest_silence_s, shortest_s)
            self._heard_from_s = self._heard_to_s = now_s
        start_s = max(now_s, self._heard_to_s)
        self._heard += written
        self._heard_to_s = start_s + len(written) * self.character_s
        self._busy_to_s = max(self._busy_to_s, self._heard_to_s)
        for sending in self._sendings:
            self._collide(sending, start_s, self._heard_to_s)

    def due(self, now_s: float) -> bytes:
        """Bytes that are through by now; call at least whenever `next_s` has come."""
        if self._heard and now_s >= self._heard_to_s + self._silence_s:
            self._frame_complete(self._heard_to_s + self._silence_s)
        through = bytearray()
        report = self.report
        for sending in self._sendings:
            while sending.next_s <= now_s:
                late_s = now_s - sending.next_s
                through += sending.take()
                report.chunks += 1
                report.late_sum_s += late_s
                report.late_max_s = max(report.late_max_s, late_s)
                report.late_chunks += late_s > LATE_S
                if sending.released == len(sending.frame):
                    self._sendings = [other for other in self._sendings if other is not sending]
                    break
        if through:
            self._busy_to_s = max(self._busy_to_s, now_s)
            report.released_bytes += len(through)
        return bytes(through)

    def _collide(self, sending: _Sending, from_s: float, to_s: float) -> None:
        if sending.start_s < to_s and from_s < sending.end_s:
            sending.garble(from_s, to_s)
            self._spoiled = True
            self.report.collisions += 1

    def _frame_complete(self, at_s: float) -> None:
        frame, spoiled = bytes(self._heard), self._spoiled
        self._heard.clear()
        self._spoiled = False
        self.report.requests += 1
        whole = len(frame) >= SHORTEST_FRAME and not crc16(frame)
        if spoiled or not whole:
            self.report.bad_frames += 1
            return
        station = self.units.get(frame[0])
        if frame[0] == BROADCAST:
            for unit in self.units.values():
                unit.reply(frame[1:-2])
        elif station is None:
            self.report.unknown_units += 1
        reply = station.reply(frame[1:-2]) if station else None
        answered, delay_s = b"", 0.0
        if station and reply:
            answered = station.on_the_way(with_crc(frame[:1] + reply.pdu))
            delay_s = reply.delay_s
        parts = self.distort(frame, answered) if self.distort else [(0.0, answered)]
        for extra_s, content in parts:
            if content:
                self._send(at_s + delay_s + extra_s, content)

    def _send(self, start_s: float, content: bytes) -> None:
        sending = _Sending(start_s, content, self.character_s, self.chunk_s)
        for other in self._sendings:
            if other.start_s < sending.end_s and sending.start_s < other.end_s:
                other.garble(sending.start_s, sending.end_s)
                sending.garble(other.start_s, other.end_s)
                self.report.collisions += 1
        self._sendings.append(sending)
        self.report.answers += 1
