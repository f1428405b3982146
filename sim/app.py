"""The simulated house as a program: arguments, the real clock, signals, and where it listens."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sim.control import Control
from sim.house import STEP_S
from sim.plant import Plant, build
from sim.samples import SampleStream
from sim.scenario import Scenario, load_scenario
from sim.sections import ScenarioError
from sim.tcp import LOOPBACK, TcpPort

SCENARIOS = Path(__file__).parent / "scenarios"
EXIT_BAD_CONFIGURATION = 78
SWITCH_INTERVAL_S = 1e-4
"""How long a line's thread may wait for the interpreter; Python's own 5 ms would tear frames."""
MOST_BEHIND_S = 5.0
"""A machine that slept longer than this goes on from now instead of racing through the gap."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code (78: the scenario is wrong)."""
    given = _parser().parse_args(arguments)
    try:
        scenario, folder = _scenario(given)
        start = scenario.start_time(datetime.now(UTC))
        given.state_dir.mkdir(parents=True, exist_ok=True)
        plant = build(scenario, folder, given.state_dir, start)
    except (ScenarioError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_CONFIGURATION
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    control = Control(plant, given.control_port)
    listeners: list[Control | SampleStream | TcpPort] = [control, plant.stream]
    for listener in (*listeners, *plant.ports.values()):
        listener.host = given.bind
    try:
        asyncio.run(_run(plant, control, given.state_dir))
    except OSError as error:  # a port that is taken, mostly
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sim", description="A house that speaks real protocols.")
    known = ", ".join(sorted(path.stem for path in SCENARIOS.glob("*.yaml")))
    parser.add_argument("--scenario", default="demo", help=f"a YAML file, or one of {known}")
    parser.add_argument("--state-dir", type=Path, required=True, help="for links and sim.json")
    parser.add_argument("--control-port", type=int, default=0, help="0 picks a free one")
    parser.add_argument(
        "--bind",
        default=LOOPBACK,
        help=f"address of all TCP ports ({LOOPBACK}); they ask for no password: another one only "
        "inside a network of containers",
    )
    parser.add_argument("--seed", type=int, help="of weather, appliances, noise and answer times")
    parser.add_argument("--start", help="house time at the start: now, 12:30, or ISO 8601")
    parser.add_argument("--speed", type=float, help="house seconds per real second")
    parser.add_argument("--trace", type=Path, help="CSV (or gzip) with ts_utc, load_w and pv_w")
    return parser


def _scenario(given: argparse.Namespace) -> tuple[Scenario, Path]:
    packaged = SCENARIOS / f"{given.scenario}.yaml"
    path = packaged if packaged.is_file() else Path(given.scenario)
    scenario = load_scenario(path)
    house = scenario.house
    if given.start is not None:
        house = replace(house, start=given.start)
    if given.speed is not None:
        if given.speed <= 0:
            raise ScenarioError(["--speed: must be above 0"])
        house = replace(house, speed=given.speed)
    load = scenario.load
    if given.trace is not None:
        load = replace(load, trace=str(given.trace.resolve()))
    seed = scenario.seed if given.seed is None else given.seed
    return replace(scenario, house=house, load=load, seed=seed), path.parent


async def _run(plant: Plant, control: Control, state_dir: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as opened:
        for line in plant.lines.values():
            line.start()
            opened.callback(line.stop)
        for port in plant.ports.values():
            await port.start()
            opened.push_async_callback(port.stop)
        await plant.stream.start()
        opened.push_async_callback(plant.stream.stop)
        await control.start()
        opened.push_async_callback(control.stop)
        endpoints = state_dir / "sim.json"
        announce(plant, control.port, endpoints)
        opened.callback(endpoints.unlink, missing_ok=True)
        pace = asyncio.create_task(keep_pace(plant))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait((pace, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if pace.done():
            pace.result()  # the house broke: end loudly, with its own error
        pace.cancel()


async def keep_pace(plant: Plant) -> None:
    """Step the house on an absolute schedule: late steps are made up for, none is added up."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s += STEP_S
        early_s = due_s - loop.time()
        if early_s < -MOST_BEHIND_S:
            due_s = loop.time()
        # a pause in any case: a burst of late steps must not keep the ports waiting
        await asyncio.sleep(max(0.0, early_s))
        plant.step()


def announce(plant: Plant, control_port: int, path: Path) -> None:
    """Write where everything listens, in one go, for others to find."""
    endpoints = {
        "pid": os.getpid(),
        "control": control_port,
        "samples": plant.stream.port,
        "lines": {name: str(line.link) for name, line in plant.lines.items()},
        "tcp": {name: port.port for name, port in plant.ports.items()},
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(endpoints) + "\n", "utf-8")
    fresh.replace(path)
