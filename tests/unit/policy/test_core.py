"""Rules on a house of quick devices: what is asked, and why."""

from itertools import pairwise
from typing import Any

import pytest

from bus.policy import Level, Reason
from services.policy import core
from services.policy.model import House, Settings, Task, Unit
from tests.unit.policy.houses import Home, inverter, limited, sample, told

REST_S = 30.0


def pv_only(**more: Any) -> Unit:  # noqa: ANN401  other fields
    return inverter(has_battery=False, **more)


@pytest.mark.parametrize(
    ("load_w", "pv_w", "battery_w"),
    [
        pytest.param(1500.0, 0.0, 1500.0, id="at night the battery carries the house"),
        pytest.param(500.0, 2500.0, -2000.0, id="at noon it takes what is left over"),
        pytest.param(1000.0, 1000.0, 0.0, id="it rests when PV and load are even"),
        pytest.param(9000.0, 0.0, 5000.0, id="it gives what it can when the house wants more"),
    ],
)
def test_the_battery_holds_the_grid_at_zero(load_w: float, pv_w: float, battery_w: float) -> None:
    home = Home(Settings(), inverter(), load_w=load_w, pv_w=pv_w)
    decision = home.live(REST_S)
    assert home.battery_w[0] == pytest.approx(battery_w, abs=40)
    assert decision.reason is Reason.SELF_CONSUMPTION
    assert decision.setpoints[0].ac_limit_w is None


def test_the_battery_holds_the_target_that_the_user_set() -> None:
    home = Home(Settings(target_w=300.0), inverter(), load_w=1500.0)
    home.live(REST_S)
    assert home.grid_w == pytest.approx(300.0, abs=40)


def test_a_step_of_the_load_is_answered_with_the_first_reading() -> None:
    home = Home(Settings(), inverter(), load_w=500.0)
    home.live(REST_S)
    home.load_w = 2500.0
    decision = home.live(0.2)
    assert decision.setpoints[0].battery_power_w == pytest.approx(2500.0, abs=60)


@pytest.mark.parametrize(
    ("soc_pct", "load_w", "pv_w", "reason"),
    [
        pytest.param(5.0, 2000.0, 0.0, Reason.SOC_BOUND, id="the reserve is kept"),
        pytest.param(100.0, 500.0, 3000.0, Reason.SOC_BOUND, id="full is full"),
        pytest.param(None, 2000.0, 0.0, Reason.SOC_BOUND, id="an unknown SOC is not taken for any"),
    ],
)
def test_a_battery_stands_still_at_the_ends_of_its_soc(
    soc_pct: float | None, load_w: float, pv_w: float, reason: Reason
) -> None:
    home = Home(Settings(), inverter(), load_w=load_w, pv_w=pv_w)
    home.soc_pct[0] = soc_pct
    decision = home.live(REST_S)
    setpoint = decision.setpoints[0]
    assert setpoint.battery_power_w == pytest.approx(0.0, abs=1e-9)
    assert setpoint.battery_chain[-1].reason is reason
    assert setpoint.battery_chain[-1].level is Level.USER


def test_a_battery_that_becomes_empty_hands_over_to_the_grid_at_a_walk() -> None:
    home = Home(Settings(), inverter(), load_w=3000.0)
    home.live(REST_S)
    home.soc_pct[0] = 5.0
    levels_w = []
    for _ in range(150):
        home.live(0.2)
        levels_w.append(home.grid_w)
    assert max(later - earlier for earlier, later in pairwise(levels_w)) <= 60.0
    assert levels_w[-1] == pytest.approx(3000.0, abs=1)


def test_idle_batteries_stand_still_and_the_chain_says_so() -> None:
    home = Home(Settings(task=Task.IDLE), inverter(), load_w=2000.0)
    decision = home.live(REST_S)
    assert decision.setpoints[0].battery_power_w == 0.0
    assert decision.setpoints[0].battery_chain[-1].reason is Reason.IDLE
    assert decision.reason is Reason.IDLE


def test_the_devices_own_bound_decides_above_the_users() -> None:
    home = Home(Settings(), inverter(rated_power_w=3000.0), load_w=6000.0)
    decision = home.live(REST_S)
    assert decision.setpoints[0].battery_power_w == 3000.0
    assert decision.setpoints[0].battery_chain[-1].level is Level.SAFETY


@pytest.mark.parametrize("limit_w", [0.0, 1000.0, 3000.0])
def test_without_a_battery_pv_is_held_at_load_plus_limit(limit_w: float) -> None:
    home = Home(limited(limit_w), pv_only(rated_power_w=8000.0), load_w=700.0, pv_w=6000.0)
    decision = home.live(60.0)
    assert -home.grid_w == pytest.approx(limit_w - 30.0, abs=35.0)
    assert -home.grid_w <= limit_w
    assert decision.setpoints[0].ac_limit_chain[-1].level is Level.GRID_OPERATOR
    assert decision.reason is Reason.FEED_IN_LIMIT


def test_a_load_drop_cuts_pv_with_the_first_reading() -> None:
    home = Home(limited(0.0), pv_only(rated_power_w=8000.0), load_w=5000.0, pv_w=6000.0)
    home.live(60.0)
    home.load_w = 1000.0
    decision = home.live(0.4)
    limit_w = decision.setpoints[0].ac_limit_w
    assert limit_w is not None
    assert limit_w <= 1000.0


def test_a_load_that_comes_back_is_followed_only_when_it_stays() -> None:
    home = Home(limited(0.0), pv_only(rated_power_w=8000.0), load_w=1000.0, pv_w=6000.0)
    home.live(60.0)
    before_w = home.ac_w[0]
    home.load_w = 4000.0
    home.live(1.0)
    assert home.ac_w[0] == pytest.approx(before_w, abs=30)
    home.live(60.0)
    assert home.ac_w[0] == pytest.approx(4000.0, abs=80)


def test_the_battery_takes_the_surplus_before_pv_is_curtailed() -> None:
    home = Home(limited(0.0), inverter(rated_power_w=8000.0), load_w=500.0, pv_w=4000.0)
    home.live(60.0)
    assert home.battery_w[0] == pytest.approx(-3500.0, abs=80)
    assert home.grid_w == pytest.approx(0.0, abs=40)


def test_what_the_full_battery_cannot_take_is_curtailed() -> None:
    home = Home(limited(0.0), inverter(rated_power_w=8000.0), load_w=500.0, pv_w=4000.0)
    home.soc_pct[0] = 100.0
    home.live(60.0)
    assert 0.0 <= home.grid_w <= 60.0
    assert home.ac_w[0] == pytest.approx(500.0, abs=60)


def test_each_phase_is_held_at_its_share_though_the_sum_would_allow_more() -> None:
    home = Home(
        limited(500.0, each_phase=True), pv_only(rated_power_w=9000.0), load_w=3000.0, pv_w=9000.0
    )
    home.unbalance_w = (-800.0, 400.0, 400.0)
    home.live(60.0)
    worst_w = home.grid_w / 3 - 800.0
    assert worst_w >= -500.0
    assert worst_w == pytest.approx(-500.0, abs=60)


def test_a_phase_that_one_inverter_feeds_alone_is_held_by_that_inverter() -> None:
    one = pv_only(phases=(0,), rated_power_w=4000.0)
    other = inverter(2, has_battery=False, phases=(1,), rated_power_w=4000.0)
    home = Home(limited(0.0, each_phase=True), one, other, pv_w=3000.0)
    home.load_w = 3000.0
    for _ in range(300):  # the meter sees each phase with what is fed there
        home.unbalance_w = tuple(
            1000.0 - fed - home.grid_w / 3 for fed in (home.ac_w[0], home.ac_w[1], 0.0)
        )  # type: ignore[assignment]
        home.live(0.2)
    assert home.ac_w == pytest.approx([960.0, 960.0], abs=60)


@pytest.mark.parametrize(
    ("settings", "limit_w"),
    [
        pytest.param(Settings(), None, id="no limit, no cut"),
        pytest.param(limited(0.0), 0.0, id="zero export, zero output"),
        pytest.param(limited(2000.0), 2000.0, id="the limit itself is safe"),
        pytest.param(limited(0.0, failsafe_w=1500.0), 1500.0, id="the agreed power"),
    ],
)
def test_a_silent_meter_means_the_fail_safe(settings: Settings, limit_w: float | None) -> None:
    home = Home(settings, inverter(), load_w=1000.0, pv_w=3000.0)
    home.live(20.0)
    home.meter_works = False
    assert home.live(0.8).reason is not Reason.METER_SILENT
    decision = home.live(6.0)
    setpoint = decision.setpoints[0]
    assert decision.reason is Reason.METER_SILENT
    assert setpoint.battery_power_w == 0.0
    assert setpoint.ac_limit_w == limit_w
    assert setpoint.failsafe_ac_limit_w == limit_w
    assert setpoint.battery_chain[-1].reason is Reason.METER_SILENT


def test_the_return_of_the_meter_is_no_jump() -> None:
    home = Home(Settings(), inverter(), load_w=4000.0)
    home.live(20.0)
    home.meter_works = False
    home.live(5.0)
    home.meter_works = True
    levels_w = [home.grid_w]
    for _ in range(200):
        home.live(0.2)
        levels_w.append(home.grid_w)
    assert max(abs(later - earlier) for earlier, later in pairwise(levels_w)) <= 200.0
    assert home.grid_w == pytest.approx(0.0, abs=40)


def test_without_settings_nothing_is_fed_in() -> None:
    home = Home(None, inverter(), pv_w=3000.0)
    decision = home.live(1.0)
    assert decision.reason is Reason.NO_SETTINGS
    assert decision.setpoints[0].ac_limit_w == 0.0


def test_a_silent_inverter_counts_at_its_rating_and_the_other_makes_room() -> None:
    units = (
        inverter(1, has_battery=False, rated_power_w=3000.0),
        inverter(2, has_battery=False, rated_power_w=6000.0),
    )
    home = Home(limited(2000.0), *units, load_w=3000.0, pv_w=2500.0)
    home.live(60.0)
    assert sum(home.ac_w) == pytest.approx(4970.0, abs=60)
    home.mute.add(0)
    decision = home.live(5.0)
    assert decision.silent_units == ("inv1",)
    assert decision.setpoints[1].ac_limit_w is not None
    assert decision.setpoints[1].ac_limit_w <= 3000.0 + 2000.0 - 3000.0
    assert decision.setpoints[0].ac_limit_chain[-1].reason is Reason.INVERTER_SILENT


def test_an_output_that_is_not_told_is_not_taken_for_nothing() -> None:
    limits_w = []
    for ac_power_w in (None, 0.0):
        home = Home(limited(3000.0), pv_only(), load_w=2000.0)
        home.live(5.0)
        for _ in range(50):
            home.now_s += 0.2
            home.grid = sample(home.now_s - 0.02, 2000.0)
            home.readings[0] = told(home.now_s, ac_power_w, None)
            decision = home.decide()
        limits_w.append(decision.setpoints[0].ac_limit_w)
    unknown_w, nothing_w = limits_w
    assert nothing_w is not None
    assert nothing_w <= 700.0  # near what it produces, so that a fall bites at once
    assert unknown_w != nothing_w


def test_a_relaxed_limit_takes_effect_at_a_walk() -> None:
    home = Home(limited(0.0), pv_only(rated_power_w=8000.0), load_w=700.0, pv_w=6000.0)
    home.live(60.0)
    home.settings = limited(3000.0)
    levels_w = [home.grid_w]
    for _ in range(200):
        home.live(0.2)
        levels_w.append(home.grid_w)
    assert max(abs(later - earlier) for earlier, later in pairwise(levels_w)) <= 60.0
    assert -home.grid_w == pytest.approx(2970.0, abs=60)


def test_a_tightened_limit_takes_effect_at_once() -> None:
    home = Home(limited(3000.0), pv_only(rated_power_w=8000.0), load_w=700.0, pv_w=6000.0)
    home.live(60.0)
    home.settings = limited(0.0)
    decision = home.live(0.2)
    assert decision.setpoints[0].ac_limit_w is not None
    assert decision.setpoints[0].ac_limit_w <= 700.0


def test_a_battery_that_does_not_follow_is_not_asked_for_more() -> None:
    home = Home(Settings(), inverter(), load_w=4000.0)
    home.live(20.0)
    for _ in range(100):  # it gives 2 kW, whatever it is asked
        home.now_s += 0.2
        home.battery_w[0] = home.ac_w[0] = 2000.0
        home.grid = sample(home.now_s - 0.02, 2000.0)
        home.readings[0] = told(home.now_s - 0.05, 2000.0, 2000.0)
        decision = home.decide()
    assert decision.setpoints[0].battery_power_w == pytest.approx(2000.0, abs=250)
    assert decision.setpoints[0].battery_chain[-1].reason is Reason.DEVICE_BOUND


def test_two_batteries_share_without_working_against_each_other() -> None:
    home = Home(Settings(), inverter(1), inverter(2), load_w=6000.0)
    home.soc_pct = [80.0, 40.0]
    for load_w in (6000.0, 500.0, 7000.0, 100.0):
        home.load_w = load_w
        for _ in range(200):
            decision = home.live(0.2)
            powers_w = [setpoint.battery_power_w or 0.0 for setpoint in decision.setpoints]
            assert not (min(powers_w) < -1 and max(powers_w) > 1)
        assert home.grid_w == pytest.approx(0.0, abs=60)


def test_every_chain_goes_from_the_uppermost_level_down() -> None:
    ranks = {level: rank for rank, level in enumerate(Level)}
    home = Home(limited(0.0), inverter(1), inverter(2), load_w=800.0, pv_w=3000.0)
    for _ in range(200):
        decision = home.live(0.2)
        for setpoint in decision.setpoints:
            for chain in (setpoint.battery_chain, setpoint.ac_limit_chain):
                assert chain
                levels = [ranks[link.level] for link in chain]
                assert levels == sorted(levels)


def test_a_house_whose_inverters_were_never_heard_of_is_decided_on_all_the_same() -> None:
    state = core.start(())
    for number in range(3):
        now_s = 1000.0 + 0.2 * number
        house = House(now_s, (), sample(now_s, 800.0), (), limited(0.0))
        state, decision = core.decide(state, house)
        assert decision.setpoints == ()
