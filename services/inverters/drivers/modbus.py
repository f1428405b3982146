"""Any inverter that a profile describes, over a Modbus link."""

import math
from collections.abc import Awaitable, Collection, Iterable, Mapping
from typing import TypeVar

from runtime.modbus.errors import ExceptionCodeError, ModbusError
from runtime.modbus.figures import UnitFigures
from runtime.modbus.link import Lane, Link
from runtime.modbus.poll import BlockReader
from runtime.modbus.registers import Quantity, Register, decode_from
from services.inverters.drivers.base import (
    DeviceRefusedError,
    DeviceSilentError,
    Fast,
    Identity,
    Registers,
    Slow,
    Write,
)
from services.inverters.drivers.profile import Alarm, Profile

Answer = TypeVar("Answer")
Decoded = Mapping[str, Quantity | None]
_PASSING = ExceptionCodeError.BUSY | ExceptionCodeError.LOST
"""Exceptions that say "not now", not "no"."""
_PLAUSIBLE = {"W": (-1e6, 1e6), "Wh": (0, 1e12), "%": (0, 100), "degC": (-100, 300)}
"""Bounds by unit, those of the bus (`bus.units`)."""


class ModbusInverter:
    """One unit on a link."""

    def __init__(self, link: Link, unit: int, profile: Profile) -> None:
        """Args: unit: its Modbus unit id."""
        self._profile = profile
        self._oddity: str | None = None
        self._link = link
        self._unit = unit
        self._groups = profile.table.groups
        self._fast = self._reader(self._groups.get("fast", ()))
        self._slow = self._reader(self._groups.get("slow", ()))
        self._nameplate: Decoded | None = None
        self._readers: dict[frozenset[str], BlockReader] = {}

    @property
    def profile(self) -> Profile:
        """What is known of its family."""
        return self._profile

    @property
    def oddity(self) -> str | None:
        """The last figure that was refused because no such device can say it."""
        return self._oddity

    async def identify(self) -> Identity:
        """Ask what it is, and forget what an earlier device here did not have."""
        self._readers.clear()
        self._nameplate = None
        self._fast = self._reader(self._groups.get("fast", ()))
        read, _ = await self._read(self._reader(self._groups.get("first", ())), "first", Lane.FAST)
        products = [_number(read, f"battery_{n}_product") for n in (1, 2)]
        return Identity(
            model=_text(read, "model"),
            serial=_text(read, "serial"),
            rated_power_w=_number(read, "rated_power_w"),
            max_power_w=_number(read, "max_power_w"),
            has_battery=self.profile.battery is not None and any(products),
        )

    async def read_fast(self) -> Fast:
        """Poll for the control."""
        read, at_s = await self._read(self._fast, "fast", Lane.FAST)
        return Fast(
            at_s=at_s,
            ac_power_w=_number(read, "ac_power_w"),
            pv_power_w=_number(read, "pv_power_w"),
            battery_power_w=_number(read, "battery_power_w"),
            soc_pct=_number(read, "soc_pct"),
        )

    async def read_slow(self) -> Slow:
        """Poll for the screens and the bounds."""
        if self._nameplate is None:
            self._nameplate = await self._read_nameplate()
        nameplate = self._nameplate
        read, _ = await self._read(self._slow, "slow", Lane.SLOW)
        status = _number(read, "device_status")
        return Slow(
            device_status=(
                None
                if status is None
                else self.profile.statuses.get(int(status), f"status {int(status):#06x}")
            ),
            alarms=active_alarms(self.profile.alarms, read),
            firmware=_text(nameplate, "firmware"),
            battery_capacity_wh=_number(nameplate, "battery_capacity_wh"),
            max_charge_w=_number(read, "max_charge_w"),
            max_discharge_w=_number(read, "max_discharge_w"),
            temperature_degc=_number(read, "temperature_degc"),
            yield_energy_wh=_number(read, "yield_energy_wh"),
            charge_energy_wh=_number(read, "charge_energy_wh"),
            discharge_energy_wh=_number(read, "discharge_energy_wh"),
            details={name: _number(read, name) for name in read},
        )

    async def read_back(self, names: Collection[str]) -> Registers:
        """Read writable registers; those that the device does not have are left out."""
        rows = [self.profile.table[name] for name in names]
        reader = self._readers.setdefault(frozenset(names), self._reader(rows))
        words = (await _told(reader.read(Lane.FAST))).words
        return {
            row.name: quantity if isinstance(quantity, (int, float)) else None
            for row in rows
            if row.address in words
            for quantity in (decode_from(row, words),)
        }

    async def write(self, write: Write) -> None:
        """Write one frame, before all reads."""
        await _told(self._link.write(self._unit, write.address, write.words))

    def figures(self) -> UnitFigures:
        """How the line to it fares."""
        return self._link.figures(self._unit)

    async def _read_nameplate(self) -> Decoded:
        """What never changes and does not hurry; with it, which strings there are."""
        read, _ = await self._read(self._reader(self._groups.get("once", ())), "once", Lane.SLOW)
        strings = _number(read, "string_count")
        rows = self._groups.get("slow", ())
        if strings is not None:
            rows = tuple(row for row in rows if _string_of(row) <= strings)
        self._slow = self._reader(rows)
        return read

    async def _read(self, reader: BlockReader, group: str, lane: Lane) -> tuple[Decoded, float]:
        readout = await _told(reader.read(lane))
        return self._decoded(self._groups.get(group, ()), readout.words), readout.at_s

    def _decoded(self, rows: Iterable[Register], words: Mapping[int, int]) -> Decoded:
        """Decode, and refuse what is outside of what a home's device can say."""
        decoded = self.profile.table.decode(rows, words)
        for name, quantity in decoded.items():
            unit = self.profile.table[name].unit
            low, high = _PLAUSIBLE.get(unit, (-math.inf, math.inf))
            if isinstance(quantity, (int, float)) and not low <= quantity <= high:
                self._oddity = f"{name} says {quantity:g} {unit}"
                decoded[name] = None
        return decoded

    def _reader(self, rows: Iterable[Register]) -> BlockReader:
        return BlockReader(self._link, self._unit, rows, max_registers=self.profile.max_registers)


def active_alarms(alarms: Iterable[Alarm], read: Decoded) -> tuple[str, ...]:
    """Number and name of every alarm that is on."""
    active = []
    for alarm in alarms:
        word = _number(read, alarm.register)
        if word is None:
            continue
        if int(word) >> alarm.bit & 1 if alarm.bit is not None else str(int(word)) == alarm.number:
            active.append(alarm.text)
    return tuple(active)


async def _told(work: Awaitable[Answer]) -> Answer:
    """Wait, and put what went wrong in the service's words."""
    try:
        return await work
    except ExceptionCodeError as error:
        if error.code in _PASSING:
            raise DeviceSilentError(str(error), error.retry_in_s) from error
        raise DeviceRefusedError(str(error)) from error
    except ModbusError as error:
        raise DeviceSilentError(str(error), error.retry_in_s) from error


def _number(read: Decoded, name: str) -> float | None:
    quantity = read.get(name)
    return float(quantity) if isinstance(quantity, (int, float)) else None


def _text(read: Decoded, name: str) -> str | None:
    quantity = read.get(name)
    return quantity if isinstance(quantity, str) else None


def _string_of(row: Register) -> int:
    """Which PV string a row belongs to; 0 if to none."""
    parts = row.name.split("_")
    return int(parts[1]) if parts[0] == "string" and parts[1].isdigit() else 0
