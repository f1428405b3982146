"""What is known of one inverter, and how that is told on the bus."""

from dataclasses import dataclass, field
from datetime import datetime

from bus.inverters import Followed, InverterReading, InverterState, Lease, LinkFigures
from runtime.modbus.figures import UnitFigures
from services.inverters.config import UnitConfig
from services.inverters.drivers.base import Fast, Identity, Registers, Slow
from services.inverters.drivers.profile import Profile
from services.inverters.model import (
    PV_BAND_W,
    Bounds,
    Held,
    Target,
    confirmed_ac_limit_w,
    confirmed_battery_w,
)


@dataclass
class Known:
    """The facts about one inverter, as last heard from it. None: not heard."""

    config: UnitConfig
    profile: Profile
    identity: Identity | None = None
    fast: Fast | None = None
    measured_at: datetime | None = None
    """Of `fast`."""
    slow: Slow | None = None
    held: Held | None = None
    """What its actuators hold; None: to be read back before anything is written."""
    read_back: Registers = field(default_factory=dict)
    """What it said last of its actuators, when asked."""

    @property
    def rated_power_w(self) -> float:
        """As it says itself, else as site.yaml says."""
        said_w = self.identity.rated_power_w if self.identity else None
        return said_w or self.config.rated_power_w

    @property
    def bounds(self) -> Bounds:
        """What it can take."""
        said_w = self.identity.max_power_w if self.identity else None
        return Bounds(
            max_power_w=said_w or self.rated_power_w,
            max_charge_w=self.slow.max_charge_w if self.slow else None,
            max_discharge_w=self.slow.max_discharge_w if self.slow else None,
        )

    @property
    def has_battery(self) -> bool:
        """Whether it said that there is one."""
        return self.identity is not None and self.identity.has_battery

    @property
    def pv_power_w(self) -> float | None:
        """DC power of all strings, at the last poll."""
        return self.fast.pv_power_w if self.fast else None

    @property
    def flash_name(self) -> str:
        """The device itself, so that a replaced one starts at no writes."""
        serial = self.identity.serial if self.identity else None
        return serial or self.config.id

    @property
    def ac_limit_w(self) -> float | None:
        """The AC limit that it confirmed."""
        return confirmed_ac_limit_w(self.profile, self.read_back, self.bounds.max_power_w)

    @property
    def battery_power_w(self) -> float | None:
        """The battery power that its confirmed command amounts to, with the present PV."""
        return confirmed_battery_w(self.profile, self.read_back, self.pv_power_w)

    @property
    def wrong_device(self) -> str | None:
        """Why it must be left alone; None: it is of the family that site.yaml names."""
        model = self.identity.model if self.identity else None
        if model is None or model.startswith(self.profile.models):
            return None
        return f"it calls itself {model!r}, which is no {self.profile.name}; left alone"


def reading(
    known: Known, lease: Lease, target: Target, explain: str | None
) -> InverterReading | None:
    """The last poll as a message; None when there was none.

    Args:
        known: Facts.
        lease: By whose word it runs.
        target: What is asked of it.
        explain: Why what it confirmed may differ from that just now.
    """
    fast, slow = known.fast, known.slow
    if fast is None or known.measured_at is None:
        return None
    battery_w = known.battery_power_w if target.battery_power_w is not None else None
    return InverterReading(
        inverter_id=known.config.id,
        measured_at=known.measured_at,
        ac_power_w=fast.ac_power_w,
        pv_power_w=fast.pv_power_w,
        battery_power_w=fast.battery_power_w if known.has_battery else None,
        soc_pct=fast.soc_pct if known.has_battery else None,
        max_charge_w=(slow.max_charge_w if slow else 0.0) if known.has_battery else None,
        max_discharge_w=(slow.max_discharge_w if slow else 0.0) if known.has_battery else None,
        lease=lease,
        battery=_followed(
            target.battery_power_w, battery_w, fast.battery_power_w, explain, PV_BAND_W
        ),
        ac_limit=_followed(target.ac_limit_w, known.ac_limit_w, fast.ac_power_w, explain, 1.0),
    )


def state(known: Known, figures: UnitFigures, *, online: bool, flash_writes: int) -> InverterState:
    """What it is and how it fares, as a message."""
    identity, slow = known.identity, known.slow
    return InverterState(
        inverter_id=known.config.id,
        online=online,
        model=identity.model if identity else None,
        serial=identity.serial if identity else None,
        firmware=slow.firmware if slow else None,
        rated_power_w=known.rated_power_w,
        phases=known.config.phases,
        has_battery=known.has_battery,
        charges_from_grid=bool(known.config.kept.charge_from_grid),
        battery_capacity_wh=slow.battery_capacity_wh if slow and known.has_battery else None,
        device_status=slow.device_status if slow else None,
        alarms=slow.alarms if slow else (),
        temperature_degc=slow.temperature_degc if slow else None,
        yield_energy_wh=slow.yield_energy_wh if slow else None,
        charge_energy_wh=slow.charge_energy_wh if slow else None,
        discharge_energy_wh=slow.discharge_energy_wh if slow else None,
        flash_writes=flash_writes,
        link=LinkFigures(
            answered=figures.answered,
            timed_out=figures.timed_out,
            late=figures.late,
            bad_frames=figures.bad_frames,
            exceptions=figures.exceptions,
            device_time_p50_ms=_ms(figures.times.percentile_s(50)),
            device_time_p99_ms=_ms(figures.times.percentile_s(99)),
        ),
    )


def _followed(
    asked_w: float | None,
    confirmed_w: float | None,
    measured_w: float | None,
    explain: str | None,
    tolerance_w: float,
) -> Followed:
    differ = asked_w is not None and (
        confirmed_w is None or abs(asked_w - confirmed_w) > tolerance_w
    )
    return Followed(
        asked_w=asked_w,
        confirmed_w=confirmed_w,
        measured_w=measured_w,
        why_not=(explain or "beyond the bounds of the device") if differ else None,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
