"""What one decision sees of one inverter: the past, brought up to the newest grid reading."""

from typing import NamedTuple

from services.policy import response
from services.policy.bounds import Bounds
from services.policy.model import House, Settings, Task, Unit, UnitReading
from services.policy.response import Delivered
from services.policy.rules import feed_in, soc
from services.policy.setpoints import battery_bounds
from services.policy.units import TELEMETRY_PART, YIELDING_W, Actuators, UnitState, hear, is_silent

STILL_BELIEVED_S = 3.0
"""A silent inverter's battery is steered on for so long before it is walked to 0."""

MOST_UNUSED_W = 100.0
"""More is no small share left over, but a limit that has just risen, or a cloud."""


class Sight(NamedTuple):
    """One inverter now."""

    unit: Unit
    reading: UnitReading | None
    """The newest, however old."""
    silent: bool
    """Whether nothing recent is known of it."""
    actuators: Actuators
    known: UnitState
    battery: Delivered
    """What its battery delivered in the middle of the meter window."""
    ac: Delivered
    """What its AC limit let through then."""
    bounds: Bounds
    """Of its battery."""

    @property
    def hides_pv(self) -> bool:
        """Whether PV that its battery could take is held back by its AC limit."""
        return self.known.held and self.unit.has_battery and not self.silent

    @property
    def could_w(self) -> float:
        """PV that it could give at its AC side, as far as known."""
        known = self.known
        return (known.potential_w if known.held else known.production_w) or 0.0

    @property
    def unused_w(self) -> float:
        """What its AC limit lets through beyond its output."""
        if self.silent or self.reading is None or self.reading.ac_power_w is None:
            return 0.0
        fed_w = max(self.reading.ac_power_w, 0.0)
        return min(max(self.ac.middle_w - fed_w, 0.0), MOST_UNUSED_W)


def look(
    before: tuple[UnitState, ...],
    actuators: tuple[Actuators, ...],
    house: House,
    settings: Settings,
    at_s: float,
    past_s: float,
) -> list[Sight]:
    """Let the actuators' courses go on to the middle of the window and take in the readings."""
    step_w = soc.PACE_W_PER_S * past_s / max(sum(unit.has_battery for unit in house.units), 1)
    return [
        _look_at(unit, reading, known, own, house.now_s, settings, at_s, step_w)
        for unit, reading, known, own in zip(
            house.units, house.readings, before, actuators, strict=True
        )
    ]


def _look_at(
    unit: Unit,
    reading: UnitReading | None,
    before: UnitState,
    actuators: Actuators,
    now_s: float,
    settings: Settings,
    at_s: float,
    step_w: float,
) -> Sight:
    silent = is_silent(unit, reading, now_s)
    battery_response, battery = response.advance(before.battery, actuators.battery, at_s)
    ac_response, ac = response.advance(before.ac, actuators.ac, at_s)
    if silent:  # nobody knows whether it has heard its last setpoints, or fell back
        battery = Delivered(
            min(battery.lowest_w, 0.0), battery.middle_w, max(battery.highest_w, 0.0)
        )
    gate = None if before.silent and not silent else before.gate  # open again for what it does
    lost = silent and is_silent(unit, reading, now_s - STILL_BELIEVED_S)
    if gate is None or lost or not silent:
        gate = soc.gate(
            gate,
            None if silent or reading is None else reading.soc_pct,
            settings,
            unit.rated_power_w,
            step_w,
            before.battery.command_w,
            idle=settings.task is Task.IDLE,
        )
    known = before._replace(battery=battery_response, ac=ac_response, gate=gate)
    if reading is not None and not silent:
        known = hear(unit, known, reading, battery, ac, at_s)
    bounds = battery_bounds(unit, known, reading, settings, now_s, silent=silent)
    sight = Sight(unit, reading, silent, actuators, known, battery, ac, bounds)
    if unit.charges_from_grid or known.production_w is None:
        return sight
    # whatever it is asked, it cannot take more than its PV gives
    least_w = -(1.0 + 2 * TELEMETRY_PART) * max(sight.could_w, 0.0) - YIELDING_W
    return sight._replace(battery=Delivered(*(max(power_w, least_w) for power_w in battery)))


def feel_out(sights: list[Sight], beside_goal_w: float, past_s: float) -> list[Sight]:
    """Feel out what PV could give where it is held back, and nobody can see it.

    Grid power at the limit, but for what the AC limits of others leave unused, tells that there is
    more of it. Once the battery takes all there is, the AC output falls below its own limit, and
    the grid power tells that.

    Args:
        sights: The inverters.
        beside_goal_w: Grid power above the one at which the limit is just kept.
        past_s: Time since the last decision.
    """
    if not any(sight.hides_pv for sight in sights):
        return sights
    unused_w = sum(sight.unused_w for sight in sights)
    charging = sum(sight.known.battery.command_w for sight in sights) < -YIELDING_W
    return [
        _felt(sight, beside_goal_w - unused_w + sight.unused_w, past_s, charging=charging)
        if sight.hides_pv
        else sight
        for sight in sights
    ]


def _felt(sight: Sight, short_w: float, past_s: float, *, charging: bool) -> Sight:
    """One more step, when its AC output is short of its limit by this."""
    unit, known = sight.unit, sight.known
    felt_w = 0.0
    if short_w < feed_in.HELD_W:
        pace = min(feed_in.PUSH_W_PER_S + known.felt_w / feed_in.PUSH_S, feed_in.MOST_PUSH_W_PER_S)
        step_w = pace * past_s
        if known.battery.command_w <= sight.bounds.lower_w:
            step_w *= 0.1  # the battery has all that it can take
        felt_w = known.felt_w + step_w
    elif short_w > feed_in.FOUND_W and charging:
        step_w = -feed_in.YIELD_W_PER_S * past_s
    else:
        step_w = 0.0
    potential_w = min((known.potential_w or 0.0) + step_w, 2 * unit.rated_power_w)
    potential_w = max(potential_w, known.production_w or 0.0)
    return sight._replace(known=known._replace(potential_w=potential_w, felt_w=felt_w))
