"""The metering process in a house that the test makes."""

import dataclasses
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bus.metering import (
    GridEnergy,
    GridReading,
    MeterState,
    Phase,
    QualityFlag,
    WiringVerdict,
)
from bus.system import Faults
from runtime.clock import FakeClock
from runtime.memory import MemoryBus, running
from runtime.store import Store
from services.metering.config import MeteringConfig
from services.metering.kept import Kept
from services.metering.meters import SDM630
from services.metering.service import MeteringService
from services.metering.sources import BlockArrived, MeterAnswered, SourceLost
from services.metering.systems import Connection
from tests.service.inverters_heard import described
from tests.service.metering.house import (
    Converter,
    header,
    idle_inverter,
    until,
)


@pytest.fixture
def converter(clock: FakeClock) -> Converter:
    return Converter(clock)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "metering", "registers")


def service(
    bus: MemoryBus, converter: Converter, store: Store, **section: object
) -> MeteringService:
    config = MeteringConfig.model_validate(section)
    return MeteringService(bus, converter.clock, config, converter, store)


def fault_codes(bus: MemoryBus) -> set[str]:
    return {fault.code for fault in bus.last(Faults).faults}


async def test_a_house_is_read_five_times_a_second(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    converter.amps = [4, -2, 1]

    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(2.1)
        ended = converter.clock.now()

    said = bus.all(GridReading)
    assert len(said) == 10
    assert [one.sequence for one in said] == list(range(1, 11))
    last = said[-1]
    assert last.measured_at == ended
    assert last.window_s == 0.2
    assert last.grid_power_w == pytest.approx(230 * 3, rel=1e-3)
    assert [one.phase for one in last.phases] == list(Phase)
    assert [one.active_power_w for one in last.phases] == pytest.approx([920, -460, 230], rel=1e-3)
    assert last.frequency_hz == pytest.approx(50, abs=1e-3)
    assert last.flags == ()
    assert {b.measured_at - a.measured_at for a, b in pairwise(said)} == {timedelta(seconds=0.2)}


async def test_when_the_samples_stop_nothing_is_said_but_the_fault(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(2)
        assert fault_codes(bus) == set()
        before = len(bus.all(GridReading))

        await converter.clock.advance(1.3)
        assert fault_codes(bus) == {"meter-silent"}
        assert "the samples have stopped" in bus.last(Faults).faults[0].text
        assert len(bus.all(GridReading)) == before

        converter.index += 65 * 160  # the converter's own count ran on
        await converter.play(0.6)
        assert fault_codes(bus) == set()
        assert QualityFlag.ESTIMATED in bus.all(GridReading)[before].flags
        assert bus.last(GridReading).flags == ()


async def test_a_lost_connection_is_told_with_its_reason(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(1)
        converter.send(SourceLost("connection refused"))
        await converter.clock.advance(1.3)

        assert "connection refused" in bus.last(Faults).faults[0].text


async def test_frozen_samples_are_silence_not_a_steady_house(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(1)
        before = len(bus.all(GridReading))
        stuck = converter.samples()
        for n in range(100):
            await converter.clock.advance(0.02)
            block = dataclasses.replace(stuck, first_sample=stuck.first_sample + 160 * n)
            converter.send(BlockArrived(block, converter.clock.monotonic()))
        await converter.clock.advance(1)

        assert len(bus.all(GridReading)) <= before + 1
        assert "frozen" in bus.last(Faults).faults[0].text
        assert bus.last(MeterState).refused_blocks > 90


async def test_a_stream_of_another_grid_system_is_refused_with_a_reason(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open(header("u1", "i1"))
        await converter.play(2)

        assert bus.all(GridReading) == []
        assert "u2, u3, i2, i3 not in the stream" in bus.last(Faults).faults[0].text
        assert bus.last(MeterState).refused_blocks == 1


async def test_figures_beyond_belief_are_refused_and_do_not_end_the_process(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open(header(scale=1000.0))
        await converter.play(2)

        assert bus.all(GridReading) == []
        assert "beyond belief" in bus.last(Faults).faults[0].text

        converter.open()
        await converter.play(0.5)
        assert bus.last(GridReading).grid_power_w == pytest.approx(1380, rel=1e-3)


async def test_readings_that_waited_too_long_are_counted_but_not_said(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(3)
        before = len(bus.all(GridReading))
        energy_before_ws = 1380 * 3

        backlog = [converter.samples() for _ in range(250)]  # 5 s in which this process stood still
        await converter.clock.advance(5)
        for block in backlog:
            converter.send(BlockArrived(block, converter.clock.monotonic()))
        await converter.play(12)
        await until(lambda: bus.last(GridEnergy).total.import_energy_wh > 0)

    fresh = bus.all(GridReading)[before:]
    assert all(
        later.measured_at - earlier.measured_at >= timedelta(seconds=0.19)
        for earlier, later in pairwise(fresh)
    )
    gap = fresh[0].measured_at - bus.all(GridReading)[before - 1].measured_at
    assert timedelta(seconds=2.5) < gap < timedelta(seconds=4)  # those of 3 s ago were withheld
    counted_ws = bus.last(GridEnergy).total.import_energy_wh * 3600
    assert counted_ws == pytest.approx(energy_before_ws + 1380 * 17, rel=0.01)


async def test_registers_are_shown_only_once_they_are_stored(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store, persist_s=5)):
        converter.open()
        await converter.play(4)
        assert bus.last(GridEnergy).total.import_energy_wh == 0

        await converter.play(2.5)
        await until(lambda: bus.last(GridEnergy).total.import_energy_wh > 0)
        shown = bus.last(GridEnergy)
        assert shown.total.import_energy_wh == pytest.approx(1380 * 5 / 3600, rel=0.1)
        assert shown.restart_loss_s == 6
        assert sum(one.import_energy_wh for one in shown.phases.values()) == pytest.approx(
            shown.total.import_energy_wh, rel=1e-6
        )


async def test_registers_go_on_after_a_restart_and_never_backwards_after_a_crash(
    converter: Converter, store: Store
) -> None:
    shown: list[float] = []
    for crashes in (False, True, True, False):
        bus = MemoryBus()
        life = service(bus, converter, store, persist_s=1)
        if crashes:
            life.stop = nothing  # type: ignore[method-assign]  # kill -9
        async with running(life):
            converter.open()
            await converter.play(3.5)
            await until(lambda: bus.last(GridEnergy).total.import_energy_wh > 0)  # noqa: B023
        shown += [one.total.import_energy_wh for one in bus.all(GridEnergy)]

    assert shown == sorted(shown)
    assert shown[-1] * 3600 == pytest.approx(4 * 1380 * 3.5, abs=1380 * (2 * 2.1 + 1))


async def nothing() -> None:
    pass


async def test_a_full_disk_is_told_and_counting_goes_on(
    bus: MemoryBus, converter: Converter, tmp_path: Path
) -> None:
    folder = tmp_path / "metering"
    folder.write_text("not a folder")
    async with running(service(bus, converter, Store(folder, "registers"), persist_s=1)):
        converter.open()
        await converter.play(2.5)
        await until(lambda: "registers-not-stored" in fault_codes(bus))
        assert bus.last(GridEnergy).total.import_energy_wh == 0

        folder.unlink()
        await converter.play(2.5)
        await until(lambda: "registers-not-stored" not in fault_codes(bus))
        counted_ws = bus.last(GridEnergy).total.import_energy_wh * 3600
        assert counted_ws > 1380 * 2  # also what came while the disk was full


async def test_damaged_registers_fall_back_to_the_copy_before(
    converter: Converter, store: Store, tmp_path: Path
) -> None:
    first = MemoryBus()
    async with running(service(first, converter, store, persist_s=1)):
        converter.open()
        await converter.play(4.5)
        await until(lambda: first.last(GridEnergy).total.import_energy_wh > 0)
    copies = sorted((tmp_path / "metering").glob("registers.*.json"))
    assert len(copies) > 1
    newest = max(copies, key=lambda file: int(file.name.split(".")[1]))
    newest.write_bytes(newest.read_bytes()[:-20])

    second = MemoryBus()
    async with running(service(second, converter, store)):
        await converter.clock.advance(0.1)
        assert second.last(GridEnergy).total.import_energy_wh > 0
        assert "registers-damaged" in fault_codes(second)


async def test_a_lost_voltage_is_flagged_and_told_until_it_is_back_for_a_while(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        converter.volts[1] = 3.0
        await converter.play(1)
        assert bus.last(GridReading).flags == (QualityFlag.VOLTAGE_MISSING,)
        assert fault_codes(bus) == {"voltage-missing"}

        converter.volts[1] = 230.0
        await converter.play(1)
        assert bus.last(GridReading).flags == ()
        assert fault_codes(bus) == {"voltage-missing"}
        await converter.play(10)
        assert fault_codes(bus) == set()


async def test_a_reversed_transformer_shows_by_night_and_is_flagged(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    async with running(service(bus, converter, store)):
        converter.open()
        bus.deliver(described())
        converter.amps[1] = -2
        for n in range(10):
            for phase in range(3):
                change = 8 if n % 2 == 0 else -8
                converter.amps[phase] += -change if phase == 1 else change  # L2 is reversed
                bus.deliver(idle_inverter(converter.clock))
                await converter.play(1.4)
        await converter.play(1)

        assert bus.last(MeterState).wiring is WiringVerdict.WRONG
        assert "i2 is reversed" in bus.last(MeterState).wiring_text
        assert QualityFlag.WIRING_FAULT in bus.last(GridReading).flags
        assert "wiring-wrong" in fault_codes(bus)


async def test_a_wiring_proven_by_test_is_corrected_and_said_to_be(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    store.save(Kept(wiring=(Connection(0), Connection(1, -1), Connection(2))).as_json())
    converter.amps = [2, -3, 4]  # L2 is reversed

    async with running(service(bus, converter, store)):
        converter.open()
        await converter.play(1.1)

    assert bus.last(GridReading).grid_power_w == pytest.approx(230 * 9, rel=1e-3)
    assert bus.last(GridReading).flags == ()
    assert bus.last(MeterState).wiring is WiringVerdict.CORRECTED
    assert bus.last(MeterState).wiring_text == "i2 is reversed"


def meter_figures(power_w: float, imported_wh: float) -> dict[str, float | None]:
    names = (row.name for row in SDM630.table.values())
    return dict.fromkeys(names) | {
        "grid_power_w": power_w,
        "power_l1_w": power_w,
        "import_energy_wh": imported_wh,
        "export_energy_wh": 500.0,
    }


async def test_a_modbus_meter_is_read_and_its_registers_are_followed(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    source = {"kind": "modbus", "model": "SDM630", "host": "meter"}
    async with running(service(bus, converter, store, source=source, persist_s=1)):
        for n in range(40):
            figures = meter_figures(-1500.0 + n, 1000.0 + n)
            converter.send(MeterAnswered(figures, 1.0, converter.clock.monotonic() - 0.05))
            await converter.clock.advance(0.25)
        measured = converter.clock.now() - timedelta(seconds=0.3)
        await until(lambda: bus.last(GridEnergy).total.import_energy_wh > 1000)
        said = bus.last(GridReading)

    assert said.grid_power_w == -1461
    assert said.window_s == 1.0
    assert said.measured_at == measured
    assert said.phases[1].active_power_w is None
    assert bus.last(GridEnergy).total.import_energy_wh == 1039
    assert bus.last(GridEnergy).total.export_energy_wh == 500
    assert bus.last(GridEnergy).phases == {}


async def test_a_meter_whose_registers_jump_back_is_not_followed(
    bus: MemoryBus, converter: Converter, store: Store
) -> None:
    source = {"kind": "modbus", "model": "SDM630", "host": "meter"}
    async with running(service(bus, converter, store, source=source, persist_s=1)):
        for imported_wh in (5000.0, 5000.0, 17.0, 18.0):
            figures = meter_figures(100.0, imported_wh)
            converter.send(MeterAnswered(figures, 1.0, converter.clock.monotonic()))
            await converter.clock.advance(1)
    assert bus.last(GridEnergy).total.import_energy_wh == 5001
    assert bus.last(MeterState).refused_blocks == 1
