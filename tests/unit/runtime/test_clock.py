"""The clock that tests move."""

import asyncio

from runtime.clock import FakeClock


async def test_timers_run_in_order_at_their_own_instant(clock: FakeClock) -> None:
    ran: list[tuple[str, float]] = []
    start = clock.monotonic()
    for name, delay_s in (("late", 3.0), ("early", 1.0), ("never", 9.0)):
        clock.call_later(delay_s, lambda name=name: ran.append((name, clock.monotonic() - start)))
    await clock.advance(5)
    assert ran == [("early", 1.0), ("late", 3.0)]


async def test_a_cancelled_timer_does_not_run(clock: FakeClock) -> None:
    ran: list[str] = []
    clock.call_later(1, lambda: ran.append("no")).cancel()
    await clock.advance(2)
    assert ran == []


async def test_sleepers_wake_and_may_sleep_again(clock: FakeClock) -> None:
    woken: list[float] = []

    async def sleeper() -> None:
        for _ in range(3):
            await clock.sleep(1)
            woken.append(clock.monotonic())

    task = asyncio.create_task(sleeper())
    await clock.advance(10)
    assert len(woken) == 3
    assert woken[2] - woken[0] == 2
    await task


async def test_a_step_of_the_wall_clock_leaves_leases_alone(clock: FakeClock) -> None:
    before, mono = clock.now(), clock.monotonic()
    clock.step_wall_clock(-3600)
    assert (clock.now() - before).total_seconds() == -3600
    assert clock.monotonic() == mono
