"""A running house, for benches and tests: simulator, broker and services as real processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hemma.demo import services, simulated_house, write_site

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def wait_until(
    true: Callable[[], bool],
    what: str,
    timeout_s: float = 60.0,
    circumstances: Callable[[], str] = str,
) -> float:
    """Look again and again; returns how long it took.

    The only pause in tests of real processes, which have no clock that could be advanced.
    """
    began_s = time.monotonic()
    while not true():
        if time.monotonic() - began_s > timeout_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}\n{circumstances()}")
        time.sleep(0.05)
    return time.monotonic() - began_s


class Simulator:
    """The control port of the simulated house: the physical truth, and faults on order."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def order(self, do: str, **keys: object) -> dict[str, Any]:
        """Give an order, see `sim.control`.

        Raises:
            ValueError: It was refused; says why.
        """
        self._socket.sendall(json.dumps({"do": do, **keys}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        if not answer.pop("ok"):
            raise ValueError(answer["error"])
        return answer

    def state(self) -> dict[str, Any]:
        """The whole physical truth."""
        return self.order("state")

    @property
    def grid_power_w(self) -> float:
        """True power at the grid connection point; > 0 is import."""
        return float(self.state()["grid_power_w"])

    def live(self, seconds: float) -> None:
        """Let so much time of the simulated house go by, however slow the machine is."""
        end_s = self.state()["elapsed_s"] + seconds
        wait_until(
            lambda: self.state()["elapsed_s"] >= end_s, "simulated time passes", 5 * seconds + 5
        )

    @contextlib.contextmanager
    def judging(
        self, limit_w: float, tolerance_w: float, **keys: object
    ) -> Iterator[dict[str, Any]]:
        """Judge the export at the grid connection point for the length of a block."""
        verdict: dict[str, Any] = {}
        self.order("watch", name="judge", limit_w=limit_w, tolerance_w=tolerance_w, **keys)
        try:
            yield verdict
        finally:
            verdict.update(self.order("watch", name="judge", stop=True)["watch"])


@dataclass
class House:
    """All of it."""

    simulator: Simulator
    config_file: Path
    state_dir: Path
    supervisor: "subprocess.Popen[bytes]"

    def hemma(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb of the command line on this house."""
        verb, *rest = arguments
        command = [sys.executable, "-m", "hemma", verb, "--config", str(self.config_file), *rest]
        return subprocess.run(  # noqa: S603  our own command line
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30
        )

    def status(self) -> dict[str, Any]:
        """What `hemma status --json` says.

        Raises:
            RuntimeError: Nothing.
        """
        answer = self.hemma("status", "--json")
        if not answer.stdout:
            raise RuntimeError(answer.stderr)
        parsed: dict[str, Any] = json.loads(answer.stdout)
        return parsed

    def pid(self, name: str) -> int:
        """The process of one service, or of the broker.

        Raises:
            LookupError: It does not run just now.
        """
        shown = "mosquitto" if name == "broker" else f"hemma-{name}"[:15]
        children = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == shown:
                return int(child)
        raise LookupError(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one process; returns its id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """The process hangs for the length of a block."""
        pid = self.kill(name, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def wait_until(self, true: Callable[[], bool], seconds: float, what: str) -> float:
        """Look until it is so; returns how long it took."""
        return wait_until(true, what, seconds, self.log_tail)

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until all is well."""
        self.wait_until(lambda: bool(self.status()["ok"]), seconds, "the house is well")

    def log_tail(self) -> str:
        """The last lines that the processes said."""
        lines = (self.state_dir / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-25:])


@contextlib.contextmanager
def running_house(state_dir: Path, scenario: Path, site: Path, seed: int = 1) -> Iterator[House]:
    """Start everything, wait until it is well, stop everything."""
    with simulated_house(state_dir, scenario, seed) as ends:
        config_file = write_site(state_dir, site, ends)
        simulator = Simulator(ends["control"])
        with services(config_file, state_dir) as supervisor:
            house = House(simulator, config_file, state_dir, supervisor)
            house.settle()
            yield house
        simulator.close()
