"""An actor: one mailbox, one handler at a time, and a name on the bus.

A service declares in its class what it hears (`@on`), what it says (`publishes`) and what it asks
of others (`requests`). The broker's access list and `docs/bus.md` are generated from just that.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any, ClassVar, Protocol, TypeVar

import structlog

from bus.message import Answer, Command, Kind, Message
from bus.system import Fault, Faults, Health, Severity
from bus.units import LONGEST_TEXT
from runtime.clock import Clock, Timer

MAILBOX_LIMIT = 1000
"""Messages that may wait. Readings replace each other, so only a stuck actor ever comes near."""

HEALTH_PERIOD_S = 10.0

log = structlog.get_logger()
Handler = Callable[[Any, Any], Awaitable[Answer | None]]
Function = TypeVar("Function", bound=Callable[..., Any])


class RefusedError(Exception):
    """Raised by a command's handler: the caller gets this reason; nothing has changed."""


@dataclass(frozen=True)
class Delivery:
    """A message on its way into the mailbox, and how to answer it if it is a command."""

    message: Any
    """A bus message, or an object that a task of the actor's own posted."""
    replaces: Hashable | None = None
    """A waiting delivery with the same key gives way to this one; None: nothing does."""
    answer: Callable[[Answer], None] | None = None


class Bus(Protocol):
    """How an actor reaches the others. The real one is MQTT; tests use a dict."""

    async def run(self, node: "Node") -> None:
        """Serve until cancelled; reconnect as often as need be."""

    async def publish(self, message: Message) -> None:
        """Say something. Readings are dropped while the broker is away, states are said again."""

    async def request(self, command: Command, *, timeout_s: float) -> Answer:
        """Ask and wait. The deadline ends in an answer too: refused, nobody answered."""


@dataclass
class Counters:
    """What a process could not read or take, and how much it handled."""

    handled: int = 0
    replaced: int = 0
    overflowed: int = 0
    unreadable: int = 0
    refused_by_broker: int = 0
    last_unreadable: str | None = None


@dataclass(frozen=True)
class Node:
    """What the bus needs to know of the actor behind it."""

    name: str
    hears: tuple[type[Message], ...]
    publishes: tuple[type[Message], ...]
    requests: tuple[type[Command], ...]
    deliver: Callable[[Delivery], None]
    counters: Counters


def on(kind: type) -> Callable[[Function], Function]:
    """Mark a method as the handler of a message, or of an object that the actor itself posts."""

    def mark(function: Function) -> Function:
        function.__dict__.setdefault("handles", []).append(kind)
        return function

    return mark


def every(period_s: float) -> Callable[[Function], Function]:
    """Mark a method to be called periodically, in turn with the handlers."""

    def mark(function: Function) -> Function:
        function.__dict__["period_s"] = period_s
        return function

    return mark


@dataclass(frozen=True)
class _Tick:
    """Time for one of the periodic methods."""

    call: Callable[[], Awaitable[None]]


@dataclass
class _Mailbox:
    """Waiting deliveries in order; a newer reading takes the place of the older one."""

    counters: Counters
    waiting: deque[list[Delivery]] = field(default_factory=deque)
    """Each delivery in a cell of its own, so that it can be replaced where it stands."""
    replaceable: dict[Hashable, list[Delivery]] = field(default_factory=dict)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, delivery: Delivery) -> None:
        key = delivery.replaces
        if key is not None and (cell := self.replaceable.get(key)) is not None:
            cell[0] = delivery
            self.counters.replaced += 1
            return
        if len(self.waiting) >= MAILBOX_LIMIT:
            self.counters.overflowed += 1
            if delivery.answer is not None:
                delivery.answer(Answer(accepted=False, reason="busy: the mailbox is full"))
            return
        cell = [delivery]
        self.waiting.append(cell)
        if key is not None:
            self.replaceable[key] = cell
        self.filled.set()

    async def take(self) -> Delivery:
        while not self.waiting:
            self.filled.clear()
            await self.filled.wait()
        delivery = self.waiting.popleft()[0]
        if delivery.replaces is not None:
            del self.replaceable[delivery.replaces]
        return delivery


class Actor:
    """Base of every service: stores in its constructor, acts in `start` and in handlers."""

    name: ClassVar[str]
    publishes: ClassVar[tuple[type[Message], ...]] = ()
    """Messages of its own that it says, besides its online state, faults and health."""
    requests: ClassVar[tuple[type[Command], ...]] = ()
    """Commands that it sends to others."""
    handlers: ClassVar[dict[type, Handler]] = {}
    periodic: ClassVar[tuple[tuple[float, str], ...]] = ()

    def __init_subclass__(cls) -> None:
        """Collect the handlers; a wrong declaration fails at import."""
        cls.handlers = dict(cls.handlers)
        periodic = []
        for name, member in vars(cls).items():
            for kind in getattr(member, "handles", ()):
                if kind in cls.handlers:
                    raise TypeError(f"{cls.__name__}: two handlers for {kind.__name__}")
                cls.handlers[kind] = member
            if (period_s := getattr(member, "period_s", None)) is not None:
                periodic.append((period_s, name))
        cls.periodic += tuple(periodic)
        for message in cls.publishes:
            if message.topic.owner not in {cls.name, "{process}"}:
                raise TypeError(f"{cls.__name__} may not publish {message.__name__}")

    def __init__(self, bus: Bus, clock: Clock) -> None:
        """Args: bus: how to reach the others. clock: the only time the actor knows."""
        self.bus = bus
        self.clock = clock
        self.counters = Counters()
        self.heartbeat: Callable[[], None] = lambda: None
        """Called by the actor's own loop each second: a stuck handler stops it."""
        self.log = log.bind(service=self.name)
        self._mailbox = _Mailbox(self.counters)
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: asyncio.Future[None] | None = None
        self._faults: dict[tuple[str, str | None], Fault] = {}
        self._started_at: datetime = clock.now()

    # --- what a service overrides

    async def start(self) -> None:
        """Called once, before the first message is handled."""

    async def stop(self) -> None:
        """Called once at an orderly end, while the bus still works."""

    # --- what a service uses

    async def publish(self, message: Message) -> None:
        """Say something that the class declares."""
        if type(message) not in self.publishes:
            raise TypeError(f"{self.name} does not declare that it publishes {type(message)}")
        await self.bus.publish(message)

    async def request(self, command: Command, *, timeout_s: float = 5.0) -> Answer:
        """Ask another process. Never await this in a handler of a fast path: spawn it."""
        if type(command) not in self.requests:
            raise TypeError(f"{self.name} does not declare that it requests {type(command)}")
        return await self.bus.request(command, timeout_s=timeout_s)

    def post(self, message: object, *, replaces: Hashable | None = None) -> None:
        """Put an object of the actor's own into its mailbox, from a task or a callback."""
        self._mailbox.put(Delivery(message, replaces))

    def post_later(self, delay_s: float, message: object) -> Timer:
        """Put an object into the mailbox after a delay."""
        return self.clock.call_later(delay_s, lambda: self.post(message))

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run slow work beside the handlers. If it fails, the actor fails."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}.{name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    async def raise_fault(
        self, code: str, severity: Severity, text: str, device: str | None = None
    ) -> None:
        """Report that something is wrong, once; the text may be brought up to date."""
        known = self._faults.get((code, device))
        if known is not None and (known.severity, known.text) == (severity, text):
            return
        since = known.since if known else self.clock.now()
        fault = Fault(
            code=code, device=device, severity=severity, text=text[:LONGEST_TEXT], since=since
        )
        self._faults[code, device] = fault
        if known is None:
            self.log.warning("fault_raised", code=code, device=device, text=text)
        await self._publish_faults()

    async def clear_fault(self, code: str, device: str | None = None) -> None:
        """Report that it is well again; harmless when it was never wrong."""
        if self._faults.pop((code, device), None) is not None:
            self.log.info("fault_cleared", code=code, device=device)
            await self._publish_faults()

    # --- its life

    @property
    def node(self) -> Node:
        """What the bus needs to know of this actor."""
        hears = tuple(kind for kind in self.handlers if issubclass(kind, Message))
        return Node(
            self.name, hears, self.publishes, self.requests, self._mailbox.put, self.counters
        )

    async def run(self) -> None:
        """Live until cancelled (an orderly end) or until a handler or task fails (a crash)."""
        self._crash = asyncio.get_running_loop().create_future()
        self.spawn(self.bus.run(self.node), "bus")
        mailbox = self.spawn(self._handle_all(), "mailbox")
        try:
            await self._crash
        except asyncio.CancelledError:
            mailbox.cancel()
            await asyncio.wait([mailbox])
            await self.stop()
            raise
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle_all(self) -> None:
        await self._publish_faults()
        await self.start()
        for period_s, name in (*self.periodic, (1.0, "_beat"), (HEALTH_PERIOD_S, "_say_health")):
            self._tick(period_s, getattr(self, name))
        while True:
            delivery = await self._mailbox.take()
            await self._handle(delivery)
            self.counters.handled += 1

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if isinstance(message, _Tick):
            await message.call()
            return
        handler = self.handlers[type(message)]
        try:
            answer = await handler(self, message)
        except RefusedError as refusal:
            if delivery.answer is None:
                raise
            self.log.info("refused", command=type(message).__name__, reason=str(refusal))
            answer = Answer(accepted=False, reason=str(refusal)[:LONGEST_TEXT])
        except Exception:
            if delivery.answer is not None:
                failed = Answer(accepted=False, reason=f"{self.name} failed and starts again")
                delivery.answer(failed)
            raise
        if delivery.answer is not None:
            delivery.answer(answer or Answer(accepted=True))

    def _tick(self, period_s: float, call: Callable[[], Awaitable[None]]) -> None:
        """Post the tick now and arm the next one; a late tick is not made up for."""
        if self._crash is None or self._crash.done():
            return
        self._mailbox.put(Delivery(_Tick(call), replaces=("tick", call.__name__)))
        self.clock.call_later(period_s, lambda: self._tick(period_s, call))

    async def _beat(self) -> None:
        self.heartbeat()

    async def _say_health(self) -> None:
        await self.bus.publish(health_of(self.name, self._started_at, self.counters))

    async def _publish_faults(self) -> None:
        await self.bus.publish(Faults(process=self.name, faults=tuple(self._faults.values())))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._crash is None or self._crash.done():
            return
        error = task.exception()
        if error is not None:
            self._crash.set_exception(error)


def health_of(name: str, started_at: datetime, counters: Counters) -> Health:
    """The counters as a message."""
    return Health(
        process=name,
        pid=os.getpid(),
        version=version("hemma"),
        started_at=started_at,
        handled=counters.handled,
        replaced=counters.replaced,
        overflowed=counters.overflowed,
        unreadable=counters.unreadable,
        refused_by_broker=counters.refused_by_broker,
        last_unreadable=counters.last_unreadable,
    )


def replacement_key(message: Message) -> Hashable | None:
    """Readings give way to newer ones of the same address; nothing else does."""
    return message.address if message.topic.kind is Kind.READING else None
