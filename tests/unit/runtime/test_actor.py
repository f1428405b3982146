"""One mailbox, one handler at a time; nothing is lost silently."""

import asyncio
from typing import ClassVar

import pytest

from bus.message import Answer, Command, Message, Topic, command, event, reading, state
from bus.system import Faults, Health, Severity
from runtime.actor import MAILBOX_LIMIT, Actor, RefusedError, every, on
from runtime.clock import FakeClock
from runtime.memory import MemoryBus, running


class Warmth(Message):
    topic: ClassVar[Topic] = reading("stove/warmth", expires_s=5)
    degc: float


class Knock(Message):
    topic: ClassVar[Topic] = event("door/event/knock")
    times: int


class Open(Command):
    topic: ClassVar[Topic] = command("house/cmd/open")
    door: str


class Said(Message):
    topic: ClassVar[Topic] = state("house/said")
    words: str


class HouseActor(Actor):
    name = "house"
    publishes = (Said,)

    def __init__(self, bus: MemoryBus, clock: FakeClock) -> None:
        super().__init__(bus, clock)
        self.seen: list[object] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = 0
        self.minutes = 0

    @on(Warmth)
    @on(Knock)
    async def notice(self, message: Message) -> None:
        self.inside += 1
        assert self.inside == 1, "two handlers at once"
        await self.gate.wait()
        self.seen.append(message)
        self.inside -= 1

    @on(Open)
    async def open_door(self, order: Open) -> None:
        if order.door == "wall":
            raise RefusedError("a wall is no door")
        if order.door == "garage":
            raise RefusedError("it is stuck; " * 100)
        if order.door == "trap":
            raise RuntimeError("fell through")
        self.seen.append(order)

    @every(60)
    async def count_minutes(self) -> None:
        self.minutes += 1


async def test_a_newer_reading_replaces_the_waiting_one(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        house.gate.clear()
        bus.deliver(Knock(times=1))
        await clock.settle()
        for degc in (20.0, 21.0, 22.0):
            bus.deliver(Warmth(degc=degc))
        house.gate.set()
        await clock.settle()
        assert house.seen == [Knock(times=1), Warmth(degc=22.0)]
        assert house.counters.replaced == 2


async def test_events_and_commands_are_never_replaced(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        house.gate.clear()
        bus.deliver(Knock(times=1))
        bus.deliver(Knock(times=2))
        asked = asyncio.create_task(bus.ask(Open(door="front")))
        await clock.settle()
        house.gate.set()
        assert await asked == Answer(accepted=True)
        assert house.seen == [Knock(times=1), Knock(times=2), Open(door="front")]


async def test_a_full_mailbox_refuses_commands_with_a_reason_and_counts(
    clock: FakeClock, bus: MemoryBus
) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        house.gate.clear()
        for times in range(MAILBOX_LIMIT + 5):
            bus.deliver(Knock(times=times))
        answer = await bus.ask(Open(door="front"))
        assert answer == Answer(accepted=False, reason="busy: the mailbox is full")
        assert house.counters.overflowed >= 5
        house.gate.set()


async def test_a_refusal_reaches_the_caller_and_the_actor_lives_on(
    clock: FakeClock, bus: MemoryBus
) -> None:
    async with running(HouseActor(bus, clock)):
        refusal = await bus.ask(Open(door="wall"))
        assert refusal == Answer(accepted=False, reason="a wall is no door")
        assert (await bus.ask(Open(door="front"))).accepted


async def test_a_long_refusal_is_cut_to_what_an_answer_can_carry(
    clock: FakeClock, bus: MemoryBus
) -> None:
    async with running(HouseActor(bus, clock)):
        refusal = await bus.ask(Open(door="garage"))
        assert len(refusal.reason or "") == 500


async def test_an_unexpected_error_answers_the_caller_and_ends_the_process(
    clock: FakeClock, bus: MemoryBus
) -> None:
    house = HouseActor(bus, clock)
    life = asyncio.create_task(house.run())
    await clock.settle()
    answer = await bus.ask(Open(door="trap"))
    assert answer.reason == "house failed and starts again"
    with pytest.raises(RuntimeError, match="fell through"):
        await life


async def test_a_failing_task_ends_the_process(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    life = asyncio.create_task(house.run())
    await clock.settle()

    async def fail() -> None:
        raise OSError("the serial port is gone")

    house.spawn(fail(), "link")
    with pytest.raises(OSError, match="serial port"):
        await life


async def test_periodic_work_comes_in_turn(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        await clock.settle()
        assert house.minutes == 1
        await clock.advance(180)
        assert house.minutes == 4


async def test_the_heart_beats_each_second_and_stops_with_a_stuck_handler(
    clock: FakeClock, bus: MemoryBus
) -> None:
    house = HouseActor(bus, clock)
    beats: list[float] = []
    house.heartbeat = lambda: beats.append(clock.monotonic())
    async with running(house):
        await clock.advance(5)
        assert len(beats) == 6
        house.gate.clear()
        bus.deliver(Knock(times=1))
        await clock.advance(5)
        assert len(beats) == 6
        house.gate.set()
        await clock.advance(1)
        assert len(beats) > 6


async def test_faults_are_said_once_and_cleared_once(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        await clock.settle()
        assert bus.last(Faults).faults == ()
        for _ in range(3):
            await house.raise_fault("cold", Severity.MAJOR, "the stove is out", "stove")
        assert [fault.code for fault in bus.last(Faults).faults] == ["cold"]
        assert len(bus.all(Faults)) == 2
        await house.clear_fault("cold", "stove")
        await house.clear_fault("cold", "stove")
        assert bus.last(Faults).faults == ()
        assert len(bus.all(Faults)) == 3


async def test_health_tells_what_was_replaced(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    async with running(house):
        house.gate.clear()
        bus.deliver(Knock(times=1))
        await clock.settle()
        bus.deliver(Warmth(degc=1.0))
        bus.deliver(Warmth(degc=2.0))
        house.gate.set()
        await clock.advance(10)
        assert bus.last(Health).replaced >= 1


async def test_only_what_is_declared_can_be_said(clock: FakeClock, bus: MemoryBus) -> None:
    house = HouseActor(bus, clock)
    with pytest.raises(TypeError, match="does not declare"):
        await house.publish(Knock(times=1))
    with pytest.raises(TypeError, match="does not declare"):
        await house.request(Open(door="front"))


def test_an_actor_may_not_declare_what_belongs_to_another() -> None:
    with pytest.raises(TypeError, match="may not publish Knock"):

        class Forger(Actor):
            name = "house"
            publishes = (Knock,)


def test_two_handlers_for_one_message_are_a_mistake_at_import() -> None:
    with pytest.raises(TypeError, match="two handlers for Knock"):

        class Torn(Actor):
            name = "torn"

            @on(Knock)
            async def one(self, message: Knock) -> None: ...

            @on(Knock)
            async def other(self, message: Knock) -> None: ...
