"""Inverters and the batteries behind them."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bus.message import Message, Part, Topic, reading, state
from bus.metering import Phase
from bus.units import (
    Count,
    EnergyWh,
    PositivePowerW,
    PowerW,
    Seconds,
    Slug,
    SocPct,
    TemperatureDegc,
    Text,
    UtcTime,
)


class Lease(StrEnum):
    """By whose word an inverter runs."""

    STARTING = "starting"
    """The process has just started and reads back what the hardware holds."""
    LEASED = "leased"
    """A dispatch holds, and its lease has not lapsed."""
    FAILSAFE = "failsafe"
    """Nobody speaks: the receiver applies the fail-safe by its own clock."""


class Followed(Part):
    """One setpoint as three facts: what was asked, what the device confirmed, what it then does."""

    asked_w: PowerW | None
    """None: nothing is asked, the device is free within its rating."""
    confirmed_w: PowerW | None
    """Read back from the device; None: not read back yet, or nothing asked."""
    measured_w: PowerW | None
    """The power that the setpoint steers, as last measured."""
    why_not: Text | None = None
    """Why confirmed differs from asked, or measured from confirmed."""


class InverterReading(Message):
    """One inverter, each fast poll."""

    topic: ClassVar[Topic] = reading("inverters/{inverter_id}/reading", expires_s=5)

    inverter_id: Slug
    measured_at: UtcTime
    """Middle of the device's answer."""
    telemetry_age_s: Seconds | None = None
    """How old the device's own figures may be at `measured_at`; None: unknown."""
    ac_power_w: PowerW | None
    """AC side, PV and battery together; > 0 is towards the house."""
    pv_power_w: PowerW | None
    """DC side, all strings."""
    battery_power_w: PowerW | None
    """DC side; > 0 is discharge."""
    soc_pct: SocPct | None
    max_charge_w: PositivePowerW | None
    """What the battery can take just now, wherever from; 0 until it has told that."""
    max_discharge_w: PositivePowerW | None
    lease: Lease
    battery: Followed
    """The battery's setpoint, > 0 is discharge."""
    ac_limit: Followed
    """The upper bound on AC power."""


class LinkFigures(Part):
    """How the line to one device fares."""

    answered: Count
    timed_out: Count
    late: Count
    """Answers that came after their time-out; dropped, never taken for another's."""
    bad_frames: Count
    exceptions: Count
    device_time_p50_ms: Annotated[float, Field(ge=0, strict=True)] | None
    device_time_p99_ms: Annotated[float, Field(ge=0, strict=True)] | None


class InverterState(Message):
    """What an inverter is and can do, and which of its own alarms are on."""

    topic: ClassVar[Topic] = state("inverters/{inverter_id}/state")

    inverter_id: Slug
    online: Annotated[bool, Field(strict=True)]
    """Whether it answered its last polls."""
    model: Text | None
    serial: Text | None
    firmware: Text | None
    rated_power_w: PositivePowerW
    phases: tuple[Phase, ...]
    """The phases that it feeds."""
    has_battery: Annotated[bool, Field(strict=True)]
    charges_from_grid: Annotated[bool, Field(strict=True)] = False
    """Whether a charge may draw from the AC side; otherwise the battery takes its own PV alone."""
    battery_capacity_wh: EnergyWh | None
    device_status: Text | None
    alarms: tuple[Text, ...]
    """The device's own active alarms: number and name."""
    temperature_degc: TemperatureDegc | None
    yield_energy_wh: EnergyWh | None
    charge_energy_wh: EnergyWh | None
    discharge_energy_wh: EnergyWh | None
    flash_writes: Count
    """Writes to registers that the device keeps in flash, since commissioning."""
    link: LinkFigures
