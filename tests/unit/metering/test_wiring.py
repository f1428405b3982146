"""All 48 ways to connect three transformers, found from an inverter's known steps."""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pytest

from bus.metering import GridSystem
from services.metering.systems import Connection, Wiring
from services.metering.wiring import KnownStep, Snapshot, judge_known_steps
from tests.unit.metering.signals import phasor

FOUR_WIRE = GridSystem.THREE_PHASE_FOUR_WIRE
THREE_WIRE = GridSystem.THREE_PHASE_THREE_WIRE
EVERY_WIRING: list[Wiring] = [
    tuple(Connection(channel, sign) for channel, sign in zip(order, signs, strict=True))
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def spelled(wiring: Wiring) -> str:
    return " ".join(f"L{n + 1}={'-' * (w.sign < 0)}i{w.channel + 1}" for n, w in enumerate(wiring))


@dataclass
class House:
    """A house whose currents are known, behind transformers connected in some way."""

    wiring: Wiring
    voltages: tuple[complex, ...] = (phasor(230, 0), phasor(229, -120), phasor(231, 120))
    loads: tuple[complex, ...] = (phasor(3, 25), phasor(1, -70), phasor(5, 160))
    """Currents relative to their own voltage: inductive, capacitive, feeding."""

    def snapshot(self, fed_w: Sequence[float], extra: Sequence[complex] = (0, 0, 0)) -> Snapshot:
        channels = [0j] * len(self.wiring)
        for phase, wire in enumerate(self.wiring):
            volts = self.voltages[phase]
            current = (self.loads[phase] + extra[phase]) * volts / abs(volts)
            current -= fed_w[phase] / volts.conjugate()
            channels[wire.channel] = wire.sign * current
        turn = phasor(1, 77)  # windows of different times have any angle
        return Snapshot(
            tuple(v * turn for v in self.voltages), tuple(current * turn for current in channels)
        )


def inverter_steps(
    house: House, power_w: float = 1000.0, phases: Sequence[int] = (1, 1, 1), steps: int = 6
) -> list[KnownStep]:
    """An inverter goes up and down, n times."""
    made = []
    for n in range(steps):
        change = power_w if n % 2 == 0 else -power_w
        before = 0.0 if n % 2 == 0 else power_w
        made.append(
            KnownStep(
                tuple(change * takes_part for takes_part in phases),
                house.snapshot([before * takes_part for takes_part in phases]),
                house.snapshot([(before + change) * takes_part for takes_part in phases]),
            )
        )
    return made


@pytest.mark.parametrize("wiring", EVERY_WIRING, ids=spelled)
@pytest.mark.parametrize("sequence", [1, -1], ids=["positive", "negative"])
def test_each_of_the_48_wirings_is_found(wiring: Wiring, sequence: int) -> None:
    voltages = tuple(phasor(230, -120 * sequence * n) for n in range(3))

    finding = judge_known_steps(FOUR_WIRE, inverter_steps(House(wiring, voltages)))

    assert finding.wiring == wiring


@pytest.mark.parametrize("sign", [1, -1])
def test_a_single_phase_house_knows_its_direction(sign: int) -> None:
    house = House((Connection(0, sign),), (phasor(230),))
    steps = inverter_steps(house, phases=[1])

    assert judge_known_steps(GridSystem.SINGLE_PHASE, steps).wiring == (Connection(0, sign),)


@pytest.mark.parametrize("order", [(0, 2), (2, 0)], ids=["in order", "swapped"])
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=2)))
def test_a_three_wire_house_knows_its_two_transformers(
    order: tuple[int, int], signs: tuple[int, int]
) -> None:
    wiring = tuple(Connection(order.index(p), signs[order.index(p)]) for p in (0, 2))

    finding = judge_known_steps(THREE_WIRE, three_wire_steps(order, signs))

    assert finding.wiring == wiring


def test_a_transformer_on_the_phase_between_must_move() -> None:
    finding = judge_known_steps(THREE_WIRE, three_wire_steps((0, 1), (1, 1)))

    assert finding.wiring is None
    assert "i3: sits on L2" in finding.text


def three_wire_steps(on_phases: Sequence[int], signs: Sequence[int]) -> list[KnownStep]:
    """Steps of a house without neutral; which phase each of two transformers really sits on."""
    wired = House((Connection(0), Connection(1), Connection(2)))
    made = []
    for step in inverter_steps(wired):
        sides = []
        for side in (step.before, step.after):
            one, two, three = side.voltages
            amps = tuple(s * side.currents[p] for p, s in zip(on_phases, signs, strict=True))
            sides.append(Snapshot((one - two, three - two), amps))
        made.append(KnownStep(step.power_w, *sides))
    return made


def test_an_inverter_on_one_phase_proves_only_that_phase() -> None:
    wiring = (Connection(1, -1), Connection(0), Connection(2))

    finding = judge_known_steps(FOUR_WIRE, inverter_steps(House(wiring), 2000.0, (1, 0, 0)))

    assert finding.connections == (Connection(1, -1), None, None)
    assert finding.wiring is None
    assert finding.text == (
        "i1 is measured on terminal i2 and is reversed; i2 unproven; i3 unproven"
    )


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_a_wrong_transformer_ratio_shows_in_the_power(factor: float) -> None:
    steps = inverter_steps(House(EVERY_WIRING[0]))
    scaled = [
        KnownStep(
            s.power_w,
            Snapshot(s.before.voltages, tuple(i * factor for i in s.before.currents)),
            Snapshot(s.after.voltages, tuple(i * factor for i in s.after.currents)),
        )
        for s in steps
    ]

    finding = judge_known_steps(FOUR_WIRE, scaled)

    assert finding.wiring is None
    assert finding.ratio_factor == pytest.approx(factor, rel=1e-3)
    assert "CT ratio" in finding.text


WIRED = EVERY_WIRING[0]
RIGHT = House(WIRED)


def disturbed(disturbances: dict[int, Sequence[complex]]) -> list[KnownStep]:
    """Steps of a right house, in some of which appliances switch."""
    steps = inverter_steps(RIGHT, 600.0, steps=7)
    for n, extra in disturbances.items():
        fed = [600.0 if n % 2 == 0 else 0.0] * 3
        steps[n] = KnownStep(steps[n].power_w, steps[n].before, RIGHT.snapshot(fed, extra))
    return steps


def test_appliances_that_switch_in_some_steps_are_outvoted() -> None:
    steps = disturbed({1: (10, 0, 0), 4: (-8, 0, phasor(9, 30))})

    assert judge_known_steps(FOUR_WIRE, steps).wiring == EVERY_WIRING[0]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        pytest.param(inverter_steps(RIGHT, steps=4), "5 are needed", id="too few steps"),
        pytest.param(inverter_steps(RIGHT, 400.0), "smaller than 500 W", id="small steps"),
        pytest.param(
            inverter_steps(RIGHT, phases=(1, 0, 0)) + inverter_steps(RIGHT, phases=(0, 1, 0)),
            "same phases",
            id="steps of different phases",
        ),
        pytest.param([], "0 steps", id="nothing"),
        pytest.param(
            [
                KnownStep(s.power_w, s.before, Snapshot((0j, *s.after.voltages[1:]), (0j,) * 3))
                for s in inverter_steps(RIGHT)
            ],
            "voltage is missing",
            id="no voltage on L1",
        ),
        pytest.param(
            inverter_steps(House(WIRED, (phasor(230), phasor(140, -120), phasor(230, 120)))),
            "differ too much",
            id="a weak voltage",
        ),
        pytest.param(
            inverter_steps(House(WIRED, (phasor(230), phasor(230, 0), phasor(230, 120)))),
            "120 degrees apart",
            id="one phase on two terminals",
        ),
        pytest.param(
            disturbed({n: (phasor(9, 40 * n), 0, 0) for n in range(7)}),
            "contradict",
            id="an appliance switches in every step",
        ),
    ],
)
def test_it_says_unsure_rather_than_guess(steps: list[KnownStep], reason: str) -> None:
    finding = judge_known_steps(FOUR_WIRE, steps)

    assert finding.wiring is None
    assert reason in finding.text


def random_installation(random: np.random.Generator) -> tuple[Wiring, list[KnownStep]]:
    """Any wiring, any loads, unequal voltages, appliances that switch in a third of the steps."""
    sequence = random.choice([1, -1])
    house = House(
        EVERY_WIRING[random.integers(48)],
        tuple(
            phasor(random.uniform(218, 242), -120 * sequence * n + random.uniform(-2, 2))
            for n in range(3)
        ),
    )
    power_w = random.uniform(500, 4000)
    loads = [phasor(random.uniform(0, 8), random.uniform(-80, 80)) for _ in range(3)]
    fed_w, steps = [0.0] * 3, []
    for n in range(9):
        before = noisy(house.snapshot(fed_w, loads), random)
        change = power_w if n % 2 == 0 else -power_w
        fed_w = [fed + change * random.uniform(0.93, 1.03) for fed in fed_w]
        if random.random() < 1 / 3:
            size = random.choice([-1, 1]) * random.uniform(0.2, 13)
            loads[random.integers(3)] += phasor(size, random.uniform(-30, 45))
        after = noisy(house.snapshot(fed_w, loads), random)
        steps.append(KnownStep((change,) * 3, before, after))
    return house.wiring, steps


def noisy(snapshot: Snapshot, random: np.random.Generator) -> Snapshot:
    turn = cmath.exp(2j * math.pi * random.random())
    wobble = random.normal(0, 0.1, (3, 2))
    return Snapshot(
        tuple(v * turn for v in snapshot.voltages),
        tuple((i + complex(*w)) * turn for i, w in zip(snapshot.currents, wobble, strict=True)),
    )


def test_random_installations_are_never_judged_wrongly() -> None:
    random = np.random.default_rng(48)
    unsure = 0
    for _ in range(400):
        wiring, steps = random_installation(random)
        found = judge_known_steps(FOUR_WIRE, steps).wiring
        assert found in {wiring, None}
        unsure += found is None

    assert unsure <= 20
