"""The bus in a dict, for tests: same encoding, same mailbox, no broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from bus.message import Answer, Command, Message
from runtime.actor import Actor, Delivery, Node, replacement_key

Kind = TypeVar("Kind", bound=Message)


class MemoryBus:
    """One actor's bus: the test is all the others."""

    def __init__(self) -> None:
        """Starts connected and empty."""
        self.published: list[Message] = []
        """All that the actor said, oldest first."""
        self.answers: dict[type[Command], Callable[[Command], Answer]] = {}
        """How the others answer the actor's own requests; without an entry nobody does."""
        self._node: Node | None = None

    async def run(self, node: Node) -> None:
        """Take the actor's mailbox and stand by."""
        self._node = node
        await asyncio.Event().wait()

    async def publish(self, message: Message) -> None:
        """Keep what the actor says, as it would read on the wire."""
        self.published.append(type(message).decode(message.encode(), message.address))

    async def request(self, command: Command, *, timeout_s: float) -> Answer:
        """Answer the actor's request as the test has laid down."""
        respond = self.answers.get(type(command))
        if respond is None:
            owner = command.topic.owner
            return Answer(accepted=False, reason=f"no answer from {owner} within {timeout_s:g} s")
        return respond(command)

    def deliver(self, message: Message) -> None:
        """Let the actor hear something."""
        heard = type(message).decode(message.encode(), message.address)
        self._deliver(Delivery(heard, replacement_key(heard)))

    async def ask(self, command: Command) -> Answer:
        """Send the actor a command and wait for its answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        heard = type(command).decode(command.encode(), command.address)
        self._deliver(Delivery(heard, None, answer.set_result))
        return await answer

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Every message of one kind that the actor said, oldest first."""
        return [message for message in self.published if isinstance(message, kind)]

    def last(self, kind: type[Kind]) -> Kind:
        """The newest message of one kind.

        Raises:
            LookupError: It never said one.
        """
        said = self.all(kind)
        if not said:
            raise LookupError(f"no {kind.__name__} among {len(self.published)} messages")
        return said[-1]

    def _deliver(self, delivery: Delivery) -> None:
        if self._node is None:
            raise RuntimeError("the actor is not running")
        self._node.deliver(delivery)


@contextlib.asynccontextmanager
async def running(actor: Actor) -> AsyncIterator[None]:
    """Run an actor for the length of a block; a crash of the actor is raised at its end."""
    life = asyncio.get_running_loop().create_task(actor.run())
    for _ in range(20):
        await asyncio.sleep(0)
    try:
        yield
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
