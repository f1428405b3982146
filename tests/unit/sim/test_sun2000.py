"""Registers of the inverter as a client meets them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.inverter import Forced, PowerStage, StageSpec
from sim.modbus import SilentError, answer
from sim.sun2000 import REGISTERS, Manners, Sun2000
from sim.sun2000_view import Identity

Install = Callable[..., Any]


def test_every_live_register_is_supplied(install: Install) -> None:
    lab = install()
    live = {cell.name for cell in REGISTERS.cells if cell.start == "@"}
    lab.run(1)
    shown = set(lab.device._nameplate()) | set(lab.device._shown)
    assert live - shown == set()
    assert shown <= set(REGISTERS.by_name)


def test_identification_reads_as_padded_text(install: Install) -> None:
    lab = install()
    assert lab.read(30000, 15) == b"SUN2000-8KTL-M1".ljust(30, b"\0")
    assert lab.read(30015, 10).rstrip(b"\0") == b"HV2150000001"
    assert lab.number("string_count") == 2
    assert lab.number("max_active_power_w") == 8000
    assert lab.read(65534) == b"\xb0\x01"


def test_gaps_inside_a_block_read_zero_and_outside_is_refused(install: Install) -> None:
    lab = install()
    block = lab.read(30000, 65)  # clients read 30000 and 30050 in one, over reserved cells
    assert len(block) == 130
    assert lab.read(32005, 3) == bytes(6)
    assert lab.ask(3, *(29990).to_bytes(2, "big"), 0, 5) == b"\x83\x02"
    assert lab.ask(3, *(43000).to_bytes(2, "big"), 0, 2) == b"\x83\x02"


@pytest.mark.parametrize(
    ("pdu", "answered"),
    [
        pytest.param("0400000001", "8401", id="input registers are not served"),
        pytest.param("0375300000", "8303", id="nothing to read"),
        pytest.param("037530007e", "8303", id="more than 125 registers"),
        pytest.param("067d640001", "8602", id="writing a reading"),
        pytest.param("069cbe0001", "8603", id="half of a 32-bit number"),
        pytest.param("109cbe00010200ff", "9003", id="half of a 32-bit number, many"),
        pytest.param("109cbf00010200ff", "9003", id="its other half"),
        pytest.param("109cbe0002040000ffff", "9003", id="more watts than it has"),
        pytest.param("109cbe00020300ffff", "9003", id="byte count wrong"),
        pytest.param("06b7fc0003", "8603", id="a forced command that does not exist"),
        pytest.param("06b9370002", "8603", id="a mode between the modes"),
        pytest.param("06ea600001", "8602", id="an address that does not exist"),
        pytest.param("41240100", "c101", id="login"),
    ],
)
def test_a_wrong_request_gets(install: Install, pdu: str, answered: str) -> None:
    lab = install()
    assert lab.ask(*bytes.fromhex(pdu)).hex() == answered


@pytest.mark.parametrize(("name", "above_w"), [("max_charge_w", 5001), ("max_discharge_w", 5001)])
def test_battery_settings_above_what_the_battery_can_are_refused(
    install: Install, name: str, above_w: float
) -> None:
    lab = install()
    assert lab.write(name, above_w)[1] == 3
    assert lab.write(name, 5000)[0] == 16
    assert lab.write(name, 0)[0] == 16
    assert lab.number(name) == 0


def test_a_refused_write_of_several_registers_changes_none(install: Install) -> None:
    lab = install()
    # 47081 charge cut-off 95 %, 47082 discharge cut-off 35 %: the second is out of range
    refused = lab.ask(16, *(47081).to_bytes(2, "big"), 0, 2, 4, 3, 0xB6, 1, 0x5E)
    assert refused == b"\x90\x03"
    assert lab.number("charge_cutoff_pct") == 100


def test_only_registers_in_flash_count_as_flash_writes(install: Install) -> None:
    lab = install()
    lab.write("ac_limit_w", 3000)
    lab.force(2, 1000)
    assert lab.device.image.flash_writes == 0
    lab.write("max_discharge_w", 4000)
    lab.write("grid_charge_enable", 1)
    assert lab.device.image.flash_writes == 2


def test_of_the_two_ac_limits_the_one_written_last_counts(install: Install) -> None:
    lab = install(pv_available_w=7000)
    lab.write("ac_limit_w", 3000)
    lab.run(8)
    assert lab.stage.ac_w == pytest.approx(3000, abs=2)
    assert lab.number("device_status") == 0x0201

    lab.write("ac_limit_pct", 50)
    lab.run(8)
    assert lab.stage.ac_w == pytest.approx(4000, abs=5)
    assert lab.number("ac_limit_w") == 3000  # reads back what was written there

    lab.write("ac_limit_w", 1000)
    lab.run(8)
    assert lab.stage.ac_w == pytest.approx(1000, abs=3)


def test_a_limit_stays_for_ever_unless_a_validity_is_set(install: Install) -> None:
    lab = install(pv_available_w=7000)
    lab.write("ac_limit_w", 2000)
    lab.run(120)
    assert lab.stage.ac_w == pytest.approx(2000, abs=1)

    lab.write("scheduling_validity_s", 5)
    lab.write("ac_limit_w", 2000)
    lab.run(4.5)
    assert lab.stage.ac_w == pytest.approx(2000, abs=1)
    lab.run(8)
    assert lab.stage.ac_w > 6500


def test_limits_are_echoed_but_ignored_while_scheduling_is_off(install: Install) -> None:
    lab = install(pv_available_w=7000)
    lab.write("scheduling_enable", 0)
    assert lab.write("ac_limit_w", 1000)[0] == 16
    lab.run(5)
    assert lab.number("ac_limit_w") == 1000
    assert lab.stage.ac_w > 6500


def test_silence_stops_the_inverter_only_when_told_to(install: Install) -> None:
    lab = install(pv_available_w=3000)
    lab.run(90)
    assert lab.stage.ac_w > 2800
    lab.write("silence_detection_s", 10)
    lab.write("stop_when_silent", 1)
    lab.run(11)
    assert lab.stage.ac_w == 0
    assert lab.device.status == 0x0303
    lab.read(32089)
    lab.run(2)
    assert lab.stage.ac_w > 2800


def test_a_forced_discharge_shows_in_registers_and_ends_by_its_duration(install: Install) -> None:
    lab = install()
    lab.force(2, 2000, minutes=1)
    lab.run(30)
    assert lab.stage.ac_w == pytest.approx(2000, abs=1)
    assert lab.number("ess_power_w") == pytest.approx(-lab.stage.battery_w, abs=1)
    assert lab.number("ess1_mode") == 1
    assert lab.number("ess1_forced_left_min") == 1
    assert lab.number("forced_signed_w") == -2000
    lab.run(40)
    assert lab.stage.battery_w == pytest.approx(0, abs=5)
    assert lab.number("forced_command") == 0
    assert lab.number("ess1_mode") == 4


def test_rewriting_the_command_prolongs_it(install: Install) -> None:
    lab = install()
    lab.force(2, 2000, minutes=1)
    for _ in range(4):
        lab.run(30)
        lab.write("forced_command", 2)
    assert lab.stage.ac_w == pytest.approx(2000, abs=1)


def test_an_unreliable_expiry_leaves_the_command_running(install: Install) -> None:
    lab = install(unreliable_expiry=True)
    lab.force(2, 2000, minutes=1)
    lab.run(120)
    assert lab.stage.ac_w == pytest.approx(2000, abs=1)
    lab.write("forced_command", 0)
    lab.run(5)
    assert lab.stage.battery_w == pytest.approx(0, abs=20)


def test_a_forced_charge_to_a_target_stops_there(install: Install) -> None:
    lab = install(soc_pct=50, pv_available_w=6000)
    lab.write("forced_charge_w", 5000)
    lab.write("forced_target_pct", 50.5)
    lab.write("forced_by", 1)
    lab.write("forced_command", 1)
    lab.run(60)
    assert lab.device.forced is Forced.NONE
    assert lab.stage.battery is not None
    assert lab.stage.battery.soc_pct == pytest.approx(50.5, abs=0.15)


def test_feed_in_modes_do_nothing_without_a_meter(install: Install) -> None:
    lab = install(pv_available_w=5000, load_w=500)
    assert lab.write("feed_in_mode", 5)[0] == 6
    lab.run(20)
    assert lab.grid.total_w < -4000
    assert lab.number("meter_status") == 0


def test_feed_in_modes_act_with_a_meter_of_its_own(install: Install) -> None:
    lab = install(soc_pct=None, pv_available_w=5000, load_w=500, own_meter=True)
    lab.write("feed_in_mode", 6)
    lab.write("feed_in_limit_w", 1000)
    lab.run(60)
    assert -lab.grid.total_w == pytest.approx(1000, abs=60)
    assert lab.number("meter_power_w") == pytest.approx(1000, abs=60)  # export is positive there


def test_with_a_meter_the_battery_holds_the_exchange_at_zero(install: Install) -> None:
    lab = install(pv_available_w=1000, load_w=3000, own_meter=True)
    lab.run(60)
    assert lab.grid.total_w == pytest.approx(0, abs=60)


def test_peak_shaving_needs_charging_from_the_grid(install: Install) -> None:
    lab = install()
    assert lab.write("capacity_control", 1) == b"\x86\x03"
    lab.write("grid_charge_enable", 1)
    assert lab.write("capacity_control", 1)[0] == 6


def test_a_reboot_loses_what_was_volatile_and_keeps_the_rest(install: Install) -> None:
    lab = install(pv_available_w=6000, start_s=5)
    lab.write("ac_limit_w", 1000)
    lab.write("max_charge_w", 3000)
    lab.force(2, 500, minutes=10)
    lab.run(5)
    lab.device.reboot(3.0)
    with pytest.raises(SilentError):
        lab.read(30000)
    lab.run(4)
    assert lab.device.status == 0x0100
    assert lab.stage.ac_w == 0
    lab.run(10)
    assert lab.stage.ac_w > 5500
    assert lab.number("forced_command") == 0
    assert lab.number("ac_limit_w") == 8000
    assert lab.number("max_charge_w") == 3000


def test_shut_down_and_power_on_are_orders_by_their_address(install: Install) -> None:
    lab = install(pv_available_w=3000, start_s=5)
    lab.run(1)
    lab.write("shut_down", 0)
    lab.run(1)
    assert (lab.stage.ac_w, lab.number("device_status")) == (0, 0x0301)
    lab.write("power_on", 0)
    lab.run(4)
    assert lab.stage.ac_w == 0
    lab.run(4)
    assert lab.stage.ac_w > 2800


def test_telemetry_refreshes_in_its_period_with_its_age_and_gain(install: Install) -> None:
    lab = install(pv_available_w=1000, telemetry_period_s=0.5, telemetry_age_s=0.3, gain_error=0.02)
    lab.run(2.02)
    seen_w = lab.number("active_power_w")
    assert seen_w == pytest.approx(1.02 * lab.stage.ac_w, abs=1)
    lab.pv_available_w = 4000
    lab.run(0.4)
    assert lab.number("active_power_w") == seen_w
    lab.run(0.6)
    assert lab.number("active_power_w") == pytest.approx(1.02 * lab.stage.ac_w, abs=1)


def test_an_absent_battery_reads_unavailable(install: Install) -> None:
    lab = install(soc_pct=None)
    lab.run(1)
    assert lab.read(37760) == b"\xff\xff"
    assert lab.read(37765, 2) == b"\x7f\xff\xff\xff"
    assert lab.read(37000) == b"\0\0"
    assert lab.read(47000) == b"\0\0"


def test_a_single_phase_model_shows_one_phase(install: Install) -> None:
    lab = install(phases=(0,), pv_available_w=2300)
    lab.run(2)
    assert lab.number("current_a_a") == pytest.approx(lab.stage.ac_w / 230, abs=0.1)
    assert lab.read(32070) == b"\xff\xff"


@pytest.mark.parametrize(
    ("alarm", "address", "bits"),
    [(2001, 32008, 1), (2064, 32009, 1 << 4), (2090, 32010, 1 << 10), (3001, 32009, 1 << 9)],
)
def test_alarms_show_as_bits_and_move_the_sequence(
    install: Install, alarm: int, address: int, bits: int
) -> None:
    lab = install()
    lab.run(1)
    before = lab.number("alarm_sequence")
    lab.device.raise_alarm(alarm)
    lab.run(1)
    assert int.from_bytes(lab.read(address), "big") == bits
    assert lab.number("alarm_sequence") == before + 1
    assert lab.number("ess1_fault_id") == (alarm if alarm >= 3000 else 0)
    lab.device.clear_alarm(alarm)
    lab.run(1)
    assert lab.read(address) == b"\0\0"


def test_ignored_setpoints_read_back_and_act_when_it_listens_again(install: Install) -> None:
    lab = install(pv_available_w=6000)
    lab.device.ignores_setpoints = True
    lab.write("ac_limit_w", 1000)
    lab.run(8)
    assert lab.number("ac_limit_w") == 1000
    assert lab.stage.ac_w > 5500
    lab.device.follow_again()
    lab.run(8)
    assert lab.stage.ac_w == pytest.approx(1000, abs=5)


def test_refused_writes_answer_their_code_and_change_nothing(install: Install) -> None:
    lab = install()
    lab.device.refuses_writes = 6
    assert lab.write("ac_limit_w", 1000) == b"\x90\x06"
    assert lab.number("ac_limit_w") == 8000


def test_energies_count_and_start_anew_with_the_day(install: Install) -> None:
    lab = install(pv_available_w=4000)
    lab.run(180)
    assert lab.number("yield_day_kwh") == pytest.approx(lab.stage.ac_w * 180 / 3.6e6, abs=0.01)
    lab.now_s += 13 * 3600  # past midnight
    lab.run(1)
    assert lab.number("yield_day_kwh") == 0
    assert lab.number("yield_total_kwh") > 0.15


def test_the_device_list_is_strict_key_value_text(install: Install) -> None:
    lab, other = install(), install()
    lab.device.behind = [other.device]
    got = lab.ask(0x2B, 0x0E, 0x03, 0x87)
    assert got[:7] == bytes((0x2B, 0x0E, 0x03, 0x83, 0x00, 0x00, 3))
    assert got[7:10] == bytes((0x87, 1, 2))
    text = got[12 : 12 + got[11]].decode("ascii")
    listed = dict(part.split("=") for part in text.split(";"))
    assert listed["1"] == "SUN2000-8KTL-M1"
    assert listed["5"] == "1"


def test_a_long_device_list_goes_over_several_pages(install: Install) -> None:
    lab = install()
    lab.device.behind = [install().device for _ in range(6)]
    texts, next_object = [], 0x87
    for _ in range(9):
        page = lab.ask(0x2B, 0x0E, 0x03, next_object)
        assert len(page) <= 253
        more, next_object, count = page[4], page[5], page[6]
        at = 7
        for _ in range(count):
            texts.append(page[at + 2 : at + 2 + page[at + 1]])
            at += 2 + page[at + 1]
        assert at == len(page)
        if not more:
            break
    assert texts[0] == b"\x07"
    assert len(texts) == 8


def test_basic_identification_names_vendor_and_product(install: Install) -> None:
    got = install().ask(0x2B, 0x0E, 0x01, 0x00)
    assert got[6] == 3
    assert b"Huawei" in got
    assert b"SUN2000" in got


OPENINGS = st.sampled_from([b"", b"\x03\x75\x30", b"\x06\xb7", b"\x10\x9c\xbe", b"\x2b\x0e\x03"])


@settings(max_examples=150, deadline=None)
@given(st.builds(bytes.__add__, OPENINGS, st.binary(max_size=250)))
def test_any_bytes_are_answered_or_refused_within_the_limits_of_a_pdu(pdu: bytes) -> None:
    stage = PowerStage(StageSpec(5000.0), None)
    device = Sun2000(Identity("SUN2000", "1", 1), Manners(), stage, lambda: datetime.now(UTC))
    answered = answer(device, pdu)
    assert 2 <= len(answered) <= 253
    assert answered[0] & 0x7F == (pdu[0] & 0x7F if pdu else 0)
