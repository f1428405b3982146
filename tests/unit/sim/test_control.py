"""Orders, faults and judgements over the control port; house time goes by steps, not by waiting."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sim.control import Control
from sim.plant import Plant


@pytest.fixture
async def control(plant: Plant) -> AsyncIterator[Control]:
    opened = Control(plant)
    await opened.start()
    yield opened
    await opened.stop()


async def order(control: Control, **said: object) -> dict[str, Any]:
    answered = await control.answer(json.dumps(said).encode())
    assert answered["ok"], answered
    return answered


def steps(plant: Plant, seconds: float) -> None:
    for _ in range(round(seconds * 50)):
        plant.step()


async def test_state_balances_in_every_phase(control: Control, plant: Plant) -> None:
    steps(plant, 2)
    state = await order(control, do="state")
    fed_w = sum(unit["ac_power_w"] for unit in state["inverters"].values())
    assert fed_w > 1000
    assert state["load_power_w"] == pytest.approx(900)
    assert state["grid_power_w"] == pytest.approx(state["load_power_w"] - fed_w)
    assert sum(state["grid_power_per_phase_w"]) == pytest.approx(state["grid_power_w"])
    assert state["time"].startswith("2024-06-12T12:00:02")


async def test_orders_travel_as_json_lines(control: Control, plant: Plant) -> None:
    plant.step()
    reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
    writer.write(b'{"do":"state"}\nnonsense\n{"do":"dance"}\n[1]\n')
    answers = [json.loads(await asyncio.wait_for(reader.readline(), 1)) for _ in range(4)]
    assert [answered["ok"] for answered in answers] == [True, False, False, False]
    assert answers[2]["error"] == "no order 'dance'"
    writer.close()


async def test_a_load_is_put_on_one_phase_or_on_all(control: Control, plant: Plant) -> None:
    await order(control, do="load", watts=3000)
    await order(control, do="load", watts=500, phase=2)
    plant.step()
    assert plant.house.load_w == pytest.approx([1300, 800, 1300])


async def test_light_and_charge_are_set_from_outside(control: Control, plant: Plant) -> None:
    await order(control, do="pv", unit="inv2", watts=2500)
    await order(control, do="pv", unit="inv1", scale=0)
    await order(control, do="soc", unit="inv1", soc_pct=80)
    plant.step()
    state = (await order(control, do="state"))["inverters"]
    assert state["inv2"]["pv_available_w"] == 2500
    assert state["inv1"]["pv_available_w"] == 0
    assert state["inv1"]["soc_pct"] == 80
    await order(control, do="pv", watts=None)
    plant.step()
    assert (await order(control, do="state"))["inverters"]["inv2"]["pv_available_w"] == 0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param({"do": "load"}, "watts must be a number", id="no watts"),
        pytest.param({"do": "load", "watts": 1, "phase": 4}, "phase must be", id="phase 4"),
        pytest.param({"do": "pv", "unit": "inv1"}, "scale or watts", id="pv of nothing"),
        pytest.param({"do": "pv", "unit": "inv9", "scale": 1}, "no unit", id="unknown unit"),
        pytest.param({"do": "soc", "unit": "inv1", "soc_pct": 101}, "0 to 100", id="soc 101"),
        pytest.param({"do": "watch", "name": "x"}, "no watch", id="watch unknown"),
        pytest.param({"do": "fault", "kind": "flood"}, "no fault flood", id="fault unknown"),
        pytest.param({"do": "fault", "kind": "mute", "unit": "x"}, "does not apply", id="mute x"),
        pytest.param({"do": "fault", "kind": "late", "unit": "inv1"}, "delay_s", id="late by?"),
        pytest.param(
            {"do": "fault", "kind": "alarm", "unit": "inv1", "id": 1}, "no alarm", id="alarm 1"
        ),
        pytest.param(
            {"do": "fault", "kind": "freeze", "unit": "inv1"}, "is no meter", id="freeze inv1"
        ),
    ],
)
async def test_a_senseless_order_is_refused(
    control: Control, said: dict[str, Any], reason: str
) -> None:
    answered = await control.answer(json.dumps(said).encode())
    assert answered["ok"] is False
    assert reason in answered["error"]


async def test_a_watch_tells_how_long_and_how_far_the_export_was_above(
    control: Control, plant: Plant
) -> None:
    await order(control, do="pv", unit="inv1", watts=0)
    await order(control, do="pv", unit="inv2", watts=0)
    steps(plant, 1)
    await order(control, do="watch", limit_w=1000, tolerance_w=50)
    await order(control, do="load", watts=-2900)  # 2 kW leave the house
    steps(plant, 3)
    await order(control, do="load", watts=0)
    steps(plant, 2)
    await order(control, do="load", watts=-2900)
    steps(plant, 1)

    judged = (await order(control, do="watch", stop=True))["watch"]

    assert judged["watched_s"] == pytest.approx(6)
    assert judged["above_longest_s"] == pytest.approx(3)
    assert judged["above_s"] == pytest.approx(4)
    assert judged["above_wh"] == pytest.approx(1000 * 4 / 3600, rel=1e-3)
    assert judged["export_max_w"] == pytest.approx(2000)
    assert not plant.watches


async def test_a_watch_can_hold_each_phase_to_its_share(control: Control, plant: Plant) -> None:
    await order(control, do="pv", unit="inv1", watts=0)
    await order(control, do="watch", limit_w=300, each_phase=True)
    await order(control, do="load", watts=-600, phase=1)  # 300 W out on L1, none in total
    steps(plant, 1)
    judged = (await order(control, do="watch"))["watch"]
    assert judged["above_s"] == pytest.approx(1)
    assert judged["export_wh"] == 0


async def test_the_trace_gives_the_last_seconds_by_column(control: Control, plant: Plant) -> None:
    steps(plant, 5)
    trace = (await order(control, do="trace", seconds=2, period_s=0.1))["trace"]
    assert len(trace["elapsed_s"]) == 20
    assert trace["elapsed_s"][-1] == pytest.approx(5.0)
    assert set(trace) >= {"grid_power_w", "load_power_w", "pv_power_w", "battery_power_w"}
    assert trace["inv1_ac_w"][-1] > 0


async def test_faults_of_a_unit_come_and_go(control: Control, plant: Plant) -> None:
    station = plant.stations["inv1"]
    ask = bytes((3, 0x7D, 0x59, 0, 1))
    await order(control, do="fault", kind="mute", unit="inv1")
    assert station.reply(ask) is None
    await order(control, do="fault", kind="late", unit="inv1", delay_s=0.7)
    cleared = await order(control, do="clear", kind="mute")
    assert cleared["cleared"] == 1
    late = station.reply(ask)
    assert late is not None
    assert late.delay_s > 0.7
    state = await order(control, do="state")
    assert state["faults"] == [{"kind": "late", "unit": "inv1", "delay_s": 0.7}]
    await order(control, do="clear")
    prompt = station.reply(ask)
    assert prompt is not None
    assert prompt.delay_s < 0.1


async def test_a_fault_ends_by_itself(control: Control, plant: Plant) -> None:
    await order(control, do="fault", kind="refuse", unit="inv1", seconds=0.02)
    inverter = plant.unit("inv1").device
    assert inverter.refuses_writes == 4
    await asyncio.sleep(0.05)
    assert inverter.refuses_writes is None
    assert control.faults.state() == []


async def test_a_new_fault_of_the_same_kind_takes_the_place_of_the_old(
    control: Control, plant: Plant
) -> None:
    await order(control, do="fault", kind="mute", unit="inv1", seconds=0.02)
    await order(control, do="fault", kind="mute", unit="inv1")
    await asyncio.sleep(0.05)
    assert plant.stations["inv1"].muted


async def test_the_line_and_the_port_can_be_dropped(control: Control, plant: Plant) -> None:
    for line in plant.lines.values():
        line.start()
    for port in plant.ports.values():
        await port.start()
    try:
        await order(control, do="fault", kind="drop", unit="rs485-1")
        await order(control, do="fault", kind="drop", unit="inv2")
        assert not plant.lines["rs485-1"].link.exists()
        assert not plant.ports["inv2"].running
        await order(control, do="clear")
        assert plant.lines["rs485-1"].link.exists()
        assert plant.ports["inv2"].running
    finally:
        for line in plant.lines.values():
            line.stop()
        for port in plant.ports.values():
            await port.stop()


async def test_a_garbled_line_garbles_all_its_units(control: Control, plant: Plant) -> None:
    await order(control, do="fault", kind="garble", unit="rs485-1", rate=0.5)
    assert [plant.stations[name].garble for name in ("inv1", "meter1", "inv2")] == [0.5, 0.5, 0]


async def test_a_jumping_meter_lies_and_the_house_does_not(control: Control, plant: Plant) -> None:
    meter = plant.stations["meter1"].device
    await order(control, do="fault", kind="jump", unit="meter1", watts=1500)
    await order(control, do="fault", kind="jump", watts=900)
    steps(plant, 1)
    true_w = plant.house.grid.total_w
    assert meter.image.number("power_w") == pytest.approx(true_w + 1500, abs=5)  # type: ignore[attr-defined]
    assert plant.jump_w == 900
    assert (await order(control, do="state"))["grid_power_w"] == true_w


async def test_a_frozen_meter_keeps_its_last_reading(control: Control, plant: Plant) -> None:
    image = plant.stations["meter1"].device.image  # type: ignore[attr-defined]
    steps(plant, 1)
    await order(control, do="fault", kind="freeze", unit="meter1")
    before_w = image.number("power_w")
    await order(control, do="load", watts=5000)
    steps(plant, 1)
    assert image.number("power_w") == before_w
    await order(control, do="clear")
    steps(plant, 1)
    assert image.number("power_w") == pytest.approx(before_w + 5000, abs=300)


async def test_a_reboot_darkens_the_inverter_for_its_time(control: Control, plant: Plant) -> None:
    steps(plant, 1)
    await order(control, do="fault", kind="reboot", unit="inv1", seconds=3)
    steps(plant, 2)
    assert plant.stations["inv1"].reply(bytes((3, 0x75, 0x30, 0, 1))) is None
    assert plant.unit("inv1").device.stage.ac_w == 0
    steps(plant, 2)
    assert plant.stations["inv1"].reply(bytes((3, 0x75, 0x30, 0, 1))) is not None
