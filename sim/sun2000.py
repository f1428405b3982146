"""The firmware of a SUN2000 with a LUNA2000: registers in front, the power stage behind.

What it accepts, refuses, keeps and forgets follows public knowledge of the device:

* Set-points (40125, 40126, 47415 ...) stay in force for ever: no default time-out. Of 40125 and
  40126 the one written last counts. 42019 and 42063 exist but are off by default.
* 47100 forces the battery. Discharge: 47249 is the AC output of PV and battery together, PV first,
  and so a ceiling for PV. Charge: the battery takes 47247 from PV, and from the grid only with
  47087 = 1. By duration (47246 = 0) it ends after 47083 minutes; or, as seen in the field, never.
* 47415 = 5, 6, 7 and self-consumption (47086) need a meter of the inverter's own; without one they
  are accepted and do nothing.
* 47075 and 47077 above 37046 and 37048 are refused with exception 03.
* Working modes other than self-consumption, and the time tables, are stored and not acted upon.

Source: SUN2000 Modbus interface definitions; public field reports on forced charging.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sim.alarms import ALARMS, BATTERY_ABNORMAL, BATTERY_FAULTS
from sim.grid import Grid
from sim.inverter import Forced, Orders, PowerStage
from sim.modbus import ILLEGAL_FUNCTION, ILLEGAL_VALUE, READ_HOLDING, ModbusError, SilentError
from sim.registers import Cell, Image, Table
from sim.sun2000_view import (
    ON_GRID,
    ON_GRID_LIMITED,
    STANDBY_NO_LIGHT,
    STARTING,
    STOP_COMMAND,
    STOP_SILENCE,
    Counters,
    Facts,
    Identity,
    Shown,
    pack_count,
    telemetry,
)

REGISTERS = Table.load("sun2000.csv")
OWN_METER_PERIOD_S, OWN_METER_GAIN = 1.0, 0.5
SELF_CONSUMPTION_MODES = (0, 2)
BY_PERCENT, BY_WATT = 1, 2
FIRST_LISTED_OBJECT = 0x88
GRID_CODE = 87
"""EN 50549."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How this one behaves, beside the document."""

    telemetry_period_s: float = 0.5
    telemetry_age_s: float = 0.2
    gain_error: float = 0.0
    """Of its own power measurements: 0.01 reads 1 % too much."""
    ramp_w_s: float = 5000.0
    start_s: float = 20.0
    """From power-on or a reboot until it feeds again; minutes on a real one."""
    discharge_cutoff_pct: float = 5.0
    grid_charge: bool = False
    own_meter: bool = False
    unreliable_expiry: bool = False
    """A forced command outlives its duration."""


class Sun2000:
    """One inverter as its Modbus clients see it.

    Args:
        identity: Texts and numbers of the nameplate.
        manners: Behaviour beside the document.
        stage: The power stage that it drives.
        house_time: The device's local time.
    """

    def __init__(
        self,
        identity: Identity,
        manners: Manners,
        stage: PowerStage,
        house_time: Callable[[], datetime],
    ) -> None:
        self.identity = identity
        self.manners = manners
        self.stage = stage
        self.image = Image(REGISTERS)
        self.behind: list[Sun2000] = []
        """Other inverters that this one lists as reachable through it."""
        self.counters = Counters()
        self.ignores_setpoints = False
        self.refuses_writes: int | None = None
        self.alarms: set[int] = set()
        self._battery_fault = 0
        self._alarm_sequence = 0
        self._house_time = house_time
        self._started_at = house_time()
        self._now_s = 0.0
        self._heard_s = 0.0
        self._dark_until_s = -math.inf
        self._feeds_from_s = 0.0
        self._ordered_off = False
        self._ac_limit_w = stage.spec.rated_w
        self._scheduled_s: float | None = None
        self._validity_s = math.inf
        self._tolerated_silence_s = math.inf
        self.forced = Forced.NONE
        """The forced command that stands in the registers."""
        self._forced_since_s = 0.0
        self._own_battery_w = 0.0
        self._own_limit_w = math.inf
        self._own_meter_s = 0.0
        self._refresh_s = 0.0
        self._shown: Shown = {}
        self._on_its_way: deque[tuple[float, Shown]] = deque()
        self._publish(self._nameplate())
        self._publish(telemetry(self._facts(Grid(230.0, 50.0))))
        self._order(at_once=True)

    # -- the client's side -------------------------------------------------------------------

    def read(self, function: int, address: int, count: int) -> bytes:
        """Function 03 only."""
        self._hear()
        if function != READ_HOLDING:
            raise ModbusError(ILLEGAL_FUNCTION)
        return self.image.read(address, count)

    def write(self, address: int, words: Sequence[int]) -> None:
        """Check everything, then take everything, then act."""
        self._hear()
        planned = self.image.check(address, words)
        self._check_together(planned)
        if self.refuses_writes is not None:
            raise ModbusError(self.refuses_writes)
        self.image.commit(planned)
        for cell, _ in planned:
            self._written(cell.name)
        self._order()

    def objects(self) -> dict[int, bytes]:
        """Basic identification, and the list of this device and those behind it."""
        self._hear()
        listed = [device.identity.listed() for device in (self, *self.behind)]
        return {
            0: b"Huawei",
            1: b"SUN2000",
            2: self.identity.software.encode(),
            FIRST_LISTED_OBJECT - 1: bytes((len(listed),)),
            **dict(enumerate(listed, FIRST_LISTED_OBJECT)),
        }

    def _hear(self) -> None:
        if self._now_s < self._dark_until_s:
            raise SilentError
        self._heard_s = self._now_s

    def _check_together(self, planned: Sequence[tuple[Cell, bytes]]) -> None:
        """Peak shaving needs charging from the grid, of this write or set before."""
        new = {cell.name: cell.decode(raw) for cell, raw in planned if cell.kind[0] in "ui"}
        grid_charge = new.get("grid_charge_enable", self.image.number("grid_charge_enable"))
        if new.get("capacity_control") and not grid_charge:
            raise ModbusError(ILLEGAL_VALUE)

    def _written(self, name: str) -> None:
        match name:
            case "ac_limit_pct":
                percent = self.image.number(name)
                self._schedule(BY_PERCENT, 10 * percent, self.stage.spec.rated_w * percent / 100)
            case "ac_limit_w":
                self._schedule(BY_WATT, self.image.number(name), self.image.number(name))
            case "forced_command":
                self._forced_since_s = self._now_s
            case "shut_down":
                self._ordered_off = True
            case "power_on":
                if self._ordered_off:
                    self._feeds_from_s = self._now_s + self.manners.start_s
                self._ordered_off = False
            case "reset":
                self.reboot(self.manners.start_s)

    def _schedule(self, mode: int, asked: float, limit_w: float) -> None:
        self._ac_limit_w = max(limit_w, 0.0)
        self._scheduled_s = self._now_s if mode else None
        self._publish(
            {
                "adjustment_mode": mode,
                "adjustment_amount": max(asked, 0.0),
                "adjustment_command": float(mode != 0),
            }
        )

    # -- what happens to it ------------------------------------------------------------------

    def reboot(self, dark_s: float) -> None:
        """Feed nothing and say nothing for a while; what was kept in RAM is gone."""
        self._dark_until_s = self._now_s + dark_s
        self._feeds_from_s = self._dark_until_s + self.manners.start_s
        self._ordered_off = False
        self._started_at = self._house_time()
        self.image.power_cycle()
        self._publish({"ac_limit_w": self.stage.spec.rated_w})
        self._publish({"feed_in_limit_w": self.stage.spec.rated_w})
        self._schedule(0, 0.0, self.stage.spec.rated_w)
        self._own_battery_w, self._own_limit_w = 0.0, math.inf
        self._order(at_once=True)

    def come_back(self) -> None:
        """End the dark time of a reboot early."""
        if self._now_s < self._dark_until_s:
            self._dark_until_s = self._now_s
            self._feeds_from_s = self._now_s + self.manners.start_s

    def raise_alarm(self, alarm_id: int) -> None:
        """Show an alarm of the list, or a battery fault; the plant runs on."""
        if alarm_id in BATTERY_FAULTS:
            self._battery_fault, alarm_id = alarm_id, BATTERY_ABNORMAL
        if alarm_id not in ALARMS:
            raise ValueError(f"no alarm {alarm_id}")
        self.alarms.add(alarm_id)
        self._alarm_sequence += 1

    def clear_alarm(self, alarm_id: int) -> None:
        """Take an alarm back."""
        if alarm_id in BATTERY_FAULTS:
            self._battery_fault, alarm_id = 0, BATTERY_ABNORMAL
        self.alarms.discard(alarm_id)
        self._alarm_sequence += 1

    def follow_again(self) -> None:
        """After a time of ignoring set-points, act on those that stand in the registers."""
        self.ignores_setpoints = False
        self._order()

    # -- its own time ------------------------------------------------------------------------

    def tick(self, now_s: float, dt_s: float, grid: Grid) -> None:
        """Timers, own regulation, counters and telemetry, after each step of the power stage."""
        self._now_s = now_s
        self._expire()
        if self.manners.own_meter and now_s >= self._own_meter_s:
            self._own_meter_s = now_s + OWN_METER_PERIOD_S
            self._regulate(grid)
        if self._runs() != self.stage.orders.running:
            self._order(at_once=True)
        counters, stage = self.counters, self.stage
        counters.yield_wh += max(stage.ac_w, 0.0) * dt_s / 3600
        counters.dc_wh += stage.pv_w * dt_s / 3600
        counters.peak_w = max(counters.peak_w, stage.ac_w)
        if now_s >= self._refresh_s:
            self._refresh_s = now_s + self.manners.telemetry_period_s
            shown = telemetry(self._facts(grid))
            self._on_its_way.append((now_s + self.manners.telemetry_age_s, shown))
        while self._on_its_way and self._on_its_way[0][0] <= now_s:
            self._publish_changes(self._on_its_way.popleft()[1])

    @property
    def status(self) -> int:
        """Register 32089."""
        if self._ordered_off:
            return STOP_COMMAND
        if self._silence_stops():
            return STOP_SILENCE
        if self._now_s < self._feeds_from_s:
            return STARTING
        if self.stage.pv_available_w <= 0 and not self.stage.battery_w:
            return STANDBY_NO_LIGHT
        limited = self.stage.curtailed or self.stage.ceiling_w < 0.99 * self.stage.spec.rated_w
        return ON_GRID_LIMITED if limited else ON_GRID

    def _runs(self) -> bool:
        starting = self._now_s < self._feeds_from_s
        return not (self._ordered_off or starting or self._silence_stops())

    def _silence_stops(self) -> bool:
        return self._now_s - self._heard_s > self._tolerated_silence_s

    def _expire(self) -> None:
        if self.forced is not Forced.NONE and self._forced_done():
            self._publish({"forced_command": 0})
            self._order()
        if self._scheduled_s is not None and self._now_s - self._scheduled_s > self._validity_s:
            self._schedule(0, 0.0, self.stage.spec.rated_w)
            self._order()

    def _forced_done(self) -> bool:
        battery, number = self.stage.battery, self.image.number
        if battery is None:
            return True
        if number("forced_by") == 0:
            return self._forced_left_s() <= 0 and not self.manners.unreliable_expiry
        target_pct = number("forced_target_pct")
        charging = self.forced is Forced.CHARGE
        return battery.soc_pct >= target_pct if charging else battery.soc_pct <= target_pct

    def _forced_left_s(self) -> float:
        if self.forced is Forced.NONE or self.image.number("forced_by"):
            return 0.0
        lasts_s = 60 * self.image.number("forced_duration_min")
        return max(0.0, self._forced_since_s + lasts_s - self._now_s)

    def _forced_w(self) -> float:
        match self.forced:
            case Forced.CHARGE:
                return self.image.number("forced_charge_w")
            case Forced.DISCHARGE:
                return self.image.number("forced_discharge_w")
            case Forced.NONE:
                return 0.0

    def _regulate(self, grid: Grid) -> None:
        """Zero exchange by the battery, and the feed-in limit, from the inverter's own meter."""
        number, rated_w = self.image.number, self.stage.spec.rated_w
        limits_w = {
            5: 0.0,
            6: number("feed_in_limit_w"),
            7: rated_w * number("feed_in_limit_pct") / 100,
        }
        limit_w = limits_w.get(int(number("feed_in_mode")), math.inf)
        self._own_limit_w = max(0.0, self.stage.ac_w + grid.total_w + limit_w)
        regulates = number("working_mode") in SELF_CONSUMPTION_MODES
        wanted_w = self.stage.battery_w + OWN_METER_GAIN * grid.total_w
        self._own_battery_w = wanted_w if regulates else 0.0
        self._order()

    def _order(self, *, at_once: bool = False) -> None:
        """Act on the settings as they stand now."""
        number = self.image.number
        self.forced = Forced(int(number("forced_command")))
        self._validity_s = number("scheduling_validity_s") or math.inf
        watched = number("stop_when_silent")
        self._tolerated_silence_s = number("silence_detection_s") if watched else math.inf
        orders = self._orders()
        if self.ignores_setpoints:
            orders = replace(self.stage.orders, running=orders.running)
        (self.stage.order_at_once if at_once else self.stage.order)(orders)

    def _orders(self) -> Orders:
        number, rated_w = self.image.number, self.stage.spec.rated_w
        scheduled_w = self._ac_limit_w if number("scheduling_enable") else rated_w
        return Orders(
            running=self._runs(),
            ac_limit_w=min(scheduled_w, self._own_limit_w),
            ramp_w_s=rated_w * number("power_gradient_pct_s") / 100,
            forced=self.forced if self.stage.battery else Forced.NONE,
            forced_w=self._forced_w(),
            battery_w=self._own_battery_w,
            max_charge_w=number("max_charge_w"),
            max_discharge_w=number("max_discharge_w"),
            charge_cutoff_pct=number("charge_cutoff_pct"),
            discharge_cutoff_pct=number("discharge_cutoff_pct"),
            grid_charge_w=number("grid_charge_limit_w") if number("grid_charge_enable") else 0.0,
            grid_charge_cutoff_pct=number("grid_charge_cutoff_pct"),
        )

    # -- what it shows -----------------------------------------------------------------------

    def _publish(self, shown: Shown) -> None:
        for register, content in shown.items():
            self.image.put(register, content)

    def _publish_changes(self, shown: Shown) -> None:
        """Most of the telemetry stands still; encoding all of it would hold up the lines."""
        before = self._shown
        for register, content in shown.items():
            if content != before.get(register, ""):
                self.image.put(register, content)
        self._shown = shown

    def _facts(self, grid: Grid) -> Facts:
        return Facts(
            identity=self.identity,
            stage=self.stage,
            counters=self.counters,
            grid=grid,
            time=self._house_time(),
            started_at=self._started_at,
            status=self.status,
            alarms=frozenset(self.alarms),
            alarm_sequence=self._alarm_sequence,
            battery_fault=self._battery_fault,
            working_mode=int(self.image.number("working_mode")),
            forced=self.forced,
            forced_w=self._forced_w(),
            forced_left_s=self._forced_left_s(),
            gain=1 + self.manners.gain_error,
            own_meter=self.manners.own_meter,
        )

    def _nameplate(self) -> Shown:
        it, rated_w = self.identity, self.stage.spec.rated_w
        battery = self.stage.battery.spec if self.stage.battery else None
        charge_w = battery.max_charge_w if battery else 0.0
        packs = pack_count(battery.capacity_wh) if battery else 0
        software = ("firmware_version", "software_version", "monitoring_software")
        rated = ("rated_power_w", "max_active_power_w", "active_capability_w", "ac_limit_w")
        apparent = ("max_apparent_power_va", "apparent_capability_va")
        limits = ("configured_max_power_w", "feed_in_limit_w", "default_feed_in_w")
        return {
            **dict.fromkeys((*software, "main_dsp_software"), it.software),
            **dict.fromkeys((*rated, *apparent, *limits), rated_w),
            "model_name": it.model,
            "device_name": it.model[:20],
            "serial_number": it.serial,
            "monitoring_board_serial": it.serial,
            "string_count": it.strings,
            "tracker_count": it.strings,
            "max_reactive_out_var": 0.6 * rated_w,
            "max_reactive_in_var": -0.6 * rated_w,
            "grid_code": GRID_CODE,
            "adjustment_mode": 0,
            "adjustment_amount": 0,
            "adjustment_command": 0,
            "power_gradient_pct_s": 100 * self.manners.ramp_w_s / rated_w,
            "discharge_cutoff_pct": self.manners.discharge_cutoff_pct,
            "grid_charge_enable": float(self.manners.grid_charge),
            "grid_charge_ceiling_w": charge_w,
            "grid_charge_limit_w": charge_w,
            "max_charge_w": charge_w,
            "max_discharge_w": battery.max_discharge_w if battery else 0.0,
            "ess1_product": 2 if battery else 0,
            "ess_product_copy": 2 if battery else 0,
            "ess1_number": 1 if battery else 0,
            "ess1_rated_charge_w": charge_w if battery else None,
            "ess1_rated_discharge_w": battery.max_discharge_w if battery else None,
            "ess_capacity_wh": battery.capacity_wh if battery else None,
            "ess1_serial": f"ESS{it.serial[-8:]}" if battery else "",
            "ess1_software": "V100R002C00SPC126" if battery else "",
            **{f"pack{n}_number": n if n <= packs else 0 for n in range(1, 7)},
        }
