"""What an actuator delivers of the commands really sent to it: a middle course and a sure envelope.

A command travels for a dead time, then the device approaches it with a first-order lag, perhaps
bounded by a ramp. Neither figure is known exactly, so three courses are carried along: the fastest
and the slowest that the device may be, and the middle one. Every increment of the command is
delivered somewhere between the two, and increments add up, so the power delivered lies in
`[lowest_w, highest_w]` whatever the device is within its `Dynamics`.

Kept as what is still *pending*, which decays to exactly 0: nothing drifts, nothing must be reset.
"""

from math import exp, inf
from typing import NamedTuple

REST_W = 0.5
"""A remainder below this is delivered: far under what a class 1 meter resolves at 5 kW."""


class Lag(NamedTuple):
    """Dead time, first-order lag and ramp of an actuator."""

    dead_s: float
    lag_s: float
    ramp_w_per_s: float = inf


class Dynamics(NamedTuple):
    """The fastest, the likeliest and the slowest that an actuator may be."""

    fast: Lag
    middle: Lag
    slow: Lag
    identified: bool = False

    @property
    def spread_s(self) -> float:
        """Largest error of dead time plus lag that the middle course can have."""
        return max(
            self.middle.dead_s - self.fast.dead_s + self.middle.lag_s - self.fast.lag_s,
            self.slow.dead_s - self.middle.dead_s + self.slow.lag_s - self.middle.lag_s,
        )

    @property
    def total_s(self) -> float:
        """Dead time plus lag of the middle course."""
        return self.middle.dead_s + self.middle.lag_s


Pending = tuple[float, float]
"""What is not delivered yet of increments up and down; W, >= 0 and <= 0."""

NOTHING: tuple[Pending, Pending, Pending] = ((0.0, 0.0),) * 3


class Response(NamedTuple):
    """The pending parts of one actuator's commands at one time; W, signs of the command."""

    at_s: float
    command_w: float
    ahead_s: float
    ahead_w: float = 0.0
    """Pending of the middle course as if there were no dead time, at `ahead_s`."""
    queue: tuple[tuple[float, float], ...] = ()
    """Increments on their way: (sent at, W), oldest first."""
    pending: tuple[Pending, Pending, Pending] = NOTHING
    """Past their dead time, on the fast, the middle and the slow course."""


class Delivered(NamedTuple):
    """Power that an actuator delivers at one time."""

    lowest_w: float
    middle_w: float
    highest_w: float


def at_rest(command_w: float, now_s: float) -> Response:
    """An actuator that has long followed its command."""
    return Response(now_s, command_w, now_s)


def send(response: Response, dynamics: Dynamics, command_w: float, now_s: float) -> Response:
    """Note a command as it leaves; the pending parts grow by its increment."""
    change_w = command_w - response.command_w
    if change_w == 0.0:
        return response
    ahead_w = change_w + _remaining(
        response.ahead_w, now_s - response.ahead_s, dynamics.middle.lag_s, inf
    )
    return response._replace(
        command_w=command_w,
        ahead_s=now_s,
        ahead_w=ahead_w,
        queue=(*response.queue, (now_s, change_w)),
    )


def undelayed_w(response: Response, dynamics: Dynamics, now_s: float) -> float:
    """Power that the middle course would deliver now if there were no dead time."""
    if response.ahead_w == 0.0:
        return response.command_w
    return response.command_w - _remaining(
        response.ahead_w, now_s - response.ahead_s, dynamics.middle.lag_s, inf
    )


def advance(response: Response, dynamics: Dynamics, at_s: float) -> tuple[Response, Delivered]:
    """Let time pass up to the middle of a meter window and say what is delivered then.

    An older time than the last one is no news, and taken for that one.
    """
    last_s, command_w, ahead_s, ahead_w, queue, pending = response
    if not queue and pending is NOTHING:
        resting = Response(at_s, command_w, ahead_s, ahead_w)
        return resting, Delivered(command_w, command_w, command_w)
    at_s = max(at_s, last_s)
    fast, fast_up_w, fast_down_w = _course(dynamics.fast, pending[0], queue, last_s, at_s)
    middle, up_w, down_w = _course(dynamics.middle, pending[1], queue, last_s, at_s)
    slow, slow_up_w, slow_down_w = _course(dynamics.slow, pending[2], queue, last_s, at_s)
    gone = 0
    while gone < len(queue) and queue[gone][0] + dynamics.slow.dead_s <= at_s:
        gone += 1
    queue = queue[gone:]
    pending = (fast, middle, slow)
    if not queue and slow[0] < REST_W and slow[1] > -REST_W:
        pending = NOTHING
    return Response(at_s, command_w, ahead_s, ahead_w, queue, pending), Delivered(
        command_w - slow_up_w - fast_down_w,
        command_w - up_w - down_w,
        command_w - fast_up_w - slow_down_w,
    )


def _course(
    lag: Lag,
    pending: Pending,
    queue: tuple[tuple[float, float], ...],
    last_s: float,
    at_s: float,
) -> tuple[Pending, float, float]:
    """Pending on one course after some time; then, up and down, with what waits for its dead time.

    An increment enters where the end of its dead time lies in (last_s, at_s]: exactly once.
    """
    dead_s, lag_s, ramp_w_per_s = lag
    past_s = at_s - last_s
    up_w = _remaining(pending[0], past_s, lag_s, ramp_w_per_s)
    down_w = _remaining(pending[1], past_s, lag_s, ramp_w_per_s)
    waiting_up_w = waiting_down_w = 0.0
    for sent_s, change_w in queue:
        due_s = sent_s + dead_s
        if due_s > at_s:
            if change_w > 0.0:
                waiting_up_w += change_w
            else:
                waiting_down_w += change_w
        elif due_s > last_s:
            rest_w = _remaining(change_w, at_s - due_s, lag_s, ramp_w_per_s)
            if change_w > 0.0:
                up_w += rest_w
            else:
                down_w += rest_w
    return (up_w, down_w), up_w + waiting_up_w, down_w + waiting_down_w


def _remaining(pending_w: float, past_s: float, lag_s: float, ramp_w_per_s: float) -> float:
    """What is left of a pending power after some time: the ramp first, then the lag."""
    if pending_w == 0.0:
        return 0.0
    knee_w = ramp_w_per_s * lag_s
    if pending_w > knee_w or -pending_w > knee_w:
        ramp_s = (abs(pending_w) - knee_w) / ramp_w_per_s
        if past_s <= ramp_s:
            step_w = ramp_w_per_s * past_s
            return pending_w - step_w if pending_w > 0.0 else pending_w + step_w
        past_s -= ramp_s
        pending_w = knee_w if pending_w > 0.0 else -knee_w
    return pending_w * exp(-past_s / lag_s)
