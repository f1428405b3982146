"""The laws that the control bench runs: the service's own core, and two to compare it with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hemma.bench.plants import WINDOW_S, Inverter, Told
from services.policy import core, learning
from services.policy.model import Decision, GridSample, House, Settings, Unit, UnitReading
from services.policy.units import Actuators

Orders = list[tuple[float | None, float | None]]
"""For each inverter: battery power, AC limit; W."""


class Law(Protocol):
    """Something that answers grid readings with orders."""

    def decide(self, now_s: float, grid: GridSample | None, told: Sequence[Told | None]) -> Orders:
        """Answer one grid reading; None: none has come for a while."""


@dataclass
class Core:
    """The core of `services.policy`, as the service runs it."""

    units: tuple[Unit, ...]
    settings: Settings
    state: core.CoreState
    decision: Decision | None = None
    learning: bool = False

    @classmethod
    def of(
        cls,
        inverters: Sequence[Inverter],
        settings: Settings,
        actuators: tuple[Actuators, ...] = (),
        *,
        learning: bool = False,
    ) -> "Core":
        """For inverters as installed."""
        units = tuple(
            Unit(
                f"inv{number}",
                inverter.rated_power_w,
                has_battery=inverter.battery is not None,
                capacity_wh=inverter.capacity_wh,
                charges_from_grid=not inverter.pv_first,
                poll_s=inverter.telemetry.period_s,
            )
            for number, inverter in enumerate(inverters, start=1)
        )
        return cls(units, settings, core.start(units, actuators), learning=learning)

    def decide(self, now_s: float, grid: GridSample | None, told: Sequence[Told | None]) -> Orders:
        """One decision of the core."""
        readings = tuple(
            None
            if one is None
            else UnitReading(one.measured_s, one.ac_power_w, one.battery_power_w, one.soc_pct)
            for one in told
        )
        house = House(now_s, self.units, grid, readings, self.settings)
        self.state, self.decision = core.decide(self.state, house)
        if self.learning:
            self.state = learning.learn(self.state, house)
        return [
            (setpoint.battery_power_w, setpoint.ac_limit_w) for setpoint in self.decision.setpoints
        ]


@dataclass
class Pid:
    """PID once a second on the grid power: P 0.3, I 0.3, D 0.1; on battery or AC limit."""

    inverter: Inverter
    target_w: float
    next_s: float = 0.0
    sum_w: float = 0.0
    last_w: float | None = None
    output_w: float = 0.0

    def decide(self, now_s: float, grid: GridSample | None, told: Sequence[Told | None]) -> Orders:
        """The last order, or a new one when a second has passed."""
        del told  # it looks at the meter alone
        battery = self.inverter.battery
        if grid is not None and now_s >= self.next_s:
            self.next_s = now_s + 1.0
            error_w = grid.power_w - self.target_w
            low_w, high_w = (
                (0.0, self.inverter.rated_power_w)
                if battery is None
                else (battery.lowest_w, battery.highest_w)
            )
            change_w = 0.0 if self.last_w is None else error_w - self.last_w
            self.last_w = error_w
            self.sum_w = min(max(self.sum_w + 0.3 * error_w, low_w), high_w)
            wished_w = 0.3 * error_w + self.sum_w + 0.1 * change_w
            self.output_w = min(max(wished_w, low_w), high_w)
        return [(None, self.output_w)] if battery is None else [(self.output_w, None)]


@dataclass
class PlainCap:
    """The cap law and nothing else: cap = grid + PV as last told + limit, at every reading."""

    inverter: Inverter
    limit_w: float
    output_w: float = field(default=0.0)

    def decide(self, now_s: float, grid: GridSample | None, told: Sequence[Told | None]) -> Orders:
        """A cap for the one inverter."""
        del now_s  # it answers every reading alike
        first = told[0]
        if grid is not None and first is not None:
            cap_w = grid.power_w + first.ac_power_w + self.limit_w
            self.output_w = min(max(cap_w, 0.0), self.inverter.rated_power_w)
        return [(None, self.output_w)]


def sample(measured_s: float, grid_power_w: float) -> GridSample:
    """A meter's reading of evenly loaded phases."""
    return GridSample(measured_s, WINDOW_S, grid_power_w, (grid_power_w / 3.0,) * 3)
