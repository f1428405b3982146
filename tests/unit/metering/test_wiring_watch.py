"""What ordinary days show of the wiring, and what they must not be taken to show."""

from itertools import permutations, product

import numpy as np
import pytest

from bus.metering import GridSystem
from services.metering.systems import Connection, Wiring
from services.metering.wiring import Snapshot
from services.metering.wiring_watch import LEAST_EVENTS, NaturalSteps
from tests.unit.metering.signals import phasor

FOUR_WIRE = GridSystem.THREE_PHASE_FOUR_WIRE
VOLTAGES = tuple(phasor(230, -120 * n) for n in range(3))
EVERY_WIRING: list[Wiring] = [
    tuple(Connection(channel, sign) for channel, sign in zip(order, signs, strict=True))
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
Powers = tuple[float, ...]
NOTHING_W: Powers = (0.0, 0.0, 0.0)


class Day:
    """Five windows a second of a house; some appliance switches now and then."""

    def __init__(self, wiring: Wiring, seed: int = 0) -> None:
        self.steps = NaturalSteps(FOUR_WIRE)
        self.wiring = wiring
        self.random = np.random.default_rng(seed)
        self.loads = [phasor(1, -60), phasor(0.5, 20), phasor(2, -50)]

    def windows(self, count: int, production_w: Powers | None, fed_w: Powers | None = None) -> int:
        """Let time pass; how many events were seen."""
        seen = 0
        for _ in range(count):
            channels = [0j] * 3
            fed = fed_w or production_w or NOTHING_W
            for phase, wire in enumerate(self.wiring):
                current = self.loads[phase] - fed[phase] / 230 + self.random.normal(0, 0.02)
                channels[wire.channel] = wire.sign * current * VOLTAGES[phase] / 230
            turn = phasor(1, self.random.uniform(0, 360))
            snapshot = Snapshot(
                tuple(v * turn for v in VOLTAGES), tuple(i * turn for i in channels)
            )
            seen += self.steps.watch(snapshot, production_w)
        return seen

    def heaters(self, production_w: Powers | None = NOTHING_W, angle: float = 0) -> int:
        """A heater on each phase in turn goes on and off, several times."""
        seen = self.windows(6, production_w)
        for _ in range(LEAST_EVENTS):
            for phase in range(3):
                size = phasor(self.random.uniform(3, 12), angle)
                for change in (size, -size):
                    self.loads[phase] += change
                    seen += self.windows(8, production_w)
        return seen


@pytest.mark.parametrize(
    "wiring", EVERY_WIRING, ids=lambda w: " ".join(f"{c.sign * (c.channel + 1):+d}" for c in w)
)
def test_heaters_by_night_show_each_of_the_48_wirings(wiring: Wiring) -> None:
    day = Day(wiring)

    day.heaters()

    assert day.steps.finding().wiring == wiring


def test_heaters_by_day_show_it_too_when_the_inverters_say_what_they_feed() -> None:
    day = Day(EVERY_WIRING[5])

    day.heaters((600.0, 600.0, 600.0))

    assert day.steps.finding().wiring == EVERY_WIRING[5]


def test_without_word_from_the_inverters_no_direction_is_proven() -> None:
    day = Day(EVERY_WIRING[0])

    seen = day.heaters(None)

    assert seen >= 6 * LEAST_EVENTS
    assert day.steps.finding().connections == (None, None, None)


def test_nothing_is_proven_before_several_events_agree() -> None:
    day = Day(EVERY_WIRING[0])
    day.windows(6, NOTHING_W)
    for change in (9, -9):
        day.loads[0] += change
        day.windows(8, NOTHING_W)

    assert day.steps.finding().connections == (None, None, None)


def test_motors_and_loads_between_phases_prove_nothing() -> None:
    day = Day(EVERY_WIRING[0])

    day.heaters(angle=-32)  # power factor 0.85

    assert day.steps.finding().connections == (None, None, None)


def test_an_inverter_that_steps_on_all_phases_is_no_evidence() -> None:
    day = Day(EVERY_WIRING[0])
    seen = day.windows(8, NOTHING_W)
    for n in range(20):
        fed = (2000.0,) * 3 if n % 2 else NOTHING_W
        seen += day.windows(8, fed)

    assert seen == 0


def test_a_two_phase_hob_half_covered_by_the_battery_does_not_look_like_reversed_transformers() -> (
    None
):
    day = Day(EVERY_WIRING[0])
    day.windows(8, NOTHING_W)
    for n in range(30):
        change = 2000 / 230 if n % 2 == 0 else -2000 / 230
        day.loads[0] += change
        day.loads[1] += change
        day.windows(5, NOTHING_W)
        fed = (1000.0,) * 3 if n % 2 == 0 else NOTHING_W
        day.windows(10, fed)

    assert day.steps.finding().connections == (None, None, None)


def test_a_lost_voltage_or_a_gap_starts_the_watch_anew() -> None:
    day = Day(EVERY_WIRING[0])
    day.windows(5, NOTHING_W)
    day.steps.forget()
    day.loads[0] += 10

    assert day.windows(5, NOTHING_W) == 0
    assert not day.steps.watch(Snapshot((0j, *VOLTAGES[1:]), (0j, 0j, 0j)), NOTHING_W)
    assert day.windows(8, NOTHING_W) == 0


def test_a_wrong_or_late_word_now_and_then_does_not_turn_a_phase_round() -> None:
    day = Day(EVERY_WIRING[0])
    for _ in range(4):
        day.heaters()
        assert day.steps.finding().wiring == EVERY_WIRING[0]
        day.loads[0] += 8
        day.windows(8, NOTHING_W, fed_w=(3000.0, 0.0, 0.0))  # it feeds and says that it does not
        day.loads[0] -= 8
        day.windows(8, NOTHING_W)
        assert day.steps.finding().connections[0] in {EVERY_WIRING[0][0], None}
