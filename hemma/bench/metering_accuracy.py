"""Accuracy of power and energy: every test point of the meter classes, and single readings.

All signals go through the service's own path: bytes of a stream, parser, windows, calibration.
"""

import cmath
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bus.metering import GridSystem
from hemma.bench.metering_signals import (
    FS_HZ,
    IDEAL,
    NOMINAL_V,
    PHASE_ANGLES,
    RATED_A,
    Converter,
    Mains,
    Signal,
    Transformer,
    sampled,
)
from services.metering.calibration import (
    Channel,
    CtCurve,
    ErrorPoint,
    error_point,
    gain_error_pct,
    phase_error_deg,
)
from services.metering.ct import external_ct
from services.metering.pipeline import SamplePipeline
from services.metering.samples import StreamHeader, StreamParser
from services.metering.systems import Measurement, Metrology

FREQUENCIES_HZ = (49.0, 49.5, 50.0, 50.5, 51.0)
TEST_S = 1.0
"""Length of the energy measured at a test point."""

CONVERTER = Converter(bits=16, noise_counts=0.7, offset=0.002)
"""An ordinary 16-bit converter."""
EXACT = Converter(bits=31, noise_counts=0.0, offset=0.01)
"""So fine that what is left is the arithmetic."""

_LIMITS = ((1, 0.4, 30), (5, 0.2, 15), (20, 0.2, 10), (100, 0.2, 10), (120, 0.2, 10))
"""Load in %, ratio error in %, angle in minutes: what the reference product permits its CTs."""

TRANSFORMERS = (
    *(
        Transformer(
            f"CT {ratio:+d}x ratio, {lead:+d}x angle",
            tuple((load, ratio * pct, lead * minutes) for load, pct, minutes in _LIMITS),
        )
        for ratio in (1, -1)
        for lead in (1, -1)
    ),
    # Turns are taken off to hide the magnetising current: reads too little at low loads and too
    # much at high ones, and leads.
    Transformer(
        "CT with corrected turns",
        ((1, -0.4, 30), (5, -0.2, 15), (20, 0.2, 10), (100, 0.2, 10), (120, 0.2, 10)),
    ),
)
"""At the limits everywhere."""

_PHASES = range(3)


@dataclass(frozen=True)
class Row:
    """A row of a class's table."""

    from_pct: float
    """Current in % of the rated one (of Ib with direct connection), inclusive."""
    to_pct: float
    lags_deg: tuple[float, ...]
    """Angle of the load: > 0 inductive."""
    limit_pct: float
    last: bool = False
    """`to_pct` is the highest current; else the row ends just below."""
    one_phase: bool = False
    """Each phase loaded by itself, voltages on all three."""

    @property
    def loads_pct(self) -> tuple[float, ...]:
        """Both ends and two between them."""
        top = self.to_pct if self.last else 0.999 * self.to_pct
        step = (top / self.from_pct) ** (1 / 3)
        return (*(self.from_pct * step**n for n in range(3)), top)


_UNITY, _INDUCTIVE, _CAPACITIVE = 0.0, 60.0, -math.degrees(math.acos(0.8))
_REACTIVE = (_INDUCTIVE, _CAPACITIVE)

CLASS_1 = (
    Row(2, 5, (_UNITY,), 1.5),
    Row(5, 120, (_UNITY,), 1.0, last=True),
    Row(5, 10, _REACTIVE, 1.5),
    Row(10, 120, _REACTIVE, 1.0, last=True),
    Row(5, 120, (_UNITY,), 2.0, last=True, one_phase=True),
    Row(10, 120, (_INDUCTIVE,), 2.0, last=True, one_phase=True),
)
"""IEC 62053-21, tables of limits for meters connected through transformers."""

CLASS_1_DIRECT = (
    Row(5, 10, (_UNITY,), 1.5),
    Row(10, 630, (_UNITY,), 1.0, last=True),
    Row(10, 20, _REACTIVE, 1.5),
    Row(20, 630, _REACTIVE, 1.0, last=True),
    Row(10, 630, (_UNITY,), 2.0, last=True, one_phase=True),
    Row(20, 630, (_INDUCTIVE,), 2.0, last=True, one_phase=True),
)
"""IEC 62053-21, the same for direct connection: Ib 10 A, Imax 63 A."""

CLASS_05S = (
    Row(1, 5, (_UNITY,), 1.0),
    Row(5, 120, (_UNITY,), 0.5, last=True),
    Row(2, 10, _REACTIVE, 1.0),
    Row(10, 120, _REACTIVE, 0.6, last=True),
    Row(5, 120, (_UNITY,), 0.6, last=True, one_phase=True),
    Row(10, 120, (_INDUCTIVE,), 1.0, last=True, one_phase=True),
)
CLASS_02S = (
    Row(1, 5, (_UNITY,), 0.4),
    Row(5, 120, (_UNITY,), 0.2, last=True),
    Row(2, 10, _REACTIVE, 0.5),
    Row(10, 120, _REACTIVE, 0.3, last=True),
    Row(5, 120, (_UNITY,), 0.3, last=True, one_phase=True),
    Row(10, 120, (_INDUCTIVE,), 0.4, last=True, one_phase=True),
)
"""IEC 62053-22, tables of limits."""


@dataclass(frozen=True)
class Point:
    """One test point."""

    amps: float
    lag_deg: float
    limit_pct: float
    phases: tuple[int, ...]
    mains: Mains
    fifth: bool
    """With 10 % of fifth harmonic in the voltages and 40 % in the currents, in phase: the
    harmonics test of IEC 62053-21."""

    def signal(self, rng: np.random.Generator) -> Signal:
        """Import or export, at any angle of the mains."""
        start = cmath.rect(1.0, rng.uniform(0, 2 * math.pi))
        unit = PHASE_ANGLES * start
        loaded = np.isin(np.arange(3), self.phases) * rng.choice((1.0, -1.0))
        lag = cmath.rect(1.0, -math.radians(self.lag_deg))
        volts, amps = [NOMINAL_V * unit], [self.amps * loaded * lag * unit]
        if self.fifth:
            volts.append(0.1 * NOMINAL_V * unit**5)
            amps.append(0.4 * self.amps * loaded * unit**5)
        return Signal((1, 5)[: len(volts)], np.array(volts), np.array(amps))

    def __str__(self) -> str:
        side = "L" if self.lag_deg > 0 else "C" if self.lag_deg < 0 else ""
        factor = f"PF {math.cos(math.radians(self.lag_deg)):.1f}{side}"
        which = "balanced" if len(self.phases) > 1 else f"L{self.phases[0] + 1} alone"
        wave = ", 5th harmonic" if self.fifth else ""
        return f"{self.amps:.4g} A {factor} {which} {self.mains.frequency_hz:g} Hz{wave}"


@dataclass(frozen=True)
class Worst:
    """The test point with the largest share of its limit."""

    share: float
    error_pct: float
    where: str


@dataclass(frozen=True)
class Meter:
    """The metering core behind one kind of transformer."""

    transformer: Transformer
    channels: Mapping[str, Channel]
    converter: Converter = CONVERTER

    @cached_property
    def metrology(self) -> Metrology:
        """As the service makes it from its configuration."""
        return Metrology(
            GridSystem.THREE_PHASE_FOUR_WIRE,
            external_ct(RATED_A),
            NOMINAL_V,
            channels=dict(self.channels),
        )

    def measure(
        self, signal: Signal, mains: Mains, rng: np.random.Generator, seconds: float = TEST_S
    ) -> list[Measurement]:
        """What the windows of a stretch of signal say."""
        count = round(seconds * FS_HZ)
        samples = sampled(signal, self.transformer.secondary(signal), mains, count)
        stream = self.converter.header(count) + self.converter.block(0, samples, rng)
        return list(measured(stream, self.metrology))


def measured(stream: bytes, metrology: Metrology) -> Iterator[Measurement]:
    """Bytes of a stream to measurements, by the service's own parser and pipeline."""
    pipeline: SamplePipeline | None = None
    for part in StreamParser().feed(stream):
        if isinstance(part, StreamHeader):
            pipeline = SamplePipeline(part, metrology)
        elif pipeline is not None:
            yield from (result.measurement for result in pipeline.take(part, 0.0))


def points(rows: Sequence[Row], base_a: float) -> Iterator[Point]:
    """Every test point of a class.

    Args:
        rows: Its table.
        base_a: What the table's per cent refer to: In, or Ib with direct connection.
    """
    highest_a = max(row.to_pct for row in rows) / 100 * base_a
    for row in rows:
        loaded = [(phase,) for phase in _PHASES] if row.one_phase else [tuple(_PHASES)]
        for load_pct in row.loads_pct:
            amps = load_pct / 100 * base_a
            waves = (False, True) if amps <= highest_a / 2 else (False,)
            for lag_deg in row.lags_deg:
                for phases in loaded:
                    for hz in FREQUENCIES_HZ:
                        for fifth in waves:
                            yield Point(amps, lag_deg, row.limit_pct, phases, Mains(hz), fifth)


def worst_share(
    rows: Sequence[Row],
    meters: Sequence[Meter],
    rng: np.random.Generator,
    base_a: float = RATED_A,
    part: float = 1.0,
) -> Worst:
    """The table of a class with each meter: the largest share of a limit.

    Args:
        rows: The table.
        meters: To be tested.
        rng: Of noise, and of the points that are left out.
        base_a: What the table's per cent refer to.
        part: Of the points; 1 is all of them.
    """
    worst = Worst(0.0, 0.0, "")
    for meter in meters:
        for point in points(rows, base_a):
            if rng.random() >= part:
                continue
            signal = point.signal(rng)
            shown = meter.measure(signal, point.mains, rng)
            power_w = sum(one.active_power_w for one in shown) / len(shown)
            error_pct = (power_w / float(signal.phase_powers_w.sum()) - 1) * 100
            share = abs(error_pct) / point.limit_pct
            if share > worst.share:
                worst = Worst(share, error_pct, f"{point}; {meter.transformer.text}")
    return worst


def uncalibrated() -> list[Meter]:
    """The worst permitted transformers, nothing known of them."""
    return [Meter(transformer, {}) for transformer in TRANSFORMERS]


def one_point(rng: np.random.Generator) -> list[Meter]:
    """The same, calibrated at rated current: gain at power factor 1, angle at 0.5 inductive."""
    return [
        Meter(bare.transformer, _phase_calibrated(bare, _gain_calibrated(bare, rng), rng))
        for bare in uncalibrated()
    ]


def five_points(rng: np.random.Generator) -> list[Meter]:
    """The same, with a curve from five loads."""
    return [Meter(bare.transformer, _curves(bare, rng)) for bare in uncalibrated()]


def _bench_load(lag_deg: float, load_pct: float = 100.0) -> Point:
    return Point(load_pct / 100 * RATED_A, lag_deg, 0.0, tuple(_PHASES), Mains(50.0), fifth=False)


def _gain_calibrated(meter: Meter, rng: np.random.Generator) -> dict[str, Channel]:
    load = _bench_load(_UNITY)
    shown = meter.measure(load.signal(rng), load.mains, rng)
    return {
        f"i{phase + 1}": Channel(
            gain_error_pct(sum(m.phases[phase].current_a for m in shown) / len(shown), load.amps)
        )
        for phase in _PHASES
    }


def _phase_calibrated(
    bare: Meter, gains: Mapping[str, Channel], rng: np.random.Generator
) -> dict[str, Channel]:
    load = _bench_load(_INDUCTIVE)
    signal = load.signal(rng)
    shown = Meter(bare.transformer, gains).measure(signal, load.mains, rng)
    return {
        f"i{phase + 1}": Channel(
            gains[f"i{phase + 1}"].gain_error_pct,
            phase_error_deg(_phase_va(shown, phase).real, float(signal.phase_powers_w[phase])),
        )
        for phase in _PHASES
    }


def _curves(meter: Meter, rng: np.random.Generator) -> dict[str, Channel]:
    found: list[list[ErrorPoint]] = [[] for _ in _PHASES]
    for load_pct, _, _ in _LIMITS:
        load = _bench_load(_INDUCTIVE, load_pct)
        signal = load.signal(rng)
        shown = meter.measure(signal, load.mains, rng)
        truth = (signal.volts * signal.amps.conj())[0]
        for phase in _PHASES:
            found[phase].append(
                error_point(load_pct, _phase_va(shown, phase), complex(truth[phase]))
            )
    return {f"i{phase + 1}": Channel(curve=CtCurve(found[phase])) for phase in _PHASES}


def _phase_va(shown: Sequence[Measurement], phase: int) -> complex:
    """Mean P + jQ of a phase."""
    parts = [
        complex(
            one.phases[phase].active_power_w or 0.0, one.phases[phase].reactive_power_var or 0.0
        )
        for one in shown
    ]
    return sum(parts, 0j) / len(parts)


def single_reading_error_pct(rng: np.random.Generator, signals: int) -> float:
    """Largest error of the active power, of each phase and of the sum, in one 200 ms reading.

    49-51 Hz, drift to 0.2 Hz/s, five harmonics of the orders 2 to 40, direct offsets, no converter
    and no transformer: the arithmetic alone.
    """
    meter = Meter(IDEAL, {}, EXACT)
    worst_pct = 0.0
    for _ in range(signals):
        mains = Mains(rng.uniform(49.0, 51.0), rng.uniform(-0.2, 0.2))
        signal = _rich(rng)
        (shown,) = meter.measure(signal, mains, rng, seconds=0.2)
        truth_w = signal.phase_powers_w
        powers_w = np.array(shown.phase_powers_w)
        errors = [*(powers_w / truth_w - 1), shown.active_power_w / truth_w.sum() - 1]
        worst_pct = max(worst_pct, 100 * max(abs(error) for error in errors))
    return worst_pct


def _rich(rng: np.random.Generator) -> Signal:
    """1 to 100 A at power factor 1, 0.5 inductive or 0.8 capacitive, all phases alike in sign."""
    harmonics = rng.choice(np.arange(2, 41), 5, replace=False)
    orders = (1, *(int(order) for order in harmonics))
    amps_a = rng.uniform(1.0, 100.0, 3)
    lags = np.radians(rng.choice((_UNITY, *_REACTIVE), 3))
    unit = PHASE_ANGLES * cmath.rect(1.0, rng.uniform(0, 2 * math.pi))
    volts, amps = [NOMINAL_V * unit], [amps_a * np.exp(-1j * lags) * unit]
    for order in orders[1:]:
        turns = np.exp(2j * np.pi * rng.random((2, 3)))
        volts.append(7.0 / order * rng.random(3) * turns[0])
        amps.append(0.3 * amps_a / order * rng.random(3) * turns[1])
    return Signal(orders, np.array(volts), np.array(amps))
