"""The gateway as `docker compose` runs it, beside the simulated house, under a name of its own."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from hemma import registry
from hemma.bench.house import Simulator, wait_until
from hemma.demo import free_port

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUILD_TIMEOUT_S = 600
PROCESSES = ("broker", *registry.NAMES)


@dataclass
class Compose:
    """One project of compose: its containers, volumes and networks end with it."""

    project: str
    lan_port: int = field(default_factory=free_port)
    control_port: int = field(default_factory=free_port)
    revision: str = "first"

    def run(self, *arguments: str, timeout_s: float = 120) -> str:
        """`docker compose ...`; returns what it printed."""
        done = self.attempt(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def attempt(
        self,
        *arguments: str,
        timeout_s: float = 120,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """The same, and it may fail."""
        environment = {
            **os.environ,
            **environment,
            "COMPOSE_PROJECT_NAME": self.project,
            "HEMMA_TAG": self.project,
            "HEMMA_LAN_PORT": str(self.lan_port),
            "HEMMA_SIM_PORT": str(self.control_port),
            "HEMMA_CONFIG": "./config/site.container.yaml",
            "HEMMA_SCENARIO": "container_steady",
            "HEMMA_REVISION": self.revision,
        }
        return subprocess.run(
            ["docker", "compose", "--profile", "sim", "--ansi", "never", *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def container(self, service: str) -> dict[str, Any]:
        """What the engine says of the container of a service."""
        container_id = self.run("ps", "--all", "--quiet", service).strip()
        done = subprocess.run(
            ["docker", "inspect", container_id], capture_output=True, text=True, check=True
        )
        (described,) = json.loads(done.stdout)
        assert isinstance(described, dict)
        return described

    def healthy(self, service: str) -> bool:
        state = self.container(service)["State"]
        return bool(state["Running"]) and state["Health"]["Status"] == "healthy"

    def life(self, service: str) -> tuple[str, str]:
        """The container's id and when it was started: one of them changes with a new life."""
        found = self.container(service)
        return found["Id"], found["State"]["StartedAt"]

    def lives(self) -> dict[str, tuple[str, str]]:
        return {name: self.life(name) for name in ("sim", *PROCESSES)}

    def status(self) -> dict[str, Any]:
        """`hemma status --json`, with the operator's credential, from a container of its own."""
        done = self.attempt("run", "--rm", "--no-TTY", "hemma", "status", "--json")
        seen = json.loads(done.stdout) if done.stdout.strip() else {"ok": False}
        assert isinstance(seen, dict)
        return seen

    def settle(self) -> None:
        """Wait until all is well; says what is not."""
        seen: dict[str, Any] = {}

        def well() -> bool:
            seen.update(self.status())
            return bool(seen["ok"])

        try:
            wait_until(well, "the house is well")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(seen, indent=1)}") from None


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no engine with compose answers; `.ci/run` does not accept that."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            subprocess.run(command, capture_output=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no Docker engine with compose: {error}")


@pytest.fixture(scope="session")
def simulator(gateway: Compose) -> Iterator[Simulator]:
    """The truth about the house, past all that is tested."""
    control = Simulator(gateway.control_port)
    yield control
    control.close()


@pytest.fixture(scope="session")
def gateway(
    engine: None,  # noqa: ARG001  it skips
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Compose]:
    """Everything built, started and healthy; what the containers said stays in compose.log."""
    compose = Compose(f"hemma-test-{uuid.uuid4().hex[:8]}")
    try:
        compose.run("--profile", "command", "build", timeout_s=BUILD_TIMEOUT_S)
        compose.run("up", "--detach", "--wait", timeout_s=BUILD_TIMEOUT_S)
        compose.settle()
        yield compose
    finally:
        log = tmp_path_factory.getbasetemp() / "compose.log"
        log.write_text(compose.attempt("logs", "--no-color").stdout)
        compose.run("--profile", "command", "down", "--volumes", "--timeout", "3")
        images = subprocess.run(
            ["docker", "image", "ls", "--quiet", "--filter", f"reference=*:{compose.project}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        subprocess.run(["docker", "image", "rm", "--force", *set(images)], check=True)
