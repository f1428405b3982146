"""Pictures of houses for the policy's tests."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bus.policy import Level, Reason
from services.policy import core
from services.policy.model import (
    Decision,
    ExportLimit,
    GridSample,
    House,
    Settings,
    Unit,
    UnitReading,
)

START_S = 1000.0
PERIOD_S = 0.2
FOLLOWS = 0.3
"""Part of what is lacking that a device makes up from one reading to the next."""


def limited(limit_w: float, *, each_phase: bool = False, **more: Any) -> Settings:  # noqa: ANN401  other fields
    limit = ExportLimit(Level.GRID_OPERATOR, Reason.FEED_IN_LIMIT, limit_w, each_phase)
    return replace(Settings(limits=(limit,)), **more)


def sample(now_s: float, power_w: float, phases_w: Iterable[float] | None = None) -> GridSample:
    parts = (power_w / 3,) * 3 if phases_w is None else tuple(phases_w)
    return GridSample(now_s, PERIOD_S, power_w, parts)


def inverter(number: int = 1, **more: Any) -> Unit:  # noqa: ANN401  other fields
    return replace(Unit(f"inv{number}", 5000.0, capacity_wh=10_000.0), **more)


def told(
    now_s: float,
    ac_power_w: float | None = 0.0,
    battery_power_w: float | None = 0.0,
    soc_pct: float | None = 50.0,
) -> UnitReading:
    return UnitReading(now_s, ac_power_w, battery_power_w, soc_pct)


class Home:
    """A house at the test's fingertips: devices come a third nearer each reading."""

    def __init__(
        self, settings: Settings | None, *units: Unit, load_w: float = 0.0, pv_w: float = 0.0
    ) -> None:
        """It starts as it is found: PV on, batteries still, no limit set."""
        self.units = units or (inverter(),)
        self.settings = settings
        self.load_w = load_w
        self.pv_w = [pv_w] * len(self.units)
        self.soc_pct: list[float | None] = [50.0] * len(self.units)
        self.battery_w = [0.0] * len(self.units)
        self.ac_w = list(self.pv_w)
        self.top_w = [unit.rated_power_w for unit in self.units]
        self.mute: set[int] = set()
        self.readings: list[UnitReading | None] = [None] * len(self.units)
        self.now_s = START_S
        self.grid: GridSample | None = None
        self.meter_works = True
        self.unbalance_w = (0.0, 0.0, 0.0)
        self.state = core.start(self.units)
        self.decision: Decision | None = None

    @property
    def grid_w(self) -> float:
        return self.load_w - sum(self.ac_w)

    @property
    def used_pv_w(self) -> list[float]:
        """PV that is not held back."""
        return [ac_w - battery_w for ac_w, battery_w in zip(self.ac_w, self.battery_w, strict=True)]

    def live(self, seconds: float) -> Decision:
        """Let the house run."""
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            before_w = self.grid_w
            self._obey()
            if self.meter_works:
                part_w = (before_w + self.grid_w) / 6  # the mean of the window
                phases_w = [part_w + extra_w for extra_w in self.unbalance_w]
                self.grid = sample(self.now_s - 0.02, sum(phases_w), phases_w)
            for index in range(len(self.units)):
                if index not in self.mute:
                    self.readings[index] = told(
                        self.now_s - 0.05,
                        self.ac_w[index],
                        self.battery_w[index],
                        self.soc_pct[index],
                    )
            self.decide()
        return self.last

    def decide(self) -> Decision:
        house = House(self.now_s, self.units, self.grid, tuple(self.readings), self.settings)
        self.state, self.decision = core.decide(self.state, house)
        return self.decision

    @property
    def last(self) -> Decision:
        assert self.decision is not None
        return self.decision

    def _obey(self) -> None:
        if self.decision is None:
            return
        for index, setpoint in enumerate(self.decision.setpoints):
            if index in self.mute:
                continue
            battery_w, limit_w = setpoint.battery_power_w or 0.0, setpoint.ac_limit_w
            top_w = self.units[index].rated_power_w if limit_w is None else limit_w
            self.top_w[index] += FOLLOWS * (top_w - self.top_w[index])
            self.battery_w[index] += FOLLOWS * (battery_w - self.battery_w[index])
            if not self.units[index].charges_from_grid:
                self.battery_w[index] = max(self.battery_w[index], -self.pv_w[index])
            given_w = self.battery_w[index]
            most_w = max(self.top_w[index], min(given_w, 0.0))
            self.ac_w[index] = min(self.pv_w[index] + given_w, most_w)
