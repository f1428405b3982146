"""How much PV every limit on export leaves, and its sharing among the inverters."""

from collections.abc import Sequence
from math import inf

from services.policy.allocate import Room, share_limits
from services.policy.model import GridSample, Settings, Unit
from services.policy.observe import within
from services.policy.rules import feed_in
from services.policy.rules.feed_in import Constraint, Output, Point
from services.policy.sight import Sight
from services.policy.units import TELEMETRY_AGE_S, output_between

PV_SHARE_W, BATTERY_SHARE_W = 300.0, 10.0
"""Shared out besides what is expected of each, so that one that produces nothing can begin. Little
with a battery, which takes the first PV itself: what is left unused cannot be told from a cloud."""

NEWEST_PART = 0.5
"""The load that keeps the limit is a careful one. A battery that relied on it alone would charge
from the grid for seconds after a load drop; on the newest reading alone, leave PV."""

LENT_TIMES = 3.0
"""PV may rise above what is produced by so many times what its battery can still take."""


def constraints(settings: Settings, grid: GridSample) -> tuple[Constraint, ...]:
    """One a limit; one a phase where it holds for each phase and the meter sees them.

    Where the meter sees no phases, a limit for each phase is held by the sum: at most that of one
    phase, which is safe however the phases are loaded.
    """
    found: list[Constraint] = []
    for limit in settings.limits:
        if limit.limit_w == inf:
            continue
        if limit.each_phase and grid.phases_w and None not in grid.phases_w:
            found += [Constraint(limit, phase) for phase in range(len(grid.phases_w))]
        else:
            found.append(Constraint(limit, None))
    return tuple(found)


def exchange_w(constraint: Constraint, grid: GridSample) -> float:
    """Grid power that a limit is held against."""
    if constraint.phase is None:
        return grid.power_w
    power_w = grid.phases_w[constraint.phase]
    if power_w is None:
        raise ValueError("constraints() makes none for a phase that is not seen")
    return power_w


def battery_goal_w(active: Sequence[Constraint], grid: GridSample) -> float:
    """Grid power below which batteries have to charge for the sake of a limit: battery first.

    For a phase: the sum at which it exports just its limit, when all phases are fed evenly.
    """
    goal_w = -inf
    for constraint in active:
        power_w = exchange_w(constraint, grid)
        count = 1 if constraint.phase is None else len(grid.phases_w)
        goal_w = max(goal_w, grid.power_w - count * (power_w + constraint.limit.limit_w))
    return goal_w


def look_behind(
    former: Sequence[Constraint],
    before: Sequence[Point],
    active: Sequence[Constraint],
    grid: GridSample,
    sights: Sequence[Sight],
) -> tuple[Point, ...]:
    """The load behind each limit, by the newest grid reading.

    It does not depend on the limit, so what was known of it outlives a change of settings.
    """
    known = {constraint.phase: point for constraint, point in zip(former, before, strict=True)}
    points = []
    for constraint in active:
        point = known.get(constraint.phase)
        if point is not None and constraint not in former:
            point = point._replace(rooms=())
        power_w = exchange_w(constraint, grid)
        limit_w = constraint.limit.limit_w
        broken = power_w < -limit_w - feed_in.MARGIN_W
        outputs = [Output(0.0, 0.0, 0.0, 0.0)]
        for sight in sights:
            part = weight(sight.unit, constraint.phase)
            output = output_between(
                sight.unit,
                sight.known,
                None if sight.silent else sight.reading,
                sight.battery,
                sight.ac,
                broken=broken,
            )
            outputs.append(Output(*(part * bound_w for bound_w in output)))
        total = Output(*map(sum, zip(*outputs, strict=True)))
        points.append(feed_in.load_behind(point, power_w, limit_w, total, grid.measured_s))
    return tuple(points)


def battery_ceiling_w(
    active: Sequence[Constraint],
    points: Sequence[Point],
    grid: GridSample,
    sights: Sequence[Sight],
) -> float:
    """What batteries may give at the most while PV behind one is held back; else infinite.

    They take what their PV could give and no limit leaves room for. For a limit of each phase as
    if all batteries fed the phases evenly.
    """
    ceiling_w = inf
    if any(sight.hides_pv for sight in sights):
        for constraint, point in zip(active, points, strict=True):
            pv_w = sum(weight(sight.unit, constraint.phase) * sight.could_w for sight in sights)
            count = 1 if constraint.phase is None else len(grid.phases_w)
            newest_w = exchange_w(constraint, grid) + point.output_w
            load_w = point.load_w + NEWEST_PART * max(newest_w - point.load_w, 0.0)
            ceiling_w = min(ceiling_w, count * (load_w + constraint.limit.limit_w - pv_w))
    return ceiling_w


def rooms(
    points: Sequence[Point],
    active: Sequence[Constraint],
    grid: GridSample,
    sights: Sequence[Sight],
    powers_w: Sequence[float],
) -> tuple[tuple[Point, ...], list[Room]]:
    """How much AC output of all inverters together each limit leaves: load + limit.

    Without headroom in the batteries the smallest of the last seconds, less a margin; with it, as
    much more as they could take back.
    """
    moved, found = [], []
    changed = any(sight.known.silent != sight.silent for sight in sights)
    slowest_s = max((sight.actuators.ac.total_s for sight in sights if not sight.silent), default=0)
    hold_s = max(feed_in.LEAST_HOLD_S, feed_in.HOLD_TIMES * slowest_s, TELEMETRY_AGE_S)
    for constraint, known in zip(active, points, strict=True):
        power_w = exchange_w(constraint, grid)
        limit_w = constraint.limit.limit_w
        weights = tuple(weight(sight.unit, constraint.phase) for sight in sights)
        patient = grid.measured_s - known.broken_since_s < feed_in.PATIENCE_S + 3.0 * slowest_s
        lost_w = headroom_w = 0.0
        for sight, part, battery_w in zip(sights, weights, powers_w, strict=True):
            if sight.silent:
                lost_w += part * sight.unit.rated_power_w
                continue
            lost_w -= part * max(-sight.could_w - sight.battery.highest_w, 0.0)  # drawn, not fed
            if patient and sight.unit.has_battery:
                headroom_w += part * max(battery_w - sight.bounds.lower_w, 0.0)
        point = known._replace(rooms=()) if changed else known  # those of before do not compare
        point, smallest_w = feed_in.smallest_room(point, known.load_w + limit_w - lost_w, hold_s)
        moved.append(point)
        # With headroom a load that goes again is the batteries' affair, so the newest room counts.
        begin_w, end_w = feed_in.CALM_W
        calm = within((end_w + power_w + limit_w) / (end_w - begin_w), 0.0, 1.0)
        newest_w = limit_w + power_w + known.output_w - lost_w
        lent_w = calm * min(headroom_w, max(newest_w - smallest_w, 0.0))
        margin_w = feed_in.MARGIN_W * max(1.0 - headroom_w / feed_in.LEAST_HEADROOM_W, 0.0)
        found.append(Room(weights, smallest_w + lent_w - margin_w))
    return tuple(moved), found


def weight(unit: Unit, phase: int | None) -> float:
    """Part of a unit's power that a limit sees."""
    if phase is None:
        return 1.0
    return 1.0 / len(unit.phases) if phase in unit.phases else 0.0


def share_pv(
    found: Sequence[Room], sights: Sequence[Sight], powers_w: Sequence[float], past_s: float
) -> list[float]:
    """PV that each inverter may produce; infinite where nothing limits it.

    Args:
        found: The room of each limit.
        sights: The inverters.
        powers_w: What each battery is about to be asked.
        past_s: Time since the last decision.
    """
    if not found:
        return [inf] * len(sights)
    weights, tops_w = [], []
    for sight, battery_w in zip(sights, powers_w, strict=True):
        unit, known = sight.unit, sight.known
        top_w = unit.rated_power_w - min(battery_w, 0.0)
        if known.production_w is not None:
            shadow_w = known.production_w
            fall_w = feed_in.SHADOW_FALL_W_PER_S * past_s
            if known.bound:  # what it was told since lets more through by now
                shadow_w = max(shadow_w, sight.ac.middle_w - battery_w)
                fall_w = 0.0
            if unit.has_battery:  # what its battery can take needs no shadow
                shadow_w += LENT_TIMES * max(battery_w - sight.bounds.lower_w, 0.0)
            top_w = min(top_w, max(shadow_w + feed_in.SHADOW_W, known.pv_room_w - fall_w))
        expected_w = max(sight.could_w + battery_w, 0.0)
        weights.append(expected_w + (BATTERY_SHARE_W if unit.has_battery else PV_SHARE_W))
        tops_w.append(0.0 if sight.silent else max(top_w + battery_w, 0.0))
    given_w = [  # what the AC limits leave to PV, beside what the batteries give or take
        ac_w - battery_w
        for ac_w, battery_w in zip(share_limits(found, weights, tops_w), powers_w, strict=True)
    ]
    for index, sight in enumerate(sights):
        if sight.silent:  # others make room for all that it may do; it may do no more than before
            own_w = min(
                (
                    room.room_w / room.weights[index] + sight.unit.rated_power_w
                    for room in found
                    if room.weights[index] > 0.0
                ),
                default=inf,
            )
            given_w[index] = min(sight.known.pv_room_w, max(own_w, 0.0) - powers_w[index])
    return given_w
