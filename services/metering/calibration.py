"""Errors of the measuring channels, how they are found and how they are taken out.

An error is a ratio and an angle: the channel reads (1 + r) of the truth and leads it by d. Both act
on phasors, once a window: a power P + jQ becomes (P + jQ) e^(jd) / (1 + r). A transformer's
angle error falls with frequency, so turning by the fundamental's reactive power is right.

Order at the bench: offset (nothing connected), voltage gain, current gain (both at rated load),
angle (power factor 0.5), then further points of the transformer's curve.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LARGEST_RATIO_ERROR_PCT = 5.0
LARGEST_PHASE_ERROR_DEG = 5.0
"""A channel farther off is broken or miswired, not out of calibration."""


def refuse_implausible(ratio_error_pct: float, phase_error_deg: float) -> None:
    """Check one error against what calibration may take out.

    Raises:
        ValueError: Beyond 5 % or 5 degrees.
    """
    if not abs(ratio_error_pct) <= LARGEST_RATIO_ERROR_PCT:
        raise ValueError(
            f"a ratio error of {ratio_error_pct:.3g} % is beyond {LARGEST_RATIO_ERROR_PCT:g} %: "
            "look for a wrong CT ratio instead of calibrating"
        )
    if not abs(phase_error_deg) <= LARGEST_PHASE_ERROR_DEG:
        raise ValueError(
            f"a phase error of {phase_error_deg:.3g} degrees is beyond "
            f"{LARGEST_PHASE_ERROR_DEG:g}: look for a swapped phase instead of calibrating"
        )


@dataclass(frozen=True, slots=True)
class ErrorPoint:
    """The error of a transformer at one load."""

    load_pct: float
    """Primary current, % of the rated one."""
    ratio_error_pct: float
    """> 0 reads too much."""
    phase_error_deg: float
    """> 0: the channel leads the truth."""

    def __post_init__(self) -> None:
        refuse_implausible(self.ratio_error_pct, self.phase_error_deg)
        if not self.load_pct > 0:
            raise ValueError(f"a load of {self.load_pct:g} % is not above 0")


class CtCurve:
    """A transformer's errors over its load, straight between the points in log(current)."""

    def __init__(self, points: Sequence[ErrorPoint]) -> None:
        """Args: points: one (constant errors) or more, loads rising.

        Raises:
            ValueError: No points, or loads do not rise.
        """
        loads = [point.load_pct for point in points]
        if not loads or any(b <= a for a, b in pairwise(loads)):
            raise ValueError(f"loads of a CT curve must rise from point to point: {loads}")
        self._logs = [math.log(load) for load in loads]
        self._errors = [_as_complex(p.ratio_error_pct, p.phase_error_deg) for p in points]

    def error(self, load_pct: float) -> complex:
        """The error at a load: the ratio error (1 = 100 %) + j the angle in radians."""
        if len(self._logs) == 1 or load_pct <= 0:
            return self._errors[0]
        log = min(max(math.log(load_pct), self._logs[0]), self._logs[-1])
        upper = next(n for n in range(1, len(self._logs)) if log <= self._logs[n])
        low, high = self._logs[upper - 1], self._logs[upper]
        share = (log - low) / (high - low)
        return self._errors[upper - 1] * (1 - share) + self._errors[upper] * share


@dataclass(frozen=True, slots=True)
class Channel:
    """How one channel deviates."""

    gain_error_pct: float = 0.0
    """> 0 reads too much; constant over the range."""
    phase_error_deg: float = 0.0
    """> 0: the channel leads the truth."""
    delay_us: float = 0.0
    """How much later than the others it is sampled; a lag that grows with frequency."""
    offset: float = 0.0
    """RMS reading with nothing connected, V or primary A: noise, taken off in quadrature. Direct
    offset needs no calibration, every window takes out its own."""
    curve: CtCurve | None = None
    """The transformer's own errors on top; None: none known."""

    def __post_init__(self) -> None:
        refuse_implausible(self.gain_error_pct, self.phase_error_deg)
        if self.offset < 0:
            raise ValueError(f"an RMS offset of {self.offset:g} is below 0")

    def without_offset(self, rms: float) -> float:
        """The RMS reading without the channel's own noise."""
        return math.sqrt(max(rms * rms - self.offset * self.offset, 0.0))

    def correction(self, frequency_hz: float, load_pct: float = 100.0) -> complex:
        """What a phasor of the channel is multiplied by to be true."""
        error = self.curve.error(load_pct) if self.curve else 0j
        ratio = (1 + self.gain_error_pct / 100) * (1 + error.real)
        lead = math.radians(self.phase_error_deg) + error.imag
        lead -= 2e-6 * math.pi * frequency_hz * self.delay_us
        return cmath.rect(1 / ratio, -lead)


def gain_error_pct(reading: float, reference: float) -> float:
    """A channel's gain error from one reading beside a reference instrument, at rated load.

    Raises:
        ValueError: Beyond 5 %.
    """
    error_pct = (reading / reference - 1) * 100
    refuse_implausible(error_pct, 0.0)
    return error_pct


def phase_error_deg(reading_w: float, reference_w: float, power_factor: float = 0.5) -> float:
    """A current channel's angle error from active power at a lagging load, after the gains.

    Args:
        reading_w: Active power as metered.
        reference_w: The true one.
        power_factor: Of the test load, inductive. At a capacitive one the error changes its sign.

    Returns:
        Degrees; > 0: the current channel leads.

    Raises:
        ValueError: Beyond 5 degrees.
    """
    shown = min(max(reading_w / reference_w * power_factor, -1.0), 1.0)
    error_deg = math.degrees(math.acos(power_factor) - math.acos(shown))
    refuse_implausible(0.0, error_deg)
    return error_deg


def error_point(load_pct: float, reading_va: complex, reference_va: complex) -> ErrorPoint:
    """One point of a transformer's curve from complex powers P + jQ, metered and true.

    Raises:
        ValueError: Beyond 5 % or 5 degrees.
    """
    error = reading_va / reference_va
    return ErrorPoint(load_pct, (abs(error) - 1) * 100, -math.degrees(cmath.phase(error)))


def _as_complex(ratio_error_pct: float, error_deg: float) -> complex:
    return complex(ratio_error_pct / 100, math.radians(error_deg))
