"""Load and PV light over house time: generated, from a recorded trace, or ordered by a script."""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sim.sun import DAY_S, Place, Surface, clear_sky_w_m2, cloud_day
from sim.track import Track

PHASES = 3
SKY_STEP_S = 30.0
STANDARD_LIGHT_W_M2 = 1000.0
PERFORMANCE = 0.87
"""Share of the nameplate that a module field gives at standard light: heat, dirt, wiring."""


class Load(Protocol):
    """Something that gives W of L1, L2, L3 at an instant of house time."""

    def at(self, epoch_s: float) -> list[float]:
        """W per phase."""
        ...


class Field:
    """One module field: clear sky on its surface, computed now and then and joined by lines."""

    def __init__(self, place: Place, surface: Surface, peak_w: float) -> None:
        self._place = place
        self._surface = surface
        self._per_light = peak_w * PERFORMANCE / STANDARD_LIGHT_W_M2
        self._track = Track([(0.0, 0.0)])
        self._until_s = float("-inf")
        self._from_s = float("inf")

    def at(self, epoch_s: float) -> float:
        """DC power under a clear sky, W."""
        if not self._from_s <= epoch_s < self._until_s:
            self._from_s = epoch_s // SKY_STEP_S * SKY_STEP_S
            self._until_s = self._from_s + SKY_STEP_S
            ends = [
                (at_s, clear_sky_w_m2(self._place, self._surface, at_s) * self._per_light)
                for at_s in (self._from_s, self._until_s)
            ]
            self._track = Track(ends)
        return self._track.at(epoch_s)


class Clouds:
    """Share of the light that comes through, drawn day by day."""

    def __init__(self, seed: int, kind: str | None) -> None:
        self._seed = seed
        self._kind = kind
        self._day = -1
        self._track = Track([(0.0, 1.0)])

    def at(self, epoch_s: float) -> float:
        """0 is dark, 1 a clear sky."""
        day = int(epoch_s // DAY_S)
        if day != self._day:
            self._day = day
            self._track = cloud_day(self._seed, day, self._kind)
        return self._track.at(epoch_s)


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded house: load and PV at the AC side, W, repeated for ever."""

    load: Track
    pv: Track
    start_s: float
    length_s: float

    def wrapped(self, epoch_s: float) -> float:
        """The instant of the recording that stands for an instant of the house."""
        return self.start_s + (epoch_s - self.start_s) % self.length_s


class TraceLoad:
    """The load of a trace, spread over the phases by fixed shares."""

    def __init__(self, trace: Trace, shares: Sequence[float]) -> None:
        self._trace = trace
        self._shares = [share / sum(shares) for share in shares]

    def at(self, epoch_s: float) -> list[float]:
        """W per phase."""
        load_w = self._trace.load.at(self._trace.wrapped(epoch_s))
        return [load_w * share for share in self._shares]


def read_trace(path: Path) -> Trace:
    """A CSV, plain or gzip, with the columns ts_utc (ISO 8601), load_w and pv_w.

    Load holds over each step, PV goes linearly from middle to middle.

    Raises:
        ValueError: A column is missing, a cell is no number, times do not grow; with the line.
        OSError: The file cannot be read.
    """
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    rows = csv.DictReader(io.StringIO(text.decode("utf-8")))
    missing = {"ts_utc", "load_w", "pv_w"} - set(rows.fieldnames or ())
    if missing:
        raise ValueError(f"{path.name}: no column {', '.join(sorted(missing))}")
    load: list[tuple[float, float]] = []
    pv: list[tuple[float, float]] = []
    for row in rows:
        try:
            at_s = datetime.fromisoformat(row["ts_utc"]).replace(tzinfo=UTC).timestamp()
            load.append((at_s, float(row["load_w"])))
            pv.append((at_s, float(row["pv_w"])))
        except ValueError as error:
            raise ValueError(f"{path.name}: line {rows.line_num}: {error}") from None
        if len(load) > 1 and at_s <= load[-2][0]:
            raise ValueError(f"{path.name}: line {rows.line_num}: time does not grow")
    if len(load) < 2:  # noqa: PLR2004 - one step has no length
        raise ValueError(f"{path.name}: fewer than two rows")
    step_s = load[1][0] - load[0][0]
    return Trace(
        load=Track(load, held=True),
        pv=Track([(at_s + step_s / 2, pv_w) for at_s, pv_w in pv]),
        start_s=load[0][0],
        length_s=_whole_days(load[-1][0] - load[0][0] + step_s),
    )


def _whole_days(length_s: float) -> float:
    """Repeating whole days keeps the recording's noon at the house's noon."""
    return max(length_s // DAY_S * DAY_S, min(length_s, DAY_S))


@dataclass(frozen=True, slots=True)
class Event:
    """A load step or a cloud ordered for a moment after the start, in real seconds."""

    at_s: float
    lasts_s: float
    load_w: float = 0.0
    phase: int | None = None
    """None spreads the load over all phases."""
    light: float = 1.0
    """Factor on all PV light."""
    ramp_s: float = 0.0
    """The light goes there and back in this time."""


class Script:
    """Events in a row, repeated every `repeat_s` seconds if that is not 0."""

    def __init__(self, events: Sequence[Event], repeat_s: float, phases: Sequence[int]) -> None:
        self._events = events
        self._repeat_s = repeat_s
        self._phases = phases

    def at(self, elapsed_s: float) -> tuple[list[float], float]:
        """Load on top (W per phase), and the factor on the light."""
        if self._repeat_s:
            elapsed_s %= self._repeat_s
        load_w, light = [0.0] * PHASES, 1.0
        for event in self._events:
            into_s = elapsed_s - event.at_s
            if not 0 <= into_s < event.lasts_s:
                continue
            phases = self._phases if event.phase is None else [event.phase]
            for phase in phases:
                load_w[phase] += event.load_w / len(phases)
            edge_s = min(into_s, event.lasts_s - into_s)
            share = min(1.0, edge_s / event.ramp_s) if event.ramp_s else 1.0
            light *= 1 + (event.light - 1) * share
        return load_w, light
