"""Which transformer sits on which phase, and which way round: 48 cases with three phases.

Angles between voltage and current alone do not tell: by night a house of power supplies looks as a
house with swapped phases does. Two things do tell:

* **Known steps.** An inverter's power steps, and the change of each current PHASOR shows which
  voltage it belongs to. The median over several steps sheds the appliances that switched meanwhile.
* **Natural operation.** A heater that switches draws the axis of its phase, and what a house takes
  is never negative (`wiring_watch.py`).

Either may stay unsure, and does rather than guess.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bus.metering import GridSystem
from services.metering.systems import LAYOUTS, Connection, Wiring

LEAST_STEPS = 5
LEAST_STEP_W = 500.0
"""On each phase that takes part: smaller steps drown in the house."""

_NEAR_DEG = 20.0
"""Of the 60 degrees between two hypotheses; the median must lie this near to one."""
_SINGLE_NEAR_DEG = 30.0
_AMPLITUDE = (0.7, 1.3)
_SINGLE_AMPLITUDE = (0.5, 1.5)
_AGREEING_SHARE = 0.6
"""So many of the steps must say the same each by itself."""
_QUIET = 0.3
"""Response of a channel whose phase took no part."""
_RATIO_SPREAD = 1.15
_PLAUSIBLE_VOLTAGE = (0.8, 1.2)
_SYMMETRY_DEG = 15.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Voltage and current phasors of one window, currents by terminal as labelled."""

    voltages: tuple[complex, ...]
    currents: tuple[complex, ...]

    def phase_voltages(self, system: GridSystem) -> tuple[complex, ...]:
        """Each phase to neutral, to the lines' centre in a three-wire system, L1 at angle 0."""
        if system is GridSystem.THREE_PHASE_THREE_WIRE:
            u12, u32 = self.voltages
            phases: tuple[complex, ...] = (2 * u12 - u32, -u12 - u32, 2 * u32 - u12)
            phases = tuple(voltage / 3 for voltage in phases)
        else:
            phases = self.voltages
        turn = _unit(phases[0]).conjugate()
        return tuple(voltage * turn for voltage in phases)

    def turned_currents(self, system: GridSystem) -> tuple[complex, ...]:
        """The currents in the same frame."""
        if system is GridSystem.THREE_PHASE_THREE_WIRE:
            first = 2 * self.voltages[0] - self.voltages[1]
        else:
            first = self.voltages[0]
        turn = _unit(first).conjugate()
        return tuple(current * turn for current in self.currents)


@dataclass(frozen=True, slots=True)
class KnownStep:
    """Something whose power is known stepped: the grid just before, and when it had settled."""

    power_w: tuple[float, ...]
    """Change of the power fed towards the house on each phase (L1, L2, L3); 0: takes no part."""
    before: Snapshot
    after: Snapshot


@dataclass(frozen=True, slots=True)
class WiringFinding:
    """What is known of the wiring."""

    connections: tuple[Connection | None, ...]
    """For each current of the layout, the channel that measures it; None: not proven."""
    text: str
    """For the installer."""
    ratio_factor: float | None = None
    """Metered over commanded power where the transformers' ratio looks wrong."""

    @property
    def wiring(self) -> Wiring | None:
        """The whole wiring; None while any part is unproven."""
        known = tuple(wire for wire in self.connections if wire is not None)
        return known if len(known) == len(self.connections) else None


@dataclass(frozen=True, slots=True)
class _Seen:
    """One channel's answer to the steps, 1 = the commanded power on the voltage of L1."""

    response: complex
    phase: int
    sign: int
    off_deg: float
    agreeing: float


def judge_known_steps(system: GridSystem, steps: Sequence[KnownStep]) -> WiringFinding:
    """Find the wiring from steps of known power, in all 48 cases.

    Args:
        system: The grid system.
        steps: All of the same phases, each of 500 W a phase or more, up and down mixed.

    Returns:
        Which channel measures what. Phases that no step drove stay unproven, as does everything
        when the steps contradict each other.
    """
    unproven = (None,) * len(LAYOUTS[system].currents)
    if (reason := _unfit(system, steps)) is not None:
        return WiringFinding(unproven, reason)
    driven = [phase for phase, power in enumerate(steps[0].power_w) if power]
    responses = list(zip(*(_responses(system, step) for step in steps), strict=True))
    voltages = _median_of([step.before.phase_voltages(system) for step in steps])
    seen = [_judge_channel(channel, driven, voltages) for channel in responses]
    loud = [n for n, one in enumerate(seen) if abs(one.response) > _QUIET]
    unclear = [n for n in loud if seen[n].off_deg > _NEAR_DEG or seen[n].agreeing < _AGREEING_SHARE]
    if unclear:
        return WiringFinding(
            unproven, f"{_named(system, unclear)}: the steps contradict each other"
        )
    amplitudes = [abs(seen[n].response) for n in loud]
    if not all(_AMPLITUDE[0] <= amplitude <= _AMPLITUDE[1] for amplitude in amplitudes):
        return _judge_ratio(unproven, amplitudes)
    return _assign(system, driven, {n: seen[n] for n in loud})


def _unfit(system: GridSystem, steps: Sequence[KnownStep]) -> str | None:
    if len(steps) < LEAST_STEPS:
        return f"{len(steps)} steps seen, {LEAST_STEPS} are needed"
    driven = {tuple(bool(power) for power in step.power_w) for step in steps}
    if len(driven) > 1 or not any(next(iter(driven))):
        return "the steps are not all of the same phases"
    if any(0 < abs(power) < LEAST_STEP_W for step in steps for power in step.power_w):
        return f"a step is smaller than {LEAST_STEP_W:g} W a phase"
    snapshots = (snapshot for step in steps for snapshot in (step.before, step.after))
    return next(filter(None, (_voltage_fault(system, snapshot) for snapshot in snapshots)), None)


def _voltage_fault(system: GridSystem, snapshot: Snapshot) -> str | None:
    if not all(snapshot.voltages):
        return "a voltage is missing"
    phases = snapshot.phase_voltages(system)
    mean = sum(map(abs, phases)) / len(phases)
    low, high = (mean * share for share in _PLAUSIBLE_VOLTAGE)
    if not all(low < abs(voltage) < high for voltage in phases):
        return "the voltages differ too much from each other"
    if len(phases) > 1 and not _is_symmetric(phases):
        return "the voltages are not 120 degrees apart: two terminals on one phase?"
    return None


def _is_symmetric(phases: tuple[complex, ...]) -> bool:
    second, third = (math.degrees(cmath.phase(voltage)) for voltage in phases[1:])
    return (
        second * third < 0
        and abs(abs(second) - 120) < _SYMMETRY_DEG
        and abs(abs(third) - 120) < _SYMMETRY_DEG
    )


def _responses(system: GridSystem, step: KnownStep) -> tuple[complex, ...]:
    """Each channel's change, such that a right one answers with its own voltage's direction."""
    before, after = (s.turned_currents(system) for s in (step.before, step.after))
    driven = [power for power in step.power_w if power]
    volts = abs(step.before.phase_voltages(system)[0])
    expected_a = -(sum(driven) / len(driven)) / volts
    return tuple((b - a) / expected_a for a, b in zip(before, after, strict=True))


def _judge_channel(
    responses: Sequence[complex], driven: list[int], voltages: tuple[complex, ...]
) -> _Seen:
    middle = _median(responses)
    hypotheses = [(phase, sign) for phase in driven for sign in (1, -1)]
    phase, sign = min(hypotheses, key=lambda h: angle_deg(middle, h[1] * voltages[h[0]]))
    direction = sign * voltages[phase]
    agreeing = sum(
        angle_deg(one, direction) <= _SINGLE_NEAR_DEG
        and _SINGLE_AMPLITUDE[0] <= abs(one) / abs(middle) <= _SINGLE_AMPLITUDE[1]
        for one in responses
        if one and middle
    )
    off_deg = angle_deg(middle, direction)
    return _Seen(middle, phase, sign, off_deg, agreeing / len(responses))


def _judge_ratio(unproven: tuple[None, ...], amplitudes: list[float]) -> WiringFinding:
    if max(amplitudes) / min(amplitudes) > _RATIO_SPREAD:
        return WiringFinding(unproven, "the channels answer with different powers")
    factor = sum(amplitudes) / len(amplitudes)
    text = f"metered power is {factor:.2f} of the commanded: the CT ratio set is wrong"
    return WiringFinding(unproven, text, factor)


def _assign(system: GridSystem, driven: list[int], seen: dict[int, _Seen]) -> WiringFinding:
    layout = LAYOUTS[system].currents
    unproven = (None,) * len(layout)
    positions = phases_of(system)
    strangers = [n for n, one in seen.items() if one.phase not in positions]
    if strangers:
        return WiringFinding(unproven, f"{_named(system, strangers)}: sits on L2, must move")
    found = {one.phase: Connection(n, one.sign) for n, one in seen.items()}
    expected = [phase for phase in driven if phase in positions]
    if len(found) != len(seen) or len(found) != len(expected):
        return WiringFinding(unproven, "not every driven phase answered on a channel of its own")
    connections = tuple(found.get(phase) for phase in positions)
    return WiringFinding(connections, described(system, connections))


def described(system: GridSystem, connections: Sequence[Connection | None]) -> str:
    """The wiring in words: what is wrong, and what is not proven."""
    words = []
    names = LAYOUTS[system].currents
    for n, wire in enumerate(connections):
        if wire is None:
            words.append(f"{names[n]} unproven")
        elif wire != Connection(n):
            swapped = f"is measured on terminal {names[wire.channel]}" if wire.channel != n else ""
            turned = "is reversed" if wire.sign < 0 else ""
            words.append(f"{names[n]} {' and '.join(filter(None, (swapped, turned)))}")
    return "; ".join(words) or "all as labelled"


def phases_of(system: GridSystem) -> tuple[int, ...]:
    """The phase (L1 = 0) that each current of the layout belongs to."""
    return tuple(int(name[1:]) - 1 for name in LAYOUTS[system].currents)


def _named(system: GridSystem, channels: Sequence[int]) -> str:
    return ", ".join(LAYOUTS[system].currents[n] for n in channels)


def _median(numbers: Sequence[complex]) -> complex:
    return complex(median(n.real for n in numbers), median(n.imag for n in numbers))


def _median_of(rows: Sequence[tuple[complex, ...]]) -> tuple[complex, ...]:
    return tuple(_median(column) for column in zip(*rows, strict=True))


def angle_deg(one: complex, other: complex) -> float:
    """Angle between two phasors, 0 to 180 degrees."""
    return abs(math.degrees(cmath.phase(one * other.conjugate())))


def _unit(phasor: complex) -> complex:
    return phasor / abs(phasor) if phasor else 1 + 0j
