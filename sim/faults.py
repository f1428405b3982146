"""Faults on order: each is put on by name, and off again by name, by itself, or by a new one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sim.alarms import ALARMS, BATTERY_FAULTS
from sim.meters import Meter
from sim.modbus import DEVICE_FAILURE
from sim.plant import Plant
from sim.sun2000 import Sun2000

CT = "ct"
"""The name of the sample stream, beside those of units, lines and ports."""
REBOOT_DARK_S = 15.0

Options = Mapping[str, Any]
Undo = Callable[[], Awaitable[None] | None]
Put = Callable[[Plant, str, Options], Awaitable[Undo] | Undo]


class FaultError(ValueError):
    """The order cannot be carried out; says why."""


def _number(options: Options, name: str, default: float | None = None) -> float:
    number = options.get(name, default)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise FaultError(f"{name} must be a number")
    return float(number)


def _mute(plant: Plant, unit: str, options: Options) -> Undo:
    """No answers."""
    del options
    station = plant.stations[unit]
    station.muted = True
    return lambda: setattr(station, "muted", False)


def _late(plant: Plant, unit: str, options: Options) -> Undo:
    """Answers come `delay_s` later."""
    station = plant.stations[unit]
    station.late_s = _number(options, "delay_s")
    return lambda: setattr(station, "late_s", 0.0)


def _garble(plant: Plant, unit: str, options: Options) -> Undo:
    """Answers have flipped bits with probability `rate` (1); of one unit, or all on a line."""
    rate = _number(options, "rate", 1.0)
    if unit in plant.stations:
        hit = [plant.stations[unit]]
    else:
        hit = list(
            (plant.lines[unit].wire if unit in plant.lines else plant.ports[unit]).units.values()
        )
    for station in hit:
        station.garble = rate

    def undo() -> None:
        for station in hit:
            station.garble = 0.0

    return undo


async def _drop(plant: Plant, unit: str, options: Options) -> Undo:
    """A line is cut (its link goes), a port closes with all its connections."""
    del options
    if unit in plant.lines:
        plant.lines[unit].stop()
        return plant.lines[unit].start
    port = plant.ports[unit]
    await port.stop()
    return port.start


def _freeze(plant: Plant, unit: str, options: Options) -> Undo:
    """The measurement stands still: the stream stops, or repeats its last block with `repeat`."""
    if unit != CT:
        meter = _meter(plant, unit)
        meter.frozen = True
        return lambda: setattr(meter, "frozen", False)
    switch = "frozen" if options.get("repeat") else "silent"
    setattr(plant.stream, switch, True)
    return lambda: setattr(plant.stream, switch, False)


def _jump(plant: Plant, unit: str, options: Options) -> Undo:
    """The measurement is `watts` away from the truth."""
    jumper: Any = plant if unit == CT else _meter(plant, unit)
    jumper.jump_w = _number(options, "watts")
    return lambda: setattr(jumper, "jump_w", 0.0)


def _ignore(plant: Plant, unit: str, options: Options) -> Undo:
    """Set-points are taken and read back, and nothing follows."""
    del options
    inverter = _inverter(plant, unit)
    inverter.ignores_setpoints = True
    return inverter.follow_again


def _refuse(plant: Plant, unit: str, options: Options) -> Undo:
    """Every write is answered with exception `code` (04)."""
    inverter = _inverter(plant, unit)
    inverter.refuses_writes = int(_number(options, "code", DEVICE_FAILURE))
    return lambda: setattr(inverter, "refuses_writes", None)


def _reboot(plant: Plant, unit: str, options: Options) -> Undo:
    """Dark for `seconds` (15), then starting; registers kept in RAM are lost."""
    inverter = _inverter(plant, unit)
    inverter.reboot(_number(options, "seconds", REBOOT_DARK_S))
    return inverter.come_back


def _alarm(plant: Plant, unit: str, options: Options) -> Undo:
    """Alarm `id` of the inverter's list is shown."""
    inverter, alarm = _inverter(plant, unit), int(_number(options, "id"))
    if alarm not in ALARMS and alarm not in BATTERY_FAULTS:
        raise FaultError(f"no alarm {alarm}")
    inverter.raise_alarm(alarm)
    return lambda: inverter.clear_alarm(alarm)


KINDS: dict[str, Put] = {
    "mute": _mute,
    "late": _late,
    "garble": _garble,
    "drop": _drop,
    "freeze": _freeze,
    "jump": _jump,
    "ignore": _ignore,
    "refuse": _refuse,
    "reboot": _reboot,
    "alarm": _alarm,
}
ABOUT_MEASUREMENT = {"freeze", "jump"}


def _inverter(plant: Plant, unit: str) -> Sun2000:
    return plant.unit(unit).device


def _meter(plant: Plant, unit: str) -> Meter:
    device = plant.stations[unit].device
    if not isinstance(device, Meter):
        raise FaultError(f"{unit} is no meter")
    return device


@dataclass(slots=True)
class _Active:
    kind: str
    unit: str
    options: Options
    undo: Undo
    ends: asyncio.Task[None] | None = None


class Faults:
    """The faults that are on."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._active: dict[tuple[str, str, object], _Active] = {}

    async def order(self, kind: str, unit: str, seconds: float | None, options: Options) -> None:
        """Put a fault on, for some seconds or until cleared; one of the same kind gives way.

        Raises:
            FaultError: Unknown kind or unit, or an option is missing.
        """
        put = KINDS.get(kind)
        if put is None:
            raise FaultError(f"no fault {kind}; known are {', '.join(KINDS)}")
        if kind == "reboot" and seconds is None:
            seconds = REBOOT_DARK_S
        key = (kind, unit, options.get("id"))
        await self._end(key)
        try:
            with self._plant.lock:
                put_on = put(self._plant, unit, options)
            undo = await put_on if isinstance(put_on, Awaitable) else put_on
        except KeyError:
            raise FaultError(f"{kind} does not apply to {unit!r}") from None
        self._active[key] = active = _Active(kind, unit, options, undo)
        if seconds is not None:
            active.ends = asyncio.create_task(self._end_after(key, seconds))

    async def clear(self, kind: str | None = None, unit: str | None = None) -> int:
        """Take faults off: of one kind, of one unit, or all; returns how many."""
        keys = [
            key
            for key, active in self._active.items()
            if kind in (None, active.kind) and unit in (None, active.unit)
        ]
        for key in keys:
            await self._end(key)
        return len(keys)

    def state(self) -> list[dict[str, Any]]:
        """What is on."""
        return [{"kind": a.kind, "unit": a.unit, **a.options} for a in self._active.values()]

    async def _end_after(self, key: tuple[str, str, object], seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._active[key].ends = None  # this task must not cancel itself
        await self._end(key)

    async def _end(self, key: tuple[str, str, object]) -> None:
        active = self._active.pop(key, None)
        if active is None:
            return
        if active.ends:
            active.ends.cancel()
        with self._plant.lock:
            undone = active.undo()
        if isinstance(undone, Awaitable):
            await undone
