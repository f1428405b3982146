"""One decision: everything that is known now, and what was known before -> all setpoints.

Reads from the top: look, observe, bound from the uppermost level down, wish, share, say.
"""

from math import inf
from typing import NamedTuple

from bus.policy import Reason
from services.policy import allocate, curtail, response
from services.policy.bounds import Bounds
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
from services.policy.rules import failsafe, feed_in, self_consumption, soc
from services.policy.setpoints import (
    ac_sent,
    ac_setpoint,
    battery_bounds,
    battery_sent,
    battery_setpoint,
)
from services.policy.units import (
    Actuators,
    Learners,
    Seen,
    UnitState,
    first_state,
    hear,
    is_silent,
)

METER_SILENT_AFTER_S = 1.0
"""A grid reading older than this is none: five of them are missing."""

PACE_GROWTH = 1.03
"""From one decision to the next, once a return has caught up."""

RETURN_W_PER_S = 900.0
"""Pace of the return from a fail-safe: below 200 W from one grid reading to the next."""

RELAX_W_PER_S = 150.0
"""Pace at which a limit that was relaxed, or another target, takes effect."""

STILL_BELIEVED_S = 3.0
"""A silent inverter's battery is steered on for so long before it is walked to 0."""

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
    total_w: float = 0.0
    """Power of all batteries, as last sent."""
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
        total_w = sum(known.battery.command_w for known in units)
        state = state._replace(units=units, total_w=total_w)
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
    moved = state._replace(
        decided_s=house.now_s, units=tuple(units), seen=(), total_w=0.0, returning=True
    )
    return moved, Decision(reason, tuple(setpoints), None, settings.limits)


def _control(
    state: CoreState, house: House, grid: GridSample, settings: Settings
) -> tuple[CoreState, Decision]:
    now_s = house.now_s
    at_s = grid.measured_s - grid.window_s / 2.0
    past_s = min(max(now_s - state.decided_s, 0.0), LONGEST_STEP_S)
    silent = [
        is_silent(unit, reading, now_s)
        for unit, reading in zip(house.units, house.readings, strict=True)
    ]
    units, batteries, acs = _look(state, house, settings, silent, at_s, past_s)
    back = any(known.silent and not mute for known, mute in zip(units, silent, strict=True))
    returning = state.returning or back

    in_use = [
        actuators.battery
        for unit, actuators, mute in zip(house.units, state.actuators, silent, strict=True)
        if unit.has_battery and not mute
    ]
    lead = self_consumption.lead(in_use, grid.window_s)
    step_w = RELAX_W_PER_S * past_s
    target_w = within(settings.target_w, state.target_w - step_w, state.target_w + step_w)
    observer = observe(
        state.observer,
        grid.power_w,
        target_w,
        _sum(batteries),
        grid.measured_s,
        self_consumption.filter_s(in_use, lead),
        self_consumption.critical_s(in_use, lead),
    )

    bounds = [
        battery_bounds(unit, known, reading, settings, now_s, silent=mute)
        for unit, known, reading, mute in zip(
            house.units, units, house.readings, silent, strict=True
        )
    ]
    constraints = curtail.constraints(settings, grid)
    goal_limit_w = curtail.battery_goal_w(constraints, grid)
    goal_w = max(target_w, goal_limit_w + feed_in.BATTERY_GOAL_W)
    undelayed_w = sum(
        response.undelayed_w(known.battery, actuators.battery, now_s)
        for known, actuators in zip(units, state.actuators, strict=True)
    )
    lowest_w = sum(bound.lower_w for bound in bounds)
    highest_w = sum(bound.upper_w for bound in bounds)
    settled_w, total_w = (
        within(self_consumption.wish_w(observer, goal_w, undelayed_w, part), lowest_w, highest_w)
        for part in (0.0, lead)
    )
    ceiling_w = max(
        _battery_ceiling_w(state, house, units, observer, grid, goal_limit_w, past_s), lowest_w
    )
    if settled_w > ceiling_w:
        settled_w = total_w = ceiling_w
    if returning:
        step_w = RETURN_W_PER_S * past_s
        paced_w = within(total_w, state.total_w - step_w, state.total_w + step_w)
        returning = paced_w != total_w
        if returning:
            settled_w = total_w = paced_w
    sharing, powers_w = _split(state, house, settings, units, bounds, settled_w, total_w, past_s)

    points, rooms = curtail.rooms(
        state.points if constraints == state.constraints else (None,) * len(constraints),
        constraints,
        house,
        grid,
        units,
        state.actuators,
        batteries,
        acs,
        silent,
        bounds,
        powers_w,
    )
    pv_w = curtail.share_pv(rooms, house, units, powers_w, acs, silent, past_s, bounds)
    pace = state.pv_pace_w_per_s
    if state.returning or returning or back:
        pace = RETURN_W_PER_S
    elif state.settings is not None and settings != state.settings:
        pace = RELAX_W_PER_S
    setpoints, caught_up = _order(
        state, house, settings, units, acs, silent, bounds, powers_w, pv_w, pace, past_s
    )
    moved = CoreState(
        state.actuators,
        state.learners,
        now_s,
        tuple(units),
        tuple(
            Seen(at_s, battery.middle_w, ac.middle_w)
            for battery, ac in zip(batteries, acs, strict=True)
        ),
        observer,
        constraints,
        points,
        settings,
        sharing,
        target_w,
        sum(known.battery.command_w for known in units),
        returning or (state.returning and not caught_up),
        min(feed_in.RISE_W_PER_S, PACE_GROWTH * pace) if caught_up else pace,
    )
    mutes = tuple(unit.unit_id for unit, mute in zip(house.units, silent, strict=True) if mute)
    reason = _reason(units, setpoints, settings)
    return moved, Decision(reason, tuple(setpoints), goal_w, settings.limits, mutes)


def _look(
    state: CoreState,
    house: House,
    settings: Settings,
    silent: list[bool],
    at_s: float,
    past_s: float,
) -> tuple[list[UnitState], list[Delivered], list[Delivered]]:
    """Let the actuators' courses go on to the middle of the window and take in the readings."""
    units, batteries, acs = [], [], []
    step_w = soc.PACE_W_PER_S * past_s / max(sum(unit.has_battery for unit in house.units), 1)
    for unit, before, actuators, reading, mute in zip(
        house.units, state.units, state.actuators, house.readings, silent, strict=True
    ):
        battery_response, battery = response.advance(before.battery, actuators.battery, at_s)
        ac_response, ac = response.advance(before.ac, actuators.ac, at_s)
        if mute:  # nobody knows whether it has heard its last setpoints, or fell back
            battery = Delivered(
                min(battery.lowest_w, 0.0), battery.middle_w, max(battery.highest_w, 0.0)
            )
        gate = before.gate
        lost = mute and is_silent(unit, reading, house.now_s - STILL_BELIEVED_S)
        if gate is None or lost or not mute:
            gate = soc.gate(
                gate,
                None if mute or reading is None else reading.soc_pct,
                settings,
                unit.rated_power_w,
                step_w,
                before.battery.command_w,
                idle=settings.task is Task.IDLE,
            )
        known = before._replace(battery=battery_response, ac=ac_response, gate=gate)
        if reading is not None and not mute:
            known = hear(unit, known, reading, battery, ac, at_s)
        units.append(known)
        batteries.append(battery)
        acs.append(ac)
    return units, batteries, acs


def _battery_ceiling_w(
    state: CoreState,
    house: House,
    units: list[UnitState],
    observer: Observer,
    grid: GridSample,
    goal_limit_w: float,
    past_s: float,
) -> float:
    """What the batteries may give at the most, for the sake of the export limit.

    The limit is kept by the quick estimate, pulses or not. And while PV behind a battery is held
    back at the limit, that battery takes ever more of it.
    """
    ceiling_w = observer.net_load_w - goal_limit_w
    held = any(
        known.held and unit.has_battery for unit, known in zip(house.units, units, strict=True)
    )
    if held and grid.power_w < goal_limit_w + feed_in.NEAR_HELD_W:
        pushing = grid.power_w < goal_limit_w + feed_in.HELD_W
        ceiling_w = min(ceiling_w, state.total_w - pushing * feed_in.PUSH_W_PER_S * past_s)
    return ceiling_w


def _sum(parts: list[Delivered]) -> Delivered:
    return Delivered(
        sum(part.lowest_w for part in parts),
        sum(part.middle_w for part in parts),
        sum(part.highest_w for part in parts),
    )


def _split(
    state: CoreState,
    house: House,
    settings: Settings,
    units: list[UnitState],
    bounds: list[Bounds],
    settled_w: float,
    total_w: float,
    past_s: float,
) -> tuple[allocate.Sharing, list[float]]:
    """Share the batteries' power; an unknown SOC counts as half full."""
    if len(units) == 1:
        return state.sharing, [total_w]
    stores = []
    for unit, reading, bound in zip(house.units, house.readings, bounds, strict=True):
        soc_pct = reading.soc_pct if reading is not None and reading.soc_pct is not None else 50.0
        stores.append(
            allocate.Store(
                bound.lower_w,
                bound.upper_w,
                unit.capacity_wh or unit.rated_power_w,
                settings.full_soc_pct - soc_pct,
                soc_pct - settings.reserve_soc_pct,
            )
        )
    sharing, wanted_w = allocate.shares(state.sharing, settled_w, stores, house.now_s)
    powers_w = allocate.handover(
        [known.battery.command_w for known in units],
        wanted_w,
        [bound.lower_w for bound in bounds],
        [bound.upper_w for bound in bounds],
        total_w,
        past_s,
    )
    return sharing, powers_w


def _order(
    state: CoreState,
    house: House,
    settings: Settings,
    units: list[UnitState],
    acs: list[Delivered],
    silent: list[bool],
    bounds: list[Bounds],
    powers_w: list[float],
    pv_w: list[float],
    pace_w_per_s: float,
    past_s: float,
) -> tuple[list[UnitSetpoint], bool]:
    """The setpoints of all units, noted in `units` as sent.

    Returns:
        The setpoints, and whether PV got all its room, to which it rises at that pace.
    """
    setpoints = []
    caught_up = True
    limited = bool(settings.limits)
    failsafe_w = failsafe.ac_limits_w(house.units, settings)
    for index, unit in enumerate(house.units):
        known, actuators = units[index], state.actuators[index]
        room_w = known.pv_room_w + pace_w_per_s * past_s / len(units)
        if pace_w_per_s < feed_in.RISE_W_PER_S:  # on the way back, PV and battery do not add up
            room_w -= max(powers_w[index] - known.battery.command_w, 0.0)
        if state.settings is None and not limited:  # nothing has ever limited it
            room_w = inf
        if pv_w[index] > room_w:
            caught_up = False
        known = known._replace(pv_room_w=min(pv_w[index], room_w), silent=silent[index])
        known, battery_w, battery_chain = battery_setpoint(
            unit, known, actuators, bounds[index], powers_w[index], house.now_s
        )
        known, limit_w, ac_chain = ac_setpoint(
            unit,
            known,
            actuators,
            acs[index],
            house.now_s,
            limited=limited,
            silent=silent[index],
            lowest_w=bounds[index].lower_w,
        )
        units[index] = known
        lasting_w = None if failsafe_w[index] >= unit.rated_power_w else failsafe_w[index]
        setpoints.append(
            UnitSetpoint(unit.unit_id, battery_w, limit_w, lasting_w, battery_chain, ac_chain)
        )
    return setpoints, caught_up


def _reason(units: list[UnitState], setpoints: list[UnitSetpoint], settings: Settings) -> Reason:
    """Curtailment where an inverter is held by its AC limit, else the batteries' task."""
    for known, setpoint in zip(units, setpoints, strict=True):
        if known.held and setpoint.ac_limit_w is not None:
            return Reason.FEED_IN_LIMIT
    return Reason.IDLE if settings.task is Task.IDLE else Reason.SELF_CONSUMPTION
