"""Which blocks to read: the cheapest cover of the wanted registers on a given line.

Reading a gap costs its bytes; not reading it costs another request, two silences and the device's
own time. The optimum is a shortest path over the sorted list.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_REGISTERS = 125
"""Of one FC03/FC04 answer: Modbus application protocol 1.1b3, 6.3."""

Span = tuple[int, int]
"""First address and the address behind the last."""


@dataclass(frozen=True, slots=True)
class LineModel:
    """What a transaction costs on one line with one device."""

    char_s: float
    """Time of one character on the wire; 0 on TCP."""
    silence_s: float
    """Silent interval before each frame; 0 on TCP."""
    device_s: float
    """Time that the device takes to answer."""

    def read_s(self, count: int) -> float:
        """Duration of one FC03/FC04 transaction: 8 characters out, 5 + 2N back."""
        return (13 + 2 * count) * self.char_s + 2 * self.silence_s + self.device_s

    def write_s(self, count: int) -> float:
        """Duration of one FC16 transaction: 9 + 2N characters out, 8 back."""
        return (17 + 2 * count) * self.char_s + 2 * self.silence_s + self.device_s


def plan_reads(
    wanted: Iterable[Span],
    line: LineModel,
    *,
    max_registers: int = MAX_REGISTERS,
    walls: frozenset[int] = frozenset(),
) -> list[Span]:
    """The blocks that read all wanted spans in the least time.

    Args:
        wanted: Spans that must each be read whole, in any order; they may overlap.
        line: Costs.
        max_registers: Largest block that the device answers.
        walls: Addresses that a block may begin at but not run across: behind a hole that the device
            refuses to read.

    Raises:
        ValueError: A single span is larger than a block may be.
    """
    outer = _outer_spans(wanted)
    too_long = [span for span in outer if span[1] - span[0] > max_registers]
    if too_long:
        raise ValueError(f"{too_long[0]} is longer than {max_registers} registers")
    best = [0.0] + [float("inf")] * len(outer)
    came_from = [0] * (len(outer) + 1)
    for last in range(1, len(outer) + 1):
        end = outer[last - 1][1]
        for first in range(last, 0, -1):
            start = outer[first - 1][0]
            if end - start > max_registers:
                break
            cost = best[first - 1] + line.read_s(end - start)
            if cost < best[last]:
                best[last], came_from[last] = cost, first - 1
            if start in walls:
                break
    blocks = []
    last = len(outer)
    while last > 0:
        first = came_from[last]
        blocks.append((outer[first][0], outer[last - 1][1]))
        last = first
    return blocks[::-1]


def _outer_spans(wanted: Iterable[Span]) -> list[Span]:
    """Without those inside another, which need no read of their own: starts and ends ascend."""
    outer: list[Span] = []
    for span in sorted(set(wanted)):
        if outer and outer[-1][0] == span[0]:
            outer[-1] = span
        elif not outer or span[1] > outer[-1][1]:
            outer.append(span)
    return outer


def plan_cost_s(blocks: Iterable[Span], line: LineModel) -> float:
    """What reading the blocks takes."""
    return sum(line.read_s(end - start) for start, end in blocks)


def split(block: Span, wanted: Iterable[Span]) -> tuple[Span, Span] | None:
    """Halve a refused block between wanted spans; None if it holds only one (or overlapping ones).

    The two halves leave the gap between them unread: if both then answer, a wall belongs there.
    """
    inside = sorted(span for span in set(wanted) if block[0] <= span[0] and span[1] <= block[1])
    cuts = [
        (left_end, right[0])
        for position, right in enumerate(inside[1:], 1)
        if (left_end := max(span[1] for span in inside[:position])) <= right[0]
    ]
    if not cuts:
        return None
    left_end, right_start = cuts[len(cuts) // 2]
    return (inside[0][0], left_end), (right_start, max(span[1] for span in inside))
