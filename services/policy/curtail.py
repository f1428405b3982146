"""How much PV every limit on export leaves, and its sharing among the inverters."""

from collections.abc import Sequence
from math import inf

from services.policy.allocate import Room, share_limits
from services.policy.bounds import Bounds
from services.policy.model import GridSample, House, Settings, Unit
from services.policy.observe import within
from services.policy.response import Delivered
from services.policy.rules import feed_in
from services.policy.rules.feed_in import Constraint, Output, Point
from services.policy.units import TELEMETRY_AGE_S, Actuators, UnitState, output_between

PV_SHARE_W, BATTERY_SHARE_W = 300.0, 60.0
"""Shared out besides what is expected of each, so that one that produces nothing can begin."""

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


def rooms(
    before: Sequence[Point | None],
    active: Sequence[Constraint],
    house: House,
    grid: GridSample,
    units: Sequence[UnitState],
    actuators: Sequence[Actuators],
    batteries: Sequence[Delivered],
    acs: Sequence[Delivered],
    silent: Sequence[bool],
    bounds: Sequence[Bounds],
    powers_w: Sequence[float],
) -> tuple[tuple[Point, ...], list[Room]]:
    """How much AC output of all inverters together each limit leaves: load + limit.

    Without headroom in the batteries the smallest of the last seconds, less a margin; with it, as
    much more as they could take back.
    """
    points, found = [], []
    changed = any(known.silent != mute for known, mute in zip(units, silent, strict=True))
    slowest_s = max(
        (known.ac.total_s for known, mute in zip(actuators, silent, strict=True) if not mute),
        default=0.0,
    )
    hold_s = max(feed_in.LEAST_HOLD_S, feed_in.HOLD_TIMES * slowest_s, TELEMETRY_AGE_S)
    for constraint, point in zip(active, before, strict=True):
        power_w = exchange_w(constraint, grid)
        limit_w = constraint.limit.limit_w
        broken = power_w < -limit_w - feed_in.MARGIN_W
        weights = tuple(weight(unit, constraint.phase) for unit in house.units)
        lowest_w = likely_w = highest_w = 0.0
        for index, unit in enumerate(house.units):
            reading = None if silent[index] else house.readings[index]
            output = output_between(
                unit, units[index], reading, batteries[index], acs[index], broken=broken
            )
            lowest_w += weights[index] * output.lowest_w
            likely_w += weights[index] * output.likely_w
            highest_w += weights[index] * output.highest_w
        known = feed_in.load_behind(
            point, power_w, limit_w, Output(lowest_w, likely_w, highest_w), grid.measured_s
        )
        patient = grid.measured_s - known.broken_since_s < feed_in.PATIENCE_S + 3.0 * slowest_s
        room_w = known.load_w + limit_w
        headroom_w = 0.0
        for index, unit in enumerate(house.units):
            if silent[index]:
                room_w -= weights[index] * unit.rated_power_w
            elif patient and unit.has_battery:
                headroom_w += weights[index] * max(powers_w[index] - bounds[index].lower_w, 0.0)
        if changed:  # the rooms of before do not compare
            known = known._replace(rooms=())
        known, smallest_w = feed_in.smallest_room(known, room_w, hold_s)
        points.append(known)
        # With headroom a load that goes again is the batteries' affair, so the newest room counts.
        begin_w, end_w = feed_in.CALM_W
        calm = within((end_w + power_w + limit_w) / (end_w - begin_w), 0.0, 1.0)
        newest_w = room_w - known.load_w + power_w + likely_w
        lent_w = calm * min(headroom_w, max(newest_w - smallest_w, 0.0))
        margin_w = feed_in.MARGIN_W * max(1.0 - headroom_w / feed_in.LEAST_HEADROOM_W, 0.0)
        found.append(Room(weights, smallest_w + lent_w - margin_w))
    return tuple(points), found


def weight(unit: Unit, phase: int | None) -> float:
    """Part of a unit's power that a limit sees."""
    if phase is None:
        return 1.0
    return 1.0 / len(unit.phases) if phase in unit.phases else 0.0


def share_pv(
    found: Sequence[Room],
    house: House,
    units: Sequence[UnitState],
    powers_w: Sequence[float],
    acs: Sequence[Delivered],
    silent: Sequence[bool],
    past_s: float,
    bounds: Sequence[Bounds],
) -> list[float]:
    """PV that each inverter may produce; infinite where nothing limits it.

    Args:
        found: The room of each limit.
        house: The picture.
        units: What is known of each inverter.
        powers_w: What each battery is about to be asked.
        acs: What each AC limit lets through now.
        silent: Which inverters nothing is known of.
        past_s: Time since the last decision.
        bounds: Of the batteries.
    """
    if not found:
        return [inf] * len(house.units)
    weights, tops_w = [], []
    for unit, known, power_w, ac, mute, bound in zip(
        house.units, units, powers_w, acs, silent, bounds, strict=True
    ):
        top_w = unit.rated_power_w - min(power_w, 0.0)
        if known.production_w is not None:
            shadow_w = known.production_w
            fall_w = feed_in.SHADOW_FALL_W_PER_S * past_s
            if known.held:  # what it was told since lets more through by now
                shadow_w = max(shadow_w, ac.middle_w - power_w)
                fall_w = 0.0
            if unit.has_battery:  # what its battery can take needs no shadow
                shadow_w += LENT_TIMES * max(power_w - bound.lower_w, 0.0)
            top_w = min(top_w, max(shadow_w + feed_in.SHADOW_W, known.pv_room_w - fall_w))
        expected_w = max((known.production_w or 0.0) + power_w, 0.0)
        weights.append(expected_w + (BATTERY_SHARE_W if unit.has_battery else PV_SHARE_W))
        tops_w.append(0.0 if mute else max(top_w + power_w, 0.0))
    given_w = [  # what the AC limits leave to PV, beside what the batteries give or take
        ac_w - power_w
        for ac_w, power_w in zip(share_limits(found, weights, tops_w), powers_w, strict=True)
    ]
    for index, (unit, known) in enumerate(zip(house.units, units, strict=True)):
        if silent[index]:  # others make room for all that it may do; it may do no more than before
            own_w = min(
                (
                    room.room_w / room.weights[index] + unit.rated_power_w
                    for room in found
                    if room.weights[index] > 0.0
                ),
                default=inf,
            )
            given_w[index] = min(known.pv_room_w, max(own_w, 0.0) - powers_w[index])
    return given_w
