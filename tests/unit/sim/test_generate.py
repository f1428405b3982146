"""Sun, clouds, appliances, traces and scripts."""

import gzip
import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sim.appliances import HouseLoad, Run, day_runs
from sim.generate import Clouds, Event, Field, Script, TraceLoad, read_trace
from sim.sun import Place, Surface, clear_sky_w_m2
from sim.track import Track

FRANKFURT = Place(50.1, 8.7)
FLAT, SOUTH = Surface(0, 180), Surface(35, 180)


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("place", "surface", "when", "low", "high"),
    [
        pytest.param(FRANKFURT, FLAT, (2024, 6, 21, 11, 30), 830, 950, id="midsummer noon"),
        pytest.param(FRANKFURT, FLAT, (2024, 12, 21, 11, 30), 150, 300, id="midwinter noon"),
        pytest.param(FRANKFURT, SOUTH, (2024, 12, 21, 11, 30), 350, 750, id="winter, tilted"),
        pytest.param(FRANKFURT, SOUTH, (2024, 6, 21, 0, 0), 0, 0, id="midnight"),
        pytest.param(Place(-33.9, 151.2), FLAT, (2024, 6, 21, 2, 0), 350, 560, id="Sydney, winter"),
    ],
)
def test_a_clear_sky_gives(
    place: Place, surface: Surface, when: tuple[int, ...], low: float, high: float
) -> None:
    assert low <= clear_sky_w_m2(place, surface, at(*when)) <= high


def test_east_modules_have_their_sun_in_the_morning() -> None:
    east, west = Surface(35, 90), Surface(35, 270)
    morning, evening = at(2024, 6, 21, 7, 0), at(2024, 6, 21, 16, 0)
    assert clear_sky_w_m2(FRANKFURT, east, morning) > 2 * clear_sky_w_m2(FRANKFURT, west, morning)
    assert clear_sky_w_m2(FRANKFURT, west, evening) > 2 * clear_sky_w_m2(FRANKFURT, east, evening)


def test_a_module_field_follows_the_sky_smoothly() -> None:
    field = Field(FRANKFURT, SOUTH, 5000)
    noon = at(2024, 6, 21, 11, 30)
    powers_w = [field.at(noon + s) for s in range(120)]
    assert 3500 < powers_w[0] < 5000
    assert max(abs(b - a) for a, b in itertools.pairwise(powers_w)) < 1


@pytest.mark.parametrize(
    ("kind", "low", "high", "swings"),
    [("clear", 0.95, 1.0, 0), ("overcast", 0.05, 0.7, 0), ("broken", 0.15, 1.07, 5)],
)
def test_clouds_of_a_day_are(kind: str, low: float, high: float, swings: int) -> None:
    clouds = Clouds(3, kind)
    noon = at(2024, 6, 21, 11, 0)
    shares = [clouds.at(noon + s) for s in range(3600)]
    assert low <= min(shares)
    assert max(shares) <= high
    crossings = sum((a < 0.75) != (b < 0.75) for a, b in itertools.pairwise(shares))
    assert crossings >= swings


def test_the_same_seed_makes_the_same_weather_and_another_one_other() -> None:
    times = [at(2024, 6, 21, hour) for hour in range(24)]
    day = [Clouds(1, "broken").at(t) for t in times]
    assert day == [Clouds(1, "broken").at(t) for t in times]
    assert day != [Clouds(2, "broken").at(t) for t in times]


def test_a_pulsing_appliance_steps_on_and_off_until_its_end() -> None:
    hob = Run("hob", 100, 25, 1800, 0, on_s=6, off_s=4)
    assert list(hob.steps()) == [
        (100, 1800),
        (106, -1800),
        (110, 1800),
        (116, -1800),
        (120, 1800),
        (125, -1800),
    ]


def energy_kwh(load: HouseLoad, day: tuple[int, int, int]) -> float:
    return sum(sum(load.at(at(*day) + s)) for s in range(0, 86400, 10)) / 360e3


def test_a_family_uses_what_families_use_and_more_in_winter() -> None:
    load = HouseLoad(5, 4, 200, 1)
    summer_kwh = energy_kwh(load, (2024, 7, 3))
    winter_kwh = energy_kwh(load, (2024, 1, 10))
    assert 6 < summer_kwh < 25
    assert winter_kwh > summer_kwh + 5


def test_load_never_falls_below_the_base_and_returns_to_it() -> None:
    load = HouseLoad(5, 3, 300, 1)
    powers_w = [sum(load.at(at(2024, 7, 3) + s)) for s in range(0, 2 * 86400, 20)]
    assert min(powers_w) >= 299.9
    assert max(powers_w) > 2000


def test_weekends_differ_from_working_days() -> None:
    def oven_runs(days: range) -> int:
        plans = [day_runs(1, date(2024, 7, d), 4) for d in days]
        return sum(run.name.startswith("hob boiling") for plan in plans for run in plan)

    assert oven_runs(range(6, 8)) + oven_runs(range(13, 15)) > oven_runs(range(1, 5))


def test_a_trace_holds_its_load_and_repeats(tmp_path: Path) -> None:
    path = tmp_path / "home.csv.gz"
    rows = "ts_utc,load_w,pv_w\n" + "".join(
        f"2024-06-01T{hour:02}:00:00Z,{100 * hour},{10 * hour}\n" for hour in range(24)
    )
    path.write_bytes(gzip.compress(rows.encode()))
    trace = read_trace(path)
    load = TraceLoad(trace, (1, 1, 2))
    assert load.at(at(2024, 6, 1, 8, 59)) == [200, 200, 400]
    assert load.at(at(2025, 3, 1, 8, 59)) == [200, 200, 400]  # some other day
    assert trace.pv.at(at(2024, 6, 1, 9, 0)) == pytest.approx(85)  # between two middles


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("ts_utc,load_w\n", "no column pv_w", id="column missing"),
        pytest.param(
            "ts_utc,load_w,pv_w\n2024-01-01T00:00:00Z,1,x\n", "line 2", id="cell is no number"
        ),
        pytest.param(
            "ts_utc,load_w,pv_w\n2024-01-02,1,1\n2024-01-01,1,1\n", "does not grow", id="backwards"
        ),
        pytest.param("ts_utc,load_w,pv_w\n2024-01-01,1,1\n", "two rows", id="too short"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_trace(path)


def test_a_script_adds_loads_and_clouds_and_starts_over() -> None:
    kettle = Event(at_s=5, lasts_s=10, load_w=2000, phase=1)
    cloud = Event(at_s=20, lasts_s=10, light=0.4, ramp_s=4)
    script = Script([kettle, cloud], 60, (0, 1, 2))
    assert script.at(4.9) == ([0, 0, 0], 1)
    assert script.at(66) == ([0, 2000, 0], 1)
    assert script.at(25)[1] == pytest.approx(0.4)
    assert script.at(22)[1] == pytest.approx(0.7)  # half way down
    assert script.at(28)[1] == pytest.approx(0.7)  # half way up


@pytest.mark.parametrize(
    ("held", "expected"),
    [(False, [1, 1, 2, 3, 3]), (True, [1, 1, 1, 3, 3])],
    ids=["linear", "held"],
)
def test_a_track_is_followed(held: bool, expected: list[float]) -> None:
    track = Track([(10, 1), (20, 3)], held=held)
    assert [track.at(t) for t in (0, 10, 15, 20, 99)] == expected
