"""A stuck loop is noticed from outside, and a serial port finds its way in."""

import os

import pytest

from hemma.bench.house import wait_until
from tests.container.conftest import Compose

pytestmark = pytest.mark.container

NOTICED_WITHIN_S = 50.0
"""10 s until the heartbeat is old, then two checks, 15 s apart."""


def test_a_process_that_hangs_is_unhealthy_and_recovers(gateway: Compose) -> None:
    gateway.attempt("exec", "-T", "site", "sh", "-c", "kill -STOP -1")
    wait_until(
        lambda: gateway.container("site")["State"]["Health"]["Status"] == "unhealthy",
        "site is unhealthy",
        NOTICED_WITHIN_S,
    )
    assert gateway.healthy("policy")
    # its own watchdog, halted with it, has run out meanwhile: it ends and is started again
    gateway.attempt("exec", "-T", "site", "sh", "-c", "kill -CONT -1")
    wait_until(lambda: gateway.healthy("site"), "site is healthy again")


def test_a_serial_port_is_handed_to_the_inverters(gateway: Compose) -> None:
    done = gateway.attempt(
        *("-f", "docker-compose.yml", "-f", "docker-compose.serial.yml"),
        *("run", "--rm", "--no-deps", "--no-TTY", "inverters"),
        *("test", "-r", "/dev/rs485-1", "-a", "-c", "/dev/rs485-1"),
        environment={"HEMMA_RS485_1": os.devnull},
    )
    assert done.returncode == 0, done.stderr
