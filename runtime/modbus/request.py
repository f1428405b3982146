"""One transaction as seen by both transports: what is asked, what came back."""

from dataclasses import dataclass
from typing import Protocol

from runtime.modbus.figures import UnitFigures
from runtime.modbus.planner import LineModel

READ_HOLDING = 3
READ_INPUT = 4
WRITE_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class Request:
    """Read (FC03, FC04) or write (FC16) registers of one unit.

    FC06 is never used: its answer equals its request, so an echo on the line would confirm it.
    """

    unit: int
    function: int
    address: int
    count: int
    words: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        limit = 123 if self.function == WRITE_MULTIPLE else 125
        if not 1 <= self.count <= limit or not 0 <= self.address <= 0x10000 - self.count:
            raise ValueError(f"{self.count} registers from {self.address} cannot be asked for")
        if self.function not in {READ_HOLDING, READ_INPUT, WRITE_MULTIPLE}:
            raise ValueError(f"function {self.function} is not one of 3, 4, 16")
        if self.function == WRITE_MULTIPLE and len(self.words) != self.count:
            raise ValueError(f"{len(self.words)} words for {self.count} registers")

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.function != WRITE_MULTIPLE


@dataclass(frozen=True, slots=True)
class Answer:
    """What a unit answered."""

    words: tuple[int, ...]
    """The registers read; empty after a write."""
    at_s: float
    """Monotonic instant in the middle of the device's answer time: when the registers were so."""


class Port(Protocol):
    """A way to units: a serial line or a connection."""

    name: str

    async def open(self) -> None:
        """Open it.

        Raises:
            LinkDownError: It cannot be opened.
        """

    async def transact(self, request: Request) -> Answer:
        """Ask and wait for the answer; never called twice at a time.

        Raises:
            NoAnswerError, BadFrameError, ExceptionCodeError, LinkDownError: See `errors`.
        """

    def close(self) -> None:
        """Let go of it; `open` may follow."""

    def figures(self, unit: int) -> UnitFigures:
        """Counters and learned times of one unit."""

    def line(self, unit: int) -> LineModel:
        """What transactions with one unit cost just now."""
