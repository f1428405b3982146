"""Comfort level: the batteries hold the grid power at its target.

The law: wish = load seen through the envelope - target, led by half of what the actuators still
lack. The filter follows the condition under which model errors cannot swing: a time constant of at
least the possible error of dead time plus lag, times (1 + lead); see `docs/control.md`.
"""

from collections.abc import Sequence

from services.policy.observe import Observer
from services.policy.response import Dynamics

LEAD = 0.5
LEAST_FILTER_S = 0.5
CRITICAL_TIMES = 2.1
CRITICAL_TIMES_LED = 1.7
"""Reversals closer than this many (dead time + lag + 0.3 s) cost more when they are followed."""
METER_S = 0.3
"""Delay of meter and bus in that sum."""
UNKNOWN_TOTAL_S = 1.0
"""Dead time plus lag that pulses are judged by before it is known: few are then taken for ones
that cannot be followed."""

PERIOD_PART = 0.6
"""No lead when readings come further apart than this part of the lag."""


def lead(dynamics: Sequence[Dynamics], period_s: float) -> float:
    """How much of what the actuators lack may be asked for in addition."""
    sure = all(
        known.identified and period_s <= PERIOD_PART * known.middle.lag_s for known in dynamics
    )
    return LEAD if sure else 0.0


def critical_s(dynamics: Sequence[Dynamics], lead_part: float) -> float:
    """Time between two reversals of the load below which following them makes it worse."""
    slowest_s = max(
        (known.total_s if known.identified else UNKNOWN_TOTAL_S for known in dynamics), default=0.0
    )
    return (CRITICAL_TIMES_LED if lead_part else CRITICAL_TIMES) * (slowest_s + METER_S)


def filter_s(dynamics: Sequence[Dynamics], lead_part: float) -> float:
    """Time constant of the drift inside the envelope: half of what small gain asks for."""
    spread_s = max((known.spread_s for known in dynamics), default=0.0)
    return max(LEAST_FILTER_S, (1.0 + lead_part) * spread_s / 2.0)


def wish_w(observer: Observer, target_w: float, undelayed_w: float, lead_part: float) -> float:
    """Power of all batteries together that would hold the target."""
    net_w = observer.mean_w if observer.pulsing else observer.net_load_w
    settled_w = net_w - target_w
    if observer.pulsing or observer.caution > 1.0:
        return settled_w
    return settled_w + lead_part * (settled_w - undelayed_w)
