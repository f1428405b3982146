"""Days of three batteries: what the sharing loses, how evenly they empty, how long 12 kW last.

10, 15 and 5 kWh at 90, 50 and 20 %, 5, 5 and 3.68 kW. A running battery inverter loses 0.6 % of its
rating + 1.2 % of its power + 2 % of power squared over rating, in either direction.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from services.policy.allocate import Sharing, Store, handover, shares, water_fill

STEP_S = 10.0
RESERVE_PCT = 5.0
SUNRISE_S = 6 * 3600.0
DAYLIGHT_S = 13 * 3600.0
BUSY_HOURS = (6, 7, 8, 16, 17, 18, 19, 20, 21, 22)
START_S = 30.0
"""Time that a split may take to reach a power."""


@dataclass
class Battery:
    """One battery with its inverter."""

    capacity_wh: float
    rated_w: float
    soc_pct: float
    loss_wh: float = 0.0

    def store(self) -> Store:
        """As the sharing sees it."""
        left_wh = (self.soc_pct - RESERVE_PCT) / 100.0 * self.capacity_wh
        open_wh = (100.0 - self.soc_pct) / 100.0 * self.capacity_wh
        return Store(
            -self.rated_w if open_wh > 1.0 else 0.0,
            self.rated_w if left_wh > 1.0 else 0.0,
            self.capacity_wh,
            100.0 - self.soc_pct,
            self.soc_pct - RESERVE_PCT,
        )

    def run(self, power_w: float) -> None:
        """One step at an AC power, > 0 is discharge."""
        loss_w = 0.0
        if abs(power_w) > 1.0:
            part = abs(power_w) / self.rated_w
            loss_w = self.rated_w * (0.006 + 0.012 * part + 0.02 * part * part)
        self.loss_wh += loss_w * STEP_S / 3600.0
        self.soc_pct -= 100.0 * (power_w + loss_w) * STEP_S / 3600.0 / self.capacity_wh


Split = Callable[[float, list[Battery], float], list[float]]


def chosen_split() -> Split:
    """The core's sharing, with the state that it keeps."""
    sharing = Sharing()
    present_w = [0.0, 0.0, 0.0]

    def split(total_w: float, batteries: list[Battery], now_s: float) -> list[float]:
        nonlocal sharing, present_w
        stores = [battery.store() for battery in batteries]
        sharing, wanted_w = shares(sharing, total_w, stores, now_s)
        lower_w = [store.lower_w for store in stores]
        upper_w = [store.upper_w for store in stores]
        present_w = handover(present_w, wanted_w, lower_w, upper_w, total_w, STEP_S)
        return present_w

    return split


def equal_split(total_w: float, batteries: list[Battery], now_s: float) -> list[float]:
    """The same power for all; what one cannot take the others do."""
    del now_s
    sign = 1.0 if total_w > 0.0 else -1.0
    stores = [battery.store() for battery in batteries]
    tops_w = [store.upper_w if total_w > 0.0 else -store.lower_w for store in stores]
    return [sign * part for part in water_fill(abs(total_w), [1.0] * len(stores), tops_w)]


def battery_days(rng: random.Random, days: int) -> dict[str, float]:
    """Loss against the equal split, end spread of SOC, minutes that 12 kW are held."""
    ratios, spreads_pct = [], []
    for _ in range(days):
        demand_w = day(rng)
        losses_wh, ends_pct = [], []
        for split in (chosen_split(), equal_split):
            batteries = [
                Battery(10_000.0, 5000.0, 90.0),
                Battery(15_000.0, 5000.0, 50.0),
                Battery(5_000.0, 3680.0, 20.0),
            ]
            for step, power_w in enumerate(demand_w):
                powers_w = split(power_w, batteries, step * STEP_S)
                for battery, part_w in zip(batteries, powers_w, strict=True):
                    battery.run(part_w)
            losses_wh.append(sum(battery.loss_wh for battery in batteries))
            ends_pct.append([battery.soc_pct for battery in batteries])
        ratios.append(losses_wh[0] / losses_wh[1])
        spreads_pct.append(max(ends_pct[0]) - min(ends_pct[0]))
    return {
        "allocation_loss_ratio": mean(ratios),
        "allocation_loss_ratio_worst": max(ratios),
        "allocation_soc_spread_pct": max(spreads_pct),
        "allocation_12kw_min": held_minutes(chosen_split(), 12_000.0),
        "allocation_12kw_equal_min": held_minutes(equal_split, 12_000.0),
    }


def day(rng: random.Random) -> list[float]:
    """Power wanted of the batteries over a day from midnight: night load, PV surplus, evening."""
    peak_w = rng.uniform(4500.0, 8000.0)
    base_w = rng.uniform(250.0, 500.0)
    demand_w = []
    cloud, use_w = 1.0, 0.0
    for step in range(int(86_400 / STEP_S)):
        hour = int(step * STEP_S / 3600.0)
        if step % 30 == 0:
            cloud = min(max(cloud + rng.gauss(0.0, 0.15), 0.3), 1.0)
            use_w = rng.expovariate(1 / 600.0) * (1.0 if hour in BUSY_HOURS else 0.4)
        part = (step * STEP_S - SUNRISE_S) / DAYLIGHT_S
        sun = math.sin(part * math.pi) if 0.0 < part < 1.0 else 0.0
        demand_w.append(min(max(base_w + use_w - peak_w * sun * cloud, -11_000.0), 11_000.0))
    return demand_w


def held_minutes(split: Split, power_w: float) -> float:
    """How long the three at 60 % give a power."""
    batteries = [
        Battery(10_000.0, 5000.0, 60.0),
        Battery(15_000.0, 5000.0, 60.0),
        Battery(5_000.0, 3680.0, 60.0),
    ]
    step = 0
    while step < 86_400 / STEP_S:
        powers_w = split(power_w, batteries, step * STEP_S)
        if sum(powers_w) < 0.995 * power_w and step * STEP_S > START_S:
            break
        for battery, part_w in zip(batteries, powers_w, strict=True):
            battery.run(part_w)
        step += 1
    return step * STEP_S / 60.0
