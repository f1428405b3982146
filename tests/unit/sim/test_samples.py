"""The sample stream, decoded from its bytes as a meter would."""

import asyncio
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.samples import SampleStream
from sim.waveform import GridSystem, Sensors, Waveform

POWER_W, REACTIVE_VAR = (1200.0, -2500.0, 340.0), (150.0, -80.0, 20.0)
CT_RATIO = 2000
USUAL = Sensors()
SYSTEMS = {
    GridSystem.SINGLE_PHASE: ((1200.0, 0.0, 0.0), (150.0, 0.0, 0.0)),
    GridSystem.THREE_WIRE: (POWER_W, REACTIVE_VAR),
    GridSystem.FOUR_WIRE: (POWER_W, REACTIVE_VAR),
}


def sampled(
    system: GridSystem = GridSystem.FOUR_WIRE,
    sensors: Sensors = USUAL,
    seconds: float = 4.0,
    power_w: Sequence[float] = POWER_W,
    reactive_var: Sequence[float] = REACTIVE_VAR,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Volts and secondary amperes, shape (samples, channels) each, after a settled start."""
    waveform = Waveform(system, sensors, seed=3)
    blocks = [waveform.block(power_w, reactive_var) for _ in range(round(seconds / 0.02) + 5)]
    physical = np.concatenate(blocks[5:]) * np.array(list(waveform.scales.values()))
    voltages = sum(name[0] == "u" for name in system.channels)
    return physical[:, :voltages], physical[:, voltages:]


def active_power_w(volts: NDArray[np.float64], amps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hann-weighted, so that ends that are no whole cycles do not matter."""
    weights = np.hanning(len(volts))[:, None]
    mean_w: NDArray[np.float64] = (weights * volts * amps).sum(0) / weights.sum() * CT_RATIO
    return mean_w


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_power_of_the_house_is_in_the_samples(system: GridSystem) -> None:
    power_w, reactive_var = SYSTEMS[system]
    quiet = Sensors(noise=0)
    volts, amps = sampled(system, quiet, power_w=power_w, reactive_var=reactive_var)
    measured_w = active_power_w(volts, amps).sum()
    assert measured_w == pytest.approx(sum(power_w), rel=1e-3)


def test_each_phase_of_a_four_wire_house_is_right_with_noise() -> None:
    volts, amps = sampled(seconds=20)
    assert active_power_w(volts, amps) == pytest.approx(POWER_W, rel=1e-3)


def test_voltages_are_nominal_and_in_sequence() -> None:
    volts, _ = sampled()
    rms_v = np.sqrt((volts**2).mean(0))
    assert rms_v == pytest.approx([230.0] * 3, rel=2e-3)
    # L2 follows a third of a cycle (53 samples of 160) after L1
    lag = np.argmax(np.correlate(volts[:800, 1], volts[:160, 0], "valid")[:160])
    assert lag == pytest.approx(160 / 3, abs=1)


@pytest.mark.parametrize(
    ("sensors", "expected_w"),
    [
        pytest.param(Sensors(ratio_error_pct=1.0), [1212, -2525, 343.4], id="ratio one per cent"),
        pytest.param(
            Sensors(reversed_phases=frozenset({1})), [1200, 2500, 340], id="L2 the wrong way round"
        ),
        pytest.param(Sensors(primary_a=200.0), [600, -1250, 170], id="a bigger transformer"),
    ],
)
def test_transformers_show(sensors: Sensors, expected_w: list[float]) -> None:
    volts, amps = sampled(sensors=sensors)
    assert active_power_w(volts, amps) == pytest.approx(expected_w, rel=2e-3)


def test_swapped_transformers_mix_the_phases() -> None:
    volts, amps = sampled(sensors=Sensors(order=(1, 0, 2)), reactive_var=(0, 0, 0))
    expected_w = [-2500 * math.cos(2 * math.pi / 3), 1200 * math.cos(2 * math.pi / 3), 340]
    assert active_power_w(volts, amps) == pytest.approx(expected_w, rel=2e-3)


def test_a_leading_transformer_shifts_power_by_reactive_power() -> None:
    """A lead of d makes P cos d + Q sin d out of P and Q."""
    lead = math.radians(1)
    sensors = Sensors(phase_error_min=60)
    volts, amps = sampled(sensors=sensors, power_w=(1000, 0, 0), reactive_var=(1732, 0, 0))
    expected_w = 1000 * math.cos(lead) + 1732 * math.sin(lead)
    assert active_power_w(volts, amps)[0] == pytest.approx(expected_w, rel=1e-3)


def test_the_wave_runs_on_without_a_jump_between_blocks() -> None:
    waveform = Waveform(GridSystem.FOUR_WIRE, Sensors(noise=0))
    volts = np.concatenate([waveform.block(POWER_W, REACTIVE_VAR)[:, 0] for _ in range(120)])
    steps = np.abs(np.diff(volts.astype(float)))
    at_seams = steps[159::160]
    inside = steps[np.arange(len(steps)) % 160 != 159]
    assert at_seams.max() <= inside.max() * 1.02


def test_a_load_step_ramps_within_one_block() -> None:
    waveform = Waveform(GridSystem.SINGLE_PHASE, Sensors(noise=0))
    waveform.block((0, 0, 0), (0, 0, 0))
    rising = waveform.block((2000, 0, 0), (0, 0, 0))[:, 1]
    full = waveform.block((2000, 0, 0), (0, 0, 0))[:, 1]
    assert abs(rising[0]) < 0.05 * np.abs(full).max()
    assert np.abs(rising[-80:]).max() > 0.6 * np.abs(full).max()


def test_the_frequency_wanders_inside_its_band() -> None:
    waveform = Waveform(GridSystem.SINGLE_PHASE, Sensors())
    seen = set()
    for _ in range(50 * 120):
        waveform.block((0, 0, 0), (0, 0, 0))
        seen.add(waveform.frequency_hz)
    assert 49.98 <= min(seen) < 49.99
    assert 50.01 < max(seen) <= 50.02


@pytest.mark.parametrize(("bits", "dtype"), [(12, "<i2"), (16, "<i2"), (24, "<i4")])
def test_the_converter_saturates_and_never_wraps(bits: int, dtype: str) -> None:
    waveform = Waveform(GridSystem.SINGLE_PHASE, Sensors(bits=bits))
    assert waveform.dtype.str == dtype
    blocks = [waveform.block((60_000, 0, 0), (0, 0, 0)) for _ in range(3)]
    assert blocks[-1][:, 1].max() == 2 ** (bits - 1) - 1
    assert blocks[-1][:, 1].min() == -(2 ** (bits - 1))


async def test_the_stream_has_a_header_and_gapless_blocks() -> None:
    stream = SampleStream(Waveform(GridSystem.FOUR_WIRE, Sensors()))
    await stream.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", stream.port)
    head = json.loads(await reader.readline())
    assert head["stream"] == "hemma-samples"
    assert (head["version"], head["fs_hz"], head["block_samples"]) == (1, 8000, 160)
    assert [c["name"] for c in head["channels"]] == ["u1", "u2", "u3", "i1", "i2", "i3"]
    assert {c["unit"] for c in head["channels"][:3]} == {"V"}

    for _ in range(50):
        stream.send(POWER_W, REACTIVE_VAR)
    indices, samples = [], []
    for _ in range(50):
        raw = await asyncio.wait_for(reader.readexactly(8 + 160 * 6 * 2), 1)
        indices.append(int.from_bytes(raw[:8], "little"))
        samples.append(np.frombuffer(raw[8:], head["dtype"]).reshape(160, 6))
    assert np.diff(indices).tolist() == [160] * 49
    scales = np.array([c["scale"] for c in head["channels"]])
    physical = np.concatenate(samples[2:]) * scales
    assert active_power_w(physical[:, :3], physical[:, 3:]) == pytest.approx(POWER_W, rel=2e-3)
    writer.close()
    await stream.stop()


@pytest.mark.parametrize(
    ("switch", "blocks"),
    [
        pytest.param("silent", 0, id="silent"),
        pytest.param("frozen", 5, id="the same samples again"),
    ],
)
async def test_a_frozen_stream_is(switch: str, blocks: int) -> None:
    stream = SampleStream(Waveform(GridSystem.SINGLE_PHASE, Sensors()))
    await stream.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", stream.port)
    await reader.readline()
    send: Callable[[], None] = lambda: stream.send((500, 0, 0), (0, 0, 0))  # noqa: E731 - three uses
    send()
    first = await reader.readexactly(8 + 640)
    setattr(stream, switch, True)
    for _ in range(5):
        send()
    seen = [await reader.readexactly(8 + 640) for _ in range(blocks)]
    assert all(block[8:] == first[8:] for block in seen)
    setattr(stream, switch, False)
    send()
    last = await reader.readexactly(8 + 640)
    assert int.from_bytes(last[:8], "little") == 6 * 160  # the index tells of what was missed
    writer.close()
    await stream.stop()
