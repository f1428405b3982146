"""The runtime against the real broker: rights, wills, answers, deadlines, broken connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest

from bus.message import Answer, Command, Message, Topic, command, event, reading, state
from bus.system import Online
from runtime.actor import Actor, RefusedError, on
from runtime.clock import SystemClock
from runtime.mqtt import AccessDeniedError, MqttBus
from tests.house.conftest import Mosquitto

pytestmark = pytest.mark.house


class Kettle(Message):
    topic: ClassVar[Topic] = state("kitchen/kettle")
    hot: bool


class Whistle(Message):
    topic: ClassVar[Topic] = event("kitchen/event/whistle")
    tune: int


class Warmth(Message):
    topic: ClassVar[Topic] = reading("kitchen/warmth", expires_s=5)
    degc: float


class Boil(Command):
    topic: ClassVar[Topic] = command("kitchen/cmd/boil")
    litres: float


class Kitchen(Actor):
    name = "kitchen"
    publishes = (Kettle, Whistle, Warmth)

    @on(Boil)
    async def boil(self, order: Boil) -> None:
        if order.litres > 2:
            raise RefusedError("the kettle holds 2 litres")
        await self.publish(Kettle(hot=True))


class Guest(Actor):
    name = "guest"
    requests = (Boil,)

    def __init__(self, bus: MqttBus) -> None:
        super().__init__(bus, SystemClock())
        self.heard: list[Message] = []
        self.something = asyncio.Event()

    @on(Kettle)
    @on(Whistle)
    @on(Warmth)
    @on(Online)
    async def hear(self, message: Message) -> None:
        self.heard.append(message)
        self.something.set()

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        async with asyncio.timeout(10):
            while True:
                found = [message for message in self.heard if wanted(message)]
                if found:
                    return found[-1]
                self.something.clear()
                await self.something.wait()


class Burglar(Actor):
    """Declares nothing that the broker's rights know of."""

    name = "burglar"
    requests = (Boil,)

    @on(Kettle)
    async def spy(self, message: Kettle) -> None: ...


@contextlib.asynccontextmanager
async def alive(*actors: Actor) -> AsyncIterator[None]:
    lives = [asyncio.create_task(actor.run()) for actor in actors]
    try:
        yield
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


def kitchen(broker: Mosquitto) -> Kitchen:
    return Kitchen(MqttBus(broker.address("kitchen"), SystemClock()), SystemClock())


def guest(broker: Mosquitto) -> Guest:
    return Guest(MqttBus(broker.address("guest"), SystemClock()))


def comes_online(name: str) -> Callable[[Message], bool]:
    return lambda m: isinstance(m, Online) and m.process == name and m.online


def is_gone(name: str, reason: str) -> Callable[[Message], bool]:
    return lambda m: (
        isinstance(m, Online) and m.process == name and not m.online and m.reason == reason
    )


async def test_a_command_is_answered_and_its_effect_is_heard(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    visitor = guest(broker)
    async with alive(kitchen(broker), visitor):
        await visitor.until(comes_online("kitchen"))
        assert await visitor.request(Boil(litres=1)) == Answer(accepted=True)
        await visitor.until(lambda m: isinstance(m, Kettle) and m.hot)


async def test_a_refused_command_says_why(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto(Kitchen, Guest)
    visitor = guest(broker)
    async with alive(kitchen(broker), visitor):
        await visitor.until(comes_online("kitchen"))
        answer = await visitor.request(Boil(litres=3))
        assert answer == Answer(accepted=False, reason="the kettle holds 2 litres")


async def test_an_absent_process_is_an_answer_at_the_deadline(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    visitor = guest(broker)
    async with alive(visitor):
        await visitor.until(comes_online("guest"))
        answer = await visitor.request(Boil(litres=1), timeout_s=0.2)
        assert not answer.accepted
        assert answer.reason == "no answer from kitchen within 0.2 s"


async def test_a_subscription_outside_the_declaration_is_refused(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    intruder = Burglar(
        MqttBus(broker.address("burglar", username="guest"), SystemClock()), SystemClock()
    )

    class Curious(Actor):
        name = "guest"

        @on(Boil)
        async def overhear(self, order: Boil) -> None: ...

    curious = Curious(MqttBus(broker.address("guest"), SystemClock()), SystemClock())
    with pytest.raises(AccessDeniedError, match="kitchen/cmd/boil"):
        await asyncio.wait_for(curious.run(), 10)
    assert intruder.counters.handled == 0


async def test_a_publication_outside_the_declaration_is_refused_and_counted(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    forger = MqttBus(broker.address("guest"), SystemClock())
    visitor = guest(broker)
    visitor.bus = forger
    async with alive(visitor):
        await visitor.until(comes_online("guest"))
        await forger.publish(Kettle(hot=True))
        async with asyncio.timeout(5):
            while not visitor.counters.refused_by_broker:
                await asyncio.sleep(0.01)
    assert not [m for m in visitor.heard if isinstance(m, Kettle)]


async def test_a_wrong_password_is_not_let_in(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto(Kitchen, Guest)
    address = broker.address("kitchen")
    assert address.password_file is not None
    address.password_file.write_text("guessed")
    visitor = guest(broker)
    async with alive(kitchen(broker), visitor):
        await visitor.until(comes_online("guest"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await visitor.until(comes_online("kitchen"))


async def test_an_orderly_end_and_a_broken_connection_are_told_apart(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    visitor = guest(broker)
    async with alive(visitor):
        async with alive(kitchen(broker)):
            await visitor.until(comes_online("kitchen"))
        await visitor.until(is_gone("kitchen", "stopped"))

        cook = kitchen(broker)
        visitor.heard.clear()
        async with alive(cook):
            await visitor.until(comes_online("kitchen"))
            bus = cook.bus
            assert isinstance(bus, MqttBus)
            assert bus._client is not None
            paho_socket = bus._client._client.socket()
            assert paho_socket is not None
            paho_socket.shutdown(2)
            await visitor.until(is_gone("kitchen", "connection lost"))
            visitor.heard.clear()
            await visitor.until(comes_online("kitchen"))


async def test_state_is_said_again_to_a_broker_that_forgot_it_all(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    cook, visitor = kitchen(broker), guest(broker)
    async with alive(cook, visitor):
        await visitor.until(comes_online("kitchen"))
        await cook.publish(Kettle(hot=True))
        await visitor.until(lambda m: isinstance(m, Kettle))
        broker.kill()
        (broker.folder / "broker" / "mosquitto.db").unlink(missing_ok=True)
        visitor.heard.clear()
        await cook.publish(Whistle(tune=7))  # nobody is there to take it
        await cook.publish(Warmth(degc=20.0))
        broker.start()
        await visitor.until(lambda m: isinstance(m, Kettle) and m.hot)
        await visitor.until(comes_online("kitchen"))
    assert not [m for m in visitor.heard if isinstance(m, Warmth)], "an old reading is worthless"


async def test_an_event_waits_for_a_broker_that_is_away(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    cook, visitor = kitchen(broker), guest(broker)
    async with alive(cook, visitor):
        await visitor.until(comes_online("kitchen"))
        visitor.heard.clear()
        bus = cook.bus
        assert isinstance(bus, MqttBus)
        broker.kill()
        await cook.publish(Whistle(tune=7))
        async with asyncio.timeout(5):
            while not bus._unsent:
                await asyncio.sleep(0.01)
        broker.start()
        await visitor.until(comes_online("kitchen"))
        async with asyncio.timeout(5):
            while bus._unsent or bus._unacknowledged:
                await asyncio.sleep(0.01)
        assert cook.counters.overflowed == 0


async def test_nonsense_on_a_topic_is_counted_and_changes_nothing(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Kitchen, Guest)
    cook, visitor = kitchen(broker), guest(broker)

    class Muddled(Message):
        topic: ClassVar[Topic] = Kettle.topic
        hot: str = "very"

    async with alive(cook, visitor):
        await visitor.until(comes_online("kitchen"))
        await cook.bus.publish(Muddled())
        async with asyncio.timeout(5):
            while not visitor.counters.unreadable:
                await asyncio.sleep(0.01)
    assert "kitchen/kettle: hot:" in (visitor.counters.last_unreadable or "")
    assert not [m for m in visitor.heard if isinstance(m, Kettle)]
