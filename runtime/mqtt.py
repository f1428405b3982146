"""The bus over MQTT 5. The only file that knows the MQTT library.

aiomqtt ties paho to asyncio; some of its callbacks are overridden here (2.5, pinned). Messages go
straight from the socket's callback into the mailbox: its own iterator makes a task a message, which
costs as much as all else together. PUBACK reason codes, which it drops, are counted. And readings,
which are QoS 0, go to and from the socket past both of them.
"""

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import aiomqtt
import structlog
from paho.mqtt.client import MQTTMessage, MQTTMessageInfo
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bus.message import (
    ROOT,
    Answer,
    Command,
    Kind,
    Message,
    Topic,
    UnreadableError,
    reply_address,
)
from bus.system import Online
from bus.units import LONGEST_TEXT
from runtime.actor import Delivery, Node, replacement_key
from runtime.clock import Clock
from runtime.mqtt_wire import PUBLISH_QOS_0, Arrived, pack, unpack

KEEPALIVE_S = 5
"""A broker that hangs is noticed after 1.5 times this; leases lapse much earlier."""

SESSION_EXPIRY_S = 60
"""The broker keeps events and unexpired commands this long for a process that restarts."""

RECONNECT_S = (0.1, 0.2, 0.5, 1.0)
"""Pauses before each next attempt; the last one repeats."""

PEEKED_BYTES = 64 * 1024
"""Of what waits on the socket; a longer reading goes through paho."""

UNSENT_EVENTS = 1000
"""Events kept while the broker is away; more are counted as overflow."""

log = structlog.get_logger()
_command_names = itertools.count()


class AccessDeniedError(Exception):
    """The broker refused a subscription that the actor declares: its access list is not current."""


class SessionTakenOverError(Exception):
    """Another process of the same name has connected."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker listens and how to prove who we are."""

    host: str
    port: int
    username: str
    password_file: Path | None
    guest: bool = False
    """A passing client, such as the command line: no session, no online state, any number."""

    def password(self) -> str | None:
        """Read anew for every connection, since credentials may be renewed."""
        return self.password_file.read_text().strip() if self.password_file else None


class _Client(aiomqtt.Client):
    """aiomqtt with a direct way in and out."""

    def __init__(
        self,
        broker: BrokerAddress,
        will: Message | None,
        received: Callable[[str, bytes, Properties | None], None],
        acknowledged: Callable[[int, ReasonCode], None],
    ) -> None:
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password(),
            identifier=None if broker.guest else f"hemma-{broker.username}",
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(will.address, will.encode(), 1, retain=True) if will else None,
            keepalive=KEEPALIVE_S,
            clean_start=broker.guest,
            properties=_properties(
                PacketTypes.CONNECT, SessionExpiryInterval=0 if broker.guest else SESSION_EXPIRY_S
            ),
            # Without it, Nagle and delayed acknowledgements turn 2 ms for two hops into 40.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            timeout=5,
        )
        self.received = received
        self.acknowledged = acknowledged

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401, ARG002  paho's signature
        self.received(message.topic, bytes(message.payload), message.properties)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401  paho's signature
        super()._on_socket_open(client, userdata, sock)  # what it does on reading is replaced
        read = partial(self._read, sock)
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock.fileno(), read)

    def _read(self, connection: socket.socket) -> None:
        """Take readings from the socket, leave all else on it to paho."""
        try:
            if not self._take_readings(connection):
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001  as aiomqtt does: whatever it is, reconnect
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _take_readings(self, connection: socket.socket) -> bool:
        if self._client._in_packet["command"]:  # noqa: SLF001  paho waits for the rest of a packet
            return False
        if isinstance(connection, ssl.SSLSocket):
            return False  # it cannot be peeked into: all goes through paho
        try:
            seen = connection.recv(PEEKED_BYTES, socket.MSG_PEEK)
        except OSError:
            return False  # paho will find out
        taken: list[Arrived] = []
        while (arrived := unpack(seen, taken[-1].end if taken else 0)) is not None:
            taken.append(arrived)
        if taken:
            connection.recv(taken[-1].end)
        for reading in taken:
            self.received(reading.address, reading.payload, None)
        return bool(taken)

    def _on_publish(  # paho's signature
        self,
        client: Any,  # noqa: ANN401, ARG002
        userdata: Any,  # noqa: ANN401, ARG002
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,  # noqa: ARG002
    ) -> None:
        self.acknowledged(mid, reason_code)

    def send(self, address: str, payload: bytes, topic: Topic, properties: Properties) -> int:
        """Hand a message to the socket without waiting; returns paho's message id."""
        return self._client.publish(address, payload, topic.qos, topic.retain, properties).mid

    def send_at_once(self, address: str, payload: bytes, expires_s: int) -> None:
        """Write a QoS 0 message to the socket in one go.

        paho's way queues the packet, waits for two turns of the event loop and then calls back. It
        is left for what the socket does not take, so that nothing is lost or overtaken.
        """
        client = self._client
        connection = client.socket()
        if connection is None:
            return  # the connection is just being lost
        packet = pack(address, payload, expires_s)
        sent = 0
        if not client.want_write():
            try:
                sent = connection.send(packet)
            except BlockingIOError:
                pass
            except OSError:
                return  # paho will find out when it reads
        if sent < len(packet):
            rest = packet[sent:]
            client._packet_queue(PUBLISH_QOS_0, rest, 0, 0, MQTTMessageInfo(0))  # noqa: SLF001  publish() would begin anew

    async def lost(self) -> NoReturn:
        """Wait for the end of the connection.

        Raises:
            SessionTakenOverError: By another process of the same name.
            aiomqtt.MqttError: For any other cause.
        """
        try:
            await asyncio.shield(self._disconnected)
        except aiomqtt.MqttCodeError as error:
            if isinstance(error.rc, ReasonCode) and error.rc.getName() == "Session taken over":
                raise SessionTakenOverError(str(error)) from error
            raise
        except OSError as error:
            raise aiomqtt.MqttError(str(error)) from error
        raise aiomqtt.MqttError("the broker closed the connection")


class MqttBus:
    """One process's connection, made again as often as it breaks."""

    def __init__(self, broker: BrokerAddress, clock: Clock) -> None:
        """Args: broker: where to connect. clock: for deadlines and back-off."""
        self._broker = broker
        self._clock = clock
        self._client: _Client | None = None
        self._node: Node | None = None
        self._asserted: dict[str, Message] = {}
        """The last state of each address, said again after every reconnect."""
        self._unsent: deque[Message] = deque(maxlen=UNSENT_EVENTS)
        self._unacknowledged: dict[int, Message] = {}
        """Events and commands on their way; said again when the connection breaks first."""
        self._waiting: dict[bytes, asyncio.Future[Answer]] = {}
        self._models: dict[str, type[Message] | None] = {}

    async def run(self, node: Node) -> None:
        """Connect, subscribe, serve; again and again until cancelled."""
        self._node = node
        pauses = self._pauses()
        while True:
            client = _Client(self._broker, self._will(node), self._received, self._acknowledged)
            try:
                async with client:
                    await self._introduce(client, node)
                    log.info("connected", service=node.name, broker=self._broker.host)
                    pauses = self._pauses()
                    try:
                        await client.lost()
                    except asyncio.CancelledError:
                        self._say_goodbye(client, node)
                        raise
            except aiomqtt.MqttError as error:
                log.warning("broker_away", service=node.name, error=str(error))
            finally:
                self._client = None
                self._forget_connection()
            await self._clock.sleep(next(pauses))

    async def publish(self, message: Message) -> None:
        """Say something. Readings are dropped while the broker is away, all else is kept.

        A guest has no name of its own to speak under and says nothing.
        """
        if self._broker.guest:
            return
        if message.topic.kind is Kind.STATE:
            self._asserted[message.address] = message
        if self._client is not None:
            self._send(self._client, message)
        elif message.topic.kind is Kind.EVENT:
            self._keep(message)

    async def request(self, command: Command, *, timeout_s: float) -> Answer:
        """Ask and wait for the answer; the deadline is an answer too."""
        callee = command.topic.owner
        if self._client is None or self._node is None:
            return Answer(accepted=False, reason="the broker is away")
        correlation = f"{self._node.name}-{next(_command_names)}".encode()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = answer
        nobody = Answer(accepted=False, reason=f"no answer from {callee} within {timeout_s:g} s")
        deadline = self._clock.call_later(timeout_s, lambda: _settle(answer, nobody))
        try:
            self._client.send(
                command.address,
                command.encode(),
                command.topic,
                _properties(
                    PacketTypes.PUBLISH,
                    MessageExpiryInterval=command.topic.expires_s,
                    ResponseTopic=reply_address(callee, self._node.name),
                    CorrelationData=correlation,
                ),
            )
            return await answer
        finally:
            deadline.cancel()
            del self._waiting[correlation]

    # --- the connection

    async def _introduce(self, client: _Client, node: Node) -> None:
        filters = [*((kind.topic.filter(), kind.topic.qos) for kind in node.hears)]
        if node.requests:
            filters += [
                (reply_address(callee, node.name), 1)
                for callee in sorted({command.topic.owner for command in node.requests})
            ]
        if filters:
            wanted = [(name, SubscribeOptions(qos=qos)) for name, qos in filters]
            codes = await client.subscribe(wanted)
            refused = [
                name
                for (name, _), code in zip(filters, codes, strict=True)
                if getattr(code, "is_failure", False)
            ]
            if refused:
                raise AccessDeniedError(f"{node.name} may not subscribe to {', '.join(refused)}")
        self._client = client
        for message in self._asserted.values():
            self._send(client, message)
        if not self._broker.guest:
            self._send(client, Online(process=node.name, online=True, since=self._clock.now()))
        while self._unsent:
            self._send(client, self._unsent.popleft())

    def _will(self, node: Node) -> Online | None:
        if self._broker.guest:
            return None
        return Online(process=node.name, online=False, reason="connection lost")

    def _say_goodbye(self, client: _Client, node: Node) -> None:
        if self._broker.guest:
            return
        gone = Online(process=node.name, online=False, reason="stopped", since=self._clock.now())
        self._send(client, gone)

    def _forget_connection(self) -> None:
        for message in self._unacknowledged.values():
            if message.topic.kind is Kind.EVENT:
                self._keep(message)
        self._unacknowledged.clear()
        for answer in self._waiting.values():
            _settle(answer, Answer(accepted=False, reason="the broker went away"))

    def _keep(self, event: Message) -> None:
        if len(self._unsent) == UNSENT_EVENTS and self._node is not None:
            self._node.counters.overflowed += 1
        self._unsent.append(event)

    def _pauses(self) -> Iterator[float]:
        return itertools.chain(RECONNECT_S, itertools.repeat(RECONNECT_S[-1]))

    def _send(self, client: _Client, message: Message) -> None:
        topic = message.topic
        if topic.qos == 0 and topic.expires_s is not None:
            client.send_at_once(message.address, message.encode(), topic.expires_s)
            return
        expiry = {} if topic.expires_s is None else {"MessageExpiryInterval": topic.expires_s}
        mid = client.send(
            message.address, message.encode(), topic, _properties(PacketTypes.PUBLISH, **expiry)
        )
        self._unacknowledged[mid] = message

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        message = self._unacknowledged.pop(mid, None)
        if reason.is_failure and self._node is not None:
            self._node.counters.refused_by_broker += 1
            log.error(
                "publish_refused",
                service=self._node.name,
                topic=message.address if message else None,
                reason=reason.getName(),
            )

    # --- what comes in

    def _received(self, address: str, payload: bytes, properties: Properties | None) -> None:
        node = self._node
        if node is None:
            return
        correlation = getattr(properties, "CorrelationData", None)
        if address.startswith(ROOT) and "/reply/" in address:
            self._answered(node, payload, correlation)
            return
        model = self._model_of(node, address)
        answer = self._answer_to(getattr(properties, "ResponseTopic", None), correlation)
        if model is None:
            self._refuse(node, address, "no such topic is heard here", answer)
            return
        try:
            message = model.decode(payload, address)
        except UnreadableError as error:
            self._refuse(node, address, str(error), answer)
            return
        node.deliver(Delivery(message, replacement_key(message), answer))

    def _model_of(self, node: Node, address: str) -> type[Message] | None:
        if address not in self._models:
            if len(self._models) > 1000:  # noqa: PLR2004  far more addresses than a house has
                self._models.clear()
            heard = (kind for kind in node.hears if kind.topic.matches(address))
            self._models[address] = next(heard, None)
        return self._models[address]

    def _answered(self, node: Node, payload: bytes, correlation: bytes | None) -> None:
        waiting = self._waiting.get(correlation or b"")
        if waiting is None:
            return  # an answer after its deadline: the caller has been told
        try:
            _settle(waiting, Answer.decode(payload))
        except UnreadableError as error:
            node.counters.unreadable += 1
            _settle(waiting, Answer(accepted=False, reason=str(error)))

    def _refuse(
        self, node: Node, address: str, reason: str, answer: Callable[[Answer], None] | None
    ) -> None:
        node.counters.unreadable += 1
        node.counters.last_unreadable = f"{address}: {reason}"[:LONGEST_TEXT]
        log.warning("unreadable", service=node.name, topic=address, reason=reason)
        if answer is not None:
            answer(Answer(accepted=False, reason=reason[:LONGEST_TEXT]))

    def _answer_to(
        self, response_topic: str | None, correlation: bytes | None
    ) -> Callable[[Answer], None] | None:
        node = self._node
        if node is None or response_topic is None:
            return None
        if not response_topic.startswith(reply_address(node.name, "")):
            return None  # replies go below our own name, wherever a caller may point

        def answer(outcome: Answer) -> None:
            if self._client is None:
                return
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=30)
            if correlation is not None:
                properties.CorrelationData = correlation
            reply = Topic(response_topic, Kind.COMMAND)
            self._client.send(response_topic, outcome.encode(), reply, properties)

        return answer


def _settle(answer: asyncio.Future[Answer], outcome: Answer) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        answer.set_result(outcome)


def _properties(packet: int, **fields: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, content in fields.items():
        setattr(properties, name, content)
    return properties
