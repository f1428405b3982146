"""Register tables of Modbus meters: figures come out in our units and signs."""

import struct

import pytest

from bus.metering import GridSystem, Phase
from runtime.clock import FakeClock
from services.metering import readings
from services.metering.meters import DTSU666_H, FAST, MODELS, SDM630, SLOW, MeterModel


def words(rows: dict[int, float]) -> dict[int, int]:
    """Registers by address, each figure a big-endian 32 bit float."""
    registers: dict[int, int] = {}
    for address, figure in rows.items():
        high, low = struct.unpack(">2H", struct.pack(">f", figure))
        registers |= {address: high, address + 1: low}
    return registers


SDM630_ANSWER = {
    0x00: 230.1,
    0x02: 231.2,
    0x04: 229.3,
    0x06: 5.0,
    0x08: 2.5,
    0x0A: 1.25,
    0x0C: 1150.5,
    0x0E: -578.0,
    0x10: 0.0,
    0x34: 572.5,
    0x3C: -33.0,
    0x3E: 0.99,
    0x46: 50.01,
    0x48: 1234.5,
    0x4A: 67.25,
}
DTSU666_ANSWER = {
    2110: 230.1,
    2112: 231.2,
    2114: 229.3,
    2102: 5.0,
    2104: 2.5,
    2106: 1.25,
    2128: 1150.5,
    2130: -578.0,
    2132: 0.0,
    2126: 572.5,
    2134: -33.0,
    2150: 0.99,
    2124: 50.01,
    2166: 1234.5,
    2174: 67.25,
}


def figures(model: MeterModel, answer: dict[int, float]) -> dict[str, float | None]:
    registers = words(answer)
    rows = model.table.groups[FAST] + model.table.groups[SLOW]
    return {
        name: figure
        for name, figure in model.table.decode(rows, registers).items()
        if not isinstance(figure, str)
    }


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        pytest.param(SDM630, SDM630_ANSWER, id="SDM630"),
        pytest.param(DTSU666_H, DTSU666_ANSWER, id="DTSU666-H"),
    ],
)
def test_a_meter_reads_in_watts_and_watt_hours(model: MeterModel, answer: dict[int, float]) -> None:
    read = figures(model, answer)

    assert read == pytest.approx(
        {
            "voltage_l1_v": 230.1,
            "voltage_l2_v": 231.2,
            "voltage_l3_v": 229.3,
            "current_l1_a": 5.0,
            "current_l2_a": 2.5,
            "current_l3_a": 1.25,
            "power_l1_w": 1150.5,
            "power_l2_w": -578.0,
            "power_l3_w": 0.0,
            "grid_power_w": 572.5,
            "reactive_power_var": -33.0,
            "power_factor": 0.99,
            "frequency_hz": 50.01,
            "import_energy_wh": 1_234_500.0,
            "export_energy_wh": 67_250.0,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_all_of_a_meter_fits_its_largest_answer_in_few_blocks(model: MeterModel) -> None:
    for group in (FAST, SLOW):
        rows = model.table.groups[group]
        assert all(row.count == 2 and row.type == "F32" for row in rows)
    span = [row.address for row in model.table.groups[FAST]]
    assert max(span) + 2 - min(span) <= 2 * model.max_registers


def test_what_a_meter_does_not_tell_stays_unknown() -> None:
    read = figures(SDM630, SDM630_ANSWER | {0x46: float("nan"), 0x3E: float("inf")})
    clock = FakeClock()

    said = readings.from_meter(
        read,
        GridSystem.THREE_PHASE_FOUR_WIRE,
        sequence=1,
        measured_at=clock.now(),
        window_s=SDM630.window_s,
    )

    assert said.frequency_hz is None
    assert said.power_factor is None
    assert said.apparent_power_va is None
    assert said.grid_power_w == 572.5
    assert [one.active_power_w for one in said.phases] == [1150.5, -578.0, 0.0]


def test_a_three_wire_meter_has_no_phase_powers() -> None:
    said = readings.from_meter(
        figures(SDM630, SDM630_ANSWER),
        GridSystem.THREE_PHASE_THREE_WIRE,
        sequence=1,
        measured_at=FakeClock().now(),
        window_s=1.0,
    )

    assert [one.active_power_w for one in said.phases] == [None] * 3
    assert [one.phase for one in said.phases] == list(Phase)


@pytest.mark.parametrize("power_w", [None, float("nan"), 2e6], ids=["missing", "NaN", "2 MW"])
def test_a_power_beyond_belief_is_not_a_reading(power_w: float | None) -> None:
    read = figures(SDM630, SDM630_ANSWER) | {"grid_power_w": power_w}

    with pytest.raises(ValueError, match="grid_power_w"):
        readings.from_meter(
            read,
            GridSystem.SINGLE_PHASE,
            sequence=1,
            measured_at=FakeClock().now(),
            window_s=1.0,
        )
