"""The inverters' process against the simulated device, on the test's clock."""

import itertools

import pytest

from bus.inverters import InverterReading, InverterState, Lease
from bus.system import Faults, Severity
from runtime.modbus.request import Request
from services.inverters.config import KeptConfig
from services.inverters.drivers.sun2000 import SUN2000
from tests.service.inverters.house import TRANSACTION_S, House, sun2000

FORCED_DISCHARGE, FORCED_CHARGE, STOPPED = 2, 1, 0


async def test_an_inverter_is_identified_and_polled(house: House) -> None:
    async with house.running():
        await house.clock.advance(11)
        described = house.bus.last(InverterState)
        assert described.online
        assert described.model == "SUN2000-8KTL-M1"
        assert described.serial == "HV2150000001"
        assert described.rated_power_w == 8000
        assert described.battery_capacity_wh == 10_000
        assert described.device_status == "on grid, limited"
        readings = house.bus.all(InverterReading)
        assert len(readings) >= 4 * 10
        assert readings[-1].soc_pct == 50
        assert house.faults() == {}


async def test_an_inverter_without_a_failsafe_of_its_own_is_warned_of(house: House) -> None:
    house.own_failsafe_set = False
    async with house.running():
        await house.clock.advance(3)
        assert "while the gateway is off" in house.faults()["no-own-failsafe"]


async def test_without_a_word_the_failsafe_applies_from_the_start(house: House) -> None:
    async with house.running():
        await house.clock.advance(1)
        assert house.number("ac_limit_w") == 0
        assert house.bus.last(InverterReading).lease is Lease.FAILSAFE
        await house.clock.advance(5)
        reading = house.bus.last(InverterReading)
        assert reading.ac_limit.asked_w == 0
        assert reading.ac_limit.confirmed_w == 0
        assert reading.ac_power_w == pytest.approx(0, abs=60)


async def test_a_forced_discharge_left_behind_by_a_crash_does_not_survive(house: House) -> None:
    house.write("forced_discharge_w", 3000)
    house.write("forced_duration_min", 600)
    house.write("forced_command", FORCED_DISCHARGE)
    async with house.running():
        await house.clock.advance(1)
        assert house.number("forced_command") == STOPPED
        assert house.number("ac_limit_w") == 0


async def test_a_restart_during_a_lease_changes_nothing(house: House) -> None:
    async with house.running():
        await house.keep(3, battery_power_w=0.0, ac_limit_w=2500.0)
    house.write("ac_limit_w", 2500)  # as a killed process leaves it
    house.line.writes.clear()
    async with house.running():
        await house.keep(2, battery_power_w=0.0, ac_limit_w=2500.0)
        assert house.bus.last(InverterReading).lease is Lease.LEASED
        assert house.line.writes == [], "adopted, not written again"


async def test_an_orderly_end_leaves_the_failsafe_behind(house: House) -> None:
    async with house.running():
        await house.keep(3, battery_power_w=1000.0, ac_limit_w=6000.0)
        assert house.number("forced_command") == FORCED_DISCHARGE
    assert house.number("forced_command") == STOPPED
    assert house.number("ac_limit_w") == 500


async def test_the_newest_setpoint_is_on_the_line_within_one_transaction(house: House) -> None:
    async with house.running():
        await house.keep(3, ac_limit_w=4000.0)
        house.line.writes.clear()
        for step in range(20):
            said_s = house.clock.monotonic()
            house.dispatch(ac_limit_w=3000.0 - step)
            await house.clock.advance(0.17)
            started_s = house.line.writes[step][0]
            assert started_s - said_s <= TRANSACTION_S
        assert len(house.line.writes) == 20, "one frame a setpoint"


async def test_asked_confirmed_and_measured_are_told_apart(house: House) -> None:
    async with house.running():
        await house.keep(8, battery_power_w=1500.0, ac_limit_w=6000.0)
        reading = house.bus.last(InverterReading)
        assert reading.lease is Lease.LEASED
        assert reading.battery.asked_w == 1500
        assert reading.battery.confirmed_w == pytest.approx(1500, abs=25)
        assert reading.battery.measured_w == pytest.approx(1500, abs=200)
        assert reading.ac_limit.asked_w == reading.ac_limit.confirmed_w == 6000
        assert reading.ac_limit.why_not is None
        assert reading.pv_power_w == pytest.approx(3000, abs=30), "PV is not held back"


async def test_a_forced_charge_takes_what_is_asked_from_pv(house: House) -> None:
    async with house.running():
        await house.keep(8, battery_power_w=-1200.0)
        reading = house.bus.last(InverterReading)
        assert house.number("forced_command") == FORCED_CHARGE
        assert reading.battery.confirmed_w == -1200
        assert reading.battery_power_w == pytest.approx(-1200, abs=60)
        assert reading.ac_power_w == pytest.approx(1800, abs=200)


async def test_a_steady_command_costs_one_write_per_half_minute(house: House) -> None:
    async with house.running():
        await house.keep(5, battery_power_w=1500.0, ac_limit_w=6000.0)
        house.line.writes.clear()
        await house.keep(60, battery_power_w=1500.0, ac_limit_w=6000.0)
        commands = [w for w in house.line.writes if w[2] == SUN2000.table["forced_command"].address]
        assert len(commands) == 2
        assert len(house.line.writes) <= 2 * 2 + 4, "besides them, only what follows PV"
        assert house.number("forced_command") == FORCED_DISCHARGE


async def test_the_failsafe_is_applied_when_the_lease_lapses(house: House) -> None:
    async with house.running():
        await house.keep(4, battery_power_w=1500.0, ac_limit_w=6000.0)
        house.dispatch(battery_power_w=1500.0, ac_limit_w=6000.0, valid_s=2)
        await house.clock.advance(1.9)
        assert house.number("ac_limit_w") == 6000
        await house.clock.advance(0.3)
        assert house.number("ac_limit_w") == 500
        await house.clock.advance(0.2)
        assert house.number("forced_command") == STOPPED
        assert house.bus.last(InverterReading).lease is Lease.FAILSAFE


@pytest.mark.parametrize("refused_before", [False, True], ids=["well", "after a refusal"])
async def test_the_failsafe_waits_for_no_poll(refused_before: bool, house: House) -> None:
    house.poll_period_s = 60.0
    async with house.running():
        await house.keep(3, ac_limit_w=6000.0)
        house.line.units[1].refuses_writes = 3 if refused_before else None
        await house.keep(14, ac_limit_w=5000.0)
        await house.clock.advance(1.7)  # the last dispatch was heard 0.2 s ago and holds for 2 s
        house.line.units[1].refuses_writes = None
        assert house.number("ac_limit_w") == (6000 if refused_before else 5000)
        await house.clock.advance(0.2)
        assert house.number("ac_limit_w") == 500


async def test_a_read_back_that_a_write_has_overtaken_is_not_taken_for_a_change(
    house: House,
) -> None:
    async with house.running():
        await house.keep(3, battery_power_w=1000.0, ac_limit_w=7000.0)
        await house.clock.advance(0.013)
        house.line.writes.clear()
        steps = itertools.count()

        def speak() -> None:
            step = next(steps)
            house.dispatch(battery_power_w=1100.0 + 40 * step, ac_limit_w=7000.0 - 30 * step)

        def speak_during_the_next_read(request: Request, words: tuple[int, ...]) -> tuple[int, ...]:
            if request.address == 37760:  # the last block of a poll; a read-back may follow
                house.clock.call_later(TRANSACTION_S / 2, speak)
            return words

        house.line.spoil = speak_during_the_next_read
        await house.clock.advance(10)
        limits_w = [words for _, _, address, words in house.line.writes if address == 40126]
        assert len(limits_w) >= 30
        assert len(set(limits_w)) == len(limits_w), "no limit was written twice"


async def test_no_lease_holds_longer_than_three_seconds(house: House) -> None:
    async with house.running():
        house.dispatch(ac_limit_w=6000.0, valid_s=3600)
        await house.clock.advance(2.9)
        assert house.number("ac_limit_w") == 6000
        await house.clock.advance(0.3)
        assert house.number("ac_limit_w") == 500


async def test_a_lease_that_has_lapsed_on_its_way_is_not_taken(house: House) -> None:
    async with house.running():
        await house.clock.advance(1)
        house.dispatch(ac_limit_w=6000.0, valid_s=-0.1)
        await house.clock.advance(1)
        assert house.number("ac_limit_w") == 0


@pytest.mark.parametrize("step_s", [-3600, 3600], ids=["back", "forward"])
async def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_lease(
    step_s: float, house: House
) -> None:
    async with house.running():
        house.dispatch(ac_limit_w=6000.0, valid_s=2)
        await house.clock.advance(1)
        house.clock.step_wall_clock(step_s)
        await house.clock.advance(0.5)
        assert house.number("ac_limit_w") == 6000
        await house.clock.advance(1)
        assert house.number("ac_limit_w") == 500


async def test_a_mute_inverter_is_told_and_read_back_when_it_returns(house: House) -> None:
    async with house.running():
        await house.keep(3, ac_limit_w=6000.0)
        house.line.mute = {1}
        await house.keep(2, ac_limit_w=6000.0)
        assert "inverter-silent" in house.faults()
        assert not house.bus.last(InverterState).online
        assert house.bus.last(InverterState).model == "SUN2000-8KTL-M1", "it is still known"
        house.write("ac_limit_w", 8000)  # it has restarted
        house.line.mute = set()
        await house.keep(5, ac_limit_w=6000.0)
        assert house.faults() == {}
        assert house.bus.last(InverterState).online
        assert house.number("ac_limit_w") == 6000


async def test_a_cut_line_is_told_and_used_again_once_mended(house: House) -> None:
    async with house.running():
        await house.keep(3, ac_limit_w=6000.0)
        house.line.cut = True
        await house.keep(2, ac_limit_w=6000.0)
        assert "no such file" in house.faults()["inverter-silent"]
        house.line.cut = False
        await house.keep(6, ac_limit_w=5000.0)
        assert house.faults() == {}
        assert house.number("ac_limit_w") == 5000


async def test_one_mute_inverter_does_not_hold_up_the_other(house: House) -> None:
    house.line.units[2] = sun2000(house.clock)
    async with house.running():
        both = ("inv1", "inv2")
        for _ in range(10):
            house.dispatch(ac_limit_w=4000.0, devices=both)
            await house.clock.advance(0.2)
        house.line.mute = {1}
        before = len([r for r in house.bus.all(InverterReading) if r.inverter_id == "inv2"])
        for n in range(100):
            house.dispatch(ac_limit_w=4000.0 - n, devices=both)
            await house.clock.advance(0.2)
        after = len([r for r in house.bus.all(InverterReading) if r.inverter_id == "inv2"])
        assert after - before >= 0.9 * 20 / 0.25
        assert house.number("ac_limit_w", unit=2) == 3901


async def test_a_refused_setpoint_is_told_and_tried_again_with_patience(house: House) -> None:
    async with house.running():
        await house.keep(3, ac_limit_w=6000.0)
        house.line.units[1].refuses_writes = 0x80
        house.line.writes.clear()
        await house.keep(6, ac_limit_w=5000.0)
        reading = house.bus.last(InverterReading)
        assert reading.ac_limit.asked_w == 5000
        assert reading.ac_limit.confirmed_w == 6000
        assert "no permission" in (reading.ac_limit.why_not or "")
        assert "no permission" in house.faults()["setpoint-refused"]
        assert 3 <= len(house.line.writes) <= 8
        house.line.units[1].refuses_writes = None
        await house.keep(8, ac_limit_w=5000.0)
        assert house.number("ac_limit_w") == 5000
        assert house.faults() == {}


async def test_the_failsafe_does_not_wait_for_the_patience_after_a_refusal(house: House) -> None:
    async with house.running():
        await house.keep(3, ac_limit_w=6000.0)
        house.line.units[1].refuses_writes = 3
        await house.keep(10, ac_limit_w=5000.0)
        house.line.units[1].refuses_writes = None
        house.line.writes.clear()
        await house.clock.advance(2.2)
        assert house.number("ac_limit_w") == 500


async def test_an_inverter_that_does_not_follow_its_limit_is_reported(house: House) -> None:
    async with house.running():
        await house.keep(5, ac_limit_w=8000.0)
        house.line.units[1].ignores_setpoints = True
        await house.keep(9, ac_limit_w=1000.0)
        assert house.bus.last(InverterReading).ac_limit.confirmed_w == 1000
        assert house.faults() == {}
        await house.keep(4, ac_limit_w=1000.0)
        assert "does-not-follow" in house.faults()
        house.line.units[1].follow_again()
        await house.keep(6, ac_limit_w=1000.0)
        assert house.faults() == {}


async def test_a_device_that_confirms_and_forgets_is_written_again(house: House) -> None:
    async with house.running():
        await house.keep(4, ac_limit_w=6000.0)
        house.write("ac_limit_w", 8000)
        await house.keep(31, ac_limit_w=6000.0)  # everything is read back each half minute
        await house.keep(2, ac_limit_w=6000.0)
        assert house.number("ac_limit_w") == 6000


async def test_another_device_at_the_unit_id_is_left_alone(house: House) -> None:
    house.line.units[1] = sun2000(house.clock, model="FusionCharge-7")
    async with house.running():
        await house.keep(4, ac_limit_w=1000.0)
        assert house.line.writes == []
        assert "FusionCharge-7" in house.faults()["wrong-device"]
        assert house.bus.last(Faults).faults[0].severity is Severity.CRITICAL


async def test_an_inverter_without_a_battery_gets_no_battery_command(house: House) -> None:
    house.line.units[1] = sun2000(house.clock, soc_pct=None)
    async with house.running():
        await house.keep(4, battery_power_w=1000.0, ac_limit_w=2000.0)
        assert {write[2] for write in house.line.writes} == {40126}
        reading = house.bus.last(InverterReading)
        assert reading.battery_power_w is None
        assert reading.soc_pct is None
        assert not house.bus.last(InverterState).has_battery


async def test_an_impossible_figure_is_refused_and_told(house: House) -> None:
    def too_full(request: Request, words: tuple[int, ...]) -> tuple[int, ...]:
        soc = SUN2000.table["soc_pct"].address - request.address
        return (*words[:soc], 5000, *words[soc + 1 :]) if 0 <= soc < len(words) else words

    house.line.spoil = too_full
    async with house.running():
        await house.keep(3, ac_limit_w=2000.0)
        assert house.bus.last(InverterReading).soc_pct is None
        assert house.bus.last(InverterReading).ac_power_w is not None
        assert "soc_pct says 500 %" in house.faults()["implausible-figure"]


async def test_flash_settings_are_written_only_where_they_differ_and_counted(house: House) -> None:
    house.kept = KeptConfig(charge_from_grid=True, full_soc_pct=100.0, reserve_soc_pct=12.0)
    for _ in range(3):
        async with house.running():
            await house.keep(6, ac_limit_w=8000.0)
    flash = [write for write in house.line.writes if write[2] in {47081, 47082, 47087}]
    assert [write[2:] for write in flash] == [(47087, (1,)), (47082, (120,))]
    assert house.bus.last(InverterState).flash_writes == 2


async def test_flash_is_spared_when_a_device_never_keeps_what_is_written(house: House) -> None:
    house.kept = KeptConfig(reserve_soc_pct=12.0)
    async with house.running():
        for _ in range(14):
            await house.keep(2, ac_limit_w=8000.0)
            house.line.mute = {1}
            await house.keep(2, ac_limit_w=8000.0)
            house.write("discharge_cutoff_pct", 5)
            house.line.mute = set()
            await house.keep(6, ac_limit_w=8000.0)
        writes = [write for write in house.line.writes if write[2] == 47082]
        assert len(writes) == 10
        assert "all that its flash is spared" in house.faults()["flash-write-refused"]


async def test_alarms_of_the_device_are_told_by_number_and_name(house: House) -> None:
    async with house.running():
        house.line.units[1].raise_alarm(2032)
        await house.keep(12, ac_limit_w=8000.0)
        assert house.bus.last(InverterState).alarms == ("2032 Grid lost",)
