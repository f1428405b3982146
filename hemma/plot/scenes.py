"""The runs that are drawn: the bench's loop and plants, with the service's own core."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bus.policy import Reason
from hemma.bench.control_limits import feed_in_limit, hybrids
from hemma.bench.laws import Core
from hemma.bench.loop import Meter, run_loop
from hemma.bench.plants import Inverter, Profile
from sim.appliances import HouseLoad
from sim.generate import Clouds, Field
from sim.sun import Place, Surface

DAY_FASTER = 4.0
"""The day passes so many times as fast, the batteries fill as much faster; inverters stay as they
are, so that the house looks harder to follow than it is."""
DAY_START_S = datetime(2026, 6, 11, 22, tzinfo=UTC).timestamp()
"""Midnight of a June day, by a clock two hours ahead."""
HOME = Place(50.1, 8.7)


@dataclass
class Run:
    """What was recorded; all lists of one length, powers in W, positive towards the house."""

    title: str
    limit_w: float
    unit: str
    """Of `at`: s or h."""
    at: list[float] = field(default_factory=list)
    grid_w: list[float] = field(default_factory=list)
    load_w: list[float] = field(default_factory=list)
    could_w: list[float] = field(default_factory=list)
    """PV that was there."""
    pv_w: list[float] = field(default_factory=list)
    """PV that was used."""
    battery_w: list[float] = field(default_factory=list)
    asked_battery_w: list[float] = field(default_factory=list)
    asked_limit_w: list[float] = field(default_factory=list)
    """AC limits of all inverters together; their rating where there is none."""
    soc_pct: list[float] = field(default_factory=list)
    reasons: list[Reason | None] = field(default_factory=list)
    """Which rule decided."""


def control(seed: int) -> Run:
    """Two minutes: load steps, a cloud, a meter that is dead for six seconds; no export."""
    rng = random.Random(f"{seed}/plot-control")
    load = _through([(0, 700), (15, 2900), (35, 700), (55, 6200), (70, 700)])
    sun = _through([(0, 1), (80, 1), (84, 0.25), (92, 0.25), (96, 1)], between=True)
    pv: list[Profile] = [lambda now_s: 3500 * sun(now_s), lambda now_s: 2500 * sun(now_s)]
    run = Run("Load steps, a cloud, a dead meter; no export allowed", 0.0, "s")
    inverters = hybrids(rng, 2, pv_first=True)
    _record(run, inverters, load, pv, 130.0, rng, 0.1, lambda now_s: now_s, gap=(104.0, 110.0))
    return run


def day(seed: int) -> Run:
    """A generated day of four people, no export, batteries of 7 kWh in all."""
    rng = random.Random(f"{seed}/plot-day")
    house, clouds = HouseLoad(seed, 4, 250.0, 2.0), Clouds(seed, None)
    fields = [Field(HOME, Surface(35, 180), 5000.0), Field(HOME, Surface(35, 270), 4000.0)]

    def epoch_s(now_s: float) -> float:
        return DAY_START_S + now_s * DAY_FASTER

    def pv_of(one: Field) -> Profile:
        return lambda now_s: one.at(epoch_s(now_s)) * clouds.at(epoch_s(now_s))

    inverters = hybrids(rng, 2, pv_first=True)
    for inverter in inverters:
        inverter.soc_pct, inverter.capacity_wh = 20.0, 3500.0 / DAY_FASTER
    run = Run("A generated day; no export allowed", 0.0, "h")
    _record(
        run,
        inverters,
        lambda now_s: sum(house.at(epoch_s(now_s))),
        [pv_of(one) for one in fields],
        86_400 / DAY_FASTER,
        rng,
        5.0,
        lambda now_s: now_s * DAY_FASTER / 3600.0,
    )
    return run


def _record(
    run: Run,
    inverters: list[Inverter],
    load: Profile,
    pv: list[Profile],
    seconds: float,
    rng: random.Random,
    every_s: float,
    shown: Callable[[float], float],
    gap: tuple[float, float] | None = None,
) -> None:
    """Run the loop and note what is so every now and then; `shown` turns s into what is drawn."""
    law = Core.of(inverters, feed_in_limit(0.0), learning=True)

    def note(now_s: float) -> None:
        output_w = sum(inverter.ac_power_w for inverter in inverters)
        battery_w = sum(inverter.battery_power_w for inverter in inverters)
        setpoints = law.decision.setpoints if law.decision else ()
        run.at.append(shown(now_s))
        run.load_w.append(load(now_s))
        run.grid_w.append(run.load_w[-1] - output_w)
        run.could_w.append(sum(profile(now_s) for profile in pv))
        run.pv_w.append(output_w - battery_w)
        run.battery_w.append(battery_w)
        run.asked_battery_w.append(sum(one.battery_power_w or 0.0 for one in setpoints))
        run.asked_limit_w.append(
            sum(
                inverter.rated_power_w if one.ac_limit_w is None else one.ac_limit_w
                for inverter, one in zip(inverters, setpoints, strict=False)
            )
        )
        run.soc_pct.append(sum(inverter.soc_pct for inverter in inverters) / len(inverters))
        run.reasons.append(law.decision.reason if law.decision else None)

    events = [
        (moment * every_s, lambda at_s=moment * every_s: note(at_s))
        for moment in range(1, round(seconds / every_s))
    ]
    meter = Meter(gaps=(gap,) if gap else ())
    run_loop(law, inverters, load, pv, seconds, rng, meter, events=events)


def _through(points: list[tuple[float, float]], *, between: bool = False) -> Profile:
    """A profile by its points: held from each to the next, or on lines between them."""

    def at(now_s: float) -> float:
        last_s, last = points[0]
        for next_s, following in points[1:]:
            if now_s < next_s:
                part = (now_s - last_s) / (next_s - last_s) if between else 0.0
                return last + part * (following - last)
            last_s, last = next_s, following
        return last

    return at
