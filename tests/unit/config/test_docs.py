from typing import Annotated, Literal

from pydantic import Field

from bus.site import PlantSettings
from bus.units import CurrentA, Slug
from hemma.generate_config_docs import config_docs
from runtime.config import BrokerConfig, ConfigSection
from services.site.config import InitialSettings


class Serial(ConfigSection):
    kind: Literal["serial"]
    baud_rate: Literal[9600, 19200] = 9600
    """Speed of the line | of all its units."""


class Tcp(ConfigSection):
    kind: Literal["tcp"]
    port: int = 502


class Unit(ConfigSection):
    """One inverter."""

    link: Annotated[Serial | Tcp, Field(discriminator="kind")]
    """How it is reached."""
    fuse_a: Annotated[CurrentA, Field(gt=0)] | None = None
    """Its fuse; None:
    not stated."""


class Inverters(ConfigSection):
    """The inverters."""

    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=3)]
    gains: dict[Slug, Annotated[float, Field(ge=0.5, lt=2)]] = Field(default_factory=dict)
    retries: int | Literal["never"] = 3
    quick: bool = False
    window_s: tuple[float, float] = (0.2, 1)
    lines: dict[str, Unit] = Field(default_factory=dict)


def rows(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(("#", "| `"))]


def test_every_key_stands_with_what_is_permitted_its_default_and_its_meaning() -> None:
    page = rows(config_docs({"inverters": Inverters}))
    assert "### `inverters.lines.NAME`" in page
    assert page[:17] == [
        "# site.yaml",
        "## `inverters`",
        "| `units` | list ≥ 1, ≤ 3 of: group of keys | required |  |",
        "| `gains` | names, each: number ≥ 0.5, < 2 | - |  |",
        "| `retries` | whole number or `never` | `3` |  |",
        "| `quick` | `true`, `false` | `false` |  |",
        "| `window_s` | list ≥ 2, ≤ 2 of: number s | `[0.2, 1]` |  |",
        "| `lines` | names, each: group of keys | - |  |",
        "### `inverters.units[]`",
        "| `link` | group of keys | required | How it is reached. |",
        "| `fuse_a` | number > 0, ≤ 10000 A | none | Its fuse; None: not stated. |",
        "### `inverters.units[].link`, `kind: serial`",
        "| `kind` | `serial` | required |  |",
        r"| `baud_rate` | `9600`, `19200` | `9600` | Speed of the line \| of all its units. |",
        "### `inverters.units[].link`, `kind: tcp`",
        "| `kind` | `tcp` | required |  |",
        "| `port` | whole number | `502` |  |",
    ]


def test_every_key_of_the_shared_sections_has_a_meaning() -> None:
    page = rows(
        config_docs({"broker": BrokerConfig, "plant": PlantSettings, "settings": InitialSettings})
    )
    assert [row for row in page if row.endswith("|  |")] == []
    assert "| `feed-in` | group of keys | - | The grid operator's limit on feed-in. |" in page
    assert "### `settings.feed-in`" in page
