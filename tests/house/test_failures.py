"""The failure table of the design, judged at the simulated grid connection point.

The limit is zero export and the batteries are full, so only curtailment can hold it. In each test a
part fails and, at its worst moment, the load drops: what the inverters then still feed is export.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hemma.bench.house import House, running_house

pytestmark = pytest.mark.house

HERE = Path(__file__).parent
TOLERANCE_W = 150.0
"""Half of what the reference's class 1 meter and 0.5 s of a 3 % telemetry error make of 5 kW."""

LOST_S = 3.0
"""Two polls, the time-out of the lost one, and the second that policy waits for another."""

ANSWER_S = 2.5
"""Dead time and three lags of the slower inverter: from the command to the power."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with running_house(folder, HERE / "steady.yaml", HERE / "site.steady.yaml") as running:
        yield running


@pytest.fixture(autouse=True)
def _normal(house: House) -> Iterator[None]:
    """Full batteries, 8 kW of sun, a load of 5 kW and a house that is well."""
    house.simulator.order("clear")
    for unit, sun_w in (("inv1", 5000), ("inv2", 3000)):
        house.simulator.order("soc", unit=unit, soc_pct=100)
        house.simulator.order("pv", unit=unit, watts=sun_w)
    house.simulator.order("load", watts=4400)
    house.settle()
    house.wait_until(
        lambda: abs(house.simulator.grid_power_w) < 300, 60, "the grid power is held near zero"
    )
    yield
    house.simulator.order("clear")


def drop_load(house: House) -> None:
    house.simulator.order("load", watts=1000)


def longest_export_s(house: House, seconds: float) -> float:
    """Judge some seconds from now on."""
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict:
        house.simulator.live(seconds)
    return float(verdict["above_longest_s"])


def test_the_limit_is_held_when_the_load_drops(house: House) -> None:
    drop_load(house)
    assert longest_export_s(house, 8) <= 3.0


def test_batteries_take_the_surplus_before_pv_is_curtailed(house: House) -> None:
    for unit in ("inv1", "inv2"):
        house.simulator.order("soc", unit=unit, soc_pct=50)
    house.wait_until(
        lambda: (
            sum(u["battery_power_w"] for u in house.simulator.state()["inverters"].values()) < -2000
            and abs(house.simulator.grid_power_w) < 150
        ),
        60,
        "the batteries take what the house does not need",
    )


def test_a_load_that_goes_leaves_its_sun_to_the_batteries(house: House) -> None:
    for unit in ("inv1", "inv2"):
        house.simulator.order("soc", unit=unit, soc_pct=50)
    house.wait_until(lambda: held_back_w(house) < 300, 120, "all of the sun is used")
    drop_load(house)
    house.simulator.live(1)
    house.wait_until(
        lambda: held_back_w(house) < 300 and abs(house.simulator.grid_power_w) < 400,
        30,
        "the batteries take what the load has left",
    )


def held_back_w(house: House) -> float:
    units = house.simulator.state()["inverters"].values()
    return float(sum(unit["pv_available_w"] - unit["pv_power_w"] for unit in units))


@pytest.mark.parametrize("name", ["metering", "policy", "inverters", "site"])
def test_a_killed_service_comes_back_and_the_limit_holds(house: House, name: str) -> None:
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict:
        killed = house.kill(name)
        drop_load(house)
        house.wait_until(lambda: _lives_anew(house, name, killed), 5, f"{name} starts again")
        house.simulator.live(8)
    # design.md: restart within 1 s; the lease of 3 s bridges it; then the inverter answers.
    assert verdict["above_longest_s"] <= 3.0 + ANSWER_S
    house.settle()


def _lives_anew(house: House, name: str, killed: int) -> bool:
    try:
        return house.pid(name) != killed
    except (LookupError, FileNotFoundError):
        return False


def test_a_killed_broker_comes_back_and_the_limit_holds(house: House) -> None:
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict:
        killed = house.kill("broker")
        drop_load(house)
        house.wait_until(lambda: _lives_anew(house, "broker", killed), 5, "the broker is back")
        house.simulator.live(8)
    assert verdict["above_longest_s"] <= 3.0 + ANSWER_S
    house.settle()


@pytest.mark.parametrize("name", ["policy", "broker", "metering"])
def test_a_hanging_process_lets_the_fail_safe_act(house: House, name: str) -> None:
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict, house.paused(name):
        drop_load(house)
        house.simulator.live(3.0 + ANSWER_S + 1.0)
        assert house.simulator.grid_power_w > -TOLERANCE_W
    assert verdict["above_longest_s"] <= 3.0 + ANSWER_S
    house.settle()


def test_a_frozen_meter_ends_in_the_fail_safe_within_a_second(house: House) -> None:
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict:
        house.simulator.order("fault", kind="freeze", unit="ct")
        drop_load(house)
        house.wait_until(
            lambda: house.status()["dispatch"]["reason"] == "meter-silent", 4, "policy says so"
        )
        house.simulator.live(4)
        house.simulator.order("clear")
        house.settle()
        house.simulator.live(3)
    assert verdict["above_longest_s"] <= 1.2 + ANSWER_S


def test_a_meter_that_repeats_itself_is_not_believed(house: House) -> None:
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict:
        house.simulator.order("fault", kind="freeze", unit="ct", repeat=True)
        drop_load(house)
        house.simulator.live(8)
    assert verdict["above_longest_s"] <= 1.2 + ANSWER_S


@pytest.mark.parametrize("fault", ["mute", "drop"])
def test_a_lost_inverter_squeezes_the_other(house: House, fault: str) -> None:
    unit = "rs485-1" if fault == "drop" else "inv1"
    house.simulator.order("fault", kind=fault, unit=unit)
    house.wait_until(
        lambda: house.simulator.state()["inverters"]["inv2"]["ac_power_w"] < 100,
        LOST_S + ANSWER_S,
        "the inverter that can be reached makes room for the rated power of the lost one",
    )
    faults = [fault["code"] for fault in house.status()["faults"]]
    assert "inverter-silent" in faults
    house.simulator.order("clear")
    house.wait_until(
        lambda: house.simulator.state()["inverters"]["inv2"]["ac_power_w"] > 500,
        60,
        "both share again",
    )


def test_a_forced_discharge_left_behind_by_a_crash_does_not_survive(house: House) -> None:
    house.simulator.order("load", watts=9000)
    for unit in ("inv1", "inv2"):
        house.simulator.order("pv", unit=unit, watts=0)
    house.wait_until(
        lambda: (
            sum(u["battery_power_w"] for u in house.simulator.state()["inverters"].values()) > 3000
        ),
        60,
        "the batteries discharge",
    )
    with house.simulator.judging(0.0, TOLERANCE_W) as verdict, house.paused("policy"):
        house.kill("inverters")
        house.simulator.order("load", watts=0)
        house.wait_until(
            lambda: all(
                abs(unit["battery_power_w"]) < 100
                for unit in house.simulator.state()["inverters"].values()
            ),
            6.0,
            "the new process cancels what it found",
        )
        house.simulator.live(2)
    assert verdict["above_longest_s"] <= 1.0 + 3.0 + ANSWER_S


def test_a_paused_house_resumes_by_itself(house: House) -> None:
    names = ("metering", "policy", "inverters")
    for name in names:
        house.kill(name, signal.SIGSTOP)
    house.simulator.live(2)
    for name in names:
        house.kill(name, signal.SIGCONT)
    house.settle()
