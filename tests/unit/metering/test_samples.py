"""The stream's format: what is right is read however it arrives, what is wrong has a reason."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.metering.samples import (
    MAX_HEADER_BYTES,
    Block,
    StreamHeader,
    StreamParser,
    StreamRefusedError,
)

HEADER: dict[str, Any] = {
    "stream": "hemma-samples",
    "version": 1,
    "fs_hz": 8000,
    "dtype": "<i2",
    "block_samples": 4,
    "channels": [
        {"name": "u1", "unit": "V", "scale": 0.0138},
        {"name": "i1", "unit": "A", "scale": 1e-5},
    ],
}
ROWS = [[1, -1], [2, -2], [3, -3], [4, -4]]


def first_line(**changes: object) -> bytes:
    return json.dumps(HEADER | changes).encode() + b"\n"


def block(first: int, dtype: str = "<i2") -> bytes:
    return first.to_bytes(8, "little") + np.array(ROWS, dtype).tobytes()


def parts(parser: StreamParser, *received: bytes) -> list[StreamHeader | Block]:
    return [part for piece in received for part in parser.feed(piece)]


@pytest.mark.parametrize("dtype", ["<i2", "<i4"])
def test_a_stream_is_read_as_it_was_written(dtype: str) -> None:
    stream = first_line(dtype=dtype) + block(1000, dtype) + block(1004, dtype)

    header, one, two = parts(StreamParser(), stream)

    assert isinstance(header, StreamHeader)
    assert [channel.name for channel in header.channels] == ["u1", "i1"]
    assert isinstance(one, Block)
    assert isinstance(two, Block)
    assert (one.first_sample, two.first_sample, two.end_sample) == (1000, 1004, 1008)
    assert one.counts.tolist() == ROWS


@given(st.lists(st.integers(1, 60), max_size=20))
def test_it_does_not_matter_how_the_bytes_arrive(sizes: list[int]) -> None:
    stream = first_line() + b"".join(block(4 * n) for n in range(5))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    pieces.append(stream[at:])

    found = parts(StreamParser(), *pieces)

    assert [part.first_sample for part in found if isinstance(part, Block)] == [0, 4, 8, 12, 16]


def test_a_gap_is_passed_on_for_the_windows_to_see() -> None:
    found = parts(StreamParser(), first_line(), block(0), block(400))

    assert [part.first_sample for part in found if isinstance(part, Block)] == [0, 400]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"stream": "other"}, "stream", id="another stream"),
        pytest.param({"version": 2}, "version", id="a later version"),
        pytest.param({"fs_hz": 8001}, "fs_hz", id="no whole hops"),
        pytest.param({"fs_hz": 1000}, "fs_hz", id="too slow"),
        pytest.param({"dtype": ">i2"}, "dtype", id="big endian"),
        pytest.param({"block_samples": 0}, "block_samples", id="empty blocks"),
        pytest.param({"block_samples": 10**9}, "block_samples", id="endless blocks"),
        pytest.param({"channels": HEADER["channels"][:1]}, "channels", id="one channel"),
        pytest.param({"channels": HEADER["channels"] * 2}, "twice", id="a channel twice"),
        pytest.param(
            {"channels": [*HEADER["channels"], {"name": "x", "unit": "V", "scale": 1}]},
            "channels.2.name",
            id="an unknown channel",
        ),
        pytest.param(
            {"channels": [*HEADER["channels"], {"name": "i2", "unit": "V", "scale": 1}]},
            "not in V",
            id="a current in volts",
        ),
        pytest.param(
            {"channels": [*HEADER["channels"], {"name": "i2", "unit": "A", "scale": 0}]},
            "scale",
            id="no scale",
        ),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(StreamRefusedError, match=reason):
        parts(StreamParser(), first_line(**changes))


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(b"hello\n", "header refused", id="not JSON"),
        pytest.param(b"[1]\n", "header refused", id="another JSON"),
        pytest.param(b"\xff\xfe\n", "header refused", id="not UTF-8"),
        pytest.param(b"x" * MAX_HEADER_BYTES, "no header", id="no end of line"),
        pytest.param(first_line() + block(0) + block(0), "came again", id="a block twice"),
        pytest.param(first_line() + block(8) + block(4), "out of order", id="out of order"),
        pytest.param(first_line() + block(0) + block(2**63), "beyond belief", id="a mad index"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(StreamRefusedError, match=reason):
        parts(StreamParser(), stream)


def test_a_recording_that_ends_in_the_middle_is_noticed() -> None:
    parser = StreamParser()
    parts(parser, first_line(), block(0), block(4)[:11])

    with pytest.raises(StreamRefusedError, match="11 bytes"):
        parser.end()


@given(st.lists(st.binary(max_size=200), max_size=8))
@example([first_line(), b"\xff" * 8 + bytes(16), bytes(24)])
@example([first_line(), bytes(24), bytes(24)])
def test_no_bytes_can_do_more_than_be_refused(received: list[bytes]) -> None:
    parser = StreamParser()
    blocks: list[Block] = []
    try:
        for piece in received:
            blocks += [part for part in parser.feed(piece) if isinstance(part, Block)]
    except StreamRefusedError as refusal:
        assert str(refusal)
    ends = [one.end_sample for one in blocks]
    assert ends == sorted(set(ends))


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), min_size=1, max_size=5))
def test_flipped_bytes_are_refused_or_read_but_never_more(flips: list[tuple[int, int]]) -> None:
    stream = bytearray(first_line() + block(0) + block(4))
    for at, byte in flips:
        stream[-1 - at] = byte
    try:
        found = parts(StreamParser(), bytes(stream))
    except StreamRefusedError as refusal:
        assert str(refusal)
    else:
        assert all(part.counts.shape == (4, 2) for part in found if isinstance(part, Block))
