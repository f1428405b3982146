"""The serial line under fire: no wrong value is ever believed, and the line recovers."""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hemma.bench.modbus import QuickLine
from runtime.modbus.errors import (
    BadFrameError,
    ExceptionCodeError,
    LinkDownError,
    ModbusError,
    NoAnswerError,
)
from runtime.modbus.request import READ_HOLDING, WRITE_MULTIPLE, Request
from runtime.modbus.rtu import RtuPort, SerialSettings

Emulated = Callable[..., Any]
"""Builds what conftest.py describes."""


def read(unit: int, address: int, count: int) -> Request:
    return Request(unit, READ_HOLDING, address, count)


@contextlib.asynccontextmanager
async def opened(settings: SerialSettings) -> AsyncIterator[RtuPort]:
    port = RtuPort(settings)
    await port.open()
    try:
        yield port
    finally:
        port.close()


BLOCKS = ((32000, 30), (32064, 40), (37000, 30))


async def go_through(
    port: RtuPort, transactions: int, register_at: Callable[[int, int], int]
) -> tuple[int, int, int]:
    """Poll three units; returns how many were answered, wrong, and failed in a row at most."""
    answered = wrong = in_a_row = longest = 0
    for n in range(transactions):
        address, count = BLOCKS[n % 3]
        unit = n // 3 % 3 + 1
        try:
            answer = await port.transact(read(unit, address, count))
        except ModbusError:
            in_a_row += 1
            longest = max(longest, in_a_row)
            continue
        in_a_row = 0
        answered += 1
        wrong += list(answer.words) != [register_at(unit, address + i) for i in range(count)]
    return answered, wrong, longest


async def test_no_wrong_value_is_believed_in_a_storm_of_faults(
    emulated_line: Emulated, storm: Emulated, register_at: Callable[[int, int], int]
) -> None:
    transactions = 2000  # `hemma bench modbus`: 100,000
    faults = storm(seed=20260621, share=0.05, late_s=0.05, character_s=0.0)
    line = emulated_line(fault=faults.spoil)
    async with opened(QuickLine(line.port)) as port:
        answered, wrong, longest = await go_through(port, transactions, register_at)
        line.fault = None
        after = await go_through(port, 12, register_at)
    assert wrong == 0
    assert faults.counted.keys() == faults.kinds, "the storm did not try everything"
    assert answered > 0.9 * transactions
    assert longest <= 4
    assert after[0] >= 11  # the very last fault may cost one more transaction, not two
    assert after[1] == 0
    assert port.figures_of_line.silence_violations == 0
    assert sum(port.figures(unit).late for unit in (1, 2, 3)) > 0


@pytest.mark.parametrize("late_s", [0.02, 0.06], ids=["in the quarantine", "after the quarantine"])
async def test_a_late_answer_is_not_taken_for_the_next_one_of_the_same_length(
    late_s: float, emulated_line: Emulated, register_at: Callable[[int, int], int]
) -> None:
    line = emulated_line()
    async with opened(QuickLine(line.port)) as port:
        for _ in range(3):
            await port.transact(read(1, 100, 10))

        def hesitate(_line: object, _request: bytes, answer: bytes) -> None:
            line.fault = None
            time.sleep(late_s)
            line.send(answer)

        line.fault = hesitate
        with pytest.raises(NoAnswerError):
            await port.transact(read(1, 100, 10))
        try:
            answer = await port.transact(read(1, 500, 10))
        except NoAnswerError:  # still busy with the first one: honest, not wrong
            answer = await port.transact(read(1, 500, 10))
        assert list(answer.words) == [register_at(1, 500 + i) for i in range(10)]
        assert port.figures_of_line.resynchronised >= 1


async def test_requests_keep_the_silent_interval_behind_the_last_byte(
    emulated_line: Emulated,
) -> None:
    settings = SerialSettings("", baud=115200)
    line = emulated_line(char_s=settings.char_s, t35_s=settings.t35_s, device_s=0.002)
    async with opened(SerialSettings(line.port, baud=115200)) as port:
        for n in range(20):
            await port.transact(read(n % 3 + 1, 100, 5))
    assert line.silence_violations == 0
    assert len(line.requests) == 20


async def test_a_profile_may_ask_for_a_longer_pause(emulated_line: Emulated) -> None:
    line = emulated_line()
    async with opened(QuickLine(line.port, silence_s=0.02)) as port:
        for _ in range(4):
            await port.transact(read(1, 100, 5))
    instants = [at_s for at_s, _ in line.requests]
    assert all(b - a >= 0.02 for a, b in itertools.pairwise(instants))


async def test_writes_are_confirmed_and_an_echo_does_not_confirm_them(
    emulated_line: Emulated,
) -> None:
    line = emulated_line()
    async with opened(QuickLine(line.port)) as port:
        write = Request(2, WRITE_MULTIPLE, 40126, 2, (0, 5000))
        await port.transact(write)
        assert line.written == {(2, 40126): 0, (2, 40127): 5000}

        line.fault = lambda line, request, _answer: line.send(request)
        with pytest.raises(NoAnswerError):
            await port.transact(write)
        assert port.figures_of_line.echoes == 1

        line.fault = lambda line, request, answer: line.send(request + answer)
        await port.transact(write)
        assert port.figures_of_line.echoes >= 2
        assert port.figures(2).answered >= 2


async def test_a_refusal_carries_the_exception_code(emulated_line: Emulated) -> None:
    line = emulated_line(refuse=lambda _unit, start, _count: 2 if start == 9 else 0)
    async with opened(QuickLine(line.port)) as port:
        with pytest.raises(ExceptionCodeError) as refusal:
            await port.transact(read(1, 9, 3))
        assert (refusal.value.unit, refusal.value.code) == (1, 2)
        assert port.figures(1).exceptions == 1


async def test_a_damaged_answer_costs_no_time_out(emulated_line: Emulated) -> None:
    line = emulated_line(
        fault=lambda line, _request, answer: line.send(answer[:-1] + bytes((answer[-1] ^ 1,)))
    )
    async with opened(QuickLine(line.port)) as port:
        before_s = time.monotonic()
        with pytest.raises(BadFrameError):
            await port.transact(read(1, 9, 30))
        assert time.monotonic() - before_s < 0.02
        assert port.figures(1).bad_frames == 1


async def test_device_times_are_learned_and_shorten_the_wait(emulated_line: Emulated) -> None:
    line = emulated_line(device_s=0.004)
    async with opened(QuickLine(line.port)) as port:
        assert port.figures(1).times.window_s == 0.03
        for _ in range(8):
            await port.transact(read(1, 9, 3))
        assert port.figures(1).times.typical_s == pytest.approx(0.004, abs=0.003)
        assert port.line(1).device_s == port.figures(1).times.typical_s


async def test_a_cut_line_is_reported_and_can_be_opened_again(emulated_line: Emulated) -> None:
    line = emulated_line()
    async with opened(QuickLine(line.port)) as port:
        await port.transact(read(1, 9, 3))
        line.cut()
        with pytest.raises(LinkDownError):
            await port.transact(read(1, 9, 3))
        with pytest.raises(LinkDownError):
            await port.open()


async def test_a_port_is_opened_by_one_process_only(emulated_line: Emulated) -> None:
    line = emulated_line()
    async with opened(QuickLine(line.port)):
        with pytest.raises(LinkDownError):
            await RtuPort(QuickLine(line.port)).open()


async def test_a_missing_port_is_said_by_name() -> None:
    with pytest.raises(LinkDownError, match="/dev/there-is-none"):
        await RtuPort(SerialSettings("/dev/there-is-none")).open()
