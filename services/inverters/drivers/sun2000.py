"""SUN2000 inverters with LUNA2000 batteries, as data.

Source: SUN2000 Modbus interface definitions; public field reports on the forced commands: they may
outlive their duration, so they are always stopped by us too, and while a discharge is forced its
power also caps PV.
"""

from services.inverters.drivers.profile import (
    AcLimit,
    ForcedBattery,
    Profile,
    load_alarms,
    load_table,
)

_STATUSES = {  # register 32089
    0x0000: "standby: initialising",
    0x0001: "standby: insulation test",
    0x0002: "standby: waiting for light",
    0x0003: "standby: grid detection",
    0x0100: "starting",
    0x0200: "on grid",
    0x0201: "on grid, limited",
    0x0202: "on grid, derating itself",
    0x0203: "off-grid operation",
    0x0300: "stopped: fault",
    0x0301: "stopped: command",
    0x0302: "stopped: overvoltage relay",
    0x0303: "stopped: communication lost",
    0x0304: "stopped: power limit",
    0x0305: "stopped: waits for a manual start",
    0x0306: "stopped: DC switch",
    0x0307: "stopped: rapid cut-off",
    0x0308: "stopped: low input",
    0x030C: "stopped: battery empty",
    0x0401: "grid scheduling: cos phi-P",
    0x0402: "grid scheduling: Q-U",
    0x0403: "grid scheduling: PF-U",
    0x0404: "grid scheduling: dry contact",
    0x0405: "grid scheduling: Q-P",
    0x0500: "spot check ready",
    0x0501: "spot checking",
    0x0600: "inspecting",
    0x0700: "AFCI self check",
    0x0800: "I-V scan",
    0x0900: "DC detection",
    0x0A00: "off-grid charging",
    0xA000: "standby: no light",
}

SUN2000 = Profile(
    name="sun2000",
    table=load_table("sun2000.csv"),
    models=("SUN", "EDF ESS", "Powershifter", "SWI300"),
    max_registers=64,
    ac_limit=AcLimit("ac_limit_w"),
    battery=ForcedBattery(
        command="forced_command",
        stop=0,
        charge=1,
        discharge=2,
        charge_power="forced_charge_w",
        discharge_power="forced_discharge_w",
        discharge_includes_pv=True,
        # By duration, and the shortest one: if we die, the device's own timer ends it, if it works.
        settings={"forced_by": 0, "forced_minutes": 1},
        on_reissue=("forced_minutes",),
    ),
    alarms=load_alarms("sun2000_alarms.csv"),
    statuses=_STATUSES,
)
