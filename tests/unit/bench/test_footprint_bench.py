"""The footprint bench reads what the kernel knows, and does not take a fail-safe for control."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bus.policy import Cause, Dispatch, Level, Reason, Setpoint
from hemma.bench.footprint import NotRunningError, Usage, children, is_control, report, watch

NOW = datetime(2026, 6, 21, tzinfo=UTC)
BUSY = "import time; end = time.time() + 5\nwhile time.time() < end: pass"


def setpoint(device: str, reason: Reason) -> Setpoint:
    cause = Cause(level=Level.SAFETY, rule="failsafe", reason=reason, lower_w=None, upper_w=5000.0)
    return Setpoint(
        device=device,
        battery_power_w=0.0,
        ac_limit_w=5000.0,
        failsafe_ac_limit_w=0.0,
        valid_until=NOW,
        owner="policy",
        battery_causes=(),
        ac_limit_causes=(cause,),
    )


def dispatch(reason: Reason, *setpoints: Setpoint) -> Dispatch:
    return Dispatch(
        sequence=1,
        decided_at=NOW,
        grid_sequence=None,
        grid_measured_at=None,
        target_grid_power_w=None,
        setpoints=setpoints,
        limits=(),
        reason=reason,
    )


@pytest.mark.parametrize(
    ("said", "ready"),
    [
        pytest.param(dispatch(Reason.METER_SILENT), False, id="no meter"),
        pytest.param(dispatch(Reason.NO_SETTINGS), False, id="no settings"),
        pytest.param(dispatch(Reason.SELF_CONSUMPTION), False, id="no inverters yet"),
        pytest.param(
            dispatch(Reason.FEED_IN_LIMIT, setpoint("inv1", Reason.FEED_IN_LIMIT)),
            False,
            id="only one of them",
        ),
        pytest.param(
            dispatch(
                Reason.FEED_IN_LIMIT,
                setpoint("inv1", Reason.FEED_IN_LIMIT),
                setpoint("inv2", Reason.INVERTER_SILENT),
            ),
            False,
            id="one is silent",
        ),
        pytest.param(
            dispatch(
                Reason.FEED_IN_LIMIT,
                setpoint("inv1", Reason.FEED_IN_LIMIT),
                setpoint("inv2", Reason.DEVICE_BOUND),
            ),
            True,
            id="both are steered",
        ),
    ],
)
def test_the_house_is_ready_when_all_inverters_are_steered(said: Dispatch, ready: bool) -> None:
    assert is_control(said, inverters=2) is ready


def test_a_busy_process_is_seen_to_be_busy_and_in_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as busy:
        try:
            (usage,) = watch([busy.pid], 0.3)
            assert busy.pid in children(os.getpid())
        finally:
            busy.kill()

    assert usage.name.startswith("python")
    assert 20 < usage.cpu_pct <= 110
    assert 1 < usage.pss_mb < 100


def test_a_process_that_ends_fails_the_bench() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as brief:
        brief.wait()
        with pytest.raises(NotRunningError, match="ended"):
            watch([brief.pid], 0.1)


def test_the_sums_are_ours_and_the_house_is_apart() -> None:
    ours, house = [Usage("a", 60.0, 5.0), Usage("b", 50.0, 6.0)], Usage("sim", 500.0, 90.0)

    light = report(ours, house, ready_s=2.0)
    assert light.ok
    assert (light.figures["pss_mb"], light.figures["cpu_pct"]) == (110.0, 11.0)
    assert report([*ours, Usage("c", 30.0, 5.0)], house, ready_s=3.5).missed == [
        "pss_mb",
        "cpu_pct",
        "ready_s",
    ]
