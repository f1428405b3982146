"""Sampled voltages and currents of a grid connection, from the powers of each 20 ms step.

Phase-continuous: the mains angle runs on through frequency changes, current amplitudes go linearly
from one step's powers to the next one's. Voltages carry small odd harmonics, currents none, so the
active power over whole cycles is that of the house. The current transformer's ratio and phase
errors, its wiring, noise and the converter's steps come on top, as a meter would get them.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
BLOCK_SAMPLES = 160
BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ
FULL_SCALE_V = 452.0
"""Peak of the voltage converter from line to neutral."""
FULL_SCALE_CT = 1.7
"""Peak of the current converter, times the rated secondary current."""
HARMONICS = {1: 1.0, 3: 0.008, 5: 0.015, 7: 0.008}
"""Voltage harmonics by order, as share of the fundamental (EN 50160 allows 5, 6 and 5 %)."""
NOISE_COUNTS_16 = 0.7
"""RMS noise of a 16-bit converter, in its own steps."""
NOISE_BLOCKS = 64
FREQUENCY_WANDER_HZ, FREQUENCY_WANDER_S = 0.02, 60.0
WANDER_BLOCKS = 50
PHASE_ANGLES = tuple(-2 * math.pi * k / 3 for k in range(3))

Counts = NDArray[np.signedinteger[Any]]


class GridSystem(Enum):
    """How the house is connected, and so which channels there are."""

    SINGLE_PHASE = "single-phase"
    THREE_WIRE = "three-phase three-wire"
    FOUR_WIRE = "three-phase four-wire"

    @property
    def channels(self) -> tuple[str, ...]:
        """Names in the order of the stream."""
        match self:
            case GridSystem.SINGLE_PHASE:
                return ("u1", "i1")
            case GridSystem.THREE_WIRE:
                return ("u12", "u32", "i1", "i3")
            case GridSystem.FOUR_WIRE:
                return ("u1", "u2", "u3", "i1", "i2", "i3")


@dataclass(frozen=True, slots=True)
class Sensors:
    """Current transformers, their wiring and errors, and the converter."""

    primary_a: float = 100.0
    secondary_a: float = 0.05
    ratio_error_pct: float = 0.0
    """Secondary current too high by this much."""
    phase_error_min: float = 0.0
    """Minutes of arc by which the secondary current leads."""
    reversed_phases: frozenset[int] = frozenset()
    """Phases (0..2) whose transformer sits the wrong way round."""
    order: tuple[int, ...] = (0, 1, 2)
    """Phase whose current arrives at i1, i2, i3."""
    bits: int = 16
    noise: float = 1.0
    """Times the usual converter noise."""


class Waveform:
    """Blocks of samples, one after the other.

    Args:
        system: Wiring of the connection.
        sensors: What is between the wires and the numbers.
        voltage_v: Line-to-neutral voltage.
        frequency_hz: Nominal frequency.
        seed: Of noise and frequency wander.
    """

    def __init__(
        self,
        system: GridSystem,
        sensors: Sensors,
        *,
        voltage_v: float = 230.0,
        frequency_hz: float = 50.0,
        seed: int = 0,
    ) -> None:
        self.system = system
        self.frequency_hz = frequency_hz
        self._sensors = sensors
        self._voltage_v = voltage_v
        self._nominal_hz = frequency_hz
        self._random = random.Random(seed)
        self._angle = 0.0
        self._wander_phase = self._random.uniform(0, 2 * math.pi)
        full_scale = 2 ** (sensors.bits - 1)
        self.dtype = np.dtype("<i2" if sensors.bits <= 16 else "<i4")  # noqa: PLR2004 - bits of i2
        line_v = FULL_SCALE_V * (math.sqrt(3) if system is GridSystem.THREE_WIRE else 1)
        self.scales = {
            name: (line_v if name[0] == "u" else FULL_SCALE_CT * sensors.secondary_a) / full_scale
            for name in system.channels
        }
        self._per_unit = np.array([1 / self.scales[name] for name in system.channels])
        self._limits = (-full_scale, full_scale - 1)
        self._saturates = False
        self._orders = np.array(list(HARMONICS))
        self._volts = self._voltage_phasors()
        self._amps = self._current_phasors((0.0,) * 3, (0.0,) * 3)
        self._basis = np.empty((BLOCK_SAMPLES, 2 * len(HARMONICS) + 2))
        self._coefficients = np.zeros((self._basis.shape[1], len(system.channels)))
        self._blocks = 0
        counts = NOISE_COUNTS_16 * sensors.noise * max(1.0, 2.0 ** (sensors.bits - 18))
        shape = (NOISE_BLOCKS * BLOCK_SAMPLES, len(system.channels))
        self._noise = np.random.default_rng(seed).normal(0.0, counts, shape).astype(np.float32)

    def block(self, power_w: Sequence[float], reactive_var: Sequence[float]) -> Counts:
        """The next 20 ms.

        Args:
            power_w: Active power of L1, L2, L3 that is reached at the end of the block, import > 0.
            reactive_var: Reactive power, inductive > 0.

        Returns:
            Counts, shape (160, channels), in the type of the stream.
        """
        if self._blocks % WANDER_BLOCKS == 0:
            self._wander()
        self._blocks += 1
        start = self._random.randrange((NOISE_BLOCKS - 1) * BLOCK_SAMPLES)
        counts = self._basis @ self._turned(self._current_phasors(power_w, reactive_var))
        counts += self._noise[start : start + BLOCK_SAMPLES]
        np.rint(counts, out=counts)
        if self._saturates:
            np.clip(counts, *self._limits, out=counts)
        step = 2 * math.pi * self.frequency_hz / SAMPLE_RATE_HZ
        self._angle = (self._angle + step * BLOCK_SAMPLES) % (2 * math.pi)
        return counts.astype(self.dtype)

    def _turned(self, amps: NDArray[np.complex128]) -> NDArray[np.float64]:
        """What to multiply the basis with, so that this block begins where the last one ended.

        Columns of the basis: cosines of all orders, sines of all orders, then the fundamental's
        cosine and sine growing from 0 to 1 within the block, for the change of the currents.
        """
        turn = np.exp(1j * self._angle * self._orders)
        volts, orders = self._volts * turn[:, None], len(self._orders)
        before, change = self._amps * turn[0], (amps - self._amps) * turn[0]
        self._amps = amps
        of_volts = volts.shape[1]
        turned = self._coefficients
        turned[:orders, :of_volts] = volts.real
        turned[orders:-2, :of_volts] = -volts.imag
        turned[0, of_volts:] = before.real
        turned[orders, of_volts:] = -before.imag
        turned[-2, of_volts:] = change.real
        turned[-1, of_volts:] = -change.imag
        scaled: NDArray[np.float64] = turned * self._per_unit
        return scaled

    def _wander(self) -> None:
        """A new frequency, held for a second, and the basis at it."""
        slow = 2 * math.pi * self._blocks * BLOCK_S / FREQUENCY_WANDER_S + self._wander_phase
        # two incommensurate swings: never the same minute twice, always inside the band
        swing = 0.6 * math.sin(slow) + 0.4 * math.sin(3.7 * slow)
        self.frequency_hz = self._nominal_hz + FREQUENCY_WANDER_HZ * swing
        n = np.arange(1, BLOCK_SAMPLES + 1)
        angles = 2 * math.pi * self.frequency_hz / SAMPLE_RATE_HZ * np.outer(n, self._orders)
        orders = len(self._orders)
        self._basis[:, :orders] = np.cos(angles)
        self._basis[:, orders:-2] = np.sin(angles)
        growing = n / BLOCK_SAMPLES
        self._basis[:, -2] = growing * self._basis[:, 0]
        self._basis[:, -1] = growing * self._basis[:, orders]

    def _voltage_phasors(self) -> NDArray[np.complex128]:
        """Peak phasors, shape (harmonics, voltage channels)."""
        peak_v = math.sqrt(2) * self._voltage_v
        by_phase = np.array(
            [
                [peak_v * share * np.exp(1j * order * angle) for angle in PHASE_ANGLES]
                for order, share in HARMONICS.items()
            ]
        )
        match self.system:
            case GridSystem.SINGLE_PHASE:
                return by_phase[:, :1]
            case GridSystem.THREE_WIRE:
                line_to_line: NDArray[np.complex128] = by_phase[:, [0, 2]] - by_phase[:, [1, 1]]
                return line_to_line
            case GridSystem.FOUR_WIRE:
                return by_phase

    def _current_phasors(
        self, power_w: Sequence[float], reactive_var: Sequence[float]
    ) -> NDArray[np.complex128]:
        """Peak phasors of the secondary currents, one per current channel."""
        sensors = self._sensors
        amps = [
            math.sqrt(2) / self._voltage_v * complex(p, -q) * complex(math.cos(a), math.sin(a))
            for p, q, a in zip(power_w, reactive_var, PHASE_ANGLES, strict=True)
        ]
        match self.system:
            case GridSystem.SINGLE_PHASE:
                wired = amps[:1]
            case GridSystem.THREE_WIRE:
                # no neutral: what the phases lack in balance shifts the star point, not the sum of
                # the powers
                common = sum(amps) / 3
                phases = [a - common for a in amps]
                wired = [phases[sensors.order[0]], phases[sensors.order[2]]]
            case GridSystem.FOUR_WIRE:
                wired = [amps[phase] for phase in sensors.order]
        gain = sensors.secondary_a / sensors.primary_a * (1 + sensors.ratio_error_pct / 100)
        lead = math.radians(sensors.phase_error_min / 60)
        through = complex(math.cos(lead), math.sin(lead)) * gain
        names = [name for name in self.system.channels if name[0] == "i"]
        signs = [-1 if int(name[1:]) - 1 in sensors.reversed_phases else 1 for name in names]
        peak_a = max(abs(amp) for amp in wired) * gain
        # a margin for noise; clipping every block would cost as much as making it
        self._saturates = peak_a > 0.99 * FULL_SCALE_CT * sensors.secondary_a
        return np.array([w * through * sign for w, sign in zip(wired, signs, strict=True)])
