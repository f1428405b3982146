"""The measurement at the grid connection point."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bus.message import Message, Part, Topic, reading, state
from bus.units import (
    ApparentPowerVa,
    Count,
    CurrentA,
    EnergyWh,
    FrequencyHz,
    PowerFactor,
    PowerW,
    ReactivePowerVar,
    Seconds,
    Text,
    UtcTime,
    VoltageV,
)


class GridSystem(StrEnum):
    """How the house is wired to the grid."""

    SINGLE_PHASE = "1P2W"
    THREE_PHASE_THREE_WIRE = "3P3W"
    THREE_PHASE_FOUR_WIRE = "3P4W"


class Phase(StrEnum):
    """A line conductor."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"


class QualityFlag(StrEnum):
    """What limits the worth of a reading."""

    ESTIMATED = "estimated"
    """Samples were lost; the gap was filled with its neighbours' mean."""
    VOLTAGE_MISSING = "voltage-missing"
    FREQUENCY_OUT_OF_RANGE = "frequency-out-of-range"
    WIRING_FAULT = "wiring-fault"
    OVERRANGE = "overrange"
    """A channel reached the end of its converter's range."""


class PhaseReading(Part):
    """One phase over one window. A three-wire system has no phase powers: None there."""

    phase: Phase
    voltage_v: VoltageV | None
    """RMS, line to neutral; line to line in a three-wire system."""
    current_a: CurrentA | None
    """RMS, primary side of the CT, a magnitude."""
    active_power_w: PowerW | None
    """> 0 is import."""
    reactive_power_var: ReactivePowerVar | None
    """Fundamental; > 0 is inductive import."""
    apparent_power_va: ApparentPowerVa | None
    power_factor: PowerFactor | None
    """P / S, signed as P; None without current."""


class GridReading(Message):
    """Power at the grid connection point over one window. Sent by metering, 5 per second."""

    topic: ClassVar[Topic] = reading("metering/grid/reading", expires_s=2)

    sequence: Count
    """Counts up by one a reading since the process started; a gap tells of lost ones."""
    measured_at: UtcTime
    """Instant of the last sample of the window, never the time of sending."""
    window_s: Annotated[float, Field(gt=0, le=60, strict=True)]
    """Length of the window that the powers are means of."""
    grid_system: GridSystem
    grid_power_w: PowerW
    """Sum of the phases; > 0 is import, < 0 is export."""
    reactive_power_var: ReactivePowerVar | None
    apparent_power_va: ApparentPowerVa | None
    power_factor: PowerFactor | None
    frequency_hz: FrequencyHz | None
    phases: tuple[PhaseReading, ...]
    flags: tuple[QualityFlag, ...] = ()


class EnergyPair(Part):
    """Active energy in both directions since the registers were made."""

    import_energy_wh: EnergyWh
    export_energy_wh: EnergyWh


class GridEnergy(Message):
    """The energy registers of the grid connection point. They never run backwards."""

    topic: ClassVar[Topic] = state("metering/energy/state")

    measured_at: UtcTime
    total: EnergyPair
    """Netted over the phases, a window at a time."""
    phases: dict[Phase, EnergyPair]
    """Each phase by itself; empty in a three-wire system."""
    estimated_wh: EnergyWh
    """How much of all this was filled in for lost samples."""
    restart_loss_s: Seconds
    """At most this much time before a crash is missing in the registers."""


class WiringVerdict(StrEnum):
    """What is known of one current transformer."""

    RIGHT = "right"
    WRONG = "wrong"
    CORRECTED = "corrected"
    UNSURE = "unsure"


class MeterState(Message):
    """What the meter is and what it knows of its own wiring."""

    topic: ClassVar[Topic] = state("metering/meter/state")

    source: Text
    """Where the samples or values come from."""
    grid_system: GridSystem
    wiring: WiringVerdict
    wiring_text: Text
    """What was found and how sure it is, for the installer."""
    lost_samples: Count
    refused_blocks: Count
    calibrated: Annotated[bool, Field(strict=True)]
