"""Field types with their unit, sign and bounds.

Power is positive towards the house: import, production, discharge (`load = grid + pv + battery`).
Bounds are those of a home with a margin of ten; what lies outside is a fault, not a measurement.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints


def _in_utc(moment: AwareDatetime) -> AwareDatetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("must be UTC")
    return moment


UtcTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An instant; always aware and in UTC."""

Slug = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
"""A name that may stand in a topic: lower case, digits, dash, underscore."""

LONGEST_TEXT = 500
"""Characters of a sentence; longer ones are cut by who says them."""

Text = Annotated[str, StringConstraints(strict=True, max_length=LONGEST_TEXT)]
"""A sentence for a person."""

_finite = {"strict": True, "allow_inf_nan": False}

PowerW = Annotated[float, Field(ge=-1e6, le=1e6, **_finite)]
"""Active power in W, signed."""

PositivePowerW = Annotated[float, Field(ge=0, le=1e6, **_finite)]
"""A magnitude of active power in W: a rating, a bound."""

ReactivePowerVar = Annotated[float, Field(ge=-1e6, le=1e6, **_finite)]
ApparentPowerVa = Annotated[float, Field(ge=0, le=1e6, **_finite)]
VoltageV = Annotated[float, Field(ge=0, le=2000, **_finite)]
CurrentA = Annotated[float, Field(ge=0, le=10_000, **_finite)]
PowerFactor = Annotated[float, Field(ge=-1, le=1, **_finite)]
FrequencyHz = Annotated[float, Field(ge=0, le=100, **_finite)]
EnergyWh = Annotated[float, Field(ge=0, le=1e12, **_finite)]
"""An energy counter in Wh: unsigned, in pairs (import/export, charge/discharge)."""

SocPct = Annotated[float, Field(ge=0, le=100, **_finite)]
Percent = Annotated[float, Field(ge=0, le=100, **_finite)]
TemperatureDegc = Annotated[float, Field(ge=-100, le=300, **_finite)]
Seconds = Annotated[float, Field(ge=0, le=1e9, **_finite)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]
