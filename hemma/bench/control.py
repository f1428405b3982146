"""`hemma bench control`: the core of `services.policy` against what physics allows.

Plants and houses are drawn afresh from the seed: dead time 0.1-1.5 s, lag 0.3-3 s, ramp and power
limits, telemetry of unknown age up to 3 s and +-3 % gain, lost samples, gaps of the meter. Beside
the core run, in the same run and on the same plants, a PID and the plain cap law.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from statistics import median

from hemma.bench import control_limits as limits
from hemma.bench import control_rows as rows
from hemma.bench.battery_days import battery_days
from hemma.bench.report import Report

MUST: dict[str, str] = {
    "hunting": "<= 0",
    "nominal_settle_s": "<= 2.4",
    "nominal_overshoot_w": "<= 40",
    "nominal_violation_wh": "<= 0.70",
    "settle_extra_median_s": "<= 1.5",
    "settle_extra_max_s": "<= 6",
    "violation_ratio_median": "<= 1.25",
    "violation_ratio_max": "<= 2",
    "default_settle_extra_max_s": "<= 30",
    "learned_settle_extra_median_s": "<= 1.5",
    "learned_settle_extra_max_s": "<= 6",
    "robust_offset_w": "<= 30",
    "pulse_below_critical_ratio": "<= 1.08",
    "pulse_above_critical_ratio": "<= 1",
    "feed_in_energy_ratio": "<= 0.2",
    "feed_in_longest_s": "<= 3.5",
    "feed_in_pv_lost_zero_pct": "<= 10",
    "feed_in_pv_lost_3kw_pct": "<= 5",
    "feed_in_writes_per_min": "<= 25",
    "hybrid_pv_lost_pct": "<= 5",
    "load_drop_quick_max_s": "<= 3",
    "load_drop_max_s": "<= 10",
    "failsafe_max_s": "<= 3",
    "return_step_w": "<= 200",
    "mode_step_w": "<= 200",
    "allocation_loss_ratio": "<= 0.7",
    "allocation_soc_spread_pct": "<= 5",
    "allocation_12kw_min": ">= 60",
}
"""What each figure must be; derived in docs/control.md."""


def run(seed: int, plants: int = 240, houses: int = 3) -> dict[str, float]:
    """Run every row of the bench.

    Args:
        seed: Draws all plants and houses.
        plants: Number of plants in the rows that draw plants.
        houses: Number of busy hours and of battery days.

    Returns:
        Figures by name.
    """
    figures: dict[str, float] = {}
    hunting = 0

    def draw(row: str) -> random.Random:
        return random.Random(f"{seed}/{row}")  # a row's plants do not depend on the others

    figures |= rows.nominal(draw("nominal"))
    for name, row in (("", rows.identified), ("default_", rows.unidentified)):
        steps = row(draw(name or "identified"), plants)
        hunting += sum(step.hunting for step in steps)
        figures |= _step_figures(name, steps)
    learned, errors_s = rows.learned(draw("learned"), max(plants // 8, 4))
    hunting += sum(step.hunting for step in learned)
    figures |= _step_figures("learned_", learned)
    figures["learned_error_median_s"] = median(errors_s)
    figures["learned_error_max_s"] = max(errors_s)
    pid = rows.pid_steps(draw("identified"), max(plants // 4, 4))
    figures |= _step_figures("pid_", pid)
    figures["pid_hunting"] = sum(step.hunting for step in pid)
    robust_hunting, figures["robust_offset_w"] = rows.robust(draw("robust"), max(plants // 4, 4))
    hunting += robust_hunting
    figures |= rows.pulses(draw("pulses"))
    figures |= limits.feed_in_hours(draw("hours"), houses)
    figures |= limits.hybrid_hours(draw("hybrids"), houses)
    dropped, drop_hunting = limits.load_drops(draw("drops"), max(plants // 4, 4))
    hunting += drop_hunting
    figures |= dropped
    figures |= limits.failsafe(draw("failsafe"))
    figures["mode_step_w"] = limits.mode_changes(draw("modes"))
    figures |= battery_days(draw("allocation"), houses)
    figures["hunting"] = hunting
    return {name: round(figure, 3) for name, figure in figures.items()}


def _step_figures(name: str, steps: Sequence[rows.Step]) -> dict[str, float]:
    extra_s = [step.settle_extra_s for step in steps]
    ratios = [step.violation_ratio for step in steps]
    return {
        f"{name}settle_extra_median_s": median(extra_s),
        f"{name}settle_extra_max_s": max(extra_s),
        f"{name}violation_ratio_median": median(ratios),
        f"{name}violation_ratio_max": max(ratios),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed."""
    parser = argparse.ArgumentParser(prog="hemma bench control", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws plants and houses")
    parser.add_argument("--plants", type=int, default=240, help="plants a row")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.plants < 1:
        parser.error("--plants must be at least 1")
    report = Report("control", run(options.seed, options.plants), MUST)
    print(report.as_json() if options.json else report.as_text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
