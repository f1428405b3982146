"""From what is wished and allowed to what is sent, with the chain of reasons."""

from math import inf

from bus.policy import Level, Reason
from services.policy import response
from services.policy.bounds import FREE, Bounds, Link, narrow, settle
from services.policy.model import Settings, Task, Unit, UnitReading
from services.policy.response import Delivered
from services.policy.rules import feed_in
from services.policy.units import YIELDING_W, Actuators, UnitState

BAND_W = 15.0
BAND_PART = 0.003
BAND_AFTER_S = 3.0
BAND_FALL_W_PER_S = 4.0
LEAST_BAND_W = 6.0
"""A change below 15 W + 0.3 % of rating is not sent at once; after 3 s the band shrinks."""

NO_HEADROOM_W = 300.0
"""A battery with less than this left to take does not help a falling AC limit."""

MORE_PV_W = 300.0
"""A battery that takes PV alone is asked for this much more than is known to be there."""

NONE = Bounds(0.0, 0.0)
"""An inverter without a battery."""


def battery_bounds(
    unit: Unit,
    known: UnitState,
    reading: UnitReading | None,
    settings: Settings,
    now_s: float,
    *,
    silent: bool,
) -> Bounds:
    """What safety and the user leave a battery, from the uppermost level down."""
    if not unit.has_battery:
        return NONE
    gate = known.gate
    if silent or reading is None or gate is None:
        lower_w, upper_w = (0.0, 0.0) if gate is None else (gate.lower_w, gate.upper_w)
        link = Link(Level.SAFETY, "failsafe", Reason.INVERTER_SILENT, lower_w, upper_w)
        return narrow(FREE, link)
    rated_w = unit.rated_power_w
    charge_w = rated_w if reading.max_charge_w is None else min(reading.max_charge_w, rated_w)
    if not unit.charges_from_grid and known.production_w is not None:
        pv_w = max(known.production_w, known.potential_w or 0.0, 0.0)
        charge_w = min(charge_w, pv_w + MORE_PV_W)
    lower_w = -charge_w
    upper_w = rated_w if reading.max_discharge_w is None else min(reading.max_discharge_w, rated_w)
    if known.held and (known.production_w or 0.0) > YIELDING_W:
        upper_w = min(upper_w, 0.0)  # what PV could give is not taken from the battery
    if now_s <= known.learned_until_s:
        lower_w = max(lower_w, known.learned_lower_w)
        upper_w = min(upper_w, known.learned_upper_w)
    bounds = narrow(FREE, Link(Level.SAFETY, "device", Reason.DEVICE_BOUND, lower_w, upper_w))
    reason = Reason.IDLE if settings.task is Task.IDLE else Reason.SOC_BOUND
    return narrow(bounds, Link(Level.USER, "soc", reason, gate.lower_w, gate.upper_w))


def battery_setpoint(
    unit: Unit,
    known: UnitState,
    actuators: Actuators,
    bounds: Bounds,
    power_w: float,
    now_s: float,
) -> tuple[UnitState, float | None, tuple[Link, ...]]:
    """The battery power to send, and why; small changes wait."""
    if not unit.has_battery:
        return known, None, ()
    sent_w = known.battery.command_w
    if bounds.lower_w <= sent_w <= bounds.upper_w and not _matters(
        unit, power_w - sent_w, now_s - known.battery_sent_s
    ):
        power_w = sent_w
    # the bounds have been heeded before, so a power at a bound was wished beyond it
    if power_w >= bounds.upper_w:
        wished_w = inf
    elif power_w <= bounds.lower_w:
        wished_w = -inf
    else:
        wished_w = power_w
    wish = Link(Level.COMFORT, "self_consumption", Reason.SELF_CONSUMPTION, wished_w, wished_w)
    power_w, chain = settle(bounds, wish)
    return battery_sent(known, actuators, power_w, now_s), power_w, chain


def ac_setpoint(
    unit: Unit,
    known: UnitState,
    actuators: Actuators,
    ac: Delivered,
    now_s: float,
    *,
    limited: bool,
    silent: bool,
    lowest_w: float,
) -> tuple[UnitState, float | None, tuple[Link, ...]]:
    """The AC limit to send, and why: what PV may produce and what the battery gives or takes."""
    rated_w = unit.rated_power_w
    top = narrow(FREE, Link(Level.SAFETY, "device", Reason.DEVICE_BOUND, 0.0, rated_w))
    limit_w = known.pv_room_w + known.battery.command_w
    if limit_w >= rated_w and (not limited or known.ac_limit_w >= rated_w):
        return ac_sent(unit, known, actuators, inf, now_s), None, top.links
    limit_w = min(max(limit_w, 0.0), rated_w)
    output_w = ac.middle_w
    if not known.bound and known.production_w is not None:
        output_w = min(output_w, known.production_w + known.battery.command_w)
    undelayed_w = response.undelayed_w(known.ac, actuators.ac, now_s)
    if not unit.has_battery or known.battery.command_w <= lowest_w + NO_HEADROOM_W:
        limit_w = feed_in.led_w(limit_w, undelayed_w, output_w)
    sent_w = min(known.ac_limit_w, rated_w)
    if not _matters(unit, limit_w - sent_w, now_s - known.ac_sent_s):
        limit_w = sent_w
    reason = Reason.INVERTER_SILENT if silent else Reason.FEED_IN_LIMIT
    link = Link(Level.GRID_OPERATOR, "feed_in", reason, upper_w=limit_w)
    chain = (*top.links, link)
    return ac_sent(unit, known, actuators, limit_w, now_s), limit_w, chain


def _matters(unit: Unit, change_w: float, age_s: float) -> bool:
    """Whether a change is worth a write: small ones only when they last."""
    band_w = BAND_W + BAND_PART * unit.rated_power_w
    if age_s > BAND_AFTER_S:
        band_w = max(LEAST_BAND_W, band_w - BAND_FALL_W_PER_S * (age_s - BAND_AFTER_S))
    return abs(change_w) >= band_w


def battery_sent(known: UnitState, actuators: Actuators, power_w: float, now_s: float) -> UnitState:
    """Note a battery power as it leaves."""
    if power_w == known.battery.command_w:
        return known
    return known._replace(
        battery=response.send(known.battery, actuators.battery, power_w, now_s),
        battery_sent_s=now_s,
    )


def ac_sent(
    unit: Unit, known: UnitState, actuators: Actuators, limit_w: float, now_s: float
) -> UnitState:
    """Note an AC limit as it leaves; infinite: none."""
    if limit_w == known.ac_limit_w:
        return known
    return known._replace(
        ac=response.send(known.ac, actuators.ac, min(limit_w, unit.rated_power_w), now_s),
        ac_limit_w=limit_w,
        ac_sent_s=now_s,
    )
