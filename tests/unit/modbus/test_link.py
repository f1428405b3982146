"""Who speaks next on a link, and who is left in peace for a while."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from runtime.clock import FakeClock
from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    ModbusError,
    NoAnswerError,
)
from runtime.modbus.figures import UnitFigures
from runtime.modbus.link import Lane, Link
from runtime.modbus.planner import LineModel
from runtime.modbus.poll import BlockReader
from runtime.modbus.registers import Register, Type
from runtime.modbus.request import Answer, Request


@dataclass
class ScriptedPort:
    """A line on which each transaction lasts 0.1 s of the test's clock."""

    clock: FakeClock
    reply: Callable[[Request], Answer | ModbusError] = lambda request: Answer(
        tuple(range(request.address, request.address + request.count)) if request.reads else (), 0.0
    )
    openings: list[ModbusError | None] = field(default_factory=list)
    name: str = "line"
    asked: list[tuple[float, Request]] = field(default_factory=list)
    opened: int = 0
    in_flight: int = 0
    lasts_s: float = 0.1
    model: LineModel = LineModel(0.001, 0.002, 0.02)  # noqa: RUF009  frozen

    async def open(self) -> None:
        self.opened += 1
        if self.openings and (error := self.openings.pop(0)) is not None:
            raise error

    def close(self) -> None:
        pass

    def figures(self, unit: int) -> UnitFigures:
        raise NotImplementedError(unit)

    def line(self, _unit: int) -> LineModel:
        return self.model

    async def transact(self, request: Request) -> Answer:
        assert self.in_flight == 0, "two requests at a time"
        self.in_flight += 1
        self.asked.append((self.clock.monotonic() - 1000.0, request))
        try:
            await self.clock.sleep(self.lasts_s)
            outcome = self.reply(request)
            if isinstance(outcome, ModbusError):
                raise outcome
            return outcome
        finally:
            self.in_flight -= 1


@contextlib.asynccontextmanager
async def served(port: ScriptedPort) -> AsyncIterator[Link]:
    link = Link(port, port.clock)
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def outcome(work: asyncio.Task[Answer]) -> ModbusError | Answer:
    try:
        return await work
    except ModbusError as error:
        return error


async def test_writes_overtake_fast_reads_and_these_slow_ones(clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    async with served(port) as link:
        tasks = [
            asyncio.create_task(link.read(1, 10 + lane, 1, lane))
            for lane in (Lane.DISCOVERY, Lane.SLOW, Lane.FAST)
        ]
        await clock.advance(0.05)  # one is under way
        tasks.append(asyncio.create_task(link.write(1, 99, (5,))))
        await clock.advance(1)
        await asyncio.gather(*tasks)
    assert [request.address for _, request in port.asked] == [11, 99, 12, 13]


async def test_a_setpoint_waits_for_one_transaction_at_most(clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    async with served(port) as link:
        reads = [asyncio.create_task(link.read(1, n, 125, Lane.FAST)) for n in range(20)]
        await clock.advance(0.55)
        write = asyncio.create_task(link.write(2, 40126, (0, 500)))
        await clock.advance(0.2)
        assert write.done()
        at_s = next(at_s for at_s, request in port.asked if not request.reads)
        assert at_s == pytest.approx(0.6)
        await clock.advance(2)
        await asyncio.gather(*reads)


async def test_a_slow_read_is_not_starved_by_fast_ones(clock: FakeClock) -> None:
    port = ScriptedPort(clock)

    async def always(link: Link) -> None:
        while True:
            await link.read(1, 0, 1, Lane.FAST)

    async with served(port) as link:
        busy = [asyncio.create_task(always(link)) for _ in range(2)]
        slow = asyncio.create_task(link.read(1, 500, 1, Lane.SLOW))
        await clock.advance(1.9)
        assert not slow.done()
        await clock.advance(0.4)
        assert slow.done()
        for task in busy:
            task.cancel()


async def test_a_dead_unit_is_left_alone_and_the_others_keep_their_rate(clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    port.reply = lambda request: (
        NoAnswerError(request.unit, 0.1) if request.unit == 2 else Answer((7,) * request.count, 0.0)
    )

    async def poll(link: Link, unit: int) -> None:
        while True:
            with contextlib.suppress(ModbusError):
                await link.read(unit, 0, 1, Lane.FAST)
            await clock.sleep(0.2)

    async with served(port) as link:
        tasks = [asyncio.create_task(poll(link, unit)) for unit in (1, 2, 3)]
        await clock.advance(60)
        for task in tasks:
            task.cancel()
    dead_s = [at_s for at_s, request in port.asked if request.unit == 2]
    assert len(dead_s) <= 3 + 11
    gaps_s = [b - a for a, b in itertools.pairwise(dead_s[2:])]
    assert gaps_s[:4] == pytest.approx([1, 2, 4, 8], abs=0.35)
    alive = sum(request.unit == 1 for _, request in port.asked)
    assert alive >= 0.9 * 60 / 0.4, "it lost more than a tenth of what two units alone would have"


async def test_a_unit_that_is_back_is_asked_as_before(clock: FakeClock) -> None:
    dead = [True]
    port = ScriptedPort(clock)
    port.reply = lambda request: NoAnswerError(request.unit, 0.1) if dead[0] else Answer((0,), 0.0)
    async with served(port) as link:
        for _ in range(3):
            task = asyncio.create_task(link.read(1, 0, 1, Lane.FAST))
            await clock.advance(0.2)
            assert isinstance(await outcome(task), NoAnswerError)
        refused = await outcome(asyncio.create_task(link.read(1, 0, 1, Lane.FAST)))
        assert isinstance(refused, NoAnswerError)
        assert refused.retry_in_s > 0.5
        dead[0] = False
        await clock.advance(1)
        for _ in range(2):
            task = asyncio.create_task(link.read(1, 0, 1, Lane.FAST))
            await clock.advance(0.2)
            assert isinstance(await outcome(task), Answer)


@pytest.mark.parametrize("code", [5, 6])
async def test_a_busy_unit_is_given_time(code: int, clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    port.reply = lambda request: ExceptionCodeError(request.unit, code)
    async with served(port) as link:
        waits_s = []
        for _ in range(3):
            task = asyncio.create_task(link.write(1, 0, (1,)))
            await clock.advance(0.1)
            assert isinstance(await outcome(task), ExceptionCodeError)
            again = await outcome(asyncio.create_task(link.write(1, 0, (1,))))
            assert isinstance(again, ExceptionCodeError)
            waits_s.append(again.retry_in_s)
            await clock.advance(again.retry_in_s)
    assert waits_s == pytest.approx([0.1, 0.2, 0.4])


@pytest.mark.parametrize("code", [4, 0x0A, 0x0B])
async def test_a_unit_lost_behind_a_gateway_counts_as_silent(code: int, clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    port.reply = lambda request: ExceptionCodeError(request.unit, code)
    async with served(port) as link:
        for _ in range(3):
            task = asyncio.create_task(link.read(1, 0, 1, Lane.FAST))
            await clock.advance(0.2)
            await outcome(task)
        refused = await outcome(asyncio.create_task(link.read(1, 0, 1, Lane.FAST)))
        assert isinstance(refused, ExceptionCodeError)
        assert refused.retry_in_s > 0


@pytest.mark.parametrize(
    ("lane", "attempts"), [(Lane.WRITE, 1), (Lane.FAST, 1), (Lane.SLOW, 2), (Lane.DISCOVERY, 2)]
)
async def test_only_slow_lanes_try_again(lane: Lane, attempts: int, clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    port.reply = lambda request: BadFrameError(request.unit, "spoilt")
    async with served(port) as link:
        task = asyncio.create_task(link.read(1, 0, 1, lane))
        await clock.advance(1)
        assert isinstance(await outcome(task), BadFrameError)
    assert len(port.asked) == attempts


async def test_a_port_that_is_not_there_is_tried_again_and_nobody_waits(clock: FakeClock) -> None:
    gone = LinkDownError("line", "no such file")
    port = ScriptedPort(clock, openings=[gone, gone, None])
    async with served(port) as link:
        first = await outcome(asyncio.create_task(link.read(1, 0, 1, Lane.FAST)))
        assert isinstance(first, LinkDownError)
        second = await outcome(asyncio.create_task(link.read(1, 0, 1, Lane.FAST)))
        assert isinstance(second, LinkDownError)
        assert second.retry_in_s == pytest.approx(0.5)
        assert port.opened == 1
        await clock.advance(0.6)
        await outcome(asyncio.create_task(link.read(1, 0, 1, Lane.FAST)))
        await clock.advance(2)
        task = asyncio.create_task(link.read(1, 0, 1, Lane.FAST))
        await clock.advance(0.2)
        assert isinstance(await outcome(task), Answer)
        assert port.opened == 3


async def test_who_has_gone_is_not_asked_for(clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    async with served(port) as link:
        first = asyncio.create_task(link.read(1, 0, 1, Lane.FAST))
        waiting = asyncio.create_task(link.read(1, 1, 1, Lane.FAST))
        await clock.advance(0.05)
        waiting.cancel()
        await clock.advance(0.3)
        assert first.done()
    assert len(port.asked) == 1


async def test_a_closed_link_leaves_nobody_waiting(clock: FakeClock) -> None:
    port = ScriptedPort(clock)
    async with served(port) as link:
        tasks = [asyncio.create_task(link.read(1, n, 1, Lane.FAST)) for n in range(3)]
        await clock.advance(0.05)
    outcomes = [await outcome(task) for task in tasks[1:]]
    assert all(isinstance(ended, LinkDownError) for ended in outcomes)


def rows(*addresses: int) -> list[Register]:
    return [
        Register(name=f"r{address}", address=address, type=Type.U16, count=1)
        for address in addresses
    ]


async def test_a_hole_costs_one_extra_cycle_once(clock: FakeClock) -> None:
    port = ScriptedPort(clock, lasts_s=0.0)
    hole = 14
    port.reply = lambda request: (
        ExceptionCodeError(request.unit, 2)
        if request.address <= hole < request.address + request.count
        else Answer(tuple(range(request.address, request.address + request.count)), 1.0)
    )
    async with served(port) as link:
        reader = BlockReader(link, 1, rows(10, 12, 16, 18), max_registers=64)
        for cycle, most in enumerate((3, 2, 2)):
            before = len(port.asked)
            task = asyncio.create_task(reader.read(Lane.FAST))
            await clock.advance(0)
            words = (await task).words
            assert [words[address] for address in (10, 12, 16, 18)] == [10, 12, 16, 18]
            assert len(port.asked) - before <= most, f"cycle {cycle}"
        assert reader.blocks == [(10, 13), (16, 19)]
        assert not reader.missing


async def test_a_register_that_the_device_does_not_have_is_left_out(clock: FakeClock) -> None:
    port = ScriptedPort(clock, lasts_s=0.0)
    port.reply = lambda request: (
        ExceptionCodeError(request.unit, 2)
        if request.address <= 12 < request.address + request.count
        else Answer(tuple(range(request.address, request.address + request.count)), 1.0)
    )
    async with served(port) as link:
        reader = BlockReader(link, 1, rows(10, 12, 14), max_registers=64)
        for _ in range(3):
            task = asyncio.create_task(reader.read(Lane.FAST))
            await clock.advance(0)
            words = (await task).words
        assert 12 not in words
        assert words[10] == 10
        assert words[14] == 14
        assert reader.missing == {(12, 13)}


async def test_the_plan_follows_the_device_s_own_time(clock: FakeClock) -> None:
    port = ScriptedPort(clock, lasts_s=0.0, model=LineModel(0.001, 0.002, 0.001))
    async with served(port) as link:
        reader = BlockReader(link, 1, rows(10, 40), max_registers=64)
        for device_s, blocks in ((0.001, 2), (0.0012, 2), (0.05, 1)):
            port.model = LineModel(0.001, 0.002, device_s)
            task = asyncio.create_task(reader.read(Lane.FAST))
            await clock.advance(0)
            await task
            assert len(reader.blocks) == blocks
