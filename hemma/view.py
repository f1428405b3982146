"""The house in a terminal: where power flows, what was set and why, what is wrong."""

import contextlib
import io
import re
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from bus.inverters import Followed, InverterReading, Lease
from bus.policy import Cause, Dispatch, Limit, Setpoint
from bus.system import Severity
from hemma import registry
from hemma.observer import House, Observer
from runtime.clock import Clock

HISTORY_S = 60
FRAME_S = 0.25
BAR_CELLS = 24
STALE_S = 2.0
BLOCKS = " ▁▂▃▄▅▆▇█"
SEVERITY_STYLE = {
    Severity.CRITICAL: "bold white on red",
    Severity.MAJOR: "bold red",
    Severity.MINOR: "yellow",
    Severity.WARNING: "yellow",
}


@dataclass(frozen=True)
class Moment:
    """One point of the picture's past."""

    grid_power_w: float | None
    export_limit_w: float | None


@dataclass(frozen=True)
class Flows:
    """The house's power balance; unknown stays unknown."""

    grid_w: float | None
    pv_w: float | None
    battery_w: float | None
    load_w: float | None


def flows(house: House) -> Flows:
    """Sum up the inverters; the load is what grid and inverters together bring (AC side)."""
    readings = list(house.inverters.values())
    ac_w = _sum(reading.ac_power_w for reading in readings)
    grid_w = house.grid.grid_power_w if house.grid else None
    load_w = None if grid_w is None or ac_w is None else grid_w + ac_w
    pv_w = _sum(reading.pv_power_w for reading in readings)
    return Flows(grid_w, pv_w, _sum(reading.battery_power_w for reading in readings), load_w)


def _sum(powers_w: Iterable[float | None]) -> float | None:
    total_w = 0.0
    count = 0
    for power_w in powers_w:
        if power_w is None:
            return None
        total_w += power_w
        count += 1
    return total_w if count else None


def draw(house: House, now: datetime, history: Sequence[Moment]) -> RenderableType:
    """One frame."""
    return Group(
        Panel(
            Group(_balance(house, now), Text(), _past(history)),
            title=_title(house),
            subtitle=_reason(house.dispatch),
            border_style=_border(house, now),
        ),
        Panel(_setpoints(house, now), title="Setpoints: asked, confirmed, measured, and why"),
        Panel(Group(_services(house, now), *_faults(house, now)), title="Processes and faults"),
    )


def _title(house: House) -> str:
    if house.plant is None:
        return "Hemma"
    plant = house.plant.settings
    return f"Hemma · {plant.name} · {plant.model}"


def _reason(dispatch: Dispatch | None) -> str:
    if dispatch is None:
        return "no dispatch"
    limits = ", ".join(_limit(limit) for limit in dispatch.limits) or "no limit"
    return f"{dispatch.reason} · {limits} · dispatch {dispatch.sequence}"


def _limit(limit: Limit) -> str:
    if limit.export_limit_w is None:
        return "feed-in unlimited"
    return f"feed-in ≤ {limit.export_limit_w:,.0f} W {limit.basis}"


def _border(house: House, now: datetime) -> str:
    fresh = house.grid is not None and (now - house.grid.measured_at).total_seconds() < STALE_S
    return "green" if fresh else "red"


def _balance(house: House, now: datetime) -> Table:
    flow = flows(house)
    table = Table.grid(padding=(0, 1))
    rows = (
        ("PV", flow.pv_w, "yellow", ""),
        ("Battery", flow.battery_w, "cyan", _batteries(house)),
        ("Grid", flow.grid_w, "magenta", _grid_words(house, now)),
        ("House", flow.load_w, "white", ""),
    )
    widest_w = max([1000.0, *(abs(power_w) for _, power_w, _, _ in rows if power_w is not None)])
    for name, power_w, style, words in rows:
        number = "unknown" if power_w is None else f"{power_w:+,.0f} W"
        table.add_row(
            Text(name, style="bold"),
            Text(number.rjust(10), style=style),
            _bar(power_w, widest_w, style),
            Text(words, style="dim"),
        )
    return table


def _bar(power_w: float | None, widest_w: float, style: str) -> Text:
    """A bar from the middle: to the right towards the house, to the left away from it."""
    half = BAR_CELLS // 2
    cells = 0 if power_w is None else round(abs(power_w) / widest_w * half)
    left = cells if power_w is not None and power_w < 0 else 0
    right = cells - left
    bar = Text(" " * (half - left))
    bar.append("█" * left, style=style)
    bar.append("│", style="dim")
    bar.append("█" * right, style=style)
    bar.append(" " * (half - right))
    return bar


def _batteries(house: House) -> str:
    def words(name: str, reading: InverterReading) -> str:
        soc = "?" if reading.soc_pct is None else f"{reading.soc_pct:.0f} %"
        return f"{name} {soc}"

    return "  ".join(words(name, reading) for name, reading in sorted(house.inverters.items()))


def _grid_words(house: House, now: datetime) -> str:
    if house.grid is None:
        return "no reading"
    age_s = (now - house.grid.measured_at).total_seconds()
    direction = "import" if house.grid.grid_power_w >= 0 else "export"
    frequency = "" if house.grid.frequency_hz is None else f" · {house.grid.frequency_hz:.2f} Hz"
    flags = "".join(f" · {flag}" for flag in house.grid.flags)
    return f"{direction} · {age_s * 1000:.0f} ms old{frequency}{flags}"


def _past(history: Sequence[Moment]) -> Table:
    """The grid power of the last minute: import above, export below the line."""
    known = [moment.grid_power_w for moment in history if moment.grid_power_w is not None]
    scale_w = max([500.0, *(abs(power_w) for power_w in known)])
    above, below = Text(), Text()
    for moment in history:
        power_w = moment.grid_power_w
        if power_w is None:
            above.append("?", style="red")
            below.append(" ")
            continue
        over = moment.export_limit_w is not None and -power_w > moment.export_limit_w + 50
        above.append(_block(power_w / scale_w), style="magenta")
        below.append(_block(-power_w / scale_w), style="red" if over else "green")
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(f"import to {scale_w:,.0f} W".rjust(18), style="dim"), above)
    table.add_row(Text(f"export to {scale_w:,.0f} W".rjust(18), style="dim"), below)
    return table


def _block(share: float) -> str:
    steps = len(BLOCKS) - 1
    return BLOCKS[max(0, min(steps, round(share * steps)))]


def _setpoints(house: House, now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("device", "quantity", "asked", "confirmed", "measured"):
        table.add_column(heading, justify="left" if heading in {"device", "quantity"} else "right")
    table.add_column("why", ratio=1)
    table.add_column("lease", justify="right")
    for setpoint in house.dispatch.setpoints if house.dispatch else ():
        reading = house.inverters.get(setpoint.device)
        lease = _lease(setpoint, reading, now)
        for quantity, asked_w, followed, causes in (
            (
                "battery",
                setpoint.battery_power_w,
                reading.battery if reading else None,
                setpoint.battery_causes,
            ),
            (
                "AC limit",
                setpoint.ac_limit_w,
                reading.ac_limit if reading else None,
                setpoint.ac_limit_causes,
            ),
        ):
            table.add_row(
                setpoint.device, quantity, _watts(asked_w), *_facts(followed), _why(causes), lease
            )
    return table


def _facts(followed: Followed | None) -> tuple[Text, Text]:
    if followed is None:
        return _watts(None), _watts(None)
    return (
        _watts(followed.confirmed_w, style="red" if followed.why_not else ""),
        _watts(followed.measured_w),
    )


def _watts(power_w: float | None, style: str = "") -> Text:
    return Text("-" if power_w is None else f"{power_w:,.0f}", style=style)


def _why(causes: Sequence[Cause]) -> Text:
    return Text(
        " > ".join(f"{cause.level}: {cause.reason}" for cause in causes), overflow="ellipsis"
    )


def _lease(setpoint: Setpoint, reading: InverterReading | None, now: datetime) -> Text:
    left_s = (setpoint.valid_until - now).total_seconds()
    if reading is None:
        return Text("no answer", style="red")
    if reading.lease is not Lease.LEASED:
        return Text(reading.lease, style="bold red")
    return Text(f"{max(0.0, left_s):.1f} s", style="" if left_s > 0 else "red")


def _services(house: House, now: datetime) -> Text:
    line = Text()
    for name in registry.NAMES:
        online = house.online.get(name)
        there = online is not None and online.online
        line.append("● " if there else "○ ", style="green" if there else "bold red")
        since = online.since if online else None
        age = "" if since is None else f" {_duration((now - since).total_seconds())}"
        line.append(f"{name}{age}   ")
    return line


def _duration(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004  two digits read best
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004  the same


def _faults(house: House, now: datetime) -> list[Text]:
    faults = house.all_faults()
    if not faults:
        return [Text("nothing is wrong", style="dim green")]
    return [
        Text(
            f"{fault.severity.upper()} {fault.code}"
            f"{' ' + fault.device if fault.device else ''} ({process}, "
            f"{_duration((now - fault.since).total_seconds())}): {fault.text}",
            style=SEVERITY_STYLE[fault.severity],
        )
        for process, fault in faults
    ]


def line(house: House, now: datetime) -> str:
    """One line for a log: the same in brief, where there is no terminal."""
    flow = flows(house)
    powers = " ".join(
        f"{name}={'unknown' if power_w is None else f'{power_w:.0f}'}"
        for name, power_w in (
            ("grid_w", flow.grid_w),
            ("pv_w", flow.pv_w),
            ("battery_w", flow.battery_w),
            ("load_w", flow.load_w),
        )
    )
    reason = house.dispatch.reason if house.dispatch else "no dispatch"
    there = sum(1 for name in registry.NAMES if name in house.online and house.online[name].online)
    return (
        f"{now:%H:%M:%S} {powers} reason={reason} services={there}/{len(registry.NAMES)}"
        f" faults={len(house.all_faults())}"
    )


async def show(
    observer: Observer, clock: Clock, seconds: float | None, picture: Path | None = None
) -> None:
    """Draw until cancelled, or for some seconds; without a terminal, log a line a second.

    Args:
        observer: Hears the house.
        clock: For ages and frames.
        seconds: None: until cancelled.
        picture: The last frame is written there, as SVG.
    """
    end = None if seconds is None else clock.monotonic() + seconds
    history: deque[Moment] = deque(maxlen=HISTORY_S)
    drawn = sys.stdout.isatty()
    live = Live(console=Console(), screen=True, auto_refresh=False) if drawn else None
    frames = 0
    with live or contextlib.nullcontext():
        while end is None or clock.monotonic() < end:
            if frames % round(1 / FRAME_S) == 0:
                history.append(_moment(observer.house, clock.now()))
                if live is None:
                    print(line(observer.house, clock.now()), flush=True)
            if live is not None:
                if not sys.stdout.isatty():
                    return  # the terminal was closed, and only `make` was told
                live.update(draw(observer.house, clock.now(), history), refresh=True)
            frames += 1
            await clock.sleep(FRAME_S)
    if picture is not None:
        _save(draw(observer.house, clock.now(), history), picture)


def _save(frame: RenderableType, picture: Path) -> None:
    """As SVG, in the reader's own monospaced font: the picture fetches nothing."""
    console = Console(record=True, width=118, file=io.StringIO(), force_terminal=True)
    console.print(frame)
    svg = console.export_svg(title="make demo", theme=MONOKAI)
    picture.write_text(re.sub(r"@font-face {.*?}\n", "", svg, flags=re.DOTALL) + "\n")


def _moment(house: House, now: datetime) -> Moment:
    grid = house.grid
    fresh = grid is not None and (now - grid.measured_at).total_seconds() < STALE_S
    limits = house.dispatch.limits if house.dispatch else ()
    export_limits_w = [lim.export_limit_w for lim in limits if lim.export_limit_w is not None]
    return Moment(
        grid.grid_power_w if grid is not None and fresh else None,
        min(export_limits_w, default=None),
    )
