"""Grid operator level: what leaves the house stays below its limit, by curtailment where needed.

AC output is safe while `sum <= load + limit`. The load is seen as `grid + AC output`, where the
output lies between what the inverters last told of themselves and what their limits still let
through (`response.py`). What PV may produce is the smallest room of the last seconds, so a rise
follows only a load that stays; a fall acts at once, led beyond the target while output is too high.

Battery first: the room counts what the batteries can still take, so PV is held back only for
what neither the house nor they can use.
"""

from math import inf
from typing import NamedTuple

from services.policy.model import ExportLimit
from services.policy.observe import within

MARGIN_W = 30.0
"""Distance kept from the limit, for noise and for what is too small to be written."""

SHADOW_W = 600.0
"""An AC limit stays within this of what is produced: a fall bites without first travelling down."""

LEAST_HOLD_S = 2.0
HOLD_TIMES = 2.0
"""PV rises only to the smallest room of so many (dead time + lag)."""

RISE_W_PER_S = 3000.0
FALL_LEAD = 1.5
DRIFT_S = 0.5
"""Time constant towards the likeliest load, where that is smaller and the limit is broken; else
slower the wider the interval."""
DOUBT_PART = 0.8
"""While the limit is broken the output is taken to be this part nearer to the least possible."""

SHADOW_FALL_W_PER_S = 500.0
"""Pace at which a limit follows production that falls by itself."""

DRIFT_W = 25.0
NOISE_W = 12.0
IMPATIENT_W = 100.0
PATIENCE_S = 2.5
"""Batteries that leave the limit broken by this for longer than their answer takes, plus this,
lend PV no room."""

LEAST_HEADROOM_W = 800.0
"""Batteries that can take this much more keep the limit themselves: no margin is kept then."""

CALM_W = (40.0, 140.0)
"""Beyond the limit by the first, the newest load estimate begins to count less, by the second not
at all: it rests on telemetry that is a second old."""

BATTERY_GOAL_W, ASIDE_PART = 30.0, 0.1
"""Batteries aim this far inside the limit, but for no more than a part of the PV: so the grid power
tells production that is held back (it is at the limit) from production that is all used."""

HELD_W = 15.0
"""Grid power this close to the limit, or beyond, while an AC limit binds: PV is held back."""

FOUND_W = 60.0
"""Grid power this far inside the limit: the batteries have found all that was held back."""

PUSH_W_PER_S = 100.0
YIELD_W_PER_S = 100.0
"""Pace at which held back PV is felt out, and given up; W a second."""

PUSH_S, MOST_PUSH_W_PER_S = 8.0, 400.0
"""What was found in a row quickens the pace: so much of it a second more, up to this."""

NEAR_PART = 0.95
NEAR_W = 60.0
"""Output within 5 % and this of its limit may be held by it: telemetry errs by 3 %."""

STEADY_W = 100.0
"""A limit that let through no less than this below the present one lately has been steady."""


class Output(NamedTuple):
    """AC output of one inverter in the middle of a meter window; W."""

    lowest_w: float
    likely_w: float
    highest_w: float
    unsure_w: float
    """How far off the likely one may be for want of knowledge of the actuators and of telemetry;
    `highest_w` is beyond that where PV may have risen under a limit that leaves it room."""


class Point(NamedTuple):
    """Where a limit holds: what is known of the load behind it."""

    at_s: float
    load_w: float
    output_w: float = 0.0
    """The likeliest AC output of all inverters in the newest reading."""
    rooms: tuple[tuple[float, float], ...] = ()
    """Rooms of the last seconds that are smaller than all later ones: (time, W)."""
    broken_since_s: float = inf


class Constraint(NamedTuple):
    """One limit on the sum, or on one phase."""

    limit: ExportLimit
    phase: int | None
    """None: the sum."""


def load_behind(
    before: Point | None, grid_power_w: float, limit_w: float, output: Output, at_s: float
) -> Point:
    """Take one grid reading into the load estimate behind one limit."""
    lowest_w, likely_w, highest_w, unsure_w = output
    if before is None:
        return Point(at_s, grid_power_w + likely_w, likely_w)
    past_s = max(at_s - before.at_s, 0.0)
    broken = grid_power_w < -limit_w - MARGIN_W
    if broken:
        doubt_w = DOUBT_PART * max(likely_w - lowest_w, 0.0)
        likely_w -= min(doubt_w, -grid_power_w - limit_w)
    change_w = grid_power_w + likely_w - before.load_w
    drift_s = DRIFT_S
    if not (broken and change_w < 0.0):
        drift_s *= 1.0 + (unsure_w if change_w > 0.0 else highest_w - lowest_w) / DRIFT_W
    drifted_w = before.load_w + change_w * past_s / (drift_s + past_s)
    load_w = within(
        drifted_w, grid_power_w + lowest_w - NOISE_W, grid_power_w + highest_w + NOISE_W
    )
    lasting = grid_power_w < -limit_w - IMPATIENT_W
    since_s = min(before.broken_since_s, at_s) if lasting else inf
    return Point(at_s, load_w, output.likely_w, before.rooms, since_s)


def smallest_room(point: Point, room_w: float, hold_s: float) -> tuple[Point, float]:
    """The smallest room of the last `hold_s`."""
    at_s = point.at_s
    rooms = point.rooms
    keep = len(rooms)
    while keep and rooms[keep - 1][1] >= room_w:
        keep -= 1
    start = 0
    while start < keep and rooms[start][0] < at_s - hold_s:
        start += 1
    rooms = (*rooms[start:keep], (at_s, room_w))
    return point._replace(rooms=rooms), rooms[0][1]


def led_w(limit_w: float, undelayed_w: float, output_w: float) -> float:
    """An AC limit that falls goes below its target while output is still above it."""
    if output_w <= limit_w + NOISE_W or undelayed_w <= limit_w:
        return limit_w
    return max(limit_w - FALL_LEAD * (undelayed_w - limit_w), 0.0)
