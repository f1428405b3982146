"""The decision: who may draw or feed how much, now, and why."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bus.message import Message, Part, Topic, reading, state
from bus.units import Count, PositivePowerW, PowerW, Seconds, Slug, Text, UtcTime


class Level(StrEnum):
    """Who sets a bound; an upper level's bounds hold for all below."""

    SAFETY = "safety"
    GRID_OPERATOR = "grid-operator"
    FUSE = "fuse"
    USER = "user"
    PLAN = "plan"
    COMFORT = "comfort"


class Reason(StrEnum):
    """The closed list of why a setpoint is what it is."""

    SELF_CONSUMPTION = "self-consumption"
    FEED_IN_LIMIT = "feed-in-limit"
    METER_SILENT = "meter-silent"
    INVERTER_SILENT = "inverter-silent"
    NO_SETTINGS = "no-settings"
    SOC_BOUND = "soc-bound"
    DEVICE_BOUND = "device-bound"
    IDLE = "idle"
    IDENTIFYING = "identifying"


class Cause(Part):
    """One link of the chain of reasons behind a setpoint."""

    level: Level
    rule: Slug
    """The rule's file name."""
    reason: Reason
    lower_w: PowerW | None
    """What it left open, of the setpoint's own quantity; None: it did not bound this side."""
    upper_w: PowerW | None


class Setpoint(Part):
    """A lease on one device: what it shall do until when, and what to do when nobody speaks."""

    device: Slug
    """The inverter's name."""
    battery_power_w: PowerW | None
    """> 0 is discharge, 0 holds the battery still, None leaves it to the device."""
    ac_limit_w: PositivePowerW | None
    """Upper bound on the AC power of PV and battery together; None: its rating."""
    failsafe_ac_limit_w: PositivePowerW | None
    """What the receiver holds when the lease lapses; None: its rating (no feed-in limit)."""
    valid_until: UtcTime
    owner: Slug
    battery_causes: tuple[Cause, ...]
    """From the uppermost level down; the last one decided."""
    ac_limit_causes: tuple[Cause, ...]


class Limit(Part):
    """A limit at the grid connection point that is in force."""

    level: Level
    reason: Reason
    export_limit_w: PowerW | None
    """Highest export allowed; None: none set."""
    basis: Text
    """`total` or `each-phase`."""


class Dispatch(Message):
    """All setpoints decided on one grid reading. Sent by policy, obeyed by inverters and loads."""

    topic: ClassVar[Topic] = reading("policy/dispatch", expires_s=3)

    sequence: Count
    decided_at: UtcTime
    grid_sequence: Count | None
    """The grid reading that it answers; None: decided in its absence."""
    grid_measured_at: UtcTime | None
    target_grid_power_w: PowerW | None
    """Where the batteries hold the grid power; None: they are not asked to."""
    setpoints: tuple[Setpoint, ...]
    limits: tuple[Limit, ...]
    reason: Reason
    """Why the dispatch as a whole is what it is."""


class LearnedActuator(Part):
    """How one actuator answers, as identified from ordinary operation."""

    device: Slug
    dead_time_s: Seconds
    lag_s: Seconds
    identified: Annotated[bool, Field(strict=True)]
    """False: the safe middle model."""
    uncertainty_s: Seconds


class PolicyState(Message):
    """What policy has learned and how it fares; adopted by itself after a restart."""

    topic: ClassVar[Topic] = state("policy/control/state")

    actuators: tuple[LearnedActuator, ...]
    hunting_guard_active: Annotated[bool, Field(strict=True)]
    decisions: Count
