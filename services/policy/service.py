"""The only author of setpoints: one dispatch a grid reading, or one in its absence."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from bus.inverters import InverterReading, InverterState
from bus.message import Message
from bus.metering import GridReading, GridSystem
from bus.policy import Dispatch, PolicyState, Reason
from bus.site import Ess, FeedIn, Plant
from bus.system import Severity
from runtime.actor import Actor, Bus, on
from runtime.clock import Clock, Timer
from services.policy import core, translate
from services.policy.config import PolicyConfig
from services.policy.learning import learn
from services.policy.model import Decision, GridSample, House, Settings, Unit, UnitReading

REPEAT_S = 0.5
"""In a fail-safe the leases are renewed this often."""

GRACE_S = 1.0
"""After the start the first decision waits this long for settings and inverters: the leases given
before the restart last longer, and a decision without them would be a jump."""

_SILENCES: dict[Reason, tuple[str, str]] = {
    Reason.METER_SILENT: ("meter-silent", "no grid reading for 1 s: fail-safe"),
    Reason.NO_SETTINGS: ("no-settings", "site has not told the settings: fail-safe"),
}


@dataclass(frozen=True)
class GridSilent:
    """No grid reading has come in time."""


class PolicyService(Actor):
    """Keeps the picture of the house and lets the core decide on it."""

    name = "policy"
    publishes: ClassVar[tuple[type[Message], ...]] = (Dispatch, PolicyState)

    def __init__(self, bus: Bus, clock: Clock, config: PolicyConfig) -> None:
        """Args: config: the section of site.yaml."""
        super().__init__(bus, clock)
        self._config = config
        self._lease = timedelta(seconds=config.lease_s)
        self._units: tuple[Unit, ...] = ()
        self._readings: dict[str, UnitReading] = {}
        self._grid: GridReading | None = None
        self._sample: GridSample | None = None
        self._feed_in: FeedIn | None = None
        self._ess: Ess | None = None
        self._plant: Plant | None = None
        self._settings: Settings | None = None
        self._state = core.start(())
        self._remembered: PolicyState | None = None
        """What an earlier life had learned."""
        self._told: PolicyState | None = None
        self._sequence = 0
        self._deadline: Timer | None = None
        self._grace_until_s = 0.0
        self._wall_ahead_s = self._wall_lead_s()
        self._silent: frozenset[str] = frozenset()

    async def start(self) -> None:
        """Speak up even if no grid reading ever comes."""
        self._grace_until_s = self.clock.monotonic() + GRACE_S
        self._arm(core.METER_SILENT_AFTER_S)

    async def stop(self) -> None:
        """Nothing to undo: the leases lapse."""
        if self._deadline is not None:
            self._deadline.cancel()

    @on(GridReading)
    async def grid_measured(self, reading: GridReading) -> None:
        """Decide at once."""
        rewired = self._grid is None or reading.grid_system is not self._grid.grid_system
        self._grid = reading
        if rewired:
            self._resolve_settings()
        self._sample = translate.grid_sample(reading, self._instant(reading.measured_at))
        await self._decide()

    @on(GridSilent)
    async def grid_is_silent(self, _: GridSilent) -> None:
        """Decide without."""
        await self._decide()

    @on(InverterReading)
    async def inverter_measured(self, reading: InverterReading) -> None:
        """Keep it for the next decision."""
        measured_s = self._instant(reading.measured_at)
        self._readings[reading.inverter_id] = translate.unit_reading(reading, measured_s)

    @on(InverterState)
    async def inverter_described(self, state: InverterState) -> None:
        """Keep it; when an inverter has become another one, start anew from what is measured."""
        unit = translate.unit(state, self._config.poll_s)
        if unit in self._units:
            return
        others = (known for known in self._units if known.unit_id != unit.unit_id)
        self._start_anew(tuple(sorted((*others, unit), key=lambda known: known.unit_id)))

    @on(PolicyState)
    async def remembered(self, earlier: PolicyState) -> None:
        """Adopt what an earlier life had learned; what this life says comes back here too."""
        if self._told is None and self._remembered is None:
            self._remembered = earlier
            self._start_anew(self._units)

    @on(FeedIn)
    @on(Ess)
    @on(Plant)
    async def settings_changed(self, changed: FeedIn | Ess | Plant) -> None:
        """Take the new settings into the next decision."""
        match changed:
            case FeedIn():
                self._feed_in = changed
            case Ess():
                self._ess = changed
            case Plant():
                self._plant = changed
        self._resolve_settings()

    def _start_anew(self, units: tuple[Unit, ...]) -> None:
        known = dict(zip(self._units, self._state.actuators, strict=True))
        actuators = tuple(
            known[unit]
            if unit in known and self._told
            else translate.adopted(unit, self._remembered)
            for unit in units
        )
        self._units = units
        self._state = core.start(units, actuators)
        self._resolve_settings()

    def _resolve_settings(self) -> None:
        if self._feed_in and self._ess and self._plant:
            system = self._grid.grid_system if self._grid else GridSystem.THREE_PHASE_FOUR_WIRE
            self._settings = translate.settings(
                self._feed_in.settings,
                self._ess.settings,
                self._plant.settings,
                self._units,
                translate.phase_count(system),
            )

    async def _decide(self) -> None:
        house = House(
            self.clock.monotonic(),
            self._units,
            self._sample,
            tuple(self._readings.get(unit.unit_id) for unit in self._units),
            self._settings,
        )
        if house.now_s < self._grace_until_s and not _complete(house):
            self._arm(self._grace_until_s - house.now_s)
            return
        self._state, decision = core.decide(self._state, house)
        self._sequence += 1
        await self.publish(
            translate.dispatch(
                decision,
                sequence=self._sequence,
                decided_at=self.clock.now(),
                lease=self._lease,
                grid=self._grid,
            )
        )
        fresh_s = 0.0
        if self._sample is not None:
            fresh_s = self._sample.measured_s + core.METER_SILENT_AFTER_S - house.now_s
        self._arm(fresh_s if fresh_s > 0 else REPEAT_S)
        # the setpoints are on their way; the rest may take its time
        self._state = learn(self._state, house)
        await self._tell_faults(decision)
        await self._tell_learned()

    async def _tell_faults(self, decision: Decision) -> None:
        for reason, (code, text) in _SILENCES.items():
            if decision.reason is reason:
                await self.raise_fault(code, Severity.MAJOR, text)
            else:
                await self.clear_fault(code)
        if decision.reason in _SILENCES:
            return  # then nobody looks at the inverters
        silent = frozenset(decision.silent_units)
        for unit_id in silent - self._silent:
            text = "not heard of: counted at its rated power, the others make room for it"
            await self.raise_fault("inverter-silent", Severity.MAJOR, text, unit_id)
        for unit_id in self._silent - silent:
            await self.clear_fault("inverter-silent", unit_id)
        self._silent = silent

    async def _tell_learned(self) -> None:
        """Say what was learned when that has changed; at most each ten seconds."""
        learned = translate.learned(self._units, self._state, self._sequence)
        told = self._told
        if told is not None and (learned.actuators, learned.hunting_guard_active) == (
            told.actuators,
            told.hunting_guard_active,
        ):
            return
        self._told = learned
        await self.publish(learned)

    def _arm(self, delay_s: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        # A hair later, so that the age is past its limit and not just at it.
        self._deadline = self.post_later(delay_s + 0.001, GridSilent())

    def _instant(self, measured_at: datetime) -> float:
        """On the monotonic clock; a stamp from the future counts as now.

        When the wall clock has just been set, the stamp may still be by the old one: the younger
        of the two readings of it is believed.
        """
        before_s = self._wall_ahead_s
        self._wall_ahead_s = self._wall_lead_s()
        now_s = self.clock.monotonic()
        stamp_s = measured_at.timestamp()
        instants_s = (min(stamp_s - before_s, now_s), min(stamp_s - self._wall_ahead_s, now_s))
        return max(instants_s)

    def _wall_lead_s(self) -> float:
        return self.clock.now().timestamp() - self.clock.monotonic()


def _complete(house: House) -> bool:
    """Whether all is known that a first decision should rest on."""
    return bool(house.units) and house.settings is not None and None not in house.readings
