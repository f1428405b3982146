"""The read plan is the cheapest there is, and goes around holes."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.modbus.planner import LineModel, Span, plan_cost_s, plan_reads, split


def line(baud: int, device_s: float) -> LineModel:
    return LineModel(10 / baud, 38.5 / baud if baud <= 19200 else 0.00175, device_s)


def every_plan(spans: list[Span], most: int) -> Iterator[list[Span]]:
    """All ways to cut the sorted spans into blocks, as far as blocks may be so long."""
    for cuts in itertools.product((False, True), repeat=len(spans) - 1):
        blocks = [spans[0]]
        for span, cut in zip(spans[1:], cuts, strict=True):
            if cut:
                blocks.append(span)
            else:
                blocks[-1] = (blocks[-1][0], max(blocks[-1][1], span[1]))
        if all(end - start <= most for start, end in blocks):
            yield blocks


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.tuples(st.integers(0, 160), st.integers(1, 8)), min_size=1, max_size=8),
    baud=st.sampled_from([9600, 19200, 115200]),
    device_s=st.sampled_from([0.0, 0.02, 0.05]),
)
def test_no_other_plan_is_cheaper(gaps: list[tuple[int, int]], baud: int, device_s: float) -> None:
    spans, address = [], 30000
    for gap, length in gaps:
        spans.append((address + gap, address + gap + length))
        address += gap + length
    model = line(baud, device_s)
    cheapest = min(plan_cost_s(plan, model) for plan in every_plan(spans, 64))
    plan = plan_reads(spans, model, max_registers=64)
    assert plan_cost_s(plan, model) == pytest.approx(cheapest)
    for start, end in spans:
        assert any(first <= start and end <= last for first, last in plan)


@pytest.mark.parametrize(
    ("baud", "device_s", "largest_gap"),
    [(9600, 0.0, 10), (19200, 0.0, 10), (115200, 0.0, 26), (9600, 0.02, 19), (19200, 0.02, 29)],
    ids=str,
)
def test_gaps_are_read_as_long_as_that_is_cheaper(
    baud: int, device_s: float, largest_gap: int
) -> None:
    model = line(baud, device_s)
    assert len(plan_reads([(0, 2), (2 + largest_gap, 4 + largest_gap)], model)) == 1
    assert len(plan_reads([(0, 2), (4 + largest_gap, 6 + largest_gap)], model)) == 2


def test_a_block_never_runs_across_a_wall() -> None:
    spans = [(0, 2), (4, 6), (8, 10)]
    assert plan_reads(spans, line(115200, 0.02)) == [(0, 10)]
    assert plan_reads(spans, line(115200, 0.02), walls=frozenset({8})) == [(0, 6), (8, 10)]


def test_overlapping_wishes_are_read_once() -> None:
    assert plan_reads([(0, 10), (2, 4), (0, 3), (8, 12)], line(9600, 0.02)) == [(0, 12)]


def test_a_wish_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 64"):
        plan_reads([(0, 65)], line(9600, 0.0), max_registers=64)


def test_nothing_wanted_is_nothing_read() -> None:
    assert plan_reads([], line(9600, 0.0)) == []


def test_a_refused_block_is_halved_between_wishes() -> None:
    assert split((0, 12), [(0, 2), (4, 6), (10, 12)]) == ((0, 6), (10, 12))
    assert split((0, 2), [(0, 2)]) is None
    assert split((0, 4), [(0, 3), (1, 4)]) is None, "overlapping wishes cannot be parted"


def test_on_a_network_only_the_number_of_requests_counts() -> None:
    assert plan_reads([(0, 1), (50, 51), (63, 64)], LineModel(0, 0, 0.02), max_registers=64) == [
        (0, 64)
    ]
