"""What every process says of itself: that it lives, how it fares, what is wrong."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bus.message import Message, Part, Topic, state
from bus.units import Count, Slug, Text, UtcTime


class Online(Message):
    """Whether a process is there. Its will says so when the connection breaks."""

    topic: ClassVar[Topic] = state("{process}/online")

    process: Slug
    online: Annotated[bool, Field(strict=True)]
    reason: Text | None = None
    """Why it is not: `stopped`, `connection lost`; None while online."""
    since: UtcTime | None = None
    """When it came or went; None in a will, which is written before the event."""


class Severity(StrEnum):
    """How bad a fault is, in the words of the alarm list."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    WARNING = "warning"


class Fault(Part):
    """Something that is wrong now."""

    code: Slug
    """One word a kind: `inverter-silent`, `meter-silent`, `does-not-follow`."""
    device: Slug | None = None
    """The device it concerns; None: the process itself."""
    severity: Severity
    text: Text
    """What is wrong, for a person."""
    since: UtcTime


class Faults(Message):
    """All that a process holds to be wrong at present; an empty list is good news."""

    topic: ClassVar[Topic] = state("{process}/faults")

    process: Slug
    faults: tuple[Fault, ...] = ()


class Health(Message):
    """How a process fares: what it could not read or take, and how busy it is."""

    topic: ClassVar[Topic] = state("{process}/health")

    process: Slug
    pid: Count
    version: Text
    started_at: UtcTime
    handled: Count
    """Messages handled since start."""
    replaced: Count
    """Readings replaced by newer ones while they waited."""
    overflowed: Count
    """Messages refused because the mailbox was full."""
    unreadable: Count
    """Messages refused because they were not what their topic promises."""
    refused_by_broker: Count
    """Publications that the broker's access list did not allow."""
    last_unreadable: Text | None = None
    """Where the last unreadable message came from and what was wrong with it."""
