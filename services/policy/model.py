"""What the core sees and what it says: frozen data, times in seconds of one monotonic clock."""

from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from bus.policy import Level, Reason
from services.policy.bounds import Link


class Task(Enum):
    """What the batteries are for."""

    SELF_CONSUMPTION = auto()
    IDLE = auto()


@dataclass(frozen=True, slots=True)
class Unit:
    """One inverter and the battery behind it, as installed."""

    unit_id: str
    rated_power_w: float
    """AC side, both directions."""
    phases: tuple[int, ...] = (0, 1, 2)
    """The phases that it feeds, evenly."""
    has_battery: bool = True
    capacity_wh: float | None = None
    """Usable energy; None: unknown, then shared by rating."""
    charges_from_grid: bool = False
    """Otherwise its battery takes its own PV alone."""
    poll_s: float = 1.0
    """How often its reading comes."""


@dataclass(frozen=True, slots=True)
class GridSample:
    """Power at the grid connection point; > 0 is import."""

    measured_s: float
    """End of the window."""
    window_s: float
    power_w: float
    phases_w: tuple[float | None, ...] = ()
    """Each phase that the meter sees; empty in a three-wire system."""


@dataclass(frozen=True, slots=True)
class UnitReading:
    """One inverter's own figures; None is unknown, never 0."""

    measured_s: float
    ac_power_w: float | None
    """PV and battery together, > 0 is towards the house."""
    battery_power_w: float | None
    """> 0 is discharge."""
    soc_pct: float | None = None
    max_charge_w: float | None = None
    max_discharge_w: float | None = None
    telemetry_age_s: float | None = None
    """How old the figures may be at `measured_s`; None: unknown."""


@dataclass(frozen=True, slots=True)
class ExportLimit:
    """A limit on the power that leaves the house."""

    level: Level
    reason: Reason
    limit_w: float
    """Highest export in W; of the sum, or of each phase."""
    each_phase: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What people have set."""

    task: Task = Task.SELF_CONSUMPTION
    target_w: float = 0.0
    """Where the batteries hold the grid power; > 0 is import."""
    reserve_soc_pct: float = 5.0
    full_soc_pct: float = 100.0
    limits: tuple[ExportLimit, ...] = ()
    failsafe_w: float = inf
    """AC power of all inverters together when nobody measures the grid."""


@dataclass(frozen=True, slots=True)
class House:
    """Everything that one decision rests on."""

    now_s: float
    units: tuple[Unit, ...]
    grid: GridSample | None
    """The newest one, however old; None: there never was one."""
    readings: tuple[UnitReading | None, ...]
    """In the order of `units`."""
    settings: Settings | None
    """None: not heard yet."""


@dataclass(frozen=True, slots=True)
class UnitSetpoint:
    """What one inverter shall do, and why."""

    unit_id: str
    battery_power_w: float | None
    """> 0 is discharge, 0 is still; None: left to the device."""
    ac_limit_w: float | None
    """Upper bound on PV and battery together; None: its rating."""
    failsafe_ac_limit_w: float | None
    battery_chain: tuple[Link, ...]
    ac_limit_chain: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """All setpoints of one moment."""

    reason: Reason
    setpoints: tuple[UnitSetpoint, ...]
    target_w: float | None = None
    limits: tuple[ExportLimit, ...] = ()
    silent_units: tuple[str, ...] = field(default=())
