"""What the service asks of a driver, and how a driver says that it did not work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.modbus.figures import UnitFigures
from services.inverters.drivers.profile import Profile

Registers = Mapping[str, float | None]
"""Values by the name of their register; None: the device says that it does not know."""


class DeviceSilentError(Exception):
    """The device cannot be reached, or answered nothing that can be trusted."""

    def __init__(self, reason: str, retry_in_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_in_s = retry_in_s
        """It will not be asked before; 0: ask at any time."""


class DeviceRefusedError(Exception):
    """The device is there and says no."""


@dataclass(frozen=True)
class Identity:
    """What a device is."""

    model: str | None
    serial: str | None
    rated_power_w: float | None
    max_power_w: float | None
    """The highest limit that it takes."""
    has_battery: bool


@dataclass(frozen=True)
class Fast:
    """What the control needs, from one poll. Signs as on the bus."""

    at_s: float
    """Monotonic instant in the middle of the device's answers."""
    ac_power_w: float | None
    pv_power_w: float | None
    battery_power_w: float | None
    soc_pct: float | None


@dataclass(frozen=True)
class Slow:
    """What changes slowly."""

    device_status: str | None
    alarms: tuple[str, ...]
    firmware: str | None
    battery_capacity_wh: float | None
    max_charge_w: float | None
    max_discharge_w: float | None
    temperature_degc: float | None
    yield_energy_wh: float | None
    charge_energy_wh: float | None
    discharge_energy_wh: float | None
    details: Registers = field(default_factory=dict)
    """Everything that was read, by register: strings, phases, state words."""


@dataclass(frozen=True)
class Write:
    """One frame: registers that follow each other."""

    address: int
    words: tuple[int, ...]
    quantities: Mapping[str, float]
    """The same by name."""


class InverterDriver(Protocol):
    """One inverter. Every call may raise DeviceSilentError or DeviceRefusedError."""

    @property
    def profile(self) -> Profile:
        """What is known of its family."""

    @property
    def oddity(self) -> str | None:
        """The last figure that was refused because no such device can say it."""

    async def identify(self) -> Identity:
        """Ask what it is."""

    async def read_fast(self) -> Fast:
        """Poll for the control."""

    async def read_slow(self) -> Slow:
        """Poll for the screens and the bounds."""

    async def read_back(self, names: Collection[str]) -> Registers:
        """Read writable registers; those that the device does not have are left out."""

    async def write(self, write: Write) -> None:
        """Write one frame, before all reads."""

    def figures(self) -> UnitFigures:
        """How the line to it fares."""
