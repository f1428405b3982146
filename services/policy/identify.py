"""How an actuator answers, learned from ordinary operation.

Whenever our own setpoints moved enough, the last ten seconds are replayed against a grid of
candidates (dead time, lag). The right one makes `grid + delivered` the load alone, which changes
independently of what we sent earlier; a wrong one leaves our own steps in it. So the candidate
whose load estimate moves least is the likeliest, and those that are hardly worse span what is
still possible. Jumps of the load itself weigh the same for all, and are cut off.

Costs add up over segments and fade, so a new firmware is noticed after some minutes.
"""

from itertools import pairwise
from math import exp
from typing import NamedTuple

from services.policy.response import Dynamics, Lag

DEAD_S = tuple(0.06 + 0.14 * step for step in range(12))
"""Dead times tried: 0.06-1.6 s; bus and driver are part of them."""

LAG_S = tuple(0.24 * 1.27**step for step in range(12))
"""Lags tried: 0.24-3.3 s."""

SEGMENT_S = 10.0
MEMORY_S = 12.0
"""Commands older than this before a sample have been delivered."""

MOVED_W = 400.0
"""A segment teaches something when setpoints moved by this in its first part."""

TAIL_S = 2.0
"""What moved in this last part of a segment has hardly been answered."""

JUMP_W = 150.0
"""A change of the load estimate from one reading to the next counts as this at most."""

LEAST_NOISE_W = 6.0
FADE = 0.98
LIKELY = 20.0
"""Excess of cost, in squared noise, up to which a candidate is still possible."""

ENOUGH_SEGMENTS = 2
SURE_PART = 0.45
SURE_S = 0.25
"""Identified: the spread is below this part of dead time plus lag, plus this."""

MOST_GAP_S = 1.0
"""A segment with a longer gap between readings is dropped."""


class Learner(NamedTuple):
    """What is known of one actuator."""

    command_w: float | None = None
    commands: tuple[tuple[float, float], ...] = ()
    """Increments sent lately: (at, W)."""
    samples: tuple[tuple[float, float], ...] = ()
    """The running segment: (middle of the window, grid plus all other actuators)."""
    costs: tuple[float, ...] = ()
    """One a candidate, dead times within lags; empty before the first segment."""
    readings: float = 0.0
    """Readings behind the costs, faded like them."""
    segments: int = 0
    fresh: bool = False
    """Whether a segment was replayed that `dynamics` has not been asked about."""


def take(learner: Learner, at_s: float, rest_w: float, command_w: float, sent_s: float) -> Learner:
    """Take in one grid reading and the command that answered it.

    Args:
        learner: What is known.
        at_s: Middle of the meter window.
        rest_w: Grid power plus what all other actuators delivered then.
        command_w: The command in force since `sent_s`.
        sent_s: When it was decided.
    """
    commands = learner.commands
    if learner.command_w is not None and command_w != learner.command_w:
        commands = (*commands, (sent_s, command_w - learner.command_w))
    samples = learner.samples
    if samples and not 0.0 < at_s - samples[-1][0] < MOST_GAP_S:
        samples = ()
    samples = (*samples, (at_s, rest_w))
    learner = learner._replace(command_w=command_w, commands=commands, samples=samples)
    if at_s - samples[0][0] < SEGMENT_S:
        return learner
    moved_w = sum(
        abs(change_w)
        for moved_s, change_w in commands
        if samples[0][0] < moved_s + DEAD_S[0] < at_s - TAIL_S
    )
    if moved_w >= MOVED_W:
        learner = _replay(learner)
    keep = tuple(command for command in commands if command[0] > at_s - MEMORY_S)
    return learner._replace(samples=samples[-1:], commands=keep)


def forget_segment(learner: Learner, command_w: float) -> Learner:
    """Drop the running segment: the actuator was not what moved the grid."""
    if not learner.samples and learner.command_w == command_w:
        return learner
    return learner._replace(samples=(), commands=(), command_w=command_w)


def _replay(learner: Learner) -> Learner:
    samples = learner.samples
    times_s = [at_s for at_s, _ in samples]
    moves_w = [later[1] - earlier[1] for earlier, later in pairwise(samples)]
    fresh: list[float] = []
    for lag_s in LAG_S:
        decays = [exp((earlier - later) / lag_s) for earlier, later in pairwise(times_s)]
        fresh += [
            _cost(learner.commands, times_s, moves_w, decays, dead_s, lag_s) for dead_s in DEAD_S
        ]
    costs = learner.costs or (0.0,) * len(fresh)
    return learner._replace(
        costs=tuple(FADE * cost + new for cost, new in zip(costs, fresh, strict=True)),
        readings=FADE * learner.readings + len(moves_w),
        segments=learner.segments + 1,
        fresh=True,
    )


def _cost(
    commands: tuple[tuple[float, float], ...],
    times_s: list[float],
    moves_w: list[float],
    decays: list[float],
    dead_s: float,
    lag_s: float,
) -> float:
    """Sum of squares by which the load estimate moves if the actuator were this candidate."""
    pending_w = 0.0
    place = 0
    count = len(commands)
    first_s = times_s[0]
    while place < count and commands[place][0] + dead_s <= first_s:
        sent_s, change_w = commands[place]
        pending_w += change_w * exp((sent_s + dead_s - first_s) / lag_s)
        place += 1
    due_s = commands[place][0] + dead_s if place < count else first_s + 1e9
    cost = 0.0
    for index, decay in enumerate(decays):
        left_w = pending_w * decay
        move_w = moves_w[index] + pending_w - left_w
        now_s = times_s[index + 1]
        while due_s <= now_s:
            change_w = commands[place][1]
            rest_w = change_w * exp((due_s - now_s) / lag_s)
            left_w += rest_w
            move_w += change_w - rest_w
            place += 1
            due_s = commands[place][0] + dead_s if place < count else now_s + 1e9
        pending_w = left_w
        if move_w > JUMP_W or move_w < -JUMP_W:
            move_w = JUMP_W
        cost += move_w * move_w
    return cost


def dynamics(learner: Learner, ramp_w_per_s: float, unknown: Dynamics) -> Dynamics:
    """What the actuator may be by all that was learned; `unknown` before that is enough."""
    if learner.segments < ENOUGH_SEGMENTS:
        return unknown
    least = min(learner.costs)
    noise = max(least / learner.readings, LEAST_NOISE_W**2)
    dead_sum = lag_sum = weight_sum = 0.0
    deads, lags = [], []
    for place, cost in enumerate(learner.costs):
        excess = (cost - least) / noise
        if excess > LIKELY:
            continue
        lag_s, dead_s = LAG_S[place // len(DEAD_S)], DEAD_S[place % len(DEAD_S)]
        deads.append(dead_s)
        lags.append(lag_s)
        weight = exp(-excess / 4.0)
        dead_sum += weight * dead_s
        lag_sum += weight * lag_s
        weight_sum += weight
    middle = Lag(dead_sum / weight_sum, lag_sum / weight_sum)
    fast = Lag(max(min(deads) - 0.1, 0.05), min(lags) / 1.12)
    slow = Lag(max(deads) + 0.1, max(lags) * 1.12, ramp_w_per_s)
    known = Dynamics(fast, middle, slow)
    sure = known.spread_s <= SURE_PART * known.total_s + SURE_S
    return known._replace(identified=sure)


def assumed(dead_s: float, lag_s: float, ramp_w_per_s: float, error_part: float) -> Dynamics:
    """Dynamics around figures that may be off by a part of themselves: from a data sheet."""
    low, high = 1.0 / (1.0 + error_part), 1.0 / (1.0 - error_part)
    return Dynamics(
        Lag(max(dead_s * low - 0.1, 0.05), lag_s * low),
        Lag(dead_s, lag_s),
        Lag(dead_s * high + 0.1, lag_s * high, ramp_w_per_s * low),
        identified=True,
    )
