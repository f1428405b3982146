"""From one window of samples to sums and phasors: the arithmetic, before any calibration.

A window is 200 ms long under a Hann weight and moves on by 100 ms. That weight lets no ripple of a
mains frequency through that does not fit the window, and at half overlap it weighs every sample the
same in the sum of all windows, so energy has neither gaps nor doubles. Every sum is one product of
matrices; Python touches only the few numbers that come out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

HOP_S = 0.1
"""How far a window moves on: its energy counts for this long."""
WINDOW_S = 0.2
"""Length of a window: 10 periods of 50 Hz, 12 of 60 Hz (IEC 61000-4-30)."""
MAINS_HZ = (45.0, 65.0)
"""Frequencies at which the figures hold."""

_BIN_HZ = 1 / WINDOW_S
_LEAST_LINE = 0.3
"""Of a voltage's RMS, seen in the nearest bin: a wave of the mains shows at least 0.6 there."""
_FIRST_BIN, _LAST_BIN = 8, 14
"""40 to 70 Hz: the mains range and a neighbour on either side, which the interpolation asks for."""


@dataclass(frozen=True, slots=True)
class WindowSums:
    """What one window says of its channels, in their own units, by row of the window."""

    products: list[list[float]]
    """Weighted mean of each product of two channels without their direct parts: squares of the RMS
    values on the diagonal, active powers beside it."""
    phasors: list[complex]
    """RMS phasors of the fundamental, angles at the middle of the window; 0 without a frequency."""
    frequency_hz: float | None
    """None: no voltage, or none with a mains frequency in it."""


class WindowKernel:
    """The precomputed part for one sampling rate."""

    def __init__(self, fs_hz: int) -> None:
        """Args: fs_hz: samples per second, a multiple of 10 so that a hop is whole samples.

        Raises:
            ValueError: The rate does not fit.
        """
        self.hop_samples, rest = divmod(fs_hz, round(1 / HOP_S))
        if rest or self.hop_samples < 1:
            raise ValueError(f"{fs_hz} samples/s do not divide into hops of {HOP_S} s")
        self.samples = 2 * self.hop_samples
        instants = (np.arange(self.samples) - self.hop_samples) / self.samples
        self._weights = (1 + np.cos(2 * np.pi * instants)) / self.samples
        waves = [
            self._weights * np.exp(-2j * np.pi * number * instants)
            for number in range(_FIRST_BIN, _LAST_BIN + 1)
        ]
        self._waves = np.array([part for wave in waves for part in (wave.real, wave.imag)])
        """Two rows a bin: what to correlate with for its real and imaginary part."""
        self._peak = 1
        """Where among the bins the mains was seen last; it hardly ever moves."""

    def sums(self, window: Samples, voltage_rows: int, least_voltage: float) -> WindowSums:
        """Analyse one window.

        Args:
            window: Shape (channels, samples), the voltages in the first rows.
            voltage_rows: How many of them are voltages.
            least_voltage: Below this RMS a voltage is too small to tell the frequency from.

        Source: weighted sums and the interpolated transform of a Hann window (Grandke 1983;
        IEEE 1459 for the powers).
        """
        products = (window * self._weights) @ window.T
        means = window @ self._weights
        products -= means[:, None] * means
        loudest = int(products.diagonal()[:voltage_rows].argmax())
        rms = math.sqrt(products[loudest, loudest])
        if rms < least_voltage:
            return WindowSums(products.tolist(), [0j] * len(window), None)
        lines = self._lines(window, self._peak)
        heights = np.abs(lines[loudest]).tolist()
        if heights[1] < max(*heights, _LEAST_LINE * rms):
            self._peak = self._find_peak(window[loudest])
            lines = self._lines(window, self._peak)
            heights = np.abs(lines[loudest]).tolist()
        below, at, above = heights
        if at < _LEAST_LINE * rms:
            return WindowSums(products.tolist(), [0j] * len(window), None)
        # Between the bins, exact for a pure wave under a Hann weight.
        position = _FIRST_BIN + self._peak + 2 * (above - below) / (below + 2 * at + above)
        nearest = round(position)
        # A real wave is seen through the window at its own and, faintly, at its mirrored frequency.
        seen, mirrored = _hann_response(position - nearest), _hann_response(position + nearest)
        line = lines[:, nearest - _FIRST_BIN - self._peak + 1]
        phasors = (seen * line - mirrored * line.conj()) * (math.sqrt(2) / (seen**2 - mirrored**2))
        # What the window lets through of the fundamental's ripple at twice the mains frequency.
        products -= (phasors[:, None] * phasors).real * _hann_response(2 * position)
        return WindowSums(products.tolist(), phasors.tolist(), position * _BIN_HZ)

    def _lines(self, window: Samples, peak: int) -> NDArray[np.complex128]:
        """Three neighbouring bins of every channel, shape (channels, 3)."""
        parts: Samples = window @ self._waves[2 * peak - 2 : 2 * peak + 4].T
        return parts.view(np.complex128)

    def _find_peak(self, voltage: Samples) -> int:
        heights = np.abs((self._waves @ voltage).view(np.complex128))
        return 1 + int(heights[1:-1].argmax())


class WindowBuffer:
    """Gathers blocks of counts into overlapping windows of scaled samples."""

    def __init__(self, kernel: WindowKernel, columns: list[int], scales: list[float]) -> None:
        """Args: columns: which columns of a block to take. scales: unit per count of each."""
        self._hop_samples = kernel.hop_samples
        self._columns = columns
        self._scales = np.array(scales)[:, None]
        self._window = np.zeros((len(columns), kernel.samples))
        self._filled = 0

    def clear(self) -> None:
        """Forget all samples: the next one does not follow the last."""
        self._filled = 0

    @property
    def room(self) -> int:
        """Samples that are missing to the end of the next window."""
        return (self._window.shape[1] - self._filled) or self._hop_samples

    def put(self, counts: NDArray[np.signedinteger]) -> Samples | None:
        """Take samples, at most as many as there is room for.

        Args:
            counts: Shape (samples, columns of the stream).

        Returns:
            The window when it is full: shape (channels, samples), good until the next call.
        """
        if self._filled == self._window.shape[1]:
            self._window[:, : self._hop_samples] = self._window[:, self._hop_samples :]
            self._filled = self._hop_samples
        end = self._filled + len(counts)
        chosen = counts[:, self._columns].T
        np.multiply(chosen, self._scales, out=self._window[:, self._filled : end])
        self._filled = end
        return self._window if end == self._window.shape[1] else None


def _hann_response(bins: float) -> float:
    """How much of a wave the window sees that lies so many bins away from where it looks."""
    if abs(bins) < 1e-9:  # noqa: PLR2004  the limit of sin(x) / x
        return 1.0
    return math.sin(math.pi * bins) / (math.pi * bins * (1 - bins * bins))
