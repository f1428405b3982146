"""Register tables as data, and the 16-bit image that a Modbus client reads and writes.

A table is a CSV: `address,type,gain,access,name,start,low,high,repeat,stride`.

* type: u16 i16 u32 i32 (value x gain, most significant word first), f32 (IEEE 754), sN (ASCII in
  N registers, NUL padded), bN (N registers of bytes).
* access: r (read only), rw (kept in RAM), rwf (kept in the device's flash), w (reads 0).
* start: the first value in physical units; `na` the type's "unavailable" code; `@` the device
  supplies it while it runs.
* low, high: what a write may hold, physical units; the name of another register means its present
  content; `0|1|5` in low lists the only values.
* repeat, stride: the row stands for `repeat` registers `stride` apart; {n} counts from 1.
"""

import csv
import io
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from sim.modbus import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusError

Physical = float | str | bytes | None

GAP = 64
"""Registers this far apart still belong to one block, whose unlisted cells read 0: clients merge
their reads over reserved cells, and a real device answers them so."""

_WIDTH = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2}
_UNAVAILABLE = {"u16": 0xFFFF, "i16": 0x7FFF, "u32": 0xFFFFFFFF, "i32": 0x7FFFFFFF}
_RANGE = {
    "u16": (0, 0xFFFE),
    "i16": (-0x8000, 0x7FFE),
    "u32": (0, 0xFFFFFFFE),
    "i32": (-0x80000000, 0x7FFFFFFE),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One named register, or group of registers that makes one number, text or block."""

    address: int
    kind: str
    gain: float
    access: str
    name: str
    start: str
    low: str
    high: str

    @property
    def width(self) -> int:
        """Number of 16-bit registers."""
        return _WIDTH.get(self.kind) or int(self.kind[1:])

    def encode(self, physical: Physical) -> bytes:
        """Big-endian bytes; numbers beyond the type are held at its ends, None is "unavailable"."""
        if isinstance(physical, (str, bytes)) or self.kind[0] in "sb":
            raw = physical.encode("ascii") if isinstance(physical, str) else physical or b""
            if not isinstance(raw, bytes) or len(raw) > 2 * self.width:
                raise ValueError(f"{self.name}: {physical!r} does not fit")
            return raw.ljust(2 * self.width, b"\0")
        if self.kind == "f32":
            return struct.pack(">f", float("nan") if physical is None else physical)
        if physical is None:
            return _UNAVAILABLE[self.kind].to_bytes(2 * self.width, "big")
        low, high = _RANGE[self.kind]
        number = min(max(round(physical * self.gain), low), high)
        return number.to_bytes(2 * self.width, "big", signed=low < 0)

    def decode(self, raw: bytes) -> float:
        """The physical number in these bytes; blocks of bytes and texts have none."""
        if self.kind == "f32":
            return float(struct.unpack(">f", raw)[0])
        return int.from_bytes(raw, "big", signed=self.kind[0] == "i") / self.gain


class Table:
    """The registers of one kind of device, by address and by name."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = sorted(cells, key=lambda cell: cell.address)
        self.by_name = {cell.name: cell for cell in self.cells}
        self.by_address = {cell.address: cell for cell in self.cells}
        if len(self.by_name) != len(cells):
            raise ValueError("two registers of one name")
        self._starts: list[int] = []
        self._ends: list[int] = []
        end = -GAP - 1
        for cell in self.cells:
            if cell.address < end:
                raise ValueError(f"{cell.name} overlaps its neighbour")
            if cell.address - end > GAP:
                self._starts.append(cell.address)
                self._ends.append(cell.address)
            end = cell.address + cell.width
            self._ends[-1] = end

    def covers(self, address: int, count: int) -> bool:
        """Whether a read stays inside one block."""
        i = bisect_right(self._starts, address) - 1
        return i >= 0 and address + count <= self._ends[i]

    def inside(self, address: int) -> bool:
        """Whether an address is a later word of some register."""
        return any(cell.address < address < cell.address + cell.width for cell in self.cells)

    @classmethod
    def load(cls, file: str) -> "Table":
        """The table in a CSV of this package."""
        text = (resources.files("sim") / file).read_text("ascii")
        rows = csv.DictReader(line for line in io.StringIO(text) if not line.startswith("#"))
        return cls([cell for row in rows for cell in _cells(row)])


def _cells(row: dict[str, str]) -> Iterator[Cell]:
    for n in range(int(row["repeat"] or 1)):
        yield Cell(
            address=int(row["address"]) + n * int(row["stride"] or 0),
            kind=row["type"],
            gain=float(row["gain"] or 1),
            access=row["access"],
            name=row["name"].replace("{n}", str(n + 1)),
            start=row["start"],
            low=row["low"],
            high=row["high"],
        )


class Image:
    """The present content of a device's registers."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._words = array("H", bytes(2 * 0x10000))
        self.flash_writes = 0
        """Writes that went to registers kept in flash; a controller must keep this low."""
        for cell in table.cells:
            self._start(cell)

    def _start(self, cell: Cell) -> None:
        if cell.start == "na":
            self.put(cell.name, None)
        elif cell.start and cell.start != "@":
            self.put(cell.name, cell.start if cell.kind[0] == "s" else float(cell.start))

    def power_cycle(self) -> None:
        """What is kept in RAM alone goes back to its start value."""
        for cell in self.table.cells:
            if cell.access == "rw":
                self._words[cell.address : cell.address + cell.width] = array(
                    "H", bytes(2 * cell.width)
                )
                self._start(cell)

    def put(self, name: str, physical: Physical) -> None:
        """Set a register from inside the device."""
        cell = self.table.by_name[name]
        words = array("H", cell.encode(physical))
        words.byteswap()
        self._words[cell.address : cell.address + cell.width] = words

    def number(self, name: str) -> float:
        """What a register holds now, physical units."""
        cell = self.table.by_name[name]
        return cell.decode(self.raw(cell.address, cell.width))

    def raw(self, address: int, count: int) -> bytes:
        """Registers as big-endian bytes, whatever they are."""
        words = self._words[address : address + count]
        words.byteswap()
        return words.tobytes()

    def read(self, address: int, count: int) -> bytes:
        """Registers as a client reads them: exception 02 outside the blocks of the table."""
        if not self.table.covers(address, count):
            raise ModbusError(ILLEGAL_ADDRESS)
        return self.raw(address, count)

    def check(self, address: int, words: Sequence[int]) -> list[tuple[Cell, bytes]]:
        """The cells that a write would change, with their new bytes; changes nothing.

        Raises:
            ModbusError: 02 for unlisted or read-only registers, 03 for half a number and for
                values out of range.
        """
        raw = b"".join(word.to_bytes(2, "big") for word in words)
        planned, at = [], 0
        while at < len(words):
            cell = self.table.by_address.get(address + at)
            if cell is None:
                inside = self.table.inside(address + at)
                raise ModbusError(ILLEGAL_VALUE if inside else ILLEGAL_ADDRESS)
            if cell.access == "r":
                raise ModbusError(ILLEGAL_ADDRESS)
            new = raw[2 * at : 2 * (at + cell.width)]
            if len(new) != 2 * cell.width or not self._allowed(cell, new):
                raise ModbusError(ILLEGAL_VALUE)
            planned.append((cell, new))
            at += cell.width
        return planned

    def _allowed(self, cell: Cell, new: bytes) -> bool:
        if not cell.low:
            return True
        if "|" in cell.low:
            return cell.decode(new) in map(float, cell.low.split("|"))
        return self._bound(cell.low) <= cell.decode(new) <= self._bound(cell.high)

    def _bound(self, bound: str) -> float:
        return self.number(bound) if bound in self.table.by_name else float(bound)

    def commit(self, planned: Sequence[tuple[Cell, bytes]]) -> None:
        """Carry out a checked write."""
        for cell, new in planned:
            if cell.access == "w":
                continue
            words = array("H", new)
            words.byteswap()
            self._words[cell.address : cell.address + cell.width] = words
            self.flash_writes += cell.access == "rwf"
