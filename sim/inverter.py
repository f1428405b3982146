"""The power stage of a hybrid inverter: what its PV, battery and AC side do when ordered.

An order takes effect after a dead time; the ordered power is then reached with a first-order lag
and a ramp limit. The DC bus balances at once: when a cloud passes during a forced discharge, the
battery fills the hole and the AC output stays. No registers here and no clock: time is given.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

from sim.battery import Battery

FIXED_LOSS, LINEAR_LOSS, SQUARE_LOSS = 0.006, 0.012, 0.02
"""Conversion loss as shares of the rating: fixed, times load, times load squared."""


class Forced(Enum):
    """The forced battery command in force."""

    NONE = 0
    CHARGE = 1
    DISCHARGE = 2


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that the firmware asks of the power stage."""

    running: bool = True
    ac_limit_w: float = math.inf
    """Upper bound on the AC output, PV and battery together."""
    ramp_w_s: float = math.inf
    forced: Forced = Forced.NONE
    forced_w: float = 0.0
    """CHARGE: what the battery takes. DISCHARGE: AC output of PV and battery together, PV first."""
    battery_w: float = 0.0
    """Battery power (discharge > 0) of the inverter's own regulation, when nothing is forced."""
    max_charge_w: float = math.inf
    max_discharge_w: float = math.inf
    charge_cutoff_pct: float = 100.0
    discharge_cutoff_pct: float = 0.0
    grid_charge_w: float = 0.0
    """The most that charging may draw from the AC side; 0: only PV is charged."""
    grid_charge_cutoff_pct: float = 100.0


@dataclass(frozen=True, slots=True)
class StageSpec:
    """The plant behind the orders: W, seconds."""

    rated_w: float
    dead_time_s: float = 0.3
    lag_s: float = 0.8


class PowerStage:
    """PV, battery and AC powers of one inverter, advanced step by step."""

    def __init__(self, spec: StageSpec, battery: Battery | None) -> None:
        self.spec = spec
        self.battery = battery
        self.orders = Orders()
        self.ac_w = 0.0
        self.pv_w = 0.0
        self.battery_w = 0.0
        self.pv_available_w = 0.0
        self.ceiling_w = spec.rated_w
        """AC limit as far as it has travelled."""
        self._output_w = 0.0
        self._battery_w = 0.0
        self._now_s = 0.0
        self._due: deque[tuple[float, Orders]] = deque()

    @property
    def curtailed(self) -> bool:
        """Whether PV is held back by an order."""
        return self.pv_available_w - self.pv_w > 0.002 * self.spec.rated_w

    def order(self, orders: Orders) -> None:
        """Take new orders, effective after the dead time."""
        self._due.append((self._now_s + self.spec.dead_time_s, orders))

    def order_at_once(self, orders: Orders) -> None:
        """Take new orders without dead time, in place of all that wait: relays, a restart."""
        self._due.clear()
        self._adopt(orders)

    def step(self, dt_s: float, pv_available_w: float, *, speed: float = 1.0) -> None:
        """Advance by dt_s seconds; `speed` lets the battery fill as many times faster."""
        while self._due and self._due[0][0] <= self._now_s + 1e-9:  # due when this step begins
            self._adopt(self._due.popleft()[1])
        self._now_s += dt_s
        self.pv_available_w = pv_available_w
        orders = self.orders
        ceiling_w = min(max(orders.ac_limit_w, 0.0), self.spec.rated_w)
        self.ceiling_w = self._lag(self.ceiling_w, ceiling_w, dt_s)
        if not orders.running:
            self.ac_w = self.pv_w = self.battery_w = self._output_w = self._battery_w = 0.0
            return
        if orders.forced is Forced.DISCHARGE:
            self._discharge(dt_s)
        else:
            self._charge_or_idle(dt_s)
        dc_w = self.pv_w + self.battery_w
        asleep = self.battery_w == 0 and self.pv_w <= FIXED_LOSS * self.spec.rated_w
        if asleep:
            self.pv_w = 0.0
        self.ac_w = 0.0 if asleep else self.ac_of(dc_w)
        if self.battery and self.battery_w:
            self.battery.move(self.battery_w, dt_s * speed / 3600)

    def _adopt(self, orders: Orders) -> None:
        """Change over without a bump: each mode starts from what flows now."""
        if orders.forced is Forced.DISCHARGE and self.orders.forced is not Forced.DISCHARGE:
            self._output_w = max(self.ac_w, 0.0)
        elif orders.forced is not Forced.DISCHARGE and self.orders.forced is Forced.DISCHARGE:
            self._battery_w = self.battery_w
        self.orders = orders

    def _discharge(self, dt_s: float) -> None:
        target_w = min(self.orders.forced_w, self.spec.rated_w)
        self._output_w = self._lag(self._output_w, target_w, dt_s)
        need_w = self.dc_of(min(self._output_w, self.ceiling_w))
        self.pv_w = min(self.pv_available_w, need_w)
        self.battery_w = min(need_w - self.pv_w, self._discharge_room_w())

    def _charge_or_idle(self, dt_s: float) -> None:
        orders = self.orders
        forced = orders.forced is Forced.CHARGE
        charge_w, discharge_w = self._charge_room_w(), self._discharge_room_w()
        # the lag starts from what the battery can do: a command beyond it has nothing to travel
        target_w = min(
            max(-orders.forced_w if forced else orders.battery_w, -charge_w), discharge_w
        )
        self._battery_w = self._lag(self._battery_w, target_w, dt_s)
        battery_w = min(max(self._battery_w, -charge_w), discharge_w)
        cap_w = self.dc_of(self.ceiling_w)
        if battery_w > 0:
            battery_w = min(battery_w, max(0.0, cap_w - self.pv_available_w))
        self.battery_w = battery_w
        self.pv_w = min(self.pv_available_w, max(0.0, cap_w - battery_w))

    def _charge_room_w(self) -> float:
        orders = self.orders
        if self.battery is None:
            return 0.0
        from_grid = self.battery.soc_pct < orders.grid_charge_cutoff_pct
        ac_w = min(orders.grid_charge_w, self.spec.rated_w) if from_grid else 0.0
        sources_w = max(0.0, self.pv_available_w - self.dc_of(-ac_w))
        cells_w = self.battery.charge_room_w(orders.charge_cutoff_pct)
        return min(cells_w, orders.max_charge_w, sources_w)

    def _discharge_room_w(self) -> float:
        if self.battery is None:
            return 0.0
        room_w = self.battery.discharge_room_w(self.orders.discharge_cutoff_pct)
        return min(room_w, self.orders.max_discharge_w)

    def _lag(self, present_w: float, target_w: float, dt_s: float) -> float:
        step_w = (target_w - present_w) * -math.expm1(-dt_s / self.spec.lag_s)
        most_w = self.orders.ramp_w_s * dt_s
        return present_w + min(max(step_w, -most_w), most_w)

    def dc_of(self, ac_w: float) -> float:
        """DC power that an AC output needs; negative when the AC side charges."""
        rated_w = self.spec.rated_w
        linear_w = LINEAR_LOSS * abs(ac_w)
        return ac_w + FIXED_LOSS * rated_w + linear_w + SQUARE_LOSS * ac_w * ac_w / rated_w

    def ac_of(self, dc_w: float) -> float:
        """AC output of a DC power, the inverse of dc_of."""
        rated_w = self.spec.rated_w
        net_w = dc_w - FIXED_LOSS * rated_w
        square = SQUARE_LOSS / rated_w
        if net_w >= 0:
            linear = 1 + LINEAR_LOSS
            return (math.sqrt(linear * linear + 4 * square * net_w) - linear) / (2 * square)
        linear = 1 - LINEAR_LOSS
        return (math.sqrt(linear * linear + 4 * square * net_w) - linear) / (2 * square)
