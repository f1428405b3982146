"""What can go wrong on a link: a small hierarchy whose members carry the facts."""

from typing import ClassVar

EXCEPTION_NAMES = {
    0x01: "function not supported",
    0x02: "address not supported",
    0x03: "value refused",
    0x04: "device failure",
    0x05: "acknowledged, still working",
    0x06: "busy",
    0x08: "memory parity",
    0x0A: "gateway path unavailable",
    0x0B: "device behind gateway does not answer",
    0x80: "no permission",
}
"""Exception codes: Modbus application protocol 1.1b3, section 7; 80h is private to SUN2000."""


class ModbusError(Exception):
    """Base of all that a transaction can end in besides an answer."""

    retry_in_s: float = 0.0
    """The link refuses further requests to this unit for so long; 0: ask again at any time."""


class NoAnswerError(ModbusError):
    """The unit did not answer in time, or is known not to and was not asked."""

    def __init__(self, unit: int, waited_s: float, retry_in_s: float = 0.0) -> None:
        super().__init__(f"unit {unit} did not answer")
        self.unit = unit
        self.waited_s = waited_s
        self.retry_in_s = retry_in_s


class BadFrameError(ModbusError):
    """The unit answered something that cannot be trusted."""

    def __init__(self, unit: int, fault: str) -> None:
        super().__init__(f"unit {unit}: {fault}")
        self.unit = unit
        self.fault = fault


class ExceptionCodeError(ModbusError):
    """The unit answered with a Modbus exception."""

    ADDRESS: ClassVar[int] = 0x02
    BUSY: ClassVar[frozenset[int]] = frozenset({0x05, 0x06})
    LOST: ClassVar[frozenset[int]] = frozenset({0x04, 0x0A, 0x0B})

    def __init__(self, unit: int, code: int, retry_in_s: float = 0.0) -> None:
        super().__init__(
            f"unit {unit} refuses: {EXCEPTION_NAMES.get(code, 'exception')} ({code:#04x})"
        )
        self.unit = unit
        self.code = code
        self.retry_in_s = retry_in_s


class LinkDownError(ModbusError):
    """The port or the connection itself is not there."""

    def __init__(self, link: str, reason: str, retry_in_s: float = 0.0) -> None:
        super().__init__(f"{link}: {reason}")
        self.link = link
        self.reason = reason
        self.retry_in_s = retry_in_s
