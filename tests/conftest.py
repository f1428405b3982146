"""A clock that stands still and a bus without a broker."""

import pytest

from runtime.clock import FakeClock
from runtime.memory import MemoryBus


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()
