"""One owner per link: who may speak next, who is given up for now, and when to open again.

Lanes: setpoint writes, fast reads, slow reads, discovery. Never two requests are in flight, so a
write waits for one transaction at most. A unit that misses three times is asked again only now and
then, so that a dead one costs the others next to nothing.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from enum import IntEnum

from runtime.clock import Clock
from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    ModbusError,
    NoAnswerError,
)
from runtime.modbus.figures import UnitFigures
from runtime.modbus.planner import LineModel
from runtime.modbus.request import READ_HOLDING, WRITE_MULTIPLE, Answer, Port, Request

_MISSES = 3
_QUICK_PROBE_S, _QUICK_PROBES = 8.0, 40
_LONGEST_PROBE_S = 60.0
"""A lost unit is asked after 1, 2, 4, 8 s, then each 8 s for five minutes: that costs the others
less than 4 % of the line and finds it soon; one that stays away, at night, each 60 s."""
_LONGEST_BUSY_S = 5.0
_LONGEST_REOPEN_S = 5.0
_PATIENCE_S = 2.0
"""A slow read that has waited so long goes before fast ones: else a full line starves it."""


class Lane(IntEnum):
    """Who goes first."""

    WRITE = 0
    FAST = 1
    SLOW = 2
    DISCOVERY = 3


_RETRIES = {Lane.WRITE: 0, Lane.FAST: 0, Lane.SLOW: 1, Lane.DISCOVERY: 1}
"""In the fast lane the next cycle is the retry; a write's author has newer figures by then."""


@dataclass(slots=True)
class _Waiting:
    request: Request
    lane: Lane
    since_s: float
    retries: int
    done: asyncio.Future[Answer]


@dataclass
class _Unit:
    """What the link knows of a unit's will to answer."""

    misses: int = 0
    refusals: int = 0
    """Answers in a row that it is busy."""
    closed_until_s: float = float("-inf")
    closed_by: ModbusError | None = None


class Link:
    """A link and the queue before it. `run` must be running while others read and write."""

    def __init__(self, port: Port, clock: Clock) -> None:
        """Args: port: not opened yet. clock: the time of back-off."""
        self._port = port
        self._clock = clock
        self._lanes: tuple[deque[_Waiting], ...] = tuple(deque() for _ in Lane)
        self._filled = asyncio.Event()
        self._units: defaultdict[int, _Unit] = defaultdict(_Unit)
        self._open = False
        self._reopen_s = 0.0
        self._failures = 0
        self._down: LinkDownError | None = None

    @property
    def name(self) -> str:
        """Port or address, for people."""
        return self._port.name

    async def read(
        self, unit: int, address: int, count: int, lane: Lane, *, function: int = READ_HOLDING
    ) -> Answer:
        """Read registers.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`.
        """
        return await self._ask(Request(unit, function, address, count), lane)

    async def write(
        self, unit: int, address: int, words: tuple[int, ...], lane: Lane = Lane.WRITE
    ) -> Answer:
        """Write registers in one frame.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`.
        """
        return await self._ask(Request(unit, WRITE_MULTIPLE, address, len(words), words), lane)

    def figures(self, unit: int) -> UnitFigures:
        """Counters and learned times of one unit."""
        return self._port.figures(unit)

    def line(self, unit: int) -> LineModel:
        """What transactions with one unit cost just now."""
        return self._port.line(unit)

    async def run(self) -> None:
        """Serve the queue until cancelled; open and reopen as needed."""
        try:
            while True:
                waiting = await self._next()
                await self._serve(waiting)
        finally:
            self._port.close()
            self._open = False
            for lane in self._lanes:
                for waiting in lane:
                    _fail(waiting, LinkDownError(self.name, "closed"))
                lane.clear()

    async def _ask(self, request: Request, lane: Lane) -> Answer:
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(request, lane, self._clock.monotonic(), _RETRIES[lane], done)
        self._lanes[lane].append(waiting)
        self._filled.set()
        return await done

    async def _next(self) -> _Waiting:
        while True:
            lane = self._next_lane()
            if lane is not None:
                return lane.popleft()
            self._filled.clear()
            await self._filled.wait()

    def _next_lane(self) -> deque[_Waiting] | None:
        write, fast, slow, discovery = self._lanes
        if write:
            return write
        impatient_s = self._clock.monotonic() - _PATIENCE_S
        if slow and slow[0].since_s < impatient_s:
            return slow
        return fast or slow or discovery or None

    async def _serve(self, waiting: _Waiting) -> None:
        if waiting.done.done():
            return  # whoever asked has gone
        unit = self._units[waiting.request.unit]
        try:
            self._refuse_if_closed(unit)
            await self._opened()
            answer = await self._port.transact(waiting.request)
        except ModbusError as error:
            self._learn(unit, error)
            if waiting.retries and _worth_another_try(error):
                waiting.retries -= 1
                self._lanes[waiting.lane].appendleft(waiting)
            else:
                _fail(waiting, error)
            return
        unit.misses = unit.refusals = 0
        unit.closed_by = None
        if not waiting.done.done():
            waiting.done.set_result(answer)

    def _refuse_if_closed(self, unit: _Unit) -> None:
        if unit.closed_by is None:
            return
        left_s = unit.closed_until_s - self._clock.monotonic()
        if left_s <= 0:
            unit.closed_by = None
        elif isinstance(unit.closed_by, ExceptionCodeError):
            raise ExceptionCodeError(unit.closed_by.unit, unit.closed_by.code, left_s)
        elif isinstance(unit.closed_by, NoAnswerError):
            raise NoAnswerError(unit.closed_by.unit, 0.0, left_s)

    async def _opened(self) -> None:
        if self._open:
            return
        left_s = self._reopen_s - self._clock.monotonic()
        if self._down is not None and left_s > 0:
            raise LinkDownError(self.name, self._down.reason, left_s)
        await self._port.open()
        self._open = True
        self._failures = 0
        self._down = None

    def _learn(self, unit: _Unit, error: ModbusError) -> None:
        """Close a unit or the link for a while after what went wrong."""
        if error.retry_in_s > 0:
            return  # nothing new: it was not asked
        now_s = self._clock.monotonic()
        if isinstance(error, LinkDownError):
            self._open = False
            self._down = error
            pause_s = min(_LONGEST_REOPEN_S, 2.0**self._failures - 0.5)
            self._failures = min(self._failures + 1, 10)
            self._reopen_s = now_s + pause_s
            return
        code = error.code if isinstance(error, ExceptionCodeError) else None
        if isinstance(error, NoAnswerError) or code in ExceptionCodeError.LOST:
            unit.misses += 1
            if unit.misses >= _MISSES:
                unit.closed_until_s = now_s + _probe_pause_s(unit.misses - _MISSES)
                unit.closed_by = error
        elif code in ExceptionCodeError.BUSY:
            unit.misses = 0
            pause_s = min(_LONGEST_BUSY_S, 0.1 * 2.0 ** min(unit.refusals, 10))
            unit.refusals += 1
            unit.closed_until_s, unit.closed_by = now_s + pause_s, error
        elif code is not None:
            unit.misses = unit.refusals = 0


def _probe_pause_s(probes: int) -> float:
    if probes > _QUICK_PROBES:
        return _LONGEST_PROBE_S
    return min(_QUICK_PROBE_S, 2.0 ** min(probes, 10))


def _worth_another_try(error: ModbusError) -> bool:
    return isinstance(error, (NoAnswerError, BadFrameError)) and error.retry_in_s <= 0


def _fail(waiting: _Waiting, error: ModbusError) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
