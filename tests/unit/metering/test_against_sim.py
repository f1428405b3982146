"""The simulated house's samples, which share no code with ours, mean to us what they mean there."""

import pytest

from bus.metering import GridSystem
from services.metering.ct import external_ct
from services.metering.pipeline import SamplePipeline
from services.metering.samples import Block, StreamHeader, StreamParser
from services.metering.systems import Measurement, Metrology
from sim import samples, waveform

POWERS_W = (1840.0, -920.0, 460.0)
REACTIVE_VAR = (230.0, 0.0, -115.0)


def metered(
    theirs: waveform.GridSystem, ours: GridSystem, sensors: waveform.Sensors
) -> Measurement:
    """Two seconds of the house through the stream's bytes; the last window."""
    wave = waveform.Waveform(theirs, sensors, seed=3)
    parser, pipeline, found = StreamParser(), None, None
    meter = Metrology(ours, external_ct(sensors.primary_a), 230.0)
    sent = samples.header(wave) + b"".join(
        (160 * n).to_bytes(8, "little") + wave.block(POWERS_W, REACTIVE_VAR).tobytes()
        for n in range(100)
    )
    for part in parser.feed(sent):
        if isinstance(part, StreamHeader):
            pipeline = SamplePipeline(part, meter)
        elif isinstance(part, Block) and pipeline is not None:
            for result in pipeline.take(part, part.end_sample / 8000):
                found = result.measurement
    assert found is not None
    return found


@pytest.mark.parametrize("primary_a", [100.0, 200.0])
def test_a_four_wire_house(primary_a: float) -> None:
    sensors = waveform.Sensors(primary_a=primary_a)

    found = metered(waveform.GridSystem.FOUR_WIRE, GridSystem.THREE_PHASE_FOUR_WIRE, sensors)

    assert found.phase_powers_w == pytest.approx(POWERS_W, rel=1e-3)
    assert found.active_power_w == pytest.approx(sum(POWERS_W), rel=1e-3)
    assert found.reactive_power_var == pytest.approx(sum(REACTIVE_VAR), abs=2)
    assert found.frequency_hz == pytest.approx(50, abs=0.03)


def test_a_three_wire_house() -> None:
    found = metered(
        waveform.GridSystem.THREE_WIRE, GridSystem.THREE_PHASE_THREE_WIRE, waveform.Sensors()
    )

    assert found.active_power_w == pytest.approx(sum(POWERS_W), rel=2e-3)


def test_a_single_phase_house() -> None:
    found = metered(waveform.GridSystem.SINGLE_PHASE, GridSystem.SINGLE_PHASE, waveform.Sensors())

    assert found.active_power_w == pytest.approx(POWERS_W[0], rel=1e-3)


def test_the_worst_permitted_transformer_reads_as_the_standard_allows() -> None:
    sensors = waveform.Sensors(ratio_error_pct=0.2, phase_error_min=15)

    found = metered(waveform.GridSystem.FOUR_WIRE, GridSystem.THREE_PHASE_FOUR_WIRE, sensors)

    assert found.phase_powers_w[0] == pytest.approx(POWERS_W[0], rel=0.005)
    assert found.phase_powers_w[0] > POWERS_W[0] * 1.002
