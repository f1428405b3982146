"""Modbus TCP as gateways and dongles speak it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

from sim.station import Station
from sim.tcp import TcpPort

READ_STATUS = bytes.fromhex("0007 0000 0006 01 03 7d59 0001")


@pytest.fixture
async def open_port(install: Callable[..., Any]) -> AsyncIterator[Callable[..., Any]]:
    """Opens ports with one inverter as unit 1, and closes them after the test."""
    opened: list[TcpPort] = []

    async def open_one(**manners: float) -> TcpPort:
        station = Station("inv1", install().device, device_s=(0.0, 0.001))
        port = TcpPort({1: station}, **manners)  # type: ignore[arg-type]
        await port.start()
        opened.append(port)
        return port

    yield open_one
    for port in opened:
        await port.stop()


def client(port: TcpPort, timeout_s: float = 1) -> AsyncModbusTcpClient:
    return AsyncModbusTcpClient(
        "127.0.0.1", port=port.port, timeout=timeout_s, retries=0, reconnect_delay=0
    )


async def test_a_common_client_reads_writes_and_lists_devices(
    open_port: Callable[..., Any],
) -> None:
    user = client(await open_port())
    assert await user.connect()
    try:
        rated = await user.read_holding_registers(30073, count=2, device_id=1)
        assert user.convert_from_registers(rated.registers, user.DATATYPE.UINT32) == 8000
        forced = await user.write_register(47100, 1, device_id=1)
        assert not forced.isError()
        listed = await user.read_device_information(read_code=1, object_id=0, device_id=1)
        assert isinstance(listed, ReadDeviceInformationResponse)
        assert listed.information[0] == b"Huawei"
    finally:
        user.close()


async def test_unknown_units_get_a_gateway_exception(open_port: Callable[..., Any]) -> None:
    user = client(await open_port())
    assert await user.connect()
    try:
        answered = await user.read_holding_registers(30000, count=1, device_id=7)
        assert answered.exception_code == 0x0B
    finally:
        user.close()


async def test_a_second_client_is_turned_away_until_the_first_leaves(
    open_port: Callable[..., Any],
) -> None:
    port = await open_port(one_client=True)
    first, second = client(port), client(port, 0.3)
    assert await first.connect()
    await first.read_holding_registers(32089, count=1, device_id=1)
    await second.connect()
    with pytest.raises((ConnectionException, ModbusIOException)):
        await second.read_holding_registers(32089, count=1, device_id=1)
    second.close()
    first.close()
    for _ in range(50):
        await asyncio.sleep(0.01)
        if not port._clients:
            break
    third = client(port)
    assert await third.connect()
    assert not (await third.read_holding_registers(32089, count=1, device_id=1)).isError()
    third.close()
    assert port.report.turned_away == 1


async def test_requests_right_after_connecting_are_dropped(open_port: Callable[..., Any]) -> None:
    port = await open_port(settle_s=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(READ_STATUS)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(64), 0.15)
    writer.write(READ_STATUS)
    got = await asyncio.wait_for(reader.read(64), 1)
    assert got[:2] == READ_STATUS[:2]
    assert port.report.dropped_early == 1
    writer.close()


async def test_requests_in_one_segment_are_answered_in_turn(open_port: Callable[..., Any]) -> None:
    port = await open_port()
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(b"".join(bytes((0, i)) + READ_STATUS[2:] for i in (5, 6, 7)))
    got = await asyncio.wait_for(reader.readexactly(33), 1)
    assert [got[i : i + 2] for i in (0, 11, 22)] == [b"\0\5", b"\0\6", b"\0\7"]
    writer.close()


async def test_what_is_no_modbus_ends_the_connection(open_port: Callable[..., Any]) -> None:
    port = await open_port()
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await asyncio.wait_for(reader.read(64), 1) == b""
    assert port.report.bad_frames == 1
    writer.close()


async def test_a_stopped_port_cuts_its_clients_and_returns_on_the_same_number(
    open_port: Callable[..., Any],
) -> None:
    port = await open_port()
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    number = port.port
    await port.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", number)
    await port.start()
    assert port.port == number
    writer.close()
    del reader
