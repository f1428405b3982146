"""Modbus meters show the grid connection point."""

import struct

import pytest

from sim.grid import Grid
from sim.meters import Meter
from sim.modbus import answer


def grid() -> Grid:
    at_point = Grid(231.0, 50.01)
    at_point.power_w, at_point.reactive_var = [1000.0, -2500.0, 300.0], [100.0, 0.0, 40.0]
    at_point.import_wh, at_point.export_wh = 12_345.0, 678.0
    return at_point


def floats(meter: Meter, function: int, address: int, count: int) -> tuple[float, ...]:
    asked = bytes((function, *address.to_bytes(2, "big"), 0, 2 * count))
    got = answer(meter, asked)
    assert got[0] == function, got.hex()
    return struct.unpack(f">{count}f", got[2:])


@pytest.mark.parametrize(
    ("model", "function", "address", "expected"),
    [
        pytest.param("SDM630", 4, 0x0C, (1000, -2500, 300), id="SDM630 P of each phase"),
        pytest.param("SDM630", 4, 0x34, (-1200,), id="SDM630 P"),
        pytest.param("SDM630", 4, 0x46, (50.01, 12.345, 0.678), id="SDM630 f and energies"),
        pytest.param("DTSU666-H", 3, 2126, (-1200, 1000, -2500, 300), id="DTSU666-H P"),
        pytest.param("DTSU666-H", 3, 2110, (231, 231, 231), id="DTSU666-H U"),
        pytest.param("DTSU666-H", 3, 2166, (12.345,), id="DTSU666-H import"),
        pytest.param("DTSU666-H", 3, 2174, (0.678,), id="DTSU666-H export"),
    ],
)
def test_a_meter_shows(
    model: str, function: int, address: int, expected: tuple[float, ...]
) -> None:
    meter = Meter(model)
    meter.tick(1.0, grid())
    assert floats(meter, function, address, len(expected)) == pytest.approx(expected)


def test_a_whole_cycle_of_an_inverter_reading_its_meter_is_answered() -> None:
    meter = Meter("DTSU666-H")
    meter.tick(1.0, grid())
    assert answer(meter, bytes((3, *(2001).to_bytes(2, "big"), 0, 1)))[2:] != b"\0\0"
    assert len(answer(meter, bytes((3, *(2102).to_bytes(2, "big"), 0, 80)))) == 162
    assert len(answer(meter, bytes((3, *(2214).to_bytes(2, "big"), 0, 10)))) == 22


def test_an_inverted_meter_counts_export_as_positive() -> None:
    meter = Meter("DTSU666-H", inverted=True)
    meter.tick(1.0, grid())
    assert floats(meter, 3, 2126, 1) == (1200.0,)
    assert floats(meter, 3, 2166, 1) == pytest.approx((0.678,))


@pytest.mark.parametrize(
    ("pdu", "answered"),
    [("0300000002", "8301"), ("0600000001", "8602"), ("2b0e0100", "ab01"), ("0410000002", "8402")],
    ids=["wrong function", "write", "identification", "far away"],
)
def test_what_a_meter_does_not_do(pdu: str, answered: str) -> None:
    assert answer(Meter("SDM630"), bytes.fromhex(pdu)).hex() == answered


def test_between_two_measurements_the_reading_stands_still() -> None:
    meter, at_point = Meter("SDM630", period_s=0.5), grid()
    meter.tick(0.0, at_point)
    at_point.power_w = [0.0, 0.0, 0.0]
    meter.tick(0.4, at_point)
    assert floats(meter, 4, 0x34, 1) == (-1200.0,)
    meter.tick(0.5, at_point)
    assert floats(meter, 4, 0x34, 1) == (0.0,)
