"""Register tables: what stands where on a device, in which unit and sign, and what may be written.

A device is a table. Signs, gains and units are turned here, once; everything above speaks W, Wh,
degrees and percent, with power positive towards the house.
"""

import csv
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import TextIO

ADDRESSES = 0x10000
Quantity = int | float | str
"""A decoded register: integers stay integers where the gain is 1."""


class Type(StrEnum):
    """How the bits are to be read; big endian, most significant word first."""

    U16 = "U16"
    I16 = "I16"
    U32 = "U32"
    I32 = "I32"
    U64 = "U64"
    I64 = "I64"
    F32 = "F32"
    BITS16 = "BITS16"
    BITS32 = "BITS32"
    STR = "STR"
    """ASCII, two characters a register, NUL padded; the only type of free length."""


_INTEGERS = {  # words, signed, what stands for "unavailable"
    Type.U16: (1, False, 0xFFFF),
    Type.I16: (1, True, 0x7FFF),
    Type.U32: (2, False, 0xFFFF_FFFF),
    Type.I32: (2, True, 0x7FFF_FFFF),
    Type.U64: (4, False, 0x7FFF_FFFF_FFFF_FFFF),
    Type.I64: (4, True, 0x7FFF_FFFF_FFFF_FFFF),
    Type.BITS16: (1, False, None),  # every pattern is legal in a bit field
    Type.BITS32: (2, False, None),
}
_BY_TYPE = "by type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One row of a table."""

    name: str
    address: int
    """Zero-based wire address."""
    type: Type
    count: int
    """Registers that it takes."""
    gain: Fraction = Fraction(1)
    """Raw counts per unit, exact; 1/10 for a register of 10 Wh."""
    sign: int = 1
    """-1 where the device counts the other way than we do."""
    unit: str = ""
    access: str = "RO"
    """RO, RW or WO."""
    cyclic: bool = False
    """Whether it may be written again and again; otherwise the device keeps it in flash."""
    group: str = ""
    """How often it is read: `fast`, `slow`, `once`; empty: on demand."""
    sentinel: int | None = None
    """The raw (unsigned) pattern that means unavailable; None: every pattern is a value."""

    def __post_init__(self) -> None:
        words = _words_of(self.type)
        if words is not None and words != self.count:
            raise ValueError(f"{self.name}: {self.type} takes {words} registers, not {self.count}")
        if not 0 <= self.address <= self.address + self.count <= ADDRESSES or self.count < 1:
            raise ValueError(f"{self.name}: registers {self.address} + {self.count} do not exist")
        if self.gain <= 0 or self.sign not in {-1, 1} or self.access not in {"RO", "RW", "WO"}:
            raise ValueError(f"{self.name}: gain, sign or access makes no sense")

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.count

    def decode(self, words: Sequence[int]) -> Quantity | None:
        """What the registers say, or None when the device says that it does not know.

        Raises:
            ValueError: Not as many registers as the row has.
        """
        if len(words) != self.count:
            raise ValueError(f"{self.name}: {len(words)} registers instead of {self.count}")
        packed = struct.pack(f">{self.count}H", *words)
        if self.type is Type.STR:
            text = packed.split(b"\0", 1)[0].decode("ascii", "replace").strip()
            return text if text.isprintable() and "\ufffd" not in text and text else None
        if self.type is Type.F32:
            number: float = struct.unpack(">f", packed)[0]
            scaled = self.sign * number / float(self.gain)
            return scaled if abs(scaled) < float("inf") else None  # NaN compares false too
        signed = _INTEGERS[self.type][1]
        if int.from_bytes(packed, "big") == self.sentinel:
            return None
        return self._scaled(self.sign * int.from_bytes(packed, "big", signed=signed))

    def encode(self, quantity: float) -> tuple[int, ...]:
        """The registers that say a quantity, rounded to the nearest count.

        Raises:
            ValueError: It does not fit, is not finite, or reads as unavailable.
        """
        if self.type is Type.STR:
            raise ValueError(f"{self.name}: texts are not written")
        if self.type is Type.F32:
            packed = struct.pack(">f", self.sign * quantity * float(self.gain))
            return struct.unpack(f">{self.count}H", packed)
        width, signed, _ = _INTEGERS[self.type]
        try:
            raw = round(Fraction(quantity) * self.gain * self.sign)
            packed = raw.to_bytes(2 * width, "big", signed=signed)
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{self.name}: {quantity} {self.unit} does not fit") from error
        if int.from_bytes(packed, "big") == self.sentinel:
            raise ValueError(f"{self.name}: {quantity} {self.unit} would read as unavailable")
        return struct.unpack(f">{width}H", packed)

    def _scaled(self, raw: int) -> int | float:
        if self.gain.numerator == 1:
            return raw * self.gain.denominator
        return raw * self.gain.denominator / self.gain.numerator


def _words_of(kind: Type) -> int | None:
    if kind is Type.STR:
        return None
    return 2 if kind is Type.F32 else _INTEGERS[kind][0]


@dataclass(frozen=True)
class RegisterTable(Mapping[str, Register]):
    """All registers of one kind of device by name."""

    rows: Mapping[str, Register] = field(default_factory=dict)

    @classmethod
    def of(cls, registers: Iterable[Register]) -> "RegisterTable":
        """Build from rows.

        Raises:
            ValueError: Two rows share a name or a register.
        """
        rows: dict[str, Register] = {}
        for register in registers:
            if register.name in rows:
                raise ValueError(f"{register.name} stands twice")
            rows[register.name] = register
        in_order = sorted(rows.values(), key=lambda row: row.address)
        for before, after in itertools.pairwise(in_order):
            if after.address < before.end:
                raise ValueError(f"{before.name} and {after.name} overlap")
        return cls(rows)

    @classmethod
    def from_csv(cls, lines: TextIO) -> "RegisterTable":
        """Read rows of name, address, count, type and what the defaults do not say.

        Further columns: gain, sign, unit, access, cyclic (yes/no), group, sentinel. Empty cells
        take the default: gain 1, sign 1, the type's own sentinel. `none` as sentinel says that
        every pattern is legal. Lines that start with # are comments.

        Raises:
            ValueError: A cell makes no sense; the row's name is told.
        """
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return cls.of(_row(cells) for cells in rows)

    def __getitem__(self, name: str) -> Register:
        return self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def groups(self) -> Mapping[str, tuple[Register, ...]]:
        """Rows by how often they are read."""
        names = {register.group for register in self.rows.values()}
        return {
            name: tuple(row for row in self.rows.values() if row.group == name) for name in names
        }

    def decode(
        self, registers: Iterable[Register], words: Mapping[int, int]
    ) -> dict[str, Quantity | None]:
        """Decode the given rows out of words by address; what was not read is None."""
        return {row.name: decode_from(row, words) for row in registers}


def decode_from(row: Register, words: Mapping[int, int]) -> Quantity | None:
    """Decode one row out of words by address; None if a register of it was not read."""
    try:
        return row.decode([words[address] for address in range(row.address, row.end)])
    except KeyError:
        return None


def _row(cells: Mapping[str, str]) -> Register:
    name = cells["name"]
    try:
        kind = Type(cells["type"])
        sentinel = cells.get("sentinel") or _BY_TYPE
        by_type = None if kind in {Type.STR, Type.F32} else _INTEGERS[kind][2]
        return Register(
            name=name,
            address=int(cells["address"]),
            type=kind,
            count=int(cells["count"]),
            gain=Fraction(cells.get("gain") or 1),
            sign=int(cells.get("sign") or 1),
            unit=cells.get("unit") or "",
            access=cells.get("access") or "RO",
            cyclic=(cells.get("cyclic") or "no") == "yes",
            group=cells.get("group") or "",
            sentinel=(
                by_type
                if sentinel == _BY_TYPE
                else None
                if sentinel == "none"
                else int(sentinel, 16)
            ),
        )
    except (ValueError, KeyError) as error:
        raise ValueError(f"register table, {name}: {error}") from error
