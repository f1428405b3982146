"""Messages and their topics: four kinds, one address each, msgpack on the wire.

| kind | QoS | retained | use |
|---|---|---|---|
| reading | 0 | no, expires | a measured sample; the next one replaces it |
| state | 1 | yes | the present truth, for late joiners; said again after every reconnect |
| event | 1 | no | it happened once |
| command | 1 | no, expires | a request; answered accepted or refused, with reason |

A process writes only below its own name; others write there only below `cmd/`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bus.units import Text

ROOT = "hemma/v1"
MAX_PAYLOAD_BYTES = 256 * 1024
"""Longer payloads are refused unread: no message of ours comes near."""


class Kind(StrEnum):
    """What a message is, and so how it is carried."""

    READING = "reading"
    STATE = "state"
    EVENT = "event"
    COMMAND = "command"


class UnreadableError(ValueError):
    """A payload that is not the message its topic promises."""


@dataclass(frozen=True)
class Topic:
    """The address of one kind of message, with named levels: `hemma/v1/site/cmd/{verb}`."""

    pattern: str
    kind: Kind
    expires_s: int | None = None
    """The broker forgets the message after this time; None: never."""

    @property
    def owner(self) -> str:
        """The process that the topic belongs to, or `{process}` where every process has one."""
        return self.pattern.split("/")[2]

    @property
    def qos(self) -> int:
        """0 for readings, which the next sample replaces; 1 for all that must arrive."""
        return 0 if self.kind is Kind.READING else 1

    @property
    def retain(self) -> bool:
        """Whether the broker keeps the last one for late joiners."""
        return self.kind is Kind.STATE

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Names of the variable levels, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.pattern))

    @cached_property
    def _address_pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/+#]+)", re.escape(self.pattern)))

    def filter(self, **fixed: str) -> str:
        """The MQTT filter for all addresses, or for those with the given levels fixed."""
        return re.sub(r"\{(\w+)\}", lambda level: fixed.get(level[1], "+"), self.pattern)

    def matches(self, address: str) -> bool:
        """Whether an address is one of this topic's."""
        return self._address_pattern.fullmatch(address) is not None


def reading(pattern: str, *, expires_s: int) -> Topic:
    """Address of measured samples. Readers must say how old a sample they accept."""
    return Topic(f"{ROOT}/{pattern}", Kind.READING, expires_s)


def state(pattern: str) -> Topic:
    """Address of a present truth."""
    return Topic(f"{ROOT}/{pattern}", Kind.STATE)


def event(pattern: str, *, expires_s: int = 3600) -> Topic:
    """Address of something that happened once."""
    return Topic(f"{ROOT}/{pattern}", Kind.EVENT, expires_s)


def command(pattern: str, *, expires_s: int = 5) -> Topic:
    """Address of a request to the owner."""
    return Topic(f"{ROOT}/{pattern}", Kind.COMMAND, expires_s)


class Part(BaseModel):
    """A piece of a message. Readers ignore unknown fields; a re-meant field is a new version."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, ser_json_inf_nan="null"
    )


class Message(Part):
    """Something said on the bus. The model holds its topic, so the two cannot disagree."""

    topic: ClassVar[Topic]

    @property
    def address(self) -> str:
        """The full topic name of this very message."""
        topic = self.topic
        if not topic.levels:
            return topic.pattern
        return topic.pattern.format(**{level: getattr(self, level) for level in topic.levels})

    def encode(self) -> bytes:
        """The payload: msgpack of the fields by name, times as msgpack timestamps."""
        packed: bytes = msgpack.packb(self.model_dump(), datetime=True)
        return packed

    @classmethod
    def decode(cls, payload: bytes, address: str | None = None) -> Self:
        """Read a payload.

        Raises:
            UnreadableError: Not msgpack, not this message, or another address than its fields say.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise UnreadableError(f"{len(payload)} bytes are more than {MAX_PAYLOAD_BYTES}")
        try:
            fields = msgpack.unpackb(payload, timestamp=3)
        except Exception as error:  # msgpack raises what its C code happens to raise
            raise UnreadableError(f"not msgpack: {error}") from error
        try:
            message = cls.model_validate(fields)
        except ValidationError as error:
            raise UnreadableError(_first_reasons(error)) from error
        if address is not None and message.address != address:
            raise UnreadableError(f"fields say {message.address}, topic says {address}")
        return message


def _first_reasons(error: ValidationError) -> str:
    reasons = [
        f"{'.'.join(map(str, fault['loc'])) or 'message'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(reasons[:3]) + (f" (+{len(reasons) - 3} more)" if len(reasons) > 3 else "")  # noqa: PLR2004  three say enough


class Answer(Part):
    """What a command led to: accepted, or refused with a reason that a person can read."""

    accepted: Annotated[bool, Field(strict=True)]
    reason: Text | None = None
    """Why it was refused; None when accepted."""
    result: dict[str, Any] | None = None
    """What the command asked for, where it asks for something."""

    def encode(self) -> bytes:
        """The payload of the reply."""
        packed: bytes = msgpack.packb(self.model_dump(), datetime=True)
        return packed

    @classmethod
    def decode(cls, payload: bytes) -> "Answer":
        """Read a reply.

        Raises:
            UnreadableError: Not an answer.
        """
        try:
            return cls.model_validate(msgpack.unpackb(payload, timestamp=3))
        except Exception as error:
            raise UnreadableError(f"not an answer: {error}") from error


class Command(Message):
    """A request to the owner of the topic. It is always answered, at the deadline at the latest."""


def reply_address(callee: str, caller: str) -> str:
    """Where the answers of one process to another go: below the answering process's own name."""
    return f"{ROOT}/{callee}/reply/{caller}"
