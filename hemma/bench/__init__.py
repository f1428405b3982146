"""`hemma bench NAME`: measurements of one part each, against physics or a reference law."""

import importlib
import os
import sys
from collections.abc import Sequence

NAMES = ("control", "faults", "footprint", "latency", "metering", "modbus")
"""Each is a module here with `main(arguments) -> exit code`; its figures: docs/benchmarks.md."""


def main(arguments: Sequence[str]) -> int:
    """Run one bench; returns 1 when a figure is not what it must be, 2 for no such bench."""
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: hemma bench NAME [--help]; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    # As in the services: one core, and no threads that a fork would lose.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    bench = importlib.import_module(f"hemma.bench.{arguments[0]}")
    code: int = bench.main(arguments[1:])
    return code
