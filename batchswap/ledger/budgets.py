"""Limit the credits of a run and of a day.

The transaction that records an attempt also reserves its credits, so concurrent submits cannot exceed a budget.
"""

import sqlite3
from datetime import datetime
from math import inf

import msgspec

DIGITS = 6
"""Decimal places of credits; smaller differences are rounding errors."""


class OverBudget(Exception):
    """The attempt would spend more than the budget allows. Nothing was written."""


class Budget(msgspec.Struct, frozen=True):
    """The credits that a run, and a calendar day over all runs, may spend and reserve. None: no limit."""

    run: float | None = None
    day: float | None = None

    def check(self, db: sqlite3.Connection, run_id: int, day: str, reserved: float) -> None:
        """Raise OverBudget if `reserved` more credits would exceed a budget."""
        if any(is_more(reserved, left) for left in self.left(db, run_id, day)):
            raise OverBudget

    def left(self, db: sqlite3.Connection, run_id: int, day: str) -> tuple[float, float]:
        """Return the credits that the run, and the day, may still spend and reserve. inf: no limit."""
        return (
            inf if self.run is None else self.run - committed(db, run_id),
            inf if self.day is None else self.day - committed_on(db, day),
        )


NO_BUDGET = Budget()


def is_more(wanted: float, budget: float) -> bool:
    """Compare sums of credits without their rounding errors."""
    return round(wanted - budget, DIGITS) > 0.0


def local_day(at: float) -> str:
    """Return the calendar day in the machine's time zone."""
    return datetime.fromtimestamp(at).astimezone().date().isoformat()


_COMMITTED = "select coalesce(sum(spent + held + unpriced), 0.0) from money where"


def committed(db: sqlite3.Connection, run_id: int) -> float:
    """Return the credits that count against a run's budget: spent, reserved, and of ended attempts without a price.

    Ticks of the same series share a budget.
    """
    of_series = "run_id in (select id from runs where series = (select series from runs where id = ?))"
    return float(db.execute(f"{_COMMITTED} {of_series}", (run_id,)).fetchone()[0])


def committed_on(db: sqlite3.Connection, day: str) -> float:
    """Return the same for a calendar day, over all runs."""
    return float(db.execute(f"{_COMMITTED} day = ?", (day,)).fetchone()[0])


class Excess(msgspec.Struct, frozen=True):
    """Credits that were charged beyond a budget. `day` is "" for the budget of a run."""

    run_id: int
    budget: float
    amount: float
    day: str = ""


def excesses(db: sqlite3.Connection, *, batch: str | None = None, run_id: int | None = None) -> list[Excess]:
    """Return what exceeded the budgets of runs and days, for all runs, for those of a batch, or for one run.

    If the ticks of a series had different budgets, the largest one counts: the others did not cover the earlier ticks.
    """
    of_runs = (
        "select run_id, budget, (select coalesce(sum(m.spent), 0.0) from money m join runs s on s.id = m.run_id"
        " where s.series = shared.series) - budget, ''"
        " from (select max(r.id) as run_id, series, (select max(coalesce(s.budget, 9e999)) from runs s"
        " where s.series = r.series) as budget from runs r where r.budget is not null and {which} group by series)"
        " as shared"
    )
    of_days = (
        "select max(r.id), max(r.budget_per_day), (select sum(d.spent) from money d where d.day = m.day)"
        " - max(r.budget_per_day), m.day from runs r join money m on m.run_id = r.id"
        " where r.budget_per_day is not null and {which} group by m.day"
    )
    which, values = "true", tuple[object, ...]()
    if run_id is not None:
        which, values = "r.id = ?", (run_id,)
    elif batch is not None:
        named = "select m2.run_id from money m2 join batches b on b.id = m2.batch_id where b.name = ?"
        which, values = f"r.id in ({named})", (batch,)
    found = [Excess(*row) for sql in (of_runs, of_days) for row in db.execute(sql.format(which=which), values)]
    return [each for each in found if is_more(each.amount, 0.0)]


def exceeded(found: list[Excess]) -> float:
    """Sum the excesses. Credits that exceed both a run's budget and the day's are counted once."""
    of_runs, of_days = (sum(each.amount for each in found if bool(each.day) is is_day) for is_day in (False, True))
    return round(max(of_runs, of_days), DIGITS) + 0.0
