"""The measurement at the grid connection point, as an actor: when this arrives, do that."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from bus.inverters import InverterReading, InverterState
from bus.message import Message
from bus.metering import GridEnergy, GridReading, MeterState, QualityFlag, WiringVerdict
from bus.system import Severity
from runtime.actor import Actor, Bus, every, on
from runtime.clock import Clock
from runtime.store import Store, StoreError
from services.metering import readings
from services.metering.config import MeteringConfig
from services.metering.kept import Kept
from services.metering.pipeline import SamplePipeline, WindowResult
from services.metering.power import HOP_S
from services.metering.production import Production
from services.metering.registers import MWS_PER_WH, EnergyRegisters, EnergySnapshot, RegisterPair
from services.metering.samples import StreamRefusedError
from services.metering.sources import (
    BlockArrived,
    MeterAnswered,
    Source,
    SourceLost,
    StreamOpened,
)
from services.metering.systems import LAYOUTS, Measurement, as_labelled, phase_sequence_is_positive
from services.metering.wiring import Snapshot
from services.metering.wiring_watch import NaturalSteps, verdict

SILENT = "meter-silent"
WIRING = "wiring-wrong"
SEQUENCE = "phase-sequence"
UNSTORED = "registers-not-stored"
DAMAGED = "registers-damaged"

SILENT_AFTER_S = 1.0
"""Without a new window for so long the meter is silent: five readings are missing."""
_WINDOWS_A_READING = 2
_CONDITION_HOLDS_S = 10.0
_STORE_TICK_S = 1.0
_HIGHEST_POWER_W = 300_000.0
"""Three phases at 400 A: no more can flow through a house's meter."""

_CONDITIONS = {
    QualityFlag.VOLTAGE_MISSING: "a voltage is missing: the powers of its phase read too low",
    QualityFlag.FREQUENCY_OUT_OF_RANGE: "the mains frequency is outside 45 to 65 Hz",
    QualityFlag.OVERRANGE: "a channel is at the end of its range: currents above it are cut",
}


@dataclass(frozen=True)
class _Stored:
    """The store has it, or has not and why."""

    kept: Kept
    counted_at: datetime
    problem: str | None


class MeteringService(Actor):
    """Turns what a source sends into grid readings and energy registers."""

    name = "metering"
    publishes: ClassVar[tuple[type[Message], ...]] = (GridReading, GridEnergy, MeterState)

    def __init__(
        self, bus: Bus, clock: Clock, config: MeteringConfig, source: Source, store: Store
    ) -> None:
        """Args: source: where measurements come from. store: what survives a restart."""
        super().__init__(bus, clock)
        self._config = config
        self._source = source
        self._store = store
        self._metrology = config.metrology()
        self._pipeline: SamplePipeline | None = None
        self._kept = Kept()
        self._registers = self._registers_from(EnergySnapshot())
        self._published_wiring = WiringVerdict.UNSURE, ""
        self._steps = NaturalSteps(config.grid_system)
        self._production = Production()
        self._sequence = 0
        self._windows = 0
        self._last_sampled_s: float | None = None
        self._first_of_stream = False
        self._estimated = False
        self._said_s = clock.monotonic()
        """When the newest reading was published."""
        self._reason = "nothing has come yet"
        self._lost_before = self._refused = 0
        self._said_state: MeterState | None = None
        self._seen: dict[QualityFlag, float] = {}
        self._positive_sequence: bool | None = None
        self._next_store_s = clock.monotonic() + config.persist_s
        self._storing: asyncio.Task[None] | None = None
        self._stored = Kept()
        self._counted_at = clock.now()

    async def start(self) -> None:
        """Go on from what was kept, then listen to the source."""
        await self._recall()
        await self._publish_energy(self._kept, self.clock.now())
        await self._publish_state()
        self.spawn(self._listen(), "source")

    async def stop(self) -> None:
        """Store what has been counted so far."""
        if self._storing is not None:
            await asyncio.wait([self._storing])
        self._registers.settle()
        kept = self._now_kept()
        try:
            self._store.save(kept.as_json())
        except StoreError as error:
            self.log.warning("registers_not_stored", reason=str(error))
        else:
            await self._publish_energy(kept, self._counted_at)

    # --- what the source sends

    @on(StreamOpened)
    async def stream_opened(self, arrival: StreamOpened) -> None:
        """A stream begins: windows start anew."""
        self._forget_stream()
        try:
            self._pipeline = SamplePipeline(arrival.header, self._metrology)
        except StreamRefusedError as refusal:
            self._refuse(str(refusal))
            return
        self._first_of_stream = True
        self._reason = "the samples have stopped"
        self.log.info("stream_opened", source=self._source.name, fs_hz=arrival.header.fs_hz)

    @on(BlockArrived)
    async def samples_arrived(self, arrival: BlockArrived) -> None:
        """Samples: every second window is a reading."""
        pipeline = self._pipeline
        if pipeline is None:
            return  # of a stream that was refused
        for result in pipeline.take(arrival.block, arrival.arrived_s):
            self._count(result)
            self._windows += 1
            if self._windows % _WINDOWS_A_READING == 0:
                await self._publish_window(result)
                self._watch_wiring(result.measurement)
        if pipeline.is_frozen:
            self._reason = "the samples are frozen: every block repeats the last"

    @on(MeterAnswered)
    async def meter_answered(self, answer: MeterAnswered) -> None:
        """A Modbus meter's figures: a reading as they are, registers as the meter counts."""
        self._reason = "no answers"
        await self._publish(
            lambda sequence, measured_at: readings.from_meter(
                answer.figures,
                self._config.grid_system,
                sequence=sequence,
                measured_at=measured_at,
                window_s=answer.window_s,
            ),
            answer.measured_s,
        )
        self._follow_meter(answer.figures)

    @on(SourceLost)
    async def source_lost(self, loss: SourceLost) -> None:
        """The source has gone, or sent what cannot be trusted; it comes back by itself."""
        self._forget_stream()
        if loss.refused:
            self._refuse(loss.reason)
        elif loss.reason != self._reason:
            self._reason = loss.reason
            self.log.warning("source_lost", source=self._source.name, reason=loss.reason)

    # --- what the inverters say

    @on(InverterState)
    async def inverter_described(self, state: InverterState) -> None:
        """On which phases an inverter feeds."""
        self._production.describe(state)

    @on(InverterReading)
    async def inverter_measured(self, reading: InverterReading) -> None:
        """What it feeds."""
        self._production.report(reading, self.clock.monotonic())

    # --- what time brings

    @every(0.25)
    async def watch(self) -> None:
        """Notice silence, and conditions that last."""
        now_s = self.clock.monotonic()
        if now_s - self._said_s >= SILENT_AFTER_S:
            self._steps.forget()
            text = f"no measurement; {self._source.name}: {self._reason}"
            await self.raise_fault(SILENT, Severity.MAJOR, text[:500])
            return
        await self.clear_fault(SILENT)
        for flag, text in _CONDITIONS.items():
            if now_s - self._seen.get(flag, -_CONDITION_HOLDS_S) < _CONDITION_HOLDS_S:
                await self.raise_fault(flag.value, Severity.MAJOR, text)
            else:
                await self.clear_fault(flag.value)
        if self._positive_sequence is False:
            text = "the phases follow each other backwards: measured right, but not as labelled"
            await self.raise_fault(SEQUENCE, Severity.WARNING, text)
        else:
            await self.clear_fault(SEQUENCE)

    @every(_STORE_TICK_S)
    async def keep(self) -> None:
        """Store the registers when it is time, beside the handlers: a disk may be slow."""
        await self._publish_state()
        if self._storing is not None or self.clock.monotonic() < self._next_store_s:
            return
        self._next_store_s = self.clock.monotonic() + self._config.persist_s
        kept = self._now_kept()
        if kept != self._stored:
            self._storing = self.spawn(self._save(kept, self._counted_at), "store")

    @on(_Stored)
    async def stored(self, outcome: _Stored) -> None:
        """Only now may the registers be shown."""
        self._storing = None
        if outcome.problem is not None:
            text = f"{outcome.problem}; counting goes on, shown is what was stored last"
            await self.raise_fault(UNSTORED, Severity.MAJOR, text[:500])
            return
        self._stored = outcome.kept
        await self.clear_fault(UNSTORED)
        await self._publish_energy(outcome.kept, outcome.counted_at)

    # --- the source

    async def _listen(self) -> None:
        async for arrival in self._source.arrivals():
            self.post(arrival)

    def _forget_stream(self) -> None:
        if self._pipeline is not None:
            self._lost_before += self._pipeline.lost_samples
            self._refused += self._pipeline.frozen_blocks
        self._pipeline = None
        self._steps.forget()

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        if reason != self._reason:
            self._reason = reason
            self.log.warning("refused", source=self._source.name, reason=reason)

    # --- readings

    async def _publish_window(self, result: WindowResult) -> None:
        measurement = result.measurement
        flags = self._flags(result)
        self._estimated = False
        await self._publish(
            lambda sequence, measured_at: readings.from_samples(
                measurement,
                self._config.grid_system,
                sequence=sequence,
                measured_at=measured_at,
                flags=flags,
            ),
            result.sampled_s,
        )

    async def _publish(
        self, reading: Callable[[int, datetime], GridReading], measured_s: float
    ) -> None:
        """Say a reading, unless it has waited so long that nobody may use it."""
        age_s = max(self.clock.monotonic() - measured_s, 0.0)
        self._sequence += 1
        if age_s > (GridReading.topic.expires_s or age_s):
            self._reason = "measurements come too late to be of use"
            return
        measured_at = self.clock.now() - timedelta(seconds=age_s)
        try:
            said = reading(self._sequence, measured_at)
        except ValueError as error:
            self._refuse(f"a figure is beyond belief: {' '.join(str(error).split())[:200]}")
            return
        self._said_s = self.clock.monotonic()
        await self.publish(said)

    def _flags(self, result: WindowResult) -> tuple[QualityFlag, ...]:
        measurement = result.measurement
        conditions = {
            QualityFlag.VOLTAGE_MISSING: measurement.voltage_missing,
            QualityFlag.FREQUENCY_OUT_OF_RANGE: measurement.frequency_out_of_range,
            QualityFlag.OVERRANGE: result.overrange,
        }
        now_s = self.clock.monotonic()
        self._seen |= dict.fromkeys((flag for flag, holds in conditions.items() if holds), now_s)
        self._positive_sequence = (
            None
            if measurement.voltage_missing
            else phase_sequence_is_positive(self._config.grid_system, measurement.voltage_phasors)
        )
        conditions[QualityFlag.ESTIMATED] = self._estimated
        conditions[QualityFlag.WIRING_FAULT] = self._published_wiring[0] is WiringVerdict.WRONG
        return tuple(flag for flag, holds in conditions.items() if holds)

    # --- registers

    def _count(self, result: WindowResult) -> None:
        lost_s = result.lost_s
        if self._first_of_stream and self._last_sampled_s is not None:
            lost_s = max(result.sampled_s - self._last_sampled_s - HOP_S, 0.0)
        self._first_of_stream = False
        self._last_sampled_s = result.sampled_s
        self._registers.lose(lost_s)
        measurement = result.measurement
        self._estimated |= self._registers.add(
            measurement.active_power_w, measurement.phase_powers_w, HOP_S
        )
        self._counted_at = self.clock.now()

    def _follow_meter(self, figures: dict[str, float | None]) -> None:
        imported, exported = figures.get("import_energy_wh"), figures.get("export_energy_wh")
        if imported is None or exported is None or min(imported, exported) < 0:
            return
        shown = RegisterPair(round(imported * MWS_PER_WH), round(exported * MWS_PER_WH))
        now = self.clock.now().timestamp()
        elapsed_s = max(now - (self._kept.meter_read_at or now), 0.0)
        totals, doubt = self._kept.meter.follow(shown, elapsed_s, _HIGHEST_POWER_W)
        if doubt is not None:
            self._refuse(doubt)
        if totals != self._kept.meter:
            self._kept = replace(self._kept, meter=totals, meter_read_at=now)
            self._counted_at = self.clock.now()

    def _registers_from(self, stored: EnergySnapshot) -> EnergyRegisters:
        return EnergyRegisters(
            stored,
            LAYOUTS[self._config.grid_system].phases,
            netting_s=self._config.netting_s,
            longest_fill_s=self._config.longest_fill_s,
        )

    def _now_kept(self) -> Kept:
        return replace(self._kept, energy=self._registers.snapshot())

    async def _save(self, kept: Kept, counted_at: datetime) -> None:
        problem = None
        try:
            await asyncio.to_thread(self._store.save, kept.as_json())
        except StoreError as error:
            problem = str(error)
        self.post(_Stored(kept, counted_at, problem))

    async def _recall(self) -> None:
        try:
            loaded = self._store.load(Kept.from_json)
        except StoreError as error:
            await self.raise_fault(DAMAGED, Severity.MAJOR, f"{error}; counting starts at zero")
            return
        if loaded.damaged:
            begins = "an older copy" if loaded.content else "zero"
            text = f"{', '.join(map(str, loaded.damaged))}; counting goes on from {begins}"
            await self.raise_fault(DAMAGED, Severity.MAJOR, text[:500])
        self._kept = self._stored = loaded.content or Kept()
        self._registers = self._registers_from(self._kept.energy)
        if self._kept.wiring is not None:
            self._metrology = replace(self._metrology, wiring=self._kept.wiring)

    async def _publish_energy(self, kept: Kept, counted_at: datetime) -> None:
        of_meter = self._config.source.kind == "modbus"
        snapshot = EnergySnapshot(kept.meter.ours) if of_meter else kept.energy
        loss_s = self._config.persist_s + _STORE_TICK_S
        await self.publish(readings.energy(snapshot, measured_at=counted_at, restart_loss_s=loss_s))

    # --- wiring and state

    def _watch_wiring(self, measurement: Measurement) -> None:
        snapshot = Snapshot(measurement.voltage_phasors, measurement.current_phasors)
        self._steps.watch(snapshot, self._production.on_phases(self.clock.monotonic()))

    def _wiring(self) -> tuple[WiringVerdict, str]:
        """What the evidence says of the wiring in use."""
        system = self._config.grid_system
        if self._config.source.kind == "modbus":
            return WiringVerdict.UNSURE, "the meter's own; check its sign with a known load"
        in_use = self._metrology.wiring or as_labelled(system)
        return verdict(system, in_use, self._steps.finding())

    async def _publish_state(self) -> None:
        self._published_wiring = self._wiring()
        judged, text = self._published_wiring
        if judged is WiringVerdict.WRONG:
            await self.raise_fault(WIRING, Severity.MAJOR, text[:500])
        else:
            await self.clear_fault(WIRING)
        pipeline = self._pipeline
        said = MeterState(
            source=self._source.name,
            grid_system=self._config.grid_system,
            wiring=judged,
            wiring_text=text[:500],
            lost_samples=self._lost_before + (pipeline.lost_samples if pipeline else 0),
            refused_blocks=self._refused + (pipeline.frozen_blocks if pipeline else 0),
            calibrated=self._config.calibration is not None,
        )
        if said != self._said_state:
            self._said_state = said
            await self.publish(said)
