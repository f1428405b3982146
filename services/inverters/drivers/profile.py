"""A family of inverters as data: its registers by role, and how its two actuators work.

Roles are the names of the table's rows; a row that is missing is a figure that the device does not
have. Another family is another table and another `Profile`, not other code.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from io import StringIO

from runtime.modbus.registers import RegisterTable


@dataclass(frozen=True)
class AcLimit:
    """The register that bounds the AC power of PV and battery together, without needing a meter."""

    register: str
    of_rating: bool = False
    """In per cent of the rating instead of W."""


@dataclass(frozen=True)
class ForcedBattery:
    """Registers that make the battery charge or discharge with a given power."""

    command: str
    stop: int
    charge: int
    discharge: int
    charge_power: str
    discharge_power: str
    discharge_includes_pv: bool
    """The discharge power is the AC output of PV and battery together, PV first: to get B from the
    battery, B + PV is written."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Further registers as they must stand before the command, e.g. "by duration", minutes."""
    on_reissue: tuple[str, ...] = ()
    """Those of `settings` that are written again with each repeated command."""
    reissue_s: float = 30.0
    """The command is repeated so often while leased; the device's own timer runs longer."""
    follow_s: float = 40.0
    """A step has long been followed by then."""


@dataclass(frozen=True)
class Alarm:
    """One alarm that the device can raise."""

    register: str
    bit: int | None
    """None: the register holds the alarm's number itself."""
    number: str
    name: str
    severity: str

    @property
    def text(self) -> str:
        """Number and name, as in the maker's list."""
        return f"{self.number} {self.name}".strip()


@dataclass(frozen=True)
class Profile:
    """Everything that the driver must know of a family."""

    name: str
    table: RegisterTable
    models: tuple[str, ...]
    """Beginnings of the texts by which devices of the family call themselves."""
    max_registers: int
    """Largest block that is read at once."""
    ac_limit: AcLimit | None
    battery: ForcedBattery | None
    alarms: tuple[Alarm, ...] = ()
    statuses: Mapping[int, str] = field(default_factory=dict)

    @property
    def actuators(self) -> tuple[str, ...]:
        """Names of the registers that control and are read back."""
        return tuple(row.name for row in self.table.groups.get("control", ()))


def load_table(file: str) -> RegisterTable:
    """A register table of this package."""
    return RegisterTable.from_csv(StringIO(_text(file)))


def load_alarms(file: str) -> tuple[Alarm, ...]:
    """A list of alarms of this package."""
    lines = (line for line in StringIO(_text(file)) if not line.startswith("#"))
    return tuple(
        Alarm(
            register=row["register"],
            bit=int(row["bit"]) if row["bit"] else None,
            number=row["number"],
            name=row["name"],
            severity=row["severity"],
        )
        for row in csv.DictReader(lines)
    )


def _text(file: str) -> str:
    return (files("services.inverters.drivers.tables") / file).read_text(encoding="utf-8")
