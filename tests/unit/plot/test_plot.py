"""What is drawn is what the run did."""

from pathlib import Path

import pytest
from rich.console import Console

from bus.policy import Reason
from hemma.plot import main, scenes
from hemma.plot.picture import save
from hemma.plot.scenes import Run
from hemma.plot.terminal import WIDTH, blocks, rules, table


@pytest.fixture(scope="module")
def run() -> Run:
    return scenes.control(3)


def between(run: Run, from_s: float, to_s: float, series: list[float]) -> list[float]:
    return [value for at, value in zip(run.at, series, strict=True) if from_s <= at < to_s]


def test_the_scene_holds_no_export_but_for_moments_and_falls_back_without_a_meter(
    run: Run,
) -> None:
    assert min(between(run, 42.0, 54.0, run.grid_w)) > -150.0
    assert max(between(run, 108.0, 110.0, run.pv_w)) < 200.0
    silent = [
        at for at, reason in zip(run.at, run.reasons, strict=True) if reason is Reason.METER_SILENT
    ]
    assert 104.0 < min(silent) < 106.0
    assert 109.0 < max(silent) < 111.0


def test_powers_balance_at_every_moment(run: Run) -> None:
    for load_w, grid_w, pv_w, battery_w in zip(
        run.load_w, run.grid_w, run.pv_w, run.battery_w, strict=True
    ):
        assert load_w == pytest.approx(grid_w + pv_w + battery_w, abs=1e-6)


def test_a_line_of_blocks_rises_with_its_figures() -> None:
    line = blocks([float(figure) for figure in range(10 * WIDTH)]).plain
    assert len(line) == WIDTH
    assert list(line) == sorted(line)
    assert line[0] == " "
    assert line[-1] == "█"


def test_the_strip_of_rules_says_what_its_letters_mean(run: Run) -> None:
    letters, meaning = rules(run).plain.splitlines()
    assert len(letters) == WIDTH
    assert set(letters) >= {"f", "m"}
    assert "m meter-silent" in meaning


def test_the_table_fits_a_terminal_and_the_picture_is_one(run: Run, tmp_path: Path) -> None:
    console = Console(width=120, record=True)
    console.print(table(run))
    assert "AC limits" in console.export_text()
    save(run, tmp_path / "pictures" / "control.png")
    assert (tmp_path / "pictures" / "control.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_scene_is_refused() -> None:
    with pytest.raises(SystemExit) as ending:
        main(["night"])
    assert ending.value.code == 2
