"""Setpoints as decisions: by whose word an inverter runs, and what is to be written to it.

Plain functions over frozen data; no bus, no clock, no I/O. Power is positive towards the house.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bus.inverters import Lease
from runtime.modbus.registers import Register, RegisterTable
from services.inverters.drivers.base import Registers, Write
from services.inverters.drivers.profile import ForcedBattery, Profile

LONGEST_LEASE_S = 3.0
"""However long a setpoint claims to be valid."""

_IDLE_W = 0.5
"""A smaller battery power is none."""
PV_BAND_W = 20.0
"""The written sum of battery and PV follows PV in steps of this size."""
OVER_LIMIT_W = 100.0
OVER_LIMIT_PART = 0.03
OVER_LIMIT_S = 10.0
"""Output above the confirmed limit by more, for longer, is not followed."""
_OFF_BATTERY_W = 200.0
_OFF_BATTERY_PART = 0.1
_AT_BOUND = 0.9
_FULL_PCT, _EMPTY_PCT = 99.0, 20.0
"""A battery may end its charge here, or its discharge below, for reasons of its own."""


@dataclass(frozen=True)
class LeaseFacts:
    """What the lease depends on."""

    present: bool
    """The device answers."""
    read_back: bool
    """What its actuators hold is known, read since it was last away."""
    leased: bool
    """A setpoint holds that has not lapsed."""


def next_lease(lease: Lease, facts: LeaseFacts) -> Lease:
    """By whose word the inverter runs from now on. The arrows are drawn in the README."""
    match lease, facts:
        case Lease.STARTING, LeaseFacts(present=True, read_back=True, leased=True):
            lease = Lease.LEASED  # 1: what the device holds is adopted where it fits
        case Lease.STARTING, LeaseFacts(present=True, read_back=True, leased=False):
            lease = Lease.FAILSAFE  # 2: what it holds is cancelled
        case Lease.LEASED, LeaseFacts(present=True, leased=False):
            lease = Lease.FAILSAFE  # 3: nobody speaks any more
        case Lease.FAILSAFE, LeaseFacts(present=True, leased=True):
            lease = Lease.LEASED  # 4: somebody speaks
        case ((Lease.LEASED | Lease.FAILSAFE), LeaseFacts(present=False)):
            lease = Lease.STARTING  # 5: it may come back holding anything
    return lease


@dataclass(frozen=True)
class Target:
    """What an inverter shall do."""

    battery_power_w: float | None
    """> 0 is discharge; None: its own affair, and 0: nothing forced."""
    ac_limit_w: float | None
    """None: its rating."""


@dataclass(frozen=True)
class Bounds:
    """What the device itself can take."""

    max_power_w: float
    """Highest AC limit."""
    max_charge_w: float | None = None
    max_discharge_w: float | None = None


@dataclass(frozen=True)
class Held:
    """What the device's actuators are known to hold, and since when the battery is commanded."""

    registers: Registers
    commanded_s: float = -math.inf
    """When the forced command was last written, monotonic."""
    armed_s: float = -math.inf
    """When the settings that are repeated with it were last written."""
    battery_power_w: float | None = None
    """The battery power that the forced power was written for."""


def wanted_registers(
    profile: Profile,
    target: Target,
    bounds: Bounds,
    pv_power_w: float | None,
    *,
    has_battery: bool = True,
) -> dict[str, float]:
    """How the actuators should stand, in physical units.

    Args:
        profile: What actuators the family has.
        target: What is asked.
        has_battery: Whether this one has a battery; otherwise its commands are left alone.
        bounds: Beyond them, devices refuse the write; so it is cut to them.
        pv_power_w: Latest DC power of all strings; None counts as none.
    """
    wanted: dict[str, float] = {}
    if (limit := profile.ac_limit) is not None:
        wanted[limit.register] = _limit(profile, target.ac_limit_w, bounds.max_power_w)
    if has_battery and (battery := profile.battery) is not None:
        wanted.update(_forced(battery, target.battery_power_w, bounds, pv_power_w))
    return wanted


def _limit(profile: Profile, limit_w: float | None, max_power_w: float) -> float:
    """The AC limit in the register's unit, rounded down: never above what is allowed."""
    assert profile.ac_limit is not None  # noqa: S101  narrows the type; the caller has looked
    row = profile.table[profile.ac_limit.register]
    bound_w = max_power_w if limit_w is None else min(max(limit_w, 0.0), max_power_w)
    bound = 100 * bound_w / max_power_w if profile.ac_limit.of_rating else bound_w
    return math.floor(bound * float(row.gain)) / float(row.gain)


def _forced(
    battery: ForcedBattery, power_w: float | None, bounds: Bounds, pv_power_w: float | None
) -> dict[str, float]:
    if power_w is None or abs(power_w) < _IDLE_W:
        return {battery.command: battery.stop}
    if power_w < 0:
        charge_w = min(-power_w, _or_inf(bounds.max_charge_w), bounds.max_power_w)
        if charge_w < _IDLE_W:
            return {battery.command: battery.stop}
        return {
            **battery.settings,
            battery.charge_power: round(charge_w),
            battery.command: battery.charge,
        }
    discharge_w = min(power_w, _or_inf(bounds.max_discharge_w))
    if discharge_w < _IDLE_W:
        return {battery.command: battery.stop}
    if battery.discharge_includes_pv:
        discharge_w += max(0.0, pv_power_w or 0.0)
    return {
        **battery.settings,
        battery.discharge_power: round(min(discharge_w, bounds.max_power_w)),
        battery.command: battery.discharge,
    }


def _or_inf(bound: float | None) -> float:
    return math.inf if bound is None else bound


def plan_writes(
    profile: Profile, wanted: Mapping[str, float], held: Held, target: Target, now_s: float
) -> tuple[Write, ...]:
    """The fewest frames that bring the actuators from what they hold to what is wanted.

    The AC limit first, because it is what others rely on. Then the battery: powers and settings
    before the command, so that no mode starts with an old power. A command that stands is repeated
    when its time has come, because the device's own timer would end it.
    """
    writes: list[Write] = []
    battery = profile.battery
    if profile.ac_limit is not None:
        writes += _frames(profile.table, _changed(wanted, held, (profile.ac_limit.register,)))
    if battery is None or battery.command not in wanted:
        return tuple(writes)

    commanded = wanted[battery.command] != battery.stop
    same_command = held.registers.get(battery.command) == wanted[battery.command]
    repeat = commanded and now_s - held.commanded_s >= battery.reissue_s
    names = [name for name in wanted if name in {battery.charge_power, battery.discharge_power}]
    if same_command and held.battery_power_w == target.battery_power_w:
        names = [name for name in names if not _near(wanted[name], held.registers.get(name))]
    changes = _changed(wanted, held, (*names, *(battery.settings if commanded else ())))
    if repeat and now_s - held.armed_s >= battery.reissue_s:
        changes.update({name: wanted[name] for name in battery.on_reissue})
    writes += _frames(profile.table, changes)
    if not same_command or repeat:
        writes += _frames(profile.table, {battery.command: wanted[battery.command]})
    return tuple(writes)


def _near(wanted: float, held: float | None) -> bool:
    return held is not None and abs(wanted - held) < PV_BAND_W


def _changed(wanted: Mapping[str, float], held: Held, names: Iterable[str]) -> dict[str, float]:
    return {name: wanted[name] for name in names if held.registers.get(name) != wanted[name]}


def _frames(table: RegisterTable, quantities: Mapping[str, float]) -> list[Write]:
    """One frame for each run of registers without a gap."""
    runs: list[list[Register]] = []
    for row in sorted((table[name] for name in quantities), key=lambda row: row.address):
        if runs and runs[-1][-1].end == row.address:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [
        Write(
            run[0].address,
            tuple(word for row in run for word in row.encode(quantities[row.name])),
            {row.name: quantities[row.name] for row in run},
        )
        for run in runs
    ]


def after_write(held: Held, write: Write, profile: Profile, target: Target, now_s: float) -> Held:
    """What the device holds once it has confirmed a frame."""
    registers = {**held.registers, **write.quantities}
    battery = profile.battery
    if battery is None:
        return Held(registers)
    written = write.quantities.keys()
    powers = {battery.charge_power, battery.discharge_power, battery.command}
    return Held(
        registers,
        commanded_s=now_s if battery.command in written else held.commanded_s,
        armed_s=now_s if written & set(battery.on_reissue) else held.armed_s,
        battery_power_w=target.battery_power_w if written & powers else held.battery_power_w,
    )


def confirmed_ac_limit_w(
    profile: Profile, read_back: Registers, max_power_w: float
) -> float | None:
    """The AC limit that the device says it holds; None: not read back, or it has none."""
    if profile.ac_limit is None:
        return None
    limit = read_back.get(profile.ac_limit.register)
    if limit is None or not profile.ac_limit.of_rating:
        return limit
    return limit * max_power_w / 100


def confirmed_battery_w(
    profile: Profile, read_back: Registers, pv_power_w: float | None
) -> float | None:
    """The battery power that the device says it holds, > 0 is discharge; None: not known.

    Args:
        profile: What actuators there are.
        read_back: Their contents.
        pv_power_w: Present DC power of all strings.
    """
    battery = profile.battery
    if battery is None or (command := read_back.get(battery.command)) is None:
        return None
    if command == battery.charge:
        power_w = read_back.get(battery.charge_power)
        return None if power_w is None else -power_w
    if command == battery.discharge:
        power_w = read_back.get(battery.discharge_power)
        if power_w is None or not battery.discharge_includes_pv:
            return power_w
        return power_w - max(0.0, pv_power_w or 0.0)
    return 0.0


def is_over_limit(ac_power_w: float | None, limit_w: float | None, rated_power_w: float) -> bool:
    """Whether the output is above the confirmed limit beyond what measuring and ramps explain."""
    if ac_power_w is None or limit_w is None:
        return False
    return ac_power_w > limit_w + max(OVER_LIMIT_W, OVER_LIMIT_PART * rated_power_w)


def battery_is_off(
    asked_w: float | None,
    battery_power_w: float | None,
    soc_pct: float | None,
    bounds: Bounds,
) -> bool:
    """Whether the battery does something else than asked, without a reason that we know.

    A discharge may end at the device's own lower bound, a charge at full; near its bounds the
    battery decides. A charge may also lack PV, so only a discharge that stays away and powers of
    the wrong sign count there.
    """
    if asked_w is None or battery_power_w is None or abs(asked_w) < _IDLE_W:
        return False
    tolerance_w = max(_OFF_BATTERY_W, _OFF_BATTERY_PART * bounds.max_power_w)
    if asked_w < 0:
        return battery_power_w > tolerance_w or battery_power_w < asked_w - tolerance_w
    if soc_pct is not None and soc_pct <= _EMPTY_PCT and battery_power_w < asked_w:
        return battery_power_w < -tolerance_w
    reachable_w = min(asked_w, _AT_BOUND * _or_inf(bounds.max_discharge_w))
    return battery_power_w < reachable_w - tolerance_w or battery_power_w > asked_w + tolerance_w


@dataclass(frozen=True)
class Watch:
    """For how long something has been wrong."""

    since_s: float | None = None

    def seen(self, now_s: float, *, wrong: bool) -> "Watch":
        """Look once more."""
        if not wrong:
            return Watch()
        return self if self.since_s is not None else Watch(now_s)

    def lasted(self, now_s: float, for_s: float) -> bool:
        """Whether it has been wrong all the time for so long."""
        return self.since_s is not None and now_s - self.since_s >= for_s
