"""A battery as seen from the inverter's DC bus."""

from dataclasses import dataclass

CHARGE_TAPER_FROM_PCT, DISCHARGE_TAPER_FROM_PCT = 90.0, 10.0
CHARGE_TAPER_TO, DISCHARGE_TAPER_TO = 0.1, 0.3
"""Share of the rated power that is left at 100 % and at 0 % SOC."""


@dataclass(frozen=True, slots=True)
class BatterySpec:
    """What stands on the nameplate, and two efficiencies (0..1) between DC bus and cells."""

    capacity_wh: float
    max_charge_w: float
    max_discharge_w: float
    charge_efficiency: float = 0.975
    discharge_efficiency: float = 0.975


class Battery:
    """State of charge, and how much power the cells take or give at it."""

    __slots__ = ("charged_wh", "discharged_wh", "soc_pct", "spec")

    def __init__(self, spec: BatterySpec, soc_pct: float) -> None:
        self.spec = spec
        self.soc_pct = soc_pct
        self.charged_wh = 0.0
        self.discharged_wh = 0.0

    def charge_room_w(self, cutoff_pct: float) -> float:
        """What can be charged now: all up to 90 %, then falling, none from the cut-off on."""
        if self.soc_pct >= cutoff_pct:
            return 0.0
        above = max(0.0, self.soc_pct - CHARGE_TAPER_FROM_PCT) / (100 - CHARGE_TAPER_FROM_PCT)
        return self.spec.max_charge_w * (1 - (1 - CHARGE_TAPER_TO) * above)

    def discharge_room_w(self, cutoff_pct: float) -> float:
        """What can be discharged now: all down to 10 %, then falling, none from the cut-off on."""
        if self.soc_pct <= cutoff_pct:
            return 0.0
        below = max(0.0, DISCHARGE_TAPER_FROM_PCT - self.soc_pct) / DISCHARGE_TAPER_FROM_PCT
        return self.spec.max_discharge_w * (1 - (1 - DISCHARGE_TAPER_TO) * below)

    def move(self, power_w: float, hours: float) -> None:
        """Discharge (> 0) or charge (< 0) with a power at the DC bus for some time."""
        if power_w > 0:
            self.discharged_wh += power_w * hours
            cells_wh = power_w * hours / self.spec.discharge_efficiency
        else:
            self.charged_wh -= power_w * hours
            cells_wh = power_w * hours * self.spec.charge_efficiency
        self.soc_pct = min(max(self.soc_pct - 100 * cells_wh / self.spec.capacity_wh, 0.0), 100.0)
