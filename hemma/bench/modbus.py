"""`hemma bench modbus`: the serial line against what the wire allows, and under a storm of faults.

Three units on a simulated RS485 line that keeps line speed (`sim.line`, a pseudo-terminal served by
another process), polled through the port and the link that the services use. The line takes a
request that comes before the silent interval has passed for a part of the frame before.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from statistics import median

from hemma.bench.modbus_line import SETPOINT, UNITS, Far, far_end, word_at
from hemma.bench.report import Report
from runtime.clock import SystemClock
from runtime.modbus.errors import ModbusError
from runtime.modbus.link import Lane, Link
from runtime.modbus.planner import LineModel
from runtime.modbus.request import READ_HOLDING, Request
from runtime.modbus.rtu import RtuPort, SerialSettings

MUST = {
    "cycle_ratio_9600": "<= 1.03",
    "cycle_ratio_19200": "<= 1.03",
    "cycle_ratio_115200": "<= 1.03",
    "silence_violations": "<= 0",
    "write_wait_ratio": "<= 1.03",
    "wrong_values": "<= 0",
    "storm_kinds_tried": ">= 1",
    "dead_unit_cost_pct": "<= 10",
}
"""Derived in docs/benchmarks.md."""

BLOCKS = ((32000, 30), (32064, 40), (37000, 30))
"""First register and count of what is read of each unit in a cycle."""
LONGEST = max(count for _, count in BLOCKS)
BAUDS = (9600, 19200, 115200)
DEVICE_S = 0.02
WARM_UP_CYCLES = 2
STORM_SHARE = 0.05
WRITE_BAUD = DEAD_BAUD = 19200
DEAD_UNIT = UNITS[-1]


@dataclass(frozen=True)
class Lengths:
    """How much is measured."""

    cycle_s: float = 12.0
    writes: int = 60
    dead_s: float = 40.0
    transactions: int = 100_000


SHORT = Lengths(cycle_s=3.0, writes=12, dead_s=20.0, transactions=4000)


@dataclass(frozen=True)
class QuickLine(SerialSettings):
    """A line whose wire time is next to nothing, so that 100,000 transactions take minutes."""

    baud: int = 4_000_000
    gap_s: float = 0.002
    first_window_s: float = 0.03
    shortest_window_s: float = 0.008
    longest_window_s: float = 0.02

    @property
    def t35_s(self) -> float:
        """Ten times shorter than the standard's."""
        return 0.0002


def run(lengths: Lengths, seed: int) -> dict[str, float]:
    """Measure everything; figures by key."""
    figures: dict[str, float] = {}
    violations = 0
    for baud in BAUDS:
        ratio, early = asyncio.run(_cycles(baud, lengths.cycle_s))
        figures[f"cycle_ratio_{baud}"] = ratio
        violations += early
    writes = asyncio.run(_writes(lengths.writes, random.Random(seed)))
    figures |= asyncio.run(_storm(lengths.transactions, seed))
    figures["silence_violations"] = violations + figures.pop("storm_early_requests")
    figures["write_wait_ratio"] = writes
    figures["dead_unit_cost_pct"] = asyncio.run(_dead_unit(lengths.dead_s))
    return {key: round(figure, 4) for key, figure in figures.items()}


@contextlib.asynccontextmanager
async def _opened(settings: SerialSettings) -> AsyncIterator[tuple[RtuPort, Link]]:
    port = RtuPort(settings)
    link = Link(port, SystemClock())
    serving = asyncio.create_task(link.run())
    try:
        yield port, link
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _cycles(baud: int, seconds: float) -> tuple[float, int]:
    """Median cycle over what the wire needs for it, and the requests that came too early."""
    settings = SerialSettings("", baud)
    wire = LineModel(settings.char_s, settings.t35_s, DEVICE_S)
    limit_s = len(UNITS) * sum(wire.read_s(count) for _, count in BLOCKS)
    cycles = max(round(seconds / limit_s), 3)
    with far_end(Far(baud, DEVICE_S)) as far:
        async with _opened(SerialSettings(far.port, baud)) as (port, link):
            ends_s = []
            for _ in range(WARM_UP_CYCLES + cycles + 1):
                for unit, (address, count) in itertools.product(UNITS, BLOCKS):
                    await link.read(unit, address, count, Lane.FAST)
                ends_s.append(time.monotonic())
            early = port.figures_of_line.silence_violations
        early += far.outcome().report.early_requests
    lasted_s = [after - before for before, after in itertools.pairwise(ends_s[WARM_UP_CYCLES:])]
    return median(lasted_s) / limit_s, early


async def _poll(link: Link, unit: int, seen: list[int]) -> None:
    """Poll one unit for ever, as a service does; counts its readings."""
    while True:
        for address, count in BLOCKS:
            try:
                await link.read(unit, address, count, Lane.FAST)
            except ModbusError as error:
                await asyncio.sleep(error.retry_in_s)
                break
        else:
            seen[unit] += 1


@contextlib.asynccontextmanager
async def _polling(link: Link, units: Sequence[int]) -> AsyncIterator[list[int]]:
    seen = [0] * (max(UNITS) + 1)
    tasks = [asyncio.create_task(_poll(link, unit, seen)) for unit in units]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _writes(count: int, rng: random.Random) -> float:
    """Longest wait of a setpoint on a busy line, over the longest transaction on it.

    From the order to the first bit on the wire: the device notes when the frame is complete, its
    length and the silent interval behind it are taken off.
    """
    settings = SerialSettings("", WRITE_BAUD)
    wire = LineModel(settings.char_s, settings.t35_s, DEVICE_S)
    frame_s = wire.write_s(2) - DEVICE_S - settings.t35_s - 8 * settings.char_s
    asked_s: dict[int, float] = {}
    with far_end(Far(WRITE_BAUD, DEVICE_S)) as far:
        async with (
            _opened(SerialSettings(far.port, WRITE_BAUD)) as (_, link),
            _polling(link, UNITS),
        ):
            await asyncio.sleep(2.0)
            for number in range(count):
                await asyncio.sleep(rng.uniform(0.2, 0.5))
                asked_s[number] = time.monotonic()
                await link.write(rng.choice(UNITS), SETPOINT, (number, 5000))
        written = far.outcome().written
    if len(written) != count:
        raise RuntimeError(f"{len(written)} of {count} writes arrived")
    waited_s = [at_s - frame_s - asked_s[number] for at_s, number in written]
    return max(waited_s) / (wire.read_s(LONGEST) + settings.t35_s)


async def _dead_unit(seconds: float) -> float:
    """What a unit that dies costs the other two, % of their rate without it."""
    others = [unit for unit in UNITS if unit != DEAD_UNIT]
    with far_end(Far(DEAD_BAUD, DEVICE_S)) as far:
        async with _opened(SerialSettings(far.port, DEAD_BAUD)) as (_, link):
            async with _polling(link, others) as seen:
                await asyncio.sleep(2.0)
                without = await _rate(seen, others, seconds / 2)
            async with _polling(link, UNITS) as seen:
                await asyncio.sleep(3.0)  # its times are known
                far.mute(DEAD_UNIT)
                beside = await _rate(seen, others, seconds)
    return 100.0 * (1.0 - beside / without)


async def _rate(seen: Sequence[int], units: Sequence[int], seconds: float) -> float:
    began_s, before = time.monotonic(), sum(seen[unit] for unit in units)
    await asyncio.sleep(seconds)
    return (sum(seen[unit] for unit in units) - before) / (time.monotonic() - began_s)


async def _storm(transactions: int, seed: int) -> dict[str, float]:
    """So many reads while one answer in twenty is spoilt: values that are believed and wrong."""
    rng = random.Random(seed)
    quick = QuickLine("")
    answered = wrong = 0
    far_settings = Far(
        quick.baud,
        0.0,
        storm_share=STORM_SHARE,
        late_s=2 * quick.longest_window_s,
        silence_s=quick.t35_s,
        seed=seed,
    )
    with far_end(far_settings) as far:
        port = RtuPort(QuickLine(far.port))
        await port.open()
        try:
            for _ in range(transactions):
                unit, (first, most) = rng.choice(UNITS), rng.choice(BLOCKS)
                # blocks of one length from different places: only the values tell them apart
                address = first + rng.randrange(8)
                words = await _words(port, unit, address, most)
                if words is not None:
                    answered += 1
                    wrong += words != [word_at(unit, address + n) for n in range(most)]
            early = port.figures_of_line.silence_violations
        finally:
            port.close()
        outcome = far.outcome()
    return {
        "wrong_values": wrong,
        "storm_transactions": transactions,
        "storm_answered_pct": 100.0 * answered / transactions,
        "storm_kinds_tried": outcome.kinds_tried,
        "storm_early_requests": early,
    }


async def _words(port: RtuPort, unit: int, address: int, count: int) -> list[int] | None:
    try:
        answer = await port.transact(Request(unit, READ_HOLDING, address, count))
    except ModbusError:
        return None
    return list(answer.words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed."""
    parser = argparse.ArgumentParser(prog="hemma bench modbus", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the storm and of the writes")
    parser.add_argument("--short", action="store_true", help="a small part of everything")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    report = Report("modbus", run(SHORT if options.short else Lengths(), options.seed), MUST)
    print(report.as_json() if options.json else report.as_text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
