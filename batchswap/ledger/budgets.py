"""What may be spent. Reserved in the transaction that records an attempt, so concurrency cannot exceed it."""

import sqlite3
from datetime import datetime

import msgspec

DIGITS = 6
"""Decimal places of credits that count; what is smaller is rounding alone."""


class OverBudget(Exception):
    """The attempt would spend more than the budget allows. Nothing was written."""


class Budget(msgspec.Struct, frozen=True):
    """Credits that a run, and a calendar day over all runs, may spend and reserve. None: no bound."""

    run: float | None = None
    day: float | None = None

    def check(self, db: sqlite3.Connection, run_id: int, day: str, reserved: float) -> None:
        """Raises OverBudget when `reserved` more would be too much."""
        over_run = self.run is not None and _is_more(committed(db, run_id) + reserved, self.run)
        if over_run or (self.day is not None and _is_more(committed_on(db, day) + reserved, self.day)):
            raise OverBudget


def _is_more(wanted: float, budget: float) -> bool:
    """Three times 0.1 is 0.3, whatever sums of binary fractions say."""
    return round(wanted - budget, DIGITS) > 0.0


def local_day(at: float) -> str:
    """The calendar day, where the machine is."""
    return datetime.fromtimestamp(at).astimezone().date().isoformat()


def committed(db: sqlite3.Connection, run_id: int) -> float:
    """Credits that count against a run's budget: spent, reserved, and what ended without a price."""
    sql = "select coalesce(sum(spent + held + unpriced), 0.0) from money where run_id = ?"
    return float(db.execute(sql, (run_id,)).fetchone()[0])


def committed_on(db: sqlite3.Connection, day: str) -> float:
    """The same for a calendar day, over all runs."""
    sql = "select coalesce(sum(spent + held + unpriced), 0.0) from money where day = ?"
    return float(db.execute(sql, (day,)).fetchone()[0])
