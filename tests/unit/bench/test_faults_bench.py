"""The faults bench finds what is lost and who was not safe; its storm itself is a house test."""

import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bus.metering import EnergyPair, GridEnergy
from bus.site import Ess, EssSettings
from hemma.bench.faults import Scene
from hemma.bench.house import House
from hemma.observer import House as Seen
from hemma.observer import Observer


def energy(import_wh: float) -> GridEnergy:
    pair = EnergyPair(import_energy_wh=import_wh, export_energy_wh=10.0)
    return GridEnergy(
        measured_at=datetime(2026, 6, 1, tzinfo=UTC),
        total=pair,
        phases={},
        estimated_wh=0.0,
        restart_loss_s=0.0,
    )


def ess(reserve_soc_pct: float) -> Ess:
    return Ess(
        version=2,
        changed_at=datetime(2026, 6, 1, tzinfo=UTC),
        changed_by="test",
        settings=EssSettings(reserve_soc_pct=reserve_soc_pct),
    )


def scene(*, limits_w: tuple[float, ...] = ()) -> Scene:
    truth: dict[str, Any] = {
        "inverters": {f"inv{n}": {"ac_limit_w": limit_w} for n, limit_w in enumerate(limits_w)}
    }
    simulator = SimpleNamespace(state=lambda: truth)
    house = cast("House", SimpleNamespace(simulator=simulator))
    observer = cast("Observer", SimpleNamespace(house=Seen(ess=ess(8.0), energy=energy(500.0))))
    return Scene(house, observer, random.Random(1), told=["a fault"])


def test_what_is_as_it_was_is_not_lost() -> None:
    seen = scene()
    seen.reserve_soc_pct = 8.0
    seen.count_what_is_lost()
    seen.observer.house.energy = energy(500.5)
    seen.count_what_is_lost()
    assert seen.data_lost == 0


def test_a_setting_that_was_accepted_and_is_another_is_lost() -> None:
    seen = scene()
    seen.reserve_soc_pct = 12.0
    seen.count_what_is_lost()
    assert seen.data_lost == 1


def test_a_register_that_runs_backwards_is_lost() -> None:
    seen = scene()
    seen.count_what_is_lost()
    seen.observer.house.energy = energy(499.0)
    seen.count_what_is_lost()
    assert seen.data_lost == 1


@pytest.mark.parametrize(
    ("limits_w", "broken"),
    [
        pytest.param((0.0, 0.0), 0, id="both at the fail-safe"),
        pytest.param((0.0, 5000.0), 1, id="one of them free"),
    ],
)
async def test_an_inverter_that_is_not_in_its_fail_safe_breaks_the_lease(
    limits_w: tuple[float, ...], broken: int
) -> None:
    seen = scene(limits_w=limits_w)
    await seen.must_be_safe(0.0)
    assert seen.leases_broken == broken
