"""A real Mosquitto on a free port, with rights generated from the actors under test."""

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hemma.broker import OPERATOR, prepare, rights_of
from hemma.demo import free_port
from runtime.actor import Actor
from runtime.mqtt import BrokerAddress


@dataclass
class Mosquitto:
    """A broker that a test may kill, pause and start again."""

    folder: Path
    port: int
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=0.1).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
        raise RuntimeError("Mosquitto does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def address(self, name: str, *, username: str | None = None) -> BrokerAddress:
        username = username or name
        password_file = self.folder / "credentials" / f"{username}.password"
        return BrokerAddress("127.0.0.1", self.port, username, password_file)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    started: list[Mosquitto] = []

    def start(*actors: type[Actor]) -> Mosquitto:
        rights = {actor.name: rights_of(actor) for actor in actors}
        rights[OPERATOR] = {"publish": ["hemma/v1/+/cmd/#"], "subscribe": ["hemma/v1/#"]}
        port = free_port()
        command = prepare(tmp_path / "broker", tmp_path / "credentials", port, rights)
        broker = Mosquitto(tmp_path, port, command)
        broker.start()
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.kill()
