"""PV that an AC limit holds back cannot be seen: what a house without export does about it."""

import pytest

from services.policy.model import Settings
from tests.unit.policy.houses import Home, inverter, limited, sample, told

NO_EXPORT = limited(0.0)


def sunny_home(*, load_w: float = 500.0, pv_w: float = 4000.0) -> Home:
    """Its battery takes what the house does not need."""
    home = Home(NO_EXPORT, inverter(rated_power_w=8000.0), load_w=load_w, pv_w=pv_w)
    home.live(60.0)
    return home


def test_a_load_that_goes_leaves_its_pv_to_the_battery_at_once() -> None:
    home = sunny_home(load_w=3500.0)
    home.load_w = 500.0
    home.live(5.0)
    assert home.used_pv_w[0] == pytest.approx(4000.0, abs=150)
    assert home.grid_w <= 400.0
    home.live(20.0)
    assert home.grid_w == pytest.approx(0.0, abs=60)


def test_short_loads_cost_hardly_any_pv() -> None:
    home = sunny_home()
    lost_ws = 0.0
    for _ in range(20):
        for load_w in (2500.0, 500.0):
            home.load_w = load_w
            for _ in range(15):
                home.live(0.2)
                lost_ws += 0.2 * (home.pv_w[0] - home.used_pv_w[0])
    assert lost_ws <= 0.04 * 4000.0 * 20 * 2 * 3.0


def test_more_sun_behind_a_limit_is_found_by_the_battery() -> None:
    home = sunny_home(load_w=300.0, pv_w=1500.0)
    home.pv_w = [5000.0]
    home.live(40.0)
    assert home.used_pv_w[0] == pytest.approx(5000.0, abs=200)


def test_a_cloud_is_no_reason_to_charge_from_the_grid() -> None:
    home = sunny_home()
    home.pv_w = [1200.0]
    home.live(6.0)
    assert home.battery_w[0] == pytest.approx(-700.0, abs=120)
    assert home.grid_w == pytest.approx(0.0, abs=150)


def test_a_battery_that_was_short_of_sun_takes_it_when_it_is_back() -> None:
    home = sunny_home()
    home.pv_w = [400.0]
    home.live(30.0)
    home.pv_w = [4000.0]
    home.live(40.0)
    assert home.battery_w[0] == pytest.approx(-3500.0, abs=150)


def test_full_batteries_share_the_load_by_what_their_sun_could_give() -> None:
    home = Home(NO_EXPORT, inverter(1), inverter(2), load_w=500.0)
    home.soc_pct = [100.0, 100.0]
    home.pv_w = [4000.0, 2000.0]
    home.ac_w = list(home.pv_w)
    home.live(60.0)
    home.load_w = 3000.0
    home.live(60.0)
    assert home.used_pv_w == pytest.approx([2000.0, 1000.0], abs=150)


def test_an_inverter_that_was_lost_does_not_stay_poor() -> None:
    home = Home(NO_EXPORT, inverter(1), inverter(2), load_w=3000.0)
    home.soc_pct = [100.0, 100.0]
    home.pv_w = [4000.0, 3000.0]
    home.ac_w = list(home.pv_w)
    home.live(60.0)
    home.mute.add(0)
    home.live(8.0)
    assert home.ac_w[1] < 100.0
    home.mute.clear()
    home.live(30.0)
    assert home.ac_w[1] == pytest.approx(3000.0 * 3 / 7, abs=250)


def test_a_battery_that_may_charge_from_the_grid_is_not_bound_by_its_sun() -> None:
    home = Home(
        Settings(target_w=2000.0), inverter(charges_from_grid=True), load_w=500.0, pv_w=300.0
    )
    home.live(60.0)
    assert home.battery_w[0] == pytest.approx(-1800.0, abs=100)


def test_a_battery_that_gives_little_for_want_of_sun_is_not_thought_broken() -> None:
    home = Home(NO_EXPORT, inverter(), load_w=100.0, pv_w=1500.0)
    home.live(20.0)
    for _ in range(100):  # asked for 1.4 kW, it takes the 300 W that the sun gives
        home.now_s += 0.2
        home.grid = sample(home.now_s - 0.02, 100.0)
        home.readings[0] = told(home.now_s - 0.05, 0.0, -300.0)
        home.decide()
    assert home.state.units[0].learned_until_s < home.now_s
