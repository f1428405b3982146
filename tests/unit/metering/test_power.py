"""The arithmetic against signals whose truth is known; limits are those a class 1 meter needs."""

import math

import numpy as np
import pytest

from services.metering.power import HOP_S, WindowBuffer, WindowKernel
from tests.unit.metering.signals import FS_HZ, KERNEL, Truth, phasor, power, sine, sums, waveform


def random_pair(random: np.random.Generator) -> tuple[Truth, Truth]:
    """A voltage and a current with harmonics up to the 40th and direct offsets."""
    angle, lag = random.uniform(0, 360), random.choice([0, 60, -36.87, 180, 90])
    volts = {1: phasor(230, angle)}
    amps = {1: phasor(10, angle - lag)}
    for order in random.choice(np.arange(2, 41), 12, replace=False).tolist():
        volts[order] = phasor(7 / order * random.random(), random.uniform(0, 360))
        amps[order] = phasor((3 if order % 2 else 1) / order, random.uniform(0, 360))
    return Truth(volts, random.uniform(-2, 2)), Truth(amps, random.uniform(-0.1, 0.1))


@pytest.mark.parametrize(
    ("low_hz", "high_hz"),
    [pytest.param(49.5, 50.5, id="a grid as it is"), pytest.param(45, 65, id="the whole range")],
)
def test_one_window_is_right_whatever_the_signal(low_hz: float, high_hz: float) -> None:
    random = np.random.default_rng(20)
    for seed in range(200):
        volts, amps = random_pair(random)
        hz = random.uniform(low_hz, high_hz)
        drift = random.uniform(-0.2, 0.2)
        window = waveform([volts, amps], hz, drift_hz_s=drift, noise=1e-4, seed=seed)
        found = KERNEL.sums(window, 1, 20.0)
        truth, apparent = power(volts, amps), volts.rms * amps.rms
        reactive = (found.phasors[0] * found.phasors[1].conjugate()).imag

        least = max(abs(truth.real), 0.4 * apparent)  # at power factor 0 a per cent has no meaning
        assert abs(found.products[0][1] - truth.real) < 2e-4 * least
        assert math.isclose(math.sqrt(found.products[0][0]), volts.rms, rel_tol=1e-4)
        assert math.isclose(math.sqrt(found.products[1][1]), amps.rms, rel_tol=1e-4)
        assert found.frequency_hz == pytest.approx(hz, abs=1e-3)
        assert abs(reactive - truth.imag) < 1e-4 * apparent


@pytest.mark.parametrize("hz", [45, 47.3, 50, 55, 57.5, 60, 65])
def test_any_mains_frequency_is_found_and_does_no_harm(hz: float) -> None:
    found = sums([sine(230, 17)], [sine(5, -43)], hz)

    assert found.frequency_hz == pytest.approx(hz, abs=1e-4)
    assert found.products[0][1] == pytest.approx(230 * 5 * math.cos(math.radians(60)), rel=2e-5)
    assert found.phasors[1] == pytest.approx(phasor(5, -43), rel=1e-5)


def test_a_jump_from_50_to_60_hz_is_followed_at_once() -> None:
    kernel = WindowKernel(FS_HZ)
    found = [
        kernel.sums(waveform([sine(230)], hz), 1, 20.0).frequency_hz
        for hz in (50, 60.2, 45.1, 50, 65, 50)
    ]

    assert found == pytest.approx([50, 60.2, 45.1, 50, 65, 50], abs=1e-4)


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param([Truth({1: 0j}), sine(5)], id="no voltage"),
        pytest.param([Truth({1: 0j}, dc=300.0), sine(5)], id="direct voltage"),
        pytest.param([Truth({1: 0j, 7: phasor(230)}), sine(5)], id="350 Hz only"),
    ],
)
def test_without_mains_there_is_no_frequency_rather_than_a_wrong_one(
    channels: list[Truth],
) -> None:
    found = KERNEL.sums(waveform(channels, 50), 1, 20.0)

    assert found.frequency_hz is None
    assert found.phasors == [0, 0]


def test_the_frequency_comes_from_whichever_phase_still_has_voltage() -> None:
    found = sums([Truth({1: 0j}), sine(3, -120), sine(229, 120)], [sine(1)], 50.02)

    assert found.frequency_hz == pytest.approx(50.02, abs=1e-4)


def currents_of_trouble(time_s: np.ndarray) -> dict[str, np.ndarray]:
    wave = np.sqrt(2) * 10 * np.cos(2 * np.pi * 50.13 * time_s - 0.3)
    return {
        "half-wave rectified": np.maximum(wave, 0),
        "5 Hz sub-harmonic": wave + 5 * np.cos(2 * np.pi * 5 * time_s),
        "bursts of 100 ms": wave * (np.floor(time_s / 0.1) % 2),
        "bursts of 130 ms": wave * (np.floor(time_s / 0.13) % 2),
        "direct offset": wave + 1.9,
    }


@pytest.mark.parametrize("kind", sorted(currents_of_trouble(np.zeros(1))))
def test_energy_is_exact_for_currents_that_no_window_fits(kind: str) -> None:
    time_s = np.arange(round(8 * FS_HZ)) / FS_HZ
    volts = np.sqrt(2) * 230 * np.cos(2 * np.pi * 50.13 * time_s)
    amps = currents_of_trouble(time_s)[kind]
    hop = KERNEL.hop_samples
    windows = [np.array([volts, amps])[:, n : n + 2 * hop] for n in range(0, len(volts) - hop, hop)]
    counted_ws = sum(KERNEL.sums(window, 1, 20).products[0][1] * HOP_S for window in windows)

    # The first and the last half window count by half, as the weights of all windows add up.
    inner = slice(hop // 2, len(volts) - hop // 2)
    true_ws = float((volts[inner] * (amps[inner] - amps.mean())).sum()) / FS_HZ
    assert counted_ws == pytest.approx(true_ws, rel=1e-3)


def test_energy_of_a_minute_off_nominal_frequency_loses_nothing() -> None:
    seconds, hz = 60, 49.63
    rows = waveform([sine(230, 33), sine(10, 3)], hz, seconds)
    hop = KERNEL.hop_samples
    counted_ws = sum(
        KERNEL.sums(rows[:, n : n + 2 * hop], 1, 20).products[0][1] * HOP_S
        for n in range(0, rows.shape[1] - hop, hop)
    )

    true_ws = 2300 * math.cos(math.radians(30)) * (seconds - HOP_S)
    assert counted_ws == pytest.approx(true_ws, rel=1e-6)


def test_windows_are_the_same_however_the_samples_arrive() -> None:
    random = np.random.default_rng(3)
    counts = random.integers(-3000, 3000, (8000, 3)).astype("<i2")

    def windows(sizes: list[int]) -> list[np.ndarray]:
        buffer = WindowBuffer(KERNEL, [2, 0], [0.5, 0.25])
        made, at = [], 0
        for size in sizes:
            end = at + size
            while at < end:
                step = min(buffer.room, end - at)
                window = buffer.put(counts[at : at + step])
                at += step
                if window is not None:
                    made.append(window.copy())
        return made

    whole = windows([8000])
    pieces = windows([*random.integers(1, 900, 12).tolist(), 500])

    assert len(whole) == 9
    assert np.array_equal(whole[0][0], counts[:1600, 2] * 0.5)
    assert np.array_equal(whole[1][1], counts[800:2400, 0] * 0.25)
    for one, other in zip(whole, pieces, strict=False):
        assert np.array_equal(one, other)


def test_a_rate_without_whole_hops_is_refused() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        WindowKernel(8001)
