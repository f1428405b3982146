"""One energy balance behind all devices: per phase, grid = load - what the inverters feed.

Advances in steps that it is given; knows no real clock. House time runs `speed` times faster than
the steps, for load, light and the batteries' charge; lags, protocols and meters stay in real time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sim.generate import Clouds, Field, Load, Script, Trace
from sim.grid import PHASES, Grid
from sim.inverter import Forced
from sim.meters import Meter
from sim.sun2000 import Sun2000

STEP_S = 0.02
LOAD_POWER_FACTOR = 0.97
LOAD_VAR_PER_W = math.tan(math.acos(LOAD_POWER_FACTOR))


@dataclass(slots=True)
class Unit:
    """An inverter in the house, and the light on its modules."""

    name: str
    device: Sun2000
    fields: Sequence[Field]
    trace_share: float = 0.0
    """Of a trace's PV; 0 where the fields give the light."""
    pv_scale: float = 1.0
    pv_override_w: float | None = None
    """DC power available whatever the sky says."""


@dataclass(slots=True)
class House:
    """All that is physical.

    `phases` lists the phases that the connection has; loads of missing ones are on the first.
    """

    grid: Grid
    load: Load
    clouds: Clouds | None
    units: Sequence[Unit]
    start: datetime
    script: Script
    phases: Sequence[int] = (0, 1, 2)
    meters: Sequence[Meter] = ()
    trace: Trace | None = None
    speed: float = 1.0
    utc_offset_h: float = 1.0
    elapsed_s: float = 0.0
    """Real seconds since the start."""
    extra_w: list[float] = field(default_factory=lambda: [0.0] * PHASES)
    """Load ordered from outside, per phase."""
    load_w: list[float] = field(default_factory=lambda: [0.0] * PHASES)
    steps: int = 0

    def time(self) -> datetime:
        """House time, UTC."""
        return self.start + timedelta(seconds=self.elapsed_s * self.speed)

    def local_time(self) -> datetime:
        """What the clocks in the house show."""
        return self.time() + timedelta(hours=self.utc_offset_h)

    def step(self) -> None:
        """Advance by STEP_S."""
        self.steps += 1
        self.elapsed_s = self.steps * STEP_S
        epoch_s = self.start.timestamp() + self.elapsed_s * self.speed
        scripted_w, light = self.script.at(self.elapsed_s)
        wanted_w = [
            a + b + c
            for a, b, c in zip(self.load.at(epoch_s), scripted_w, self.extra_w, strict=True)
        ]
        if len(self.phases) < PHASES:
            wanted_w = [sum(wanted_w), 0.0, 0.0]
        self.load_w = wanted_w
        power_w = list(wanted_w)
        light *= self.clouds.at(epoch_s) if self.clouds else 1.0
        for unit in self.units:
            stage, phases = unit.device.stage, unit.device.identity.phases
            stage.step(STEP_S, self._pv_available_w(unit, epoch_s, light), speed=self.speed)
            for phase in phases:
                power_w[phase] -= stage.ac_w / len(phases)
        self.grid.power_w = power_w
        self.grid.reactive_var = [load_w * LOAD_VAR_PER_W for load_w in wanted_w]
        self.grid.count(STEP_S)
        for unit in self.units:
            unit.device.tick(self.elapsed_s, STEP_S, self.grid)
        for meter in self.meters:
            meter.tick(self.elapsed_s, self.grid)

    def _pv_available_w(self, unit: Unit, epoch_s: float, light: float) -> float:
        if unit.pv_override_w is not None:
            return unit.pv_override_w
        if self.trace is None or not unit.trace_share:
            return unit.pv_scale * light * sum(field.at(epoch_s) for field in unit.fields)
        ac_w = self.trace.pv.at(self.trace.wrapped(epoch_s)) * unit.trace_share * unit.pv_scale
        return unit.device.stage.dc_of(ac_w) if ac_w > 0 else 0.0

    def state(self) -> dict[str, Any]:
        """The whole truth, ready for JSON; powers in W, positive towards the house."""
        grid = self.grid
        return {
            "time": self.time().astimezone(UTC).isoformat(),
            "elapsed_s": round(self.elapsed_s, 3),
            "grid_power_w": grid.total_w,
            "grid_power_per_phase_w": grid.power_w,
            "grid_import_wh": grid.import_wh,
            "grid_export_wh": grid.export_wh,
            "frequency_hz": grid.frequency_hz,
            "load_power_w": sum(self.load_w),
            "load_power_per_phase_w": self.load_w,
            "extra_load_w": self.extra_w,
            "inverters": {unit.name: _inverter_state(unit) for unit in self.units},
        }


def _inverter_state(unit: Unit) -> dict[str, Any]:
    device = unit.device
    stage, battery, orders = device.stage, device.stage.battery, device.stage.orders
    return {
        "ac_power_w": stage.ac_w,
        "pv_power_w": stage.pv_w,
        "pv_available_w": stage.pv_available_w,
        "battery_power_w": stage.battery_w if battery else None,
        "soc_pct": battery.soc_pct if battery else None,
        "charged_wh": battery.charged_wh if battery else None,
        "discharged_wh": battery.discharged_wh if battery else None,
        "rated_power_w": stage.spec.rated_w,
        "running": orders.running,
        "curtailed": stage.curtailed,
        "ac_limit_w": min(orders.ac_limit_w, stage.spec.rated_w),
        "ac_limit_reached_w": stage.ceiling_w,
        "forced": device.forced.name.lower(),
        "forced_effective": orders.forced.name.lower(),
        "forced_w": orders.forced_w if orders.forced is not Forced.NONE else None,
        "device_status": device.status,
        "alarms": sorted(device.alarms),
        "flash_writes": device.image.flash_writes,
    }
