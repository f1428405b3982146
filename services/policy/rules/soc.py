"""User level: the battery keeps its reserve and is not charged above what the user calls full.

A bound that closes does so at a walking pace: a battery that stops at 3 kW from one reading to the
next would be a step of 3 kW at the grid. 20 s more at 3 kW are 17 Wh.
"""

from typing import NamedTuple

from services.policy.model import Settings

REOPEN_PCT = 1.0
"""A closed side opens again this far inside: rounding of the SOC must not open and close it."""

PACE_W_PER_S = 120.0
"""Pace of all batteries together at which a bound of the user closes or opens."""


class Gate(NamedTuple):
    """What the user's bounds leave open of one battery, on its way; W."""

    lower_w: float
    upper_w: float
    empty: bool
    full: bool


def gate(
    before: Gate | None,
    soc_pct: float | None,
    settings: Settings,
    rated_power_w: float,
    step_w: float,
    present_w: float,
    *,
    idle: bool,
) -> Gate:
    """Open or close towards what SOC and task allow.

    Args:
        before: Where it stands; None: at the start, then it is set at once.
        soc_pct: None is unknown, then both sides close.
        settings: Reserve and full.
        rated_power_w: What an open side allows.
        step_w: How far it may move now.
        present_w: What the battery is asked now; a side closes from there.
        idle: Whether the battery has no task.
    """
    empty = full = True
    if soc_pct is not None:
        reopen_pct = REOPEN_PCT if before is not None and before.empty else 0.0
        empty = soc_pct <= settings.reserve_soc_pct + reopen_pct
        reopen_pct = REOPEN_PCT if before is not None and before.full else 0.0
        full = soc_pct >= settings.full_soc_pct - reopen_pct
    lower_w = 0.0 if full or idle else -rated_power_w
    upper_w = 0.0 if empty or idle else rated_power_w
    if before is not None:
        if lower_w < before.lower_w:
            lower_w = max(lower_w, before.lower_w - step_w)
        else:
            lower_w = min(lower_w, max(before.lower_w, min(present_w, 0.0)) + step_w)
        if upper_w > before.upper_w:
            upper_w = min(upper_w, before.upper_w + step_w)
        else:
            upper_w = max(upper_w, min(before.upper_w, max(present_w, 0.0)) - step_w)
    return Gate(lower_w, upper_w, empty, full)
