"""What is carried along of each inverter from one decision to the next."""

from math import inf
from typing import NamedTuple

from services.policy import response
from services.policy.identify import Learner
from services.policy.model import Unit, UnitReading
from services.policy.response import Delivered, Dynamics, Lag, Response
from services.policy.rules import feed_in
from services.policy.rules.soc import Gate

LEAST_RAMP_PER_S = 0.8
"""Slowest ramp reckoned with, part of the rating a second."""


def unknown(rated_power_w: float) -> Dynamics:
    """Before identification: all that inverters do (dead time 0.1-1.5 s, lag 0.3-3 s)."""
    ramp_w_per_s = LEAST_RAMP_PER_S * rated_power_w
    return Dynamics(Lag(0.05, 0.25), Lag(0.8, 1.6), Lag(1.7, 3.3, ramp_w_per_s))


SILENT_AFTER_S = 1.0
"""A reading older than its poll by this is a lost one."""

DISBELIEF_W = 150.0
DISBELIEF_PART = 0.08
"""A battery that is short of its setpoint by both does not follow it (telemetry errs by 3 %)."""

FOLLOW_AFTER_S = 5.0
"""So long must everything be at rest before a battery is found not to follow."""

STEADY_W = 30.0
"""Two readings of a battery that differ by less than this tell that it has settled."""

LEARNED_FOR_S = 120.0
"""So long is what a battery would not do not asked of it again."""

SHORT_PART = 0.05
"""A battery that takes this part less than it was told is short of something."""

TELEMETRY_PART = 0.03
"""What an inverter tells of itself is off by up to this part."""

TELEMETRY_AGE_S = 1.5
"""Age of an inverter's own figures where it does not tell: its register refresh and ours."""


YIELDING_W, YIELDING_S = 60.0, 6.0
"""A hybrid that gives less from its battery than asked while it produces has PV to spare: for so
long its battery is not discharged, which would only hold the PV back."""


class Actuators(NamedTuple):
    """How one inverter answers its two setpoints."""

    battery: Dynamics
    ac: Dynamics

    @classmethod
    def unknown(cls, unit: Unit) -> "Actuators":
        """Before identification."""
        return cls(unknown(unit.rated_power_w), unknown(unit.rated_power_w))


class Learners(NamedTuple):
    """What is being learned of one inverter."""

    battery: Learner = Learner()
    ac: Learner = Learner()


class Seen(NamedTuple):
    """What one inverter's setpoints let through in the middle of the last meter window."""

    at_s: float
    battery_w: float
    ac_w: float


class UnitState(NamedTuple):
    """One inverter's past, as far as it bears on the next decision."""

    battery: Response
    ac: Response
    gate: Gate | None
    battery_sent_s: float = -inf
    ac_sent_s: float = -inf
    ac_limit_w: float = inf
    """As last sent; infinite: none, the device is free within its rating."""
    pv_room_w: float = inf
    """The part of the AC limit that PV may use, before what the battery gives or takes."""
    heard_s: float = -inf
    """Time of the last reading taken in."""
    production_w: float | None = None
    """PV on the AC side by that reading; None: unknown."""
    potential_w: float | None = None
    """What that PV could give: as last seen free, or felt out while it is held back."""
    felt_w: float = 0.0
    """How much of that was felt out in a row."""
    told_w: float | None = None
    """Battery power by that reading."""
    bound: bool = False
    """Whether its output was then at its AC limit."""
    held: bool = False
    """Whether PV was then held back by it."""
    bucket_s: float = -inf
    bucket_w: float = inf
    older_w: float = inf
    """Smallest power that its AC limit let through lately, in two buckets of time."""
    learned_lower_w: float = -inf
    learned_upper_w: float = inf
    learned_until_s: float = -inf
    silent: bool = False


def first_state(unit: Unit, reading: UnitReading | None, now_s: float) -> UnitState:
    """Adopt a device as it is found: what it does is taken for what it was told."""
    battery_w = (reading.battery_power_w if reading is not None else None) or 0.0
    ac_w = (reading.ac_power_w if reading is not None else None) or 0.0
    return UnitState(
        battery=response.at_rest(battery_w, now_s),
        ac=response.at_rest(unit.rated_power_w, now_s),
        gate=None,
        pv_room_w=max(ac_w - battery_w, 0.0) + feed_in.SHADOW_W,
    )


def is_silent(unit: Unit, reading: UnitReading | None, now_s: float) -> bool:
    """Whether nothing recent is known of an inverter."""
    return reading is None or now_s - reading.measured_s > unit.poll_s + SILENT_AFTER_S


def hear(
    unit: Unit,
    state: UnitState,
    reading: UnitReading,
    battery: Delivered,
    ac: Delivered,
    at_s: float,
) -> UnitState:
    """Take in what follows from an inverter's reading and from its limit's course."""
    if state.silent and reading.battery_power_w is not None:
        off_w = abs(reading.battery_power_w - battery.middle_w)
        if off_w > max(DISBELIEF_W, DISBELIEF_PART * unit.rated_power_w):
            adopted = response.at_rest(reading.battery_power_w, at_s)
            state = state._replace(battery=adopted)
    bucket_s, bucket_w, older_w = state.bucket_s, min(state.bucket_w, ac.lowest_w), state.older_w
    if at_s - bucket_s > TELEMETRY_AGE_S:
        bucket_s, bucket_w, older_w = at_s, ac.lowest_w, bucket_w
    if reading.measured_s == state.heard_s:
        return state._replace(bucket_s=bucket_s, bucket_w=bucket_w, older_w=older_w)
    short = _takes_all_pv(unit, reading, battery)
    if short and reading.battery_power_w is not None:  # its command has no say: go on from here
        state = state._replace(battery=response.at_rest(reading.battery_power_w, at_s))
    smallest_w = min(bucket_w, older_w, state.ac.command_w)  # it may already obey the last one
    sun = _sun(unit, state, reading, ac, smallest_w, short=short)
    if short:
        lower_w, upper_w, until_s = -inf, inf, -inf  # what it is short of is PV
    else:
        lower_w, upper_w, until_s = _learned(
            unit, state, reading.battery_power_w, battery, at_s, sun.production_w
        )
    return state._replace(
        heard_s=reading.measured_s,
        production_w=sun.production_w,
        potential_w=sun.potential_w,
        told_w=reading.battery_power_w,
        bound=sun.bound,
        held=sun.held,
        bucket_s=bucket_s,
        bucket_w=bucket_w,
        older_w=older_w,
        learned_lower_w=lower_w,
        learned_upper_w=upper_w,
        learned_until_s=until_s,
    )


class _Sun(NamedTuple):
    """What a reading tells of the PV, by the names of `UnitState`."""

    production_w: float | None
    potential_w: float | None
    bound: bool
    held: bool


def _sun(
    unit: Unit,
    state: UnitState,
    reading: UnitReading,
    ac: Delivered,
    smallest_w: float,
    *,
    short: bool,
) -> _Sun:
    """What a reading tells of the PV.

    PV comes first: while its battery gives, or wants more than there is, none is held back.
    """
    ac_w, battery_w = reading.ac_power_w, reading.battery_power_w
    if ac_w is None:
        return _Sun(None, state.potential_w, bound=False, held=False)
    production_w = None
    if battery_w is not None:
        production_w = ac_w - battery_w
    elif not unit.has_battery:
        production_w = ac_w
    bound = _is_bound(unit, state, ac_w, production_w, smallest_w, ac)
    open_pv = short or (battery_w or 0.0) > YIELDING_W
    held = bound and not open_pv
    if production_w is None:
        return _Sun(None, state.potential_w, bound, held)
    # while a limit falls into the production, less of that is no cloud
    falling = _is_near(unit, ac_w, smallest_w) and not _is_steady(ac, smallest_w)
    if held or (falling and not open_pv):
        return _Sun(production_w, max(state.potential_w or 0.0, production_w), bound, held)
    return _Sun(production_w, production_w, bound, held)


def _is_bound(
    unit: Unit,
    state: UnitState,
    ac_power_w: float,
    production_w: float | None,
    smallest_w: float,
    ac: Delivered,
) -> bool:
    """Whether an inverter's output is at its AC limit, by figures of unknown age.

    It comes to be so by a limit that cuts into its production, or by rising up to a steady one;
    it remains so as long as its output is near what its limit let through lately.
    """
    if not _is_near(unit, ac_power_w, smallest_w):
        return False
    if state.bound or production_w is None or state.potential_w is None:
        return True
    cut_w = (1.0 - TELEMETRY_PART) * state.potential_w - feed_in.NEAR_W
    return _is_steady(ac, smallest_w) or production_w < cut_w


def _is_near(unit: Unit, ac_power_w: float, smallest_w: float) -> bool:
    """Whether an output is near or above what the AC limit let through lately."""
    near_w = feed_in.NEAR_PART * smallest_w - feed_in.NEAR_W
    return smallest_w < feed_in.NEAR_PART * unit.rated_power_w and ac_power_w >= near_w


def _is_steady(ac: Delivered, smallest_w: float) -> bool:
    """Whether an AC limit has hardly moved lately."""
    return ac.highest_w - smallest_w < feed_in.STEADY_W


def _takes_all_pv(unit: Unit, reading: UnitReading, battery: Delivered) -> bool:
    """Whether a battery that takes PV alone takes less than it was told, and leaves none."""
    battery_w, ac_w = reading.battery_power_w, reading.ac_power_w
    if unit.charges_from_grid or battery_w is None or ac_w is None:
        return False
    least_w = max(YIELDING_W, -SHORT_PART * battery.highest_w)
    return (
        battery_w < -STEADY_W and abs(ac_w) < YIELDING_W and battery_w > battery.highest_w + least_w
    )


def _learned(
    unit: Unit,
    state: UnitState,
    battery_power_w: float | None,
    battery: Delivered,
    at_s: float,
    production_w: float | None,
) -> tuple[float, float, float]:
    """Bounds that a battery has shown by not following its setpoint."""
    lower_w, upper_w = state.learned_lower_w, state.learned_upper_w
    until_s = state.learned_until_s
    if at_s > until_s:
        lower_w, upper_w = -inf, inf
    asked_w = state.battery.command_w
    if (
        battery_power_w is not None
        and production_w is not None
        and production_w > YIELDING_W
        and battery.lowest_w > YIELDING_W
        and battery_power_w < battery.lowest_w / 2
    ):
        return lower_w, 0.0, at_s + YIELDING_S  # its PV covers what it was to give
    doubt_w = max(DISBELIEF_W, DISBELIEF_PART * unit.rated_power_w)
    if battery_power_w is None or state.told_w is None:
        return lower_w, upper_w, until_s
    rested = (
        at_s - state.battery_sent_s > FOLLOW_AFTER_S
        and battery.highest_w - battery.lowest_w < doubt_w / 4
        and abs(battery_power_w - state.told_w) < STEADY_W
    )
    if not rested:
        return lower_w, upper_w, until_s
    if asked_w > 0.0 and battery_power_w < asked_w - doubt_w:
        return lower_w, max(battery_power_w, 0.0) + doubt_w / 2, at_s + LEARNED_FOR_S
    if asked_w < 0.0 and battery_power_w > asked_w + doubt_w:
        return min(battery_power_w, 0.0) - doubt_w / 2, upper_w, at_s + LEARNED_FOR_S
    return lower_w, upper_w, until_s


def output_between(
    unit: Unit,
    state: UnitState,
    reading: UnitReading | None,
    battery: Delivered,
    ac: Delivered,
    *,
    broken: bool,
) -> feed_in.Output:
    """Where an inverter's AC output lies now.

    Args:
        unit: The inverter.
        state: Its past.
        reading: Its last reading; None: silent, it may produce anything up to its rating.
        battery: Envelope of its battery power.
        ac: Envelope of what its AC limit lets through.
        broken: Whether the export limit is broken now: then no PV beyond the last reading is
            assumed, which would excuse it.
    """
    if reading is None or reading.ac_power_w is None:
        rated_w = unit.rated_power_w
        return feed_in.Output(0.0, min(ac.middle_w, rated_w), rated_w, rated_w)
    highest_w = min(ac.highest_w, unit.rated_power_w)
    if state.production_w is None:
        likely_w = ac.middle_w if state.bound else reading.ac_power_w
        return feed_in.Output(0.0, min(likely_w, highest_w), highest_w, highest_w)
    if state.bound:
        likely_w = ac.middle_w
        if (
            state.ac.command_w
            <= (1.0 + TELEMETRY_PART) * min(state.bucket_w, state.older_w) + feed_in.NEAR_W
        ):
            # its limit has not risen lately, so it cannot give more than it last told
            likely_w = min(
                likely_w, reading.ac_power_w / (1.0 - TELEMETRY_PART) + feed_in.NEAR_W / 2
            )
    else:
        likely_w = state.production_w + battery.middle_w
    floor_w = -unit.rated_power_w if unit.charges_from_grid else 0.0
    likely_w = min(max(likely_w, floor_w), highest_w)
    lowest_w = min(
        (1.0 - TELEMETRY_PART) * state.production_w + battery.lowest_w, ac.lowest_w, likely_w
    )
    lowest_w = max(lowest_w, min(floor_w, likely_w))
    if broken and not state.bound:
        known_w = (1.0 + TELEMETRY_PART) * state.production_w + battery.highest_w
        highest_w = max(min(highest_w, known_w), likely_w)
    unsure_w = highest_w - lowest_w
    if not state.bound:
        unsure_w = min(
            unsure_w,
            2.0 * TELEMETRY_PART * abs(state.production_w) + battery.highest_w - battery.lowest_w,
        )
    return feed_in.Output(lowest_w, likely_w, highest_w, unsure_w)
