"""Energy registers: exact, never backwards, over restarts and gaps."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.kept import Kept
from services.metering.registers import (
    MWS_PER_WH,
    EnergyRegisters,
    EnergySnapshot,
    MeterTotals,
    RegisterPair,
)
from services.metering.systems import Connection

powers = st.tuples(*[st.floats(-30_000, 30_000)] * 3)


def registers(
    stored: EnergySnapshot = EnergySnapshot(),  # noqa: B008  frozen
    *,
    phases: int = 3,
    netting_s: float = 0.2,
    longest_fill_s: float = 10.0,
) -> EnergyRegisters:
    return EnergyRegisters(stored, phases, netting_s=netting_s, longest_fill_s=longest_fill_s)


def run(counting: EnergyRegisters, power_w: float, seconds: float) -> EnergySnapshot:
    for _ in range(round(seconds / 0.1)):
        counting.add(power_w, (power_w, 0.0, 0.0), 0.1)
    return counting.snapshot()


def test_an_hour_of_a_kilowatt_is_a_kilowatt_hour() -> None:
    counted = run(registers(), 1000.0, 3600)

    assert counted.total.import_wh == pytest.approx(1000, rel=1e-9)
    assert counted.phases[0].import_wh == pytest.approx(1000, rel=1e-9)
    assert counted.phases[1] == RegisterPair()
    assert counted.total.export_mws == 0


def test_what_is_below_one_unit_is_carried_not_rounded_away() -> None:
    tenth_of_a_unit_w = 0.0005  # 0.1 mW·s in each netting interval

    assert run(registers(), tenth_of_a_unit_w, 2000).total.import_mws == 1000


def test_24_hours_with_a_restart_each_hour_lose_nothing_that_was_stored() -> None:
    stored = EnergySnapshot()
    for _ in range(24):
        counting = registers(stored)
        for step in range(3600):
            counting.add(1234.5 if step % 2 else -617.25, (0.0, 0.0, 0.0), 1.0)
        stored = Kept.from_json(Kept(counting.settle().snapshot()).as_json()).energy

    assert stored.total.import_wh == pytest.approx(24 * 1234.5 / 2, rel=2e-9)
    assert stored.total.export_wh == pytest.approx(24 * 617.25 / 2, rel=2e-9)


@given(
    st.lists(
        st.tuples(
            powers,
            st.sampled_from(["count", "count", "count", "gap", "long gap", "restart"]),
        ),
        max_size=40,
    )
)
def test_no_register_ever_runs_backwards(steps: list[tuple[tuple[float, ...], str]]) -> None:
    counting = registers()
    shown = [counting.snapshot()]
    true_ws = 0.0
    for phases, what in steps:
        if what == "gap":
            counting.lose(0.3)
        elif what == "long gap":
            counting.lose(100.0)
        elif what == "restart":
            counting = registers(counting.settle().snapshot())
        counting.add(sum(phases), phases, 0.1)
        true_ws += sum(phases) * 0.1
        shown.append(counting.snapshot())

    for before, after in pairwise(shown):
        for one, other in zip(
            (before.total, *before.phases), (after.total, *after.phases), strict=True
        ):
            assert other.import_mws >= one.import_mws
            assert other.export_mws >= one.export_mws
    last = counting.settle().snapshot()
    if not any(what.endswith("gap") for _, what in steps):
        net_mws = last.total.import_mws - last.total.export_mws
        assert abs(net_mws - true_ws * 1000) <= 1 + sum(what == "restart" for _, what in steps)


@pytest.mark.parametrize(
    ("netting_s", "imported_wh", "exported_wh"),
    [
        pytest.param(0.2, 720, 480, id="each window"),
        pytest.param(1, 600, 360, id="1 s"),
        pytest.param(10, 240, 0, id="10 s"),
    ],
)
def test_what_counts_as_import_depends_on_the_netting_interval(
    netting_s: float, imported_wh: float, exported_wh: float
) -> None:
    counting = registers(netting_s=netting_s)
    for step in range(
        36_000
    ):  # 1.5 kW of PV, 300 W of base load, a hob: 1.2 s at 2.4 kW, 0.8 s off
        power_w = 300.0 - 1500 + (2400 if step % 20 < 12 else 0)
        counting.add(power_w, (power_w, 0.0, 0.0), 0.1)

    counted = counting.snapshot().total
    assert counted.import_wh == pytest.approx(imported_wh)
    assert counted.export_wh == pytest.approx(exported_wh)


def test_opposite_phases_net_in_the_total_and_not_in_their_own_registers() -> None:
    counting = registers()
    for _ in range(36_000):
        counting.add(0.0, (1000.0, -1000.0, 0.0), 0.1)

    counted = counting.snapshot()
    assert counted.total == RegisterPair()
    assert counted.phases[0].import_wh == pytest.approx(1000)
    assert counted.phases[1].export_wh == pytest.approx(1000)


def test_a_lost_second_is_filled_with_the_mean_of_its_neighbours_and_marked() -> None:
    counting = registers()
    run(counting, 1000.0, 10)
    counting.lose(1.0)
    filled = counting.add(3000.0, (3000.0, 0.0, 0.0), 0.1)
    counted = counting.settle().snapshot()

    assert filled
    assert counted.total.import_mws == 1000 * 1000 * 10 + 2000 * 1000 + 3000 * 100
    assert counted.estimated_mws == 2000 * 1000
    assert counted.unmeasured_ms == 0


def test_an_outage_is_not_made_up_for() -> None:
    counting = registers()
    run(counting, 1000.0, 10)
    counting.lose(600.0)
    filled = counting.add(1000.0, (1000.0, 0.0, 0.0), 0.1)

    assert not filled
    assert counting.settle().snapshot().total.import_mws == 1000 * 1000 * 10 + 1000 * 100
    assert counting.snapshot().unmeasured_ms == 600_000


def test_a_three_wire_house_has_a_total_only() -> None:
    counting = registers(phases=0)
    counting.add(3600.0, (), 1.0)

    assert counting.snapshot() == EnergySnapshot(RegisterPair(3_600_000, 0))


def test_negative_registers_cannot_be_stored_or_read() -> None:
    with pytest.raises(ValueError, match="below zero"):
        RegisterPair(-1, 0)
    damaged = Kept().as_json()
    damaged["energy"]["total"]["import_mws"] = -5
    with pytest.raises(ValueError, match="below zero"):
        Kept.from_json(damaged)


def test_everything_kept_comes_back() -> None:
    kept = Kept(
        EnergySnapshot(RegisterPair(2**62, 3), (RegisterPair(1, 2),), 7, 8),
        MeterTotals(RegisterPair(5, 6), RegisterPair(7, 8)),
        1750000000.5,
        (Connection(1, -1), Connection(0), Connection(2)),
    )

    assert Kept.from_json(kept.as_json()) == kept


KWH = 1000 * MWS_PER_WH


@pytest.mark.parametrize(
    ("shown_kwh", "ours_kwh", "reason"),
    [
        pytest.param((101.0, 50.0), (11, 5), None, id="a kilowatt-hour more"),
        pytest.param((100.0, 50.0), (10, 5), None, id="nothing new"),
        pytest.param((99.95, 50.0), (10, 5), None, id="the last digit flickers"),
        pytest.param((3.0, 0.0), (10, 5), "backwards", id="another meter in its place"),
        pytest.param((5000.0, 50.0), (10, 5), "jumped", id="more than the fuse lets through"),
    ],
)
def test_registers_follow_a_meter_but_never_backwards(
    shown_kwh: tuple[float, float], ours_kwh: tuple[float, float], reason: str | None
) -> None:
    def pair(kwh: tuple[float, float]) -> RegisterPair:
        return RegisterPair(round(kwh[0] * KWH), round(kwh[1] * KWH))

    followed = MeterTotals(pair((10, 5)), pair((100, 50)))

    totals, doubt = followed.follow(pair(shown_kwh), 3600.0, 300_000.0)

    assert totals.ours == pair(ours_kwh)
    assert (doubt is None) if reason is None else (reason in (doubt or ""))
    onwards, _ = totals.follow(pair((shown_kwh[0] + 0.2, shown_kwh[1])), 3600.0, 300_000.0)
    assert onwards.ours.import_mws > totals.ours.import_mws


def test_a_new_meter_is_taken_over_where_it_stands() -> None:
    totals, doubt = MeterTotals().follow(RegisterPair(7, 8), 0.0, 300_000.0)

    assert doubt is None
    assert totals.ours == RegisterPair(7, 8)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=30))
def test_a_mad_meter_cannot_turn_our_registers_back(shown: list[tuple[int, int]]) -> None:
    totals = MeterTotals()
    for imported, exported in shown:
        before = totals.ours
        first = totals.seen is None
        totals, _ = totals.follow(RegisterPair(imported, exported), 10.0, 300_000.0)
        if not first:
            assert totals.ours.import_mws >= before.import_mws
            assert totals.ours.export_mws >= before.export_mws
