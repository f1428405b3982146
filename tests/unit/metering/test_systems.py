"""Grid systems: figures of whole installations against their truth."""

import math

import numpy as np
import pytest

from bus.metering import GridSystem
from services.metering.calibration import Channel
from services.metering.ct import CurrentTransformer, external_ct, internal_ct
from services.metering.systems import Connection, Metrology, phase_sequence_is_positive
from tests.unit.metering.signals import Truth, phasor, power, sine, sums

HUNDRED_AMPS = external_ct(100)
FOUR_WIRE = Metrology(GridSystem.THREE_PHASE_FOUR_WIRE, HUNDRED_AMPS, 230.0)
THREE_WIRE = Metrology(GridSystem.THREE_PHASE_THREE_WIRE, HUNDRED_AMPS, 400.0)
SINGLE = Metrology(GridSystem.SINGLE_PHASE, HUNDRED_AMPS, 230.0)
MAINS = [sine(231, 0), sine(229, -120), sine(232, 120)]


def test_a_four_wire_house_is_measured_phase_by_phase() -> None:
    currents = [sine(8, -20), sine(4, -120 + 180), Truth({1: phasor(6, 90), 3: phasor(2, 10)})]

    found = FOUR_WIRE.measure(sums(MAINS, currents, 49.9))

    truths = [power(u, i) for u, i in zip(MAINS, currents, strict=True)]
    assert found.phase_powers_w == pytest.approx([t.real for t in truths], rel=1e-4)
    assert found.phase_powers_w[1] < 0  # L2 exports
    assert found.active_power_w == pytest.approx(sum(t.real for t in truths), rel=1e-4)
    assert found.reactive_power_var == pytest.approx(sum(t.imag for t in truths), rel=1e-4)
    assert found.phases[2].current_a == pytest.approx(math.hypot(6, 2), rel=1e-5)
    assert found.phases[2].displacement_factor == pytest.approx(math.cos(math.radians(30)), 1e-4)
    assert found.phases[2].power_factor == pytest.approx(
        truths[2].real / (232 * math.hypot(6, 2)), rel=1e-4
    )
    assert found.apparent_power_va == pytest.approx(
        231 * 8 + 229 * 4 + 232 * math.hypot(6, 2), rel=1e-5
    )
    assert not found.voltage_missing
    assert not found.frequency_out_of_range


def test_reactive_power_is_positive_for_an_inductive_load() -> None:
    found = SINGLE.measure(sums([sine(230)], [sine(10, -90)]))

    assert found.reactive_power_var == pytest.approx(2300, rel=1e-5)
    assert found.power_factor == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("label", "degrees", "factor"),
    [("import", 0, 1.0), ("export", 180, -1.0), ("half", -60, 0.5), ("export half", 120, -0.5)],
)
def test_the_power_factor_has_the_sign_of_the_power(
    label: str, degrees: float, factor: float
) -> None:
    found = SINGLE.measure(sums([sine(230)], [sine(10, degrees)]))

    assert found.power_factor == pytest.approx(factor, abs=1e-4), label


def three_wire(
    phases: list[Truth], currents: list[Truth]
) -> tuple[list[Truth], list[Truth], complex]:
    """Line voltages and the two measured currents of a house without neutral, and its power."""
    orders = {order for truth in phases for order in truth.lines}

    def between(one: int, other: int) -> Truth:
        return Truth(
            {o: phases[one].lines.get(o, 0j) - phases[other].lines.get(o, 0j) for o in orders}
        )

    total = sum((power(u, i) for u, i in zip(phases, currents, strict=True)), 0j)
    return [between(0, 1), between(2, 1)], [currents[0], currents[2]], total


def test_two_wattmeters_are_exact_for_any_unbalance_and_distortion() -> None:
    random = np.random.default_rng(4)
    for _ in range(50):
        phases = [
            Truth({1: phasor(random.uniform(200, 250), a), 5: phasor(8, random.uniform(0, 360))})
            for a in (0, -120, 120)
        ]
        first, third = (
            {o: phasor(random.uniform(1, 20) / o, random.uniform(0, 360)) for o in (1, 5, 7)}
            for _ in range(2)
        )
        second = {order: -first[order] - third[order] for order in first}
        currents = [Truth(first), Truth(second), Truth(third)]
        volts, amps, truth = three_wire(phases, currents)

        found = THREE_WIRE.measure(sums(volts, amps, random.uniform(49.5, 50.5)))

        apparent = sum(u.rms * i.rms for u, i in zip(phases, currents, strict=True))
        assert abs(found.active_power_w - truth.real) < 2e-4 * apparent
        assert abs(found.reactive_power_var - truth.imag) < 2e-4 * apparent
        assert found.phases[1].current_a == pytest.approx(currents[1].rms, rel=1e-3, abs=1e-3)


def test_a_three_wire_house_has_sums_but_no_phase_powers() -> None:
    volts, amps, truth = three_wire(
        [sine(230, a) for a in (0, -120, 120)], [sine(10, a - 60) for a in (0, -120, 120)]
    )

    found = THREE_WIRE.measure(sums(volts, amps))

    assert found.phase_powers_w == ()
    assert all(phase.active_power_w is None for phase in found.phases)
    assert found.active_power_w == pytest.approx(truth.real, rel=1e-4)
    assert found.apparent_power_va == pytest.approx(3 * 2300, rel=1e-4)
    assert found.power_factor == pytest.approx(0.5, rel=1e-4)
    assert [p.voltage_v for p in found.phases] == pytest.approx([230 * math.sqrt(3)] * 3, rel=1e-4)
    assert [p.current_a for p in found.phases] == pytest.approx([10] * 3, rel=1e-4)


def test_a_third_current_is_right_with_transformers_that_err_differently() -> None:
    calibrated = Metrology(
        GridSystem.THREE_PHASE_THREE_WIRE,
        HUNDRED_AMPS,
        400.0,
        channels={"i1": Channel(2.0, 1.5), "i3": Channel(-1.0, -2.0)},
    )
    volts, _, truth = three_wire(
        [sine(230, a) for a in (0, -120, 120)], [sine(10, a - 40) for a in (0, -120, 120)]
    )

    found = calibrated.measure(sums(volts, [sine(10.2, -40 + 1.5), sine(9.9, 80 - 2.0)]))

    assert found.active_power_w == pytest.approx(truth.real, rel=1e-5)
    assert found.reactive_power_var == pytest.approx(truth.imag, rel=1e-5)
    assert [phase.current_a for phase in found.phases] == pytest.approx([10] * 3, rel=1e-5)


def test_nothing_is_counted_without_current_at_too_high_a_voltage() -> None:
    noise = [Truth({1: phasor(0.004, a), 31: phasor(0.02, 0)}) for a in (0, -120, 120)]

    found = FOUR_WIRE.measure(sums([sine(1.15 * 230, a) for a in (0, -120, 120)], noise))

    assert found.phase_powers_w == (0, 0, 0)
    assert found.active_power_w == found.reactive_power_var == found.apparent_power_va == 0
    assert found.power_factor is None


@pytest.mark.parametrize(
    ("transformer", "amps"),
    [
        pytest.param(internal_ct(63, 10, 2000), 0.004 * 10, id="direct, 0.004 Ib"),
        pytest.param(HUNDRED_AMPS, 0.002 * 100, id="external, 0.002 In"),
    ],
)
def test_the_starting_current_counts(transformer: CurrentTransformer, amps: float) -> None:
    meter = Metrology(GridSystem.SINGLE_PHASE, transformer, 230.0)

    found = meter.measure(sums([sine(230)], [sine(amps)], noise=1e-4))

    assert found.active_power_w == pytest.approx(230 * amps, rel=0.05)


def test_a_lost_voltage_is_flagged_and_leaves_the_other_phases_right() -> None:
    currents = [sine(8, 0), sine(4, -120), sine(6, 120)]

    found = FOUR_WIRE.measure(sums([MAINS[0], sine(2, 40), MAINS[2]], currents))

    assert found.voltage_missing
    assert found.phase_powers_w[0] == pytest.approx(231 * 8, rel=1e-4)
    assert found.phase_powers_w[2] == pytest.approx(232 * 6, rel=1e-4)


@pytest.mark.parametrize("hz", [44.5, 65.5, 70.0])
def test_a_frequency_outside_the_range_is_flagged(hz: float) -> None:
    assert FOUR_WIRE.measure(sums(MAINS, [sine(1)] * 3, hz)).frequency_out_of_range


def test_without_any_voltage_the_meter_says_so_and_nothing_else() -> None:
    found = FOUR_WIRE.measure(sums([Truth({1: 0j})] * 3, [sine(5)] * 3))

    assert found.voltage_missing
    assert not found.frequency_out_of_range
    assert found.frequency_hz is None
    assert found.active_power_w == 0
    assert found.phases[0].current_a == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize("sequence", [1, -1], ids=["positive", "negative"])
def test_the_phase_sequence_is_told_and_does_no_harm(sequence: int) -> None:
    volts = [sine(230, -120 * sequence * n) for n in range(3)]
    amps = [sine(5, -120 * sequence * n - 60) for n in range(3)]

    found = FOUR_WIRE.measure(sums(volts, amps))
    lines, two, _ = three_wire(volts, amps)
    without_neutral = THREE_WIRE.measure(sums(lines, two))

    for meter, measured in ((FOUR_WIRE, found), (THREE_WIRE, without_neutral)):
        positive = phase_sequence_is_positive(meter.system, measured.voltage_phasors)
        assert positive is (sequence > 0)
        assert measured.active_power_w == pytest.approx(3 * 230 * 5 * 0.5, rel=1e-4)


def test_a_wiring_known_to_be_wrong_is_put_right() -> None:
    wired = Metrology(
        GridSystem.THREE_PHASE_FOUR_WIRE,
        HUNDRED_AMPS,
        230.0,
        wiring=(Connection(1, 1), Connection(0, -1), Connection(2, -1)),
    )
    true = [sine(8, -20), sine(4, -130), sine(6, 60)]
    terminals = [sine(4, -130 + 180), true[0], sine(6, 60 + 180)]

    found = wired.measure(sums(MAINS, terminals))

    truths = [power(u, i) for u, i in zip(MAINS, true, strict=True)]
    assert found.phase_powers_w == pytest.approx([t.real for t in truths], rel=1e-4)
    assert found.reactive_power_var == pytest.approx(sum(t.imag for t in truths), rel=1e-4)
