"""Active energy registers: integers that only grow, in both directions, per phase and in total.

One unit is a milliwatt-second; what a window leaves over below that is carried into the next, so
nothing is rounded away. Import and export depend on when they are netted against each other: here
the sum of the phases over each netting interval, by default a published window of 200 ms. Utility
meters net the phases by local rule, so the interval is a setting, and shown.
"""

from dataclasses import dataclass, field
from typing import Self

MWS_PER_WH = 3_600_000


@dataclass(frozen=True, slots=True)
class RegisterPair:
    """One pair of registers in mW·s."""

    import_mws: int = 0
    export_mws: int = 0

    def __post_init__(self) -> None:
        if self.import_mws < 0 or self.export_mws < 0:
            raise ValueError(f"an energy register is below zero: {self}")

    @property
    def import_wh(self) -> float:
        """Imported energy in Wh."""
        return self.import_mws / MWS_PER_WH

    @property
    def export_wh(self) -> float:
        """Exported energy in Wh."""
        return self.export_mws / MWS_PER_WH

    def plus_net(self, energy_mws: int) -> "RegisterPair":
        """With a signed energy added to the register of its direction."""
        if energy_mws >= 0:
            return RegisterPair(self.import_mws + energy_mws, self.export_mws)
        return RegisterPair(self.import_mws, self.export_mws - energy_mws)


@dataclass(frozen=True, slots=True)
class EnergySnapshot:
    """All registers at one instant, as they are stored and published."""

    total: RegisterPair = field(default_factory=RegisterPair)
    phases: tuple[RegisterPair, ...] = ()
    """L1, L2, L3; empty in a three-wire system."""
    estimated_mws: int = 0
    """Magnitude of what was filled in for lost samples."""
    unmeasured_ms: int = 0
    """Time in which nothing was counted because too much was lost to fill in."""


class _NetRegister:
    """One pair of registers and what is not yet netted."""

    def __init__(self, pair: RegisterPair) -> None:
        self.pair = pair
        self.pending_ws = 0.0

    def settle(self) -> None:
        """Net what is pending; the part below one unit waits for the next time."""
        whole_mws = round(self.pending_ws * 1000)
        self.pair = self.pair.plus_net(whole_mws)
        self.pending_ws -= whole_mws / 1000


class EnergyRegisters:
    """The registers while they count."""

    def __init__(
        self, stored: EnergySnapshot, phases: int, *, netting_s: float, longest_fill_s: float
    ) -> None:
        """Go on counting.

        Args:
            stored: Where to go on from; phases that it lacks start at zero.
            phases: How many phases have registers of their own.
            netting_s: Energies of both signs within this time are set against each other.
            longest_fill_s: A gap up to this long is filled with the mean of its neighbours.
        """
        kept = stored.phases[:phases]
        missing = (RegisterPair(),) * (phases - len(kept))
        self._total = _NetRegister(stored.total)
        self._phases = [_NetRegister(pair) for pair in (*kept, *missing)]
        self._estimated_ws = stored.estimated_mws / 1000
        self._unmeasured_ms = stored.unmeasured_ms
        self._netting_s = netting_s
        self._longest_fill_s = longest_fill_s
        self._since_netted_s = 0.0
        self._last: tuple[float, tuple[float, ...]] | None = None
        self._gap_s = 0.0

    def lose(self, seconds: float) -> None:
        """Note that nothing is known of the next so many seconds."""
        self._gap_s += seconds

    def add(self, active_power_w: float, phase_powers_w: tuple[float, ...], seconds: float) -> bool:
        """Count the power of one window, and fill the gap before it if there is one.

        Args:
            active_power_w: Sum of the phases; > 0 is import.
            phase_powers_w: Each phase, or nothing in a three-wire system.
            seconds: How long it counts for.

        Returns:
            Whether a gap was filled with an estimate.
        """
        filled = self._close_gap(active_power_w, phase_powers_w)
        self._count(active_power_w, phase_powers_w, seconds)
        self._last = active_power_w, phase_powers_w
        return filled

    def snapshot(self) -> EnergySnapshot:
        """All that has been netted."""
        return EnergySnapshot(
            self._total.pair,
            tuple(register.pair for register in self._phases),
            round(self._estimated_ws * 1000),
            self._unmeasured_ms,
        )

    def settle(self) -> Self:
        """Net what is pending ahead of time: before an orderly end."""
        for register in (self._total, *self._phases):
            register.settle()
        self._since_netted_s = 0.0
        return self

    def _close_gap(self, active_power_w: float, phase_powers_w: tuple[float, ...]) -> bool:
        gap_s, self._gap_s = self._gap_s, 0.0
        if not gap_s:
            return False
        if self._last is None or gap_s > self._longest_fill_s:
            self._unmeasured_ms += round(gap_s * 1000)
            return False
        before_w, phases_before_w = self._last
        mean_w = (before_w + active_power_w) / 2
        pairs = zip(phases_before_w, phase_powers_w, strict=True)
        self._count(mean_w, tuple((before + after) / 2 for before, after in pairs), gap_s)
        self._estimated_ws += abs(mean_w) * gap_s
        return True

    def _count(
        self, active_power_w: float, phase_powers_w: tuple[float, ...], seconds: float
    ) -> None:
        self._total.pending_ws += active_power_w * seconds
        for register, power_w in zip(self._phases, phase_powers_w, strict=True):
            register.pending_ws += power_w * seconds
        self._since_netted_s += seconds
        if self._since_netted_s > self._netting_s * (1 - 1e-6):
            self.settle()


@dataclass(frozen=True, slots=True)
class MeterTotals:
    """Registers that follow those of a meter which counts by itself.

    A meter may be replaced or show its last digit one lower; ours never run backwards.
    """

    ours: RegisterPair = field(default_factory=RegisterPair)
    seen: RegisterPair | None = None
    """The meter's own registers when last accepted; None: never yet, ours begin where it stands."""

    def follow(
        self, shown: RegisterPair, elapsed_s: float, highest_power_w: float
    ) -> tuple["MeterTotals", str | None]:
        """Take over what the meter shows.

        Args:
            shown: The meter's registers.
            elapsed_s: Time since they were last accepted.
            highest_power_w: No more than this can have flowed.

        Returns:
            The registers then, and why the meter was not believed (None: it was).
        """
        if self.seen is None:
            return MeterTotals(shown, shown), None
        grown = shown.import_mws - self.seen.import_mws, shown.export_mws - self.seen.export_mws
        if any(-_LAST_DIGIT_MWS <= step < 0 for step in grown) and max(grown) <= 0:
            return self, None
        if min(grown) < 0:
            return MeterTotals(self.ours, shown), "the meter's registers ran backwards: replaced?"
        most_mws = 1.5 * highest_power_w * elapsed_s * 1000 + _LAST_DIGIT_MWS
        if max(grown) > most_mws:
            reason = f"the meter's registers jumped by {max(grown) / MWS_PER_WH:.0f} Wh"
            return MeterTotals(self.ours, shown), reason
        ours = RegisterPair(self.ours.import_mws + grown[0], self.ours.export_mws + grown[1])
        return MeterTotals(ours, shown), None


_LAST_DIGIT_MWS = 100 * MWS_PER_WH
"""0.1 kWh, the coarsest last digit of the meters known here."""
