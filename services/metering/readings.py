"""From measurements to what is said on the bus."""

from datetime import datetime

from bus.metering import (
    EnergyPair,
    GridEnergy,
    GridReading,
    GridSystem,
    Phase,
    PhaseReading,
    QualityFlag,
)
from services.metering.power import WINDOW_S
from services.metering.registers import MWS_PER_WH, EnergySnapshot, RegisterPair
from services.metering.systems import Measurement

PHASES = tuple(Phase)


def from_samples(
    measurement: Measurement,
    system: GridSystem,
    *,
    sequence: int,
    measured_at: datetime,
    flags: tuple[QualityFlag, ...],
) -> GridReading:
    """A window of samples as a reading.

    Raises:
        ValueError: A figure is beyond what a house can have.
    """
    return GridReading(
        sequence=sequence,
        measured_at=measured_at,
        window_s=WINDOW_S,
        grid_system=system,
        grid_power_w=measurement.active_power_w,
        reactive_power_var=measurement.reactive_power_var,
        apparent_power_va=measurement.apparent_power_va,
        power_factor=measurement.power_factor,
        frequency_hz=measurement.frequency_hz,
        phases=tuple(
            PhaseReading(
                phase=phase,
                voltage_v=one.voltage_v,
                current_a=one.current_a,
                active_power_w=one.active_power_w,
                reactive_power_var=one.reactive_power_var,
                apparent_power_va=one.apparent_power_va,
                power_factor=one.power_factor,
            )
            for phase, one in zip(PHASES, measurement.phases, strict=False)
        ),
        flags=flags,
    )


def from_meter(
    figures: dict[str, float | None],
    system: GridSystem,
    *,
    sequence: int,
    measured_at: datetime,
    window_s: float,
) -> GridReading:
    """A Modbus meter's figures as a reading; what the meter does not tell stays None.

    Raises:
        ValueError: A figure is beyond what a house can have, or the power is missing.
    """
    with_neutral = system is not GridSystem.THREE_PHASE_THREE_WIRE
    wires = PHASES[:1] if system is GridSystem.SINGLE_PHASE else PHASES
    return GridReading.model_validate(
        {
            "sequence": sequence,
            "measured_at": measured_at,
            "window_s": window_s,
            "grid_system": system,
            "grid_power_w": figures["grid_power_w"],
            "reactive_power_var": figures["reactive_power_var"],
            "apparent_power_va": None,
            "power_factor": figures["power_factor"],
            "frequency_hz": figures["frequency_hz"],
            "phases": [
                {
                    "phase": phase,
                    "voltage_v": figures[f"voltage_{phase.lower()}_v"] if with_neutral else None,
                    "current_a": figures[f"current_{phase.lower()}_a"],
                    "active_power_w": figures[f"power_{phase.lower()}_w"] if with_neutral else None,
                    "reactive_power_var": None,
                    "apparent_power_va": None,
                    "power_factor": None,
                }
                for phase in wires
            ],
        }
    )


def energy(snapshot: EnergySnapshot, *, measured_at: datetime, restart_loss_s: float) -> GridEnergy:
    """The registers as a state."""
    return GridEnergy(
        measured_at=measured_at,
        total=_pair(snapshot.total),
        phases={p: _pair(one) for p, one in zip(PHASES, snapshot.phases, strict=False)},
        estimated_wh=snapshot.estimated_mws / MWS_PER_WH,
        restart_loss_s=restart_loss_s,
    )


def _pair(registers: RegisterPair) -> EnergyPair:
    return EnergyPair(import_energy_wh=registers.import_wh, export_energy_wh=registers.export_wh)
