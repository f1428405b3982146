"""Scenario files: what is said, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sim.app import EXIT_BAD_CONFIGURATION, SCENARIOS, main
from sim.scenario import load_scenario
from sim.sections import ScenarioError

MINIMAL = """
name: small
inverters:
  - {name: inv1, model: SUN2000-5KTL, rated_w: 5000, unit: 1}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    return [problem.removeprefix(f"{path}:") for problem in refused.value.problems]


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_packaged_scenario_loads(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.inverters
    assert scenario.start_time(datetime.now(UTC)).tzinfo


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        "name: bad\n"
        "hause: {}\n"
        "house: {latitude_deg: 99, grid_system: two-phase}\n"
        "inverters:\n"
        "  - {name: inv1, rated_w: much, unit: 1, fields: 3}\n",
    )
    assert told == [
        "2: hause: unknown key; did you mean house?",
        "3: house.latitude_deg: must be -90 to 90; is 99",
        (
            "3: house.grid_system: must be one of single-phase, three-phase three-wire,"
            " three-phase four-wire; is two-phase"
        ),
        "5: inverters[0].rated_w: must be a number; is much",
        "5: inverters[0].fields: must be a list",
        "5: inverters[0].model: is missing",
    ]


@pytest.mark.parametrize(
    ("addition", "reason"),
    [
        pytest.param("meters: [{name: inv1, model: SDM630, unit: 2}]", "used twice", id="name"),
        pytest.param("meters: [{name: m, model: SDM630, unit: 2, on: x}]", "no line", id="place"),
        pytest.param("ct: {order: [1, 1, 3]}", "each of 1, 2 and 3 once", id="order"),
        pytest.param("load: {trace: nowhere.csv}", "no file", id="trace"),
        pytest.param("house: {start: noonish}", "must be now", id="start"),
        pytest.param("house: {grid_system: single-phase}", "L1 only", id="phases"),
        pytest.param("load: {phase_shares: [0, 0, 0]}", "three shares", id="shares"),
        pytest.param("name: twice", "given twice", id="key twice"),
        pytest.param("ct: {bits: 16.5}", "must be a whole number", id="no whole number"),
        pytest.param("ct: {port: true}", "must be a whole number", id="true is no number"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, addition: str, reason: str) -> None:
    assert any(reason in problem for problem in problems(tmp_path, MINIMAL + addition))


def test_two_units_of_one_id_on_a_line_are_refused(tmp_path: Path) -> None:
    text = "name: n\nlines: [{name: l}]\ninverters:\n" + "".join(
        f"  - {{name: i{n}, model: S, rated_w: 5000, unit: 4, on: l}}\n" for n in range(2)
    )
    assert problems(tmp_path, text) == [" i1.unit: 4 is taken on l"]


@pytest.mark.parametrize("text", ["", "a: [", "- list\n"], ids=["empty", "no YAML", "a list"])
def test_what_is_no_scenario_is_refused(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("now", "2024-03-05T10:00:00+00:00"),
        ("12:30", "2024-03-05T11:30:00+00:00"),
        ("2024-06-01T12:00:00+02:00", "2024-06-01T10:00:00+00:00"),
        ("2024-06-01T12:00:00", "2024-06-01T11:00:00+00:00"),
    ],
)
def test_house_time_starts_at(tmp_path: Path, start: str, expected: str) -> None:
    path = tmp_path / "house.yaml"
    path.write_text(MINIMAL + f"house: {{start: '{start}', utc_offset_h: 1}}\n")
    begun = load_scenario(path).start_time(datetime(2024, 3, 5, 10, tzinfo=UTC))
    assert begun.isoformat() == expected


def test_the_program_ends_with_78_for_a_bad_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\ninverters: 3\n")
    code = main(["--scenario", str(path), "--state-dir", str(tmp_path / "state")])
    assert code == EXIT_BAD_CONFIGURATION
    assert "bad.yaml:2: inverters: must be a list" in capsys.readouterr().err
