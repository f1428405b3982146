"""Inverters of the simulated house on a link without bytes: the test's clock moves everything."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bus.policy import Dispatch, Reason, Setpoint
from bus.system import Faults
from runtime.clock import FakeClock
from runtime.memory import MemoryBus, running
from runtime.modbus.errors import ExceptionCodeError, LinkDownError, NoAnswerError
from runtime.modbus.figures import UnitFigures
from runtime.modbus.link import Link
from runtime.modbus.planner import LineModel
from runtime.modbus.request import WRITE_MULTIPLE, Answer, Request
from runtime.store import Store
from services.inverters.config import KeptConfig, UnitConfig
from services.inverters.drivers.modbus import ModbusInverter
from services.inverters.drivers.sun2000 import SUN2000
from services.inverters.ledger import FlashLedger
from services.inverters.service import InvertersService
from services.inverters.unit import InverterUnit
from sim.battery import Battery, BatterySpec
from sim.grid import Grid
from sim.inverter import PowerStage, StageSpec
from sim.modbus import answer
from sim.sun2000 import Manners, Sun2000
from sim.sun2000_view import Identity

STEP_S = 0.1
TRANSACTION_S = 0.03


def sun2000(
    clock: FakeClock, *, model: str = "SUN2000-8KTL-M1", soc_pct: float | None = 50.0
) -> Sun2000:
    """An inverter of 8 kW, with 10 kWh unless soc_pct is None."""
    cells = BatterySpec(capacity_wh=10_000, max_charge_w=5000, max_discharge_w=5000)
    stage = PowerStage(
        StageSpec(8000.0, dead_time_s=0.3, lag_s=0.6),
        None if soc_pct is None else Battery(cells, soc_pct),
    )
    return Sun2000(Identity(model, "HV2150000001", 1), Manners(ramp_w_s=1e5), stage, clock.now)


@dataclass
class SimulatedLine:
    """Units that answer after a while of the test's clock."""

    clock: FakeClock
    units: dict[int, Sun2000]
    pv_available_w: float = 3000.0
    mute: set[int] = field(default_factory=set)
    cut: bool = False
    spoil: Callable[[Request, tuple[int, ...]], tuple[int, ...]] = lambda _request, words: words
    writes: list[tuple[float, int, int, tuple[int, ...]]] = field(default_factory=list)
    """When it started, unit, address, words."""
    name: str = "line"
    worked_until_s: float = 1000.0
    _figures: dict[int, UnitFigures] = field(default_factory=dict)

    def catch_up(self) -> None:
        """Let the inverters work up to the present."""
        while self.worked_until_s + STEP_S <= self.clock.monotonic():
            self.worked_until_s += STEP_S
            for device in self.units.values():
                device.stage.step(STEP_S, self.pv_available_w)
                device.tick(self.worked_until_s, STEP_S, Grid(230.0, 50.0))

    async def open(self) -> None:
        if self.cut:
            raise LinkDownError(self.name, "no such file")

    def close(self) -> None:
        pass

    def figures(self, unit: int) -> UnitFigures:
        return self._figures.setdefault(unit, UnitFigures())

    def line(self, _unit: int) -> LineModel:
        return LineModel(0.0005, 0.002, 0.02)

    async def transact(self, request: Request) -> Answer:
        if request.function == WRITE_MULTIPLE:
            entry = (self.clock.monotonic(), request.unit, request.address, request.words)
            self.writes.append(entry)
        await self.clock.sleep(TRANSACTION_S)
        if self.cut:
            raise LinkDownError(self.name, "unplugged")
        device = self.units.get(request.unit)
        if device is None or request.unit in self.mute:
            await self.clock.sleep(0.1)
            raise NoAnswerError(request.unit, 0.1)
        self.catch_up()
        pdu = struct.pack(">BHH", request.function, request.address, request.count)
        if request.function == WRITE_MULTIPLE:
            pdu += struct.pack(f">B{request.count}H", 2 * request.count, *request.words)
        answered = answer(device, pdu)
        if answered[0] & 0x80:
            raise ExceptionCodeError(request.unit, answered[1])
        self.figures(request.unit).answered += 1
        if request.function == WRITE_MULTIPLE:
            return Answer((), self.clock.monotonic())
        words = struct.unpack(f">{request.count}H", answered[2:])
        return Answer(self.spoil(request, words), self.clock.monotonic())


@dataclass
class House:
    """A line, its inverters and the service that commands them."""

    bus: MemoryBus
    clock: FakeClock
    folder: Path
    line: SimulatedLine
    kept: KeptConfig = field(default_factory=KeptConfig)
    failsafe_limit_w: float = 0.0
    own_failsafe_set: bool = True
    poll_period_s: float = 0.25
    _sequence: int = 0

    def service(self) -> InvertersService:
        """A process, as after a start: it knows nothing."""
        ledger = FlashLedger(Store(self.folder, "flash-writes"))
        damage = ledger.load()
        link = Link(self.line, self.clock)
        units = [
            InverterUnit(
                UnitConfig(
                    id=f"inv{unit}",
                    unit_id=unit,
                    rated_power_w=8000.0,
                    kept=self.kept,
                    own_failsafe_set=self.own_failsafe_set,
                ),
                ModbusInverter(link, unit, SUN2000),
                self.clock,
                ledger,
                failsafe_limit_w=self.failsafe_limit_w,
                poll_period_s=self.poll_period_s,
                slow_period_s=5.0,
            )
            for unit in self.line.units
        ]
        return InvertersService(self.bus, self.clock, [link], units, damage)

    def dispatch(
        self,
        *,
        battery_power_w: float | None = None,
        ac_limit_w: float | None = None,
        failsafe_ac_limit_w: float | None = 500.0,
        valid_s: float = 2.0,
        devices: tuple[str, ...] = ("inv1",),
    ) -> None:
        """Say once what the inverters shall do."""
        self._sequence += 1
        now = self.clock.now()
        self.bus.deliver(
            Dispatch(
                sequence=self._sequence,
                decided_at=now,
                grid_sequence=None,
                grid_measured_at=None,
                target_grid_power_w=None,
                setpoints=tuple(
                    Setpoint(
                        device=device,
                        battery_power_w=battery_power_w,
                        ac_limit_w=ac_limit_w,
                        failsafe_ac_limit_w=failsafe_ac_limit_w,
                        valid_until=now + timedelta(seconds=valid_s),
                        owner="policy",
                        battery_causes=(),
                        ac_limit_causes=(),
                    )
                    for device in devices
                ),
                limits=(),
                reason=Reason.SELF_CONSUMPTION,
            )
        )

    async def keep(self, seconds: float, **asked: float | None) -> None:
        """Say it again and again, as policy does."""
        for _ in range(round(seconds / 0.2)):
            self.dispatch(**asked)  # type: ignore[arg-type]
            await self.clock.advance(0.2)

    def number(self, name: str, unit: int = 1) -> float:
        """What stands in the device."""
        self.line.catch_up()
        return self.line.units[unit].image.number(name)

    def faults(self) -> dict[str, str]:
        """What is wrong just now, by code."""
        return {fault.code: fault.text for fault in self.bus.last(Faults).faults}

    def write(self, name: str, physical: float) -> None:
        """Change a register behind the service's back."""
        device = self.line.units[1]
        cell = device.image.table.by_name[name]
        raw = cell.encode(physical)
        words = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
        device.write(cell.address, words)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[InvertersService]:
        """A process for the length of a block; while it ends, time passes by itself."""
        service = self.service()
        async with running(service):
            yield service
            passing = asyncio.create_task(self._pass())
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)

    async def _pass(self) -> None:
        while True:
            await self.clock.advance(0.01)
