"""Readings go past the MQTT library, everything else through it, over the same connection."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

import pytest

from bus.message import Message, Topic, event, reading, state
from runtime.actor import Actor, on
from runtime.clock import SystemClock
from runtime.mqtt import MqttBus
from tests.house.conftest import Mosquitto

pytestmark = pytest.mark.house

ROUNDS = 60


class Sample(Message):
    topic: ClassVar[Topic] = reading("talker/{channel}/reading", expires_s=5)
    channel: str
    number: int
    padding: str = ""


class Happening(Message):
    topic: ClassVar[Topic] = event("talker/event/happening")
    number: int
    padding: str


class Picture(Message):
    topic: ClassVar[Topic] = state("talker/picture")
    number: int
    padding: str


class Talker(Actor):
    name = "talker"
    publishes = (Sample, Happening, Picture)

    async def talk(self) -> None:
        """Messages of all kinds and sizes, in bursts that fill several segments."""
        for number in range(ROUNDS):
            for channel in range(5):
                sizes = (0, 90, 700, 15_000, 70_000)
                padding = "x" * sizes[(number + channel) % 5]
                await self.publish(
                    Sample(channel=f"c{number}-{channel}", number=number, padding=padding)
                )
            await self.publish(Happening(number=number, padding="y" * (number * 2000)))
            await self.publish(Picture(number=number, padding="z" * (100 * number)))
            if number % 3 == 0:
                await asyncio.sleep(0.002)


class Listener(Actor):
    name = "listener"

    def __init__(self, bus: MqttBus) -> None:
        super().__init__(bus, SystemClock())
        self.samples: dict[str, Sample] = {}
        self.happenings: list[int] = []
        self.picture = -1

    @on(Sample)
    async def sampled(self, sample: Sample) -> None:
        self.samples[sample.channel] = sample

    @on(Happening)
    async def happened(self, happening: Happening) -> None:
        self.happenings.append(happening.number)

    @on(Picture)
    async def drawn(self, picture: Picture) -> None:
        self.picture = picture.number


async def test_messages_of_every_kind_and_size_arrive_whole_and_in_order(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto(Talker, Listener)
    talker = Talker(MqttBus(broker.address("talker"), SystemClock()), SystemClock())
    listener = Listener(MqttBus(broker.address("listener"), SystemClock()))
    lives = [asyncio.create_task(actor.run()) for actor in (listener, talker)]
    try:
        async with asyncio.timeout(20):
            await talker.publish(Picture(number=0, padding=""))
            while listener.picture < 0:
                await asyncio.sleep(0.02)
            await talker.talk()
            while listener.picture < ROUNDS - 1 or len(listener.samples) < 5 * ROUNDS:
                await asyncio.sleep(0.02)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

    assert listener.happenings == list(range(ROUNDS))
    assert set(map(len, (sample.padding for sample in listener.samples.values()))) == {
        0,
        90,
        700,
        15_000,
        70_000,
    }
    assert listener.counters.unreadable == 0
