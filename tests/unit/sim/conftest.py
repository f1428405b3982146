from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sim.battery import Battery, BatterySpec
from sim.grid import Grid
from sim.house import STEP_S
from sim.inverter import PowerStage, StageSpec
from sim.modbus import answer
from sim.plant import Plant, build
from sim.scenario import load_scenario
from sim.sun2000 import Manners, Sun2000
from sim.sun2000_view import Identity

NOON = datetime(2024, 6, 12, 12, tzinfo=UTC)


@dataclass
class Installed:
    """An inverter in a laboratory: light from a lamp, a load of its own, time by hand."""

    device: Sun2000
    pv_available_w: float = 0.0
    load_w: float = 0.0
    now_s: float = 0.0
    grid: Grid = field(default_factory=lambda: Grid(230.0, 50.0))

    @property
    def stage(self) -> PowerStage:
        return self.device.stage

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            self.stage.step(STEP_S, self.pv_available_w)
            self.grid.power_w = [(self.load_w - self.stage.ac_w) / 3] * 3
            self.device.tick(self.now_s, STEP_S, self.grid)

    def ask(self, *pdu: int) -> bytes:
        return answer(self.device, bytes(pdu))

    def read(self, address: int, count: int = 1) -> bytes:
        got = self.ask(3, *address.to_bytes(2, "big"), 0, count)
        assert got[0] == 3, got.hex()
        return got[2:]

    def number(self, name: str) -> float:
        """What a client reads there, in physical units."""
        cell = self.device.image.table.by_name[name]
        return cell.decode(self.read(cell.address, cell.width))

    def write(self, name: str, physical: float) -> bytes:
        """As clients do: function 06 for one register, 10h for more."""
        cell = self.device.image.table.by_name[name]
        raw = cell.encode(physical)
        if cell.width == 1:
            return self.ask(6, *cell.address.to_bytes(2, "big"), *raw)
        return self.ask(16, *cell.address.to_bytes(2, "big"), 0, cell.width, len(raw), *raw)

    def force(self, command: int, power_w: float, minutes: int = 5) -> None:
        """1 charges, 2 discharges, in the order that clients use."""
        self.write("forced_charge_w" if command == 1 else "forced_discharge_w", power_w)
        self.write("forced_duration_min", minutes)
        self.write("forced_by", 0)
        assert self.write("forced_command", command)[0] == 6


@pytest.fixture
def install() -> Callable[..., Installed]:
    def build_one(
        *,
        soc_pct: float | None = 50.0,
        dead_time_s: float = 0.3,
        lag_s: float = 0.8,
        rated_w: float = 8000.0,
        pv_available_w: float = 0.0,
        load_w: float = 0.0,
        phases: tuple[int, ...] = (0, 1, 2),
        **manners: float,
    ) -> Installed:
        cells = BatterySpec(capacity_wh=10_000, max_charge_w=5000, max_discharge_w=5000)
        battery = None if soc_pct is None else Battery(cells, soc_pct)
        stage = PowerStage(StageSpec(rated_w, dead_time_s, lag_s), battery)
        identity = Identity("SUN2000-8KTL-M1", "HV2150000001", 1, phases=phases)
        made: list[Installed] = []  # the device asks for the time before there is a laboratory
        device = Sun2000(
            identity,
            Manners(**{"ramp_w_s": 1e5, **manners}),  # type: ignore[arg-type]
            stage,
            lambda: NOON + timedelta(seconds=sum(lab.now_s for lab in made)),
        )
        made.append(Installed(device, pv_available_w=pv_available_w, load_w=load_w))
        return made[0]

    return build_one


PLAIN_HOUSE = """
name: laboratory
house: {start: 2024-06-12T12:00:00+00:00, utc_offset_h: 0}
load: {appliances: false, base_w: 900}
sky: {kind: clear}
lines: [{name: rs485-1, baud: 115200}]
inverters:
  - {name: inv1, model: SUN2000-8KTL-M1, rated_w: 8000, unit: 1, on: rs485-1,
     device_ms: [1, 1], fields: [{peak_w: 6000}], battery: {capacity_wh: 10000}}
  - {name: inv2, model: SUN2000-5KTL-M1, rated_w: 5000, unit: 2, on: tcp, device_ms: [1, 1],
     battery: {capacity_wh: 10000}}
meters:
  - {name: meter1, model: SDM630, unit: 3, on: rs485-1, device_ms: [1, 1]}
"""


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    path = tmp_path / "house.yaml"
    path.write_text(PLAIN_HOUSE)
    scenario = load_scenario(path)
    return build(scenario, tmp_path, tmp_path, scenario.start_time(NOON))
