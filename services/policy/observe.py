"""What the house draws, seen through actuators whose answer is only roughly known.

`load = grid + delivered`, and the delivered power lies in an envelope (`response.py`). So each grid
reading says: the load lies in this interval. The estimate moves into the interval by the shortest
way, which never leads past the true load, and inside it drifts to the likeliest value. At rest the
interval is a point, so a step of the load is taken over with the first reading; while a command is
under way, what the actuator may have done is not mistaken for the house, so there is no echo of
our own commands to chase. The drift inside is the filter of the small gain condition.
"""

from typing import NamedTuple

from services.policy.response import Delivered

NOISE_W = 12.0
"""Half width of what a reading may be off by itself: meter noise, flicker of small loads."""

DRIFT_W = 100.0
"""Width of the interval that doubles the time constant of the drift inside it."""

LONGEST_DRIFT_S = 8.0
"""The drift is never slower: while power moves between units the interval may stay wide."""

REVERSAL_W = 300.0
"""A pulse is a swing of at least this."""

PULSE_MEAN_S = 6.0
"""Low pass through which pulses are followed that are too quick to be compensated."""

PULSE_TURNS = 3
"""So many turns of the load in a row, too close to each other, are pulses."""

HUNTING_W = 80.0
HUNTING_SWINGS = 5
HUNTING_WINDOW_S = 20.0
CALM_S = 600.0
MOST_CAUTION = 6.0


class Zigzag(NamedTuple):
    """Turning points of a signal, ignoring swings smaller than a threshold."""

    extreme: float
    rising: bool = True
    turned_s: tuple[float, ...] = ()
    """Times of the last turns, oldest first, at most `HUNTING_SWINGS`."""


class Observer(NamedTuple):
    """The estimate and the two guards; W, house load minus PV: what batteries shall supply."""

    at_s: float
    net_load_w: float
    """Best estimate by the envelope."""
    mean_w: float
    """The same through the low pass that pulses are followed with."""
    load_turns: Zigzag
    grid_turns: Zigzag
    pulsing_until_s: float = 0.0
    caution: float = 1.0
    """Factor on the filter, raised by the hunting guard."""
    cautious_until_s: float = 0.0

    @property
    def pulsing(self) -> bool:
        """Whether the load pulses too quickly to be followed."""
        return self.at_s < self.pulsing_until_s


def observe(
    observer: Observer | None,
    grid_power_w: float,
    target_w: float,
    delivered: Delivered,
    at_s: float,
    filter_s: float,
    critical_s: float,
) -> Observer:
    """Take one grid reading into the estimate.

    Args:
        observer: What was known before; None: nothing.
        grid_power_w: Mean of the window; > 0 is import.
        target_w: Where the grid power is held.
        delivered: Envelope of the actuators' power in the middle of the window.
        at_s: End of the window.
        filter_s: Time constant of the drift inside the interval.
        critical_s: Load reversals that come closer than this cannot be compensated.
    """
    lowest_w, middle_w, highest_w = delivered
    likeliest_w = grid_power_w + middle_w
    if observer is None:
        return Observer(
            at_s, likeliest_w, likeliest_w, Zigzag(likeliest_w), Zigzag(grid_power_w - target_w)
        )
    past_s = max(at_s - observer.at_s, 0.0)
    lag_s = filter_s * (1.0 + (highest_w - lowest_w) / DRIFT_W)
    lag_s = min(lag_s, max(LONGEST_DRIFT_S, filter_s)) * observer.caution
    net_w = within(
        observer.net_load_w + (likeliest_w - observer.net_load_w) * past_s / (lag_s + past_s),
        grid_power_w + lowest_w - NOISE_W,
        grid_power_w + highest_w + NOISE_W,
    )
    mean_w = observer.mean_w + (likeliest_w - observer.mean_w) * past_s / (PULSE_MEAN_S + past_s)
    load_turns = turning(observer.load_turns, net_w, REVERSAL_W, at_s)
    pulsing_until_s = observer.pulsing_until_s
    if load_turns.turned_s is not observer.load_turns.turned_s:
        turned_s = load_turns.turned_s[-PULSE_TURNS:]
        spacing_s = (turned_s[-1] - turned_s[0]) / (PULSE_TURNS - 1)
        if len(turned_s) == PULSE_TURNS and spacing_s < critical_s:
            pulsing_until_s = at_s + 2 * critical_s
    if at_s >= pulsing_until_s:
        mean_w = net_w
    grid_turns = turning(observer.grid_turns, grid_power_w - target_w, 2 * HUNTING_W, at_s)
    caution, cautious_until_s = observer.caution, observer.cautious_until_s
    if grid_turns.turned_s is not observer.grid_turns.turned_s and at_s >= pulsing_until_s:
        turned_s = grid_turns.turned_s[-HUNTING_SWINGS:]
        if len(turned_s) == HUNTING_SWINGS and at_s - turned_s[0] < HUNTING_WINDOW_S:
            caution = min(2 * caution, MOST_CAUTION)
            cautious_until_s = at_s + CALM_S
            grid_turns = grid_turns._replace(turned_s=())
    elif caution > 1.0 and at_s >= cautious_until_s:
        caution = 1.0
    return Observer(
        at_s, net_w, mean_w, load_turns, grid_turns, pulsing_until_s, caution, cautious_until_s
    )


def turning(zigzag: Zigzag, level: float, threshold: float, at_s: float) -> Zigzag:
    """Follow a signal; a turn is noted when it has come back by the threshold."""
    extreme, rising, turned_s = zigzag
    beyond = level - extreme if rising else extreme - level
    if beyond >= 0.0:
        return zigzag if beyond == 0.0 else Zigzag(level, rising, turned_s)
    if -beyond < threshold:
        return zigzag
    return Zigzag(level, not rising, (*turned_s, at_s)[-HUNTING_SWINGS:])


def within(level: float, lower: float, upper: float) -> float:
    """The nearest point of an interval."""
    return lower if level < lower else min(level, upper)
