from pathlib import Path

import pytest

from runtime.clock import FakeClock
from runtime.memory import MemoryBus
from tests.service.inverters.house import House, SimulatedLine, sun2000


@pytest.fixture
def house(bus: MemoryBus, clock: FakeClock, tmp_path: Path) -> House:
    return House(bus, clock, tmp_path, SimulatedLine(clock, {1: sun2000(clock)}))
