"""Blocks to windows: when they were sampled, what is lost, what is frozen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bus.metering import GridSystem
from services.metering.ct import external_ct
from services.metering.pipeline import SampleClock, SamplePipeline, WindowResult
from services.metering.samples import Block, StreamHeader, StreamRefusedError
from services.metering.systems import Metrology
from tests.unit.metering.signals import FS_HZ, sine, waveform

SCALES = 0.0138, 5e-6


def header(*names: str) -> StreamHeader:
    units = {"u": ("V", SCALES[0]), "i": ("A", SCALES[1])}
    return StreamHeader.model_validate(
        {
            "stream": "hemma-samples",
            "version": 1,
            "fs_hz": FS_HZ,
            "dtype": "<i2",
            "block_samples": 160,
            "channels": [
                {"name": name, "unit": units[name[0]][0], "scale": units[name[0]][1]}
                for name in names
            ],
        }
    )


METER = Metrology(GridSystem.SINGLE_PHASE, external_ct(100), 230.0)


def counts(seconds: float, amps: float = 10.0, seed: int = 0) -> NDArray[np.int16]:
    """A single-phase house with a little noise, as a converter would see it."""
    rows = waveform([sine(230), sine(amps / 2000)], 50.02, seconds, noise=1e-4, seed=seed)
    shown: NDArray[np.int16] = np.rint(rows / np.array(SCALES)[:, None]).astype("<i2").T
    return shown


def blocks(samples: NDArray[np.int16], size: int = 160, first: int = 0) -> list[Block]:
    return [Block(first + n, samples[n : n + size]) for n in range(0, len(samples), size)]


def play(pipeline: SamplePipeline, played: list[Block]) -> list[WindowResult]:
    """All results when every block arrives the moment its last sample has been taken."""
    return [
        result for block in played for result in pipeline.take(block, 50 + block.end_sample / FS_HZ)
    ]


@pytest.mark.parametrize("size", [160, 100, 333, 5000])
def test_windows_know_their_last_sample_whatever_the_size_of_blocks(size: int) -> None:
    found = play(SamplePipeline(header("u1", "i1"), METER), blocks(counts(1.0), size))

    assert [r.sampled_s for r in found] == pytest.approx([50.2 + 0.1 * n for n in range(9)])
    for result in found:
        assert result.measurement.active_power_w == pytest.approx(2300, rel=2e-4)
        assert not result.overrange


def test_channels_are_found_by_name_and_others_left_aside() -> None:
    samples = counts(0.2)
    shuffled = np.column_stack((samples[:, 1], samples[:, 0] * 0, samples[:, 0]))

    found = play(SamplePipeline(header("i1", "in", "u1"), METER), blocks(shuffled))

    assert found[0].measurement.active_power_w == pytest.approx(2300, rel=2e-4)


def test_a_stream_without_the_needed_channels_is_refused() -> None:
    with pytest.raises(StreamRefusedError, match="i2, i3 not in the stream"):
        SamplePipeline(
            header("u1", "u2", "u3", "i1"),
            Metrology(GridSystem.THREE_PHASE_FOUR_WIRE, external_ct(100), 230.0),
        )


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=1, max_size=12))
def test_every_second_of_the_stream_is_either_in_a_window_or_said_to_be_lost(
    pattern: list[tuple[int, int]],
) -> None:
    """Alternating spells of kept and dropped blocks of 20 ms."""
    pipeline = SamplePipeline(header("u1", "i1"), METER)
    samples = np.tile(np.arange(160)[:, None], (1, 2)).astype("<i2")
    index, covered_s, kept_any = 0, 0.0, 0
    last_end_s = 0.0
    for keep, drop in [*pattern, (20, 0)]:
        for _ in range(keep):
            noisy = samples + (index // 160) % 7  # no two in a row alike
            for result in pipeline.take(Block(index, noisy), index / FS_HZ):
                covered_s += result.lost_s + 0.1
                last_end_s = (index + 160) / FS_HZ
                kept_any += 1
            index += 160
        index += drop * 160

    assert kept_any
    assert covered_s == pytest.approx(last_end_s - 0.05)  # the last half hop is still to come
    assert pipeline.lost_samples == 160 * sum(drop for _, drop in pattern)


def test_frozen_samples_are_no_measurement() -> None:
    pipeline = SamplePipeline(header("u1", "i1"), METER)
    alive = blocks(counts(1.0))
    stuck = [Block(8000 + 160 * n, alive[-1].counts) for n in range(100)]

    before = play(pipeline, alive)
    during = play(pipeline, stuck)
    frozen = pipeline.is_frozen
    again = play(pipeline, blocks(counts(0.4, seed=1), first=8000 + 160 * 100))

    assert len(before) == 9
    assert len(during) <= 1
    assert frozen
    assert not pipeline.is_frozen
    assert pipeline.frozen_blocks == 98
    assert again[0].lost_s == pytest.approx(98 * 0.02 + 0.1, abs=0.1)


def test_a_channel_at_the_end_of_its_range_is_told() -> None:
    samples = counts(0.5)
    samples[2000, 1] = 32767
    samples[2001, 1] = -32768

    found = play(SamplePipeline(header("u1", "i1"), METER), blocks(samples))

    assert [result.overrange for result in found] == [False, True, True, False]


def test_samples_that_waited_are_seen_to_be_old() -> None:
    clock = SampleClock(FS_HZ)
    for n in range(1, 101):
        assert clock.sampled_s(160 * n, 7 + 0.02 * n) == pytest.approx(7 + 0.02 * n)

    # This process stands still for 5 s, then 250 blocks arrive at once.
    stamps = [clock.sampled_s(160 * n, 14.0 + 1e-4 * (n - 100)) for n in range(101, 351)]

    assert stamps == pytest.approx([7 + 0.02 * n for n in range(101, 351)], abs=1e-3)


def test_a_stream_that_stood_still_itself_is_believed_again_after_a_second() -> None:
    clock = SampleClock(FS_HZ)
    for n in range(1, 101):
        clock.sampled_s(160 * n, 7 + 0.02 * n)

    # Its index runs on as if nothing had happened, 5 s later.
    ages = [14 + 0.02 * n - clock.sampled_s(160 * n, 14 + 0.02 * n) for n in range(101, 221)]

    assert ages[0] == pytest.approx(7.0)
    assert ages[-1] == pytest.approx(0.0, abs=1e-6)


def test_jitter_of_arrival_does_not_shake_the_stamps() -> None:
    clock = SampleClock(FS_HZ)
    random = np.random.default_rng(8)
    late = random.exponential(0.003, 3000)
    late[::20] = 0.0
    drift = 1 + 100e-6  # the converter's crystal runs slow

    errors = [
        clock.sampled_s(160 * n, 0.02 * n * drift + late[n]) - 0.02 * n * drift for n in range(3000)
    ]

    assert max(np.abs(errors[100:])) < 1e-3
