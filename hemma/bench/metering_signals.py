"""Three phases of known truth, through transformers and a converter, as bytes of a sample stream.

Made from phasors by one product of matrices. Shares nothing with `services.metering`: a generator
that interpolated or windowed as the meter does would agree with its mistakes.
"""

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FS_HZ = 8000
NOMINAL_V = 230.0
RATED_A, SECONDARY_A = 100.0, 0.05
PHASE_ANGLES = np.exp(-2j * np.pi * np.arange(3) / 3)

Phasors = NDArray[np.complex128]
Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """RMS phasors by order of harmonic and phase; angles at the middle of the samples."""

    orders: tuple[int, ...]
    volts: Phasors
    """Line to neutral, shape (orders, 3)."""
    amps: Phasors
    """Primary, the same shape; in phase with the voltage is import."""

    @property
    def phase_powers_w(self) -> Samples:
        """Active power of each phase."""
        return np.asarray((self.volts * self.amps.conj()).real.sum(axis=0))


@dataclass(frozen=True)
class Mains:
    """How fast it turns."""

    frequency_hz: float
    """At the middle of the samples."""
    drift_hz_per_s: float = 0.0


@dataclass(frozen=True)
class Transformer:
    """A current transformer's errors over its load."""

    text: str
    points: tuple[tuple[float, float, float], ...]
    """Load in % of the rated current, ratio error in %, lead of the secondary in minutes of arc."""

    def error(self, load_pct: float) -> tuple[float, float]:
        """Ratio error (1 = 100 %) and lead in rad; smooth steps in log(load) between the points.

        Not straight, as a calibration from points has to assume.
        """
        logs = [math.log(point[0]) for point in self.points]
        log = min(max(math.log(max(load_pct, 1e-9)), logs[0]), logs[-1])
        upper = next(n for n in range(1, len(logs)) if log <= logs[n])
        part = (log - logs[upper - 1]) / (logs[upper] - logs[upper - 1])
        share = part * part * (3 - 2 * part)
        (_, ratio_0, lead_0), (_, ratio_1, lead_1) = self.points[upper - 1 : upper + 1]
        ratio_pct = ratio_0 + share * (ratio_1 - ratio_0)
        lead_min = lead_0 + share * (lead_1 - lead_0)
        return ratio_pct / 100, math.radians(lead_min / 60)

    def secondary(self, signal: Signal) -> Phasors:
        """What flows in the secondaries, in A; the lead of a harmonic falls with its order."""
        through = np.empty_like(signal.amps)
        for phase in range(signal.amps.shape[1]):
            ratio, lead = self.error(abs(signal.amps[0, phase]) / RATED_A * 100)
            turns = [(1 + ratio) * np.exp(1j * lead / order) for order in signal.orders]
            through[:, phase] = signal.amps[:, phase] * turns
        return np.asarray(through * (SECONDARY_A / RATED_A))


IDEAL = Transformer("no errors", ((1, 0, 0), (120, 0, 0)))


@dataclass(frozen=True)
class Converter:
    """Volts and secondary amperes to integers."""

    bits: int
    noise_counts: float
    """RMS, in its own steps."""
    offset: float
    """Direct offset of each channel, at most this part of the range, drawn anew each time."""
    neutral: bool = False
    """A seventh channel, the current of the neutral lead."""

    @property
    def scales(self) -> Samples:
        """Unit per count: 452 V and 85 mA at the end of the range."""
        ends = [452.0] * 3 + [1.7 * SECONDARY_A] * (4 if self.neutral else 3)
        return np.array(ends) * 0.5 ** (self.bits - 1)

    @property
    def dtype(self) -> str:
        """Of the stream."""
        return "<i2" if self.bits <= 16 else "<i4"  # noqa: PLR2004  bits of i2

    def header(self, block_samples: int) -> bytes:
        """The first line of a stream."""
        names = ["u1", "u2", "u3", "i1", "i2", "i3", *(["in"] if self.neutral else [])]
        channels = [
            {"name": name, "unit": "V" if name[0] == "u" else "A", "scale": scale}
            for name, scale in zip(names, self.scales.tolist(), strict=True)
        ]
        described = {
            "stream": "hemma-samples",
            "version": 1,
            "fs_hz": FS_HZ,
            "dtype": self.dtype,
            "block_samples": block_samples,
            "channels": channels,
        }
        return json.dumps(described).encode() + b"\n"

    def block(self, first_sample: int, samples: Samples, rng: np.random.Generator) -> bytes:
        """One block of the stream.

        Args:
            first_sample: Its index.
            samples: Volts and secondary amperes, shape (samples, channels).
            rng: Of noise and offsets.
        """
        counts = samples / self.scales
        counts += rng.uniform(-1, 1, counts.shape[1]) * self.offset * 2 ** (self.bits - 1)
        counts += rng.standard_normal(counts.shape) * self.noise_counts
        end = 2 ** (self.bits - 1) - 1
        integers = np.clip(np.rint(counts), -end, end).astype(self.dtype)
        return first_sample.to_bytes(8, "little") + integers.tobytes()


def sampled(
    signal: Signal, secondary_a: Phasors, mains: Mains, count: int, *, neutral: bool = False
) -> Samples:
    """Samples of all channels, shape (count, channels): volts, then secondary amperes."""
    time_s = (np.arange(count) - count / 2) / FS_HZ
    turns = mains.frequency_hz * time_s + mains.drift_hz_per_s * time_s**2 / 2
    basis = np.exp(2j * np.pi * np.outer(turns, signal.orders))
    columns = [signal.volts, secondary_a]
    if neutral:
        columns.append(secondary_a.sum(axis=1, keepdims=True))
    peaks = math.sqrt(2) * np.hstack(columns)
    return np.asarray(basis.real @ peaks.real - basis.imag @ peaks.imag)
