"""Reading a set of registers of one unit, in as few and as cheap blocks as the line allows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtime.modbus.errors import ExceptionCodeError
from runtime.modbus.link import Lane, Link
from runtime.modbus.planner import Span, plan_reads, split
from runtime.modbus.registers import Register
from runtime.modbus.request import READ_HOLDING

_REPLAN = 1.3
"""The plan is made anew when the device's time has changed by this factor."""


@dataclass(frozen=True, slots=True)
class Readout:
    """What one poll brought."""

    words: Mapping[int, int]
    """Registers by address."""
    at_s: float
    """Monotonic instant: the middle of the first and the last block's answers."""


class BlockReader:
    """Knows which blocks to read, and learns which the device refuses."""

    def __init__(
        self,
        link: Link,
        unit: int,
        registers: Iterable[Register],
        *,
        max_registers: int,
        function: int = READ_HOLDING,
    ) -> None:
        self._link = link
        self._unit = unit
        self._function = function
        self._max_registers = max_registers
        self._wanted = {(row.address, row.end) for row in registers}
        self._walls: set[int] = set()
        self._planned_for_s = 0.0
        self.missing: set[Span] = set()
        """Spans that the device does not have."""
        self.blocks: list[Span] = []
        """The present plan."""

    async def read(self, lane: Lane) -> Readout:
        """Read everything that the device has.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`; all or
                nothing, so that no reading mixes two moments further apart than one poll.
        """
        self._plan()
        words: dict[int, int] = {}
        instants: list[float] = []
        for block in self.blocks:
            await self._read_block(block, lane, words, instants)
        if not instants:
            return Readout({}, float("nan"))
        return Readout(words, (instants[0] + instants[-1]) / 2)

    def _plan(self) -> None:
        line = self._link.line(self._unit)
        ratio = line.device_s / self._planned_for_s if self._planned_for_s > 0 else float("inf")
        if self.blocks and 1 / _REPLAN < ratio < _REPLAN:
            return
        self._planned_for_s = line.device_s
        self.blocks = plan_reads(
            self._wanted - self.missing,
            line,
            max_registers=self._max_registers,
            walls=frozenset(self._walls),
        )

    async def _read_block(
        self, block: Span, lane: Lane, words: dict[int, int], instants: list[float]
    ) -> None:
        start, end = block
        try:
            answer = await self._link.read(
                self._unit, start, end - start, lane, function=self._function
            )
        except ExceptionCodeError as refusal:
            if refusal.code != ExceptionCodeError.ADDRESS:
                raise
            await self._bisect(block, lane, words, instants)
            return
        words.update(zip(range(start, end), answer.words, strict=True))
        instants.append(answer.at_s)

    async def _bisect(
        self, block: Span, lane: Lane, words: dict[int, int], instants: list[float]
    ) -> None:
        """Find what a block is refused for, once, and plan around it from now on."""
        self.blocks = []
        halves = split(block, self._wanted - self.missing)
        if halves is None:
            self.missing.update(
                span for span in self._wanted if block[0] <= span[0] and span[1] <= block[1]
            )
            return
        known = len(self._walls) + len(self.missing)
        for half in halves:
            await self._read_block(half, lane, words, instants)
        if len(self._walls) + len(self.missing) == known:
            self._walls.add(halves[1][0])  # both answer alone: the hole is between them
