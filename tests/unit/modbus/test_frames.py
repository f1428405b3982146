"""Frames: what is not an answer is never taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.modbus.errors import BadFrameError, ExceptionCodeError
from runtime.modbus.frames import (
    answer_length,
    crc16,
    is_answer,
    missing,
    read_answer,
    request_frame,
    with_crc,
)
from runtime.modbus.request import READ_HOLDING, WRITE_MULTIPLE, Request

REQUEST = Request(17, READ_HOLDING, 0x6B, 3)
ANSWER = bytes.fromhex("110306AE415652434049AD")


def test_frames_are_those_of_the_specification_s_examples() -> None:
    assert request_frame(REQUEST) == bytes.fromhex("1103006B00037687")
    assert read_answer(REQUEST, ANSWER) == (0xAE41, 0x5652, 0x4340)
    write = Request(17, WRITE_MULTIPLE, 1, 2, (0x0A, 0x0102))
    assert request_frame(write) == bytes.fromhex("1110000100020 4000A0102C6F0".replace(" ", ""))
    assert read_answer(write, bytes.fromhex("1110000100021298")) == ()


@given(st.binary(max_size=80))
def test_random_bytes_are_no_answer(noise: bytes) -> None:
    with pytest.raises((BadFrameError, ExceptionCodeError)) as refusal:
        read_answer(REQUEST, noise)
    if isinstance(refusal.value, ExceptionCodeError):
        assert noise[:2] == bytes((17, 0x83))
        assert crc16(noise) == 0


@given(flips=st.sets(st.integers(0, 8 * len(ANSWER) - 1), min_size=1, max_size=3))
def test_up_to_three_flipped_bits_are_noticed(flips: set[int]) -> None:
    spoilt = bytearray(ANSWER)
    for bit in flips:
        spoilt[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadFrameError):
        read_answer(REQUEST, spoilt)


@given(before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_an_answer_with_anything_glued_to_it_is_refused(before: bytes, after: bytes) -> None:
    if before or after:
        with pytest.raises(BadFrameError):
            read_answer(REQUEST, before + ANSWER + after)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        pytest.param(with_crc(ANSWER[:-2] + b"\0\0"), "length", id="too long"),
        pytest.param(with_crc(b"\x12" + ANSWER[1:-2]), "another unit", id="another unit"),
        pytest.param(with_crc(b"\x11\x04" + ANSWER[2:-2]), "another unit", id="another function"),
        pytest.param(with_crc(b"\x11\x03\x08" + ANSWER[3:-2]), "length", id="another byte count"),
        pytest.param(with_crc(b"\x11\x83\x02\x00"), "wrong length", id="long exception"),
        pytest.param(b"", "check bytes", id="nothing"),
    ],
)
def test_a_sound_frame_that_is_not_the_answer_is_refused(frame: bytes, complaint: str) -> None:
    with pytest.raises(BadFrameError, match=complaint):
        read_answer(REQUEST, frame)


def test_the_confirmation_of_another_write_is_refused() -> None:
    write = Request(17, WRITE_MULTIPLE, 47249, 2, (0, 100))
    other = Request(17, WRITE_MULTIPLE, 47247, 2, (0, 100))
    with pytest.raises(BadFrameError, match="another write"):
        read_answer(write, with_crc(request_frame(other)[:6]))


def test_an_exception_carries_its_code() -> None:
    with pytest.raises(ExceptionCodeError) as refusal:
        read_answer(REQUEST, with_crc(b"\x11\x83\x06"))
    assert refusal.value.code == 6


@pytest.mark.parametrize(
    ("burst", "lacking"),
    [
        pytest.param(b"", 3, id="nothing yet"),
        pytest.param(ANSWER[:2], 1, id="header not whole"),
        pytest.param(ANSWER[:3], answer_length(REQUEST) - 3, id="header"),
        pytest.param(ANSWER, 0, id="whole"),
        pytest.param(b"\x11\x83\x02", 2, id="exception"),
        pytest.param(b"\x12\x03\x06", 0, id="foreign: do not wait for it"),
        pytest.param(b"\x11\x03\x08", 0, id="late answer of another length"),
    ],
)
def test_how_much_is_still_to_come_is_known_from_the_header(burst: bytes, lacking: int) -> None:
    assert missing(REQUEST, burst) == lacking
    if len(burst) >= 3:
        assert is_answer(REQUEST, burst) == (burst[0] == 17 and burst[1:3] != b"\x03\x08")


@pytest.mark.parametrize(
    ("unit", "function", "address", "count", "words"),
    [
        (1, 3, 0, 126, ()),
        (1, 3, 0, 0, ()),
        (1, 3, 65535, 2, ()),
        (1, 16, 0, 2, (1,)),
        (1, 6, 0, 1, (1,)),
    ],
    ids=["too many", "none", "beyond the end", "words missing", "function 6"],
)
def test_a_request_that_cannot_be_is_refused(
    unit: int, function: int, address: int, count: int, words: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"registers|words|function"):
        Request(unit, function, address, count, words)
