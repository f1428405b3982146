"""A run as a picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bus.policy import Reason
from hemma.plot.scenes import Run

COLOURS = {
    Reason.SELF_CONSUMPTION: "#8fbc8f",
    Reason.FEED_IN_LIMIT: "#f0c35e",
    Reason.METER_SILENT: "#d9534f",
    Reason.NO_SETTINGS: "#d9534f",
    Reason.IDLE: "#bbbbbb",
}
"""Of the strip that tells which rule decided."""


def save(run: Run, file: Path) -> None:
    """Write a picture; the ending of the name says what kind."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    grid, powers, asked = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    figure.suptitle(run.title)

    grid.plot(run.at, run.grid_w, color="#2b5c8a", linewidth=0.9, label="grid")
    grid.axhline(-run.limit_w, color="#d9534f", linewidth=1, label="export limit")
    beyond = [power_w < -run.limit_w for power_w in run.grid_w]
    grid.fill_between(run.at, run.grid_w, -run.limit_w, where=beyond, color="#d9534f", alpha=0.5)
    _rules(run, grid)

    powers.plot(run.at, run.load_w, color="#333333", linewidth=0.9, label="load")
    powers.plot(run.at, run.could_w, color="#f0c35e", linewidth=0.9, label="PV there")
    powers.plot(run.at, run.pv_w, color="#c98a00", linewidth=1.1, label="PV used")
    powers.plot(run.at, run.battery_w, color="#5a9e5a", linewidth=0.9, label="battery")

    asked.plot(run.at, run.asked_limit_w, color="#c98a00", linewidth=0.9, label="AC limits")
    asked.plot(run.at, run.asked_battery_w, color="#5a9e5a", linewidth=0.9, label="battery asked")
    asked.set_xlabel(run.unit)

    for axes in (grid, powers, asked):
        axes.set_ylabel("W")
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", fontsize="small", ncols=4)
        axes.margins(x=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _rules(run: Run, axes: Axes) -> None:
    """A strip along the bottom in the colour of the rule that decided."""
    lowest, highest = min(run.grid_w), max(run.grid_w)
    top = lowest - 0.04 * (highest - lowest)
    bottom = top - 0.06 * (highest - lowest)
    for reason, colour in COLOURS.items():
        here = [said is reason for said in run.reasons]
        if any(here):
            axes.fill_between(
                run.at, bottom, top, where=here, color=colour, step="post", label=reason.value
            )
