"""Alarms that a SUN2000 can show, as ids and bits.

Source: SUN2000 Modbus interface definitions, alarm information list (registers 32008 to 32010).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlarmBit:
    """Where an alarm shows: word 1 is register 32008."""

    word: int
    bit: int
    severity: str


_MAJOR, _MINOR, _WARNING = "major", "minor", "warning"
_IDS = (
    # word 1, bits 0..15
    "2001 2002 2011 2012 2013 2021 2031 2032 2033 2034 2035 2036 2037 2038 2039 2040",
    # word 2
    "2051 2061 2062 2063 2064 2065 2066 61440 2067 2068 2070 2071 2072 2075 2077 2080",
    # word 3
    "2081 2085 2014 2086 2069 2082 2015 2087 2088 2089 2090 2091 2092 2003 2093 2094",
)
_LESS_THAN_MAJOR = {
    _MINOR: {2063, 2065, 61440, 2068, 2085, 2089, 2093},
    _WARNING: {2012, 2013, 2066, 2075, 2081, 2015, 2094},
}


def _severity(alarm_id: int) -> str:
    return next((name for name, ids in _LESS_THAN_MAJOR.items() if alarm_id in ids), _MAJOR)


ALARMS = {
    int(alarm_id): AlarmBit(word, bit, _severity(int(alarm_id)))
    for word, ids in enumerate(_IDS, 1)
    for bit, alarm_id in enumerate(ids.split())
}
BATTERY_ABNORMAL = 2068
BATTERY_FAULTS = range(3000, 3013)
"""Fault ids of the LUNA2000, shown in register 37014 and as alarm 2068 "battery abnormal"."""
