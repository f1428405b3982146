"""What natural operation shows of the wiring: loads that switch, and directions that cannot be.

A heater that switches changes one current along the axis of its own voltage. On or off is not
known, so the axis tells the phase but not the direction. The direction follows from the house: a
load never produces, so grid power plus the inverters' own must not be negative; a transformer the
wrong way round sooner or later says so. It takes several events that agree before a channel counts
as proven, and until then the answer is "unsure".

Steps of the inverters are no evidence here: while they follow the loads, a load on two phases that
a battery covers by half looks just like two reversed transformers. Known steps need a test in which
the control stands still (`wiring.judge_known_steps`).
"""

from collections import Counter, deque
from collections.abc import Sequence

from bus.metering import GridSystem, WiringVerdict
from services.metering.systems import LAYOUTS, Connection, Wiring, as_labelled
from services.metering.wiring import Snapshot, WiringFinding, angle_deg, described, phases_of

LEAST_EVENTS = 5
_AGREEING_SHARE = 0.8
_REMEMBERED = 15

_LEAST_STEP_W = 500.0
_AXIS_NEAR_DEG = 15.0
"""Of the 60 degrees between two axes: heaters, not motors."""
_STEADY_SHARE = 0.15
_OTHERS_SHARE = 0.25
"""Changes of other channels beyond this share mean that more than one thing happened."""
_IMPOSSIBLE_LOAD_W = -200.0
_PRODUCTION_DOUBT = 0.1
_SIDE = 2
_SPAN = 6
"""Windows watched: two steady ones, two in which it happens, two steady ones."""

Event = tuple[int, int | None]
"""The phase whose axis a channel moved along, and the direction if it shows."""


class NaturalSteps:
    """Gathers evidence from the windows of ordinary days."""

    def __init__(self, system: GridSystem) -> None:
        """Args: system: with neutral; a three-wire system has no axis of its own per current."""
        self._system = system
        self._snapshots: deque[Snapshot] = deque(maxlen=_SPAN)
        self._events: list[deque[Event]] = [
            deque(maxlen=_REMEMBERED) for _ in LAYOUTS[system].currents
        ]

    def forget(self) -> None:
        """The windows that follow do not join on to the last ones."""
        self._snapshots.clear()

    def watch(self, snapshot: Snapshot, production_w: Sequence[float] | None) -> bool:
        """Take the next window.

        Args:
            snapshot: Phasors by terminal as labelled.
            production_w: AC power of all inverters on L1, L2, L3; None: not known just now.

        Returns:
            Whether it completed an event.
        """
        if self._system is GridSystem.THREE_PHASE_THREE_WIRE or not all(snapshot.voltages):
            self.forget()
            return False
        self._snapshots.append(snapshot)
        if len(self._snapshots) < _SPAN:
            return False
        seen = self._single_step()
        if seen is None:
            return False
        channel, change = seen
        levels = self._snapshots[0], snapshot
        self._snapshots.clear()
        voltages = snapshot.phase_voltages(self._system)
        phase = min(range(len(voltages)), key=lambda n: _axis_deg(change, voltages[n]))
        if _axis_deg(change, voltages[phase]) > _AXIS_NEAR_DEG:
            return False
        sign = None
        if production_w is not None:
            currents = [level.turned_currents(self._system)[channel] for level in levels]
            metered_w = [(voltages[phase] * current.conjugate()).real for current in currents]
            sign = _possible_sign(metered_w, production_w[phase])
        self._events[channel].append((phase, sign))
        return True

    def finding(self) -> WiringFinding:
        """What the events so far prove."""
        proven: dict[int, Connection] = {}
        for channel, events in enumerate(self._events):
            phase, phase_votes = _winner([phase for phase, _ in events])
            signs = [sign for at, sign in events if at == phase and sign is not None]
            sign, sign_votes = _winner(signs)
            if (
                phase is None
                or sign is None
                or min(phase_votes, sign_votes) < LEAST_EVENTS
                or phase_votes < _AGREEING_SHARE * len(events)
                or sign_votes < _AGREEING_SHARE * len(signs)
            ):
                continue
            if phase in proven:
                return self._contradiction()
            proven[phase] = Connection(channel, sign)
        connections = tuple(proven.get(phase) for phase in phases_of(self._system))
        return WiringFinding(connections, described(self._system, connections))

    def _contradiction(self) -> WiringFinding:
        nothing = (None,) * len(self._events)
        return WiringFinding(nothing, "two channels follow the same phase: loads between phases?")

    def _single_step(self) -> tuple[int, complex] | None:
        """The one channel that stepped between two steady spells, and by how much."""
        currents = [snapshot.turned_currents(self._system) for snapshot in self._snapshots]
        before, after = currents[:_SIDE], currents[-_SIDE:]
        changes = [b - a for a, b in zip(before[-1], after[0], strict=True)]
        sizes = [abs(change) for change in changes]
        channel = max(range(len(sizes)), key=sizes.__getitem__)
        volts = abs(self._snapshots[-1].voltages[0])
        if sizes[channel] * volts < _LEAST_STEP_W:
            return None
        loose = _STEADY_SHARE * sizes[channel]
        steady = all(
            abs(last - first) <= loose
            for side in (before, after)
            for first, last in zip(side[0], side[-1], strict=True)
        )
        alone = all(
            size <= _OTHERS_SHARE * sizes[channel] for n, size in enumerate(sizes) if n != channel
        )
        return (channel, changes[channel]) if steady and alone else None


def verdict(
    system: GridSystem, in_use: Wiring, finding: WiringFinding
) -> tuple[WiringVerdict, str]:
    """What to say of the wiring in use: one proven connection that differs makes it wrong."""
    pairs = zip(finding.connections, in_use, strict=True)
    if any(found is not None and found != used for found, used in pairs):
        return WiringVerdict.WRONG, f"{finding.text}; in use: {described(system, in_use)}"
    if in_use != as_labelled(system):
        return WiringVerdict.CORRECTED, described(system, in_use)
    return (WiringVerdict.RIGHT if finding.wiring else WiringVerdict.UNSURE), finding.text


def _possible_sign(metered_w: Sequence[float], production_w: float) -> int | None:
    """The direction in which the load behind the meter is never negative; None: both or neither."""
    margin_w = _IMPOSSIBLE_LOAD_W - _PRODUCTION_DOUBT * abs(production_w)
    possible = [
        sign
        for sign in (1, -1)
        if all(sign * level_w + production_w > margin_w for level_w in metered_w)
    ]
    return possible[0] if len(possible) == 1 else None


def _axis_deg(change: complex, voltage: complex) -> float:
    return min(angle_deg(change, voltage), angle_deg(change, -voltage))


def _winner(votes: Sequence[int]) -> tuple[int | None, int]:
    return Counter(votes).most_common(1)[0] if votes else (None, 0)
