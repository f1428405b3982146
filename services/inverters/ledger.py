"""The ledger of writes to flash: few a day, each counted before it is made, kept over restarts.

Inverters keep most settings in flash, which wears out. What the fast path writes is volatile and
is not counted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from runtime.store import Store, StoreError

DAILY_BUDGET = 10
"""Writes a day to one register of one device: a person who tries things out, not a loop."""


class BudgetError(Exception):
    """The write is not made; the reason is for a person."""


@dataclass(frozen=True)
class Entry:
    """Writes to one register of one device."""

    total: int = 0
    day: date | None = None
    on_day: int = 0

    def counted(self, today: date) -> "Entry":
        """One more.

        Raises:
            BudgetError: Today's are used up.
        """
        on_day = self.on_day if self.day == today else 0
        if on_day >= DAILY_BUDGET:
            raise BudgetError(
                f"written {on_day} times today, which is all that its flash is spared"
            )
        return replace(self, total=self.total + 1, day=today, on_day=on_day + 1)


@dataclass
class FlashLedger:
    """All entries, and where they are kept."""

    store: Store
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    """By device and register."""

    def load(self) -> str | None:
        """Read what was kept; returns what of it is damaged, in a sentence."""
        try:
            loaded = self.store.load(_entries)
        except StoreError as error:
            return f"counts of flash writes: {error}"
        self.entries = loaded.content or {}
        if not loaded.damaged:
            return None
        return f"counts of flash writes: {', '.join(map(str, loaded.damaged))}"

    def count(self, device: str, register: str, today: date) -> None:
        """Count a write that is about to be made.

        Raises:
            BudgetError: It must not be made: too many today, or it cannot be put on record.
        """
        key = device, register
        try:
            entry = self.entries.get(key, Entry()).counted(today)
            self.store.save(_stored({**self.entries, key: entry}))
        except BudgetError as error:
            raise BudgetError(f"{register}: {error}") from None
        except StoreError as error:
            raise BudgetError(f"{register}: {error}") from error
        self.entries[key] = entry

    def total(self, device: str) -> int:
        """Writes to all registers of a device since commissioning."""
        return sum(entry.total for (name, _), entry in self.entries.items() if name == device)


def _stored(entries: Mapping[tuple[str, str], Entry]) -> list[dict[str, Any]]:
    return [
        {
            "device": device,
            "register": register,
            "total": entry.total,
            "day": entry.day.isoformat() if entry.day else None,
            "on_day": entry.on_day,
        }
        for (device, register), entry in entries.items()
    ]


def _entries(
    stored: Any,  # noqa: ANN401  what JSON held
) -> dict[tuple[str, str], Entry]:
    try:
        return {
            (row["device"], row["register"]): Entry(
                total=int(row["total"]),
                day=date.fromisoformat(row["day"]) if row["day"] else None,
                on_day=int(row["on_day"]),
            )
            for row in stored
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a ledger: {error}") from error
