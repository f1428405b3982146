"""A three-wire house measured by a Modbus meter, on RS485 or on TCP; one inverter behind TCP."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from hemma.bench.house import REPOSITORY, House, running_house

pytestmark = pytest.mark.house

HERE = Path(__file__).parent
SCENARIO = REPOSITORY / "sim" / "scenarios" / "mixed_links.yaml"


SOURCES = {
    "SDM630 on RS485": "{kind: modbus, model: SDM630, serial_port: $rs485_2, baud_rate: 9600}",
    "DTSU666-H on TCP": "{kind: modbus, model: DTSU666-H, host: 127.0.0.1, port: $meter_port}",
}


@pytest.fixture(scope="module", params=SOURCES)
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("mixed")
    site = folder / "site.template.yaml"
    template = (HERE / "site.mixed.yaml").read_text()
    site.write_text(template.replace("SOURCE", SOURCES[request.param]))
    with running_house(folder, SCENARIO, site) as running:
        yield running


def test_a_modbus_meter_tells_the_grid_power(house: House) -> None:
    def agrees() -> bool:
        told_w = house.status()["grid"]["power_w"]
        return told_w is not None and abs(told_w - house.simulator.grid_power_w) < 150

    house.wait_until(agrees, 30, "the meter's figure is the simulated grid power")


def test_the_limit_is_held_on_a_modbus_meter_too(house: House) -> None:
    for unit in ("inv1", "inv2"):
        house.simulator.order("soc", unit=unit, soc_pct=100)
    house.wait_until(
        lambda: -2150 < house.simulator.grid_power_w < -500, 60, "what may be fed in is fed in"
    )


def test_the_status_is_what_its_schema_says(house: House) -> None:
    schema = json.loads((REPOSITORY / "docs" / "status.schema.json").read_text())
    status = house.status()
    jsonschema.validate(status, schema)
    assert set(status["setpoints"]) == {
        f"{unit}.{quantity}" for unit in ("inv1", "inv2") for quantity in ("battery", "ac_limit")
    }
