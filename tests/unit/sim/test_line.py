"""The line on a real pseudo-terminal."""

import asyncio
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient

from sim.line import PacedLine
from sim.modbus import crc16, with_crc
from sim.plant import Plant
from sim.wire import silence_s

READ_NAME = with_crc(bytes((1, 3)) + (30000).to_bytes(2, "big") + b"\0\x0f")


@pytest.fixture
def line(plant: Plant) -> Iterator[PacedLine]:
    """The line of the laboratory house: inverter 1 and meter 3 at 115200 baud."""
    paced = plant.lines["rs485-1"]
    paced.start()
    yield paced
    paced.stop()


@pytest.fixture
def terminal(line: PacedLine) -> Iterator[int]:
    fd = os.open(line.link, os.O_RDWR | os.O_NOCTTY)
    yield fd
    os.close(fd)


def receive(fd: int, count: int, timeout_s: float = 1.0) -> bytes:
    got = b""
    until_s = time.monotonic() + timeout_s
    while len(got) < count and select.select([fd], [], [], max(0, until_s - time.monotonic()))[0]:
        got += os.read(fd, 512)
    return got


def test_a_raw_client_gets_a_frame_in_wire_time(line: PacedLine, terminal: int) -> None:
    began_s = time.monotonic()
    os.write(terminal, READ_NAME)
    got = receive(terminal, 35)
    took_s = time.monotonic() - began_s

    assert crc16(got) == 0
    assert got[3:18] == b"SUN2000-8KTL-M1"
    shortest_s = (8 + 35) * 10 / 115200 + silence_s(115200) + 0.001
    assert took_s >= shortest_s
    assert line.wire.report.answers == 1


def test_all_256_byte_values_pass_unchanged(line: PacedLine, terminal: int) -> None:
    """A terminal that is not raw would turn line ends and swallow control characters."""
    every = bytes(range(256))
    line.wire.distort = lambda _request, _answered: [(0.0, every)]
    os.write(terminal, READ_NAME)
    assert receive(terminal, 256) == every


def test_chunks_are_punctual_for_the_most_part(line: PacedLine, terminal: int) -> None:
    for _ in range(20):
        os.write(terminal, with_crc(bytes((1, 3)) + (30000).to_bytes(2, "big") + b"\0\x64"))
        assert len(receive(terminal, 205)) == 205
        time.sleep(0.002)
    report = line.wire.report
    assert report.chunks >= 20 * 17
    # a busy machine delays some: the figure itself is the benchmark's matter
    assert report.late_sum_s / report.chunks < 2e-3


def test_a_cut_line_ends_the_client_and_comes_back_under_the_same_name(
    line: PacedLine, terminal: int
) -> None:
    line.stop()
    assert not line.link.exists()
    with pytest.raises(OSError, match=r"Input/output error|Bad file"):
        os.write(terminal, READ_NAME)

    line.start()
    again = os.open(line.link, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(again, READ_NAME)
        assert len(receive(again, 35)) == 35
    finally:
        os.close(again)


async def test_a_common_client_reads_and_writes(line: PacedLine, plant: Plant) -> None:
    client = AsyncModbusSerialClient(
        str(line.link), framer=FramerType.RTU, baudrate=115200, timeout=1, retries=0
    )
    assert await client.connect()
    try:
        name = await client.read_holding_registers(30000, count=15, device_id=1)
        text = client.convert_from_registers(name.registers, client.DATATYPE.STRING)
        assert text == "SUN2000-8KTL-M1"

        await asyncio.sleep(0.002)
        watts = client.convert_to_registers(1234, client.DATATYPE.UINT32)
        written = await client.write_registers(40126, watts, device_id=1)
        assert not written.isError()
        assert plant.unit("inv1").device.image.number("ac_limit_w") == 1234

        await asyncio.sleep(0.002)
        refused = await client.write_register(32080, 1, device_id=1)
        assert refused.exception_code == 2

        await asyncio.sleep(0.002)
        plant.step()
        volts = await client.read_input_registers(0, count=2, device_id=3)
        u1 = client.convert_from_registers(volts.registers, client.DATATYPE.FLOAT32)
        assert u1 == 230.0
    finally:
        client.close()


def test_the_link_is_gone_after_the_house_has_stopped(plant: Plant, tmp_path: Path) -> None:
    paced = plant.lines["rs485-1"]
    paced.start()
    assert (tmp_path / "rs485-1").is_symlink()
    paced.stop()
    paced.stop()
    assert not (tmp_path / "rs485-1").is_symlink()
