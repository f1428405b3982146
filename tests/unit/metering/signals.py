"""Signals whose truth is known from their making."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.metering.power import WindowKernel, WindowSums

FS_HZ = 8000
KERNEL = WindowKernel(FS_HZ)
Wave = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """One channel: RMS phasors by order of harmonic."""

    lines: dict[int, complex]
    dc: float = 0.0

    @property
    def rms(self) -> float:
        return math.sqrt(sum(abs(line) ** 2 for line in self.lines.values()))


def phasor(size: float, degrees: float = 0.0) -> complex:
    return complex(size * np.exp(1j * np.radians(degrees)))


def sine(size: float, degrees: float = 0.0) -> Truth:
    return Truth({1: phasor(size, degrees)})


def waveform(
    channels: Sequence[Truth],
    hz: float,
    seconds: float = 0.2,
    *,
    drift_hz_s: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Wave:
    """Samples of all channels, shape (channels, samples); the phasors hold in the middle."""
    count = round(seconds * FS_HZ)
    time_s = (np.arange(count) - count // 2) / FS_HZ
    turn = np.exp(2j * np.pi * (hz * time_s + drift_hz_s * time_s**2 / 2))
    random = np.random.default_rng(seed)
    rows = np.array([np.full(count, truth.dc) for truth in channels])
    order_turn = np.ones_like(turn)
    for order in range(1, max(max(truth.lines) for truth in channels) + 1):
        order_turn = order_turn * turn
        for n, truth in enumerate(channels):
            if order in truth.lines:
                rows[n] += math.sqrt(2) * (truth.lines[order] * order_turn).real
    sizes = np.array([truth.rms for truth in channels])
    return rows + noise * sizes[:, None] * random.standard_normal(rows.shape)


def power(voltage: Truth, current: Truth) -> complex:
    """Active power of all harmonics + j reactive power of the fundamental."""
    active = sum(
        (line * current.lines[order].conjugate()).real
        for order, line in voltage.lines.items()
        if order in current.lines
    )
    return complex(active, (voltage.lines[1] * current.lines[1].conjugate()).imag)


def sums(
    voltages: Sequence[Truth], currents: Sequence[Truth], hz: float = 50.0, noise: float = 0.0
) -> WindowSums:
    """One window of these channels, analysed."""
    window = waveform([*voltages, *currents], hz, noise=noise)
    return KERNEL.sums(window, len(voltages), 20.0)
