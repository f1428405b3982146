"""What a SUN2000 with a LUNA2000 shows of itself: every live register, from the facts of a moment.

Names are those of sun2000.csv. Source: SUN2000 Modbus interface definitions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sim.alarms import ALARMS
from sim.grid import SQRT3, Grid
from sim.inverter import Forced, PowerStage
from sim.registers import Physical

STANDBY_NO_LIGHT, STARTING, ON_GRID, ON_GRID_LIMITED = 0xA000, 0x0100, 0x0200, 0x0201
STOP_COMMAND, STOP_SILENCE = 0x0301, 0x0303
OFFLINE, STANDBY, RUNNING = 0, 1, 2
ALARM_WORDS = 5
MAX_STRINGS, MAX_PACKS, PACK_WH = 24, 6, 5000
STRING_OPEN_V, STRING_LOADED_V, DC_BUS_V, BATTERY_BUS_V = 620.0, 540.0, 700.0, 450.0
AMBIENT_DEGC = 25.0
WORKING_MODE_SHOWN = {0: 0, 1: 3, 2: 4, 3: 2, 4: 5, 5: 6}
"""37006 numbers the modes otherwise than the setting 47086."""
FORCED_MODE_SHOWN = 1

Shown = dict[str, Physical]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the device says of itself."""

    model: str
    serial: str
    unit: int
    software: str = "V100R001C00SPC141"
    protocol: str = "P1.12-D4.0"
    strings: int = 2
    phases: tuple[int, ...] = (0, 1, 2)
    """Phases that it feeds, 0 is L1."""

    def listed(self) -> bytes:
        """Its entry in a device list (function 2Bh, objects 88h and on)."""
        keys = {1: self.model, 2: self.software, 3: self.protocol, 4: self.serial, 5: self.unit}
        return ";".join(f"{key}={text}" for key, text in {**keys, 6: "1.0"}.items()).encode()


@dataclass(slots=True)
class Counters:
    """Energies since the device was made, and where they stood when each period began."""

    yield_wh: float = 0.0
    dc_wh: float = 0.0
    peak_w: float = 0.0
    _began: dict[str, tuple[object, dict[str, float]]] = field(default_factory=dict)

    def roll(self, now: datetime, totals_wh: dict[str, float]) -> dict[str, dict[str, float]]:
        """Energy of each total in the running hour, day, month and year."""
        keys = {
            "hour": (now.date(), now.hour),
            "day": now.date(),
            "month": (now.year, now.month),
            "year": now.year,
        }
        for period, key in keys.items():
            if self._began.get(period, (None,))[0] != key:
                self._began[period] = (key, dict(totals_wh))
                if period == "day":
                    self.peak_w = 0.0
        return {
            period: {name: wh - self._began[period][1][name] for name, wh in totals_wh.items()}
            for period in keys
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """The moment that is shown."""

    identity: Identity
    stage: PowerStage
    counters: Counters
    grid: Grid
    time: datetime
    started_at: datetime
    status: int
    alarms: frozenset[int]
    alarm_sequence: int
    battery_fault: int
    working_mode: int
    forced: Forced
    forced_w: float
    forced_left_s: float
    gain: float
    """Its own power measurements read this many times the truth."""
    own_meter: bool


def telemetry(facts: Facts) -> Shown:
    """Every register that changes by itself."""
    totals_wh = {"yield": facts.counters.yield_wh}
    if facts.stage.battery:
        totals_wh["charged"] = facts.stage.battery.charged_wh
        totals_wh["discharged"] = facts.stage.battery.discharged_wh
    lately_wh = facts.counters.roll(facts.time, totals_wh)
    epoch_s = facts.time.replace(tzinfo=UTC).timestamp()  # the device counts its local time
    return {
        **_state(facts),
        **_strings(facts),
        **_ac(facts),
        **(_battery(facts, lately_wh["day"]) if facts.stage.battery else _no_battery()),
        **_meter(facts),
        "clock_s": epoch_s,
        "yield_time_s": epoch_s,
        "startup_time_s": facts.started_at.replace(tzinfo=UTC).timestamp(),
        "yield_total_kwh": facts.counters.yield_wh / 1000,
        "dc_energy_total_kwh": facts.counters.dc_wh / 1000,
        "day_peak_w": facts.counters.peak_w,
        **{f"yield_{period}_kwh": wh["yield"] / 1000 for period, wh in lately_wh.items()},
    }


def _state(facts: Facts) -> Shown:
    status, stage = facts.status, facts.stage
    on_grid, limited = status in (ON_GRID, ON_GRID_LIMITED), status == ON_GRID_LIMITED
    stopped = status in (STOP_COMMAND, STOP_SILENCE)
    words = [0] * ALARM_WORDS
    for alarm in facts.alarms:
        words[ALARMS[alarm].word - 1] |= 1 << ALARMS[alarm].bit
    severities = [ALARMS[alarm].severity for alarm in facts.alarms]
    possible_w = stage.spec.rated_w if on_grid else 0.0
    return {
        "state_1": _bits(
            not on_grid, on_grid, on_grid and not limited, limited, 0, stopped, 0, 0, stopped
        ),
        "state_2": _bits(1, stage.pv_available_w > 0, 1),
        "device_status": status,
        **{f"alarm_{n}": word for n, word in enumerate(words, 1)},
        **{f"alarms_{name}": severities.count(name) for name in SEVERITIES},
        "alarm_sequence": facts.alarm_sequence,
        "alarm_history_sequence": facts.alarm_sequence,
        "active_power_possible_w": possible_w,
        "inductive_power_possible_var": 0.6 * possible_w,
    }


SEVERITIES = ("critical", "major", "minor", "warning")


def _bits(*flags: float) -> int:
    return sum(1 << i for i, flag in enumerate(flags) if flag)


def _strings(facts: Facts) -> Shown:
    stage, strings = facts.stage, facts.identity.strings
    pv_w, available_w = stage.pv_w * facts.gain, stage.pv_available_w
    used = min(1.0, stage.pv_w / available_w) if available_w > 0 else 0.0
    volts = STRING_OPEN_V - (STRING_OPEN_V - STRING_LOADED_V) * used if available_w > 0 else 0.0
    amps = pv_w / strings / volts if volts else 0.0
    shown: Shown = {
        "dc_power_w": pv_w,
        "predicted_power_w": available_w,
        "string_max_v": volts,
        "string_min_v": volts,
        "dc_bus_v": DC_BUS_V if stage.orders.running else 0.0,
    }
    for n in range(1, MAX_STRINGS + 1):
        shown[f"pv{n}_voltage_v"] = volts if n <= strings else None
        shown[f"pv{n}_current_a"] = amps if n <= strings else None
    for n in range(1, strings + 1):
        shown[f"tracker{n}_energy_kwh"] = facts.counters.dc_wh / strings / 1000
    return shown


def _ac(facts: Facts) -> Shown:
    stage, volts = facts.stage, facts.grid.voltage_v
    phases = len(facts.identity.phases)
    ac_w, dc_w = stage.ac_w * facts.gain, stage.pv_w + stage.battery_w
    load = abs(stage.ac_w) / stage.spec.rated_w
    amps, line_v = ac_w / phases / volts, volts * SQRT3
    shown: Shown = {
        "active_power_w": ac_w,
        "active_power_fast_w": ac_w,
        "reactive_power_var": 0.0,
        "power_factor": 1.0,
        "frequency_hz": facts.grid.frequency_hz,
        "efficiency_pct": min(100.0, 100 * stage.ac_w / dc_w) if stage.ac_w > 0 else 0.0,
        "temperature_degc": AMBIENT_DEGC + 25 * load,
        **{f"module_{n}_degc": AMBIENT_DEGC + 30 * load for n in (1, 2, 3)},
        "voltage_ab_v": line_v if phases > 1 else volts,  # single-phase models show U there
    }
    for i, (phase, line) in enumerate((("a", "ab"), ("b", "bc"), ("c", "ca"))):
        shown[f"voltage_{phase}_v"] = volts if i < phases else None
        shown[f"current_{phase}_a"] = amps if i < phases else None
        if i:
            shown[f"voltage_{line}_v"] = line_v if phases > 1 else None
    return shown


def _battery(facts: Facts, today_wh: dict[str, float]) -> Shown:
    stage, battery = facts.stage, facts.stage.battery
    assert battery is not None  # noqa: S101 - the caller asked for it
    charge_w = -stage.battery_w * facts.gain
    charged_kwh, discharged_kwh = battery.charged_wh / 1000, battery.discharged_wh / 1000
    forced = facts.forced is not Forced.NONE
    status = RUNNING if stage.orders.running else STANDBY
    both: Shown = {
        "status": status,
        "power_w": charge_w,
        "bus_v": BATTERY_BUS_V,
        "bus_a": charge_w / BATTERY_BUS_V,
        "soc_pct": battery.soc_pct,
        "charged_day_kwh": today_wh["charged"] / 1000,
        "discharged_day_kwh": today_wh["discharged"] / 1000,
        "charged_total_kwh": charged_kwh,
        "discharged_total_kwh": discharged_kwh,
    }
    packs = pack_count(battery.spec.capacity_wh)
    pack: Shown = {
        "status": status,
        "soc_pct": battery.soc_pct,
        "power_w": charge_w / packs,
        "voltage_v": BATTERY_BUS_V,
        "current_a": charge_w / packs / BATTERY_BUS_V,
        "charged_kwh": charged_kwh / packs,
        "discharged_kwh": discharged_kwh / packs,
        "max_degc": AMBIENT_DEGC + 1,
        "min_degc": AMBIENT_DEGC - 1,
    }
    return {
        **_no_packs(range(packs + 1, MAX_PACKS + 1)),
        **{f"pack{n}_{name}": pack[name] for n in range(1, packs + 1) for name in pack},
        **{f"ess1_{name}": content for name, content in both.items()},
        **{f"ess_{name}": content for name, content in both.items()},
        "ess1_mode": FORCED_MODE_SHOWN if forced else WORKING_MODE_SHOWN[facts.working_mode],
        "ess1_fault_id": facts.battery_fault,
        "ess1_temperature_degc": AMBIENT_DEGC,
        "ess1_forced_left_min": -(-facts.forced_left_s // 60),
        "forced_signed_w": facts.forced_w * {Forced.DISCHARGE: -1}.get(facts.forced, 1),
        # what the cells take and give now, whatever cut-off is set
        "charge_ceiling_w": battery.charge_room_w(101.0),
        "discharge_ceiling_w": battery.discharge_room_w(-1.0),
    }


def pack_count(capacity_wh: float) -> int:
    """LUNA2000 packs hold 5 kWh each, one to three in a unit."""
    return min(3, max(1, round(capacity_wh / PACK_WH)))


PACK_FIELDS = "soc_pct power_w voltage_v current_a charged_kwh discharged_kwh max_degc min_degc"


def _no_packs(numbers: Iterable[int]) -> Shown:
    return {
        **{f"pack{n}_{name}": None for n in numbers for name in PACK_FIELDS.split()},
        **{f"pack{n}_status": OFFLINE for n in numbers},
    }


_BOTH_FIELDS = (
    "power_w bus_v bus_a soc_pct charged_day_kwh discharged_day_kwh "
    "charged_total_kwh discharged_total_kwh"
)


def _no_battery() -> Shown:
    return {
        **_no_packs(range(1, MAX_PACKS + 1)),
        **{f"{unit}_{name}": None for unit in ("ess1", "ess") for name in _BOTH_FIELDS.split()},
        "ess1_status": OFFLINE,
        "ess_status": OFFLINE,
        "ess1_mode": 0,
        "ess1_fault_id": 0,
        "ess1_temperature_degc": None,
        "ess1_forced_left_min": 0,
        "forced_signed_w": 0,
        "charge_ceiling_w": 0,
        "discharge_ceiling_w": 0,
    }


def _meter(facts: Facts) -> Shown:
    """The inverter's own meter; its power is positive towards the grid."""
    grid, there = facts.grid, facts.own_meter
    shown: Shown = {
        "meter_status": float(there),
        "meter_type": float(len(facts.identity.phases) > 1),
        "meter_recognised": float(there),
        "meter_power_w": -grid.total_w,
        "meter_reactive_var": -grid.total_var,
        "meter_power_factor": -grid.power_factor(),
        "meter_frequency_hz": grid.frequency_hz,
        "meter_export_kwh": grid.export_wh / 1000,
        "meter_import_kwh": grid.import_wh / 1000,
    }
    for i, (phase, line) in enumerate((("a", "ab"), ("b", "bc"), ("c", "ca"))):
        shown[f"meter_power_{phase}_w"] = -grid.power_w[i]
        shown[f"meter_current_{phase}_a"] = -grid.power_w[i] / grid.voltage_v
        shown[f"meter_voltage_{phase}_v"] = grid.voltage_v
        shown[f"meter_voltage_{line}_v"] = grid.voltage_v * SQRT3
    status = ("meter_status", "meter_type", "meter_recognised")
    return shown if there else {n: c if n in status else None for n, c in shown.items()}
