"""The SUN2000's table: checked against the simulated device, which has one of its own."""

from fractions import Fraction

import pytest

from runtime.modbus.planner import LineModel, plan_reads
from services.inverters.drivers.modbus import active_alarms
from services.inverters.drivers.profile import load_alarms
from services.inverters.drivers.sun2000 import SUN2000
from sim.sun2000 import REGISTERS

KINDS = {"U16": "u16", "I16": "i16", "U32": "u32", "I32": "i32", "BITS16": "u16", "BITS32": "u32"}


@pytest.mark.parametrize("name", sorted(SUN2000.table))
def test_the_device_has_every_register_where_the_table_says(name: str) -> None:
    row = SUN2000.table[name]
    cell = next(cell for cell in REGISTERS.by_name.values() if cell.address == row.address)
    assert cell.width == row.count
    if row.type != "STR":
        assert cell.kind == KINDS[row.type]
        per_unit = 1000 if cell.name.endswith("_kwh") else 1
        assert Fraction(row.gain) * per_unit == Fraction(cell.gain)


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("battery_power_w", (0, 1500), -1500),  # the device counts charging > 0
        ("battery_power_w", (0xFFFF, 0xFC18), 1000),
        ("ac_power_w", (0xFFFF, 0xFF9C), -100),
        ("ac_power_w", (0x7FFF, 0xFFFF), None),
        ("soc_pct", (0xFFFF,), None),
        ("soc_pct", (985,), 98.5),
        ("yield_energy_wh", (0, 1234), 12340),
        ("alarm_1", (0xFFFF,), 0xFFFF),
        ("temperature_degc", (0xFFCE,), -5.0),
        ("temperature_degc", (0x7FFF,), None),
    ],
)
def test_signs_gains_and_unavailable(
    name: str, words: tuple[int, ...], expected: float | None
) -> None:
    assert SUN2000.table[name].decode(words) == expected


def test_what_the_fast_path_writes_is_not_kept_in_flash() -> None:
    for name in SUN2000.actuators:
        assert SUN2000.table[name].cyclic, name
        assert SUN2000.table[name].access == "RW", name
    kept = SUN2000.table.groups["kept"]
    assert {row.name for row in kept} >= {"reserve_soc_pct", "charge_from_grid", "charge_bound_w"}
    assert not any(row.cyclic for row in kept)


def test_registers_that_actuators_name_exist() -> None:
    battery, limit = SUN2000.battery, SUN2000.ac_limit
    assert battery is not None
    assert limit is not None
    named = {limit.register, battery.command, battery.charge_power, battery.discharge_power}
    assert named | set(battery.settings) == set(SUN2000.actuators)
    assert set(battery.on_reissue) <= set(battery.settings)


@pytest.mark.parametrize("baud", [9600, 19200, 115200])
def test_a_fast_poll_takes_two_transactions(baud: int) -> None:
    spans = [(row.address, row.end) for row in SUN2000.table.groups["fast"]]
    line = LineModel(10 / baud, 0.002, 0.02)
    plan = plan_reads(spans, line, max_registers=SUN2000.max_registers)
    assert plan == [(32064, 32082), (37760, 37767)]


def test_alarms_are_found_by_their_bits_and_by_their_number() -> None:
    read = {"alarm_1": 1 << 7 | 1, "alarm_2": 0, "alarm_3": None, "battery_fault_id": 3002}
    assert active_alarms(SUN2000.alarms, read) == (
        "2001 String input voltage too high",
        "2032 Grid lost",
        "3002 Power control module over-temperature",
    )


def test_no_alarm_is_listed_twice() -> None:
    alarms = load_alarms("sun2000_alarms.csv")
    places = [(alarm.register, alarm.bit or alarm.number) for alarm in alarms]
    assert len(set(places)) == len(places)
    assert {alarm.severity for alarm in alarms} == {"major", "minor", "warning"}
    assert all(alarm.register in SUN2000.table for alarm in alarms)
