"""The sample stream of the current transformers, as a metering process reads it from a converter.

TCP. First one line of JSON: `{"stream": "hemma-samples", "version": 1, "fs_hz": 8000,
"dtype": "<i2", "block_samples": 160, "channels": [{"name": "u1", "unit": "V", "scale": 0.0138},
...]}`. Then blocks of 20 ms: eight bytes, the index of the first sample since the start of the
stream (little endian), then 160 samples of all channels, interleaved. Counts times scale are volts,
or amperes of the transformer's secondary. A gap in the index means lost samples.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from sim.tcp import LOOPBACK
from sim.waveform import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Waveform

MOST_WAITING_BYTES = 256 * 1024
"""A client this far behind (about 2.5 s) loses blocks instead of filling our memory."""


def header(waveform: Waveform) -> bytes:
    """The first line of a stream."""
    channels = [
        {"name": name, "unit": "V" if name[0] == "u" else "A", "scale": waveform.scales[name]}
        for name in waveform.system.channels
    ]
    described = {
        "stream": "hemma-samples",
        "version": 1,
        "fs_hz": SAMPLE_RATE_HZ,
        "dtype": waveform.dtype.str,
        "block_samples": BLOCK_SAMPLES,
        "channels": channels,
    }
    return json.dumps(described).encode() + b"\n"


class SampleStream:
    """Serves the blocks of a waveform; `send` is called once for every 20 ms of house time.

    Args:
        waveform: Where the samples come from.
        port: 0 picks a free one.
    """

    def __init__(self, waveform: Waveform, port: int = 0) -> None:
        self.host = LOOPBACK
        self.port = port
        self.silent = False
        """Fault: nothing is sent, the index runs on."""
        self.frozen = False
        """Fault: the last block is sent again and again."""
        self.lost_blocks = 0
        self._waveform = waveform
        self._index = 0
        self._last = b""
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._welcome, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server:
            self._server.close()
            for writer in tuple(self._clients):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def send(self, power_w: Sequence[float], reactive_var: Sequence[float]) -> None:
        """Make the block in which the powers go to these, and send it to whoever listens."""
        if not self.frozen or not self._last:
            self._last = self._waveform.block(power_w, reactive_var).tobytes()
        index, self._index = self._index, self._index + BLOCK_SAMPLES
        if self.silent:
            return
        block = index.to_bytes(8, "little") + self._last
        for writer in self._clients:
            if writer.transport.get_write_buffer_size() > MOST_WAITING_BYTES:
                self.lost_blocks += 1
            else:
                writer.write(block)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(header(self._waveform))
        self._clients.add(writer)
        with suppress(ConnectionError):
            while await reader.read(256):  # nothing is expected; an end means that it left
                pass
        self._clients.discard(writer)
        writer.close()
