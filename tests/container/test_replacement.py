"""One container is killed, or rebuilt and replaced, while the others hold the feed-in limit.

The worst moment is chosen each time: batteries full, much sun, and a big load that is switched off
just then. What counts is the export at the simulated grid connection point.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hemma import registry
from hemma.bench.house import Simulator, wait_until
from tests.container.conftest import PROCESSES, Compose

pytestmark = pytest.mark.container

SUN_W = {"inv1": 5000.0, "inv2": 3000.0}
BASE_W, LOAD_W = 400.0, 4400.0
TOLERANCE_W = 150.0
LEASE_S = 3.0
ANSWER_S = 2.5
"""Dead time and three lags of the slower inverter: from the command to the power."""

LONGEST_S = LEASE_S + ANSWER_S
WATCHED_S = 2 * LONGEST_S
"""A house that nobody steers any more would be above the limit for all of it."""

BACK_WITHIN_S = 5.0
STOPPED_WITHIN_S = 3.0


@contextlib.contextmanager
def a_load_drops(gateway: Compose, simulator: Simulator) -> Iterator[dict[str, Any]]:
    """On and covered before the block, it falls away at its beginning; yields the verdict."""
    for inverter, sun_w in SUN_W.items():
        simulator.order("soc", unit=inverter, soc_pct=100)
        simulator.order("pv", unit=inverter, watts=sun_w)
    simulator.order("load", watts=LOAD_W)
    gateway.settle()
    wait_until(
        lambda: abs(simulator.grid_power_w) < 2 * TOLERANCE_W,
        "the load is covered and little is fed in",
    )
    with simulator.judging(limit_w=0, tolerance_w=TOLERANCE_W) as verdict:
        simulator.order("load", watts=BASE_W)
        began_s = simulator.state()["elapsed_s"]
        yield verdict
        wait_until(
            lambda: simulator.state()["elapsed_s"] - began_s > WATCHED_S,
            "long enough to see that the limit holds again",
        )
        seconds = simulator.state()["elapsed_s"] - began_s + 5
        trace = simulator.order("trace", seconds=seconds, period_s=0.25)["trace"]
    verdict["trace"] = "\n".join(
        f"{name:16}{' '.join(f'{number:6.0f}' for number in column)}"
        for name, column in trace.items()
    )


def changed(before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


@pytest.mark.parametrize("name", PROCESSES)
def test_the_limit_holds_while_a_process_is_killed(
    gateway: Compose, simulator: Simulator, name: str
) -> None:
    before = gateway.lives()
    with a_load_drops(gateway, simulator) as verdict:
        # -1: all that its user may signal, except the container's init and the sender itself
        gateway.attempt("exec", "-T", name, "sh", "-c", "kill -9 -1")
        took_s = wait_until(lambda: gateway.life(name) != before[name], f"{name} lives again")
        took_s += wait_until(lambda: gateway.healthy(name), f"{name} is healthy")
        gateway.settle()
    assert changed(before, gateway.lives()) == [name]
    assert verdict["above_longest_s"] <= LONGEST_S, verdict["trace"]
    assert took_s <= BACK_WITHIN_S


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_limit_holds_while_a_service_is_rebuilt_and_replaced(
    gateway: Compose, simulator: Simulator, name: str
) -> None:
    before = gateway.lives()
    gateway.revision = uuid.uuid4().hex
    gateway.run("build", name)
    with a_load_drops(gateway, simulator) as verdict:
        began = time.monotonic()
        gateway.run("up", "--detach", "--build", "--no-deps", name)
        wait_until(lambda: gateway.healthy(name), f"{name} is healthy")
        took_s = time.monotonic() - began
        gateway.settle()
    assert changed(before, gateway.lives()) == [name]
    labels = gateway.container(name)["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == gateway.revision
    assert verdict["above_longest_s"] <= LONGEST_S, verdict["trace"]
    assert took_s <= BACK_WITHIN_S


@pytest.mark.parametrize("name", PROCESSES)
def test_a_container_stops_when_it_is_told_to(gateway: Compose, name: str) -> None:
    began = time.monotonic()
    gateway.run("restart", "--no-deps", "--timeout", "10", name)
    assert time.monotonic() - began < STOPPED_WITHIN_S
    wait_until(lambda: gateway.healthy(name), f"{name} is healthy")
