from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.policy import Level, Reason
from services.policy.bounds import FREE, RANK, Bounds, Link, narrow, settle

POWERS = st.floats(-20_000, 20_000) | st.sampled_from((-inf, inf))


def link(level: Level, lower_w: float = -inf, upper_w: float = inf) -> Link:
    return Link(level, "rule", Reason.DEVICE_BOUND, lower_w, upper_w)


def wish(power_w: float) -> Link:
    return Link(Level.COMFORT, "self_consumption", Reason.SELF_CONSUMPTION, power_w, power_w)


@st.composite
def chains(draw: st.DrawFn) -> list[Link]:
    levels = sorted(draw(st.lists(st.sampled_from(list(Level)), max_size=6)), key=RANK.__getitem__)
    pairs = [sorted((draw(POWERS), draw(POWERS))) for _ in levels]
    return [link(level, *pair) for level, pair in zip(levels, pairs, strict=True)]


def nested(links: list[Link]) -> Bounds:
    bounds = FREE
    for each in links:
        bounds = narrow(bounds, each)
    return bounds


@given(chains())
def test_a_lower_level_never_widens_what_is_left(links: list[Link]) -> None:
    before = FREE
    for each in links:
        after = narrow(before, each)
        assert before.lower_w <= after.lower_w <= after.upper_w <= before.upper_w
        before = after


@given(chains(), st.floats(-30_000, 30_000))
def test_what_is_settled_lies_within_and_its_last_reason_decided(
    links: list[Link], wished_w: float
) -> None:
    bounds = nested(links)
    power_w, chain = settle(bounds, wish(wished_w))
    assert bounds.lower_w <= power_w <= bounds.upper_w
    if power_w == wished_w:
        assert chain[-1] == wish(wished_w)
    else:
        assert power_w == nested(list(chain)).lower_w or power_w == nested(list(chain)).upper_w
    ranks = [RANK[each.level] for each in chain]
    assert ranks == sorted(ranks)


@given(chains())
def test_the_uppermost_level_holds_whatever_the_others_ask(links: list[Link]) -> None:
    bounds = nested([link(Level.SAFETY, 0.0, 1000.0), *(x for x in links if x.level != "safety")])
    assert 0.0 <= bounds.lower_w <= bounds.upper_w <= 1000.0


@pytest.mark.parametrize(
    ("links", "wished_w", "expected_w", "decided_by"),
    [
        pytest.param([], 700.0, 700.0, Level.COMFORT, id="nothing bounds the wish"),
        pytest.param(
            [link(Level.SAFETY, -5e3, 5e3)], 6e3, 5e3, Level.SAFETY, id="the device has its end"
        ),
        pytest.param(
            [link(Level.SAFETY, -5e3, 5e3), link(Level.USER, 0.0)],
            -100.0,
            0.0,
            Level.USER,
            id="the reserve is kept",
        ),
        pytest.param(
            [link(Level.SAFETY, -5e3, 5e3), link(Level.USER, 0.0)],
            6e3,
            5e3,
            Level.SAFETY,
            id="the other side's bound has no say",
        ),
        pytest.param(
            [link(Level.SAFETY, 0.0, 0.0), link(Level.USER, 500.0, 900.0)],
            800.0,
            0.0,
            Level.SAFETY,
            id="a contradiction ends at the upper level",
        ),
    ],
)
def test_the_chain_ends_with_what_decided(
    links: list[Link], wished_w: float, expected_w: float, decided_by: Level
) -> None:
    power_w, chain = settle(nested(links), wish(wished_w))
    assert power_w == expected_w
    assert chain[-1].level is decided_by


def test_a_level_that_speaks_out_of_turn_is_an_error() -> None:
    bounds = narrow(FREE, link(Level.USER, 0.0, 1.0))
    with pytest.raises(ValueError, match="safety speaks after user"):
        narrow(bounds, link(Level.SAFETY, 0.5, 0.6))
