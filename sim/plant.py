"""From a scenario to a house with its lines, ports and stream, connected but not yet started."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sim.appliances import HouseLoad
from sim.battery import Battery, BatterySpec
from sim.generate import Clouds, Event, Field, Load, Script, Trace, TraceLoad, read_trace
from sim.grid import PHASES, Grid
from sim.house import STEP_S, House, Unit
from sim.inverter import PowerStage, StageSpec
from sim.line import PacedLine
from sim.meters import Meter
from sim.modbus import Device
from sim.samples import SampleStream
from sim.scenario import OWN_PORT, InverterSection, MeterSection, Scenario
from sim.station import Station
from sim.sun import Place, Surface
from sim.sun2000 import Manners, Sun2000
from sim.sun2000_view import Identity
from sim.tcp import TcpPort
from sim.watch import History, Watch
from sim.waveform import GridSystem, Sensors, Waveform
from sim.wire import Wire

HISTORY_S = 300.0


class SteadyLoad:
    """A load that never changes, spread over the phases."""

    def __init__(self, load_w: float) -> None:
        self._per_phase_w = load_w / PHASES

    def at(self, epoch_s: float) -> list[float]:
        """W per phase."""
        del epoch_s
        return [self._per_phase_w] * PHASES


@dataclass(slots=True)
class Plant:
    """Everything that runs, by name. The lock guards the house and all devices."""

    house: House
    stations: dict[str, Station]
    lines: dict[str, PacedLine]
    ports: dict[str, TcpPort]
    waveform: Waveform
    stream: SampleStream
    history: History
    lock: threading.Lock
    watches: dict[str, Watch] = field(default_factory=dict)
    jump_w: float = 0.0
    """Fault: added to what the current transformers see."""

    def step(self) -> None:
        """One step of the house, its samples, its record."""
        with self.lock:
            self.house.grid.frequency_hz = self.waveform.frequency_hz
            self.house.step()
        grid, units = self.house.grid, self.house.units
        phases = len(self.house.phases)
        seen_w = grid.power_w
        if self.jump_w:
            share_w = self.jump_w / phases
            seen_w = [p + share_w if i < phases else p for i, p in enumerate(seen_w)]
        self.stream.send(seen_w, grid.reactive_var)
        for watch in self.watches.values():
            watch.step(grid.power_w, phases, STEP_S)
        stages = [unit.device.stage for unit in units]
        self.history.add(
            self.house.elapsed_s,
            grid.total_w,
            sum(self.house.load_w),
            sum(stage.pv_w for stage in stages),
            sum(stage.battery_w for stage in stages),
            *(stage.ac_w for stage in stages),
        )

    def unit(self, name: str) -> Unit:
        """An inverter by name, or KeyError."""
        return next((u for u in self.house.units if u.name == name), None) or _unknown(name)

    def state(self) -> dict[str, Any]:
        """The house's truth, and what was seen on lines and ports."""
        return {
            **self.house.state(),
            "lines": {name: _report(line) for name, line in self.lines.items()},
            "tcp": {
                name: {"port": port.port, "running": port.running, **_public(port.report)}
                for name, port in self.ports.items()
            },
            "stations": {
                name: {"requests": station.requests, "exceptions": station.exceptions}
                for name, station in self.stations.items()
            },
            "samples": {"port": self.stream.port, "lost_blocks": self.stream.lost_blocks},
        }


def _unknown(name: str) -> Unit:
    raise KeyError(name)


def _public(report: object) -> dict[str, Any]:
    """A report's counters; what never happened has no number."""
    counters = {name: getattr(report, name) for name in type(report).__slots__}  # type: ignore[attr-defined]
    return {n: None if isinstance(c, float) and math.isinf(c) else c for n, c in counters.items()}


def _report(line: PacedLine) -> dict[str, Any]:
    return {"path": str(line.link), "running": line.running, **_public(line.wire.report)}


def build(scenario: Scenario, folder: Path, state_dir: Path, start: datetime) -> Plant:
    """Connect everything that a scenario names.

    Args:
        scenario: What there is.
        folder: Where the scenario's relative paths begin.
        state_dir: Where the links to the pseudo-terminals go.
        start: House time at the start, UTC.

    Raises:
        ValueError: The trace cannot be used.
        OSError: The trace cannot be read.
    """
    trace = read_trace(folder / scenario.load.trace) if scenario.load.trace else None
    grid = Grid(scenario.house.voltage_v, scenario.house.frequency_hz)
    lock = threading.Lock()
    house = _house(scenario, trace, grid, start)
    house.units = [_unit(scenario, i, house.local_time) for i in range(len(scenario.inverters))]
    meters = {
        section.name: Meter(section.model, period_s=section.period_s, inverted=section.inverted)
        for section in scenario.meters
    }
    house.meters = list(meters.values())
    devices: dict[str, Device] = {unit.name: unit.device for unit in house.units}
    devices |= meters
    hung: list[InverterSection | MeterSection] = [*scenario.inverters, *scenario.meters]
    stations = {
        section.name: Station(
            section.name,
            devices[section.name],
            device_s=(section.device_ms[0] / 1000, section.device_ms[1] / 1000),
            lock=lock,
            seed=scenario.seed + i,
        )
        for i, section in enumerate(hung)
    }
    on = {
        place: {s.unit: stations[s.name] for s in hung if s.on == place}
        for place in {s.on for s in hung}
    }
    lines = {
        line.name: PacedLine(
            Wire(
                on.get(line.name, {}),
                baud=line.baud,
                chunk_s=line.chunk_ms / 1000,
                strict=line.strict,
            ),
            state_dir / line.name,
        )
        for line in scenario.lines
    }
    for port in scenario.ports:
        here = {station.name for station in on.get(port.name, {}).values()}
        together = [unit.device for unit in house.units if unit.name in here]
        for device in together:
            device.behind = [other for other in together if other is not device]
    waveform = Waveform(
        GridSystem(scenario.house.grid_system),
        _sensors(scenario),
        voltage_v=scenario.house.voltage_v,
        frequency_hz=scenario.house.frequency_hz,
        seed=scenario.seed,
    )
    return Plant(
        house=house,
        stations=stations,
        lines=lines,
        ports=_ports(scenario, stations, on),
        waveform=waveform,
        stream=SampleStream(waveform, scenario.ct.port),
        history=History(HISTORY_S, STEP_S, tuple(f"{unit.name}_ac_w" for unit in house.units)),
        lock=lock,
    )


def _house(scenario: Scenario, trace: Trace | None, grid: Grid, start: datetime) -> House:
    load: Load
    if trace:
        load = TraceLoad(trace, scenario.load.phase_shares)
    elif scenario.load.appliances:
        load = HouseLoad(
            scenario.seed, scenario.load.people, scenario.load.base_w, scenario.house.utc_offset_h
        )
    else:
        load = SteadyLoad(scenario.load.base_w)
    kind = None if scenario.sky.kind == "drawn" else scenario.sky.kind
    return House(
        grid=grid,
        load=load,
        clouds=None if trace else Clouds(scenario.seed, kind),
        units=[],
        start=start,
        script=_script(scenario),
        phases=scenario.phases,
        trace=trace,
        speed=scenario.house.speed,
        utc_offset_h=scenario.house.utc_offset_h,
    )


def _script(scenario: Scenario) -> Script:
    events = [
        Event(
            at_s=event.at_s,
            lasts_s=event.lasts_s,
            load_w=event.load_w,
            phase=None if event.phase is None else event.phase - 1,
            light=event.light,
            ramp_s=event.ramp_s,
        )
        for event in scenario.script.events
    ]
    return Script(events, scenario.script.repeat_s, scenario.phases)


def _unit(scenario: Scenario, index: int, local_time: Callable[[], datetime]) -> Unit:
    section = scenario.inverters[index]
    place = Place(scenario.house.latitude_deg, scenario.house.longitude_deg)
    battery = section.battery
    cells = (
        Battery(
            BatterySpec(battery.capacity_wh, battery.max_charge_w, battery.max_discharge_w),
            battery.soc_pct,
        )
        if battery
        else None
    )
    stage = PowerStage(StageSpec(section.rated_w, section.dead_time_s, section.lag_s), cells)
    identity = Identity(
        model=section.model,
        serial=section.serial or f"HV21500{scenario.seed % 1000:03d}{index + 1:02d}",
        unit=section.unit,
        strings=max(1, len(section.fields)),
        phases=tuple(phase - 1 for phase in section.phases)
        if len(scenario.phases) > 1
        else scenario.phases,
    )
    manners = Manners(
        telemetry_period_s=section.telemetry_period_s,
        telemetry_age_s=section.telemetry_age_s,
        gain_error=section.gain_error_pct / 100,
        ramp_w_s=section.ramp_w_s,
        start_s=section.start_s,
        discharge_cutoff_pct=battery.cutoff_pct if battery else 0.0,
        grid_charge=battery.grid_charge if battery else False,
        own_meter=section.own_meter,
        unreliable_expiry=section.unreliable_expiry,
    )
    peaks_w = [sum(field.peak_w for field in each.fields) for each in scenario.inverters]
    return Unit(
        name=section.name,
        device=Sun2000(identity, manners, stage, local_time),
        fields=[
            Field(place, Surface(field.tilt_deg, field.azimuth_deg), field.peak_w)
            for field in section.fields
        ],
        trace_share=peaks_w[index] / sum(peaks_w) if sum(peaks_w) else 1 / len(peaks_w),
    )


def _sensors(scenario: Scenario) -> Sensors:
    ct = scenario.ct
    return Sensors(
        primary_a=ct.primary_a,
        secondary_a=ct.secondary_ma / 1000,
        ratio_error_pct=ct.ratio_error_pct,
        phase_error_min=ct.phase_error_min,
        reversed_phases=frozenset(phase - 1 for phase in ct.reversed),
        order=tuple(phase - 1 for phase in ct.order),
        bits=ct.bits,
        noise=ct.noise,
    )


def _ports(
    scenario: Scenario, stations: dict[str, Station], on: dict[str, dict[int, Station]]
) -> dict[str, TcpPort]:
    ports = {
        port.name: TcpPort(
            on.get(port.name, {}),
            port=port.port,
            one_client=port.one_client,
            settle_s=port.settle_s,
        )
        for port in scenario.ports
    }
    for inverter in scenario.inverters:
        if inverter.on == OWN_PORT:
            ports[inverter.name] = TcpPort(
                {inverter.unit: stations[inverter.name]},
                port=inverter.port,
                one_client=inverter.one_client,
                settle_s=inverter.settle_s,
            )
    for meter in scenario.meters:
        if meter.on == OWN_PORT:
            ports[meter.name] = TcpPort({meter.unit: stations[meter.name]}, port=meter.port)
    return ports
