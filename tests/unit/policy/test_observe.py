"""The estimate of what the house draws, and its two guards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.observe import (
    NOISE_W,
    Observer,
    Zigzag,
    observe,
    turning,
)
from services.policy.response import Delivered

STILL = Delivered(0.0, 0.0, 0.0)


def follow(
    observer: Observer | None, grid_w: float, at_s: float, delivered: Delivered = STILL
) -> Observer:
    return observe(observer, grid_w, 0.0, delivered, at_s, 1.0, 2.0)


def after(levels_w: list[float], delivered: Delivered = STILL, period_s: float = 0.2) -> Observer:
    observer = None
    for place, level_w in enumerate(levels_w):
        observer = follow(observer, level_w, place * period_s, delivered)
    assert observer is not None
    return observer


def test_a_step_is_believed_at_once_when_the_actuators_rest() -> None:
    assert after([500.0] * 5 + [2500.0]).net_load_w == pytest.approx(2500.0, abs=NOISE_W)


def test_what_the_actuators_may_have_done_is_not_mistaken_for_the_house() -> None:
    observer = after([1000.0] * 5)
    underway = Delivered(0.0, 400.0, 800.0)
    later = follow(observer, 300.0, 1.0, underway)  # 1000 W = 300 W + 700 W, within the envelope
    assert later.net_load_w == pytest.approx(1000.0, abs=20.0)


@given(
    st.floats(-5000, 5000),
    st.floats(-5000, 5000),
    st.floats(0, 1),
    st.floats(0, 3000),
    st.floats(0, 1),
)
def test_the_estimate_never_goes_away_from_a_load_that_the_envelope_holds(
    load_w: float, guess_w: float, middle: float, width_w: float, truth: float
) -> None:
    delivered = Delivered(0.0, middle * width_w, width_w)
    before = after([guess_w])
    now = follow(before, load_w - truth * width_w, 0.2, delivered)
    drift_w = abs(now.net_load_w - before.net_load_w)
    nearer = abs(now.net_load_w - load_w) <= abs(before.net_load_w - load_w) + 1e-6
    assert nearer or drift_w <= width_w * 0.2  # the slow drift inside the interval is all


def test_quick_pulses_are_followed_by_their_mean_until_they_end() -> None:
    pulses = ([0.0] * 5 + [2000.0] * 5) * 20
    observer = after(pulses)
    assert observer.pulsing
    assert 600.0 < observer.mean_w < 1400.0
    at_s = len(pulses) * 0.2
    for step in range(40):
        observer = follow(observer, 500.0, at_s + step * 0.2)
    assert not observer.pulsing
    assert observer.mean_w == observer.net_load_w


def test_slow_pulses_are_followed_each() -> None:
    assert not after(([0.0] * 50 + [2000.0] * 50) * 4).pulsing


def test_a_grid_that_swings_makes_the_filter_more_careful_for_a_while() -> None:
    swings = ([-120.0] * 5 + [120.0] * 5) * 12
    observer = after(swings, Delivered(-1000.0, 0.0, 1000.0))  # which the load does not explain
    assert observer.caution > 1.0
    at_s = len(swings) * 0.2
    for step in range(700):
        observer = follow(observer, 0.0, at_s + step)
    assert observer.caution == 1.0


def test_turns_smaller_than_the_threshold_are_none() -> None:
    zigzag = Zigzag(0.0)
    for at_s, level in enumerate([100.0, 50.0, 120.0, 40.0]):
        zigzag = turning(zigzag, level, 200.0, at_s)
    assert zigzag.turned_s == ()
    zigzag = turning(zigzag, -100.0, 200.0, 9.0)
    assert zigzag.turned_s == (9.0,)
