"""RTU frames as bytes: building requests, telling whose an answer is, checking it.

Source: Modbus over serial line, specification and implementation guide 1.02, section 2.5.1.
"""

import struct

from runtime.modbus.errors import BadFrameError, ExceptionCodeError
from runtime.modbus.request import WRITE_MULTIPLE, Request

HEADER_LENGTH = 3
EXCEPTION_LENGTH = 5


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(frame: bytes | bytearray) -> int:
    """CRC-16 with polynomial A001h, start FFFFh; sent low byte first."""
    crc = 0xFFFF
    table = _CRC_TABLE
    for byte in frame:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


def with_crc(frame: bytes) -> bytes:
    """The frame and its check bytes."""
    return frame + crc16(frame).to_bytes(2, "little")


def request_frame(request: Request) -> bytes:
    """The bytes that ask."""
    head = struct.pack(">BBHH", request.unit, request.function, request.address, request.count)
    if request.reads:
        return with_crc(head)
    words = struct.pack(f">B{request.count}H", 2 * request.count, *request.words)
    return with_crc(head + words)


def answer_length(request: Request) -> int:
    """Length in bytes of the normal answer."""
    return 5 + 2 * request.count if request.reads else 8


def is_answer(request: Request, burst: bytes | bytearray) -> bool:
    """Whether a burst begins like an answer to the request, or like a refusal of it."""
    if len(burst) < HEADER_LENGTH or burst[0] != request.unit:
        return False
    if burst[1] != request.function:
        return burst[1] == request.function | 0x80
    return not request.reads or burst[2] == 2 * request.count


def missing(request: Request, burst: bytes | bytearray) -> int:
    """How many bytes an answer still lacks; 0 when it is whole, or no answer of ours at all."""
    if len(burst) < HEADER_LENGTH:
        return HEADER_LENGTH - len(burst)
    if not is_answer(request, burst):
        return 0
    whole = EXCEPTION_LENGTH if burst[1] & 0x80 else answer_length(request)
    return max(0, whole - len(burst))


def read_answer(request: Request, frame: bytes | bytearray) -> tuple[int, ...]:
    """Check a whole frame and unpack it.

    Raises:
        BadFrameError: Length, check bytes or contents are not those of an answer to the request.
        ExceptionCodeError: The device says no.
    """
    if len(frame) < EXCEPTION_LENGTH or crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        raise BadFrameError(request.unit, "check bytes are wrong")
    if frame[0] != request.unit or frame[1] & 0x7F != request.function:
        raise BadFrameError(request.unit, "another unit's or function's frame")
    if frame[1] & 0x80:
        if len(frame) != EXCEPTION_LENGTH:
            raise BadFrameError(request.unit, "an exception of the wrong length")
        raise ExceptionCodeError(request.unit, frame[2])
    if len(frame) != answer_length(request):
        raise BadFrameError(request.unit, "an answer of the wrong length")
    if request.function == WRITE_MULTIPLE:
        if struct.unpack(">HH", frame[2:6]) != (request.address, request.count):
            raise BadFrameError(request.unit, "confirms another write")
        return ()
    if frame[2] != 2 * request.count:
        raise BadFrameError(request.unit, "an answer of another length than asked for")
    return struct.unpack(f">{request.count}H", frame[3:-2])
