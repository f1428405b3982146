"""The line that `hemma bench modbus` polls is a real one: what it counts can differ from 0."""

import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from hemma.bench import modbus
from hemma.bench.modbus_line import UNITS, Far, FarEnd, far_end, word_at
from runtime.modbus.errors import NoAnswerError
from runtime.modbus.request import READ_HOLDING, Request
from runtime.modbus.rtu import RtuPort


def test_every_register_says_something_else_than_its_neighbours() -> None:
    for unit, (first, count) in itertools.product(UNITS, modbus.BLOCKS):
        words = [word_at(unit, first + offset) for offset in range(count + 8)]
        assert len(set(words)) == len(words)


ASKED = Request(1, READ_HOLDING, 32000, 3)


@contextlib.asynccontextmanager
async def opened(far: Far) -> AsyncIterator[tuple[FarEnd, RtuPort]]:
    with far_end(far) as end:
        port = RtuPort(modbus.QuickLine(end.port))
        await port.open()
        try:
            yield end, port
        finally:
            port.close()


async def test_the_line_sees_a_request_that_comes_too_early() -> None:
    async with opened(Far(4_000_000, 0.0, silence_s=0.02)) as (end, port):
        await port.transact(ASKED)
        with pytest.raises(NoAnswerError):  # the line wants 20 ms of silence, the port keeps 0.2
            await port.transact(ASKED)
        assert end.outcome().report.early_requests == 1


async def test_a_unit_that_is_muted_answers_no_more_and_the_others_do() -> None:
    async with opened(Far(4_000_000, 0.0, silence_s=0.0002)) as (end, port):
        answer = await port.transact(ASKED)
        assert list(answer.words) == [word_at(1, 32000 + offset) for offset in range(3)]
        end.mute(1)
        with pytest.raises(NoAnswerError):
            await port.transact(ASKED)
        assert (await port.transact(Request(2, READ_HOLDING, 32000, 3))).words
        assert end.outcome().report.early_requests == 0


@pytest.mark.slow
def test_the_short_form_finds_no_wrong_value_and_keeps_every_silence() -> None:
    figures = modbus.run(modbus.SHORT, seed=5)
    assert figures["wrong_values"] == 0
    assert figures["silence_violations"] == 0
    assert figures["storm_kinds_tried"] == 1
