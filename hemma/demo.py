"""`hemma demo`: the simulated house, the broker, all services and a live view, on one machine.

The parts are the real ones: the services are started by `hemma up` and reach the simulated house by
Modbus over a pseudo-terminal at line speed, Modbus TCP and a stream of CT samples.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any

from hemma.broker import BrokerMissingError, find_mosquitto
from hemma.session import observing, operator_address
from hemma.view import show
from runtime.clock import SystemClock
from runtime.process import configure_logging

REPOSITORY = Path(__file__).resolve().parent.parent
SCENARIO = REPOSITORY / "sim" / "scenarios" / "demo.yaml"
SITE = REPOSITORY / "config" / "site.demo.yaml"
START_S = 20.0
STOP_S = 10.0


class HouseFailedError(Exception):
    """A part of the demo did not start; the text says where to look."""


def demo(
    state_dir: Path,
    scenario: Path | None,
    seed: int,
    seconds: float | None,
    picture: Path | None = None,
) -> int:
    """Run the whole house until Ctrl-C, or for some seconds; returns the exit code."""
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the house too
        signal.signal(ending, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        find_mosquitto()
        with simulated_house(state_dir, scenario or SCENARIO, seed) as ends:
            config_file = write_site(state_dir, SITE, ends)
            with services(config_file, state_dir):
                asyncio.run(_watch(config_file, seconds, picture))
    except KeyboardInterrupt:
        return 0
    except (BrokerMissingError, HouseFailedError) as error:
        print(error, file=sys.stderr)
        return 69  # EX_UNAVAILABLE
    return 0


async def _watch(config_file: Path, seconds: float | None, picture: Path | None) -> None:
    configure_logging("text", level="error")
    async with observing(operator_address(config_file)) as observer:
        await show(observer, SystemClock(), seconds, picture)


@contextlib.contextmanager
def simulated_house(state_dir: Path, scenario: Path, seed: int) -> Iterator[dict[str, Any]]:
    """The simulator as a process; gives its endpoints.

    Raises:
        HouseFailedError: It did not start.
    """
    own_dir = state_dir / "sim"
    shutil.rmtree(own_dir, ignore_errors=True)
    own_dir.mkdir(parents=True)
    command = [sys.executable, "-m", "sim", "--scenario", str(scenario), "--seed", str(seed)]
    with _process([*command, "--state-dir", str(own_dir)], own_dir / "log") as house:
        endpoints = own_dir / "sim.json"
        _wait_until(endpoints.exists, house, own_dir / "log")
        yield json.loads(endpoints.read_text())


@contextlib.contextmanager
def services(config_file: Path, state_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`hemma up` as a process of its own.

    Raises:
        HouseFailedError: It did not start.
    """
    command = [sys.executable, "-m", "hemma", "up", "--config", str(config_file)]
    log_file = state_dir / "log"
    with _process([*command, "--state-dir", str(state_dir)], log_file) as supervisor:
        credential = state_dir / "credentials" / "hemma.password"
        _wait_until(credential.exists, supervisor, log_file)
        yield supervisor


def write_site(state_dir: Path, template: Path, ends: dict[str, Any]) -> Path:
    """The plant's site.yaml with the simulated house's endpoints filled in."""
    text = Template(template.read_text()).substitute(
        broker_port=free_port(),
        state_dir=state_dir.resolve(),
        samples_port=ends["samples"],
        **{name.replace("-", "_"): path for name, path in ends["lines"].items()},
        **{f"{name.replace('-', '_')}_port": port for name, port in ends["tcp"].items()},
    )
    file = state_dir / "site.yaml"
    file.write_text(text)
    return file


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _process(command: list[str], log_file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program with its output in a file; Ctrl-C reaches it through us, in order."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  our own modules
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(
    true: Callable[[], bool], process: "subprocess.Popen[bytes]", log_file: Path
) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            last = log_file.read_text(errors="replace").splitlines()[-15:]
            raise HouseFailedError("\n".join([f"{process.args!r} did not start:", *last]))
        time.sleep(0.05)
