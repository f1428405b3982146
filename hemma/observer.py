"""The house as seen from the bus: what `hemma status` prints and the demo draws."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bus.inverters import Followed, InverterReading, InverterState
from bus.metering import GridEnergy, GridReading, MeterState
from bus.policy import Dispatch, Setpoint
from bus.site import ChangeSettings, Ess, FeedIn, Plant
from bus.system import Fault, Faults, Health, Online
from hemma import registry
from hemma.broker import OPERATOR
from runtime.actor import Actor, Bus, on
from runtime.clock import Clock

FRESH_S = 2.0
"""A grid reading or dispatch older than this is not the present."""


@dataclass
class House:
    """The last of every message, by kind and by what it concerns."""

    grid: GridReading | None = None
    energy: GridEnergy | None = None
    meter: MeterState | None = None
    dispatch: Dispatch | None = None
    inverters: dict[str, InverterReading] = field(default_factory=dict)
    inverter_states: dict[str, InverterState] = field(default_factory=dict)
    online: dict[str, Online] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    faults: dict[str, Faults] = field(default_factory=dict)
    feed_in: FeedIn | None = None
    ess: Ess | None = None
    plant: Plant | None = None

    def all_faults(self) -> list[tuple[str, Fault]]:
        """Every active fault with the process that holds it."""
        return [(name, fault) for name, held in self.faults.items() for fault in held.faults]


class Observer(Actor):
    """Hears everything, says nothing; the operator's requests go out through it."""

    name = OPERATOR
    requests = (ChangeSettings,)

    def __init__(self, bus: Bus, clock: Clock) -> None:
        """Args: bus: with the operator's credential. clock: for ages."""
        super().__init__(bus, clock)
        self.house = House()

    @on(GridReading)
    async def grid_measured(self, reading: GridReading) -> None:
        """Keep the newest."""
        self.house.grid = reading

    @on(GridEnergy)
    async def energy_counted(self, energy: GridEnergy) -> None:
        """Keep the newest."""
        self.house.energy = energy

    @on(MeterState)
    async def meter_described(self, meter: MeterState) -> None:
        """Keep the newest."""
        self.house.meter = meter

    @on(Dispatch)
    async def dispatched(self, dispatch: Dispatch) -> None:
        """Keep the newest."""
        self.house.dispatch = dispatch

    @on(InverterReading)
    async def inverter_measured(self, reading: InverterReading) -> None:
        """Keep the newest of each inverter."""
        self.house.inverters[reading.inverter_id] = reading

    @on(InverterState)
    async def inverter_described(self, described: InverterState) -> None:
        """Keep the newest of each inverter."""
        self.house.inverter_states[described.inverter_id] = described

    @on(Online)
    async def came_or_went(self, online: Online) -> None:
        """Keep the newest of each process."""
        self.house.online[online.process] = online

    @on(Health)
    async def health_told(self, health: Health) -> None:
        """Keep the newest of each process."""
        self.house.health[health.process] = health

    @on(Faults)
    async def faults_told(self, faults: Faults) -> None:
        """Keep the newest of each process."""
        self.house.faults[faults.process] = faults

    @on(FeedIn)
    @on(Ess)
    @on(Plant)
    async def settings_told(self, settings: FeedIn | Ess | Plant) -> None:
        """Keep the newest of each section."""
        match settings:
            case FeedIn():
                self.house.feed_in = settings
            case Ess():
                self.house.ess = settings
            case Plant():
                self.house.plant = settings


def status(house: House, now: datetime) -> dict[str, Any]:
    """The whole house as `hemma status --json` prints it; its schema is docs/status.schema.json.

    Returns:
        Plain JSON types; `ok` says whether all processes are there, the grid is measured, a
        dispatch holds and nothing critical or major is wrong.
    """
    grid_age_s = _age_s(house.grid.measured_at if house.grid else None, now)
    dispatch_age_s = _age_s(house.dispatch.decided_at if house.dispatch else None, now)
    online = {name: _is_online(house.online.get(name)) for name in registry.NAMES}
    grave = [fault for _, fault in house.all_faults() if fault.severity in {"critical", "major"}]
    fresh = all(age is not None and age < FRESH_S for age in (grid_age_s, dispatch_age_s))
    return {
        "ok": fresh and all(online.values()) and not grave,
        "at": now.isoformat(),
        "grid": _grid(house, grid_age_s),
        "inverters": {name: _inverter(house, name, now) for name in _inverter_names(house)},
        "setpoints": _setpoints(house),
        "limits": [
            limit.model_dump(mode="json")
            for limit in (house.dispatch.limits if house.dispatch else ())
        ],
        "dispatch": {
            "age_s": dispatch_age_s,
            "reason": house.dispatch.reason if house.dispatch else None,
        },
        "services": {
            name: {
                "online": online[name],
                "age_s": _age_s(_since(house.online.get(name)), now),
                "counters": _counters(house.health.get(name)),
            }
            for name in registry.NAMES
        },
        "faults": [
            {"process": name, **fault.model_dump(mode="json")} for name, fault in house.all_faults()
        ],
    }


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else round((now - moment).total_seconds(), 3)


def _is_online(online: Online | None) -> bool:
    return online is not None and online.online


def _since(online: Online | None) -> datetime | None:
    return online.since if online else None


def _counters(health: Health | None) -> dict[str, Any] | None:
    return None if health is None else health.model_dump(mode="json", exclude={"process"})


def _grid(house: House, age_s: float | None) -> dict[str, Any]:
    grid, energy = house.grid, house.energy
    return {
        "power_w": grid.grid_power_w if grid else None,
        "age_s": age_s,
        "frequency_hz": grid.frequency_hz if grid else None,
        "phases": {phase.phase: phase.active_power_w for phase in grid.phases} if grid else {},
        "flags": list(grid.flags) if grid else [],
        "import_energy_wh": energy.total.import_energy_wh if energy else None,
        "export_energy_wh": energy.total.export_energy_wh if energy else None,
    }


def _inverter_names(house: House) -> list[str]:
    return sorted({*house.inverters, *house.inverter_states})


def _inverter(house: House, name: str, now: datetime) -> dict[str, Any]:
    reading, described = house.inverters.get(name), house.inverter_states.get(name)
    powers = ("ac_power_w", "pv_power_w", "battery_power_w", "soc_pct", "lease")
    return {
        **{key: getattr(reading, key) if reading else None for key in powers},
        "age_s": _age_s(reading.measured_at if reading else None, now),
        "online": described.online if described else False,
        "model": described.model if described else None,
        "rated_power_w": described.rated_power_w if described else None,
        "alarms": list(described.alarms) if described else [],
    }


def _setpoints(house: House) -> dict[str, Any]:
    """Each quantity that is steered, by `device.quantity`."""
    steered: dict[str, Any] = {}
    for setpoint in house.dispatch.setpoints if house.dispatch else ():
        reading = house.inverters.get(setpoint.device)
        for quantity, causes in (
            ("battery", setpoint.battery_causes),
            ("ac_limit", setpoint.ac_limit_causes),
        ):
            followed = getattr(reading, quantity) if reading else None
            deciding = causes[-1] if causes else None
            steered[f"{setpoint.device}.{quantity}"] = {
                "asked": _asked(setpoint, quantity),
                **_followed(followed),
                "owner": setpoint.owner,
                "level": deciding.level if deciding else None,
                "reason": deciding.reason if deciding else None,
                "causes": [cause.model_dump(mode="json") for cause in causes],
                "valid_until": setpoint.valid_until.isoformat(),
            }
    return steered


def _asked(setpoint: Setpoint, quantity: str) -> float | None:
    return setpoint.battery_power_w if quantity == "battery" else setpoint.ac_limit_w


def _followed(followed: Followed | None) -> Mapping[str, Any]:
    return {
        "confirmed": followed.confirmed_w if followed else None,
        "measured": followed.measured_w if followed else None,
        "why_not": followed.why_not if followed else None,
    }
