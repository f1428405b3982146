"""One policy service with a bus in memory and a clock by hand."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from bus.inverters import (
    Followed,
    InverterReading,
    Lease,
)
from bus.metering import GridReading, GridSystem, Phase, PhaseReading
from bus.policy import Dispatch, LearnedActuator, Level, PolicyState, Reason
from bus.site import (
    Ess,
    EssMode,
    EssSettings,
    FeedIn,
    FeedInMode,
    FeedInSettings,
    LimitBasis,
    Plant,
    PlantSettings,
)
from bus.system import Faults
from runtime.clock import FakeClock
from runtime.memory import MemoryBus, running
from services.policy.config import PolicyConfig
from services.policy.service import PolicyService
from tests.service.inverters_heard import described

PERIOD_S = 0.2


class House:
    """What the others would say, at the test's word."""

    def __init__(self, bus: MemoryBus, clock: FakeClock) -> None:
        self.bus, self.clock = bus, clock
        self.sequence = 0

    def policy(self) -> PolicyService:
        return PolicyService(self.bus, self.clock, PolicyConfig())

    def settle(self, feed_in: FeedInSettings | None = None, ess: EssSettings | None = None) -> None:
        stored = {"version": 1, "changed_at": self.clock.now(), "changed_by": "test"}
        self.bus.deliver(Plant(settings=PlantSettings(serial="hemma-1"), **stored))
        self.bus.deliver(FeedIn(settings=feed_in or FeedInSettings(), **stored))
        self.bus.deliver(Ess(settings=ess or EssSettings(), **stored))

    def describe(self, inverter_id: str = "inv1", *, has_battery: bool = True) -> None:
        self.bus.deliver(
            described(
                inverter_id=inverter_id,
                rated_power_w=5000.0,
                has_battery=has_battery,
                battery_capacity_wh=10_000.0 if has_battery else None,
            )
        )

    def inverter(
        self, pv_w: float = 0.0, battery_w: float = 0.0, inverter_id: str = "inv1"
    ) -> None:
        free = Followed(asked_w=None, confirmed_w=None, measured_w=None)
        self.bus.deliver(
            InverterReading(
                inverter_id=inverter_id,
                measured_at=self.clock.now(),
                ac_power_w=pv_w + battery_w,
                pv_power_w=pv_w,
                battery_power_w=battery_w,
                soc_pct=50.0,
                max_charge_w=5000.0,
                max_discharge_w=5000.0,
                lease=Lease.LEASED,
                battery=free,
                ac_limit=free,
            )
        )

    def grid(self, power_w: float, measured_at: datetime | None = None) -> None:
        self.sequence += 1
        phases = tuple(
            PhaseReading(
                phase=phase,
                voltage_v=230.0,
                current_a=1.0,
                active_power_w=power_w / 3,
                reactive_power_var=0.0,
                apparent_power_va=None,
                power_factor=None,
            )
            for phase in Phase
        )
        self.bus.deliver(
            GridReading(
                sequence=self.sequence,
                measured_at=measured_at or self.clock.now(),
                window_s=PERIOD_S,
                grid_system=GridSystem.THREE_PHASE_FOUR_WIRE,
                grid_power_w=power_w,
                reactive_power_var=None,
                apparent_power_va=None,
                power_factor=None,
                frequency_hz=50.0,
                phases=phases,
            )
        )

    async def measure(self, power_w: float, seconds: float = PERIOD_S) -> Dispatch:
        for _ in range(round(seconds / PERIOD_S)):
            await self.clock.advance(PERIOD_S)
            self.grid(power_w)
            await self.clock.settle()
        return self.bus.last(Dispatch)

    def faults(self) -> set[tuple[str, str | None]]:
        return {(fault.code, fault.device) for fault in self.bus.last(Faults).faults}


@pytest.fixture
def house() -> House:
    return House(MemoryBus(), FakeClock())


async def test_one_dispatch_answers_one_grid_reading_at_once(house: House) -> None:
    async with running(house.policy()):
        house.settle(FeedInSettings(mode=FeedInMode.UNLIMITED))
        house.describe()
        house.inverter()
        before = len(house.bus.all(Dispatch))
        dispatch = await house.measure(1200.0)
        assert len(house.bus.all(Dispatch)) == before + 1
        assert dispatch.grid_sequence == house.sequence
        (setpoint,) = dispatch.setpoints
        assert setpoint.battery_power_w == pytest.approx(1200.0, abs=20)
        assert setpoint.battery_causes[-1].reason is Reason.SELF_CONSUMPTION
        assert setpoint.battery_causes[-1].level is Level.COMFORT
        assert setpoint.owner == "policy"
        assert setpoint.valid_until - dispatch.decided_at == timedelta(seconds=2.5)


async def test_zero_export_falls_back_when_the_meter_goes_silent(house: House) -> None:
    async with running(house.policy()):
        house.settle(FeedInSettings(mode=FeedInMode.ZERO, failsafe_w=300.0))
        house.describe(has_battery=False)
        house.inverter(pv_w=4000.0)
        dispatch = await house.measure(-1500.0)  # 1.5 kW too much is leaving the house
        limit_w = dispatch.setpoints[0].ac_limit_w
        assert limit_w is not None
        assert limit_w <= 2500.0
        assert dispatch.setpoints[0].failsafe_ac_limit_w == 300.0
        assert dispatch.limits[0].export_limit_w == 0.0

        await house.clock.advance(0.9)
        assert house.bus.last(Dispatch).reason is not Reason.METER_SILENT
        await house.clock.advance(0.2)
        assert house.bus.last(Dispatch).reason is Reason.METER_SILENT
        assert ("meter-silent", None) in house.faults()
        await house.clock.advance(10)
        assert house.bus.last(Dispatch).setpoints[0].ac_limit_w == 300.0


async def test_a_fail_safe_is_renewed_before_its_lease_lapses(house: House) -> None:
    async with running(house.policy()):
        house.settle()
        house.describe()
        house.inverter()
        await house.measure(500.0)
        await house.clock.advance(20)
        decided = [dispatch.decided_at for dispatch in house.bus.all(Dispatch)]
        gaps = [later - earlier for earlier, later in pairwise(decided)]
        assert max(gaps) < timedelta(seconds=1.2)


async def test_the_meters_return_ends_the_fail_safe_and_its_fault(house: House) -> None:
    async with running(house.policy()):
        house.settle()
        house.describe()
        house.inverter()
        await house.measure(500.0)
        await house.clock.advance(3)
        house.inverter()
        dispatch = await house.measure(500.0)
        assert dispatch.reason is not Reason.METER_SILENT
        assert ("meter-silent", None) not in house.faults()
        power_w = dispatch.setpoints[0].battery_power_w
        assert power_w is not None
        assert 0.0 < power_w <= 200.0


async def test_without_settings_the_strictest_holds(house: House) -> None:
    async with running(house.policy()):
        house.describe()
        house.inverter(pv_w=3000.0)
        await house.clock.advance(1.5)
        dispatch = await house.measure(-2000.0)
        assert dispatch.reason is Reason.NO_SETTINGS
        assert dispatch.setpoints[0].ac_limit_w == 0.0
        assert ("no-settings", None) in house.faults()


async def test_a_restart_waits_for_what_it_needs_and_then_goes_on_without_a_jump(
    house: House,
) -> None:
    async with running(house.policy()):
        house.grid(0.0)
        await house.clock.settle()
        with pytest.raises(LookupError):
            house.bus.last(Dispatch)
        house.settle()
        house.describe()
        house.inverter(battery_w=1800.0)  # as the life before left it
        dispatch = await house.measure(0.0)
        assert dispatch.setpoints[0].battery_power_w == pytest.approx(1800.0, abs=30)


async def test_a_silent_inverter_is_a_fault_until_it_is_heard_again(house: House) -> None:
    async with running(house.policy()):
        house.settle()
        house.describe("inv1")
        house.describe("inv2")
        house.inverter()
        house.inverter(inverter_id="inv2")
        for _ in range(15):
            house.inverter()
            await house.measure(300.0)
        assert house.faults() == {("inverter-silent", "inv2")}
        house.inverter(inverter_id="inv2")
        await house.measure(300.0)
        assert house.faults() == set()


@pytest.mark.parametrize(
    ("feed_in", "limit_w", "basis"),
    [
        pytest.param(FeedInSettings(mode=FeedInMode.ZERO), 0.0, "total", id="zero"),
        pytest.param(
            FeedInSettings(mode=FeedInMode.WATTS, limit_w=1500.0), 1500.0, "total", id="watts"
        ),
        pytest.param(
            FeedInSettings(mode=FeedInMode.PERCENT, limit_pct=60.0), 3000.0, "total", id="percent"
        ),
        pytest.param(
            FeedInSettings(mode=FeedInMode.WATTS, limit_w=1500.0, basis=LimitBasis.EACH_PHASE),
            500.0,
            "each-phase",
            id="each phase gets a third",
        ),
        pytest.param(FeedInSettings(mode=FeedInMode.UNLIMITED), None, None, id="unlimited"),
    ],
)
async def test_the_limit_in_force_is_told(
    house: House, feed_in: FeedInSettings, limit_w: float | None, basis: str | None
) -> None:
    async with running(house.policy()):
        house.settle(feed_in)
        house.describe()
        house.inverter()
        dispatch = await house.measure(0.0)
        told = [(limit.export_limit_w, limit.basis) for limit in dispatch.limits]
        assert told == ([] if limit_w is None else [(limit_w, basis)])


async def test_a_change_of_the_settings_counts_with_the_next_reading(house: House) -> None:
    async with running(house.policy()):
        house.settle()
        house.describe()
        house.inverter()
        await house.measure(1000.0)
        house.settle(ess=EssSettings(mode=EssMode.IDLE))
        dispatch = await house.measure(0.0)
        assert dispatch.reason is Reason.IDLE


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["forward", "back"])
async def test_a_step_of_the_wall_clock_is_not_taken_for_silence(
    house: House, seconds: int
) -> None:
    async with running(house.policy()):
        house.settle()
        house.describe()
        house.inverter()
        await house.measure(1000.0)
        stamped_at = house.clock.now()
        house.clock.step_wall_clock(seconds)
        house.grid(1000.0, stamped_at)  # on its way when the clock was set
        await house.clock.settle()
        assert (await house.measure(1000.0)).reason is not Reason.METER_SILENT
        reasons = {dispatch.reason for dispatch in house.bus.all(Dispatch)}
        assert Reason.METER_SILENT not in reasons


async def test_what_was_learned_is_adopted_after_a_restart(house: House) -> None:
    known = LearnedActuator(
        device="inv1", dead_time_s=0.3, lag_s=0.8, identified=True, uncertainty_s=0.2
    )
    earlier = PolicyState(actuators=(known,), hunting_guard_active=False, decisions=9)
    async with running(house.policy()):
        house.bus.deliver(earlier)
        house.settle(FeedInSettings(mode=FeedInMode.UNLIMITED))
        house.describe()
        house.inverter()
        dispatch = await house.measure(1000.0)
        # an identified actuator is led: half of what it lacks is asked for in addition
        assert dispatch.setpoints[0].battery_power_w == pytest.approx(1500.0, abs=20)
        told = {actuator.device: actuator for actuator in house.bus.last(PolicyState).actuators}
        assert told["inv1"].lag_s == pytest.approx(0.8, abs=0.1)
        assert told["inv1"].identified
        assert not told["inv1-ac"].identified
