"""From blocks of samples to measurements: windows, gaps, and when the last sample was taken."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.metering.power import WindowBuffer, WindowKernel
from services.metering.samples import Block, StreamHeader, StreamRefusedError
from services.metering.systems import Measurement, Metrology

_PATIENCE_S = 1.0
"""A stream that has been late for so long without catching up has stood still itself."""


_FROZEN_AFTER = 3
"""Blocks that repeat each other to the last bit: a living converter's noise never lets two."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """One window of 200 ms; its energy counts for the 100 ms that it moved on by."""

    measurement: Measurement
    sampled_s: float
    """Monotonic instant of the window's last sample."""
    lost_s: float
    """Time before this window that no window covers; 0 while nothing is lost."""
    overrange: bool
    """A channel stood at the end of its converter's range."""


class SampleClock:
    """Tells from arrival times when samples were really taken.

    Nothing arrives before it was sampled, so the earliest arrival, by the stream's own count of
    samples, is the best anchor. Blocks that waited in a queue because this process stood still are
    thereby seen to be old. Only when a whole second passes without one in time was it the stream
    that stood still, or does its clock run slow: then the anchor moves, until then all looks old.
    """

    def __init__(self, fs_hz: int) -> None:
        """Args: fs_hz: samples per second."""
        self._fs_hz = fs_hz
        self._anchor_s = math.inf
        self._least_late_s = 0.0
        self._period_began_s = -math.inf

    def sampled_s(self, end_sample: int, arrived_s: float) -> float:
        """Monotonic instant of the sample before `end_sample`, whose block arrived just then."""
        streamed_s = end_sample / self._fs_hz
        if arrived_s - self._period_began_s >= _PATIENCE_S:
            self._anchor_s += self._least_late_s
            self._least_late_s, self._period_began_s = math.inf, arrived_s
        self._anchor_s = min(self._anchor_s, arrived_s - streamed_s)
        late_s = arrived_s - streamed_s - self._anchor_s
        self._least_late_s = min(self._least_late_s, late_s)
        return arrived_s - late_s


class SamplePipeline:
    """The path of one stream, from its header on."""

    def __init__(self, header: StreamHeader, metrology: Metrology) -> None:
        """Args: header: what the stream says of itself. metrology: the installation.

        Raises:
            StreamRefusedError: The stream lacks a channel that the grid system needs.
        """
        layout = metrology.layout
        names: list[str] = [channel.name for channel in header.channels]
        wanted = layout.voltages + layout.currents
        if missing := [name for name in wanted if name not in names]:
            raise StreamRefusedError(
                f"{metrology.system} needs channels {', '.join(wanted)}; "
                f"{', '.join(missing)} not in the stream"
            )
        columns = [names.index(name) for name in wanted]
        scales = [header.channels[column].scale for column in columns]
        first_current = len(layout.voltages)
        scales[first_current:] = [scale * metrology.ct.ratio for scale in scales[first_current:]]
        self.metrology = metrology
        self._fs_hz = header.fs_hz
        self._kernel = WindowKernel(header.fs_hz)
        self._buffer = WindowBuffer(self._kernel, columns, scales)
        self._clock = SampleClock(header.fs_hz)
        highest = np.iinfo(np.dtype(header.dtype)).max
        self._limits = highest * np.array(scales)
        self._unseen_samples = self._kernel.hop_samples // 2
        """Not covered by any window so far: the first one only counts from its middle half on."""
        self._since_window = 0
        self._expected: int | None = None
        self._last_counts = b""
        self._repeats = 0
        self.frozen_blocks = 0
        """Blocks refused because they only repeated the ones before."""
        self.lost_samples = 0
        """Missing between blocks, since the stream began."""

    @property
    def is_frozen(self) -> bool:
        """Whether the last block only repeated the ones before."""
        return self._repeats >= _FROZEN_AFTER

    def take(self, block: Block, arrived_s: float) -> Iterator[WindowResult]:
        """Take a block.

        Args:
            block: The next one of the stream.
            arrived_s: Monotonic instant of its arrival.

        Returns:
            A result for each window that it completes, worked out when asked for. None of a frozen
            block: to the windows its samples are lost.
        """
        self._compare(block)
        if self.is_frozen:
            self.frozen_blocks += 1
            return
        if self._expected is not None and block.first_sample != self._expected:
            self._lose(block.first_sample - self._expected)
        self._expected = block.end_sample
        sampled_s = self._clock.sampled_s(block.end_sample, arrived_s)
        counts = block.counts
        while len(counts):
            part, counts = counts[: self._buffer.room], counts[self._buffer.room :]
            window = self._buffer.put(part)
            self._since_window += len(part)
            if window is None:
                continue
            layout = self.metrology.layout
            sums = self._kernel.sums(window, len(layout.voltages), self.metrology.least_voltage_v)
            result = WindowResult(
                self.metrology.measure(sums),
                sampled_s - len(counts) / self._fs_hz,
                self._unseen_samples / self._fs_hz,
                bool((np.abs(window).max(axis=1) >= self._limits).any()),
            )
            self._unseen_samples = self._since_window = 0
            yield result

    def _lose(self, samples: int) -> None:
        """Start the windows anew behind a gap.

        The last window before it counts up to the middle of its second half, the first one after it
        from the middle of its first half on: what lies between is not covered.
        """
        self.lost_samples += samples
        hop = self._kernel.hop_samples
        if self._unseen_samples:  # not one window since the last gap, or since the start
            self._unseen_samples += self._since_window + samples
        else:
            self._unseen_samples = hop // 2 + self._since_window + samples + hop // 2
        self._since_window = 0
        self._buffer.clear()

    def _compare(self, block: Block) -> None:
        counts = block.counts.tobytes()
        self._repeats = self._repeats + 1 if counts == self._last_counts else 0
        self._last_counts = counts
