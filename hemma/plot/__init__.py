"""`hemma plot control|day`: what the control did, in the terminal and as a picture."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from hemma.plot.scenes import Run, control, day

SCENES: dict[str, Callable[[int], Run]] = {"control": control, "day": day}


def main(arguments: Sequence[str]) -> int:
    """Command line: prints the run, and writes the picture where it shall go."""
    parser = argparse.ArgumentParser(
        prog="hemma plot",
        description="Run the service's own core on the bench's plants and draw what it did.",
        epilog="control: two minutes of steps, a cloud and a dead meter without export. "
        "day: a generated day of a family, four times as fast.",
    )
    parser.add_argument("scene", choices=sorted(SCENES))
    parser.add_argument("--seed", type=int, default=1, help="draws plants, loads and clouds")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="write the picture there")
    options = parser.parse_args(arguments)
    run = SCENES[options.scene](options.seed)
    from rich.console import Console

    from hemma.plot.terminal import table

    Console().print(table(run))
    if options.picture:
        from hemma.plot.picture import save

        save(run, options.picture)
    return 0
