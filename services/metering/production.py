"""What the inverters feed just now, phase by phase: the other half of a plausible house."""

from dataclasses import dataclass, field

from bus.inverters import InverterReading, InverterState
from bus.metering import Phase

_OLDEST_S = 3.0


@dataclass
class Production:
    """The newest power of each inverter and the phases that it feeds."""

    _phases: dict[str, tuple[Phase, ...]] = field(default_factory=dict)
    _powers: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    def describe(self, state: InverterState) -> None:
        """Take note of an inverter."""
        self._phases[state.inverter_id] = state.phases

    def report(self, reading: InverterReading, now_s: float) -> None:
        """Take note of its power."""
        self._powers[reading.inverter_id] = now_s, reading.ac_power_w

    def on_phases(self, now_s: float) -> tuple[float, float, float] | None:
        """Power on L1, L2, L3; None when nobody, or not everybody, has said lately."""
        if not self._phases:
            return None
        sums = dict.fromkeys(Phase, 0.0)
        for inverter_id, phases in self._phases.items():
            at_s, power_w = self._powers.get(inverter_id, (float("-inf"), None))
            if power_w is None or now_s - at_s > _OLDEST_S or not phases:
                return None
            for phase in phases:
                sums[phase] += power_w / len(phases)
        return sums[Phase.L1], sums[Phase.L2], sums[Phase.L3]
