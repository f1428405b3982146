"""Grid systems: which channels make which phase, and what may be said of each.

| system | voltages | currents | active power |
|---|---|---|---|
| 1P2W | u1 | i1 | u1 i1 |
| 3P4W | u1 u2 u3 to neutral | i1 i2 i3 | sum of three |
| 3P3W | u12 u32 between lines | i1 i3 | u12 i1 + u32 i3: exact as a sum, each alone means nothing |

A neutral current (`in`) in the stream is left aside.
"""

import cmath
import math
from dataclasses import dataclass, field

from bus.metering import GridSystem
from services.metering.calibration import Channel
from services.metering.ct import CurrentTransformer
from services.metering.power import MAINS_HZ, WindowSums

MISSING_VOLTAGE_SHARE = 0.2
"""A voltage below this share of the nominal one is missing: a lost lead picks up less."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The channels that a grid system measures with, in the order of the window's rows."""

    voltages: tuple[str, ...]
    currents: tuple[str, ...]

    @property
    def phases(self) -> int:
        """How many phases have a power of their own; none without a neutral to measure against."""
        return 0 if "u12" in self.voltages else len(self.currents)


LAYOUTS = {
    GridSystem.SINGLE_PHASE: Layout(("u1",), ("i1",)),
    GridSystem.THREE_PHASE_FOUR_WIRE: Layout(("u1", "u2", "u3"), ("i1", "i2", "i3")),
    GridSystem.THREE_PHASE_THREE_WIRE: Layout(("u12", "u32"), ("i1", "i3")),
}


@dataclass(frozen=True, slots=True)
class Connection:
    """Which current channel measures a phase, and which way round."""

    channel: int
    """Position in `Layout.currents`."""
    sign: int = 1
    """-1: the transformer sits the wrong way round, or its leads are crossed."""


Wiring = tuple[Connection, ...]
"""One connection a current of the layout."""


def as_labelled(system: GridSystem) -> Wiring:
    """The wiring as the terminals are marked."""
    return tuple(Connection(n) for n in range(len(LAYOUTS[system].currents)))


@dataclass(frozen=True, slots=True)
class PhaseMeasurement:
    """One phase over one window; None where the system has no such thing."""

    voltage_v: float
    """To neutral; in a three-wire system L1-L2, L2-L3, L3-L1."""
    current_a: float
    active_power_w: float | None = None
    reactive_power_var: float | None = None
    apparent_power_va: float | None = None
    power_factor: float | None = None
    displacement_factor: float | None = None
    """Cosine of the fundamental's angle, signed as its active power."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The grid connection point over one window; powers > 0 are import."""

    phases: tuple[PhaseMeasurement, ...]
    active_power_w: float
    reactive_power_var: float
    """Of the fundamental; > 0 is inductive."""
    apparent_power_va: float
    """Sum of the phases' U x I; in a three-wire system sqrt(3)/3 of the sum of U_LL x I."""
    power_factor: float | None
    frequency_hz: float | None
    voltage_missing: bool
    frequency_out_of_range: bool
    voltage_phasors: tuple[complex, ...]
    """Corrected RMS phasors of the layout's voltages."""
    current_phasors: tuple[complex, ...]
    """The same of the current channels as the terminals are marked, for the check of wiring."""

    @property
    def phase_powers_w(self) -> tuple[float, ...]:
        """Active power of each phase; empty in a three-wire system."""
        return tuple(p.active_power_w for p in self.phases if p.active_power_w is not None)


@dataclass(frozen=True)
class Metrology:
    """Turns window sums into the figures of one installation."""

    system: GridSystem
    ct: CurrentTransformer
    nominal_voltage_v: float
    """To neutral; between lines in a three-wire system."""
    nominal_frequency_hz: float = 50.0
    channels: dict[str, Channel] = field(default_factory=dict)
    """Calibration by channel name; a channel not named is taken as it is."""
    wiring: Wiring = ()
    """Empty: as labelled."""

    @property
    def layout(self) -> Layout:
        """The channels in the order of rows."""
        return LAYOUTS[self.system]

    @property
    def least_voltage_v(self) -> float:
        """Below this a voltage is missing."""
        return MISSING_VOLTAGE_SHARE * self.nominal_voltage_v

    def measure(self, sums: WindowSums) -> Measurement:
        """Calibrate one window's sums and make them the figures of the grid system."""
        corrected = _Corrected(self, sums)
        if self.system is GridSystem.THREE_PHASE_THREE_WIRE:
            return self._three_wire(corrected)
        return self._with_neutral(corrected)

    def _with_neutral(self, corrected: "_Corrected") -> Measurement:
        phases = []
        for phase, wire in enumerate(self.wiring or as_labelled(self.system)):
            volts, amps = corrected.voltages[phase], corrected.currents[wire.channel]
            va = corrected.power(phase, wire)
            real, imag = va.real, va.imag
            if amps < self.ct.creep_a:
                amps = real = imag = 0.0
            elif abs(real) < self.ct.creep_w(self.nominal_voltage_v):
                real = 0.0
            fundamental = corrected.fundamental(phase, wire)
            phases.append(
                PhaseMeasurement(
                    volts,
                    amps,
                    real,
                    imag,
                    volts * amps,
                    _factor(real, volts * amps),
                    _factor(fundamental.real, abs(fundamental)) if amps else None,
                )
            )
        return self._summed(
            corrected,
            tuple(phases),
            math.fsum(phase.active_power_w or 0.0 for phase in phases),
            math.fsum(phase.reactive_power_var or 0.0 for phase in phases),
            math.fsum(phase.apparent_power_va or 0.0 for phase in phases),
        )

    def _three_wire(self, corrected: "_Corrected") -> Measurement:
        first, third = self.wiring or as_labelled(self.system)
        va = corrected.power(0, first) + corrected.power(1, third)
        amps = (
            corrected.currents[first.channel],
            corrected.third_current(first, third),
            corrected.currents[third.channel],
        )
        volts = (corrected.voltages[0], corrected.voltages[1], corrected.third_voltage())
        real, imag = va.real, va.imag
        if max(amps) < self.ct.creep_a:
            amps, real, imag = (0.0, 0.0, 0.0), 0.0, 0.0
        elif abs(real) < self.ct.creep_w(self.nominal_voltage_v):
            real = 0.0
        phases = tuple(PhaseMeasurement(u, i) for u, i in zip(volts, amps, strict=True))
        apparent = math.sqrt(3) / 3 * math.fsum(u * i for u, i in zip(volts, amps, strict=True))
        return self._summed(corrected, phases, real, imag, apparent)

    def _summed(
        self,
        corrected: "_Corrected",
        phases: tuple[PhaseMeasurement, ...],
        active: float,
        reactive: float,
        apparent: float,
    ) -> Measurement:
        frequency = corrected.sums.frequency_hz
        return Measurement(
            phases,
            active,
            reactive,
            apparent,
            _factor(active, apparent),
            frequency,
            min(corrected.voltages) < self.least_voltage_v,
            max(corrected.voltages) >= self.least_voltage_v
            and not (frequency and MAINS_HZ[0] <= frequency <= MAINS_HZ[1]),
            tuple(corrected.voltage_phasors),
            tuple(corrected.current_phasors),
        )


class _Corrected:
    """One window's sums with the channels' errors taken out."""

    def __init__(self, metrology: Metrology, sums: WindowSums) -> None:
        layout = metrology.layout
        frequency = sums.frequency_hz or metrology.nominal_frequency_hz
        self.sums = sums
        self.first_current = len(layout.voltages)
        self.corrections: list[complex] = []
        rms: list[float] = []
        for row, name in enumerate(layout.voltages + layout.currents):
            square = max(sums.products[row][row], 0.0)
            channel = metrology.channels.get(name)
            if channel is None:
                rms.append(math.sqrt(square))
                self.corrections.append(1 + 0j)
                continue
            reading = channel.without_offset(math.sqrt(square))
            correction = channel.correction(frequency, reading / metrology.ct.rated_a * 100)
            rms.append(reading * abs(correction))
            self.corrections.append(correction)
        phasors = [p * c for p, c in zip(sums.phasors, self.corrections, strict=True)]
        self.voltages, self.currents = rms[: self.first_current], rms[self.first_current :]
        self.voltage_phasors = phasors[: self.first_current]
        self.current_phasors = phasors[self.first_current :]

    def power(self, voltage_row: int, wire: Connection) -> complex:
        """Active power of all frequencies + j reactive power of the fundamental."""
        current_row = self.first_current + wire.channel
        active = self.sums.products[voltage_row][current_row]
        reactive = (
            self.sums.phasors[voltage_row] * self.sums.phasors[current_row].conjugate()
        ).imag
        turn = self.corrections[voltage_row] * self.corrections[current_row].conjugate()
        return complex(active, reactive) * turn * wire.sign

    def fundamental(self, voltage_row: int, wire: Connection) -> complex:
        """Complex power of the fundamental alone."""
        current = self.current_phasors[wire.channel].conjugate()
        return self.voltage_phasors[voltage_row] * current * wire.sign

    def third_voltage(self) -> float:
        """RMS of u31 = u32 - u12."""
        return self._rms_of_combination(0, 1, -1)

    def third_current(self, first: Connection, third: Connection) -> float:
        """RMS of i2 = -(i1 + i3), which no transformer measures."""
        rows = self.first_current + first.channel, self.first_current + third.channel
        return self._rms_of_combination(*rows, first.sign * third.sign)

    def _rms_of_combination(self, one: int, other: int, sign: int) -> float:
        rms = self.voltages + self.currents
        together = complex(
            self.sums.products[one][other],
            (self.sums.phasors[one] * self.sums.phasors[other].conjugate()).imag,
        )
        together *= self.corrections[one] * self.corrections[other].conjugate()
        return math.sqrt(max(rms[one] ** 2 + rms[other] ** 2 + 2 * sign * together.real, 0.0))


def phase_sequence_is_positive(system: GridSystem, voltages: tuple[complex, ...]) -> bool | None:
    """Whether L2 follows L1; None: there are no three phases, or a voltage is missing."""
    if len(voltages) == 1 or not all(voltages):
        return None
    angle = cmath.phase(voltages[1] / voltages[0])
    # u32 leads u12 by 60 degrees where u2 lags u1 by 120.
    return angle > 0 if system is GridSystem.THREE_PHASE_THREE_WIRE else angle < 0


def _factor(active: float, apparent: float) -> float | None:
    return min(max(active / apparent, -1.0), 1.0) if apparent else None
