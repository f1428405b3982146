"""`hemma bench footprint`: memory and CPU of the demo under `hemma up`, and how soon it is ready.

The simulated house runs beside it and is listed apart.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bus.policy import Dispatch, Reason
from hemma.bench.report import Report
from hemma.demo import SCENARIO, SITE, HouseFailedError, services, simulated_house, write_site
from hemma.session import UNREACHABLE, observing, operator_address
from runtime.config import load
from runtime.process import configure_logging
from services.inverters.config import InvertersConfig

MUST = {"pss_mb": "<= 130", "cpu_pct": "<= 15", "ready_s": "<= 3"}
"""Derived in docs/benchmarks.md."""

SECONDS = 60.0
SETTLE_S = 5.0
READY_WITHIN_S = 30.0
MEMORY_EVERY_S = 10.0
FAILSAFE = {Reason.METER_SILENT, Reason.NO_SETTINGS, Reason.INVERTER_SILENT}
"""Reasons of a dispatch that is none yet."""

PROC = Path("/proc")
KB_PER_MB = 1024
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Fields of /proc/PID/stat behind the name, from 0."""


class NotRunningError(Exception):
    """A process ended, or never began to work."""


@dataclass(frozen=True)
class Usage:
    """One process over the time of the measurement."""

    name: str
    pss_mb: float
    """Memory with shared pages divided by the number of their users: the highest seen."""
    cpu_pct: float
    """Of one core."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed, 69 without a house."""
    parser = argparse.ArgumentParser(prog="hemma bench footprint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measurement")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated house")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        report, usages = measure(options.seconds, options.seed)
    except (NotRunningError, HouseFailedError) as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    print(report.as_json() if options.json else f"{report.as_text()}\n\n{_table(usages)}")
    return 0 if report.ok else 1


def measure(seconds: float, seed: int) -> tuple[Report, list[Usage]]:
    """Run the demo's house and look at its processes.

    Returns:
        The report, and each process; the last one is the simulated house.

    Raises:
        NotRunningError: A process ended, or never began to work.
    """
    configure_logging("text", level="error")
    with tempfile.TemporaryDirectory(prefix="hemma-footprint-") as folder:
        state_dir = Path(folder)
        with simulated_house(state_dir, SCENARIO, seed) as ends:
            config_file = write_site(state_dir, SITE, ends)
            started_at = datetime.now(UTC)
            with services(config_file, state_dir) as supervisor:
                first = asyncio.run(_first_dispatch(config_file))
                time.sleep(SETTLE_S)
                started = children(supervisor.pid)
                usages = watch([supervisor.pid, *started, ends["pid"]], seconds)
                if children(supervisor.pid) != started:
                    raise NotRunningError("a process was started anew meanwhile")
    ready_s = (first.decided_at - started_at).total_seconds()
    return report(usages[:-1], usages[-1], ready_s), usages


def report(ours: Sequence[Usage], house: Usage, ready_s: float) -> Report:
    """Sums over our processes."""
    figures = {
        "pss_mb": sum(usage.pss_mb for usage in ours),
        "cpu_pct": sum(usage.cpu_pct for usage in ours),
        "ready_s": ready_s,
        "processes": len(ours),
        "sim_pss_mb": house.pss_mb,
        "sim_cpu_pct": house.cpu_pct,
    }
    return Report("footprint", figures, MUST)


def watch(pids: Sequence[int], seconds: float) -> list[Usage]:
    """Look at processes for a while.

    Raises:
        NotRunningError: One of them ended.
    """
    try:
        names = [_name(pid) for pid in pids]
        began_s, before = time.monotonic(), [_cpu_s(pid) for pid in pids]
        pss_mb = [0.0] * len(pids)
        while (left_s := began_s + seconds - time.monotonic()) > 0:
            time.sleep(min(left_s, MEMORY_EVERY_S))
            pss_mb = [max(highest, _pss_mb(pid)) for highest, pid in zip(pss_mb, pids, strict=True)]
        spent = [_cpu_s(pid) - cpu_s for pid, cpu_s in zip(pids, before, strict=True)]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NotRunningError(f"a process has ended: {error}") from error
    took_s = time.monotonic() - began_s
    return [
        Usage(name, memory_mb, 100 * cpu_s / took_s)
        for name, memory_mb, cpu_s in zip(names, pss_mb, spent, strict=True)
    ]


def children(pid: int) -> list[int]:
    """Processes that a process has started itself."""
    return sorted(map(int, (PROC / f"{pid}/task/{pid}/children").read_text().split()))


def is_control(dispatch: Dispatch, inverters: int) -> bool:
    """Whether a dispatch steers that many inverters, none of them in a fail-safe."""
    causes = [
        cause.reason
        for setpoint in dispatch.setpoints
        for cause in (*setpoint.battery_causes, *setpoint.ac_limit_causes)
    ]
    return len(dispatch.setpoints) == inverters and FAILSAFE.isdisjoint([dispatch.reason, *causes])


async def _first_dispatch(config_file: Path) -> Dispatch:
    section = load(config_file, {"inverters": InvertersConfig}, ignore_other_sections=True)
    config = section["inverters"]
    assert isinstance(config, InvertersConfig)  # noqa: S101  load() returns the models it was given
    inverters = len(list(config.units))
    deadline_s = time.monotonic() + READY_WITHIN_S
    async with observing(operator_address(config_file)) as observer:
        while (said := observer.house.dispatch) is None or not is_control(said, inverters):
            if time.monotonic() > deadline_s:
                raise NotRunningError(f"no control in {READY_WITHIN_S:g} s; the last was {said}")
            await asyncio.sleep(0.01)
        return said


def _name(pid: int) -> str:
    return (PROC / f"{pid}/comm").read_text().strip()


def _pss_mb(pid: int) -> float:
    for line in (PROC / f"{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / KB_PER_MB
    raise NotRunningError(f"process {pid} has no memory")


def _cpu_s(pid: int) -> float:
    # the name may contain anything, also brackets
    fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_S


def _table(usages: Sequence[Usage]) -> str:
    names = ["hemma up", *(usage.name for usage in usages[1:-1]), "(hemma sim)"]
    return "\n".join(
        f"  {name:<16} {usage.pss_mb:6.1f} MB  {usage.cpu_pct:5.1f} %"
        for name, usage in zip(names, usages, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
