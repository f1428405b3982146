"""Dead time and lag, learned while the house lives."""

import random

import pytest

from hemma.bench.control_rows import NIGHT, appliances
from hemma.bench.laws import Core
from hemma.bench.loop import run_loop
from hemma.bench.plants import Actuator, Inverter, Telemetry
from services.policy import identify
from services.policy.identify import Learner
from services.policy.model import Settings
from services.policy.units import unknown


@pytest.mark.parametrize(("dead_s", "lag_s"), [(0.3, 0.8), (1.2, 2.5), (0.15, 2.0)])
def test_an_actuator_is_known_after_some_minutes_of_ordinary_life(
    dead_s: float, lag_s: float
) -> None:
    rng = random.Random(f"{dead_s}/{lag_s}")
    battery = Actuator(dead_s, lag_s, 15_000.0, -5000.0, 5000.0)
    limiter = Actuator(0.3, 0.8, 15_000.0, 0.0, 5000.0, 5000.0)
    inverter = Inverter(5000.0, limiter, battery, Telemetry(), capacity_wh=1e6)
    law = Core.of([inverter], Settings(), learning=True)
    run_loop(law, [inverter], appliances(rng, 240.0), NIGHT, 240.0, rng)
    known = law.state.actuators[0].battery
    assert known.identified
    assert known.total_s == pytest.approx(dead_s + lag_s, abs=0.4)
    assert known.fast.dead_s - 0.05 <= dead_s <= known.slow.dead_s + 0.05


def test_a_quiet_house_teaches_nothing() -> None:
    learner = Learner()
    rng = random.Random(1)
    for step in range(500):
        learner = identify.take(learner, step * 0.2, rng.gauss(400, 10), 400.0, step * 0.2)
    assert learner.segments == 0
    assert identify.dynamics(learner, 4000.0, unknown(5000.0)) == unknown(5000.0)


def test_a_gap_of_the_meter_starts_a_new_segment() -> None:
    learner = identify.take(Learner(), 1.0, 500.0, 0.0, 1.0)
    learner = identify.take(learner, 1.2, 500.0, 0.0, 1.2)
    learner = identify.take(learner, 5.0, 500.0, 0.0, 5.0)
    assert learner.samples == ((5.0, 500.0),)


def test_an_actuator_that_was_held_by_another_teaches_nothing_of_itself() -> None:
    learner = identify.take(Learner(), 1.0, 500.0, 0.0, 1.0)
    learner = identify.forget_segment(learner, 900.0)
    assert learner.samples == ()
    assert learner.command_w == 900.0
