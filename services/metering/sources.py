"""Where measurements come from, behind one small interface: a source is a stream of arrivals.

Samples come from a converter (or the simulated house) over TCP, or from a recorded file; finished
figures come from a Modbus meter (`meters.py`). A source never gives up: it says what it lost, waits
and tries again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.clock import Clock
from services.metering.samples import Block, StreamHeader, StreamParser, StreamRefusedError

SILENT_AFTER_S = 2.0
"""A connection on which nothing has come for so long is dead, whatever TCP thinks of it."""
_CONNECT_WITHIN_S = 5.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A stream begins: what it says of itself."""

    header: StreamHeader


@dataclass(frozen=True, slots=True, eq=False)
class BlockArrived:
    """Samples."""

    block: Block
    arrived_s: float
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class MeterAnswered:
    """Finished figures of a meter that measures by itself."""

    figures: dict[str, float | None]
    """By quantity, see `meters.py`."""
    window_s: float
    """How long the powers are means of."""
    measured_s: float
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class SourceLost:
    """Nothing comes for now."""

    reason: str
    refused: bool = False
    """What came could not be trusted, rather than nothing coming."""


Arrival = StreamOpened | BlockArrived | MeterAnswered | SourceLost


class Source(Protocol):
    """Anything that measures the grid connection point."""

    name: str
    """For the installer: what and where."""

    def arrivals(self) -> AsyncIterator[Arrival]:
        """What comes, for ever; failures are arrivals too."""


class StreamClient:
    """The sample stream over TCP; connects again with growing pauses."""

    def __init__(self, host: str, port: int, clock: Clock) -> None:
        """Args: host, port: where the converter's stream is served. clock: of pauses and stamps."""
        self.name = f"samples from {host}:{port}"
        self._host, self._port = host, port
        self._clock = clock

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Headers, blocks and losses."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                reader, writer = await self._connected()
            except OSError as error:
                yield SourceLost(f"{self._host}:{self._port}: {error.strerror or error}")
            else:
                try:
                    async for arrival in self._read(reader, writer):
                        if isinstance(arrival, BlockArrived):
                            pause_s = _FIRST_PAUSE_S
                        yield arrival
                finally:
                    writer.transport.abort()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        attempt = asyncio.ensure_future(asyncio.open_connection(self._host, self._port))

        def give_up() -> None:
            attempt.cancel()

        late = self._clock.call_later(_CONNECT_WITHIN_S, give_up)
        try:
            await asyncio.wait([attempt])
        finally:
            late.cancel()
            attempt.cancel()
        if attempt.cancelled():
            raise TimeoutError(f"no connection within {_CONNECT_WITHIN_S:g} s")
        return attempt.result()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[Arrival]:
        parser = StreamParser()
        while True:
            silence = self._clock.call_later(SILENT_AFTER_S, writer.transport.abort)
            try:
                received = await reader.read(_CHUNK_BYTES)
            except OSError:
                received = b""
            finally:
                silence.cancel()
            if not received:
                yield SourceLost("the connection ended or fell silent")
                return
            try:
                for arrival in _parsed(parser, received, self._clock.monotonic()):
                    yield arrival
            except StreamRefusedError as refusal:
                yield SourceLost(str(refusal), refused=True)
                return


class RecordedFile:
    """A recorded waveform, at its own pace or as fast as it can be read."""

    def __init__(
        self, path: Path, clock: Clock, *, paced: bool = True, repeat: bool = False
    ) -> None:
        """Store; the file is opened later.

        Args:
            path: A file in the format of the stream.
            clock: Of the pace and the stamps.
            paced: At the pace of the recording; else at once, stamped as if the pace had been kept.
            repeat: Begin again at the end.
        """
        self.name = f"samples recorded in {path.name}"
        self._path = path
        self._clock = clock
        self._paced = paced
        self._repeat = repeat

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """The recording, then its loss for ever."""
        while True:
            try:
                for arrival in self._read(self._clock.monotonic()):
                    if isinstance(arrival, BlockArrived):
                        await self._wait_for(arrival)
                    yield arrival
            except (OSError, StreamRefusedError) as error:
                yield SourceLost(str(error), refused=isinstance(error, StreamRefusedError))
                await self._clock.sleep(_LONGEST_PAUSE_S)
                continue
            if not self._repeat:
                break
        yield SourceLost("end of the recording")
        await asyncio.Event().wait()

    async def _wait_for(self, arrival: BlockArrived) -> None:
        if self._paced:
            await self._clock.sleep(max(arrival.arrived_s - self._clock.monotonic(), 0.0))
        else:
            await asyncio.sleep(0)  # for no time, but others have their turn

    def _read(self, began_s: float) -> Iterator[Arrival]:
        parser = StreamParser()
        origin: int | None = None
        with self._path.open("rb") as file:
            while received := file.read(_CHUNK_BYTES):
                for arrival in _parsed(parser, received, began_s):
                    if isinstance(arrival, BlockArrived) and parser.header is not None:
                        block = arrival.block
                        origin = block.first_sample if origin is None else origin
                        played_s = (block.end_sample - origin) / parser.header.fs_hz
                        yield BlockArrived(block, began_s + played_s)
                    else:
                        yield arrival
        parser.end()


def _parsed(parser: StreamParser, received: bytes, arrived_s: float) -> Iterator[Arrival]:
    for part in parser.feed(received):
        yield BlockArrived(part, arrived_s) if isinstance(part, Block) else StreamOpened(part)
