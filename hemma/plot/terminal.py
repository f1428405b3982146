"""A run as lines of blocks."""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from hemma.plot.scenes import Run
from hemma.view import BLOCKS

T = TypeVar("T")
U = TypeVar("U")

WIDTH = 64
NEAR_W = 100.0
"""What is this far beyond the limit is drawn as beyond it."""


def table(run: Run) -> Table:
    """Each power over time, with its smallest, mean and largest value; then the rules."""
    drawn = Table(
        title=f"{run.title} · {run.at[0]:.0f}-{run.at[-1]:.0f} {run.unit}", show_edge=False
    )
    drawn.add_column("W")
    drawn.add_column(f"{run.at[0]:.0f} {run.unit}", no_wrap=True)
    for name in ("least", "mean", "most"):
        drawn.add_column(name, justify="right")
    for name, powers_w in (
        ("grid", run.grid_w),
        ("load", run.load_w),
        ("PV there", run.could_w),
        ("PV used", run.pv_w),
        ("battery", run.battery_w),
        ("battery asked", run.asked_battery_w),
        ("AC limits", run.asked_limit_w),
        ("SOC %", run.soc_pct),
    ):
        line = blocks(powers_w)
        if name == "grid":
            line.stylize("green")
            for place, lowest_w in enumerate(_parts(powers_w, min)):
                if lowest_w < -run.limit_w - NEAR_W:
                    line.stylize("red", place, place + 1)
        mean = sum(powers_w) / len(powers_w)
        drawn.add_row(
            name, line, *(f"{figure:,.0f}" for figure in (min(powers_w), mean, max(powers_w)))
        )
    drawn.add_row("rule", rules(run))
    return drawn


def blocks(figures: Sequence[float]) -> Text:
    """One character each part of the time, between the smallest and the largest mean."""
    means = _parts(figures, lambda part: sum(part) / len(part))
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return Text("".join(BLOCKS[round((mean - low) * scale)] for mean in means))


def rules(run: Run) -> Text:
    """One letter each part of the time: the first of the rule that decided, and what they mean."""
    letters = ""
    seen: dict[str, str] = {}
    for part in _parts(run.reasons, list):
        reason = next((reason for reason in reversed(part) if reason), None)
        letters += reason.value[0] if reason else " "
        if reason:
            seen[reason.value[0]] = reason.value
    meaning = ", ".join(f"{letter} {reason}" for letter, reason in sorted(seen.items()))
    return Text(f"{letters}\n{meaning}")


def _parts(series: Sequence[T], of: Callable[[Sequence[T]], U]) -> list[U]:
    """Something of each of `WIDTH` parts of a series."""
    length = len(series)
    width = min(WIDTH, length)
    ends = [length * place // width for place in range(width + 1)]
    return [of(series[begin:end]) for begin, end in itertools.pairwise(ends)]
