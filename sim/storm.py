"""A storm of faults on a serial line: answers spoilt by lot, in every way that a line knows."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from sim.modbus import with_crc

Parts = Sequence[tuple[float, bytes]]
"""What really goes over the wire instead of an answer: delay in seconds, bytes."""


class Storm:
    """Spoils answers; fits `Wire.distort`.

    Args:
        seed: Of the lots.
        share: Part of the answers that is spoilt.
        late_s: How late a late answer is at most.
        character_s: Time of one character on the line.
    """

    def __init__(self, seed: int, share: float, late_s: float, character_s: float) -> None:
        self.share = share
        self.counted: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._late_s = late_s
        self._character_s = character_s
        self._before = b""
        self._kinds: dict[str, Callable[[bytes, bytes], Parts]] = {
            "late": self._late,
            "mute": lambda _request, _answer: (),
            "cut": self._cut,
            "flip": lambda _request, answer: [(0.0, self._flipped(answer))],
            "flip-head": lambda _request, answer: [(0.0, self._flipped(answer[:3]) + answer[3:])],
            "foreign": self._foreign,
            "echo": lambda request, answer: self._behind(request, 0.003, answer),
            "glued": self._glued,
            "again": self._again,
            "noise": self._noise,
        }

    @property
    def kinds(self) -> frozenset[str]:
        """All that it does."""
        return frozenset(self._kinds)

    def __call__(self, request: bytes, answer: bytes) -> Parts:
        """What goes over the wire."""
        if not answer:
            return ()
        parts: Parts = [(0.0, answer)]
        if self._dice.random() < self.share:
            kind = self._dice.choice(sorted(self._kinds))
            self.counted[kind] += 1
            parts = self._kinds[kind](request, answer)
        self._before = answer
        return parts

    def _late(self, _request: bytes, answer: bytes) -> Parts:
        return [(self._dice.uniform(0.5, 1.0) * self._late_s, answer)]

    def _cut(self, _request: bytes, answer: bytes) -> Parts:
        return [(0.0, answer[: self._dice.randrange(1, len(answer))])]

    def _foreign(self, _request: bytes, answer: bytes) -> Parts:
        return [(0.0, with_crc(bytes((answer[0] % 3 + 1,)) + answer[1:-2]))]

    def _glued(self, _request: bytes, answer: bytes) -> Parts:
        return [(0.0, answer + with_crc(answer[:1] + self._dice.randbytes(9)))]

    def _again(self, _request: bytes, answer: bytes) -> Parts:
        return [(0.0, self._before + answer)]

    def _noise(self, _request: bytes, answer: bytes) -> Parts:
        noise = self._dice.randbytes(self._dice.randrange(1, 9))
        return self._behind(noise, self._dice.choice((0.0, 0.004)), answer)

    def _behind(self, first: bytes, pause_s: float, second: bytes) -> Parts:
        return [(0.0, first), (len(first) * self._character_s + pause_s, second)]

    def _flipped(self, frame: bytes) -> bytes:
        spoilt = bytearray(frame)
        for _ in range(self._dice.randrange(1, 4)):
            spoilt[self._dice.randrange(len(spoilt))] ^= 1 << self._dice.randrange(8)
        return bytes(spoilt)
