"""Transformers within and outside of what the product takes; errors found and taken out."""

import math
from collections.abc import Callable

import pytest

from bus.metering import GridSystem
from services.metering.calibration import (
    Channel,
    CtCurve,
    ErrorPoint,
    error_point,
    gain_error_pct,
    phase_error_deg,
)
from services.metering.ct import external_ct, internal_ct
from services.metering.systems import Metrology
from tests.unit.metering.signals import phasor, sine, sums

MINUTES = 1 / 60
WORST_CT = (  # the reference product's limits: % of In, ratio error %, angle error in minutes
    (1, 0.4, 30),
    (5, 0.2, 15),
    (20, 0.2, 10),
    (100, 0.2, 10),
    (120, 0.2, 10),
)
CURVE = CtCurve([ErrorPoint(load, ratio, angle * MINUTES) for load, ratio, angle in WORST_CT])


def through(ct_error: complex, amps: complex) -> complex:
    """What a transformer with this error makes of a current."""
    return amps * (1 + ct_error.real) * phasor(1, math.degrees(ct_error.imag))


@pytest.mark.parametrize("primary_a", [100, 150, 200, 400])
def test_external_transformers_of_n_times_50_a_are_taken(primary_a: float) -> None:
    transformer = external_ct(primary_a)

    assert transformer.ratio == primary_a / 0.05
    assert transformer.starting_a == 0.002 * primary_a
    assert transformer.creep_a < transformer.starting_a / 2


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda: external_ct(50), "N of 2", id="50 A is too small"),
        pytest.param(lambda: external_ct(120), "120 A is not", id="120 A is no multiple of 50"),
        pytest.param(lambda: external_ct(100, 0.1), "1000:1", id="1000:1 is too low a ratio"),
        pytest.param(lambda: internal_ct(80, 10, 2000), "63 A", id="80 A through the gateway"),
        pytest.param(lambda: internal_ct(10, 20, 2000), "63 A", id="basic above maximum"),
        pytest.param(lambda: ErrorPoint(100, 5.1, 0), "5.1 %", id="ratio error beyond 5 %"),
        pytest.param(lambda: ErrorPoint(100, 0, -6), "-6 degrees", id="angle beyond 5 degrees"),
        pytest.param(lambda: ErrorPoint(100, math.nan, 0), "nan", id="not a number"),
        pytest.param(lambda: ErrorPoint(0, 0, 0), "above 0", id="no load"),
        pytest.param(lambda: Channel(gain_error_pct=7), "CT ratio", id="channel gain"),
        pytest.param(lambda: Channel(offset=-1), "below 0", id="negative offset"),
        pytest.param(lambda: CtCurve([]), "rise", id="no points"),
        pytest.param(
            lambda: CtCurve([ErrorPoint(20, 0, 0), ErrorPoint(5, 0, 0)]), "rise", id="falling loads"
        ),
        pytest.param(lambda: gain_error_pct(245, 230), "6.52 %", id="gain found beyond 5 %"),
        pytest.param(lambda: phase_error_deg(700, 500), "degrees", id="angle found beyond 5"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()


def test_a_curve_is_straight_in_the_logarithm_of_the_current() -> None:
    assert CURVE.error(math.sqrt(1 * 5)).real == pytest.approx(0.003)
    assert CURVE.error(0.01) == CURVE.error(1)
    assert CURVE.error(500) == CURVE.error(120)
    assert CURVE.error(0) == CURVE.error(1)


@pytest.mark.parametrize("hz", [45, 50, 60])
@pytest.mark.parametrize("load_pct", [1, 2, 7, 20, 60, 120])
@pytest.mark.parametrize("lag_deg", [0, 60, -36.87, 180])
def test_a_known_transformer_is_taken_out_at_every_load(
    hz: float, load_pct: float, lag_deg: float
) -> None:
    meter = Metrology(
        GridSystem.SINGLE_PHASE,
        external_ct(100),
        230.0,
        channels={"u1": Channel(-0.7, 0.4), "i1": Channel(0.3, -0.2, 12.0, 0.0, CURVE)},
    )
    skew_deg = -360 * hz * 12e-6
    seen_amps = through(CURVE.error(load_pct), phasor(load_pct, -lag_deg)) * 1.003
    seen_amps *= phasor(1, -0.2 + skew_deg)

    found = meter.measure(
        sums(
            [sine(230 * 0.993, 0.4)],
            [sine(abs(seen_amps), math.degrees(math.atan2(seen_amps.imag, seen_amps.real)))],
            hz,
        )
    )

    truth = 230 * load_pct * phasor(1, lag_deg)
    assert found.phases[0].voltage_v == pytest.approx(230, rel=1e-4)
    assert found.phases[0].current_a == pytest.approx(load_pct, rel=1e-4)
    assert found.active_power_w == pytest.approx(truth.real, rel=2e-4)
    assert found.reactive_power_var == pytest.approx(truth.imag, rel=2e-4, abs=2e-4 * 230)


def test_an_offset_is_taken_off_in_quadrature() -> None:
    assert Channel(offset=3.0).without_offset(5.0) == 4.0
    assert Channel(offset=3.0).without_offset(2.0) == 0.0


def test_the_angle_is_found_from_active_power_at_half_power_factor() -> None:
    lead = 0.5  # the current channel leads: an inductive load looks less inductive
    reading = math.cos(math.radians(60 - lead)) * 1000
    reference = math.cos(math.radians(60)) * 1000

    assert phase_error_deg(reading, reference) == pytest.approx(lead)
    capacitive = math.cos(math.radians(60 + lead)) / math.cos(math.radians(60))
    assert phase_error_deg(capacitive, 1.0) == pytest.approx(-lead)  # it changes its sign


def test_a_point_of_the_curve_is_found_from_one_complex_power() -> None:
    error = CURVE.error(20)
    true = 230 * phasor(20, 60)
    seen = 230 * through(error, phasor(20, -60)).conjugate()

    point = error_point(20, seen, true)

    assert point.ratio_error_pct == pytest.approx(0.2)
    assert point.phase_error_deg == pytest.approx(10 * MINUTES)


CLASS_1 = [  # IEC 62053-21, connection through transformers: load in % of In, angle, limit in %
    *((load, 0, 1.5) for load in (2, 4.9)),
    *((load, 0, 1.0) for load in (5, 10, 20, 50, 100, 120)),
    *((load, angle, 1.5) for load in (5, 9.9) for angle in (60, -36.87)),
    *((load, angle, 1.0) for load in (10, 20, 50, 100, 120) for angle in (60, -36.87)),
]
CLASS_05S = [  # IEC 62053-22
    *((load, 0, 1.0) for load in (1, 4.9)),
    *((load, 0, 0.5) for load in (5, 20, 100, 120)),
    *((load, angle, 1.0) for load in (2, 9.9) for angle in (60, -36.87)),
    *((load, angle, 0.6) for load in (10, 20, 100, 120) for angle in (60, -36.87)),
]
CLASS_02S = [(load, angle, limit * 0.4) for load, angle, limit in CLASS_05S]


def worst_error_share(channel: Channel, points: list[tuple[float, float, float]]) -> float:
    """Worst error behind the worst permitted transformer, in terms of each point's limit."""
    meter = Metrology(GridSystem.SINGLE_PHASE, external_ct(100), 230.0, channels={"i1": channel})
    shares = []
    for hz in (49, 51):
        for load_pct, lag_deg, limit_pct in points:
            seen = through(CURVE.error(load_pct), phasor(load_pct, -lag_deg))
            angle = math.degrees(math.atan2(seen.imag, seen.real))
            found = meter.measure(sums([sine(230)], [sine(abs(seen), angle)], hz))
            true_w = 230 * load_pct * math.cos(math.radians(lag_deg))
            shares.append(abs(found.active_power_w / true_w - 1) * 100 / limit_pct)
    return max(shares)


def test_the_worst_transformer_leaves_class_1_without_any_calibration() -> None:
    assert worst_error_share(Channel(), CLASS_1) < 1


def test_one_calibration_point_reaches_class_05s() -> None:
    at_rated = CURVE.error(100)
    one = Channel(at_rated.real * 100, math.degrees(at_rated.imag))

    assert worst_error_share(one, CLASS_05S) < 1
    assert worst_error_share(Channel(), CLASS_05S) > 1  # and it is needed


def test_five_calibration_points_reach_class_02s_with_room() -> None:
    assert worst_error_share(Channel(curve=CURVE), CLASS_02S) < 0.2
