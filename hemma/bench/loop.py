"""The closed loop of the control bench: house, meter, bus, law, inverters, in steps of 20 ms."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hemma.bench.laws import Law, Orders, sample
from hemma.bench.plants import BUS_S, STEP_S, WINDOW_S, WINDOW_STEPS, Flicker, Inverter, Profile

SILENCE_S = 1.0
"""So long after the last reading the law is called without one, as the service's deadline does."""


@dataclass
class Meter:
    """What the law gets to see of the grid: noisy, with losses and gaps."""

    noise_w: float = 4.0
    lost_part: float = 0.0
    """Part of the readings that is lost, but not so many in a row that they make a gap."""
    gaps: Sequence[tuple[float, float]] = ()
    """(from, to) without any reading."""


@dataclass
class Trace:
    """What happened, a sample a step of 20 ms."""

    grid_w: list[float] = field(default_factory=list)
    """True grid power."""
    steady_w: list[float] = field(default_factory=list)
    """The same without the flicker that no law can follow."""
    output_w: list[float] = field(default_factory=list)
    available_w: list[float] = field(default_factory=list)
    load_w: list[float] = field(default_factory=list)
    writes: int = 0
    """Setpoints that differ from the one before."""
    orders: list[tuple[float, Orders]] = field(default_factory=list)

    def cut(self, series: Sequence[float], from_s: float, to_s: float) -> Sequence[float]:
        """Part of one of the series."""
        return series[round(from_s / STEP_S) : round(to_s / STEP_S)]


def run_loop(  # noqa: C901  one loop in the order of the physics
    law: Law,
    inverters: Sequence[Inverter],
    load: Profile,
    pv: Sequence[Profile],
    seconds: float,
    rng: random.Random,
    meter: Meter | None = None,
    flicker_w: float = 10.0,
    events: Sequence[tuple[float, Callable[[], None]]] = (),
) -> Trace:
    """Run a law on inverters in a house.

    Args:
        law: Gets the grid reading 20 ms after its window.
        inverters: As they stand; they keep their state.
        load: Draw of the house.
        pv: Available PV of each inverter, AC side.
        seconds: Length.
        rng: For the noise.
        meter: What is wrong with the meter.
        flicker_w: Spread of the wandering small loads.
        events: Things that happen: (time, call), in order of time.
    """
    meter = meter or Meter()
    flicker = Flicker(rng, flicker_w)
    trace = Trace()
    last: Orders | None = None
    heard_s = 0.0
    window_w = 0.0
    wander_w = 0.0
    ahead = list(events)
    for step in range(round(seconds / STEP_S)):
        now_s = step * STEP_S
        while ahead and ahead[0][0] <= now_s:
            ahead.pop(0)[1]()
        load_w = load(now_s)
        output_w = available_w = 0.0
        for inverter, profile in zip(inverters, pv, strict=True):
            could_w = profile(now_s)
            available_w += could_w
            output_w += inverter.step(now_s, could_w)
        steady_w = load_w - output_w
        grid_w = steady_w + wander_w
        trace.grid_w.append(grid_w)
        trace.steady_w.append(steady_w)
        trace.output_w.append(output_w)
        trace.available_w.append(available_w)
        trace.load_w.append(load_w + wander_w)
        window_w += grid_w
        if (step + 1) % WINDOW_STEPS:
            continue
        measured_s = now_s + STEP_S
        decided_s = measured_s + BUS_S
        mean_w = window_w / WINDOW_STEPS + rng.gauss(0.0, meter.noise_w)
        window_w = 0.0
        wander_w = flicker.step(WINDOW_S)
        for inverter in inverters:
            inverter.tell(measured_s, rng)
        told = [inverter.told for inverter in inverters]
        lost = (
            rng.random() < meter.lost_part and measured_s - heard_s < SILENCE_S - WINDOW_S
        ) or any(from_s <= measured_s < to_s for from_s, to_s in meter.gaps)
        if not lost:
            heard_s = measured_s
            orders = law.decide(decided_s, sample(measured_s, mean_w), told)
        elif measured_s - heard_s > SILENCE_S:
            orders = law.decide(decided_s, None, told)
        else:
            continue
        if orders != last:
            before = last or [(None, None)] * len(orders)
            for inverter, order, old in zip(inverters, orders, before, strict=True):
                if order != old:
                    inverter.order(decided_s, *order)
                    trace.writes += sum(a != b for a, b in zip(order, old, strict=True))
            last = orders
            trace.orders.append((decided_s, orders))
    return trace
