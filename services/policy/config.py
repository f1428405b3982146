"""The section `policy` of site.yaml."""

from typing import Annotated

from pydantic import Field

from runtime.config import ConfigSection


class PolicyConfig(ConfigSection):
    """How decisions are carried; what they aim at is in `settings`."""

    lease_s: Annotated[float, Field(ge=1.0, le=3.0)] = 2.5
    """Life of a setpoint: a receiver that hears nothing for so long goes to its fail-safe."""
    poll_s: Annotated[float, Field(ge=0.1, le=10.0)] = 1.0
    """Longest time between two readings of an inverter; 1 s later it counts as silent."""
