"""The section `metering`: what is right becomes an installation, what is wrong is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from bus.metering import GridSystem
from services.metering.config import MeteringConfig

CALIBRATION: dict[str, Any] = {
    "serial": "HB-0001",
    "calibrated_on": "2026-05-04",
    "reference": "reference meter 17, certificate 4711",
    "operator": "A. Tester",
    "channels": [
        {"name": "u1", "gain_error_pct": 0.4},
        {
            "name": "i1",
            "phase_error_deg": 0.2,
            "curve": [
                {"load_pct": 5, "ratio_error_pct": 0.2, "phase_error_deg": 0.25},
                {"load_pct": 100, "ratio_error_pct": 0.1, "phase_error_deg": 0.1},
            ],
        },
    ],
}


def test_an_empty_section_is_a_house_with_100_a_transformers() -> None:
    meter = MeteringConfig().metrology()

    assert meter.system is GridSystem.THREE_PHASE_FOUR_WIRE
    assert meter.ct.ratio == 2000
    assert meter.nominal_voltage_v == 230


def test_a_calibration_reaches_its_channels() -> None:
    meter = MeteringConfig.model_validate({"calibration": CALIBRATION}).metrology()

    assert abs(meter.channels["u1"].correction(50)) == pytest.approx(1 / 1.004)
    assert abs(meter.channels["i1"].correction(50, 5)) == pytest.approx(1 / 1.002)
    assert "i2" not in meter.channels


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        pytest.param({"colour": "red"}, "Extra inputs", id="an unknown key"),
        pytest.param({"ct": {"kind": "external", "primary_a": 50}}, "N of 2", id="50 A primary"),
        pytest.param({"ct": {"kind": "internal", "maximum_a": 80}}, "63 A", id="80 A internal"),
        pytest.param({"ct": {"kind": "magic"}}, "magic", id="an unknown transformer"),
        pytest.param({"grid_system": "2P3W"}, "1P2W", id="an unknown grid system"),
        pytest.param({"nominal_voltage_v": 400}, "100 to 240", id="400 V to neutral"),
        pytest.param(
            {"grid_system": "3P3W", "nominal_voltage_v": 230},
            "346 to 415",
            id="230 V between lines",
        ),
        pytest.param({"source": {"kind": "modbus", "model": "SDM630"}}, "exactly one", id="no way"),
        pytest.param(
            {
                "source": {
                    "kind": "modbus",
                    "model": "SDM630",
                    "host": "10.0.0.2",
                    "serial_port": "/dev/ttyS1",
                }
            },
            "exactly one",
            id="two ways",
        ),
        pytest.param(
            {"source": {"kind": "modbus", "model": "EM24", "host": "x"}}, "DTSU666-H", id="no table"
        ),
        pytest.param(
            {
                "source": {
                    "kind": "modbus",
                    "model": "SDM630",
                    "serial_port": "/dev/ttyS1",
                    "baud_rate": 9800,
                }
            },
            "9600, 19200 or 115200",
            id="9800 baud",
        ),
        pytest.param({"netting_s": 0.1}, "0.2", id="netting within a window"),
        pytest.param({"nominal_frequency_hz": 55}, "50 or 60", id="55 Hz nominal"),
        pytest.param(
            {"calibration": CALIBRATION | {"channels": [{"name": "u1", "gain_error_pct": 6}]}},
            "less than or equal to 5",
            id="gain beyond 5 %",
        ),
        pytest.param(
            {"calibration": CALIBRATION | {"channels": [{"name": "u12"}]}},
            "no channel u12",
            id="a channel of another system",
        ),
        pytest.param(
            {"calibration": CALIBRATION | {"channels": [{"name": "u1"}, {"name": "u1"}]}},
            "twice",
            id="a channel twice",
        ),
        pytest.param(
            {
                "calibration": CALIBRATION
                | {"channels": [CALIBRATION["channels"][1] | {"name": "u2"}]}
            },
            "no CT curve",
            id="a curve of a voltage",
        ),
        pytest.param(
            {"calibration": {"channels": []}},
            "serial",
            id="a calibration by nobody",
        ),
    ],
)
def test_what_cannot_be_is_refused(section: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MeteringConfig.model_validate(section)
