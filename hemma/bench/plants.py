"""Plants and houses for the control bench: what the core steers there, and shares no code with it.

An actuator is a dead time, a first-order lag, a ramp limit and power limits, stepped every 20 ms.
An inverter has two, its battery and its AC limit; its output is what PV and battery give, cut off
at what the AC limit lets through at that moment. Its telemetry comes late, at its own pace, and
with a gain error. The meter gives means over 200 ms and loses some.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

STEP_S = 0.02
WINDOW_STEPS = 10
WINDOW_S = STEP_S * WINDOW_STEPS
BUS_S = 0.02
"""From the last sample of a window to the setpoint on its way: bus, decision, driver."""


@dataclass
class Actuator:
    """Command -> dead time -> first-order lag -> ramp limit, power limits."""

    dead_s: float
    lag_s: float
    ramp_w_per_s: float
    lowest_w: float
    highest_w: float
    power_w: float = 0.0
    gain: float = 1.0
    _goal_w: float = field(default=math.nan)
    _waiting: deque[tuple[float, float]] = field(default_factory=deque)
    _decay: float = field(default=0.0)

    def __post_init__(self) -> None:
        """Start at rest at the present power."""
        self._goal_w = self.power_w
        self._decay = 1.0 - math.exp(-STEP_S / self.lag_s)

    def order(self, now_s: float, command_w: float) -> None:
        """A command leaves the controller."""
        self._waiting.append((now_s + self.dead_s, command_w))

    def step(self, now_s: float) -> float:
        """The power 20 ms on."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_s:
            goal_w = waiting.popleft()[1] * self.gain
            self._goal_w = min(max(goal_w, self.lowest_w), self.highest_w)
        lacking_w = self._goal_w - self.power_w
        if lacking_w:
            most_w = self.ramp_w_per_s * STEP_S
            self.power_w += min(max(lacking_w * self._decay, -most_w), most_w)
        return self.power_w

    def floor_wh(self, step_w: float) -> float:
        """Energy that a step of the load costs at least without a lead: the delay floor.

        step x (half a window + half a period + bus + dead time + lag); the ramp is not counted,
        which makes the floor lower.
        """
        delay_s = WINDOW_S / 2 + WINDOW_S / 2 + BUS_S + self.dead_s + self.lag_s
        return abs(step_w) * delay_s / 3600.0


@dataclass(frozen=True)
class Telemetry:
    """How an inverter tells of itself."""

    period_s: float = 1.0
    age_s: float = 0.5
    """How old its figures are when they are read; it does not tell."""
    gain: float = 1.0
    lost_part: float = 0.0


@dataclass(frozen=True)
class Told:
    """One reading of an inverter."""

    measured_s: float
    ac_power_w: float
    battery_power_w: float
    soc_pct: float


@dataclass
class Inverter:
    """PV, a battery perhaps, and an AC limit."""

    rated_power_w: float
    limiter: Actuator
    battery: Actuator | None = None
    telemetry: Telemetry = Telemetry()
    soc_pct: float = 50.0
    capacity_wh: float = 10_000.0
    pv_first: bool = False
    """As hybrids do: the battery takes PV alone, and gives what PV leaves of the AC limit."""
    mute: bool = False
    ac_power_w: float = 0.0
    battery_power_w: float = 0.0
    told: Told | None = None
    _past: deque[tuple[float, float, float]] = field(default_factory=deque)
    _next_s: float = 0.0
    _unread: bool = False

    def order(self, now_s: float, battery_power_w: float | None, ac_limit_w: float | None) -> None:
        """Setpoints leave the controller.

        A mute inverter hears nothing, and one that is back is first read, as the driver does.
        """
        if self.mute or self._unread:
            return
        if self.battery is not None:
            self.battery.order(now_s, battery_power_w or 0.0)
        self.limiter.order(now_s, self.rated_power_w if ac_limit_w is None else ac_limit_w)

    def step(self, now_s: float, available_w: float) -> float:
        """AC output 20 ms on."""
        through_w = self.limiter.step(now_s)
        battery_w = self.battery.step(now_s) if self.battery is not None else 0.0
        if self.pv_first:
            battery_w = max(min(battery_w, max(through_w - available_w, 0.0)), -available_w)
        self.battery_power_w = battery_w
        self.ac_power_w = min(available_w + battery_w, max(through_w, min(battery_w, 0.0)))
        self.soc_pct -= 100.0 * battery_w * STEP_S / 3600.0 / self.capacity_wh
        return self.ac_power_w

    def tell(self, now_s: float, rng: random.Random) -> None:
        """Answer the next poll if it is due; call once a window."""
        self._past.append((now_s, self.ac_power_w, self.battery_power_w))
        while len(self._past) > 1 and self._past[1][0] <= now_s - self.telemetry.age_s:
            self._past.popleft()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.telemetry.period_s
        self._unread = self._unread or self.mute
        if self.mute or rng.random() < self.telemetry.lost_part:
            return
        self._unread = False
        _, ac_power_w, battery_power_w = self._past[0]
        gain = self.telemetry.gain
        self.told = Told(now_s, ac_power_w * gain, battery_power_w * gain, self.soc_pct)


Profile = Callable[[float], float]
"""Power in W at a time in s."""


def constant(power_w: float) -> Profile:
    """Always the same."""
    return lambda _: power_w


def stepping(base_w: float, steps: Sequence[tuple[float, float]]) -> Profile:
    """A load that steps: (time, change)."""

    def power_w(now_s: float) -> float:
        return base_w + sum(change_w for at_s, change_w in steps if now_s >= at_s)

    return power_w


def pulsing(base_w: float, pulse_w: float, period_s: float) -> Profile:
    """A load that pulses at 50 % duty."""

    def power_w(now_s: float) -> float:
        return base_w + (pulse_w if now_s % period_s < period_s / 2 else 0.0)

    return power_w


@dataclass
class Flicker:
    """What all the small loads of a house do at once: a wandering of some watts."""

    rng: random.Random
    spread_w: float = 10.0
    memory_s: float = 10.0
    power_w: float = 0.0

    def step(self, past_s: float) -> float:
        """The wandering, some time on."""
        kept = math.exp(-past_s / self.memory_s)
        self.power_w = self.power_w * kept + self.rng.gauss(
            0.0, self.spread_w * math.sqrt(1.0 - kept * kept)
        )
        return self.power_w


def busy_hour(rng: random.Random, hour_s: float = 3600.0) -> Profile:
    """Load of a family's hour: base, kettle, oven, hob, a car that stops and goes; as a table.

    Two kettles (1.8-2.2 kW, 100-200 s), an oven (2.0-2.6 kW, thermostat, on for 40-50 %
    of 130-220 s, for half an hour), an induction hob at part power (1.6-2.0 kW, on for 25-40 % of
    4-7 s, for 10-14 minutes), a vehicle (3.7 or 7.4 kW) that is plugged in and out.
    """
    slots = [rng.uniform(250.0, 600.0)] * (int(hour_s * 5) + 1)

    def add(from_s: float, to_s: float, power_w: float) -> None:
        for slot in range(max(int(from_s * 5), 0), min(int(to_s * 5), len(slots))):
            slots[slot] += power_w

    for _ in range(2):
        start_s = rng.uniform(0, hour_s)
        add(start_s, start_s + rng.uniform(100, 200), rng.uniform(1800, 2200))
    for power, duty, period, length in (
        ((2000, 2600), (0.4, 0.5), (130, 220), (1500, 2100)),
        ((1600, 2000), (0.25, 0.4), (4, 7), (600, 840)),
    ):
        power_w, period_s = rng.uniform(*power), rng.uniform(*period)
        on_s = period_s * rng.uniform(*duty)
        start_s = rng.uniform(0, hour_s / 2)
        end_s = start_s + rng.uniform(*length)
        while start_s < end_s:
            add(start_s, start_s + on_s, power_w)
            start_s += period_s * rng.uniform(0.9, 1.1)
    start_s = rng.uniform(0, hour_s / 2)
    add(start_s, start_s + rng.uniform(600, 1500), rng.choice((3700.0, 7400.0)))
    return lambda now_s: slots[min(int(now_s * 5), len(slots) - 1)]


def cloudy_hour(rng: random.Random, peak_w: float, hour_s: float = 3600.0) -> Profile:
    """PV of an hour with broken clouds: 15-60 % left, edges of 3-20 s, 20-200 s long."""
    points = [(0.0, peak_w)]
    now_s = 0.0
    while now_s < hour_s:
        now_s += rng.uniform(20, 300)
        shaded_w = peak_w * rng.uniform(0.15, 0.6)
        edge_s = rng.uniform(3, 20)
        points += [(now_s, peak_w), (now_s + edge_s, shaded_w)]
        now_s += edge_s + rng.uniform(20, 200)
        edge_s = rng.uniform(3, 20)
        points += [(now_s, shaded_w), (now_s + edge_s, peak_w)]
        now_s += edge_s
    slots = []
    place = 0
    for slot in range(int(hour_s * 5) + 1):
        at_s = slot / 5
        while place + 2 < len(points) and points[place + 1][0] <= at_s:
            place += 1
        (from_s, from_w), (to_s, to_w) = points[place], points[place + 1]
        part = min(max((at_s - from_s) / (to_s - from_s), 0.0), 1.0) if to_s > from_s else 1.0
        slots.append(from_w + part * (to_w - from_w))
    return lambda now_s: slots[min(int(now_s * 5), len(slots) - 1)]
