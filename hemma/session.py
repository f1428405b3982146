"""Verbs that look at a running house, or ask something of it, through the bus."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from bus.site import SECTIONS, ChangeSettings
from hemma import registry
from hemma.broker import OPERATOR
from hemma.observer import House, Observer, status
from runtime.clock import SystemClock
from runtime.config import BrokerConfig, ConfigError, load
from runtime.mqtt import BrokerAddress, MqttBus
from runtime.process import EXIT_CONFIG, broker_address, configure_logging

GATHER_S = 1.5
"""Longest time to wait for a first word of everyone."""

UNREACHABLE = 69
"""EX_UNAVAILABLE of sysexits.h."""


@contextlib.asynccontextmanager
async def observing(address: BrokerAddress) -> AsyncIterator[Observer]:
    """Listen to the house for the length of a block; what the block raises comes out as it is."""
    clock = SystemClock()
    observer = Observer(MqttBus(address, clock), clock)
    try:
        async with asyncio.TaskGroup() as together:  # an observer that fails ends the block too
            life = together.create_task(observer.run())
            try:
                yield observer
            finally:
                life.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


def operator_address(config_file: Path) -> BrokerAddress:
    """Where the broker of a site.yaml is, as a guest with the operator's credential.

    Raises:
        ConfigError: The file is wrong.
    """
    broker = load(config_file, {"broker": BrokerConfig}, ignore_other_sections=True)["broker"]
    assert isinstance(broker, BrokerConfig)  # noqa: S101  load() returns the models it was given
    address = broker_address(broker, OPERATOR)
    return BrokerAddress(
        address.host, address.port, address.username, address.password_file, guest=True
    )


def print_status(config_file: Path, as_json: bool) -> int:  # noqa: FBT001  straight from the command line
    """Print the house once; returns 0 when it is well, 1 when not, 69 when nobody answers."""

    async def gather(address: BrokerAddress) -> int:
        clock = SystemClock()
        async with observing(address) as observer:
            await _until(lambda: _complete(observer.house))
            seen = status(observer.house, clock.now())
        if not observer.house.online:
            print("the broker does not answer, or nobody is there", file=sys.stderr)
        if as_json:
            print(json.dumps(seen, indent=1))
        else:
            from rich.console import Console

            from hemma.view import draw

            Console().print(draw(observer.house, clock.now(), history=[]))
        if not observer.house.online:
            return UNREACHABLE
        return 0 if seen["ok"] else 1

    return _with_address(config_file, gather)


def watch(config_file: Path) -> int:
    """Draw the house live until Ctrl-C."""

    async def live(address: BrokerAddress) -> int:
        from hemma.view import show

        async with observing(address) as observer:
            await show(observer, SystemClock(), seconds=None)
        return 0

    return _with_address(config_file, live)


def change_settings(config_file: Path, section: str, changes: Iterable[str]) -> int:
    """Ask `site` for a change and print its answer; returns 0 when accepted, 1 when refused."""
    try:
        parsed = dict(_assignment(change) for change in changes)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if section not in SECTIONS:
        print(f"no section {section!r}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2

    async def ask(address: BrokerAddress) -> int:
        async with observing(address) as observer:
            await _until(lambda: "site" in observer.house.online)
            order = ChangeSettings(section=section, changes=parsed, by="command line")
            answer = await observer.request(order, timeout_s=3)
        print("accepted" if answer.accepted else f"refused: {answer.reason}")
        return 0 if answer.accepted else 1

    return _with_address(config_file, ask)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, given = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not FIELD=VALUE")
    return name, yaml.safe_load(given)


def _complete(house: House) -> bool:
    """Everyone has been heard, so that waiting longer would show nothing new."""
    known = all(name in house.online and name in house.health for name in registry.NAMES)
    polled = all(
        name in house.inverters for name, state in house.inverter_states.items() if state.online
    )
    return known and polled and house.dispatch is not None and house.grid is not None


async def _until(true: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GATHER_S):
            while not true():  # noqa: ASYNC110  many things change; none of them has an event
                await asyncio.sleep(0.02)


def _with_address(config_file: Path, work: Callable[[BrokerAddress], Awaitable[int]]) -> int:
    configure_logging("text", level="error")
    try:
        address = operator_address(config_file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    try:
        return asyncio.run(_awaited(work(address)))
    except KeyboardInterrupt:
        return 0


async def _awaited(work: Awaitable[int]) -> int:
    return await work
