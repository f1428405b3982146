"""Nested bounds: a lower level only narrows what the levels above left open.

Start with `free`, let every rule `narrow` in the order of levels, and `settle` on the wish of the
lowest. What comes out lies within every bound and carries the chain of those that mattered; the
last link of the chain decided.
"""

from math import inf
from typing import NamedTuple

from bus.policy import Level, Reason

RANK = {level: rank for rank, level in enumerate(Level)}
"""0 is the uppermost."""


class Link(NamedTuple):
    """One bound of one rule; W, of the setpoint's own quantity, infinite where it left it open."""

    level: Level
    rule: str
    reason: Reason
    lower_w: float = -inf
    upper_w: float = inf


class Bounds(NamedTuple):
    """What is still open, and who closed the rest."""

    lower_w: float
    upper_w: float
    links: tuple[Link, ...] = ()
    """Those that narrowed something, from the uppermost level down."""
    lower_link: int = -1
    """Index of the link that set the lower bound."""
    upper_link: int = -1


FREE = Bounds(-inf, inf)


def narrow(bounds: Bounds, link: Link) -> Bounds:
    """Apply one rule's bounds; where they contradict those above, the nearest point above stays.

    Raises:
        ValueError: The rule's level is above one that has already spoken.
    """
    lower_w, upper_w, links, lower_link, upper_link = bounds
    if links and RANK[link.level] < RANK[links[-1].level]:
        raise ValueError(f"{link.level} speaks after {links[-1].level}")
    higher_w = min(max(lower_w, link.lower_w), upper_w)
    smaller_w = max(min(upper_w, link.upper_w), higher_w)
    if higher_w == lower_w and smaller_w == upper_w:
        return bounds
    return Bounds(
        higher_w,
        smaller_w,
        (*links, link),
        len(links) if higher_w != lower_w else lower_link,
        len(links) if smaller_w != upper_w else upper_link,
    )


def settle(bounds: Bounds, wish: Link) -> tuple[float, tuple[Link, ...]]:
    """The power nearest to a wish within the bounds, and the chain down to what decided it.

    Args:
        bounds: What the levels above left open.
        wish: Of the lowest level; its lower bound is its upper bound is the power wished for.
    """
    wish_w = wish.lower_w
    if wish_w < bounds.lower_w:
        return bounds.lower_w, bounds.links[: bounds.lower_link + 1]
    if wish_w > bounds.upper_w:
        return bounds.upper_w, bounds.links[: bounds.upper_link + 1]
    return wish_w, (*bounds.links, wish)
