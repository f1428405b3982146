"""Modbus meters at the grid connection point: Huawei DTSU666-H and Eastron SDM630.

Both show import as positive power (a DTSU666-H can be wired the other way round: `inverted`).

Sources: Eastron SDM630 Modbus protocol (input registers, function 04, IEEE 754, high word first);
DTSU666-H addresses as public readers of it list them (function 03).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sim.grid import PHASES, SQRT3, Grid
from sim.modbus import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, READ_HOLDING, READ_INPUT, ModbusError
from sim.registers import Image, Physical, Table


@dataclass(frozen=True, slots=True)
class MeterModel:
    """Registers of one kind of meter, and the function code that reads them."""

    registers: Table
    function: int


MODELS = {
    "DTSU666-H": MeterModel(Table.load("dtsu666h.csv"), READ_HOLDING),
    "SDM630": MeterModel(Table.load("sdm630.csv"), READ_INPUT),
}


class Meter:
    """One meter as its Modbus clients see it.

    Args:
        model: A key of MODELS.
        period_s: Its measuring period; between two the registers stand still.
        inverted: Export counts as positive.
    """

    def __init__(self, model: str, *, period_s: float = 0.2, inverted: bool = False) -> None:
        self.frozen = False
        self.jump_w = 0.0
        """Fault: this much is added to what is measured."""
        self._model = MODELS[model]
        self.image = Image(self._model.registers)
        self._period_s = period_s
        self._sign = -1.0 if inverted else 1.0
        self._refresh_s = 0.0

    def read(self, function: int, address: int, count: int) -> bytes:
        """The model's own function code only."""
        if function != self._model.function:
            raise ModbusError(ILLEGAL_FUNCTION)
        return self.image.read(address, count)

    def write(self, address: int, words: Sequence[int]) -> None:
        """No register here can be written."""
        del address, words
        raise ModbusError(ILLEGAL_ADDRESS)

    def objects(self) -> dict[int, bytes]:
        """Function 2Bh is not served."""
        return {}

    def tick(self, now_s: float, grid: Grid) -> None:
        """Measure, when it is time to."""
        if now_s < self._refresh_s or self.frozen:
            return
        self._refresh_s = now_s + self._period_s
        for name, content in self._measured(grid).items():
            if name in self.image.table.by_name:
                self.image.put(name, content)

    def _measured(self, grid: Grid) -> dict[str, Physical]:
        power_w = [self._sign * (p + self.jump_w / PHASES) for p in grid.power_w]
        reactive_var = [self._sign * q for q in grid.reactive_var]
        apparent_va = [math.hypot(p, q) for p, q in zip(power_w, reactive_var, strict=True)]
        total_va = math.hypot(sum(power_w), sum(reactive_var))
        line_v = grid.voltage_v * SQRT3
        energies_kwh = (grid.import_wh / 1000, grid.export_wh / 1000)
        imported_kwh, exported_kwh = energies_kwh if self._sign > 0 else energies_kwh[::-1]
        shown: dict[str, Physical] = {
            "voltage_mean_v": grid.voltage_v,
            "line_mean_v": line_v,
            "frequency_hz": grid.frequency_hz,
            "power_w": sum(power_w),
            "reactive_var": sum(reactive_var),
            "apparent_va": total_va,
            "power_factor": sum(power_w) / total_va if total_va else 1.0,
            "import_kwh": imported_kwh,
            "export_kwh": exported_kwh,
        }
        for i in range(PHASES):
            shown |= {
                f"voltage_{i + 1}_v": grid.voltage_v,
                f"line_{i + 1}_v": line_v,
                f"current_{i + 1}_a": apparent_va[i] / grid.voltage_v,
                f"power_{i + 1}_w": power_w[i],
                f"reactive_{i + 1}_var": reactive_var[i],
                f"apparent_{i + 1}_va": apparent_va[i],
            }
        return shown
