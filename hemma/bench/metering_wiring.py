"""Random installations with their transformers connected in every way, and known inverter steps."""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from bus.metering import GridSystem
from services.metering.systems import Connection, Wiring
from services.metering.wiring import KnownStep, Snapshot, judge_known_steps

WIRINGS: tuple[Wiring, ...] = tuple(
    tuple(Connection(channel, sign) for channel, sign in zip(order, signs, strict=True))
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
)
"""All 48: which terminal each phase's transformer is connected to, and which way round."""

BACKWARDS_SHARE = 0.25
"""Houses whose phases follow each other backwards."""
SWITCHING_SHARE = 0.2
"""Steps in which an appliance or two of up to 3 kW switch as well."""
STEPS = (5, 9)
"""The fewest that the check takes, and a patient installer's."""


@dataclass(frozen=True)
class Outcome:
    """What the wiring check said of many installations."""

    wrong: int
    unsure: int
    installations: int

    @property
    def unsure_pct(self) -> float:
        """Share in which it would not say."""
        return 100 * self.unsure / self.installations


class _House:
    """A house at its meter: voltages, what flows in the phases, and how that is connected."""

    def __init__(self, rng: np.random.Generator, wiring: Wiring) -> None:
        self._rng = rng
        self._wiring = wiring
        turn = -1 if rng.random() < BACKWARDS_SHARE else 1
        self._volts = [
            _polar(230 * rng.uniform(0.95, 1.05), -120 * turn * phase + rng.uniform(-2, 2))
            for phase in range(3)
        ]
        self._amps = [
            _polar(rng.uniform(0, 8), rng.uniform(-60, 60)) * self._unit(phase)
            for phase in range(3)
        ]
        self._errors = [_polar(1 + rng.normal() * 0.003, rng.normal() * 0.3) for _ in range(3)]

    def step(self, power_w: tuple[float, ...]) -> KnownStep:
        """An inverter changes its power; the house lives on meanwhile."""
        before = self._snapshot()
        rng = self._rng
        for phase, commanded_w in enumerate(power_w):
            fed_w = commanded_w * rng.uniform(0.93, 1.03)
            self._draw(phase, -fed_w, rng.normal() * 3)
            self._amps[phase] += rng.normal() * 0.15 * self._unit(phase)
        if rng.random() < SWITCHING_SHARE:
            for _ in range(rng.integers(1, 3)):
                switched_w = rng.choice((1, -1)) * rng.uniform(50, 3000)
                self._draw(int(rng.integers(3)), switched_w, rng.uniform(-45, 30))
        return KnownStep(power_w, before, self._snapshot())

    def _unit(self, phase: int) -> complex:
        return self._volts[phase] / abs(self._volts[phase])

    def _draw(self, phase: int, power_w: float, angle_deg: float) -> None:
        amps = power_w / abs(self._volts[phase])
        self._amps[phase] += _polar(amps, angle_deg) * self._unit(phase)

    def _snapshot(self) -> Snapshot:
        """Phasors by terminal, at any angle of the mains."""
        rng = self._rng
        turn = _polar(1.0, rng.uniform(0, 360))
        terminals = [0j] * 3
        for phase, wire in enumerate(self._wiring):
            noise = complex(rng.normal(), rng.normal()) * 0.05
            terminals[wire.channel] = wire.sign * (self._amps[phase] * self._errors[phase] + noise)
        return Snapshot(
            tuple(volts * turn for volts in self._volts), tuple(amps * turn for amps in terminals)
        )


def check_three_phase(rng: np.random.Generator, installations: int) -> Outcome:
    """Inverters that feed all three phases: the whole wiring must come out, or nothing."""
    wrong = unsure = 0
    for number in range(installations):
        wiring = WIRINGS[number % len(WIRINGS)]
        finding = judge_known_steps(
            GridSystem.THREE_PHASE_FOUR_WIRE, _steps(rng, wiring, driven=(1, 1, 1))
        )
        unsure += finding.wiring is None
        wrong += finding.wiring not in {None, wiring}
    return Outcome(wrong, unsure, installations)


def check_single_phase(rng: np.random.Generator, installations: int) -> Outcome:
    """Inverters that feed one phase: they prove its transformer, and must claim no other."""
    wrong = unsure = 0
    for number in range(installations):
        wiring = WIRINGS[number % len(WIRINGS)]
        phase = number // len(WIRINGS) % 3
        driven = tuple(int(other == phase) for other in range(3))
        found = judge_known_steps(
            GridSystem.THREE_PHASE_FOUR_WIRE, _steps(rng, wiring, driven)
        ).connections
        unsure += found[phase] is None
        wrong += any(one not in {None, wiring[n]} for n, one in enumerate(found))
    return Outcome(wrong, unsure, installations)


def _steps(rng: np.random.Generator, wiring: Wiring, driven: Sequence[int]) -> list[KnownStep]:
    """As commissioning makes them: up and down by the same power in turn."""
    house = _House(rng, wiring)
    power_w = rng.uniform(500, 4000)
    count = int(rng.choice(STEPS))
    return [
        house.step(tuple(part * power_w * (-1) ** number for part in driven))
        for number in range(count)
    ]


def _polar(size: float, angle_deg: float) -> complex:
    return cmath.rect(size, math.radians(angle_deg))
