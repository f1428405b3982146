"""Judges and records what happens at the grid connection point, step by step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Watch:
    """How far and how long the export was above a limit since the watch began.

    `each_phase` holds the limit, in equal parts, against every phase instead of the sum.
    """

    limit_w: float
    tolerance_w: float = 0.0
    each_phase: bool = False
    watched_s: float = 0.0
    above_s: float = 0.0
    above_longest_s: float = 0.0
    above_wh: float = 0.0
    """Energy exported beyond the limit itself, without tolerance."""
    export_max_w: float = 0.0
    import_max_w: float = 0.0
    export_wh: float = 0.0
    import_wh: float = 0.0
    above_now_s: float = 0.0

    def step(self, power_w: list[float], phases: int, dt_s: float) -> None:
        """One step; import is positive."""
        total_w = sum(power_w)
        if self.each_phase:
            over_w = -min(power_w[:phases]) - self.limit_w / phases
        else:
            over_w = -total_w - self.limit_w
        self.watched_s += dt_s
        self.export_max_w = max(self.export_max_w, -total_w)
        self.import_max_w = max(self.import_max_w, total_w)
        self.above_wh += max(0.0, over_w) * dt_s / 3600
        self.export_wh += max(0.0, -total_w) * dt_s / 3600
        self.import_wh += max(0.0, total_w) * dt_s / 3600
        if over_w > self.tolerance_w:
            self.above_s += dt_s
            self.above_now_s += dt_s
            self.above_longest_s = max(self.above_longest_s, self.above_now_s)
        else:
            self.above_now_s = 0.0


COLUMNS = ("grid_power_w", "load_power_w", "pv_power_w", "battery_power_w")


class History:
    """The last minutes of every step, in a ring.

    Args:
        length_s: How far back.
        dt_s: Time of one step.
        names: Further columns, one number each in every step.
    """

    def __init__(self, length_s: float, dt_s: float, names: tuple[str, ...] = ()) -> None:
        self.names = ("elapsed_s", *COLUMNS, *names)
        self._rows: NDArray[np.float64] = np.full(
            (round(length_s / dt_s), len(self.names)), np.nan, dtype=np.float64
        )
        self._dt_s = dt_s
        self._count = 0

    def add(self, *row: float) -> None:
        """The numbers of one step, in the order of `names`."""
        self._rows[self._count % len(self._rows)] = row
        self._count += 1

    def last(self, seconds: float, period_s: float) -> dict[str, Any]:
        """The newest rows, oldest first, one every period_s, by column."""
        stride = max(1, round(period_s / self._dt_s))
        wanted = min(round(seconds / self._dt_s), self._count, len(self._rows))
        order = np.arange(self._count - wanted, self._count)[::-1][::stride][::-1]
        rows = self._rows[order % len(self._rows)]
        return {name: rows[:, i].round(3).tolist() for i, name in enumerate(self.names)}
