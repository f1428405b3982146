"""`hemma up`: every service a process forked from one preloaded parent, restarted when it dies.

The parent imports all services once and forks; pages that nobody writes to stay shared, which takes
a quarter of the memory of separate starts. The broker is a child too, unless there is one already.
"""

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from hemma import broker, registry
from runtime.process import EXIT_CONFIG, run

STEADY_AFTER_S = 10.0
"""A process that lived this long starts again at once; one that dies sooner waits ever longer."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
STOP_GRACE_S = 5.0
"""Time to say goodbye before SIGKILL."""

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
log = structlog.get_logger()


@dataclass
class Child:
    """A process that shall run: how it is started, and how often it failed in a row."""

    name: str
    start: Callable[[], int]
    """Starts it and returns its process id."""
    pid: int | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    failures: int = 0
    restarts: int = 0

    def ended(self, now: float) -> None:
        """Note the end and when to start again."""
        steady = now - self.started_at >= STEADY_AFTER_S
        self.failures = 0 if steady else self.failures + 1
        pause = 0.0
        if self.failures > 1:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self.failures - 2))
        self.pid = None
        self.start_again_at = now + pause
        self.restarts += 1


@dataclass
class Supervisor:
    """The parent of all. Its own loop only waits for signals and for the next start."""

    config_file: Path
    state_dir: Path
    log_format: str
    children: list[Child] = field(default_factory=list)
    stopping: bool = False

    def add_broker(self, port: int, credentials: Path) -> None:
        """Run Mosquitto on the loopback as a child."""
        command = broker.prepare(self.state_dir / "broker", credentials, port, broker.access())
        self.children.append(Child("broker", lambda: _fork(lambda: os.execv(command[0], command))))  # noqa: S606  our own command line

    def add_services(self, names: Iterable[str]) -> None:
        """Load the services, to be forked."""
        for name in names:
            self.children.append(Child(name, partial(_fork, partial(self._live, name))))

    def run(self) -> int:
        """Keep all children running until SIGTERM or SIGINT; returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        gc.collect()
        gc.freeze()
        while not self.stopping:
            now = time.monotonic()
            for child in self.children:
                if child.pid is None and now >= child.start_again_at:
                    child.started_at = now
                    child.pid = child.start()
                    log.info("started", service=child.name, pid=child.pid)
            due = [c.start_again_at - now for c in self.children if c.pid is None]
            received = signal.sigtimedwait(WATCHED, max(0.0, min(due, default=60.0)))
            if received is not None and received.si_signo != signal.SIGCHLD:
                self.stopping = True
            self._reap()
        return self._stop_all()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    child.ended(time.monotonic())
                    code = os.waitstatus_to_exitcode(status)
                    if not self.stopping:
                        log.warning("ended", service=child.name, exit_code=code)
                    if code == EXIT_CONFIG:
                        self.stopping = True

    def _stop_all(self) -> int:
        """Services first, so that they can say goodbye; then the broker."""
        for group in (
            [c for c in self.children if c.name != "broker"],
            [c for c in self.children if c.name == "broker"],
        ):
            self._signal(group, signal.SIGTERM)
            deadline = time.monotonic() + STOP_GRACE_S
            while any(c.pid for c in group) and time.monotonic() < deadline:
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)
                self._reap()
            self._signal(group, signal.SIGKILL)
        self._reap()
        return 0

    @staticmethod
    def _signal(children: Iterable[Child], number: signal.Signals) -> None:
        for child in children:
            if child.pid is not None:
                os.kill(child.pid, number)

    def _live(self, name: str) -> int:
        _call_itself(f"hemma-{name}")
        service = registry.service(name)
        return run(service, self.config_file, self.state_dir, log_format=self.log_format)


def _call_itself(name: str) -> None:
    """The name that `ps` and `top` show; a fork would show its parent's."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def _fork(body: Callable[[], int]) -> int:
    """Run a body in a child that ends with its parent; the child never returns from here.

    No child outlives its supervisor: a second one would fight it for names and hardware.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        code = body()
    finally:
        sys.stderr.flush()
        os._exit(code)
