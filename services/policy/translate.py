"""Between the bus and the core: instants, infinities and names, turned at one place."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import inf, isinf

from bus.inverters import InverterReading, InverterState
from bus.metering import GridReading, GridSystem, Phase
from bus.policy import (
    Cause,
    Dispatch,
    LearnedActuator,
    Level,
    Limit,
    PolicyState,
    Reason,
    Setpoint,
)
from bus.site import EssMode, EssSettings, FeedInMode, FeedInSettings, LimitBasis, PlantSettings
from services.policy.bounds import Link
from services.policy.core import CoreState
from services.policy.identify import assumed
from services.policy.model import (
    Decision,
    ExportLimit,
    GridSample,
    Settings,
    Task,
    Unit,
    UnitReading,
    UnitSetpoint,
)
from services.policy.units import LEAST_RAMP_PER_S, Actuators

PHASES = tuple(Phase)

MOST_DOUBT_PART = 0.5
"""What was learned in an earlier life is held to be at most this part wrong."""


def unit(state: InverterState, poll_s: float) -> Unit:
    """An inverter as it describes itself."""
    return Unit(
        state.inverter_id,
        state.rated_power_w,
        phases=tuple(PHASES.index(phase) for phase in state.phases),
        has_battery=state.has_battery,
        capacity_wh=state.battery_capacity_wh,
        charges_from_grid=state.charges_from_grid,
        poll_s=poll_s,
    )


def phase_count(system: GridSystem) -> int:
    """How many phases a house has."""
    return 1 if system is GridSystem.SINGLE_PHASE else len(PHASES)


def grid_sample(reading: GridReading, measured_s: float) -> GridSample:
    """A grid reading on the policy's own clock; phases in the order of their names."""
    phases = sorted(reading.phases, key=lambda measured: measured.phase)
    return GridSample(
        measured_s,
        reading.window_s,
        reading.grid_power_w,
        tuple(measured.active_power_w for measured in phases),
    )


def unit_reading(reading: InverterReading, measured_s: float) -> UnitReading:
    """An inverter's reading on the policy's own clock."""
    return UnitReading(
        measured_s,
        reading.ac_power_w,
        reading.battery_power_w,
        reading.soc_pct,
        reading.max_charge_w,
        reading.max_discharge_w,
        reading.telemetry_age_s,
    )


def settings(
    feed_in: FeedInSettings,
    ess: EssSettings,
    plant: PlantSettings,
    units: Iterable[Unit],
    phases: int,
) -> Settings:
    """What people have set, in W, for a house of so many phases."""
    limit_w = export_limit_w(feed_in, plant, units)
    limits = () if isinf(limit_w) else (_limit(limit_w, feed_in.basis, phases),)
    return Settings(
        task=Task.IDLE if ess.mode is EssMode.IDLE else Task.SELF_CONSUMPTION,
        target_w=ess.target_grid_power_w,
        reserve_soc_pct=ess.reserve_soc_pct,
        full_soc_pct=ess.full_soc_pct,
        limits=limits,
        failsafe_w=inf if feed_in.failsafe_w is None else feed_in.failsafe_w,
    )


def export_limit_w(feed_in: FeedInSettings, plant: PlantSettings, units: Iterable[Unit]) -> float:
    """The highest export allowed, infinite when unlimited."""
    match feed_in.mode:
        case FeedInMode.UNLIMITED:
            return inf
        case FeedInMode.ZERO:
            return 0.0
        case FeedInMode.WATTS:
            return feed_in.limit_w or 0.0
        case FeedInMode.PERCENT:
            rated_w = plant.rated_pv_power_w or sum(unit.rated_power_w for unit in units)
            return rated_w * (feed_in.limit_pct or 0.0) / 100


def _limit(limit_w: float, basis: LimitBasis, phases: int) -> ExportLimit:
    each_phase = basis is LimitBasis.EACH_PHASE
    if each_phase:
        limit_w /= phases
    return ExportLimit(Level.GRID_OPERATOR, Reason.FEED_IN_LIMIT, limit_w, each_phase)


def learned(units: Sequence[Unit], state: CoreState, decisions: int) -> PolicyState:
    """What is known of every actuator, rounded so that it is not said anew for nothing."""
    actuators = []
    for one, known in zip(units, state.actuators, strict=True):
        for name, dynamics in zip(_names(one), known, strict=True):
            actuators.append(
                LearnedActuator(
                    device=name,
                    dead_time_s=round(dynamics.middle.dead_s, 1),
                    lag_s=round(dynamics.middle.lag_s, 1),
                    identified=dynamics.identified,
                    uncertainty_s=round(dynamics.spread_s, 1),
                )
            )
    observer = state.observer
    return PolicyState(
        actuators=tuple(actuators),
        hunting_guard_active=observer is not None and observer.caution > 1.0,
        decisions=decisions,
    )


def adopted(one: Unit, earlier: PolicyState | None) -> Actuators:
    """How an inverter's actuators answer, by what an earlier life had learned of them."""
    if earlier is None:
        return Actuators.unknown(one)
    known = {actuator.device: actuator for actuator in earlier.actuators if actuator.identified}
    ramp_w_per_s = LEAST_RAMP_PER_S * one.rated_power_w
    found = []
    for name, otherwise in zip(_names(one), Actuators.unknown(one), strict=True):
        actuator = known.get(name)
        if actuator is None or actuator.lag_s <= 0.0:
            found.append(otherwise)
            continue
        part = actuator.uncertainty_s / (actuator.dead_time_s + actuator.lag_s)
        found.append(
            assumed(actuator.dead_time_s, actuator.lag_s, ramp_w_per_s, min(part, MOST_DOUBT_PART))
        )
    return Actuators(*found)


def _names(one: Unit) -> tuple[str, str]:
    """Its two actuators: the battery, the AC limit."""
    return one.unit_id, f"{one.unit_id[:29]}-ac"


def dispatch(
    decision: Decision,
    *,
    sequence: int,
    decided_at: datetime,
    lease: timedelta,
    grid: GridReading | None,
) -> Dispatch:
    """A decision as it is said."""
    valid_until = decided_at + lease
    return Dispatch(
        sequence=sequence,
        decided_at=decided_at,
        grid_sequence=grid.sequence if grid else None,
        grid_measured_at=grid.measured_at if grid else None,
        target_grid_power_w=decision.target_w,
        setpoints=tuple(_setpoint(setpoint, valid_until) for setpoint in decision.setpoints),
        limits=tuple(
            Limit(
                level=limit.level,
                reason=limit.reason,
                export_limit_w=limit.limit_w,
                basis="each-phase" if limit.each_phase else "total",
            )
            for limit in decision.limits
        ),
        reason=decision.reason,
    )


def _setpoint(setpoint: UnitSetpoint, valid_until: datetime) -> Setpoint:
    return Setpoint(
        device=setpoint.unit_id,
        battery_power_w=setpoint.battery_power_w,
        ac_limit_w=setpoint.ac_limit_w,
        failsafe_ac_limit_w=setpoint.failsafe_ac_limit_w,
        valid_until=valid_until,
        owner="policy",
        battery_causes=tuple(map(_cause, setpoint.battery_chain)),
        ac_limit_causes=tuple(map(_cause, setpoint.ac_limit_chain)),
    )


def _cause(link: Link) -> Cause:
    return Cause(
        level=link.level,
        rule=link.rule,
        reason=link.reason,
        lower_w=None if isinf(link.lower_w) else link.lower_w,
        upper_w=None if isinf(link.upper_w) else link.upper_w,
    )
