"""The rows of the control bench that hold limits: feed-in, fail-safe, changes of settings."""

import random
from dataclasses import replace

from bus.policy import Level, Reason
from hemma.bench.control_rows import draw_actuator, hunts, model_of, telemetry
from hemma.bench.laws import Core, Law, Pid, PlainCap
from hemma.bench.loop import Meter, Trace, run_loop
from hemma.bench.plants import (
    STEP_S,
    Actuator,
    Inverter,
    busy_hour,
    cloudy_hour,
    constant,
    stepping,
)
from services.policy.model import ExportLimit, Settings, Task

OVER_W = 100.0
"""An export this far above its limit counts for the longest time above it."""

DROP_OVER_W = 50.0
"""The same after a load drop."""

QUICK_S = 1.2
"""Dead time + lag of a quick plant."""


def feed_in_limit(limit_w: float, *, each_phase: bool = False) -> Settings:
    """Settings with one limit on export."""
    limit = ExportLimit(Level.GRID_OPERATOR, Reason.FEED_IN_LIMIT, limit_w, each_phase)
    return Settings(limits=(limit,))


def feed_in_hours(rng: random.Random, houses: int) -> dict[str, float]:
    """Busy hours under a feed-in limit of 0 and of 3 kW, by curtailment alone.

    Documented class of inverters: dead time 0.15-0.35 s, lag 0.6-0.9 s; model off by up to 20 %.
    """
    figures: dict[str, float] = {}
    over_wh = {"core": 0.0, "plain": 0.0, "pid": 0.0}
    longest_s = writes = 0.0
    runs = 0
    for name, limit_w in (("zero", 0.0), ("3kw", 3000.0)):
        used_wh = allowed_wh = 0.0
        for _ in range(houses):
            seed = rng.random()
            for law_name in over_wh:
                trace = _feed_in_hour(random.Random(seed), limit_w, law_name)
                over_wh[law_name] += _over(trace, limit_w)[0]
                if law_name != "core":
                    continue
                longest_s = max(longest_s, _over(trace, limit_w)[1])
                writes += trace.writes
                runs += 1
                used_wh += sum(trace.output_w)
                allowed_wh += sum(
                    min(could_w, max(load_w + limit_w, 0.0))
                    for could_w, load_w in zip(trace.available_w, trace.load_w, strict=True)
                )
        figures[f"feed_in_pv_lost_{name}_pct"] = 100.0 * (1.0 - used_wh / allowed_wh)
    return figures | {
        "feed_in_energy_ratio": over_wh["core"] / over_wh["plain"],
        "feed_in_energy_ratio_pid": over_wh["core"] / over_wh["pid"],
        "feed_in_energy_wh": over_wh["core"] / runs,
        "feed_in_longest_s": longest_s,
        "feed_in_writes_per_min": writes / runs / 60.0,
    }


def _feed_in_hour(rng: random.Random, limit_w: float, law_name: str) -> Trace:
    rated_w = 9000.0
    limiter = Actuator(
        rng.uniform(0.15, 0.35),
        rng.uniform(0.6, 0.9),
        rated_w * rng.uniform(1.0, 4.0),
        0.0,
        rated_w,
        rated_w,
    )
    inverter = Inverter(rated_w, limiter, telemetry=telemetry(rng, 1.0))
    known = model_of(rng, limiter)
    load, pv = busy_hour(rng), cloudy_hour(rng, rng.uniform(7000.0, 8500.0))
    laws: dict[str, Law] = {
        "core": Core.of([inverter], feed_in_limit(limit_w), (known,)),
        "plain": PlainCap(inverter, limit_w),
        "pid": Pid(inverter, -limit_w),
    }
    return run_loop(laws[law_name], [inverter], load, [pv], 3600.0, rng)


def hybrid_hours(rng: random.Random, houses: int) -> dict[str, float]:
    """The same hours without export, by two hybrids that nothing is known of at the start.

    Their batteries take PV alone and have room for all of it, so whatever is lost was held back for
    nothing, and what is imported beyond the same hour without a limit is the price of the limit.
    """
    lost_wh = could_wh = import_wh = free_import_wh = over_wh = longest_s = 0.0
    for _ in range(houses):
        seed = rng.random()
        trace, charged_wh = _hybrid_hour(random.Random(seed), feed_in_limit(0.0))
        free, _ = _hybrid_hour(random.Random(seed), Settings())
        hour_wh = sum(trace.available_w) * STEP_S / 3600.0
        could_wh += hour_wh
        lost_wh += hour_wh - sum(trace.output_w) * STEP_S / 3600.0 - charged_wh
        over_wh += _over(trace, 0.0)[0]
        longest_s = max(longest_s, _over(trace, 0.0)[1])
        import_wh += _import_wh(trace)
        free_import_wh += _import_wh(free)
    return {
        "hybrid_pv_lost_pct": 100.0 * lost_wh / could_wh,
        "hybrid_import_ratio": import_wh / free_import_wh,
        "hybrid_energy_wh": over_wh / houses,
        "hybrid_longest_s": longest_s,
    }


def _hybrid_hour(rng: random.Random, settings: Settings) -> tuple[Trace, float]:
    """The hour and what the batteries took in it, Wh."""
    inverters = hybrids(rng, 2, pv_first=True)
    for inverter in inverters:
        inverter.soc_pct = 30.0
    load = busy_hour(rng)
    pv = [cloudy_hour(rng, rng.uniform(3500.0, 4500.0)) for _ in inverters]
    law = Core.of(inverters, settings, learning=True)
    trace = run_loop(law, inverters, load, pv, 3600.0, rng)
    return trace, sum((one.soc_pct - 30.0) / 100.0 * one.capacity_wh for one in inverters)


def _import_wh(trace: Trace) -> float:
    return sum(max(power_w, 0.0) for power_w in trace.grid_w) * STEP_S / 3600.0


def _over(trace: Trace, limit_w: float, from_s: float = 30.0) -> tuple[float, float]:
    """Energy over a limit in Wh, and the longest time more than 100 W over it in s."""
    energy_ws = 0.0
    longest = steps = 0
    for power_w in trace.grid_w[round(from_s / STEP_S) :]:
        excess_w = -power_w - limit_w
        if excess_w > 0.0:
            energy_ws += excess_w * STEP_S
        steps = steps + 1 if excess_w > OVER_W else 0
        longest = max(longest, steps)
    return energy_ws / 3600.0, longest * STEP_S


def load_drops(rng: random.Random, plants: int) -> tuple[dict[str, float], int]:
    """7.2 kW of load vanish while PV is held at the limit: how long the export is too high.

    Any plant, identified within 20 % or not at all, telemetry up to 3 s old.
    """
    quick_s = worst_s = 0.0
    hunting = 0
    for number in range(plants):
        limit_w = rng.choice((0.0, 3000.0))
        rated_w = 10_000.0 + limit_w
        limiter = draw_actuator(rng, rated_w)
        if number % 3 == 0:
            limiter.dead_s = rng.uniform(0.1, 0.5)
            limiter.lag_s = rng.uniform(0.3, 1.2 - limiter.dead_s)
        limiter = Actuator(
            limiter.dead_s, limiter.lag_s, limiter.ramp_w_per_s, 0.0, rated_w, rated_w
        )
        inverter = Inverter(rated_w, limiter, telemetry=telemetry(rng, 3.0))
        known = (model_of(rng, limiter),) if rng.choice((True, False)) else ()
        law = Core.of([inverter], feed_in_limit(limit_w), known)
        base_w = rng.uniform(800.0, 1500.0)
        pv_w = base_w + 7200.0 + limit_w + rng.uniform(200.0, 1000.0)
        load = stepping(base_w + 7200.0, [(60.0, -7200.0)])
        trace = run_loop(law, [inverter], load, [constant(pv_w)], 150.0, rng)
        after_w = trace.cut(trace.grid_w, 60.0, 150.0)
        over_s = STEP_S * max(
            (
                index + 1
                for index, power_w in enumerate(after_w)
                if -power_w - limit_w > DROP_OVER_W
            ),
            default=0,
        )
        hunting += hunts(trace.cut(trace.output_w, 135.0, 150.0))
        worst_s = max(worst_s, over_s)
        if limiter.dead_s + limiter.lag_s <= QUICK_S:
            quick_s = max(quick_s, over_s)
    return {"load_drop_quick_max_s": quick_s, "load_drop_max_s": worst_s}, hunting


def hybrids(rng: random.Random, count: int, *, pv_first: bool = False) -> list[Inverter]:
    """Inverters of the documented class with PV and batteries, each 1 % fuller than the last."""
    made = []
    for number in range(count):
        dead_s, lag_s = rng.uniform(0.15, 0.4), rng.uniform(0.6, 1.0)
        made.append(
            Inverter(
                5000.0,
                Actuator(dead_s, lag_s, 10_000.0, 0.0, 5000.0, 5000.0),
                Actuator(dead_s, lag_s, 10_000.0, -5000.0, 5000.0),
                telemetry(rng, 1.0),
                soc_pct=50.0 + number,
                pv_first=pv_first,
            )
        )
    return made


def failsafe(rng: random.Random) -> dict[str, float]:
    """The meter dies for 10 s, then one of three inverters, under a limit of 2 kW.

    Measured: the time until the setpoints in force are safe whatever the house draws, and the
    largest change of the grid power within one reading (0.2 s) in the 30 s after the return.
    """
    inverters = hybrids(rng, 3)
    law = Core.of(inverters, feed_in_limit(2000.0))

    def fall_silent() -> None:
        inverters[1].mute = True

    def speak_again() -> None:
        inverters[1].mute = False

    events = [(70.0, fall_silent), (85.0, speak_again)]
    pv = [constant(3000.0)] * 3
    trace = run_loop(
        law,
        inverters,
        stepping(1500.0, []),
        pv,
        130.0,
        rng,
        Meter(gaps=((30.0, 40.0),)),
        flicker_w=0.0,
        events=events,
    )
    safe_s = _safe_after(trace, 30.0, 40.0, 2000.0)
    back_w = max(
        _largest_step(trace, 41.0, 65.0, 0.2),
        _largest_step(trace, 86.0, 120.0, 0.2),
    )
    over_s = _over(Trace(grid_w=list(trace.cut(trace.grid_w, 70.0, 130.0))), 2000.0, 0.0)[1]
    return {"failsafe_max_s": max(safe_s, over_s), "return_step_w": back_w}


def _safe_after(trace: Trace, from_s: float, to_s: float, limit_w: float) -> float:
    """Time until the output of all inverters is at most a limit, and stays there."""
    outputs_w = trace.cut(trace.output_w, from_s, to_s)
    return STEP_S * max(
        (index + 1 for index, power_w in enumerate(outputs_w) if power_w > limit_w + DROP_OVER_W),
        default=0,
    )


def _largest_step(trace: Trace, from_s: float, to_s: float, window_s: float) -> float:
    powers_w = trace.cut(trace.steady_w, from_s, to_s)
    apart = round(window_s / STEP_S)
    return max(
        abs(later - earlier) for earlier, later in zip(powers_w, powers_w[apart:], strict=False)
    )


def mode_changes(rng: random.Random) -> float:
    """Largest change of the grid power within one second that a change of settings causes.

    Self-consumption to idle and back, another target, a limit that does not bind set and taken
    away, a binding one taken away, total to each phase, the SOC reaching 5 % and 98 %. Limits
    that tighten act at once, and are not among them.
    """
    idle = Settings(task=Task.IDLE)
    cases: list[tuple[float, float, float, Settings, Settings]] = [
        # load, PV, SOC, before, after
        (2500.0, 0.0, 50.0, Settings(), idle),
        (2500.0, 0.0, 50.0, idle, Settings()),
        (1000.0, 4000.0, 50.0, Settings(), idle),
        (2500.0, 0.0, 50.0, Settings(), Settings(target_w=800.0)),
        (1500.0, 3500.0, 50.0, idle, replace(feed_in_limit(3000.0), task=Task.IDLE)),
        (600.0, 4000.0, 50.0, replace(feed_in_limit(0.0), task=Task.IDLE), idle),
        (600.0, 4000.0, 50.0, feed_in_limit(0.0), feed_in_limit(3000.0)),
        (1500.0, 3500.0, 50.0, feed_in_limit(3000.0), feed_in_limit(1000.0, each_phase=True)),
        (3000.0, 0.0, 5.3, Settings(), Settings()),
        (500.0, 4000.0, 97.8, Settings(full_soc_pct=98.0), Settings(full_soc_pct=98.0)),
        (500.0, 4000.0, 97.8, replace(feed_in_limit(0.0), full_soc_pct=98.0), _full_at_98()),
    ]
    worst_w = 0.0
    for load_w, pv_w, soc_pct, before, after in cases:
        inverters = hybrids(rng, 2)
        for inverter in inverters:
            inverter.soc_pct = soc_pct
            inverter.capacity_wh = 5000.0
        law = Core.of(inverters, before)

        def change(law: Core = law, after: Settings = after) -> None:
            law.settings = after

        trace = run_loop(
            law,
            inverters,
            stepping(load_w, []),
            [constant(pv_w / 2)] * 2,
            150.0,
            rng,
            flicker_w=0.0,
            events=[(60.0, change)],
        )
        worst_w = max(worst_w, _largest_step(trace, 58.0, 150.0, 1.0))
    return worst_w


def _full_at_98() -> Settings:
    """A zero limit with batteries that are full at 98 %."""
    return replace(feed_in_limit(0.0), full_soc_pct=98.0)
