"""Safety level: what holds when nobody measures the grid.

The batteries stand still and the inverters together stay below the agreed fail-safe power. With a
limit and no such power agreed, the limit itself: a house never produces by itself.
"""

from functools import lru_cache
from math import inf

from bus.policy import Level, Reason
from services.policy.allocate import Room, share_limits
from services.policy.bounds import Link
from services.policy.model import Settings, Unit, UnitSetpoint


@lru_cache(maxsize=8)
def ac_limits_w(units: tuple[Unit, ...], settings: Settings) -> tuple[float, ...]:
    """AC limit of each unit that keeps the house safe whatever its load; infinite: none needed."""
    rooms = []
    for limit in settings.limits:
        if limit.limit_w == inf:
            continue
        if limit.each_phase:
            rooms += [
                Room(
                    tuple(
                        1.0 / len(unit.phases) if phase in unit.phases else 0.0 for unit in units
                    ),
                    limit.limit_w,
                )
                for phase in range(3)
            ]
        else:
            rooms.append(Room((1.0,) * len(units), limit.limit_w))
    if settings.failsafe_w < inf:
        rooms = [Room((1.0,) * len(units), settings.failsafe_w)]
    if not rooms:
        return (inf,) * len(units)
    rated_w = [unit.rated_power_w for unit in units]
    return tuple(share_limits(rooms, rated_w, rated_w))


def setpoint(unit: Unit, limit_w: float, lasting_w: float, reason: Reason) -> UnitSetpoint:
    """The order of a fail-safe to one unit.

    Args:
        unit: The inverter.
        limit_w: Its AC limit now, perhaps below the lasting one to come down faster.
        lasting_w: What it shall hold from then on; infinite: nothing.
        reason: Why.
    """
    still = Link(Level.SAFETY, "failsafe", reason, 0.0, 0.0)
    top_w = unit.rated_power_w
    return UnitSetpoint(
        unit.unit_id,
        0.0 if unit.has_battery else None,
        None if limit_w >= top_w else limit_w,
        None if lasting_w >= top_w else lasting_w,
        (still,) if unit.has_battery else (),
        (Link(Level.SAFETY, "failsafe", reason, upper_w=min(limit_w, top_w)),),
    )
