"""The core on plants that it does not know: a short form of `hemma bench control`."""

import random

from hemma.bench import control_limits, control_rows
from hemma.bench.battery_days import battery_days


def test_no_plant_hunts_and_all_settle_identified_or_not() -> None:
    known = control_rows.identified(random.Random(11), 4)
    guessed = control_rows.unidentified(random.Random(12), 4)
    assert not any(step.hunting for step in known + guessed)
    assert max(step.settle_extra_s for step in known) <= 6.0
    assert max(step.settle_extra_s for step in guessed) <= 30.0
    assert max(step.violation_ratio for step in known) <= 2.0


def test_a_load_drop_is_over_the_limit_for_seconds_only() -> None:
    figures, hunting = control_limits.load_drops(random.Random(13), 4)
    assert hunting == 0
    assert figures["load_drop_quick_max_s"] <= 3.0
    assert figures["load_drop_max_s"] <= 10.0


def test_a_dead_meter_is_safe_in_time_and_its_return_is_no_jump() -> None:
    figures = control_limits.failsafe(random.Random(14))
    assert figures["failsafe_max_s"] <= 3.0
    assert figures["return_step_w"] <= 200.0


def test_old_telemetry_lost_readings_and_a_gap_leave_no_offset() -> None:
    hunting, offset_w = control_rows.robust(random.Random(15), 3)
    assert hunting == 0
    assert offset_w <= 30.0


def test_the_bench_sees_a_law_that_hunts() -> None:
    steps = control_rows.pid_steps(random.Random(11), 4)
    assert max(step.settle_extra_s for step in steps) > 6.0 or any(s.hunting for s in steps)


def test_three_batteries_lose_less_than_by_the_equal_split() -> None:
    figures = battery_days(random.Random(16), 1)
    assert figures["allocation_loss_ratio"] <= 0.7
    assert figures["allocation_soc_spread_pct"] <= 5.0
    assert figures["allocation_12kw_min"] >= 60.0 > figures["allocation_12kw_equal_min"]
