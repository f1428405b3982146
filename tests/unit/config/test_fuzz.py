"""Whatever is in the file: a configuration or a ConfigError, never another exception."""

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bus.site import PlantSettings
from runtime.config import BrokerConfig, ConfigError, Problem, load
from services.site.config import InitialSettings

SECTIONS: dict[str, type[BaseModel]] = {
    "broker": BrokerConfig,
    "plant": PlantSettings,
    "settings": InitialSettings,
}

GOOD = """\
broker: {port: 1884}
plant:
  name: "At \\u0068ome"
  serial: hemma-1
  rated_pv_power_w: 12e3
settings:
  feed-in:
    mode: watts
    limit_w: 3000  # by the grid operator
  ess:
    reserve_soc_pct: 10
"""

PIECES = st.sampled_from(
    [
        *"\n\n\n  --[]{}:,&*!|>%@`'\"#?~<=\\\t\0\x85",
        *("\n  ", "\n- ", ": ", "...", "---", "<<", "{}", "%YAML 99.9", "é", "\ufeff", "\ud7ff"),
        *("broker", "plant", "settings", "port", "feed-in", "limit_w", "name", "mode", "watts"),
        *("1e999", "0x", "-", "9" * 5000, "\\UFFFFFFFF", "\\ud800", "!!python/name:os ", "!!int "),
    ]
)
KEYS = st.sampled_from(["broker", "plant", "settings", "port", "name", "feed-in", "ess", "mode"])
ENTRIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.text(max_size=5) | st.integers(), inner, max_size=5)
    ),
    max_leaves=20,
)


def problems(content: bytes) -> tuple[Problem, ...]:
    """What is wrong; nothing if it loads. Any other exception fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "site.yaml"
        file.write_bytes(content)
        try:
            assert set(load(file, SECTIONS)) == set(SECTIONS)
        except ConfigError as error:
            str(error).encode()  # it can be printed
            return error.problems
    return ()


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    assert problems(content)  # the plant's serial is missing at least


@settings(max_examples=250, deadline=None)
@given(pieces=st.lists(PIECES, max_size=25))
def test_any_heap_of_yaml_punctuation(pieces: list[str]) -> None:
    assert problems("".join(pieces).encode())


@settings(max_examples=150, deadline=None)
@given(entries=ENTRIES)
def test_any_well_formed_yaml(entries: object) -> None:
    content = yaml.safe_dump(entries, allow_unicode=True).encode("utf-8", "surrogatepass")
    assert isinstance(problems(content), tuple)


@settings(max_examples=250, deadline=None)
@given(
    cut=st.integers(0, len(GOOD)),
    length=st.integers(0, 20),
    pieces=st.lists(PIECES, max_size=4),
)
def test_any_slip_in_a_good_file(cut: int, length: int, pieces: list[str]) -> None:
    slipped = GOOD[:cut] + "".join(pieces) + GOOD[cut + length :]
    for problem in problems(slipped.encode()):
        assert problem.line is None or 1 <= problem.line <= len(slipped.splitlines()) + 1


def test_the_file_that_slips_are_made_in_is_good() -> None:
    assert problems(GOOD.encode()) == ()
