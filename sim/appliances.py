"""What switches on in a house in the course of a day: a plan of steps and pulses, from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sim.track import Track

DAY_S = 86400
PHASES = 3
SATURDAY = 5
OVEN_CHANCE = (0.35, 0.55)
"""On a working day, on a weekend."""
WEEKEND_LUNCH_CHANCE = 0.7
WINTER_MONTHS = (10, 11, 12, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Run:
    """One appliance, switched on once: from start_s (of the local day) on one phase.

    With on_s and off_s it pulses: on for on_s, off for off_s, as thermostats and hobs do.
    """

    name: str
    start_s: float
    lasts_s: float
    power_w: float
    phase: int
    on_s: float = 0.0
    off_s: float = 0.0

    def steps(self) -> Iterator[tuple[float, float]]:
        """(second of the day, change in W)."""
        at_s, end_s = self.start_s, self.start_s + self.lasts_s
        while at_s < end_s:
            until_s = min(at_s + self.on_s, end_s) if self.on_s else end_s
            yield at_s, self.power_w
            yield until_s, -self.power_w
            at_s = until_s + self.off_s


def day_runs(seed: int, day: date, people: int) -> list[Run]:
    """All appliance runs that start on one day.

    Weekends start later and cook more; winter brings longer light and a heat pump.
    """
    rng = random.Random(f"appliances {seed} {day.isoformat()}")
    weekend = day.weekday() >= SATURDAY
    winter = day.month in WINTER_MONTHS
    wake_h = rng.gauss(8.2 if weekend else 6.6, 0.3)
    runs = list(_fridge(rng))
    for _ in range(people + rng.randint(0, people)):
        at_h = rng.choice((wake_h + 0.3, wake_h + 0.8, 10.0, 13.0, 16.0, 20.0)) + rng.gauss(0, 0.4)
        runs.append(Run("kettle", at_h * 3600, rng.uniform(70, 220), rng.uniform(1900, 2200), 1))
    runs += _light_and_screens(rng, wake_h, winter=winter, people=people)
    dinner_h = rng.gauss(18.3, 0.5)
    runs += _cooking(rng, dinner_h, oven=rng.random() < OVEN_CHANCE[weekend])
    if weekend and rng.random() < WEEKEND_LUNCH_CHANCE:
        runs += _cooking(rng, rng.gauss(12.3, 0.4), oven=rng.random() < OVEN_CHANCE[weekend])
    if rng.random() < 0.15 * people + (0.2 if weekend else 0.0):
        runs += _washing(rng, rng.uniform(8.5, 17))
    if rng.random() < 0.2 * people:
        runs += _dishwasher(rng, dinner_h + rng.uniform(1, 2))
    if winter:
        runs += _heat_pump(rng)
    return runs


def _fridge(rng: random.Random) -> Iterator[Run]:
    for power_w, phase in ((90.0, 0), (75.0, 2)):
        on_s, off_s = rng.uniform(600, 1000), rng.uniform(1500, 2600)
        start_s = rng.uniform(0, off_s)
        yield Run("fridge", start_s, DAY_S - start_s, power_w, phase, on_s, off_s)


def _light_and_screens(
    rng: random.Random, wake_h: float, *, winter: bool, people: int
) -> Iterator[Run]:
    dusk_h = 15.8 if winter else 20.5
    if winter:
        yield Run("light", wake_h * 3600, 7200, 90.0 + 30 * people, 0)
    sleep_h = rng.gauss(22.8, 0.4)
    if sleep_h > dusk_h:
        yield Run("light", dusk_h * 3600, (sleep_h - dusk_h) * 3600, 60.0 + 40 * people, 0)
    start_h = rng.gauss(19.2, 0.5)
    yield Run("screens", start_h * 3600, max(600.0, (sleep_h - start_h) * 3600), 160.0, 2)


def _cooking(rng: random.Random, at_h: float, *, oven: bool) -> Iterator[Run]:
    start_s = at_h * 3600
    yield Run("hob boiling", start_s, rng.uniform(240, 480), rng.uniform(1700, 2000), 0)
    period_s, duty = rng.uniform(5, 16), rng.uniform(0.3, 0.7)
    yield Run(
        "hob simmering",
        start_s + 500,
        rng.uniform(600, 1800),
        rng.uniform(1500, 1900),
        0,
        duty * period_s,
        (1 - duty) * period_s,
    )
    if oven:
        heats_s = rng.uniform(420, 700)
        yield Run("oven heating", start_s + 120, heats_s, 2500.0, 2)
        holds_s = rng.uniform(1200, 3000)
        yield Run("oven", start_s + 120 + heats_s + 30, holds_s, 2500.0, 2, 35.0, 65.0)


def _washing(rng: random.Random, at_h: float) -> Iterator[Run]:
    start_s = at_h * 3600
    heats_s = rng.uniform(600, 1100)
    yield Run("washing machine heating", start_s + 180, heats_s, 2050.0, 1)
    yield Run("washing machine drum", start_s, 3600.0, 280.0, 1, 12.0, 5.0)
    yield Run("washing machine spin", start_s + 3700, 420.0, 520.0, 1)


def _dishwasher(rng: random.Random, at_h: float) -> Iterator[Run]:
    start_s = at_h * 3600
    yield Run("dishwasher pump", start_s, 5400.0, 60.0, 2)
    yield Run("dishwasher heating", start_s + 300, rng.uniform(700, 1000), 1900.0, 2)
    yield Run("dishwasher rinsing", start_s + 3600, rng.uniform(500, 800), 1900.0, 2)


def _heat_pump(rng: random.Random) -> Iterator[Run]:
    on_s, off_s = rng.uniform(900, 1800), rng.uniform(1500, 3600)
    start_s = rng.uniform(0, off_s)
    for phase in range(PHASES):
        yield Run("heat pump", start_s, DAY_S - start_s, 750.0, phase, on_s, off_s)


class HouseLoad:
    """Load of a generated house per phase; plans each day when it comes.

    Args:
        seed: Of all days.
        people: Who lives there, 1 to 8.
        base_w: What is always on, spread over the phases.
        utc_offset_h: Local clock of the house.
    """

    def __init__(self, seed: int, people: int, base_w: float, utc_offset_h: float) -> None:
        self._seed = seed
        self._people = people
        self._base_w = base_w
        self._offset_s = utc_offset_h * 3600
        self._until_s = float("-inf")
        self._from_s = float("inf")
        self._tracks: list[Track] = []

    def at(self, epoch_s: float) -> list[float]:
        """W of L1, L2, L3."""
        if not self._from_s <= epoch_s < self._until_s:
            self._plan(epoch_s)
        return [track.at(epoch_s) for track in self._tracks]

    def _plan(self, epoch_s: float) -> None:
        local_s = epoch_s + self._offset_s
        self._from_s = local_s // DAY_S * DAY_S - self._offset_s
        self._until_s = self._from_s + DAY_S
        today = datetime.fromtimestamp(local_s, UTC).date()
        steps: list[list[tuple[float, float]]] = [[] for _ in range(PHASES)]
        for day, began_s in (
            (today - timedelta(days=1), self._from_s - DAY_S),  # what runs past midnight
            (today, self._from_s),
        ):
            for run in day_runs(self._seed, day, self._people):
                steps[run.phase] += [(began_s + at_s, change_w) for at_s, change_w in run.steps()]
        self._tracks = [self._track(of_phase) for of_phase in steps]

    def _track(self, steps: list[tuple[float, float]]) -> Track:
        load_w = self._base_w / PHASES
        points = [(self._from_s - 2 * DAY_S, load_w)]
        for at_s, change_w in sorted(steps):
            load_w += change_w
            points.append((at_s, load_w))
        return Track(points, held=True)
