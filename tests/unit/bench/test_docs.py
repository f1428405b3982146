"""The page of the benches lists what they print."""

import importlib
from pathlib import Path

import pytest

from hemma.bench import NAMES, main

PAGES = [Path(__file__).parents[3] / "docs" / name for name in ("benchmarks.md", "control.md")]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_with_a_must_is_on_the_page(name: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    bench = importlib.import_module(f"hemma.bench.{name}")

    assert f"`hemma bench {name}" in text
    assert [key for key in bench.MUST if f"`{key}`" not in text] == []


def test_an_unknown_bench_is_refused_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in NAMES)
