"""What the power stage does when it is ordered."""

import pytest

from sim.battery import Battery, BatterySpec
from sim.inverter import Forced, Orders, PowerStage, StageSpec

STEP_S = 0.02
CELLS = BatterySpec(capacity_wh=10_000, max_charge_w=5000, max_discharge_w=5000)


def stage(
    soc_pct: float = 50.0, *, dead_time_s: float = 0.3, lag_s: float = 0.8, rated_w: float = 8000
) -> PowerStage:
    return PowerStage(StageSpec(rated_w, dead_time_s, lag_s), Battery(CELLS, soc_pct))


def run(unit: PowerStage, seconds: float, pv_w: float = 0.0) -> None:
    for _ in range(round(seconds / STEP_S)):
        unit.step(STEP_S, pv_w)


def test_nothing_moves_before_the_dead_time_has_passed() -> None:
    unit = stage(dead_time_s=0.5)
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=2000))

    run(unit, 0.48)
    assert unit.ac_w == 0
    run(unit, 0.1)
    assert unit.ac_w > 0


@pytest.mark.parametrize("lag_s", [0.3, 0.8, 3.0])
def test_a_step_reaches_63_percent_after_dead_time_and_lag(lag_s: float) -> None:
    unit = stage(dead_time_s=0.3, lag_s=lag_s)
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=2000))

    run(unit, 0.3 + lag_s)

    assert unit.ac_w == pytest.approx(2000 * 0.632, rel=0.03)


def test_a_ramp_limit_holds_a_big_step_back() -> None:
    unit = stage(lag_s=0.05, dead_time_s=0.0)
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=4000, ramp_w_s=500))

    run(unit, 2.0)

    assert unit.ac_w == pytest.approx(1000, abs=15)


def test_a_passing_cloud_is_filled_by_the_battery_during_forced_discharge() -> None:
    unit = stage()
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=3000))
    run(unit, 8, pv_w=2500)
    before_w = unit.battery_w

    unit.step(STEP_S, 500)

    assert unit.ac_w == pytest.approx(3000, abs=10)
    assert unit.battery_w == pytest.approx(before_w + 2000, abs=1)


def test_forced_discharge_is_a_ceiling_for_pv() -> None:
    unit = stage()
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=1000))

    run(unit, 8, pv_w=4000)

    assert unit.ac_w == pytest.approx(1000, abs=5)
    assert unit.battery_w == 0
    assert unit.curtailed


def test_forced_zero_curtails_pv_altogether() -> None:
    unit = stage()
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=0))

    run(unit, 10, pv_w=4000)

    assert unit.ac_w == pytest.approx(0, abs=1)


@pytest.mark.parametrize(
    ("grid_charge_w", "pv_w", "battery_w", "ac_w"),
    [
        pytest.param(0, 4000, -3000, 931, id="from PV, the rest is fed"),
        pytest.param(0, 1000, -952, 0, id="no more than PV while the grid is not allowed"),
        pytest.param(0, 0, 0, 0, id="nothing at night"),
        pytest.param(5000, 0, -3000, -3109, id="from the grid when allowed"),
        pytest.param(1000, 0, -939, -1000, id="no more than allowed from the grid"),
    ],
)
def test_forced_charge_takes_its_power_from(
    grid_charge_w: float, pv_w: float, battery_w: float, ac_w: float
) -> None:
    unit = stage()
    unit.order(Orders(forced=Forced.CHARGE, forced_w=3000, grid_charge_w=grid_charge_w))

    run(unit, 10, pv_w)

    assert unit.battery_w == pytest.approx(battery_w, abs=8)
    assert unit.ac_w == pytest.approx(ac_w, abs=12)


def test_the_ac_limit_holds_pv_and_battery_together() -> None:
    unit = stage()
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=5000, ac_limit_w=1500))

    run(unit, 10, pv_w=1000)

    assert unit.ac_w == pytest.approx(1500, abs=3)
    assert unit.pv_w == 1000


def test_output_never_exceeds_the_rating() -> None:
    unit = stage(rated_w=5000)

    run(unit, 5, pv_w=7000)

    assert unit.ac_w == pytest.approx(5000, abs=1)
    assert unit.pv_w < 5300


@pytest.mark.parametrize(
    ("soc_pct", "forced", "most_w"),
    [
        pytest.param(50, Forced.CHARGE, 5000, id="half full charges at full power"),
        pytest.param(95, Forced.CHARGE, 2750, id="nearly full charges slowly"),
        pytest.param(100, Forced.CHARGE, 0, id="full takes nothing"),
        pytest.param(5, Forced.DISCHARGE, 3250, id="nearly empty gives slowly"),
        pytest.param(0, Forced.DISCHARGE, 0, id="empty gives nothing"),
    ],
)
def test_the_battery_tapers(soc_pct: float, forced: Forced, most_w: float) -> None:
    unit = stage(soc_pct, rated_w=10_000, lag_s=0.1)
    unit.order(Orders(forced=forced, forced_w=8000))

    run(unit, 1.5, pv_w=9000 if forced is Forced.CHARGE else 0)

    assert abs(unit.battery_w) == pytest.approx(most_w, rel=0.02)


def test_the_cut_off_ends_a_discharge() -> None:
    unit = stage(20.05)
    unit.order(Orders(forced=Forced.DISCHARGE, forced_w=4000, discharge_cutoff_pct=20))

    run(unit, 20)

    assert unit.battery_w == 0
    assert unit.battery is not None
    assert unit.battery.soc_pct == pytest.approx(20, abs=0.01)


def test_a_full_cycle_loses_what_the_efficiencies_say() -> None:
    battery = Battery(CELLS, 50)
    battery.move(-4000, 1.0)
    assert battery.soc_pct == pytest.approx(50 + 39, abs=0.01)
    battery.move(4000 * 0.975**2, 1.0)
    assert battery.soc_pct == pytest.approx(50, abs=0.01)
    assert battery.charged_wh == 4000


@pytest.mark.parametrize("ac_w", [-8000, -500, -60, 0, 60, 500, 8000])
def test_losses_work_the_same_in_both_directions(ac_w: float) -> None:
    unit = stage()
    dc_w = unit.dc_of(ac_w)
    assert unit.ac_of(dc_w) == pytest.approx(ac_w, abs=1e-6)
    assert dc_w > ac_w  # what is lost is always paid on the DC side


def test_changing_the_mode_causes_no_jump() -> None:
    unit = stage()
    run(unit, 1, pv_w=3000)
    before_w = unit.ac_w

    unit.order_at_once(Orders(forced=Forced.DISCHARGE, forced_w=before_w))
    unit.step(STEP_S, 3000)
    assert unit.ac_w == pytest.approx(before_w, abs=1)

    unit.order_at_once(Orders(forced=Forced.DISCHARGE, forced_w=6000))
    run(unit, 8, pv_w=3000)
    unit.order_at_once(Orders())
    unit.step(STEP_S, 3000)
    assert unit.ac_w == pytest.approx(6000, abs=100)


def test_a_stopped_inverter_feeds_nothing() -> None:
    unit = stage()
    run(unit, 1, pv_w=3000)
    unit.order_at_once(Orders(running=False))
    unit.step(STEP_S, 3000)
    assert (unit.ac_w, unit.pv_w, unit.battery_w) == (0, 0, 0)
