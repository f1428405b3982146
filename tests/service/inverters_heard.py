"""An inverter as the other services hear of it."""

from typing import Any

from bus.inverters import InverterState, LinkFigures
from bus.metering import Phase

NOTHING_KNOWN = (
    "model",
    "serial",
    "firmware",
    "battery_capacity_wh",
    "device_status",
    "temperature_degc",
    "yield_energy_wh",
    "charge_energy_wh",
    "discharge_energy_wh",
)


def described(**facts: Any) -> InverterState:  # noqa: ANN401  other fields
    """Online, on three phases and without a battery, unless the facts say otherwise."""
    return InverterState.model_validate(
        {
            **dict.fromkeys(NOTHING_KNOWN),
            "inverter_id": "inv1",
            "online": True,
            "rated_power_w": 10_000.0,
            "phases": list(Phase),
            "has_battery": False,
            "alarms": (),
            "flash_writes": 0,
            "link": LinkFigures(
                answered=1,
                timed_out=0,
                late=0,
                bad_frames=0,
                exceptions=0,
                device_time_p50_ms=None,
                device_time_p99_ms=None,
            ),
            **facts,
        }
    )
