"""`hemma bench faults`: the demo's house under random faults, one after the other.

Processes are killed, paused and starved of disk; the serial line is cut and garbled; answers come
late or not at all; the meter freezes, repeats itself and jumps. Judged at the simulated grid point,
by what the inverters were last ordered, and by what the registers and settings say afterwards.
"""

import argparse
import asyncio
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bus.site import ChangeSettings
from hemma.bench.house import House, running_house
from hemma.bench.report import Report
from hemma.demo import SCENARIO, SITE, HouseFailedError
from hemma.observer import Observer, status
from hemma.session import UNREACHABLE, observing, operator_address
from runtime.clock import SystemClock
from runtime.process import configure_logging

MUST = {
    "limit_exceeded_max_s": "<= 5.5",
    "leases_broken": "<= 0",
    "data_lost": "<= 0",
    "missed_cycles": "<= 0",
    "recovery_s": "<= 10",
}
"""Derived in docs/benchmarks.md."""

LIMIT_W, FAILSAFE_W = 0.0, 0.0
"""The demo's site.yaml: no export; without a measurement, no production."""
TOLERANCE_W = 150.0
"""As in the house tests: half of what a class 1 meter and a 3 % telemetry error make of 5 kW."""
LEASE_S = 3.0
METER_SILENT_S = 1.0
OBEYED_S = 1.2
"""From the lapse of a lease to an order that is in force: a write on the busy line, a dead time."""
WELL_WITHIN_S = 30.0
CALM_S = (2.0, 5.0)
"""Between two faults, so that each begins in normal operation."""
INVERTER, LINE = "inv1", "rs485-1"


class NotWellError(Exception):
    """The house did not come back."""


@dataclass
class Scene:
    """The house, who watches it, and what was found so far."""

    house: House
    observer: Observer
    rng: random.Random
    leases_broken: int = 0
    data_lost: int = 0
    missed_cycles: int = 0
    recovery_s: float = 0.0
    told: list[str] = field(default_factory=list)
    reserve_soc_pct: float | None = None
    energy_wh: tuple[float, float] = (0.0, 0.0)

    async def steer_on(self, lowest_s: float, highest_s: float) -> None:
        """Let some time pass."""
        await asyncio.sleep(self.rng.uniform(lowest_s, highest_s))

    async def recover(self) -> None:
        """Wait until all is well again; notes how long it took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while not self._is_well():
            if loop.time() - began_s > WELL_WITHIN_S:
                raise NotWellError(f"after {self.told[-1]}: {self.house.log_tail()}")
            await asyncio.sleep(0.05)
        self.recovery_s = max(self.recovery_s, loop.time() - began_s)

    def _is_well(self) -> bool:
        seen = status(self.observer.house, SystemClock().now())
        leased = [inverter["lease"] == "leased" for inverter in seen["inverters"].values()]
        return bool(seen["ok"]) and all(leased)

    async def must_be_safe(self, after_s: float) -> None:
        """So long after a silence began, every inverter must have been ordered to the fail-safe."""
        await asyncio.sleep(after_s)
        inverters = self.house.simulator.state()["inverters"]
        open_w = [unit["ac_limit_w"] for unit in inverters.values()]
        if sum(open_w) > FAILSAFE_W + 1.0:
            self.leases_broken += 1
            self.told.append(f"  lease broken: ordered limits {open_w} W")

    async def change_a_setting(self) -> bool:
        """Ask for another reserve; returns whether it was accepted."""
        wanted = float(self.rng.randrange(5, 16))
        order = ChangeSettings(section="ess", changes={"reserve_soc_pct": wanted}, by="bench")
        answer = await self.observer.request(order, timeout_s=3)
        if answer.accepted:
            self.reserve_soc_pct = wanted
        return answer.accepted

    def count_what_is_lost(self) -> None:
        """Settings that were accepted are in force, registers have not run backwards."""
        ess, energy = self.observer.house.ess, self.observer.house.energy
        if ess is None or (
            self.reserve_soc_pct is not None
            and ess.settings.reserve_soc_pct != self.reserve_soc_pct
        ):
            self.data_lost += 1
            self.told.append(f"  setting lost: {self.reserve_soc_pct} was accepted, it says {ess}")
        if energy is None:
            return
        counted_wh = (energy.total.import_energy_wh, energy.total.export_energy_wh)
        if any(now < before for now, before in zip(counted_wh, self.energy_wh, strict=True)):
            self.data_lost += 1
            self.told.append(f"  registers ran backwards: {self.energy_wh} -> {counted_wh} Wh")
        self.energy_wh = counted_wh


Fault = Callable[[Scene], Awaitable[str]]
"""Puts a fault on, waits, takes it off; returns what it was, for people."""


async def kill(scene: Scene) -> str:
    """A process is killed; the others must not miss a control cycle for it."""
    name = scene.rng.choice(("site", "metering", "policy", "inverters", "broker"))
    seen = scene.observer.house
    before = (seen.grid, seen.dispatch)
    scene.house.kill(name)
    await scene.steer_on(1.5, 3.0)
    if name in {"site", "inverters"} and before[0] and before[1] and seen.grid and seen.dispatch:
        windows = seen.grid.sequence - before[0].sequence
        decisions = seen.dispatch.sequence - before[1].sequence
        scene.missed_cycles += max(windows - decisions - 1, 0)  # the last one may be under way
    return f"{name} killed"


async def pause(scene: Scene) -> str:
    """A process hangs; who depends on it falls back by its own clock."""
    name = scene.rng.choice(("policy", "broker", "metering", "site"))
    seconds = scene.rng.uniform(0.5, 7.0)
    safe_after_s = (METER_SILENT_S if name == "metering" else LEASE_S) + OBEYED_S
    with scene.house.paused(name):
        if name != "site" and seconds > safe_after_s:
            await scene.must_be_safe(safe_after_s)
            seconds -= safe_after_s
        await asyncio.sleep(seconds)
    return f"{name} paused for {seconds:.1f} s"


async def slow_broker(scene: Scene) -> str:
    """The broker runs only half of the time."""
    for _ in range(scene.rng.randrange(20, 50)):
        with scene.house.paused("broker"):
            await asyncio.sleep(0.06)
        await asyncio.sleep(0.06)
    return "broker slowed"


async def disk_full(scene: Scene) -> str:
    """Nothing can be written to files; then the process that was told something is killed."""
    name = scene.rng.choice(("site", "metering"))
    pid = scene.house.pid(name)
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    accepted = await scene.change_a_setting()
    await scene.steer_on(2.0, 4.0)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    await scene.steer_on(0.5, 1.0)
    scene.house.kill(name)
    await scene.steer_on(1.5, 2.0)
    return f"no disk for {name}; a setting was {'accepted' if accepted else 'refused'} meanwhile"


async def meter_frozen(scene: Scene) -> str:
    """The samples stop, or repeat themselves for ever."""
    repeat = scene.rng.choice((True, False))
    scene.house.simulator.order("fault", kind="freeze", unit="ct", repeat=repeat)
    await scene.must_be_safe(METER_SILENT_S + OBEYED_S + 0.5 * repeat)
    await scene.steer_on(0.0, 3.0)
    return f"meter frozen, repeating: {repeat}"


async def meter_jumps(scene: Scene) -> str:
    """The meter is wrong by some kW for a moment."""
    watts = scene.rng.choice((-1, 1)) * scene.rng.uniform(500, 3000)
    scene.house.simulator.order("fault", kind="jump", unit="ct", watts=watts)
    await scene.steer_on(0.2, 1.0)
    return f"meter jumped by {watts:.0f} W"


def _on_the_line(kind: str, unit: str, lowest_s: float, highest_s: float, **keys: float) -> Fault:
    async def fault(scene: Scene) -> str:
        scene.house.simulator.order("fault", kind=kind, unit=unit, **keys)
        await scene.steer_on(lowest_s, highest_s)
        return f"{unit}: {kind} {keys or ''}"

    return fault


FAULTS: tuple[Fault, ...] = (
    kill,
    pause,
    slow_broker,
    disk_full,
    meter_frozen,
    meter_jumps,
    _on_the_line("garble", LINE, 1.0, 5.0, rate=0.5),
    _on_the_line("late", INVERTER, 1.0, 5.0, delay_s=0.6),
    _on_the_line("mute", INVERTER, 2.0, 6.0),
    _on_the_line("drop", LINE, 1.0, 4.0),
)


async def storm(house: House, minutes: float, rng: random.Random) -> tuple[dict[str, float], Scene]:
    """Faults for so long, each followed by recovery and a look at what was lost."""
    loop = asyncio.get_running_loop()
    async with observing(operator_address(house.config_file)) as observer:
        scene = Scene(house, observer, rng)
        scene.told.append("the start")
        await scene.recover()
        house.simulator.order("watch", name="faults", limit_w=LIMIT_W, tolerance_w=TOLERANCE_W)
        scene.recovery_s = 0.0
        ends_s = loop.time() + 60.0 * minutes
        queue: list[Fault] = []
        faults = 0
        while loop.time() < ends_s:
            if not queue:  # all kinds, again and again, in another order
                queue = rng.sample(FAULTS, len(FAULTS))
            await scene.steer_on(*CALM_S)
            if rng.random() < 0.5:  # noqa: PLR2004  every second time
                await scene.change_a_setting()
            before_s = _longest_s(house)
            scene.told.append("a fault")
            scene.told[-1] = await queue.pop()(scene)
            house.simulator.order("clear")
            await scene.recover()
            scene.told[-1] += f": {_longest_s(house):.1f} s" * (_longest_s(house) > before_s)
            scene.count_what_is_lost()
            faults += 1
        verdict = house.simulator.order("watch", name="faults", stop=True)["watch"]
    figures = {
        "limit_exceeded_max_s": verdict["above_longest_s"],
        "leases_broken": scene.leases_broken,
        "data_lost": scene.data_lost,
        "missed_cycles": scene.missed_cycles,
        "recovery_s": scene.recovery_s,
        "faults": faults,
        "exported_wh": verdict["above_wh"],
    }
    return {key: round(float(figure), 3) for key, figure in figures.items()}, scene


def _longest_s(house: House) -> float:
    return float(house.simulator.order("watch", name="faults")["watch"]["above_longest_s"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the figures; returns 1 when a must is missed, 69 without a house."""
    parser = argparse.ArgumentParser(prog="hemma bench faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws the faults and the house's load")
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    configure_logging("text", level="error")
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hemma-faults-") as folder,
            running_house(Path(folder), SCENARIO, SITE, options.seed) as house,
        ):
            figures, scene = asyncio.run(storm(house, options.minutes, random.Random(options.seed)))
    except (HouseFailedError, NotWellError) as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    report = Report("faults", figures, MUST)
    print(report.as_json() if options.json else "\n".join([report.as_text(), "", *scene.told]))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
