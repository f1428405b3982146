from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import BaseModel, Field, model_validator

from bus.units import CurrentA, Slug, Text
from runtime.config import BrokerConfig, ConfigError, ConfigSection, load


class SerialLink(ConfigSection):
    kind: Literal["serial"]
    device: Text
    """Path of the serial port."""
    baud_rate: Literal[9600, 19200, 115200] = 9600


class TcpLink(ConfigSection):
    kind: Literal["tcp"]
    host: Text
    """Name or address of the inverter's network module."""


class Unit(ConfigSection):
    inverter_id: Slug
    """What the house calls it."""
    unit_id: Annotated[int, Field(ge=1, le=247, strict=True)]
    """Modbus address on its line."""
    baud_rate: Literal[9600, 19200, 115200] = 9600


class Inverters(ConfigSection):
    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=3)]
    """The inverters."""
    feed_in_limit: Annotated[float, Field(ge=0)] | None = None
    retries: int | Literal["never"] = 3
    link: Annotated[SerialLink | TcpLink, Field(discriminator="kind")] | None = None
    names: dict[Slug, CurrentA] = Field(default_factory=dict)
    rooms: dict[Slug, TcpLink] = Field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0
    on: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


SECTIONS: dict[str, type[BaseModel]] = {"broker": BrokerConfig, "inverters": Inverters}

GOOD = """\
# my house
broker:
  port: 1884
inverters:
  units:
    - inverter_id: roof
      unit_id: 1
    - {inverter_id: barn, unit_id: 0x0f, baud_rate: 19200}
  link:
    kind: serial
    device: /dev/ttyUSB0
  names: {no: 1, n: 1e1, 0x: 3}
  low: -.5
"""


def load_text(tmp_path: Path, text: str | bytes) -> dict[str, BaseModel]:
    file = tmp_path / "site.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, SECTIONS)


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_good_file_becomes_models(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD)

    broker, inverters = loaded["broker"], loaded["inverters"]
    assert isinstance(broker, BrokerConfig)
    assert isinstance(inverters, Inverters)
    assert (broker.host, broker.port) == ("127.0.0.1", 1884)
    assert [(unit.inverter_id, unit.unit_id) for unit in inverters.units] == [
        ("roof", 1),
        ("barn", 15),
    ]
    assert inverters.link == SerialLink(kind="serial", device="/dev/ttyUSB0")
    assert inverters.names == {"no": 1.0, "n": 10.0, "0x": 3.0}
    assert inverters.low == -0.5


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty file"),
        pytest.param("broker:\n", id="empty section, all in it commented out"),
        pytest.param("# only a comment\n", id="comment only"),
        pytest.param("\ufeffbroker: {}\n", id="byte order mark"),
    ],
)
def test_a_section_without_required_keys_may_be_left_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    assert load(file, {"broker": BrokerConfig}) == {"broker": BrokerConfig()}


UNITS = "inverters:\n  units: [{inverter_id: roof, unit_id: 1}]\n"

WRONG = [
    pytest.param(
        "inverters:\n  units:\n    - inverter_id: roof\n      unit_id: 1\n      baud_rate: 9800\n",
        ["site.yaml:5 inverters.units[0].baud_rate: 9800 is not one of 9600, 19200, 115200"],
        id="not one of the permitted",
    ),
    pytest.param(
        UNITS + "  feed_in_limt: 5\n",
        ["site.yaml:3 inverters.feed_in_limt: unknown key; did you mean `feed_in_limit`?"],
        id="near miss",
    ),
    pytest.param(
        "inverters:\n  units:\n    - inverter_id: roof\n      unitid: 1\n",
        ["site.yaml:4 inverters.units[0].unitid: unknown key; did you mean `unit_id`?"],
        id="near miss of a required key is one problem, not two",
    ),
    pytest.param(
        "broker: {}\n\ninverters:\n  low: 0.5\n  units:\n\n    - unit_id: 1\n",
        [
            "site.yaml:7 inverters.units[0].inverter_id: is missing: What the house calls it",
        ],
        id="missing, at the line of the parent",
    ),
    pytest.param(
        "broker: {}\n",
        ["site.yaml:1 inverters.units: is missing: The inverters"],
        id="required section missing",
    ),
    pytest.param(
        UNITS + "  zebra: 1\n",
        [
            (
                "site.yaml:3 inverters.zebra: unknown key; known here: units, feed_in_limit, "
                "retries, link, names, rooms, low, high, on"
            )
        ],
        id="unknown and not near anything",
    ),
    pytest.param(
        UNITS + "brokr: {}\n",
        ["site.yaml:3 brokr: unknown key; did you mean `broker`?"],
        id="unknown section",
    ),
    pytest.param(
        UNITS + "  high: 1\n  low: 0\n  high: 2\n",
        ["site.yaml:5 inverters.high: is given twice, first in line 3"],
        id="duplicate key",
    ),
    pytest.param(
        UNITS + "inverters: {}\n",
        ["site.yaml:3 inverters: is given twice, first in line 1"],
        id="duplicate section",
    ),
    pytest.param(
        UNITS + "  low: 2\n",
        ["site.yaml:1 inverters: low must be below high"],
        id="keys that do not go together, at the section's line",
    ),
    pytest.param(
        UNITS + "  link:\n    kind: serail\n",
        ["site.yaml:4 inverters.link.kind: 'serail' is not one of serial, tcp"],
        id="unknown kind",
    ),
    pytest.param(
        UNITS + "  link:\n    device: x\n",
        ["site.yaml:3 inverters.link.kind: is missing: it says which kind of entry this is"],
        id="kind missing",
    ),
    pytest.param(
        UNITS + "  link:\n    kind: tcp\n    hosst: x\n    device: y\n",
        [
            "site.yaml:5 inverters.link.hosst: unknown key; did you mean `host`?",
            "site.yaml:6 inverters.link.device: unknown key; known here: kind, host",
        ],
        id="inside a kind, only that kind's keys count",
    ),
    pytest.param(
        UNITS + "  rooms: {attic: {kind: tcp, hots: x}}\n",
        ["site.yaml:3 inverters.rooms.attic.hots: unknown key; did you mean `host`?"],
        id="near miss behind a free name",
    ),
    pytest.param(
        UNITS + "  retries: often\n",
        [
            (
                "site.yaml:3 inverters.retries: 'often' is not a whole number and "
                "'often' is not one of never"
            )
        ],
        id="two forms permitted, neither fits",
    ),
    pytest.param(
        UNITS + "  feed_in_limit: -3\n  on: yes\n  low:\n  names: {Über: 1}\n",
        [
            "site.yaml:3 inverters.feed_in_limit: -3 is too small: at least 0",
            "site.yaml:4 inverters.on: 'yes' is neither true nor false",
            "site.yaml:5 inverters.low: an empty entry is not a number",
            (
                "site.yaml:6 inverters.names.Über: 'Über' does not fit the pattern "
                "^[a-z0-9][a-z0-9_-]{0,31}$"
            ),
        ],
        id="all at once, in the file's order",
    ),
    pytest.param(
        "inverters:\n  units: [" + ", ".join(["{inverter_id: a, unit_id: 1}"] * 4) + "]\n",
        ["site.yaml:2 inverters.units: 4 entries are too many: at most 3"],
        id="a fourth inverter",
    ),
    pytest.param(
        "inverters:\n  units: roof\n",
        ["site.yaml:2 inverters.units: 'roof' is not a list"],
        id="not a list",
    ),
    pytest.param(
        UNITS + "broker: localhost\n",
        ["site.yaml:3 broker: 'localhost' is not a group of keys"],
        id="not a group",
    ),
    pytest.param(
        UNITS + "broker: {host: 12, port: '1883'}\n",
        [
            "site.yaml:3 broker.host: 12 is not a text; a number as a text stands in quotes",
            "site.yaml:3 broker.port: '1883' is not a whole number",
        ],
        id="number for text, text for number",
    ),
    pytest.param(
        UNITS + "broker: {host: !!python/object/apply:os.system [ls], port: 99999}\n",
        [
            (
                "site.yaml:3 broker.host: aliases (*) and tags (!) are not read here; "
                "write the entry out"
            ),
            "site.yaml:3 broker.port: 99999 is too large: at most 65535",
        ],
        id="python tag",
    ),
    pytest.param(
        UNITS + "  low: &low 0\n  high: *low\n",
        [
            (
                "site.yaml:4 inverters.high: aliases (*) and tags (!) are not read here; "
                "write the entry out"
            )
        ],
        id="alias",
    ),
    pytest.param(
        UNITS + "  ? [a, b]\n  : 1\n",
        ["site.yaml:3 inverters: a key must be a plain word"],
        id="a list as a key",
    ),
    pytest.param(
        "- broker\n- inverters\n",
        ["site.yaml:1 is not a list of sections: lines such as `broker:` are expected"],
        id="a list in place of sections",
    ),
    pytest.param(
        "broker:\n  host: [1, 2\n  port: 3\n",
        [
            (
                "site.yaml:3 is not YAML: while parsing a flow sequence, expected ',' or ']', "
                "but got ':'"
            )
        ],
        id="bracket not closed",
    ),
    pytest.param(
        "broker:\n\thost: x\n",
        [
            (
                "site.yaml:2 is not YAML: while scanning for the next token, found character '\\t' "
                "that cannot start any token"
            )
        ],
        id="tab",
    ),
    pytest.param(
        "broker: {}\n--- \ninverters: {}\n",
        [
            (
                "site.yaml:2 is not YAML: expected a single document in the stream, "
                "but found another document"
            )
        ],
        id="two documents",
    ),
    pytest.param(
        "broker:\n  host: \x07\n",
        ["site.yaml:2 is not YAML: special characters are not allowed"],
        id="bell",
    ),
    pytest.param(
        b"broker:\n  host: r\xe4tt\n",
        ["site.yaml:2 is not UTF-8: byte 0xe4 in this line"],
        id="latin-1",
    ),
    pytest.param(
        "broker: {host: 12:30, credentials_dir: 010}\n" + UNITS,
        [
            "site.yaml:1 broker.credentials_dir: 10 is not a path",
        ],
        id="12:30 is a text, as everywhere but in YAML 1.1",
    ),
    pytest.param(
        "a: " + "[" * 5000,
        ["site.yaml:1 is not YAML: nested more than 50 deep"],
        id="deep",
    ),
    pytest.param(
        'a: "\\UFFFFFFFF"',
        ["site.yaml is not YAML: an escape beyond Unicode"],
        id="escape beyond Unicode",
    ),
    pytest.param("a" * 300_000, ["site.yaml is longer than 262144 bytes"], id="too long"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_said_with_line_key_and_remedy(
    tmp_path: Path, text: str | bytes, said: list[str]
) -> None:
    assert problems(tmp_path, text) == said


def test_a_billion_laughs_are_not_heard(tmp_path: Path) -> None:
    laughs = "a0: &a0 [ha, ha]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40)
    )
    assert any("a39[9]: aliases" in line for line in problems(tmp_path, laughs))


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent.yaml", "No such file or directory"), (".", "Is a directory")],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name, SECTIONS)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (None, "")
    assert problem.text == f"cannot be read: {said}"


def test_a_process_ignores_the_sections_of_others_by_name(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("sim: {houses: 2}\nbrokr: {}\nwires: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {"broker": BrokerConfig}, ignore_other_sections=frozenset({"sim"}))
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (2, "brokr"),
        (3, "wires"),
    ]


def test_a_process_that_ignores_all_others_still_finds_its_own_section_misspelt(
    tmp_path: Path,
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("sim: {houses: 2}\nbrokr: {port: 1}\n")
    with pytest.raises(ConfigError, match=r"site\.yaml:2 brokr: unknown key; did you mean `broker"):
        load(file, {"broker": BrokerConfig}, ignore_other_sections=True)

    file.write_text("sim: {houses: 2}\nbroker: {port: 1}\nbrokers: []\n")
    assert load(file, {"broker": BrokerConfig}, ignore_other_sections=True) == {
        "broker": BrokerConfig(port=1)
    }
