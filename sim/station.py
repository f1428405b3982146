"""A Modbus device as it hangs on a line or a socket: how long it takes, what is wrong with it."""

import random
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sim.modbus import Device, SilentError, answer, exception


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer PDU, and how long after the request the device starts to send it."""

    delay_s: float
    pdu: bytes


class Station:
    """One unit id: a device, its answer time and its faults.

    Args:
        name: How faults and reports call it.
        device: What answers.
        device_s: Shortest and longest time from request to answer, seconds.
        lock: Held while the device works; the house holds it during a step.
        seed: Of answer times and of garbled bits.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        *,
        device_s: tuple[float, float] = (0.02, 0.02),
        lock: AbstractContextManager[object] | None = None,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.device = device
        self.device_s = device_s
        self.muted = False
        self.late_s = 0.0
        self.garble = 0.0
        """Probability that an answer has flipped bits on its way."""
        self.requests = 0
        self.exceptions = 0
        self._lock = lock or threading.Lock()
        self._random = random.Random(seed)

    def reply(self, pdu: bytes) -> Reply | None:
        """What comes back for a request; None for silence."""
        self.requests += 1
        if self.muted:
            return None
        try:
            with self._lock:
                answered = answer(self.device, pdu)
        except SilentError:
            return None
        self.exceptions += answered[0] == exception(pdu[0], 0)[0]
        return Reply(self._random.uniform(*self.device_s) + self.late_s, answered)

    def on_the_way(self, frame: bytes) -> bytes:
        """A frame as it arrives: mostly whole, garbled when that fault is on."""
        if not frame or self._random.random() >= self.garble:
            return frame
        broken = bytearray(frame)
        for _ in range(self._random.randint(1, 3)):
            broken[self._random.randrange(len(broken))] ^= 1 << self._random.randrange(8)
        return bytes(broken)
