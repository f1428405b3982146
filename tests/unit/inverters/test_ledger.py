"""The ledger of writes to flash: counted before they are made, kept over restarts."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from runtime.store import Store
from services.inverters.ledger import DAILY_BUDGET, BudgetError, FlashLedger

TODAY = date(2026, 6, 21)


def opened(folder: Path) -> FlashLedger:
    ledger = FlashLedger(Store(folder, "flash-writes"))
    assert ledger.load() is None
    return ledger


def test_counts_survive_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.count("HV1", "reserve_soc_pct", TODAY)
    first.count("HV1", "charge_from_grid", TODAY)
    first.count("HV2", "charge_from_grid", TODAY)
    again = opened(tmp_path)
    assert (again.total("HV1"), again.total("HV2"), again.total("HV3")) == (2, 1, 0)


def test_a_day_s_budget_is_not_renewed_by_a_restart(tmp_path: Path) -> None:
    for _ in range(DAILY_BUDGET):
        opened(tmp_path).count("HV1", "reserve_soc_pct", TODAY)
    ledger = opened(tmp_path)
    with pytest.raises(BudgetError, match="reserve_soc_pct: written 10 times today"):
        ledger.count("HV1", "reserve_soc_pct", TODAY)
    ledger.count("HV1", "full_soc_pct", TODAY)
    ledger.count("HV1", "reserve_soc_pct", TODAY + timedelta(days=1))
    assert ledger.total("HV1") == DAILY_BUDGET + 2


def test_a_write_that_cannot_be_put_on_record_is_not_made(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file, not a folder")
    ledger = FlashLedger(Store(in_the_way, "flash-writes"))
    assert ledger.load() is not None
    with pytest.raises(BudgetError, match="reserve_soc_pct"):
        ledger.count("HV1", "reserve_soc_pct", TODAY)
    assert ledger.total("HV1") == 0


def test_a_damaged_ledger_falls_back_to_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.count("HV1", "reserve_soc_pct", TODAY)
    ledger.count("HV1", "reserve_soc_pct", TODAY)
    newest = max(tmp_path.glob("flash-writes.*.json"))
    newest.write_bytes(newest.read_bytes()[:-20])
    again = FlashLedger(Store(tmp_path, "flash-writes"))
    assert "flash writes" in (again.load() or "")
    assert again.total("HV1") == 1
