"""How a line and each device on it fare, and what the device's own times teach."""

import math
from collections import deque
from dataclasses import dataclass, field

_SAMPLES = 1000
_RECOMPUTE_EVERY = 32


@dataclass
class DeviceTimes:
    """The time that one device takes to answer, learned: the last thousand answers."""

    first_window_s: float = 0.5
    """Waited for an answer as long as nothing is known."""
    shortest_window_s: float = 0.1
    longest_window_s: float = 0.5
    samples: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _sorted: list[float] = field(default_factory=list)
    _until_sort: int = 0

    def learn(self, device_s: float) -> None:
        """Take the time of one answer, also of one that came too late."""
        self.samples.append(max(0.0, device_s))
        self._until_sort -= 1
        if self._until_sort <= 0 or device_s > self._sorted[-1]:
            self._sorted = sorted(self.samples)
            # The first answers say little, so look again soon; later a thousand change slowly.
            self._until_sort = min(_RECOMPUTE_EVERY, len(self._sorted))

    def percentile_s(self, percent: float) -> float | None:
        """The time that so many per cent of the answers kept; None before the first answer."""
        if not self._sorted:
            return None
        return self._sorted[max(0, math.ceil(len(self._sorted) * percent / 100) - 1)]

    @property
    def typical_s(self) -> float:
        """The median; 20 ms before the first answer, as most inverters have."""
        median = self.percentile_s(50)
        return 0.02 if median is None else median

    @property
    def shortest_s(self) -> float:
        """What every answer takes, with a margin; 0 before the first answer."""
        return 0.8 * self._sorted[0] if self._sorted else 0.0

    @property
    def window_s(self) -> float:
        """How long to wait beyond the wire time: the p99.9 and a margin, within bounds."""
        slowest = self.percentile_s(99.9)
        if slowest is None:
            return self.first_window_s
        return min(self.longest_window_s, max(self.shortest_window_s, 1.5 * slowest + 0.02))

    @property
    def quarantine_s(self) -> float:
        """How long after a time-out a late answer is still awaited, to be dropped."""
        return min(self.longest_window_s, max(self.shortest_window_s, self.window_s))


@dataclass
class UnitFigures:
    """Counters of one device; `times` holds what was learned."""

    times: DeviceTimes = field(default_factory=DeviceTimes)
    answered: int = 0
    timed_out: int = 0
    late: int = 0
    """Bursts after a time-out, dropped."""
    bad_frames: int = 0
    exceptions: int = 0


@dataclass
class LineFigures:
    """Counters of a whole line."""

    stray: int = 0
    """Bursts that nobody had asked for: noise, foreign frames."""
    echoes: int = 0
    silence_violations: int = 0
    """Requests that began before the silent interval had passed; must stay 0."""
    resynchronised: int = 0
    """Extra short reads after a time-out, see `RtuPort`."""
