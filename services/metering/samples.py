"""The sample stream: format and parser, the same for a connection and for a recorded file.

A line of JSON says what follows, then come blocks of equal size:

    {"stream":"hemma-samples","version":1,"fs_hz":8000,"dtype":"<i2","block_samples":160,
     "channels":[{"name":"u1","unit":"V","scale":0.0138},{"name":"i1","unit":"A","scale":1e-5},...]}

A block is the index of its first sample since the start of the stream (64 bit, little endian) and
`block_samples` rows of one integer a channel. Counts times scale are volts at the terminals, or
amperes of CT secondary current; i > 0 while u > 0 is import. An index ahead of the last block's end
tells of lost samples. A block has no mark to find it by, so what cannot be means starting over.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_HEADER_BYTES = 16 * 1024
_LONGEST_GAP_S = 24 * 3600
_INDEX = struct.Struct("<Q")

ChannelName = Literal["u1", "u2", "u3", "i1", "i2", "i3", "in", "u12", "u32"]


class StreamRefusedError(ValueError):
    """A stream that is not what it promises; the text says what was wrong."""


class StreamChannel(BaseModel):
    """One column of the stream."""

    model_config = ConfigDict(frozen=True)

    name: ChannelName
    unit: Literal["V", "A"]
    scale: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
    """Unit per count."""

    @model_validator(mode="after")
    def _unit_fits(self) -> Self:
        if self.unit != ("V" if self.name.startswith("u") else "A"):
            raise ValueError(f"channel {self.name} is not in {self.unit}")
        return self


class StreamHeader(BaseModel):
    """What a stream says of itself in its first line."""

    model_config = ConfigDict(frozen=True)

    stream: Literal["hemma-samples"]
    version: Literal[1]
    fs_hz: Annotated[int, Field(ge=4000, le=64_000, multiple_of=10)]
    """Samples per second; a hop of 100 ms must be whole samples. Above twice the 40th harmonic for
    all of the accuracy; 4000 is enough for energy of class 1."""
    dtype: Literal["<i2", "<i4"]
    block_samples: Annotated[int, Field(ge=1, le=64_000)]
    channels: Annotated[tuple[StreamChannel, ...], Field(min_length=2, max_length=9)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ValueError(f"a channel stands twice: {', '.join(names)}")
        return self

    @cached_property
    def block_bytes(self) -> int:
        """Size of a block with its index."""
        return _INDEX.size + self.block_samples * len(self.channels) * np.dtype(self.dtype).itemsize

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the first line.

        Raises:
            StreamRefusedError: It is not a header of this format.
        """
        try:
            return cls.model_validate_json(line)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            reasons = (f"{'.'.join(map(str, f['loc'])) or 'line'}: {f['msg']}" for f in faults)
            raise StreamRefusedError(f"header refused: {'; '.join(reasons)[:400]}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Samples in a row."""

    first_sample: int
    """Index since the start of the stream."""
    counts: NDArray[np.signedinteger]
    """Shape (samples, channels)."""

    @property
    def end_sample(self) -> int:
        """Index behind the last sample."""
        return self.first_sample + len(self.counts)


class StreamParser:
    """Bytes in, header and blocks out; does no I/O."""

    def __init__(self) -> None:
        """Ready for the first byte of a stream."""
        self.header: StreamHeader | None = None
        self._waiting = bytearray()
        self._expected: int | None = None

    def end(self) -> None:
        """The stream is over.

        Raises:
            StreamRefusedError: In the middle of a block, or of the header.
        """
        if self._waiting or self.header is None:
            raise StreamRefusedError(f"ends with {len(self._waiting)} bytes of an unfinished block")

    def feed(self, received: bytes) -> Iterator[StreamHeader | Block]:
        """Take bytes as they come, in pieces of any size.

        Returns:
            What is now complete, one by one: the header first, then blocks.

        Raises:
            StreamRefusedError: Nothing of the stream can be trusted from here on.
        """
        self._waiting += received
        if self.header is None:
            self._take_header()
            if self.header is None:
                return
            yield self.header
        while len(self._waiting) >= self.header.block_bytes:
            yield self._take_block(self.header)

    def _take_header(self) -> None:
        end = self._waiting.find(b"\n", 0, MAX_HEADER_BYTES)
        if end < 0:
            if len(self._waiting) >= MAX_HEADER_BYTES:
                raise StreamRefusedError(f"no header within {MAX_HEADER_BYTES} bytes")
            return
        self.header = StreamHeader.parse(bytes(self._waiting[:end]))
        del self._waiting[: end + 1]

    def _take_block(self, header: StreamHeader) -> Block:
        packed = bytes(self._waiting[: header.block_bytes])
        del self._waiting[: header.block_bytes]
        first = _INDEX.unpack_from(packed)[0]
        gap = 0 if self._expected is None else first - self._expected
        if gap < 0:
            raise StreamRefusedError(f"block refused: sample {first} came again or out of order")
        if gap > _LONGEST_GAP_S * header.fs_hz:
            raise StreamRefusedError(f"block refused: sample index {first} is beyond belief")
        self._expected = first + header.block_samples
        counts = np.frombuffer(packed, header.dtype, offset=_INDEX.size)
        return Block(first, counts.reshape(header.block_samples, len(header.channels)))
