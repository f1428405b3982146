"""What a scenario file can say: the house, its devices, its weather, and what happens."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Literal

import yaml

from sim.grid import PHASES
from sim.sections import Reader, ScenarioError, within

MAX_UNIT = 247
MAX_PORT = 65535
OWN_PORT = "tcp"


@dataclass(frozen=True, slots=True)
class HouseSection:
    """Where the house stands and how it is connected."""

    grid_system: Literal["single-phase", "three-phase three-wire", "three-phase four-wire"] = (
        "three-phase four-wire"
    )
    latitude_deg: float = within(-90, 90, 52.0)
    longitude_deg: float = within(-180, 180, 10.0)
    utc_offset_h: float = within(-14, 14, 1.0)
    start: str = "now"
    """House time at the start: `now`, a local time of today (`12:30`) or an ISO 8601 instant."""
    speed: float = within(0.01, 100_000, 1.0)
    """House seconds per real second, for load, light and state of charge."""
    voltage_v: float = within(80, 300, 230.0)
    frequency_hz: float = within(40, 70, 50.0)


@dataclass(frozen=True, slots=True)
class LoadSection:
    """Generated appliances, or a recorded trace."""

    people: int = within(1, 8, 3)
    base_w: float = within(0, 20_000, 180.0)
    appliances: bool = True
    """False leaves the base load alone."""
    trace: str | None = None
    """CSV, plain or gzip, with ts_utc, load_w and pv_w; load and PV then come from it."""
    phase_shares: tuple[float, ...] = (0.4, 0.35, 0.25)
    """How a trace's load is spread."""


@dataclass(frozen=True, slots=True)
class SkySection:
    """The clouds."""

    kind: Literal["drawn", "clear", "broken", "overcast"] = "drawn"


@dataclass(frozen=True, slots=True)
class EventSection:
    """Something ordered for a moment: a load, or a cloud."""

    at_s: float = within(0, 1e7)
    lasts_s: float = within(0, 1e7)
    load_w: float = within(-50_000, 50_000, 0.0)
    phase: int | None = within(1, 3, None)
    light: float = within(0, 2, 1.0)
    ramp_s: float = within(0, 3600, 0.0)
    name: str = ""


@dataclass(frozen=True, slots=True)
class ScriptSection:
    """Events in real seconds after the start, over and over when repeat_s is set."""

    repeat_s: float = within(0, 1e7, 0.0)
    events: tuple[EventSection, ...] = ()


@dataclass(frozen=True, slots=True)
class LineSection:
    """One RS485 line."""

    name: str
    baud: int = within(300, 4_000_000, 9600)
    chunk_ms: float = within(0.05, 100, 1.05)
    """Answers are handed over in pieces of at most this; longer ones cost less CPU."""
    strict: bool = False
    """Units keep silent when a request comes before t3.5 has passed."""


@dataclass(frozen=True, slots=True)
class PortSection:
    """One Modbus TCP port that several units share."""

    name: str
    port: int = within(0, MAX_PORT, 0)
    one_client: bool = False
    settle_s: float = within(0, 60, 0.0)


@dataclass(frozen=True, slots=True)
class FieldSection:
    """Modules of one direction."""

    peak_w: float = within(0, 100_000)
    tilt_deg: float = within(0, 90, 35.0)
    azimuth_deg: float = within(0, 360, 180.0)


@dataclass(frozen=True, slots=True)
class BatterySection:
    """A LUNA2000."""

    capacity_wh: float = within(1000, 100_000)
    max_charge_w: float = within(0, 50_000, 5000.0)
    max_discharge_w: float = within(0, 50_000, 5000.0)
    soc_pct: float = within(0, 100, 50.0)
    cutoff_pct: float = within(0, 20, 5.0)
    """End of discharge (register 47082)."""
    grid_charge: bool = False
    """Charging from the grid is allowed (register 47087)."""


@dataclass(frozen=True, slots=True)
class InverterSection:
    """A SUN2000 and how it behaves."""

    name: str
    model: str
    rated_w: float = within(100, 100_000)
    unit: int = within(1, MAX_UNIT)
    on: str = OWN_PORT
    """The line or port that it hangs on; `tcp` is a port of its own."""
    port: int = within(0, MAX_PORT, 0)
    """With `on: tcp`."""
    one_client: bool = True
    settle_s: float = within(0, 60, 0.0)
    serial: str = ""
    phases: tuple[int, ...] = within(1, 3, (1, 2, 3))
    fields: tuple[FieldSection, ...] = ()
    battery: BatterySection | None = None
    dead_time_s: float = within(0, 10, 0.3)
    lag_s: float = within(0.01, 60, 0.8)
    ramp_w_s: float = within(10, 1e6, 5000.0)
    device_ms: tuple[float, ...] = within(0, 10_000, (15.0, 30.0))
    """Shortest and longest time until it answers."""
    telemetry_period_s: float = within(0.02, 60, 0.5)
    telemetry_age_s: float = within(0, 60, 0.2)
    gain_error_pct: float = within(-20, 20, 0.0)
    start_s: float = within(0, 600, 20.0)
    own_meter: bool = False
    unreliable_expiry: bool = False


@dataclass(frozen=True, slots=True)
class MeterSection:
    """A Modbus meter at the grid connection point."""

    name: str
    model: Literal["DTSU666-H", "SDM630"]
    unit: int = within(1, MAX_UNIT)
    on: str = OWN_PORT
    port: int = within(0, MAX_PORT, 0)
    device_ms: tuple[float, ...] = within(0, 10_000, (10.0, 20.0))
    period_s: float = within(0.02, 60, 0.2)
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class CtSection:
    """The current transformers and the converter behind them."""

    port: int = within(0, MAX_PORT, 0)
    primary_a: float = within(1, 10_000, 100.0)
    secondary_ma: float = within(1, 5000, 50.0)
    ratio_error_pct: float = within(-10, 10, 0.0)
    phase_error_min: float = within(-600, 600, 0.0)
    reversed: tuple[int, ...] = within(1, 3, ())
    order: tuple[int, ...] = within(1, 3, (1, 2, 3))
    bits: int = within(10, 24, 16)
    noise: float = within(0, 100, 1.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One whole house."""

    name: str
    inverters: tuple[InverterSection, ...]
    seed: int = 1
    house: HouseSection = HouseSection()
    load: LoadSection = LoadSection()
    sky: SkySection = SkySection()
    script: ScriptSection = ScriptSection()
    lines: tuple[LineSection, ...] = ()
    ports: tuple[PortSection, ...] = ()
    meters: tuple[MeterSection, ...] = ()
    ct: CtSection = CtSection()

    @property
    def phases(self) -> tuple[int, ...]:
        """Phases of the connection, 0 is L1."""
        return (0,) if self.house.grid_system == "single-phase" else (0, 1, 2)

    def start_time(self, now: datetime) -> datetime:
        """House time at the start, UTC.

        Raises:
            ValueError: `start` is none of its forms.
        """
        try:
            return self._start_time(now)
        except ValueError:
            raise ValueError(
                "house.start: must be now, a local time as 12:30, or an ISO 8601 instant; "
                f"is {self.house.start}"
            ) from None

    def _start_time(self, now: datetime) -> datetime:
        start, offset = self.house.start, timedelta(hours=self.house.utc_offset_h)
        if start == "now":
            return now.astimezone(UTC)
        if "-" not in start:
            today = (now.astimezone(UTC) + offset).date()
            return datetime.combine(today, time.fromisoformat(start), UTC) - offset
        at = datetime.fromisoformat(start)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC) - offset


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: With every problem found.
    """
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ScenarioError([f"{path}: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: no YAML: {' '.join(str(error).split())}"]) from None
    if node is None:
        raise ScenarioError([f"{path}: empty"])
    reader = Reader(str(path), [])
    scenario = reader.section(Scenario, node, "")
    if scenario is None:
        raise ScenarioError(reader.problems)
    problems = [f"{path}: {problem}" for problem in _contradictions(scenario, path.parent)]
    if problems:
        raise ScenarioError(problems)
    return scenario


def _contradictions(scenario: Scenario, folder: Path) -> list[str]:
    problems = [*_bad_places(scenario), *_bad_phases(scenario)]
    problems += [
        f"{each.name}.device_ms: must be [shortest, longest]"
        for each in _hung(scenario)
        if len(each.device_ms) != 2 or each.device_ms[0] > each.device_ms[1]  # noqa: PLR2004 - a pair
    ]
    if sorted(scenario.ct.order) != [1, 2, 3]:
        problems.append("ct.order: each of 1, 2 and 3 once")
    shares = scenario.load.phase_shares
    if len(shares) != PHASES or min(shares) < 0 or not sum(shares):
        problems.append("load.phase_shares: three shares, none below 0, not all 0")
    if scenario.load.trace and not (folder / scenario.load.trace).is_file():
        problems.append(f"load.trace: no file {folder / scenario.load.trace}")
    try:
        scenario.start_time(datetime.now(UTC))
    except ValueError as error:
        problems.append(str(error))
    return problems


def _hung(scenario: Scenario) -> list[InverterSection | MeterSection]:
    return [*scenario.inverters, *scenario.meters]


def _bad_places(scenario: Scenario) -> Iterator[str]:
    shared = [line.name for line in scenario.lines] + [port.name for port in scenario.ports]
    names = [*shared, *(each.name for each in _hung(scenario))]
    yield from (f"{n}: name used twice" for n in sorted(set(names)) if names.count(n) > 1)
    taken: set[tuple[str, int]] = set()
    for each in _hung(scenario):
        if each.on not in (*shared, OWN_PORT):
            known = ", ".join((*shared, OWN_PORT))
            yield f"{each.name}.on: no line or port {each.on}; known are {known}"
        if each.on != OWN_PORT and (each.on, each.unit) in taken:
            yield f"{each.name}.unit: {each.unit} is taken on {each.on}"
        taken.add((each.on, each.unit))


def _bad_phases(scenario: Scenario) -> Iterator[str]:
    for inverter in scenario.inverters:
        phases = inverter.phases
        if len(set(phases)) != len(phases) or len(phases) not in (1, PHASES):
            yield f"{inverter.name}.phases: one phase, or [1, 2, 3]"
        elif not {phase - 1 for phase in phases} <= set(scenario.phases):
            yield f"{inverter.name}.phases: the house has L1 only"
