"""One decision: everything that is known now, and what was known before -> all setpoints.

Reads from the top: look, observe, bound from the uppermost level down, wish, share, say.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from bus.policy import Reason
from services.policy import allocate, curtail, response
from services.policy.model import (
    Decision,
    GridSample,
    House,
    Settings,
    Task,
    Unit,
    UnitSetpoint,
)
from services.policy.observe import Observer, observe, within
from services.policy.response import Delivered
from services.policy.rules import failsafe, feed_in, self_consumption
from services.policy.setpoints import ac_sent, ac_setpoint, battery_sent, battery_setpoint
from services.policy.sight import Sight, feel_out, look
from services.policy.units import Actuators, Learners, Seen, UnitState, first_state

METER_SILENT_AFTER_S = 1.0
"""A grid reading older than this is none: five of them are missing."""

PACE_GROWTH = 1.03
"""From one decision to the next, once a return has caught up."""

RETURN_W_PER_S = 900.0
"""Pace of the return from a fail-safe: below 200 W from one grid reading to the next."""

RELAX_W_PER_S = 150.0
"""Pace at which a limit that was relaxed, or another target, takes effect."""

LONGEST_STEP_S = 1.0
"""Time that one decision may make up for in what moves at a pace."""


class CoreState(NamedTuple):
    """All that one decision hands to the next."""

    actuators: tuple[Actuators, ...]
    learners: tuple[Learners, ...]
    decided_s: float = -inf
    units: tuple[UnitState, ...] = ()
    """Empty before the first decision."""
    seen: tuple[Seen, ...] = ()
    observer: Observer | None = None
    constraints: tuple[feed_in.Constraint, ...] = ()
    points: tuple[feed_in.Point, ...] = ()
    """One a constraint."""
    settings: Settings | None = None
    sharing: allocate.Sharing = allocate.Sharing()
    target_w: float = 0.0
    returning: bool = False
    """On the way back from a fail-safe: powers move at the pace of a return."""
    pv_pace_w_per_s: float = feed_in.RISE_W_PER_S
    """Pace at which PV may rise; slow after a limit was relaxed, until it has caught up."""


def start(units: tuple[Unit, ...], actuators: tuple[Actuators, ...] = ()) -> CoreState:
    """The state before the first decision, perhaps with actuators known from an earlier life."""
    return CoreState(actuators or tuple(map(Actuators.unknown, units)), (Learners(),) * len(units))


def decide(state: CoreState, house: House) -> tuple[CoreState, Decision]:
    """Decide on a picture of the house.

    Call it on each grid reading, and when none has come for `METER_SILENT_AFTER_S`.
    """
    if not state.units:
        units = tuple(
            first_state(unit, reading, house.now_s)
            for unit, reading in zip(house.units, house.readings, strict=True)
        )
        state = state._replace(units=units)
    if house.settings is None:
        return _fail_safe(state, house, Settings(failsafe_w=0.0), Reason.NO_SETTINGS)
    grid = house.grid
    if grid is None or house.now_s - grid.measured_s > METER_SILENT_AFTER_S:
        return _fail_safe(state, house, house.settings, Reason.METER_SILENT)
    return _control(state, house, grid, house.settings)


def _fail_safe(
    state: CoreState, house: House, settings: Settings, reason: Reason
) -> tuple[CoreState, Decision]:
    limits_w = failsafe.ac_limits_w(house.units, settings)
    setpoints, units = [], []
    for unit, known, actuators, limit_w in zip(
        house.units, state.units, state.actuators, limits_w, strict=True
    ):
        undelayed_w = response.undelayed_w(known.ac, actuators.ac, house.now_s)
        led_w = feed_in.led_w(limit_w, undelayed_w, undelayed_w)
        setpoints.append(failsafe.setpoint(unit, led_w, limit_w, reason))
        sent = battery_sent(known, actuators, 0.0, house.now_s)
        sent = ac_sent(unit, sent, actuators, led_w, house.now_s)
        units.append(sent._replace(pv_room_w=limit_w))
    moved = state._replace(decided_s=house.now_s, units=tuple(units), seen=(), returning=True)
    return moved, Decision(reason, tuple(setpoints), None, settings.limits)


def _control(
    state: CoreState, house: House, grid: GridSample, settings: Settings
) -> tuple[CoreState, Decision]:
    now_s = house.now_s
    at_s = grid.measured_s - grid.window_s / 2.0
    past_s = min(max(now_s - state.decided_s, 0.0), LONGEST_STEP_S)
    step_w = RELAX_W_PER_S * past_s
    target_w = within(settings.target_w, state.target_w - step_w, state.target_w + step_w)
    constraints = curtail.constraints(settings, grid)
    goal_limit_w = curtail.battery_goal_w(constraints, grid)

    sights = feel_out(
        look(state.units, state.actuators, house, settings, at_s, past_s),
        grid.power_w - goal_limit_w,
        past_s,
    )
    back = any(sight.known.silent and not sight.silent for sight in sights)
    points = curtail.look_behind(state.constraints, state.points, constraints, grid, sights)
    in_use = [
        sight.actuators.battery for sight in sights if sight.unit.has_battery and not sight.silent
    ]
    lead = self_consumption.lead(in_use, grid.window_s)
    observer = observe(
        state.observer,
        grid.power_w,
        target_w,
        _sum([sight.battery for sight in sights]),
        grid.measured_s,
        self_consumption.filter_s(in_use, lead),
        self_consumption.critical_s(in_use, lead),
    )

    could_w = sum(sight.could_w for sight in sights)
    aside_w = within(feed_in.ASIDE_PART * could_w, 0.0, feed_in.BATTERY_GOAL_W)
    goal_w = max(target_w, goal_limit_w + aside_w)
    ceiling_w = min(
        observer.net_load_w - goal_limit_w,  # by the quick estimate, pulses or not
        curtail.battery_ceiling_w(constraints, points, grid, sights),
    )
    settled_w, total_w = _batteries_w(sights, observer, goal_w, ceiling_w, lead, now_s)
    returning = state.returning or back
    if returning:
        step_w = RETURN_W_PER_S * past_s
        present_w = sum(sight.known.battery.command_w for sight in sights)
        paced_w = within(total_w, present_w - step_w, present_w + step_w)
        returning = paced_w != total_w
        if returning:
            settled_w = total_w = paced_w
    sharing, powers_w = _split(state, settings, sights, settled_w, total_w, now_s, past_s)

    points, rooms = curtail.rooms(points, constraints, grid, sights, powers_w)
    pv_w = curtail.share_pv(rooms, sights, powers_w, past_s)
    pace = state.pv_pace_w_per_s
    if state.returning or returning or back:
        pace = RETURN_W_PER_S
    elif state.settings is not None and settings != state.settings:
        pace = RELAX_W_PER_S
    units, setpoints, caught_up = _order(
        state, house, settings, sights, powers_w, pv_w, pace, past_s
    )
    moved = CoreState(
        state.actuators,
        state.learners,
        now_s,
        tuple(units),
        tuple(Seen(at_s, sight.battery.middle_w, sight.ac.middle_w) for sight in sights),
        observer,
        constraints,
        points,
        settings,
        sharing,
        target_w,
        returning or (state.returning and not caught_up),
        min(feed_in.RISE_W_PER_S, PACE_GROWTH * pace) if caught_up else pace,
    )
    silent = tuple(sight.unit.unit_id for sight in sights if sight.silent)
    reason = _reason(units, setpoints, settings)
    return moved, Decision(reason, tuple(setpoints), goal_w, settings.limits, silent)


def _sum(parts: Sequence[Delivered]) -> Delivered:
    return Delivered(
        sum(part.lowest_w for part in parts),
        sum(part.middle_w for part in parts),
        sum(part.highest_w for part in parts),
    )


def _batteries_w(
    sights: Sequence[Sight],
    observer: Observer,
    goal_w: float,
    ceiling_w: float,
    lead: float,
    now_s: float,
) -> tuple[float, float]:
    """Power of all batteries together: where it shall settle, and with the lead."""
    undelayed_w = sum(
        response.undelayed_w(sight.known.battery, sight.actuators.battery, now_s)
        for sight in sights
    )
    lowest_w = sum(sight.bounds.lower_w for sight in sights)
    highest_w = sum(sight.bounds.upper_w for sight in sights)
    settled_w, total_w = (
        within(self_consumption.wish_w(observer, goal_w, undelayed_w, part), lowest_w, highest_w)
        for part in (0.0, lead)
    )
    ceiling_w = max(ceiling_w, lowest_w)
    return (ceiling_w, ceiling_w) if settled_w > ceiling_w else (settled_w, total_w)


def _split(
    state: CoreState,
    settings: Settings,
    sights: Sequence[Sight],
    settled_w: float,
    total_w: float,
    now_s: float,
    past_s: float,
) -> tuple[allocate.Sharing, list[float]]:
    """Share the batteries' power; an unknown SOC counts as half full."""
    if len(sights) == 1:
        return state.sharing, [total_w]
    stores = []
    for sight in sights:
        reading = sight.reading
        soc_pct = reading.soc_pct if reading is not None and reading.soc_pct is not None else 50.0
        stores.append(
            allocate.Store(
                sight.bounds.lower_w,
                sight.bounds.upper_w,
                sight.unit.capacity_wh or sight.unit.rated_power_w,
                settings.full_soc_pct - soc_pct,
                soc_pct - settings.reserve_soc_pct,
            )
        )
    sharing, wanted_w = allocate.shares(state.sharing, settled_w, stores, now_s)
    powers_w = allocate.handover(
        [sight.known.battery.command_w for sight in sights],
        wanted_w,
        [sight.bounds.lower_w for sight in sights],
        [sight.bounds.upper_w for sight in sights],
        total_w,
        past_s,
    )
    return sharing, powers_w


def _order(
    state: CoreState,
    house: House,
    settings: Settings,
    sights: Sequence[Sight],
    powers_w: Sequence[float],
    pv_w: Sequence[float],
    pace_w_per_s: float,
    past_s: float,
) -> tuple[list[UnitState], list[UnitSetpoint], bool]:
    """The setpoints of all units.

    Returns:
        The units as these leave them, the setpoints, and whether PV got all its room, to which it
        rises at that pace.
    """
    units, setpoints = [], []
    caught_up = True
    limited = bool(settings.limits)
    failsafe_w = failsafe.ac_limits_w(house.units, settings)
    for sight, power_w, given_w, lasting_w in zip(sights, powers_w, pv_w, failsafe_w, strict=True):
        known = sight.known
        room_w = known.pv_room_w + pace_w_per_s * past_s / len(sights)
        if pace_w_per_s < feed_in.RISE_W_PER_S:  # on the way back, PV and battery do not add up
            room_w -= max(power_w - known.battery.command_w, 0.0)
        if state.settings is None and not limited:  # nothing has ever limited it
            room_w = inf
        if given_w > room_w:
            caught_up = False
        known = known._replace(pv_room_w=min(given_w, room_w), silent=sight.silent)
        known, battery_w, battery_chain = battery_setpoint(
            sight.unit, known, sight.actuators, sight.bounds, power_w, house.now_s
        )
        known, limit_w, ac_chain = ac_setpoint(
            sight.unit,
            known,
            sight.actuators,
            sight.ac,
            house.now_s,
            limited=limited,
            silent=sight.silent,
            lowest_w=sight.bounds.lower_w,
        )
        units.append(known)
        setpoints.append(
            UnitSetpoint(
                sight.unit.unit_id,
                battery_w,
                limit_w,
                None if lasting_w >= sight.unit.rated_power_w else lasting_w,
                battery_chain,
                ac_chain,
            )
        )
    return units, setpoints, caught_up


def _reason(units: list[UnitState], setpoints: list[UnitSetpoint], settings: Settings) -> Reason:
    """Curtailment where an inverter is held by its AC limit, else the batteries' task."""
    for known, setpoint in zip(units, setpoints, strict=True):
        if known.held and setpoint.ac_limit_w is not None:
            return Reason.FEED_IN_LIMIT
    return Reason.IDLE if settings.task is Task.IDLE else Reason.SELF_CONSUMPTION
