"""The bench of the metering can pass, and can fail."""

import json
import math

import numpy as np
import pytest

from hemma.bench import metering
from hemma.bench.metering_accuracy import (
    CLASS_1,
    TRANSFORMERS,
    Meter,
    Point,
    Row,
    five_points,
    one_point,
    points,
    uncalibrated,
    worst_share,
)
from hemma.bench.metering_signals import FS_HZ, IDEAL, Mains, Transformer, sampled
from hemma.bench.metering_wiring import WIRINGS, check_single_phase, check_three_phase
from services.metering.calibration import Channel

INDUCTIVE = (Row(10, 120, (60.0,), 1.0, last=True),)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_generator_makes_the_power_that_it_says() -> None:
    point = Point(5.0, 60.0, 1.0, (0, 1, 2), Mains(50.0), fifth=True)
    signal = point.signal(rng())

    samples = sampled(signal, signal.amps, point.mains, FS_HZ)  # a second is 50 whole periods

    power_w = (samples[:, :3] * samples[:, 3:]).mean(axis=0)
    assert power_w == pytest.approx(signal.phase_powers_w, rel=1e-9)
    assert abs(power_w.sum()) == pytest.approx(3 * 230 * 5 * (0.5 + 0.04), rel=1e-9)


def test_a_transformer_has_its_errors_at_the_points_and_no_steps_between_them() -> None:
    transformer = Transformer("", ((1, 0.4, 30), (5, 0.2, 15), (20, 0.2, 10)))

    assert transformer.error(1) == pytest.approx((0.004, math.radians(0.5)))
    assert transformer.error(5) == pytest.approx((0.002, math.radians(0.25)))
    assert transformer.error(math.sqrt(5)) == pytest.approx((0.003, math.radians(0.375)))
    assert transformer.error(0.1) == transformer.error(1)
    assert transformer.error(200) == transformer.error(20)


def test_every_row_of_the_class_is_tested_at_both_ends_and_every_frequency() -> None:
    tested = list(points(CLASS_1, 100.0))

    assert {point.mains.frequency_hz for point in tested} == {49.0, 49.5, 50.0, 50.5, 51.0}
    assert {point.phases for point in tested} == {(0, 1, 2), (0,), (1,), (2,)}
    for row in CLASS_1:
        amps = {point.amps for point in tested if point.limit_pct == row.limit_pct}
        assert row.from_pct in amps
        assert any(0.99 * row.to_pct <= one <= row.to_pct for one in amps)
    assert max(point.amps for point in tested) == 120.0
    assert max(point.amps for point in tested if point.fifth) <= 60.0


def test_the_worst_transformers_need_their_calibration() -> None:
    def share(meters: list[Meter]) -> float:
        return worst_share(INDUCTIVE, meters, rng(), part=0.2).share

    bare, once, curve = share(uncalibrated()), share(one_point(rng())), share(five_points(rng()))

    assert bare > 0.6  # 0.2 % and 10 minutes are 0.7 % at power factor 0.5
    assert curve < once < bare


def test_a_meter_that_reads_two_per_cent_too_much_is_found_out() -> None:
    off = Meter(IDEAL, {f"i{n}": Channel(gain_error_pct=-2.0) for n in (1, 2, 3)})

    worst = worst_share(INDUCTIVE, [off], rng(), part=0.1)

    assert worst.share == pytest.approx(2.04, abs=0.05)
    assert "PF 0.5L" in worst.where


def test_every_one_of_the_48_wirings_is_tried() -> None:
    assert len(set(WIRINGS)) == 48
    outcome = check_three_phase(rng(), 96)
    assert (outcome.wrong, outcome.installations) == (0, 96)
    assert outcome.unsure < 10
    single = check_single_phase(rng(), 144)
    assert single.wrong == 0
    assert single.unsure < 10


def test_the_transformers_are_at_the_limits_of_their_table() -> None:
    for transformer in TRANSFORMERS:
        for load, ratio_pct, minutes in ((1, 0.4, 30), (5, 0.2, 15), (100, 0.2, 10)):
            ratio, lead = transformer.error(load)
            assert abs(ratio) == pytest.approx(ratio_pct / 100)
            assert abs(lead) == pytest.approx(math.radians(minutes / 60))


def test_the_short_form_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    code = metering.main(["--short", "--json", "--seed", "3", "--installations", "96"])

    said = json.loads(capsys.readouterr().out)
    assert said["bench"] == "metering"
    assert said["must"].keys() <= said["figures"].keys()
    assert said["ok"] == (code == 0)
    assert 0 < said["figures"]["class_five_point"] < said["figures"]["class_one_point"] <= 1
    assert said["figures"]["power_error_pct"] <= 0.02
