"""One inverter at work: a task that commands it, a task that polls it, one for what is slow.

The three share this object, in one event loop. What they find out is told to the actor through
`changed`; what they shall do comes from `lease_until` and `release`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bus.inverters import InverterReading, InverterState, Lease
from bus.policy import Setpoint
from runtime.clock import Clock
from services.inverters import known as facts
from services.inverters.config import UnitConfig
from services.inverters.drivers.base import (
    DeviceRefusedError,
    DeviceSilentError,
    InverterDriver,
    Write,
)
from services.inverters.known import Known
from services.inverters.ledger import BudgetError, FlashLedger
from services.inverters.model import (
    LONGEST_LEASE_S,
    OVER_LIMIT_S,
    Held,
    LeaseFacts,
    Target,
    Watch,
    after_write,
    battery_is_off,
    is_over_limit,
    next_lease,
    plan_writes,
    wanted_registers,
)

_READ_BACK_S = 1.0
"""Actuators that were written are read back at most so often: each costs two transactions."""
_READ_BACK_ALL_S = 30.0
_STAND_BACK_S = 0.02
_NOT_KEPT_S = 5.0
_LOST_AFTER = 2
"""Polls in a row without an answer."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.2, 10.0

log = structlog.get_logger()


class InverterUnit:
    """What is asked of one inverter, what it confirmed, and what it does."""

    def __init__(
        self,
        config: UnitConfig,
        driver: InverterDriver,
        clock: Clock,
        ledger: FlashLedger,
        *,
        failsafe_limit_w: float,
        poll_period_s: float,
        slow_period_s: float,
    ) -> None:
        """Args: failsafe_limit_w: held until the first setpoint brings its own."""
        self.config = config
        self.lease = Lease.STARTING
        self.online = False
        self.changed: Callable[[], None] = lambda: None
        """Called after each poll, and when something else is to be told."""
        self.settled = asyncio.Event()
        """Set when nothing is left to be written."""
        self._driver = driver
        self._clock = clock
        self._ledger = ledger
        self._poll_period_s = poll_period_s
        self._slow_period_s = slow_period_s
        self._failsafe = Target(None, failsafe_limit_w)
        self._asked: Target | None = None
        self._lease_ends_s = -math.inf
        self._woken = asyncio.Event()
        self._known = Known(config, driver.profile)
        self._identified = False
        self._beginning = False
        self._read_back_s = -math.inf
        self._unconfirmed: set[str] = set()
        self._refusal: str | None = None
        self._refusals = 0
        self._not_before_s = -math.inf
        self._misses = 0
        self._silence: str | None = None
        self._flash_refusal: str | None = None
        self._over_limit = Watch()
        self._battery_off = Watch()
        self._not_kept = Watch()

    # --- what it shall do

    def lease_until(self, setpoint: Setpoint) -> bool:
        """Take a setpoint; its end is turned into an instant that no clock step moves.

        Returns:
            False when it has lapsed already, and nothing has changed.
        """
        left_s = (setpoint.valid_until - self._clock.now()).total_seconds()
        if left_s <= 0:
            return False
        self._lease_ends_s = self._clock.monotonic() + min(left_s, LONGEST_LEASE_S)
        self._asked = Target(setpoint.battery_power_w, setpoint.ac_limit_w)
        self._failsafe = Target(None, setpoint.failsafe_ac_limit_w)
        self._woken.set()
        return True

    def release(self) -> None:
        """Forget the lease: the fail-safe applies at once."""
        self._lease_ends_s = -math.inf
        self.settled.clear()
        self._woken.set()

    # --- the three tasks

    async def command(self) -> None:
        """Bring the device to what is asked, the newest first, for ever."""
        while True:
            self._step_lease()
            now_s = self._clock.monotonic()
            if now_s < self._not_before_s:
                await self._wait(min(self._not_before_s, self._next_duty_s()) - now_s)
            elif self._known.held is None:
                await self._try(self._begin)
            elif writes := self._writes():
                await self._try(lambda write=writes[0]: self._write(write))  # type: ignore[misc]
            else:
                self._refusal = None
                self.settled.set()
                await self._wait(self._next_duty_s() - now_s)

    async def poll(self) -> None:
        """Measure, read back what was written, for ever."""
        while True:
            began_s = self._clock.monotonic()
            if self._beginning:
                await self._clock.sleep(_STAND_BACK_S)
                continue
            try:
                fast = await self._driver.read_fast()
                self._known.fast, self._known.measured_at = fast, self._instant(fast.at_s)
                self._answered()
                await self._confirm()
            except (DeviceSilentError, DeviceRefusedError) as error:
                self._missed(str(error))
            self._watch()
            self.changed()
            if self._known.held is not None and self._writes():
                self._woken.set()  # PV has moved, or the device does not hold what it confirmed
            spent_s = self._clock.monotonic() - began_s
            await self._clock.sleep(max(self._poll_period_s - spent_s, 0.01))

    async def poll_slowly(self) -> None:
        """Read what changes slowly, for ever."""
        while True:
            if self._known.identity is not None and self.online:
                try:
                    self._known.slow = await self._driver.read_slow()
                except (DeviceSilentError, DeviceRefusedError) as error:
                    self._silence = str(error)
                await self._clock.sleep(self._slow_period_s)
            else:
                await self._clock.sleep(0.2)

    # --- what there is to tell

    def reading(self) -> InverterReading | None:
        """The last poll; None when there was none or it is lost."""
        return facts.reading(self._known, self.lease, self._target(), self._why_not())

    def state(self) -> InverterState:
        """What it is and how it fares."""
        return facts.state(
            self._known,
            self._driver.figures(),
            online=self.online,
            flash_writes=self._ledger.total(self._known.flash_name),
        )

    def troubles(self) -> Mapping[str, str | None]:
        """What is wrong, by the fault's code; None: it is well in this respect."""
        now_s = self._clock.monotonic()
        battery = self._known.profile.battery
        follow_s = battery.follow_s if battery else math.inf
        return {
            "inverter-silent": None if self.online else self._silence or "it has not answered yet",
            "wrong-device": self._known.wrong_device,
            "setpoint-refused": self._refusal,
            "setpoint-not-kept": (
                "it confirms setpoints and then holds others"
                if self._not_kept.lasted(now_s, _NOT_KEPT_S)
                else None
            ),
            "implausible-figure": self._driver.oddity,
            "flash-write-refused": self._flash_refusal,
            "does-not-follow": (
                "its output is above the limit that it confirmed"
                if self._over_limit.lasted(now_s, OVER_LIMIT_S)
                else None
            ),
            "battery-does-not-follow": (
                "its battery does something else than it confirmed"
                if self._battery_off.lasted(now_s, follow_s)
                else None
            ),
        }

    # --- commanding

    def _step_lease(self) -> None:
        seen = LeaseFacts(
            present=self._misses < _LOST_AFTER,
            read_back=self._known.held is not None,
            leased=self._clock.monotonic() < self._lease_ends_s,
        )
        before, self.lease = self.lease, next_lease(self.lease, seen)
        if self.lease is not before:
            log.info(
                "lease",
                inverter_id=self.config.id,
                before=before,
                lease=self.lease,
                held=dict(self._known.held.registers) if self._known.held else None,
            )
            if self.lease is Lease.STARTING:
                self._known.held = None
                self._identified = False  # it may come back as another one
            self._refusals = 0
            self._not_before_s = -math.inf
            self.changed()

    def _target(self) -> Target:
        leased = self._clock.monotonic() < self._lease_ends_s
        return self._asked if leased and self._asked is not None else self._failsafe

    def _writes(self) -> tuple[Write, ...]:
        if self._known.held is None or self._known.wrong_device:
            return ()
        target = self._target()
        wanted = wanted_registers(
            self._known.profile,
            target,
            self._known.bounds,
            self._known.pv_power_w,
            has_battery=self._known.has_battery,
        )
        return plan_writes(
            self._known.profile, wanted, self._known.held, target, self._clock.monotonic()
        )

    def _next_duty_s(self) -> float:
        """When something is due without anybody's word: the lease's end, a repeated command."""
        due_s = [self._clock.monotonic() + _READ_BACK_ALL_S]
        if self.lease is Lease.LEASED:
            due_s.append(self._lease_ends_s)
        battery = self._known.profile.battery
        if battery is not None and self._known.held is not None:
            due_s.append(self._known.held.commanded_s + battery.reissue_s)
        now_s = self._clock.monotonic()
        return min((at_s for at_s in due_s if at_s > now_s), default=now_s + 1)

    async def _begin(self) -> None:
        """After a start or an absence: what is it, and what does it hold?"""
        self._beginning = True  # the poll stands back: until this is known nothing can be done
        try:
            await self._identify_and_read_back()
        finally:
            self._beginning = False

    async def _identify_and_read_back(self) -> None:
        if not self._identified:
            self._known.identity = await self._driver.identify()
            self._identified = True
            if self._known.wrong_device is None:
                await self._write_kept()
        profile = self._known.profile
        self._known.read_back = await self._driver.read_back(profile.actuators)
        self._read_back_s = self._clock.monotonic()
        self._unconfirmed.clear()
        # No time and no power: whatever battery command is found is repeated or stopped.
        self._known.held = Held(self._known.read_back)
        self._answered()

    async def _write(self, write: Write) -> None:
        target = self._target()
        await self._driver.write(write)
        if self._known.held is not None:
            self._known.held = after_write(
                self._known.held, write, self._known.profile, target, self._clock.monotonic()
            )
        self._unconfirmed.update(write.quantities)
        self._refusal = None
        self._refusals = 0

    async def _write_kept(self) -> None:
        """Settings in flash, only where they differ, each counted before it is made."""
        wanted = self.config.kept.quantities()
        self._flash_refusal = None
        if not wanted:
            return
        held = await self._driver.read_back(wanted.keys())
        table = self._known.profile.table
        for name, quantity in wanted.items():
            if held.get(name) == quantity:
                continue
            try:
                self._ledger.count(self._known.flash_name, name, self._clock.now().date())
                row = table[name]
                write = Write(row.address, row.encode(quantity), {name: quantity})
                await self._driver.write(write)
            except BudgetError as error:
                self._flash_refusal = str(error)
            except DeviceRefusedError as error:
                self._flash_refusal = f"{name}: {error}"

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Work; when it fails, say why and do not try again too soon."""
        try:
            await work()
        except DeviceRefusedError as error:
            pause_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0**self._refusals)
            self._refusals = min(self._refusals + 1, 10)
            self._refusal = str(error)
            self._pause(pause_s)
        except DeviceSilentError as error:
            self._silence = str(error)
            # The link itself spaces out its attempts; a write that got lost is made again soon.
            self._pause(min(max(error.retry_in_s, _FIRST_RETRY_S), 1.0))

    def _pause(self, pause_s: float) -> None:
        self._not_before_s = self._clock.monotonic() + pause_s
        self.changed()

    async def _wait(self, delay_s: float) -> None:
        timer = self._clock.call_later(max(0.0, delay_s), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()

    # --- watching

    async def _confirm(self) -> None:
        """Read back what was written; now and then everything."""
        if self._known.held is None:
            return
        now_s = self._clock.monotonic()
        names = set(self._unconfirmed)
        if now_s - self._read_back_s >= _READ_BACK_ALL_S:
            names.update(self._known.profile.actuators)
        elif not names or now_s - self._read_back_s < _READ_BACK_S:
            return
        written = self._known.held
        found = await self._driver.read_back(names)
        self._read_back_s = now_s
        self._known.read_back = {**self._known.read_back, **found}
        if self._known.held is not written:
            return  # written meanwhile: what was read is older
        differing = {
            name: held
            for name, held in found.items()
            if self._known.held.registers.get(name) != held
        }
        self._not_kept = self._not_kept.seen(now_s, wrong=bool(differing))
        self._unconfirmed -= names - differing.keys()
        if differing:
            self._known.held = replace(
                self._known.held, registers={**self._known.held.registers, **differing}
            )

    def _watch(self) -> None:
        now_s, fast = self._clock.monotonic(), self._known.fast
        if fast is None or not self.online:
            self._over_limit = self._battery_off = Watch()
            return
        bounds = self._known.bounds
        limit_w = self._known.ac_limit_w
        over = is_over_limit(fast.ac_power_w, limit_w, self._known.rated_power_w)
        self._over_limit = self._over_limit.seen(now_s, wrong=over)
        off = battery_is_off(
            self._known.battery_power_w, fast.battery_power_w, fast.soc_pct, bounds
        )
        self._battery_off = self._battery_off.seen(now_s, wrong=off)

    def _answered(self) -> None:
        self._misses = 0
        self._silence = None
        if not self.online:
            self.online = True
            self._woken.set()

    def _missed(self, reason: str) -> None:
        self._misses += 1
        self._silence = reason
        if self._misses >= _LOST_AFTER:
            self.online = False
            self._known.fast = None
            self._woken.set()

    def _why_not(self) -> str | None:
        """Why what it confirmed may differ from what is asked, as far as that is known."""
        if self._refusal is not None:
            return self._refusal
        if self._known.held is None:
            return "not read back since it was away"
        if self._writes() or self._unconfirmed:
            return "on its way"
        return None

    def _instant(self, at_s: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - at_s)
