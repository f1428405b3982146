"""What metering keeps over a restart.

Registers are published only after they are stored, so that nobody ever sees one run backwards: a
crash loses what was counted since the last store, at most, and that was never shown.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from services.metering.registers import EnergySnapshot, MeterTotals
from services.metering.systems import Wiring


@dataclass(frozen=True, slots=True)
class Kept:
    """The contents of the store."""

    energy: EnergySnapshot = field(default_factory=EnergySnapshot)
    """Registers counted here."""
    meter: MeterTotals = field(default_factory=MeterTotals)
    """Registers that follow a Modbus meter's."""
    meter_read_at: float | None = None
    """When those were last taken over, in s since 1970: tells how far they may have moved."""
    wiring: Wiring | None = None
    """As proven by a test with known steps; None: as labelled, as far as is known."""

    def as_json(self) -> Any:  # noqa: ANN401  whatever JSON can hold
        """For the store."""
        return _ADAPTER.dump_python(self, mode="json")

    @staticmethod
    def from_json(stored: object) -> "Kept":
        """From the store.

        Raises:
            ValueError: It cannot have been ours.
        """
        return _ADAPTER.validate_python(stored)


_ADAPTER = TypeAdapter(Kept)
