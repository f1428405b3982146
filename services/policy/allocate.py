"""Sharing one power among several units: batteries by energy, AC limits by what is produced.

Batteries: the fewest units that carry the power at 70 % of what they may (a set in use stays up to
85 %), those with the largest part left first, weighted by energy among them. A battery inverter
loses 0.5-1 % of its rating by merely running, so fewer units lose less; weighting by energy lets
all run empty or full together, so that the full power is there longest.

The sum is never touched by the split: what the fast loop wants more or less is given at once, and
what only moves from one unit to another does so slowly, since the units answer differently.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

JOIN_PART = 0.70
"""A set is taken into use when it carries the power at this part of its bounds ..."""

LEAVE_PART = 0.85
"""... and left when it would have to carry more than this."""

MIN_ON_S = 60.0
"""A unit taken into use stays in for at least this long."""

ORDER_PCT = 3.0
"""A unit in use goes before one that has less than this much more left, % of capacity."""

HANDOVER_W_PER_S = 150.0
"""Pace at which power moves from one unit to another: a dead time of 1 s costs 150 W at most."""

STILL_W = 1.0
"""A battery power below this is none."""

FULL_W = 1e-6
"""A room with less than this left is full."""


class Store(NamedTuple):
    """One battery as the sharing sees it."""

    lower_w: float
    """Most negative power it may take now: charging."""
    upper_w: float
    """Highest power it may give now."""
    capacity_wh: float
    charge_pct: float
    """How far it may still be charged, % of its capacity."""
    discharge_pct: float
    """How far it may still be discharged, % of its capacity."""


class Sharing(NamedTuple):
    """Which units are in use; by index."""

    in_use: tuple[int, ...] = ()
    since_s: tuple[float, ...] = ()
    discharging: bool = True


def shares(
    sharing: Sharing, total_w: float, stores: Sequence[Store], now_s: float
) -> tuple[Sharing, list[float]]:
    """Power of each battery for a total, by the standing rules; W, > 0 is discharge.

    The shares add up to the total as far as the bounds allow, and all have its sign.
    """
    if len(stores) == 1:
        return sharing, [min(max(total_w, stores[0].lower_w), stores[0].upper_w)]
    discharging = sharing.discharging if abs(total_w) < STILL_W else total_w > 0.0
    wanted_w = abs(total_w)
    rooms_w = [max(store.upper_w if discharging else -store.lower_w, 0.0) for store in stores]
    lefts_pct = [
        max(store.discharge_pct if discharging else store.charge_pct, 0.1) for store in stores
    ]
    energies_wh = [
        left_pct * store.capacity_wh for left_pct, store in zip(lefts_pct, stores, strict=True)
    ]
    in_use, since_s = sharing.in_use, sharing.since_s
    if discharging != sharing.discharging:
        in_use, since_s = (), ()
    order = sorted(
        (index for index, room_w in enumerate(rooms_w) if room_w > 0.0),
        key=lambda index: -lefts_pct[index] - (ORDER_PCT if index in in_use else 0.0),
    )
    least = [
        index
        for index, from_s in zip(in_use, since_s, strict=True)
        if now_s - from_s < MIN_ON_S and rooms_w[index] > 0.0
    ]
    everything_w = sum(rooms_w)
    stays = wanted_w <= LEAVE_PART * sum(rooms_w[index] for index in in_use)
    enough_w = inf if wanted_w > JOIN_PART * everything_w else wanted_w / JOIN_PART
    chosen: list[int] = []
    carried_w = 0.0
    for index in order:
        if carried_w >= enough_w or (stays and len(chosen) >= len(in_use)):
            break
        chosen.append(index)
        carried_w += rooms_w[index]
    if wanted_w < STILL_W:
        chosen = []
    chosen += [index for index in least if index not in chosen]
    powers_w = water_fill(
        wanted_w,
        [energies_wh[index] for index in chosen],
        [rooms_w[index] for index in chosen],
    )
    sign = 1.0 if discharging else -1.0
    split_w = [0.0] * len(stores)
    for index, power_w in zip(chosen, powers_w, strict=True):
        split_w[index] = sign * power_w
    since = dict(zip(in_use, since_s, strict=True))
    used = tuple(sorted(chosen))
    return Sharing(used, tuple(since.get(index, now_s) for index in used), discharging), split_w


def water_fill(total: float, weights: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Split a positive total in proportion to weights, none above its limit.

    What a limited one cannot take goes to the others; the sum falls short only when all are full.
    """
    given = [0.0] * len(weights)
    unfilled = [index for index, limit in enumerate(limits) if limit > 0.0 and weights[index] > 0.0]
    left = total
    while unfilled and left > 0.0:
        level = left / sum(weights[index] for index in unfilled)
        full = [index for index in unfilled if weights[index] * level >= limits[index]]
        if not full:
            for index in unfilled:
                given[index] = weights[index] * level
            break
        for index in full:
            given[index] = limits[index]
            left -= limits[index]
        unfilled = [index for index in unfilled if index not in full]
    return given


def handover(
    present_w: Sequence[float],
    wanted_w: Sequence[float],
    lower_w: Sequence[float],
    upper_w: Sequence[float],
    total_w: float,
    past_s: float,
) -> list[float]:
    """Move each unit's power towards its share without a ripple in the sum.

    Args:
        present_w: Powers as last sent.
        wanted_w: Shares of the total by the standing rules.
        lower_w: Lower bounds now.
        upper_w: Upper bounds now.
        total_w: What the sum shall be at once; it may lead the sum of the shares for a while.
        past_s: Time since the last decision.

    Returns:
        Powers within the bounds; never one positive and one negative; their sum is `total_w` as
        far as the bounds allow.
    """
    lowest_w = [max(low, 0.0) if total_w > 0.0 else low for low in lower_w]
    highest_w = [min(high, 0.0) if total_w < 0.0 else high for high in upper_w]
    powers_w = [
        min(max(power, low), max(high, low))
        for power, low, high in zip(present_w, lowest_w, highest_w, strict=True)
    ]
    # what the sum lacks goes first to those that are to move that way anyhow, then to any room
    powers_w = _add(powers_w, wanted_w, total_w, lowest_w, highest_w)
    shifts = [wanted - power for wanted, power in zip(wanted_w, powers_w, strict=True)]
    up_w = sum(shift for shift in shifts if shift > 0.0)
    down_w = -sum(shift for shift in shifts if shift < 0.0)
    moved_w = min(up_w, down_w, HANDOVER_W_PER_S * past_s)
    if moved_w <= 0.0:
        return powers_w
    return [
        power + shift * moved_w / (up_w if shift > 0.0 else down_w)
        for power, shift in zip(powers_w, shifts, strict=True)
    ]


def _add(
    powers_w: list[float],
    wanted_w: Sequence[float],
    total_w: float,
    lower_w: Sequence[float],
    upper_w: Sequence[float],
) -> list[float]:
    lacking_w = total_w - sum(powers_w)
    sign = 1.0 if lacking_w > 0.0 else -1.0
    lacking_w *= sign
    towards = [
        max(sign * (want - power), 0.0) for want, power in zip(wanted_w, powers_w, strict=True)
    ]
    rooms_w = [
        max(sign * (high - power) if sign > 0.0 else power - low, 0.0)
        for power, low, high in zip(powers_w, lower_w, upper_w, strict=True)
    ]
    for weights in (towards, [max(abs(want), STILL_W) for want in wanted_w]):
        limits = [
            min(room, weight) if weights is towards else room
            for room, weight in zip(rooms_w, weights, strict=True)
        ]
        given = water_fill(lacking_w, weights, limits)
        powers_w = [power + sign * part for power, part in zip(powers_w, given, strict=True)]
        rooms_w = [room - part for room, part in zip(rooms_w, given, strict=True)]
        lacking_w -= sum(given)
        if lacking_w <= STILL_W:
            break
    return powers_w


class Room(NamedTuple):
    """A bound on the weighted sum of several units' powers: the house's, or one phase's."""

    weights: tuple[float, ...]
    """Part of each unit's power that counts: 1 for the sum, 1/3 for each of three phases."""
    room_w: float


def share_limits(
    rooms: Sequence[Room], weights: Sequence[float], tops_w: Sequence[float]
) -> list[float]:
    """Give each unit an upper bound so that no room is exceeded even if all are used in full.

    All grow in proportion to their weights until a room is full, which stops those that feed it;
    the others go on.

    Args:
        rooms: None of them is exceeded; a room below 0 leaves nothing to those that feed it.
        weights: Proportion of the bounds, one a unit, > 0.
        tops_w: Highest bound of each unit.

    Returns:
        One bound a unit in W, between 0 and its top.
    """
    given_w = [0.0] * len(weights)
    growing = [index for index, top_w in enumerate(tops_w) if top_w > 0.0]
    left_w = [room.room_w for room in rooms]
    while growing:
        step = min((tops_w[index] - given_w[index]) / weights[index] for index in growing)
        for room, open_w in zip(rooms, left_w, strict=True):
            pace = sum(room.weights[index] * weights[index] for index in growing)
            if pace > 0.0:
                step = min(step, max(open_w, 0.0) / pace)
        for index in growing:
            given_w[index] += weights[index] * step
        for place, room in enumerate(rooms):
            left_w[place] -= step * sum(room.weights[index] * weights[index] for index in growing)
        stopped = {index for index in growing if given_w[index] >= tops_w[index] - STILL_W}
        for room, open_w in zip(rooms, left_w, strict=True):
            if open_w <= FULL_W:
                stopped |= {index for index in growing if room.weights[index] > 0.0}
        if not stopped:
            break
        growing = [index for index in growing if index not in stopped]
    return given_w
