import random

import pytest

from hemma.bench.plants import STEP_S, Actuator
from services.policy import response
from services.policy.identify import assumed
from services.policy.response import Dynamics, Lag

SOME = Dynamics(Lag(0.2, 0.5), Lag(0.4, 1.0), Lag(0.8, 1.8))


def test_an_actuator_at_rest_delivers_its_command() -> None:
    resting = response.at_rest(1200.0, 0.0)
    _, delivered = response.advance(resting, SOME, 5.0)
    assert delivered == (1200.0, 1200.0, 1200.0)


def test_nothing_is_delivered_before_the_shortest_dead_time() -> None:
    sent = response.send(response.at_rest(0.0, 0.0), SOME, 1000.0, 0.0)
    _, delivered = response.advance(sent, SOME, 0.19)
    assert delivered == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("dead_s", [0.2, 0.4, 0.8])
@pytest.mark.parametrize("lag_s", [0.5, 1.0, 1.8])
def test_whatever_the_device_is_within_its_dynamics_its_power_lies_in_the_envelope(
    dead_s: float, lag_s: float
) -> None:
    rng = random.Random(f"{dead_s} {lag_s}")
    device = Actuator(dead_s, lag_s, 1e9, -1e9, 1e9)
    known = response.at_rest(0.0, 0.0)
    for step in range(3000):
        now_s = step * STEP_S
        power_w = device.step(now_s)
        if step % 10 == 0:
            known, delivered = response.advance(known, SOME, now_s)
            slack_w = 200.0  # 20 ms of the steepest answer to the largest command
            assert delivered.lowest_w - slack_w <= power_w <= delivered.highest_w + slack_w
            if rng.random() < 0.1:
                command_w = rng.uniform(-4000.0, 4000.0)
                known = response.send(known, SOME, command_w, now_s)
                device.order(now_s, command_w)


@pytest.mark.parametrize("dead_s", [0.08, 0.18, 1.08])
def test_a_command_is_counted_once_when_its_dead_time_ends_with_a_window(dead_s: float) -> None:
    dynamics = Dynamics(Lag(dead_s, 0.5), Lag(dead_s, 0.5), Lag(dead_s, 0.5))
    known = response.send(response.at_rest(0.0, 0.0), dynamics, 1000.0, 0.22)
    levels_w = []
    for window in range(1, 40):
        known, delivered = response.advance(known, dynamics, window * 0.2 + 0.1)
        assert delivered.lowest_w == pytest.approx(delivered.highest_w, abs=1.0)
        levels_w.append(delivered.middle_w)
    assert levels_w == sorted(levels_w)
    assert levels_w[-1] == pytest.approx(1000.0, abs=1.0)
    assert min(levels_w) >= 0.0


def test_the_pending_part_ends_and_leaves_nothing_behind() -> None:
    known = response.send(response.at_rest(0.0, 0.0), SOME, 3000.0, 0.0)
    for step in range(100):
        known, delivered = response.advance(known, SOME, step * 0.2)
    assert delivered == (3000.0, 3000.0, 3000.0)
    assert known.queue == ()


def test_a_window_older_than_the_last_is_no_news() -> None:
    known = response.send(response.at_rest(0.0, 0.0), SOME, 1000.0, 0.0)
    known, later = response.advance(known, SOME, 1.0)
    _, earlier = response.advance(known, SOME, 0.5)
    assert earlier == pytest.approx(later)


def test_a_ramp_bounds_the_pace_of_the_slow_course() -> None:
    ramped = Dynamics(Lag(0.1, 0.2), Lag(0.1, 0.2), Lag(0.1, 0.2, 1000.0))
    known = response.send(response.at_rest(0.0, 0.0), ramped, 4000.0, 0.0)
    _, delivered = response.advance(known, ramped, 2.1)
    assert delivered.lowest_w == pytest.approx(2000.0, abs=1.0)
    assert delivered.highest_w == pytest.approx(4000.0, abs=1.0)


def test_a_data_sheet_is_not_believed_beyond_its_doubt() -> None:
    known = assumed(0.5, 1.0, 10_000.0, 0.2)
    assert known.fast.lag_s < 1.0 / 1.19
    assert known.slow.lag_s > 1.0 / 0.81
    assert known.identified
