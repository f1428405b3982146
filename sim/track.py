"""A number over time, given by points; cheap to ask for one instant after the other."""

import math
from bisect import bisect_right
from collections.abc import Sequence


class Track:
    """Linear between points, or held from each point on; the ends hold for ever.

    Args:
        points: (epoch seconds, number), in order of time; at least one.
        held: Steps instead of lines.
    """

    def __init__(self, points: Sequence[tuple[float, float]], *, held: bool = False) -> None:
        if not points:
            raise ValueError("a track needs a point")
        self._times = [time_s for time_s, _ in points]
        self._numbers = [number for _, number in points]
        self._held = held
        self._from_s, self._to_s = math.inf, -math.inf
        self._start = self._slope = 0.0

    def at(self, time_s: float) -> float:
        """The number at one instant."""
        if not self._from_s <= time_s < self._to_s:
            self._seek(time_s)
        if self._slope:
            return self._start + self._slope * (time_s - self._from_s)
        return self._start

    def _seek(self, time_s: float) -> None:
        times, numbers = self._times, self._numbers
        i = bisect_right(times, time_s) - 1
        self._from_s = times[i] if i >= 0 else -math.inf
        self._to_s = times[i + 1] if i + 1 < len(times) else math.inf
        self._start, self._slope = numbers[max(i, 0)], 0.0
        if not self._held and 0 <= i < len(times) - 1 and self._to_s > self._from_s:
            self._slope = (numbers[i + 1] - numbers[i]) / (self._to_s - self._from_s)
