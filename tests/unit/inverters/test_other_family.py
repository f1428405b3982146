"""Another family is another table: a PV inverter with a limit in per cent and no battery."""

import asyncio
from io import StringIO

from runtime.clock import SystemClock
from runtime.modbus.figures import UnitFigures
from runtime.modbus.link import Link
from runtime.modbus.planner import LineModel
from runtime.modbus.registers import RegisterTable
from runtime.modbus.request import Answer, Request
from services.inverters.drivers.modbus import ModbusInverter
from services.inverters.drivers.profile import AcLimit, Profile
from services.inverters.model import (
    Bounds,
    Held,
    Target,
    after_write,
    confirmed_ac_limit_w,
    plan_writes,
    wanted_registers,
)

TABLE = """name,address,count,type,gain,unit,access,cyclic,group
model,100,2,STR,,,RO,,first
rated_power_w,110,1,U16,1/10,W,RO,,first
ac_power_w,200,1,I16,1/10,W,RO,,fast
device_status,210,1,U16,,,RO,,slow
limit_pct,300,1,U16,10,%,RW,yes,control
"""
SMALL = Profile(
    name="small",
    table=RegisterTable.from_csv(StringIO(TABLE)),
    models=("AB",),
    max_registers=20,
    ac_limit=AcLimit("limit_pct", of_rating=True),
    battery=None,
    statuses={4: "feeding"},
)


class Registers:
    """A port behind which one device keeps its registers."""

    name = "test"

    def __init__(self) -> None:
        self.words = {100: 0x4142, 101: 0x4300, 110: 300, 200: 0xFFFF, 210: 4, 300: 1000}

    async def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def figures(self, _unit: int) -> UnitFigures:
        return UnitFigures()

    def line(self, _unit: int) -> LineModel:
        return LineModel(0.001, 0.004, 0.02)

    async def transact(self, request: Request) -> Answer:
        span = range(request.address, request.address + request.count)
        if request.words:
            self.words.update(zip(span, request.words, strict=True))
            return Answer((), 1.0)
        return Answer(tuple(self.words.get(address, 0) for address in span), 1.0)


async def test_a_table_is_all_that_another_inverter_needs() -> None:
    port = Registers()
    link = Link(port, SystemClock())
    serving = asyncio.create_task(link.run())
    driver = ModbusInverter(link, 5, SMALL)
    identity = await driver.identify()
    assert (identity.model, identity.rated_power_w, identity.has_battery) == ("ABC", 3000, False)
    fast = await driver.read_fast()
    assert (fast.ac_power_w, fast.pv_power_w, fast.soc_pct) == (-10, None, None)
    assert (await driver.read_slow()).device_status == "feeding"

    target, bounds = Target(500.0, 1000.0), Bounds(max_power_w=3000.0)
    held = Held(await driver.read_back(SMALL.actuators))
    wanted = wanted_registers(SMALL, target, bounds, None)
    (write,) = plan_writes(SMALL, wanted, held, target, 0.0)
    assert write.quantities == {"limit_pct": 33.3}, "rounded down: never above the limit"
    await driver.write(write)
    assert port.words[300] == 333
    held = after_write(held, write, SMALL, target, 0.0)
    assert plan_writes(SMALL, wanted, held, target, 1.0) == ()
    confirmed_w = confirmed_ac_limit_w(SMALL, await driver.read_back(SMALL.actuators), 3000.0)
    assert confirmed_w is not None
    assert 998 < confirmed_w <= 1000
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
