"""The server's side of Modbus: answering PDUs, the RTU check sum, exceptions.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02;
SUN2000 Modbus interface definitions, chapter on the custom use of function 2Bh.
"""

from collections.abc import Sequence
from typing import Protocol

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY, ENCAPSULATED = 0x03, 0x04, 0x06, 0x10, 0x2B
READ_DEVICE_ID = 0x0E
IDENTIFICATION_LENGTH = 4
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 0x01, 0x02, 0x03, 0x04
GATEWAY_TARGET_SILENT = 0x0B

MAX_READ, MAX_WRITE = 125, 123
MAX_OBJECT_BYTES = 240
"""What fits beside the seven bytes of head in the 253 bytes of a PDU, with some to spare."""
BASIC_OBJECTS = range(3)
DEVICE_COUNT_OBJECT = 0x87


class ModbusError(Exception):
    """A request that is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code:02X}")
        self.code = code


class SilentError(Exception):
    """A request that is not answered at all."""


class Device(Protocol):
    """What stands behind one unit id."""

    def read(self, function: int, address: int, count: int) -> bytes:
        """Registers as big-endian bytes, or ModbusError."""
        ...

    def write(self, address: int, words: Sequence[int]) -> None:
        """All words, or ModbusError and none."""
        ...

    def objects(self) -> dict[int, bytes]:
        """Identification objects by id; empty: function 2Bh is not served."""
        ...


def crc16(frame: bytes | bytearray | memoryview) -> int:
    """Check sum of an RTU frame, sent low byte first.

    Source: MODBUS over Serial Line V1.02, 6.2.2.
    """
    crc = 0xFFFF
    for byte in frame:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC_TABLE = tuple(_crc_entry(byte) for byte in range(256))


def with_crc(frame: bytes) -> bytes:
    """An RTU frame closed by its check sum."""
    return frame + crc16(frame).to_bytes(2, "little")


def exception(function: int, code: int) -> bytes:
    """The PDU of an exception answer."""
    return bytes((function | 0x80, code))


def answer(device: Device, pdu: bytes) -> bytes:
    """The answer of a device to one request PDU; a wrong request gets its exception.

    Raises:
        SilentError: The device does not answer at all.
    """
    if not pdu:
        return exception(0, ILLEGAL_FUNCTION)
    try:
        return _answer(device, pdu)
    except ModbusError as error:
        return exception(pdu[0], error.code)


def _answer(device: Device, pdu: bytes) -> bytes:
    function = pdu[0]
    match function:
        case 0x03 | 0x04:
            address, count = _two_words(pdu, 5)
            if not 1 <= count <= MAX_READ:
                raise ModbusError(ILLEGAL_VALUE)
            content = device.read(function, address, count)
            return bytes((function, len(content))) + content
        case 0x06:
            address, word = _two_words(pdu, 5)
            device.write(address, [word])
            return pdu
        case 0x10:
            address, count = _two_words(pdu[:5], 5)
            if not 1 <= count <= MAX_WRITE or len(pdu) != 6 + 2 * count or pdu[5] != 2 * count:
                raise ModbusError(ILLEGAL_VALUE)
            words = [int.from_bytes(pdu[i : i + 2], "big") for i in range(6, len(pdu), 2)]
            device.write(address, words)
            return pdu[:5]
        case 0x2B:
            return _identification(device.objects(), pdu)
        case _:
            raise ModbusError(ILLEGAL_FUNCTION)


def _two_words(pdu: bytes, length: int) -> tuple[int, int]:
    if len(pdu) != length:
        raise ModbusError(ILLEGAL_VALUE)
    return int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")


def _identification(objects: dict[int, bytes], pdu: bytes) -> bytes:
    """One page of identification objects.

    Code 01 gives the basic objects, code 03 from object 87h on the device list (87h the number of
    devices, then one object a device), code 04 a single object. The count in the head is that of
    this page, as the specification has it.
    """
    if len(pdu) != IDENTIFICATION_LENGTH or pdu[1] != READ_DEVICE_ID or not objects:
        raise ModbusError(ILLEGAL_FUNCTION)
    code, first = pdu[2], pdu[3]
    match code:
        case 0x01:
            wanted = [i for i in BASIC_OBJECTS if i >= first] or list(BASIC_OBJECTS)
        case 0x03:
            wanted = [i for i in objects if i >= max(first, DEVICE_COUNT_OBJECT)]
        case 0x04 if first in objects:
            wanted = [first]
        case 0x04:
            raise ModbusError(ILLEGAL_ADDRESS)
        case _:
            raise ModbusError(ILLEGAL_VALUE)
    page = b""
    for taken, i in enumerate(wanted):
        entry = bytes((i, len(objects[i]))) + objects[i]
        if page and len(page) + len(entry) > MAX_OBJECT_BYTES:
            return bytes((0x2B, READ_DEVICE_ID, code, 0x83, 0xFF, i, taken)) + page
        page += entry
    return bytes((0x2B, READ_DEVICE_ID, code, 0x83, 0x00, 0x00, len(wanted))) + page
