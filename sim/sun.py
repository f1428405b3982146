"""Clear-sky light on a tilted surface, good to a few per cent, and clouds in front of it.

Sources: declination and equation of time, J. W. Spencer (1971); global irradiance of a clear sky,
B. Haurwitz (1945); direct irradiance, A. B. and M. P. Meinel (1976); diffuse light taken as even
over the sky.
"""

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from sim.track import Track

DAY_S = 86400
SOLAR_CONSTANT_W_M2 = 1353.0
GROUND_ALBEDO = 0.2
MIN_SUN_COSINE = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """Where the house stands, degrees; north and east positive."""

    latitude_deg: float
    longitude_deg: float


@dataclass(frozen=True, slots=True)
class Surface:
    """How the modules look at the sky: 0 is flat; azimuth 180 is south, 90 east."""

    tilt_deg: float = 35.0
    azimuth_deg: float = 180.0


def clear_sky_w_m2(place: Place, surface: Surface, epoch_s: float) -> float:
    """Irradiance on a surface under a clear sky.

    Args:
        place: The house.
        surface: The modules.
        epoch_s: UTC, seconds since 1970.
    """
    at = datetime.fromtimestamp(epoch_s, UTC)
    year_angle = 2 * math.pi * (at.timetuple().tm_yday - 1) / 365
    declination = (
        0.006918
        - 0.399912 * math.cos(year_angle)
        + 0.070257 * math.sin(year_angle)
        - 0.006758 * math.cos(2 * year_angle)
        + 0.000907 * math.sin(2 * year_angle)
    )
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(year_angle)
        - 0.032077 * math.sin(year_angle)
        - 0.014615 * math.cos(2 * year_angle)
        - 0.040849 * math.sin(2 * year_angle)
    )
    solar_min = (epoch_s % DAY_S) / 60 + 4 * place.longitude_deg + equation_min
    hour_angle = math.radians(solar_min / 4 - 180)
    latitude = math.radians(place.latitude_deg)
    south = math.sin(latitude) * math.cos(declination) * math.cos(hour_angle) - math.cos(
        latitude
    ) * math.sin(declination)
    west = math.cos(declination) * math.sin(hour_angle)
    up = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(
        declination
    ) * math.cos(hour_angle)
    if up < MIN_SUN_COSINE:
        return 0.0
    tilt, azimuth = math.radians(surface.tilt_deg), math.radians(surface.azimuth_deg - 180)
    facing = max(
        0.0,
        up * math.cos(tilt)
        + math.sin(tilt) * (south * math.cos(azimuth) + west * math.sin(azimuth)),
    )
    whole = 1098 * up * math.exp(-0.057 / up)
    direct = SOLAR_CONSTANT_W_M2 * math.pow(0.7, math.pow(1 / up, 0.678))
    diffuse = max(0.1 * whole, whole - direct * up)
    return (
        direct * facing
        + diffuse * (1 + math.cos(tilt)) / 2
        + GROUND_ALBEDO * whole * (1 - math.cos(tilt)) / 2
    )


SKIES = {"clear": 1, "broken": 2, "overcast": 1}
"""Kinds of day and how often they come."""


def cloud_day(seed: int, day: int, kind: str | None = None) -> Track:
    """Share of the clear-sky light that comes through during one day.

    Args:
        seed: Of the weather.
        day: Days since 1970.
        kind: clear, broken or overcast; None draws one.

    Returns:
        A linear track over epoch seconds. Broken skies jump between sun (a little above 1 at the
        edges of clouds) and shade within 4 to 25 s, as module fields see it.
    """
    rng = random.Random(f"clouds {seed} {day}")
    drawn = rng.choices(list(SKIES), weights=list(SKIES.values()))[0]
    start_s, at_s = day * DAY_S, 0.0
    points: list[tuple[float, float]] = []
    while at_s < DAY_S:
        match kind or drawn:
            case "clear":
                level, stays_s = rng.uniform(0.97, 1.0), rng.uniform(600, 3600)
                ramp_s = 120.0
            case "overcast":
                level, stays_s = rng.betavariate(2, 5) * 0.6 + 0.06, rng.uniform(60, 600)
                ramp_s = rng.uniform(60, 300)
            case _:
                shade = len(points) % 4 == 0
                level = rng.uniform(0.18, 0.55) if shade else rng.uniform(0.95, 1.06)
                stays_s = rng.expovariate(1 / (90 if shade else 200)) + 10
                ramp_s = rng.uniform(4, 25)
        points += [(start_s + at_s, level), (start_s + at_s + stays_s, level)]
        at_s += stays_s + ramp_s
    return Track(points)
