"""The latency bench finds late answers, and says when the figures are missed."""

import pytest

from hemma.bench.latency import NotRunningError, answers_s, relay_s, report
from hemma.bench.latency_house import BLOCK_S, WINDOW_S, Stamps


def blocks(windows: int) -> list[float]:
    return [100.0 + BLOCK_S * number for number in range(10 * windows)]


def ends(windows: int) -> list[float]:
    """Windows end with every tenth block, here the sixth one of each ten."""
    return blocks(windows)[5::10]


@pytest.mark.parametrize(
    "latencies_s",
    [
        pytest.param([0.003, 0.004, 0.0035, 0.003, 0.005], id="all within a block"),
        pytest.param([0.003, 0.047, 0.003, 0.004, 0.181], id="some later than the next blocks"),
    ],
)
def test_each_answer_is_measured_from_the_end_of_its_own_window(latencies_s: list[float]) -> None:
    sent = [end_s + latency_s for end_s, latency_s in zip(ends(6), latencies_s, strict=False)]
    repeated = sorted([*sent, *(at_s + 0.001 for at_s in sent)])  # two frames a setpoint

    assert answers_s(blocks(6), repeated) == pytest.approx(latencies_s)


def test_a_window_without_an_answer_is_left_out() -> None:
    second, fourth = ends(6)[1] + 0.003, ends(6)[3] + 0.005

    assert answers_s(blocks(6), [second, fourth]) == pytest.approx([0.003, 0.005])
    assert answers_s(blocks(6), []) == []


def test_the_figures_are_missed_when_the_path_is_slower_than_it_may_be() -> None:
    relayed = [0.0015] * 100

    quick = report([0.002] * 100, relayed, 100)
    assert quick.ok
    assert quick.figures["p50_ratio"] == pytest.approx(2 / 1.5)
    assert report([0.0031] * 100, relayed, 100).missed == ["p50_ratio"]
    assert report([0.002] * 95 + [0.02] * 5, relayed, 100).missed == ["p99_ratio"]
    assert report([0.002] * 49, relayed, 100).missed == ["answered_pct"]


def test_a_path_that_says_nothing_is_not_called_quick() -> None:
    with pytest.raises(NotRunningError, match="0 setpoints, 100 messages"):
        report([], [0.001] * 100, 100)


def test_the_relay_is_measured_in_pairs() -> None:
    assert relay_s([1.0, 1.5, 2.0, 2.25, 3.0]) == [0.5, 0.25]


def test_stamps_beyond_the_room_are_forgotten() -> None:
    stamps = Stamps(2)
    for instant_s in (1.0, WINDOW_S, 3.0):
        stamps.note(instant_s)
    assert stamps.all() == [1.0, WINDOW_S]
