"""`hemma bench metering`: power against the meter classes, wiring against chance, CPU time."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

import numpy as np

from bus.metering import GridSystem
from hemma.bench import metering_accuracy as accuracy
from hemma.bench import metering_wiring as wiring
from hemma.bench.metering_signals import (
    FS_HZ,
    IDEAL,
    NOMINAL_V,
    PHASE_ANGLES,
    RATED_A,
    SECONDARY_A,
    Converter,
    Mains,
    Signal,
    sampled,
)
from hemma.bench.report import Report
from services.metering.ct import external_ct
from services.metering.pipeline import SamplePipeline
from services.metering.readings import from_samples
from services.metering.samples import Block, StreamParser
from services.metering.systems import Metrology

MUST = {
    "power_error_pct": "<= 0.02",
    "class_direct": "<= 1",
    "class_uncalibrated": "<= 1",
    "class_one_point": "<= 1",
    "class_five_point": "<= 1",
    "wiring_wrong": "<= 0",
    "wiring_unsure_pct": "<= 1",
    "wiring_single_phase_wrong": "<= 0",
    "cpu_pct": "<= 1",
}
"""Derived in docs/benchmarks.md. The classes' figures are the largest share of a limit."""

SIGNALS = 1000
INSTALLATIONS = 10_000
BASIC_A = 10.0
"""Ib of a meter for direct connection."""


def run(
    seed: int, installations: int = INSTALLATIONS, signals: int = SIGNALS
) -> tuple[Report, list[str]]:
    """Measure everything.

    Args:
        seed: Draws signals and installations.
        installations: For the wiring check with three-phase inverters, and again as many with
            single-phase ones.
        signals: Single readings.

    Returns:
        The report, and where each class came closest to a limit.
    """

    def draw(row: int) -> np.random.Generator:
        return np.random.default_rng((seed, row))  # a row's signals do not depend on the others

    ideal = [accuracy.Meter(IDEAL, {})]
    classes = {
        "class_direct": accuracy.worst_share(accuracy.CLASS_1_DIRECT, ideal, draw(1), BASIC_A),
        "class_uncalibrated": accuracy.worst_share(
            accuracy.CLASS_1, accuracy.uncalibrated(), draw(2)
        ),
        "class_one_point": accuracy.worst_share(
            accuracy.CLASS_05S, accuracy.one_point(draw(3)), draw(4)
        ),
        "class_five_point": accuracy.worst_share(
            accuracy.CLASS_02S, accuracy.five_points(draw(5)), draw(6)
        ),
    }
    three_phase = wiring.check_three_phase(draw(7), installations)
    single_phase = wiring.check_single_phase(draw(8), installations)
    figures = {
        "power_error_pct": accuracy.single_reading_error_pct(draw(0), signals),
        **{name: worst.share for name, worst in classes.items()},
        "wiring_wrong": three_phase.wrong,
        "wiring_unsure_pct": three_phase.unsure_pct,
        "wiring_single_phase_wrong": single_phase.wrong,
        "wiring_single_phase_unsure_pct": single_phase.unsure_pct,
        "cpu_pct": cpu_pct(draw(9)),
    }
    nearest = [f"{name}: {one.error_pct:+.3f} % at {one.where}" for name, one in classes.items()]
    return Report("metering", figures, MUST), nearest


def cpu_pct(rng: np.random.Generator, seconds: int = 10, repeats: int = 5) -> float:
    """CPU time of the path from bytes to encoded readings, in % of one core.

    Seven channels at 8 kHz in blocks of 20 ms, as they arrive; five readings a second.
    """
    converter = Converter(bits=16, noise_counts=0.7, offset=0.002, neutral=True)
    amps = np.array([[20.0, 10.0, 5.0]]) * PHASE_ANGLES
    signal = Signal((1,), NOMINAL_V * PHASE_ANGLES[None, :], amps)
    count = FS_HZ // 50
    samples = sampled(
        signal, amps * SECONDARY_A / RATED_A, Mains(50.0), seconds * FS_HZ, neutral=True
    )
    blocks = [
        converter.block(first, samples[first : first + count], rng)
        for first in range(0, len(samples), count)
    ]
    return median(_cpu_pct_once(converter.header(count), blocks, seconds) for _ in range(repeats))


def _cpu_pct_once(header: bytes, blocks: Sequence[bytes], seconds: int) -> float:
    parser = StreamParser()
    metrology = Metrology(GridSystem.THREE_PHASE_FOUR_WIRE, external_ct(RATED_A), NOMINAL_V)
    pipeline = SamplePipeline(next(iter(parser.feed(header))), metrology)  # type: ignore[arg-type]  # the first part is the header
    windows = 0
    began_s = time.process_time()
    for number, received in enumerate(blocks):
        for part in parser.feed(received):
            if not isinstance(part, Block):
                continue
            for result in pipeline.take(part, number / 50):
                windows += 1
                if windows % 2 == 0:
                    from_samples(
                        result.measurement,
                        metrology.system,
                        sequence=windows,
                        measured_at=datetime.now(UTC),
                        flags=(),
                    ).encode()
    return 100 * (time.process_time() - began_s) / seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed."""
    parser = argparse.ArgumentParser(prog="hemma bench metering", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws signals and installations")
    parser.add_argument("--installations", type=int, default=INSTALLATIONS, metavar="K")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    report, nearest = run(options.seed, options.installations)
    print(report.as_json() if options.json else "\n".join([report.as_text(), "", *nearest]))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
