"""The lease's arrows, the write plan, and what counts as not following."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.inverters import Lease
from services.inverters.drivers.base import Registers, Write
from services.inverters.drivers.sun2000 import SUN2000
from services.inverters.model import (
    Bounds,
    Held,
    LeaseFacts,
    Target,
    Watch,
    after_write,
    battery_is_off,
    confirmed_battery_w,
    is_over_limit,
    next_lease,
    plan_writes,
    wanted_registers,
)

STARTING, LEASED, FAILSAFE = Lease.STARTING, Lease.LEASED, Lease.FAILSAFE
BOUNDS = Bounds(max_power_w=8000.0, max_charge_w=5000.0, max_discharge_w=5000.0)
FRESH: Registers = {
    "ac_limit_w": 8000,
    "forced_command": 0,
    "forced_by": 0,
    "forced_minutes": 0,
    "forced_charge_w": 0,
    "forced_discharge_w": 0,
}


@pytest.mark.parametrize(
    ("lease", "present", "read_back", "leased", "expected"),
    [
        pytest.param(STARTING, True, True, True, LEASED, id="1 adopts under a lease"),
        pytest.param(STARTING, True, True, False, FAILSAFE, id="2 cancels without one"),
        pytest.param(LEASED, True, True, False, FAILSAFE, id="3 the lease lapses"),
        pytest.param(FAILSAFE, True, True, True, LEASED, id="4 somebody speaks"),
        pytest.param(LEASED, False, True, True, STARTING, id="5 lost while leased"),
        pytest.param(FAILSAFE, False, True, False, STARTING, id="5 lost in the fail-safe"),
        pytest.param(STARTING, True, False, True, STARTING, id="nothing before the read-back"),
        pytest.param(STARTING, False, True, True, STARTING, id="nothing while it is away"),
        pytest.param(LEASED, True, True, True, LEASED, id="a lease goes on"),
        pytest.param(FAILSAFE, True, True, False, FAILSAFE, id="silence goes on"),
    ],
)
def test_lease_arrows(
    lease: Lease, present: bool, read_back: bool, leased: bool, expected: Lease
) -> None:
    assert next_lease(lease, LeaseFacts(present, read_back, leased)) is expected


def writes_to(
    target: Target, held: Held, *, pv_power_w: float = 0.0, now_s: float = 1000.0
) -> list[dict[str, float]]:
    """Register contents, frame by frame, as the unit sends them: one, then a new plan."""
    frames = []
    for _ in range(10):
        wanted = wanted_registers(SUN2000, target, BOUNDS, pv_power_w)
        plan = plan_writes(SUN2000, wanted, held, target, now_s)
        if not plan:
            return frames
        frames.append(dict(plan[0].quantities))
        held = after_write(held, plan[0], SUN2000, target, now_s)
    raise AssertionError(f"never at rest: {frames}")


def held_after(target: Target, *, pv_power_w: float = 0.0, now_s: float = 1000.0) -> Held:
    held = Held(FRESH)
    while plan := plan_writes(
        SUN2000, wanted_registers(SUN2000, target, BOUNDS, pv_power_w), held, target, now_s
    ):
        held = after_write(held, plan[0], SUN2000, target, now_s)
    return held


def test_a_discharge_is_written_power_first_and_command_last() -> None:
    assert writes_to(Target(1500.0, 5000.0), Held(FRESH), pv_power_w=2000.0) == [
        {"ac_limit_w": 5000},
        {"forced_minutes": 1},
        {"forced_discharge_w": 3500},
        {"forced_command": 2},
    ]


def test_another_power_is_one_frame() -> None:
    held = held_after(Target(1500.0, None))
    assert writes_to(Target(1900.0, None), held) == [{"forced_discharge_w": 1900}]
    held = held_after(Target(-1500.0, None))
    assert writes_to(Target(-1501.0, None), held) == [{"forced_charge_w": 1501}]


def test_from_discharge_to_charge_the_new_power_stands_before_the_new_command() -> None:
    held = held_after(Target(1500.0, None))
    assert writes_to(Target(-700.0, None), held) == [
        {"forced_charge_w": 700},
        {"forced_command": 1},
    ]


@pytest.mark.parametrize("power_w", [None, 0.0, 0.3])
def test_a_battery_that_shall_do_nothing_is_stopped_with_one_frame(power_w: float | None) -> None:
    held = held_after(Target(1500.0, None))
    assert writes_to(Target(power_w, None), held) == [{"forced_command": 0}]


def test_a_command_found_at_the_start_is_stopped_or_given_anew() -> None:
    left_behind = Held({**FRESH, "forced_command": 2, "forced_discharge_w": 3000})
    assert writes_to(Target(None, 8000.0), left_behind) == [{"forced_command": 0}]
    again = writes_to(Target(3000.0, 8000.0), left_behind)
    assert again == [{"forced_minutes": 1}, {"forced_command": 2}]


def test_a_command_that_stands_is_repeated_before_the_device_s_own_timer_ends_it() -> None:
    target = Target(1500.0, None)
    held = held_after(target, now_s=1000.0)
    assert writes_to(target, held, now_s=1029.0) == []
    assert writes_to(target, held, now_s=1030.0) == [{"forced_minutes": 1}, {"forced_command": 2}]


def test_small_changes_of_pv_are_not_written_but_every_change_of_the_setpoint_is() -> None:
    target = Target(1500.0, None)
    held = held_after(target, pv_power_w=2000.0)
    assert writes_to(target, held, pv_power_w=2015.0) == []
    assert writes_to(target, held, pv_power_w=1970.0) == [{"forced_discharge_w": 3470}]
    assert writes_to(Target(1501.0, None), held, pv_power_w=2000.0) == [
        {"forced_discharge_w": 3501}
    ]


@pytest.mark.parametrize(
    ("target", "register", "expected"),
    [
        pytest.param(Target(None, 1234.9), "ac_limit_w", 1234, id="never above the limit"),
        pytest.param(Target(None, None), "ac_limit_w", 8000, id="no limit is the rating"),
        pytest.param(Target(None, 9e4), "ac_limit_w", 8000, id="a limit above the rating"),
        pytest.param(Target(-9000.0, None), "forced_charge_w", 5000, id="charge bound"),
        pytest.param(Target(9000.0, None), "forced_discharge_w", 7000, id="discharge bound + PV"),
        pytest.param(Target(5000.0, None), "forced_discharge_w", 7000, id="with PV"),
    ],
)
def test_setpoints_are_cut_to_what_the_device_takes(
    target: Target, register: str, expected: float
) -> None:
    assert wanted_registers(SUN2000, target, BOUNDS, 2000.0)[register] == expected


def test_a_battery_that_can_take_nothing_is_not_commanded() -> None:
    full = Bounds(8000.0, max_charge_w=0.0, max_discharge_w=5000.0)
    assert wanted_registers(SUN2000, Target(-1000.0, None), full, 0.0)["forced_command"] == 0


POWERS = st.one_of(st.none(), st.floats(-9000, 9000))
TARGETS = st.builds(Target, POWERS, st.one_of(st.none(), st.floats(0, 9000)))


@given(
    before=TARGETS,
    target=TARGETS,
    forgotten=st.sets(st.sampled_from(sorted(FRESH))),
    pv_power_w=st.floats(-10, 9000),
    later_s=st.floats(0, 100),
)
def test_from_wherever_it_comes_to_rest_and_holds_what_is_asked(
    before: Target, target: Target, forgotten: set[str], pv_power_w: float, later_s: float
) -> None:
    held = held_after(before, pv_power_w=pv_power_w)
    known = {name: held for name, held in held.registers.items() if name not in forgotten}
    held = Held(known, held.commanded_s, held.armed_s, held.battery_power_w)
    now_s = 1000.0 + later_s
    frames = writes_to(target, held, pv_power_w=pv_power_w, now_s=now_s)
    assert len(frames) <= 5
    registers = {**known}
    for frame in frames:
        registers |= frame
    for name, wanted in wanted_registers(SUN2000, target, BOUNDS, pv_power_w).items():
        assert registers[name] == pytest.approx(wanted, abs=20), name
    limit_w = 8000 if target.ac_limit_w is None else target.ac_limit_w
    assert registers["ac_limit_w"] <= limit_w


def test_frames_hold_registers_that_follow_each_other() -> None:
    write = plan_writes(
        SUN2000,
        {**wanted_registers(SUN2000, Target(-700.0, None), BOUNDS, 0.0)},
        Held({"ac_limit_w": 8000, "forced_minutes": 1}, commanded_s=0.0, armed_s=0.0),
        Target(-700.0, None),
        0.0,
    )[0]
    assert write == Write(47246, (0, 0, 700), {"forced_by": 0, "forced_charge_w": 700})


@pytest.mark.parametrize(
    ("registers", "expected"),
    [
        pytest.param({"forced_command": 0}, 0.0, id="stopped"),
        pytest.param({"forced_command": 1, "forced_charge_w": 900}, -900, id="charge"),
        pytest.param(
            {"forced_command": 2, "forced_discharge_w": 2500}, 500, id="discharge less PV"
        ),
        pytest.param({"forced_command": None}, None, id="unknown"),
        pytest.param({}, None, id="not read back"),
    ],
)
def test_what_the_battery_confirmed(registers: Registers, expected: float | None) -> None:
    assert confirmed_battery_w(SUN2000, registers, 2000.0) == expected


@pytest.mark.parametrize(
    ("ac_power_w", "limit_w", "over"),
    [
        (2090.0, 2000.0, False),
        (2101.0, 2000.0, False),
        (2241.0, 2000.0, True),
        (None, 2000.0, False),
        (2500.0, None, False),
    ],
    ids=["measuring error", "3 % of rating", "above both", "not measured", "not confirmed"],
)
def test_over_the_limit(ac_power_w: float | None, limit_w: float | None, over: bool) -> None:
    assert is_over_limit(ac_power_w, limit_w, rated_power_w=8000.0) is over


@pytest.mark.parametrize(
    ("asked_w", "battery_power_w", "soc_pct", "off"),
    [
        pytest.param(3000.0, 2800.0, 60.0, False, id="follows"),
        pytest.param(3000.0, 0.0, 60.0, True, id="does not discharge"),
        pytest.param(3000.0, 0.0, 12.0, False, id="is empty"),
        pytest.param(3000.0, -2000.0, 12.0, True, id="is empty and charges"),
        pytest.param(1000.0, 3000.0, 60.0, True, id="discharges far too much"),
        pytest.param(-3000.0, 0.0, 60.0, False, id="has no PV to charge from"),
        pytest.param(-3000.0, 1500.0, 60.0, True, id="discharges instead of charging"),
        pytest.param(0.0, 1500.0, 60.0, False, id="its own affair"),
        pytest.param(None, 1500.0, 60.0, False, id="nothing confirmed"),
        pytest.param(9000.0, 4900.0, 60.0, False, id="at its own bound"),
    ],
)
def test_a_battery_that_does_something_else(
    asked_w: float | None, battery_power_w: float, soc_pct: float, off: bool
) -> None:
    assert battery_is_off(asked_w, battery_power_w, soc_pct, BOUNDS) is off


def test_what_is_wrong_only_now_and_then_is_not_reported() -> None:
    watch = Watch()
    for now_s, wrong in ((0, True), (9, True), (9.5, False), (10, True), (19, True)):
        watch = watch.seen(now_s, wrong=wrong)
        assert not watch.lasted(now_s, 10)
    assert watch.seen(20, wrong=True).lasted(20, 10)
