"""`hemma bench latency`: last sample of a grid window -> setpoint handed to the driver.

Real processes over a real Mosquitto: `hemma up` runs the broker, site, metering and policy; a
source process streams the samples of a small house, and the inverters' own actor runs with a driver
that notes when it is handed a setpoint. Beside them, in the same run and over the same broker,
three bare processes pass messages of the same sizes on: what MQTT itself costs.
"""

import argparse
import asyncio
import bisect
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median, quantiles

from hemma.bench import latency_house as ends
from hemma.bench.report import Report
from hemma.demo import write_site
from hemma.session import UNREACHABLE, observing, operator_address
from hemma.up import up
from runtime.mqtt import BrokerAddress
from runtime.process import configure_logging

MUST = {"p50_ratio": "<= 2", "p99_ratio": "<= 3", "answered_pct": ">= 50"}
"""Derived in docs/benchmarks.md."""

SITE = Path(__file__).with_name("latency.site.yaml")
SECONDS = 60.0
WARM_UP_S = 8.0
"""Until the policy knows the inverter and no longer moves at the pace of a return."""
START_S = 20.0
STOP_S = 10.0
BLOCKS_A_WINDOW = round(ends.WINDOW_S / ends.BLOCK_S)


class NotRunningError(Exception):
    """A part did not come up, or ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed, 69 without a house."""
    parser = argparse.ArgumentParser(prog="hemma bench latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measurement")
    parser.add_argument("--seed", type=int, default=1, help="draws the house's load")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        report = measure(options.seconds, options.seed)
    except NotRunningError as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    print(report.as_json() if options.json else report.as_text())
    return 0 if report.ok else 1


def measure(seconds: float, seed: int) -> Report:
    """Run everything and compare.

    Raises:
        NotRunningError: A part did not come up, or ended.
    """
    configure_logging("text", level="error")
    shared = ends.Shared(seconds + WARM_UP_S + 2 * START_S)
    with tempfile.TemporaryDirectory(prefix="hemma-latency-") as folder:
        state_dir = Path(folder)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config_file = write_site(state_dir, SITE, {"samples": port, "lines": {}, "tcp": {}})
        with _processes(state_dir / "log") as start:
            start(ends.stream_samples, listener, shared, seed)
            start(_up, config_file, state_dir)
            _wait_until((state_dir / "credentials" / "hemma.password").exists, "broker")
            start(ends.run_inverters, config_file, state_dir, shared)
            _wait_until(lambda: bool(shared.setpoints.all()), "setpoints")
            broker = operator_address(config_file)
            reading_bytes, dispatch_bytes = asyncio.run(_sizes(broker))
            start(ends.relay_third, broker, shared)
            start(ends.relay_second, broker, dispatch_bytes)
            start(ends.relay_first, broker, reading_bytes, shared)
            time.sleep(WARM_UP_S)
            began_s = time.monotonic()
            time.sleep(seconds)
    blocks_s, setpoints_s, relayed_s = (
        [instant_s for instant_s in stamps.all() if instant_s >= began_s]
        for stamps in (shared.blocks, shared.setpoints, shared.relayed)
    )
    return report(
        answers_s(blocks_s, setpoints_s), relay_s(relayed_s), len(blocks_s) // BLOCKS_A_WINDOW
    )


def report(ours_s: Sequence[float], theirs_s: Sequence[float], windows: int) -> Report:
    """Percentiles of both, and their ratios.

    Raises:
        NotRunningError: Too few messages to tell.
    """
    if min(len(ours_s), len(theirs_s)) < 2:  # noqa: PLR2004  no percentiles of one
        raise NotRunningError(f"{len(ours_s)} setpoints, {len(theirs_s)} messages relayed")
    (p50_ms, p99_ms), (relay_p50_ms, relay_p99_ms) = map(_percentiles_ms, (ours_s, theirs_s))
    figures = {
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "relay_p50_ms": relay_p50_ms,
        "relay_p99_ms": relay_p99_ms,
        "p50_ratio": p50_ms / relay_p50_ms,
        "p99_ratio": p99_ms / relay_p99_ms,
        "answered_pct": 100 * len(ours_s) / windows,
        "windows": windows,
    }
    return Report("latency", figures, MUST)


def answers_s(blocks_s: Sequence[float], setpoints_s: Sequence[float]) -> list[float]:
    """Time from the end of each window to its setpoint; windows without one are left out.

    Args:
        blocks_s: When each block of samples was sent, none left out.
        setpoints_s: When each frame was handed over; only the first one of a window counts.

    Which of a window's blocks is its last is told from the frames themselves: none of the others
    has them following so closely. So an answer that takes longer than a block is seen to be late.
    """
    candidates = [
        _followers_s(blocks_s[first::BLOCKS_A_WINDOW], setpoints_s)
        for first in range(min(BLOCKS_A_WINDOW, len(blocks_s)))
    ]
    return min((found for found in candidates if found), key=median, default=[])


def _followers_s(ends_s: Sequence[float], setpoints_s: Sequence[float]) -> list[float]:
    found = []
    for end_s, next_s in pairwise(ends_s):
        after = bisect.bisect_right(setpoints_s, end_s)
        if after < len(setpoints_s) and setpoints_s[after] < next_s:
            found.append(setpoints_s[after] - end_s)
    return found


def relay_s(pairs_s: Sequence[float]) -> list[float]:
    """How long each message of the relay was on its way.

    Args:
        pairs_s: Sent, arrived, sent, arrived, ...
    """
    return [after - before for before, after in zip(pairs_s[::2], pairs_s[1::2], strict=False)]


def _percentiles_ms(latencies_s: Sequence[float]) -> tuple[float, float]:
    steps = quantiles(latencies_s, n=100, method="inclusive")
    return 1000 * steps[49], 1000 * steps[98]


def _up(config_file: Path, state_dir: Path) -> int:
    return up(config_file, state_dir, names=("site", "metering", "policy"))


async def _sizes(broker: BrokerAddress) -> tuple[int, int]:
    """Sizes of a grid reading and of a dispatch as they are."""
    async with observing(broker) as observer:
        house = observer.house
        deadline_s = time.monotonic() + START_S
        while (grid := house.grid) is None or (dispatch := house.dispatch) is None:
            if time.monotonic() > deadline_s:
                raise NotRunningError("no grid readings or dispatches on the bus")
            await asyncio.sleep(0.05)
        return len(grid.encode()), len(dispatch.encode())


@contextlib.contextmanager
def _processes(log_file: Path) -> Iterator[Callable[..., None]]:
    """Gives a function that runs another one in a process of its own until the block ends.

    Raises:
        NotRunningError: One of them has ended by itself; with the end of the log.
    """
    context = get_context("fork")
    running: list[BaseProcess] = []

    def start(body: Callable[..., object], *arguments: object) -> None:
        process = context.Process(target=_live, args=(log_file, body, arguments), daemon=False)
        process.start()
        running.append(process)

    try:
        yield start
        if ended := [process.name for process in running if not process.is_alive()]:
            last = log_file.read_text(errors="replace").splitlines()[-15:]
            raise NotRunningError("\n".join([f"{', '.join(ended)} ended:", *last]))
    finally:
        for process in reversed(running):
            process.terminate()
            process.join(STOP_S)


def _live(log_file: Path, body: Callable[..., object], arguments: tuple[object, ...]) -> None:
    with log_file.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    body(*arguments)


def _wait_until(true: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + START_S
    while not true():
        if time.monotonic() > deadline_s:
            raise NotRunningError(f"no {what} after {START_S:g} s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
