"""The actor: setpoints in, readings out. Tasks of each inverter do the work on the links."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bus.inverters import InverterReading, InverterState
from bus.message import Message
from bus.policy import Dispatch
from bus.system import Severity
from runtime.actor import Actor, Bus, every, on
from runtime.clock import Clock
from runtime.modbus.link import Link
from services.inverters.unit import InverterUnit

_RELEASE_S = 1.0
"""At an orderly end, the fail-safe has so long to reach the inverters."""

_SEVERITIES = {
    "inverter-silent": Severity.MAJOR,
    "wrong-device": Severity.CRITICAL,
    "setpoint-refused": Severity.MAJOR,
    "does-not-follow": Severity.CRITICAL,
    "battery-does-not-follow": Severity.MINOR,
    "setpoint-not-kept": Severity.MAJOR,
    "implausible-figure": Severity.WARNING,
    "flash-write-refused": Severity.WARNING,
}


@dataclass(frozen=True)
class UnitChanged:
    """A task has something to tell about one inverter."""

    unit: InverterUnit


class InvertersService(Actor):
    """Commands and polls every inverter; holds the fail-safe by its own clock."""

    name = "inverters"
    publishes: ClassVar[tuple[type[Message], ...]] = (InverterReading, InverterState)

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        links: Sequence[Link],
        units: Sequence[InverterUnit],
        ledger_damage: str | None = None,
    ) -> None:
        """Args: links: of the units, to be run here. ledger_damage: what was lost of the ledger."""
        super().__init__(bus, clock)
        self._ledger_damage = ledger_damage
        self._links = links
        self._units = {unit.config.id: unit for unit in units}
        self._told: dict[str, InverterState] = {}
        self._measured: dict[str, InverterReading] = {}

    async def start(self) -> None:
        """Open the links and begin: read back, adopt or cancel, poll."""
        if self._ledger_damage is not None:
            await self.raise_fault("flash-ledger-damaged", Severity.WARNING, self._ledger_damage)
        for link in self._links:
            self.spawn(link.run(), f"link {link.name}")
        for name, unit in self._units.items():
            unit.changed = lambda unit=unit: self.post(  # type: ignore[misc]
                UnitChanged(unit), replaces=unit.config.id
            )
            self.spawn(unit.command(), f"{name} command")
            self.spawn(unit.poll(), f"{name} poll")
            self.spawn(unit.poll_slowly(), f"{name} slow")
            await self._tell_state(unit)
            if not unit.config.own_failsafe_set:
                text = (
                    "nothing limits it while the gateway is off: set its own fail-safe and try it"
                )
                await self.raise_fault("no-own-failsafe", Severity.WARNING, text, name)

    async def stop(self) -> None:
        """Nobody will guard the limit from now on: leave every inverter in its fail-safe."""
        for unit in self._units.values():
            unit.release()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                for unit in self._units.values():
                    await unit.settled.wait()

    @on(Dispatch)
    async def dispatched(self, dispatch: Dispatch) -> None:
        """Hand each setpoint to its inverter; the write starts at once."""
        for setpoint in dispatch.setpoints:
            unit = self._units.get(setpoint.device)
            if unit is not None and not unit.lease_until(setpoint):
                self.log.warning(
                    "setpoint_too_late", inverter_id=setpoint.device, sequence=dispatch.sequence
                )

    @on(UnitChanged)
    async def unit_changed(self, changed: UnitChanged) -> None:
        """Tell what was measured, and what is wrong."""
        unit = changed.unit
        reading = unit.reading()
        if reading is not None and reading != self._measured.get(unit.config.id):
            self._measured[unit.config.id] = reading
            await self.publish(reading)
        told = self._told[unit.config.id]
        if unit.online != told.online:
            await self._tell_state(unit)
        for code, trouble in unit.troubles().items():
            if trouble is None:
                await self.clear_fault(code, unit.config.id)
            else:
                await self.raise_fault(code, _SEVERITIES[code], trouble, unit.config.id)

    @every(5.0)
    async def describe(self) -> None:
        """Say again what changes slowly."""
        for unit in self._units.values():
            await self._tell_state(unit)

    async def _tell_state(self, unit: InverterUnit) -> None:
        state = unit.state()
        if state != self._told.get(unit.config.id):
            self._told[unit.config.id] = state
            await self.publish(state)
