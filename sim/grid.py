"""The grid connection point: what is true there in one step."""

import math
from dataclasses import dataclass, field

PHASES = 3
SQRT3 = math.sqrt(3)


@dataclass(slots=True)
class Grid:
    """Per phase L1, L2, L3; import > 0. Phases that a house does not have stay 0."""

    voltage_v: float
    frequency_hz: float
    power_w: list[float] = field(default_factory=lambda: [0.0] * PHASES)
    reactive_var: list[float] = field(default_factory=lambda: [0.0] * PHASES)
    import_wh: float = 0.0
    """Energy of the sum of the phases, netted in every step."""
    export_wh: float = 0.0

    @property
    def total_w(self) -> float:
        """Sum of the phases."""
        return sum(self.power_w)

    @property
    def total_var(self) -> float:
        """Sum of the phases."""
        return sum(self.reactive_var)

    def current_a(self, phase: int) -> float:
        """RMS current of a phase, never negative."""
        return math.hypot(self.power_w[phase], self.reactive_var[phase]) / self.voltage_v

    def power_factor(self) -> float:
        """Of the whole connection, signed as the power; 1 without current."""
        apparent_va = math.hypot(self.total_w, self.total_var)
        return self.total_w / apparent_va if apparent_va else 1.0

    def count(self, dt_s: float) -> None:
        """Add one step to the energies."""
        wh = self.total_w * dt_s / 3600
        if wh > 0:
            self.import_wh += wh
        else:
            self.export_wh -= wh
