"""What every process does around its actor: arguments, logging, signals, heartbeat, exit codes."""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import structlog
from pydantic import BaseModel

from runtime.actor import Actor
from runtime.clock import Clock, SystemClock
from runtime.config import BrokerConfig, ConfigError, load
from runtime.mqtt import BrokerAddress, MqttBus

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: what is written in site.yaml cannot be."""

EXIT_CRASH = 1
"""Something unexpected; the supervisor starts the process again."""

STUCK_AFTER_S = 10
"""A process whose actor has not come round for so long ends itself, with a traceback."""


@dataclass(frozen=True)
class Surroundings:
    """What a process is given besides its configuration."""

    clock: Clock
    state_dir: Path
    """A folder of its own, for what must survive a restart."""


Factory = Callable[[MqttBus, Surroundings, Mapping[str, Any]], Actor]
"""Makes the actor: from its bus, its surroundings and the sections of site.yaml by name."""


@dataclass(frozen=True)
class Service:
    """A process that can be started: its name, its part of site.yaml, and how to make its actor."""

    name: str
    sections: Mapping[str, type[BaseModel]]
    factory: Factory


def main(service: Service, arguments: Sequence[str] | None = None) -> None:
    """Run one service as a process of its own: `python -m services.policy --config site.yaml`."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{service.name}")
    parser.add_argument("--config", type=Path, default=Path("/etc/hemma/site.yaml"))
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/hemma"))
    parser.add_argument("--log", choices=("json", "text"), default="json")
    options = parser.parse_args(arguments)
    sys.exit(run(service, options.config, options.state_dir, log_format=options.log))


def run(service: Service, config_file: Path, state_dir: Path, *, log_format: str = "json") -> int:
    """Live as one service until told to stop; returns the exit code."""
    configure_logging(log_format)
    log = structlog.get_logger().bind(service=service.name)
    try:
        config = load(
            config_file,
            {"broker": BrokerConfig, **service.sections},
            ignore_other_sections=True,
        )
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201  a person reads it, whatever the log's format
        return EXIT_CONFIG
    own_dir = state_dir / service.name
    own_dir.mkdir(parents=True, exist_ok=True)
    gc.freeze()  # what is loaded by now stays; collections need not walk it again
    try:
        asyncio.run(_live(service, config, own_dir))
    except asyncio.CancelledError:
        log.info("stopped")
        return 0
    except Exception:
        log.exception("crashed")
        return EXIT_CRASH
    return 0


async def _live(service: Service, config: Mapping[str, Any], own_dir: Path) -> None:
    broker: BrokerConfig = config["broker"]
    clock = SystemClock()
    address = broker_address(broker, service.name)
    actor = service.factory(MqttBus(address, clock), Surroundings(clock, own_dir), config)
    actor.heartbeat = _heartbeat(own_dir / "heartbeat")
    life = asyncio.current_task()
    if life is None:
        raise RuntimeError("not in a task")
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, life.cancel)
    try:
        await actor.run()
    finally:
        faulthandler.cancel_dump_traceback_later()


def broker_address(broker: BrokerConfig, username: str) -> BrokerAddress:
    """Where the broker is: as site.yaml says, or as the container's environment overrides it."""
    credentials_dir = Path(os.environ.get("HEMMA_CREDENTIALS_DIR", broker.credentials_dir))
    return BrokerAddress(
        host=os.environ.get("HEMMA_BROKER_HOST", broker.host),
        port=int(os.environ.get("HEMMA_BROKER_PORT", broker.port)),
        username=username,
        password_file=credentials_dir / f"{username}.password",
    )


def _heartbeat(file: Path) -> Callable[[], None]:
    """Touch the file that health checks look at, and hold off the watchdog for another while."""

    def beat() -> None:
        faulthandler.dump_traceback_later(STUCK_AFTER_S, exit=True)
        with contextlib.suppress(OSError):  # a full disk must not stop the control
            file.touch()

    return beat


class LogOutput:
    """Where log lines go. A full disk behind it costs lines, which are counted, and no process."""

    def __init__(self, stream: TextIO) -> None:
        """Args: stream: the real one."""
        self._stream = stream
        self._line = ""
        self._lost = 0

    def write(self, text: str) -> int:
        """Take a part of a line."""
        self._line += text
        return len(text)

    def flush(self) -> None:
        """Write the line; the first that gets through again comes behind how many did not."""
        line, self._line = self._line, ""
        try:
            if self._lost:  # not through structlog, which is waiting for this very line
                note = {"level": "warning", "event": "log_was_stuck", "lines": self._lost}
                self._stream.write(json.dumps(note) + "\n")
            self._stream.write(line)
            self._stream.flush()
        except OSError:
            self._lost += line.count("\n")
        else:
            self._lost = 0


def configure_logging(log_format: str, *, level: str = "info") -> None:
    """One event and its fields a line: JSON in containers, text for a person."""
    renderer: Any = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(LogOutput(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
