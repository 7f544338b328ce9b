"""The runs' own records."""

import os
import sqlite3

from batchswap import __version__
from batchswap.ledger.budgets import NO_BUDGET, Budget
from batchswap.ledger.transitions import Stamp, log


def begin(
    db: sqlite3.Connection, at: float, *, provider: str, account: str, out: str = "", budget: Budget = NO_BUDGET
) -> Stamp:
    """A run has started, on `provider`, with the key whose fingerprint is `account`. `out`: its folder of results."""
    run_id = db.execute(
        "insert into runs(started_at, pid, version, provider, account, out, budget, budget_per_day)"
        " values(?, ?, ?, ?, ?, ?, ?, ?)",
        (at, os.getpid(), __version__, provider, account, out, budget.run, budget.day),
    ).lastrowid
    stamp = Stamp(at, run_id)
    log(db, stamp, "run-started")
    return stamp


def end(db: sqlite3.Connection, stamp: Stamp, *, exit_code: int, summary: str) -> None:
    """The run is over; `summary` is what `run --json` prints."""
    db.execute(
        "update runs set ended_at = ?, exit_code = ?, summary = ? where id = ?",
        (stamp.at, exit_code, summary, stamp.run_id),
    )
    log(db, stamp, "run-ended", detail=summary)
