import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.allocate import (
    HANDOVER_W_PER_S,
    MIN_ON_S,
    Room,
    Sharing,
    Store,
    handover,
    share_limits,
    shares,
    water_fill,
)

WATTS = st.floats(0.0, 10_000.0)


def store(left_pct: float, rated_w: float = 5000.0, capacity_wh: float = 10_000.0) -> Store:
    return Store(-rated_w, rated_w, capacity_wh, 100.0 - left_pct, left_pct)


THREE = [store(85, capacity_wh=10_000), store(45, capacity_wh=15_000), store(15, 3680, 5_000)]


@pytest.mark.parametrize(
    ("total_w", "stores", "in_use"),
    [
        pytest.param(2000.0, THREE, {0}, id="one unit carries a little, the fullest"),
        pytest.param(5000.0, THREE, {0, 1}, id="two carry more than 70 % of one"),
        pytest.param(12_000.0, THREE, {0, 1, 2}, id="above 70 % of all, all run"),
        pytest.param(-2000.0, THREE, {2}, id="the emptiest is charged first"),
        pytest.param(0.0, THREE, set(), id="nothing to do, nobody runs"),
        pytest.param(
            2000.0,
            [Store(-5e3, 0.0, 1e4, 10.0, 90.0), store(20)],
            {1},
            id="a unit that may not discharge is left out",
        ),
    ],
)
def test_the_fewest_units_with_most_left_carry_the_power(
    total_w: float, stores: list[Store], in_use: set[int]
) -> None:
    _, powers_w = shares(Sharing(), total_w, stores, 0.0)
    assert {index for index, power_w in enumerate(powers_w) if power_w} == in_use
    assert sum(powers_w) == pytest.approx(total_w)


def test_units_that_run_together_share_by_energy_left() -> None:
    stores = [store(60, capacity_wh=10_000), store(60, capacity_wh=5_000)]
    _, powers_w = shares(Sharing(), 6000.0, stores, 0.0)
    assert powers_w == pytest.approx([4000.0, 2000.0])


def test_a_set_in_use_stays_until_it_would_carry_more_than_85_percent() -> None:
    sharing, _ = shares(Sharing(), 3000.0, THREE, 0.0)
    for power_w, units in ((4200.0, 1), (4300.0, 2)):
        after, _ = shares(sharing, power_w, THREE, 100.0)
        assert len(after.in_use) == units


def test_a_unit_taken_into_use_stays_for_a_minute() -> None:
    sharing, _ = shares(Sharing(), 5000.0, THREE, 0.0)
    early, _ = shares(sharing, 1000.0, THREE, MIN_ON_S - 1)
    assert early.in_use == (0, 1)
    late, _ = shares(early, 1000.0, THREE, MIN_ON_S + 1)
    assert late.in_use in {(0,), (0, 1)}


def test_two_like_units_do_not_take_turns_for_a_percent() -> None:
    sharing, _ = shares(Sharing(), 2000.0, [store(50), store(49)], 0.0)
    after, _ = shares(sharing, 2000.0, [store(48), store(50)], 100.0)
    assert after.in_use == sharing.in_use
    at_last, _ = shares(sharing, 2000.0, [store(46), store(50)], 100.0)
    assert at_last.in_use == (1,)


@given(
    st.floats(-20_000, 20_000),
    st.lists(st.tuples(WATTS, WATTS, st.floats(0, 100)), min_size=2, max_size=3),
    st.floats(0, 1),
    st.data(),
)
def test_no_battery_charges_while_another_discharges(
    total_w: float, units: list[tuple[float, float, float]], past_s: float, data: st.DataObject
) -> None:
    stores = [Store(-low, high, 10_000.0, 100 - soc, soc) for low, high, soc in units]
    lower_w = [store.lower_w for store in stores]
    upper_w = [store.upper_w for store in stores]
    sign = data.draw(st.sampled_from((1, -1)))
    present_w = [
        data.draw(st.floats(0, high if sign > 0 else low)) * sign for low, high, _ in units
    ]
    _, wanted_w = shares(Sharing(), total_w, stores, 0.0)
    powers_w = handover(present_w, wanted_w, lower_w, upper_w, total_w, past_s)
    assert not (min(powers_w) < -1e-6 and max(powers_w) > 1e-6)
    for power_w, low, high in zip(powers_w, lower_w, upper_w, strict=True):
        assert low - 1e-6 <= power_w <= high + 1e-6
    reachable_w = min(max(total_w, sum(lower_w)), sum(upper_w))
    assert sum(powers_w) == pytest.approx(reachable_w, abs=3.0)


def test_power_moves_from_one_unit_to_another_at_a_walk_and_the_sum_stays() -> None:
    bounds = ([-5000.0] * 2, [5000.0] * 2)
    powers_w = handover([2000.0, 0.0], [0.0, 2000.0], *bounds, 2000.0, 0.2)
    assert sum(powers_w) == pytest.approx(2000.0)
    assert powers_w[1] == pytest.approx(HANDOVER_W_PER_S * 0.2)


def test_what_the_house_wants_more_is_given_at_once() -> None:
    bounds = ([-5000.0] * 2, [5000.0] * 2)
    powers_w = handover([2000.0, 0.0], [3000.0, 3000.0], *bounds, 6000.0, 0.2)
    assert sum(powers_w) == pytest.approx(6000.0)


@given(st.floats(0, 30_000), st.lists(st.tuples(WATTS, WATTS), max_size=4))
def test_water_filling_gives_all_there_is_room_for(
    total: float, cups: list[tuple[float, float]]
) -> None:
    weights = [weight + 0.1 for weight, _ in cups]
    limits = [limit for _, limit in cups]
    given_w = water_fill(total, weights, limits)
    assert all(part <= limit + 1e-6 for part, limit in zip(given_w, limits, strict=True))
    assert sum(given_w) == pytest.approx(min(total, sum(limits)), abs=1e-3)


@given(st.lists(st.floats(-1000, 12_000), min_size=1, max_size=3), st.data())
def test_limits_never_exceed_any_room_even_if_all_are_used(
    sizes_w: list[float], data: st.DataObject
) -> None:
    parts = st.sampled_from((0.0, 1 / 3, 1.0))
    rooms = [Room((data.draw(parts), data.draw(parts), data.draw(parts)), w) for w in sizes_w]
    weights = [data.draw(st.floats(1, 5000)) for _ in range(3)]
    tops_w = [data.draw(st.floats(0, 6000)) for _ in range(3)]
    limits_w = share_limits(rooms, weights, tops_w)
    for room in rooms:
        used_w = sum(part * limit for part, limit in zip(room.weights, limits_w, strict=True))
        assert used_w <= max(room.room_w, 0.0) + 1e-3
    for limit_w, top_w in zip(limits_w, tops_w, strict=True):
        assert 0.0 <= limit_w <= top_w + 1e-6


def test_a_full_phase_stops_its_own_units_and_the_others_go_on() -> None:
    rooms = [Room((1.0, 0.0), 1000.0), Room((0.0, 1.0), 4000.0)]
    assert share_limits(rooms, [1.0, 1.0], [5000.0, 5000.0]) == pytest.approx([1000.0, 4000.0])
