"""The rows of the control bench on steps and pulses: each draws its plants and measures."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from hemma.bench.laws import Core, Law, Orders, Pid
from hemma.bench.loop import Meter, Trace, run_loop
from hemma.bench.plants import (
    STEP_S,
    Actuator,
    Inverter,
    Profile,
    Telemetry,
    Told,
    constant,
    pulsing,
    stepping,
)
from services.policy.identify import assumed
from services.policy.model import GridSample, Settings
from services.policy.units import Actuators

NIGHT = (constant(0.0),)
"""PV of one inverter that has none."""

HUNTING_W = 60.0
"""Spread (p98 - p2) of the grid power at rest that is called hunting."""

RESOLVED_W = 30.0
"""What a setpoint of a 5 kW inverter resolves: deviations below are not counted as violation."""


@dataclass(frozen=True)
class Step:
    """How one step of the load was answered."""

    settle_extra_s: float
    """Settling time (5 % of the step, at least 60 W) beyond dead time + 3 lags."""
    violation_ratio: float
    """Energy off target, against the delay floor."""
    overshoot_w: float
    hunting: bool
    settle_s: float
    violation_wh: float


def draw_actuator(rng: random.Random, rated_w: float) -> Actuator:
    """Any actuator: dead time 0.1-1.5 s, lag 0.3-3 s, ramp of 1-4 ratings a second."""
    return Actuator(
        rng.uniform(0.1, 1.5),
        rng.uniform(0.3, 3.0),
        rated_w * rng.uniform(1.0, 4.0),
        -rated_w,
        rated_w,
    )


def model_of(rng: random.Random, actuator: Actuator, error_part: float = 0.2) -> Actuators:
    """A model of an actuator that is off by up to a part in dead time, lag and ramp."""

    def off() -> float:
        return rng.uniform(1 - error_part, 1 + error_part)

    dynamics = assumed(
        actuator.dead_s * off(), actuator.lag_s * off(), actuator.ramp_w_per_s * off(), error_part
    )
    return Actuators(dynamics, dynamics)


def _battery_inverter(actuator: Actuator, told: Telemetry) -> Inverter:
    rated_w = actuator.highest_w
    limiter = Actuator(0.3, 0.8, 2 * rated_w, 0.0, rated_w, rated_w)
    return Inverter(rated_w, limiter, actuator, told, capacity_wh=1e6)


def _step_run(
    rng: random.Random, inverter: Inverter, law: Law, step_w: float, rest_s: float
) -> list[Step]:
    """One step up and one down, each followed by a rest."""
    actuator = inverter.battery
    if actuator is None:
        raise ValueError("a step needs a battery")
    base_w = rng.uniform(150.0, 450.0)
    steps = [(10.0, step_w), (10.0 + rest_s, -step_w)]
    trace = run_loop(law, [inverter], stepping(base_w, steps), NIGHT, 10.0 + 2 * rest_s, rng)
    return [_measure(trace, actuator, at_s, change_w, rest_s) for at_s, change_w in steps]


def _measure(trace: Trace, actuator: Actuator, at_s: float, change_w: float, rest_s: float) -> Step:
    steady_w = trace.cut(trace.steady_w, at_s, at_s + rest_s)
    band_w = max(0.05 * abs(change_w), HUNTING_W)
    settle_s = STEP_S * max(
        (index + 1 for index, power_w in enumerate(steady_w) if abs(power_w) > band_w), default=0
    )
    violation_wh = STEP_S / 3600.0 * sum(abs(w) for w in steady_w if abs(w) > RESOLVED_W)
    sign = 1.0 if change_w > 0 else -1.0
    return Step(
        settle_s - actuator.dead_s - 3.0 * actuator.lag_s,
        violation_wh / actuator.floor_wh(change_w),
        max(0.0, *(-sign * power_w for power_w in steady_w)),
        hunts(trace.cut(trace.steady_w, at_s + rest_s - 15.0, at_s + rest_s)),
        settle_s,
        violation_wh,
    )


def hunts(steady_w: Sequence[float]) -> bool:
    """Whether the grid power swings while the house is at rest."""
    ranked = sorted(steady_w)
    return ranked[int(0.98 * len(ranked))] - ranked[int(0.02 * len(ranked))] > HUNTING_W


def telemetry(rng: random.Random, oldest_s: float) -> Telemetry:
    """Telemetry of any age up to the oldest, 0.3-1 s apart, up to 3 % off."""
    return Telemetry(rng.uniform(0.3, 1.0), rng.uniform(0.0, oldest_s), rng.uniform(0.97, 1.03))


def nominal(rng: random.Random) -> dict[str, float]:
    """A 2 kW step on the documented plant (dead time 0.3 s, lag 0.8 s), identified."""
    actuator = Actuator(0.3, 0.8, 20_000.0, -5000.0, 5000.0)
    inverter = _battery_inverter(actuator, telemetry(rng, 1.0))
    known = model_of(rng, actuator, 0.05)
    up, down = _step_run(rng, inverter, Core.of([inverter], Settings(), (known,)), 2000.0, 45.0)
    return {
        "nominal_settle_s": max(up.settle_s, down.settle_s),
        "nominal_overshoot_w": max(up.overshoot_w, down.overshoot_w),
        "nominal_violation_wh": max(up.violation_wh, down.violation_wh),
    }


def identified(rng: random.Random, plants: int) -> list[Step]:
    """Steps of 0.6-4.5 kW on fresh plants whose model is off by up to 20 %."""
    steps = []
    for _ in range(plants):
        actuator = draw_actuator(rng, 5000.0)
        inverter = _battery_inverter(actuator, telemetry(rng, 1.0))
        law = Core.of([inverter], Settings(), (model_of(rng, actuator),))
        steps += _step_run(rng, inverter, law, rng.uniform(600.0, 4500.0), 45.0)
    return steps


def unidentified(rng: random.Random, plants: int) -> list[Step]:
    """The same with nothing known of the plant but what all plants have in common."""
    steps = []
    for _ in range(plants):
        actuator = draw_actuator(rng, 5000.0)
        inverter = _battery_inverter(actuator, telemetry(rng, 1.0))
        law = Core.of([inverter], Settings())
        steps += _step_run(rng, inverter, law, rng.uniform(600.0, 4500.0), 60.0)
    return steps


def learned(rng: random.Random, plants: int) -> tuple[list[Step], list[float]]:
    """Steps after five minutes of ordinary operation have taught the core its plant.

    Returns:
        The steps, and the error of dead time plus lag of each plant in s.
    """
    steps, errors_s = [], []
    for _ in range(plants):
        actuator = draw_actuator(rng, 5000.0)
        inverter = _battery_inverter(actuator, telemetry(rng, 1.0))
        law = Core.of([inverter], Settings(), learning=True)
        run_loop(law, [inverter], appliances(rng, 300.0), NIGHT, 300.0, rng)
        known = law.state.actuators[0].battery
        errors_s.append(abs(known.total_s - actuator.dead_s - actuator.lag_s))
        fresh = Actuator(actuator.dead_s, actuator.lag_s, actuator.ramp_w_per_s, -5000.0, 5000.0)
        again = _battery_inverter(fresh, inverter.telemetry)
        law = Core.of([again], Settings(), law.state.actuators)
        steps += _step_run(rng, again, law, rng.uniform(600.0, 4500.0), 45.0)
    return steps, errors_s


def appliances(rng: random.Random, seconds: float) -> Profile:
    """Appliances of 0.4-2.5 kW that switch at random, on average every 20 s."""
    now_s = 0.0
    steps: list[tuple[float, float]] = []
    on: list[float] = []
    while (now_s := now_s + rng.expovariate(1 / 20.0)) < seconds:
        if on and (len(on) > 1 or rng.choice((True, False))):
            steps.append((now_s, -on.pop(rng.randrange(len(on)))))
        else:
            on.append(rng.uniform(400.0, 2500.0))
            steps.append((now_s, on[-1]))
    return stepping(300.0, steps)


def pid_steps(rng: random.Random, plants: int) -> list[Step]:
    """The PID on the plants that `identified` draws."""
    steps = []
    for _ in range(plants):
        actuator = draw_actuator(rng, 5000.0)
        inverter = _battery_inverter(actuator, telemetry(rng, 1.0))
        model_of(rng, actuator)  # draws what `identified` draws
        steps += _step_run(rng, inverter, Pid(inverter, 0.0), rng.uniform(600.0, 4500.0), 45.0)
    return steps


def robust(rng: random.Random, plants: int) -> tuple[int, float]:
    """Telemetry up to 3 s old and +-3 % off, 10 % of readings lost, a gap of 3 s in the meter.

    Returns:
        How many hunt, and the largest mean offset from the target at rest in W.
    """
    hunting, worst_w = 0, 0.0
    for _ in range(plants):
        actuator = draw_actuator(rng, 5000.0)
        losing = replace(telemetry(rng, 3.0), lost_part=0.1)
        inverter = _battery_inverter(actuator, losing)
        law = Core.of([inverter], Settings(), (model_of(rng, actuator),))
        load = stepping(rng.uniform(300, 600), [(20.0, rng.uniform(600, 3500))])
        meter = Meter(lost_part=0.1, gaps=((30.0, 33.0),))
        trace = run_loop(law, [inverter], load, NIGHT, 90.0, rng, meter)
        rest_w = trace.cut(trace.steady_w, 75.0, 90.0)
        hunting += hunts(rest_w)
        worst_w = max(worst_w, abs(mean(rest_w)))
    return hunting, worst_w


def pulses(rng: random.Random) -> dict[str, float]:
    """2 kW pulses, 50 % duty, on the documented plant: energy exchanged in both directions.

    Below the critical period (4.5 x dead time + lag) against following the mean only, above it
    against the same law that follows every pulse.
    """
    below, above = 0.0, 0.0
    critical_s = 4.5 * (0.3 + 0.8)
    for period_s in (1.0, 2.0, 3.0, 4.0, 5.5, 7.0, 10.0, 20.0, 30.0):
        seed = rng.random()
        exchanged_w = []
        for kind in (Core, Unguarded):
            drawn = random.Random(seed)
            actuator = Actuator(0.3, 0.8, 20_000.0, -5000.0, 5000.0)
            inverter = _battery_inverter(actuator, telemetry(drawn, 1.0))
            law = kind.of([inverter], Settings(), (model_of(drawn, actuator, 0.1),))
            load = pulsing(500.0, 2000.0, period_s)
            trace = run_loop(law, [inverter], load, NIGHT, 200.0, drawn)
            exchanged_w.append(mean(map(abs, trace.cut(trace.steady_w, 60.0, 200.0))))
        if period_s < critical_s:
            below = max(below, exchanged_w[0] / 1000.0)  # by the mean: 1 kW off all the time
        else:
            above = max(above, exchanged_w[0] / exchanged_w[1])
    return {"pulse_below_critical_ratio": below, "pulse_above_critical_ratio": above}


class Unguarded(Core):
    """The core with its pulse guard made blind: follows every pulse."""

    def decide(self, now_s: float, grid: GridSample | None, told: Sequence[Told | None]) -> Orders:
        """Forget each time what has pulsed."""
        observer = self.state.observer
        if observer is not None:
            turns = observer.load_turns._replace(turned_s=())
            self.state = self.state._replace(observer=observer._replace(load_turns=turns))
        return super().decide(now_s, grid, told)
