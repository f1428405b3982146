"""Current transformers: what may be connected, and below which current nothing is counted."""

import math
from dataclasses import dataclass

INTERNAL_MAXIMUM_A = 63.0
EXTERNAL_STEP_A = 50.0
EXTERNAL_SECONDARY_A = 0.05
LEAST_EXTERNAL_RATIO = 2000.0

_STARTING_SHARE_DIRECT = 0.004
_STARTING_SHARE_EXTERNAL = 0.002
"""Starting currents of class 1, of the basic or of the rated current (IEC 62053-21)."""

_CREEP_SHARE = 0.25
"""Of the starting current: far enough below it to count from there on, far above the noise."""


@dataclass(frozen=True, slots=True)
class CurrentTransformer:
    """One kind of current transformer, the same on all phases."""

    rated_a: float
    """Primary current that a correction curve's per cent refer to."""
    ratio: float
    """Primary over secondary."""
    starting_a: float
    """Primary current from which on energy must be counted."""

    @property
    def creep_a(self) -> float:
        """Currents below this are noise: no power, no energy."""
        return _CREEP_SHARE * self.starting_a

    def creep_w(self, nominal_voltage_v: float) -> float:
        """Active powers of a phase below this are noise: no energy."""
        return self.creep_a * nominal_voltage_v


def internal_ct(maximum_a: float, basic_a: float, ratio: float) -> CurrentTransformer:
    """The transformers inside the gateway, which the mains leads go through.

    Args:
        maximum_a: Highest current in A, at most 63.
        basic_a: Basic current Ib in A, which the starting current derives from.
        ratio: Primary over secondary.

    Raises:
        ValueError: The current is out of range.
    """
    if not 0 < basic_a <= maximum_a <= INTERNAL_MAXIMUM_A:
        raise ValueError(
            f"an internal CT carries at most {INTERNAL_MAXIMUM_A:g} A and its basic current is not "
            f"above that; {maximum_a:g} A with {basic_a:g} A basic does not fit"
        )
    return CurrentTransformer(maximum_a, ratio, _STARTING_SHARE_DIRECT * basic_a)


def external_ct(primary_a: float, secondary_a: float = EXTERNAL_SECONDARY_A) -> CurrentTransformer:
    """Transformers around the mains leads, N x 50 A to 50 mA.

    Args:
        primary_a: Rated primary current in A: 100, 150, 200, ...
        secondary_a: Rated secondary current in A.

    Raises:
        ValueError: The primary is not N x 50 A with N >= 2, or the ratio is below 2000:1.
    """
    steps = primary_a / EXTERNAL_STEP_A
    if not (steps >= 2 and math.isclose(steps, round(steps))):  # noqa: PLR2004  the product's rule
        raise ValueError(
            f"an external CT's primary is N x {EXTERNAL_STEP_A:g} A with N of 2 or more; "
            f"{primary_a:g} A is not"
        )
    ratio = primary_a / secondary_a
    if ratio < LEAST_EXTERNAL_RATIO * (1 - 1e-9):
        raise ValueError(
            f"an external CT's ratio is {LEAST_EXTERNAL_RATIO:g}:1 or more; "
            f"{primary_a:g} A to {secondary_a * 1e3:g} mA is {ratio:g}:1"
        )
    return CurrentTransformer(primary_a, ratio, _STARTING_SHARE_EXTERNAL * primary_a)
