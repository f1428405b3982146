"""The JSON Schema of what `hemma status --json` prints."""

from typing import Any

_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": ["string", "null"]}


def status_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12; units are in the names, power is positive towards the house."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hemma status --json",
        "description": "The whole house at one moment. Unknown is null, never 0.",
        **_record(
            {
                "ok": {
                    "type": "boolean",
                    "description": "All processes there, grid measured, a dispatch holds, nothing"
                    " critical or major wrong. The exit code is 0 when true, 1 when false.",
                },
                "at": {"type": "string", "format": "date-time"},
                "grid": _record(
                    {
                        "power_w": {**_NUMBER, "description": "> 0 import, < 0 export"},
                        "age_s": _NUMBER,
                        "frequency_hz": _NUMBER,
                        "phases": {"type": "object", "additionalProperties": _NUMBER},
                        "flags": {"type": "array", "items": {"type": "string"}},
                        "import_energy_wh": _NUMBER,
                        "export_energy_wh": _NUMBER,
                    }
                ),
                "inverters": _by_name(
                    {
                        "ac_power_w": _NUMBER,
                        "pv_power_w": _NUMBER,
                        "battery_power_w": {**_NUMBER, "description": "> 0 discharge"},
                        "soc_pct": _NUMBER,
                        "lease": _TEXT,
                        "age_s": _NUMBER,
                        "online": {"type": "boolean"},
                        "model": _TEXT,
                        "rated_power_w": _NUMBER,
                        "alarms": {"type": "array", "items": {"type": "string"}},
                    }
                ),
                "setpoints": {
                    **_by_name(
                        {
                            "asked": _NUMBER,
                            "confirmed": _NUMBER,
                            "measured": _NUMBER,
                            "why_not": _TEXT,
                            "owner": {"type": "string"},
                            "level": _TEXT,
                            "reason": _TEXT,
                            "causes": {"type": "array", "items": {"type": "object"}},
                            "valid_until": {"type": "string", "format": "date-time"},
                        }
                    ),
                    "description": "By device.quantity, in W.",
                },
                "limits": {"type": "array", "items": {"type": "object"}},
                "dispatch": _record({"age_s": _NUMBER, "reason": _TEXT}),
                "services": _by_name(
                    {
                        "online": {"type": "boolean"},
                        "age_s": {**_NUMBER, "description": "since it came or went"},
                        "counters": {"type": ["object", "null"]},
                    }
                ),
                "faults": {
                    "type": "array",
                    "items": _record(
                        {
                            "process": {"type": "string"},
                            "code": {"type": "string"},
                            "device": _TEXT,
                            "severity": {"enum": ["critical", "major", "minor", "warning"]},
                            "text": {"type": "string"},
                            "since": {"type": "string", "format": "date-time"},
                        }
                    ),
                },
            }
        ),
    }


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _by_name(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": _record(properties)}
