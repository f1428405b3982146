"""The benches that start processes: a short form of each, whose figures are not judged here."""

import pytest

from hemma.bench import footprint, latency

pytestmark = [pytest.mark.house, pytest.mark.slow]


def test_setpoints_and_the_bare_relay_are_both_measured() -> None:
    figures = latency.measure(seconds=4, seed=5).figures

    assert figures["windows"] == pytest.approx(20, abs=1)
    assert figures["answered_pct"] > 25
    assert 0.1 < figures["relay_p50_ms"] <= figures["relay_p99_ms"] < 1000
    assert 0.1 < figures["p50_ms"] <= figures["p99_ms"] < 200


def test_all_processes_of_the_demo_are_measured() -> None:
    report, usages = footprint.measure(seconds=3, seed=5)

    names = [usage.name for usage in usages]
    assert {"mosquitto", "hemma-site", "hemma-metering", "hemma-policy"} <= set(names)
    assert report.figures["processes"] == len(usages) - 1
    assert all(usage.pss_mb > 1 for usage in usages)
    assert 0 < report.figures["ready_s"] < 30
