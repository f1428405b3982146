"""The section `inverters`: what is refused, and with which words."""

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.modbus.rtu import SerialSettings
from runtime.modbus.tcp import TcpSettings
from services.inverters.config import InvertersConfig


def unit(name: str, unit_id: int = 1) -> dict[str, Any]:
    return {"id": name, "unit_id": unit_id, "rated_power_w": 8000.0}


def plant() -> dict[str, Any]:
    line = {"port": "/dev/serial/by-id/usb-rs485", "baud": 19200, "pause_s": 0.02}
    return {
        "links": [
            {"serial": line, "units": [unit("inv1", 1), unit("inv2", 2)]},
            {"tcp": {"host": "192.0.2.7"}, "units": [unit("inv3", 0)]},
        ]
    }


def test_a_plant_of_a_line_and_a_network_device_is_taken() -> None:
    config = InvertersConfig.model_validate(plant())
    assert [each.id for each in config.units] == ["inv1", "inv2", "inv3"]
    line, network = (link.settings() for link in config.links)
    assert line == SerialSettings("/dev/serial/by-id/usb-rs485", 19200, "N", 1, 0.02)
    assert network == TcpSettings("192.0.2.7", 502)
    assert config.failsafe_limit_w == 0


@pytest.mark.parametrize(
    ("path", "wrong", "complaint"),
    [
        pytest.param(("links", 0, "serial", "baud"), 9800, "9600, 19200 or 115200", id="baud"),
        pytest.param(("links", 0, "units", 1, "id"), "inv1", "id inv1 is used twice", id="id"),
        pytest.param(("links", 0, "units", 1, "unit_id"), 1, "unit_id 1 is used twice", id="unit"),
        pytest.param(("links", 0, "units", 1, "unit_id"), 0, "addresses everybody", id="broadcast"),
        pytest.param(("links", 0, "units", 1, "unit_id"), 248, "247", id="no such unit"),
        pytest.param(
            ("links", 0, "tcp"), {"host": "a"}, "exactly one of serial and tcp", id="both"
        ),
        pytest.param(("links", 1, "tcp"), None, "exactly one of serial and tcp", id="neither"),
        pytest.param(("links", 1, "units"), [], "at least 1", id="nobody there"),
        pytest.param(
            ("links", 1, "units"),
            [unit("inv3", 3), unit("inv4", 4)],
            "remove inv4",
            id="a fourth",
        ),
        pytest.param(("links", 0, "units", 0, "rated_power_w"), 0, "greater than 0", id="rating"),
        pytest.param(("links", 0, "units", 0, "phases"), ["L1", "L1"], "must differ", id="phases"),
        pytest.param(("links", 0, "units", 0, "model"), "sunny", "sun2000", id="model"),
        pytest.param(("failsafe_limit_w",), -1, "greater than or equal to 0", id="failsafe"),
        pytest.param(("failsafe_limt_w",), 1, "Extra inputs", id="unknown key"),
        pytest.param(
            ("links", 1, "tcp", "tls"), {"key_file": "k.pem"}, "belong together", id="key alone"
        ),
    ],
)
def test_mistakes_are_refused(path: tuple[str | int, ...], wrong: object, complaint: str) -> None:
    given = copy.deepcopy(plant())
    inner: Any = given
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    with pytest.raises(ValidationError, match=complaint):
        InvertersConfig.model_validate(given)


def test_one_place_is_one_link() -> None:
    given = plant()
    given["links"][1] = copy.deepcopy(given["links"][0])
    given["links"][0]["units"] = [unit("inv1")]
    given["links"][1]["units"] = [unit("inv2")]
    with pytest.raises(ValidationError, match="put all its units in one link"):
        InvertersConfig.model_validate(given)


def test_a_missing_certificate_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    given = plant()
    given["links"][1]["tcp"]["tls"] = {"ca_file": str(tmp_path / "none.pem")}
    config = InvertersConfig.model_validate(given)
    with pytest.raises(OSError, match="No such file"):
        config.links[1].settings()
