"""Time as an argument: the system's clock, and one that tests move by hand.

Leases and silence are measured on `monotonic`, which no clock step can move; `now` only stamps.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Timer(Protocol):
    """A callback that has been put off."""

    def cancel(self) -> None:
        """Forget it; harmless when it has already run."""


class Clock(Protocol):
    """What a process may know of time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never step, from an arbitrary start."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run a callback in the event loop after a delay."""

    async def sleep(self, delay_s: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC, the same for all processes of the gateway."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run a callback in the event loop after a delay."""
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        await asyncio.sleep(delay_s)


class _FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """A clock that stands still until a test advances it."""

    def __init__(self, now: datetime = datetime(2026, 6, 21, 10, 0, tzinfo=UTC)) -> None:
        """Args: now: the wall clock's first instant."""
        self._now = now
        self._monotonic = 1000.0
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run a callback when the test has advanced that far."""
        timer = _FakeTimer(callback)
        due = self._monotonic + max(0.0, delay_s)
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Wait until the test has advanced that far."""
        woken = asyncio.Event()
        timer = self.call_later(delay_s, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move on, running each timer at its own instant and letting all tasks settle between."""
        await self.settle()
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._move_to(due)
            if timer.callback is not None:
                timer.callback()
                await self.settle()
        self._move_to(end)
        await self.settle()

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would."""
        self._now += timedelta(seconds=seconds)

    @staticmethod
    async def settle() -> None:
        """Let every task run until it waits for something."""
        for _ in range(50):
            await asyncio.sleep(0)

    def _move_to(self, monotonic: float) -> None:
        self._now += timedelta(seconds=monotonic - self._monotonic)
        self._monotonic = monotonic
