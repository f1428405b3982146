"""Modbus meters as a source: they measure and count by themselves, we read and turn signs once.

Adding a meter is adding a table. Figures come out in V, A, W, var, Hz and Wh, power > 0 is import.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from runtime.clock import Clock
from runtime.modbus.errors import ModbusError
from runtime.modbus.link import Lane, Link
from runtime.modbus.poll import BlockReader
from runtime.modbus.registers import Register, RegisterTable, Type
from runtime.modbus.request import READ_HOLDING, READ_INPUT
from services.metering.sources import Arrival, MeterAnswered, SourceLost

FAST, SLOW = "fast", "slow"
_SLOW_PERIOD_S = 10.0
_LONGEST_PAUSE_S = 5.0
_FIRST_PAUSE_S = 0.2
_FROZEN_AFTER_S = 5.0
"""Eleven figures that stay the same to the last digit for so long are not being measured."""

_PER_KWH = Fraction(1, 1000)
"""Counts of 1 kWh per Wh."""


@dataclass(frozen=True, slots=True)
class MeterModel:
    """One make of meter."""

    name: str
    unit: int
    """Modbus unit id as delivered."""
    function: int
    """3 for holding registers, 4 for input registers."""
    table: RegisterTable
    max_registers: int
    window_s: float
    """How long its powers are means of, as far as is known."""


def _floats(rows: dict[str, int], unit: str, group: str, gain: Fraction) -> Iterator[Register]:
    for name, address in rows.items():
        yield Register(
            name=name, address=address, type=Type.F32, count=2, unit=unit, group=group, gain=gain
        )


def _table(
    volts: int, amps: int, watts: int, others: dict[str, int], energies: tuple[int, int]
) -> RegisterTable:
    """Registers of three phases follow each other; everything is a 32 bit float."""
    one = Fraction(1)
    imported, exported = energies
    return RegisterTable.of(
        [
            *_floats({f"voltage_l{n + 1}_v": volts + 2 * n for n in range(3)}, "V", FAST, one),
            *_floats({f"current_l{n + 1}_a": amps + 2 * n for n in range(3)}, "A", FAST, one),
            *_floats({f"power_l{n + 1}_w": watts + 2 * n for n in range(3)}, "W", FAST, one),
            *_floats(others, "", FAST, one),
            *_floats(
                {"import_energy_wh": imported, "export_energy_wh": exported}, "Wh", SLOW, _PER_KWH
            ),
        ]
    )


SDM630 = MeterModel(
    "SDM630",
    unit=1,
    function=READ_INPUT,
    table=_table(
        volts=0x00,
        amps=0x06,
        watts=0x0C,
        others={
            "grid_power_w": 0x34,
            "reactive_power_var": 0x3C,
            "power_factor": 0x3E,
            "frequency_hz": 0x46,
        },
        energies=(0x48, 0x4A),
    ),
    max_registers=60,
    window_s=1.0,
)
"""Eastron SDM630-Modbus, protocol document, input registers 30001 to 30075; at most 30 figures are
answered a request."""

DTSU666_H = MeterModel(
    "DTSU666-H",
    unit=11,
    function=READ_HOLDING,
    table=_table(
        volts=2110,
        amps=2102,
        watts=2128,
        others={
            "grid_power_w": 2126,
            "reactive_power_var": 2134,
            "power_factor": 2150,
            "frequency_hz": 2124,
        },
        energies=(2166, 2174),
    ),
    max_registers=80,
    window_s=1.0,
)
"""Chint DTSU666-H as delivered with SUN2000. The maker publishes no document: registers as in open
proxies and sniffers of the bus (80 registers from 2102; import as positive power); to be checked
against a device with a known load."""

MODELS = {model.name: model for model in (SDM630, DTSU666_H)}


class ModbusMeter:
    """Polls one meter as fast as the line allows, or at a period."""

    def __init__(
        self, model: MeterModel, unit: int, link: Link, clock: Clock, *, period_s: float
    ) -> None:
        """Args: link: not running yet; this meter is its owner. period_s: from poll to poll."""
        self.name = f"{model.name}, unit {unit}, at {link.name}"
        self.model = model
        self._link = link
        self._clock = clock
        self._period_s = period_s
        self._fast, self._slow = (
            BlockReader(
                link,
                unit,
                model.table.groups[group],
                max_registers=model.max_registers,
                function=model.function,
            )
            for group in (FAST, SLOW)
        )

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Figures and losses."""
        running = asyncio.get_running_loop().create_task(self._link.run(), name=self.name)
        try:
            async for arrival in self._poll():
                yield arrival
        finally:
            running.cancel()

    async def _poll(self) -> AsyncIterator[Arrival]:
        energies: dict[str, float | None] = {}
        energies_due_s = self._clock.monotonic()
        pause_s = _FIRST_PAUSE_S
        last: dict[str, float | None] = {}
        moved_s = energies_due_s
        while True:
            began_s = self._clock.monotonic()
            try:
                readout = await self._fast.read(Lane.FAST)
                figures = self._figures(FAST, readout.words)
                if began_s >= energies_due_s:
                    counted = await self._slow.read(Lane.SLOW)
                    energies = self._figures(SLOW, counted.words)
                    energies_due_s = began_s + _SLOW_PERIOD_S
            except ModbusError as error:
                yield SourceLost(str(error))
                await self._clock.sleep(max(pause_s, error.retry_in_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            if figures != last:
                last, moved_s = figures, began_s
            if figures["grid_power_w"] is None:
                yield SourceLost(f"{self.model.name} does not tell its power", refused=True)
            elif began_s - moved_s >= _FROZEN_AFTER_S:
                yield SourceLost(f"{self.model.name} repeats the same figures", refused=True)
            else:
                pause_s = _FIRST_PAUSE_S
                yield MeterAnswered(figures | energies, self.model.window_s, readout.at_s)
            await self._clock.sleep(max(began_s + self._period_s - self._clock.monotonic(), 0.0))

    def _figures(self, group: str, words: Mapping[int, int]) -> dict[str, float | None]:
        decoded = self.model.table.decode(self.model.table.groups[group], words)
        return {name: None if isinstance(n, str) else n for name, n in decoded.items()}
