"""Where things stand: `batchswap status`."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import queries, report_queries
from batchswap.ledger.budgets import Excess, exceeded, excesses
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.enrolment.orphans import Orphans
from batchswap.ledger.operator_actions import GIVEN_UP
from batchswap.ledger.queries import Credits
from batchswap.ledger.report_queries import Run
from batchswap.report.formatting import breadth, counted, moment, money, plural, priced, safe, span, table
from batchswap.report.next_commands import command, no_longer_asked_for
from batchswap.states import IN_FLIGHT, TO_DO, State

SHOWN = 10
"""Uncertain tasks that are named one by one."""
EXCESSES = 5
"""Budgets that were exceeded, the last ones."""

_HEADS = ("batch", "done", "in flight", "queued", "failed", "uncertain", "cancelled", "spent", "reserved")


class BatchStatus(msgspec.Struct, frozen=True):
    """A batch, or all of them."""

    counts: dict[str, int]
    credits: Credits
    excesses: list[Excess] = []

    def to_json(self, balance: float | None) -> dict[str, Any]:
        """As in the summary of a run (docs/reference.md)."""
        money_ = {"spent": self.credits.spent, "reserved": self.credits.reserved, "balance": balance}
        money_["exceeded"] = exceeded(self.excesses)
        return {"counts": self.counts, "credits": money_, "unpriced_attempts": self.credits.unpriced}


class Standing(msgspec.Struct, frozen=True):
    """What `status` shows. `balance` is what a run saw when it ended, at `balance_at`."""

    total: BatchStatus
    batches: dict[str, BatchStatus]
    failures: list[tuple[str, int, str]]
    uncertain: list[str]
    orphans: Orphans
    run: Run | None
    is_running: bool
    balance: float | None
    balance_at: float | None


def gather(db: sqlite3.Connection, path: Path) -> Standing:
    """`path`: where the ledger is."""
    run = report_queries.last_run(db)
    balance, balance_at = report_queries.last_balance(db) or (None, None)
    return Standing(
        total=BatchStatus(queries.counts(db), queries.credits_of(db), excesses(db)),
        batches={
            name: BatchStatus(queries.counts(db, name), queries.credits_of(db, batch=name), excesses(db, batch=name))
            for name in queries.batches(db)
        },
        failures=report_queries.failures(db),
        uncertain=report_queries.uncertain(db, SHOWN),
        orphans=orphans.find(db, queries.batches(db)),
        run=run,
        is_running=is_running(run, path),
        balance=balance,
        balance_at=balance_at,
    )


def _summary(run: Run | None) -> dict[str, Any]:
    if run is None or run.summary is None:
        return {}
    found = msgspec.json.decode(run.summary)
    return found if isinstance(found, dict) else {}


def is_running(run: Run | None, ledger: Path) -> bool:
    """Whether the last run goes on: it has not ended, its process is there, and the ledger is held.

    The number of a dead process may be another's by now, or wait for a parent that never asks. The lock comes last:
    looking takes it for a moment, in which a run could not start.
    """
    if run is None or run.ended_at is not None:
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    from batchswap.ledger.file.lock import is_held  # noqa: PLC0415 - seldom needed, and slow to load

    return is_held(ledger)


def to_json(standing: Standing) -> dict[str, Any]:
    run = standing.run
    return {
        **standing.total.to_json(standing.balance),
        "batches": [{"batch": name, **part.to_json(None)} for name, part in standing.batches.items()],
        "orphaned": {str(state): standing.orphans.counts.get(state, 0) for state in (State.QUEUED, State.FAILED)},
        "needs_a_person": {
            "uncertain": standing.uncertain,
            "failed": [{"code": code, "count": n, "reason": reason} for code, n, reason in standing.failures],
        },
        "running": standing.is_running,
        "last_run": None
        if run is None
        else {
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "provider": run.provider,
            "exit_code": run.exit_code,
            "summary": _summary(run) or None,
        },
    }


def to_lines(standing: Standing, db: Path, now: float, columns: int | None) -> Iterator[str]:
    parts = [*standing.batches.items()]
    if len(parts) != 1:
        parts.append(("all", standing.total))
    rows = [_row(name, part) for name, part in parts]
    if columns is None or breadth([_HEADS, *rows]) <= columns:
        yield from table(_HEADS, rows, columns=columns, right=frozenset(range(1, len(_HEADS))))
    else:
        yield from (safe(f"{name}: {_sentence(part)}") for name, part in parts)
    if standing.total.credits.unpriced:
        yield f"what {plural(standing.total.credits.unpriced, 'ended attempt')} cost is unknown: the API did not say"
    for each in standing.total.excesses[-EXCESSES:]:
        whose = f"--budget-per-day on {each.day}" if each.day else f"--budget of run {each.run_id}"
        yield f"{priced(each.amount)} more than {whose} allowed ({money(each.budget)}) were charged"
    if standing.balance is not None:
        yield f"balance at {moment(standing.balance_at)}: {priced(standing.balance)}"
    if standing.orphans.counts:
        yield safe(no_longer_asked_for(standing.orphans, db))
    yield ""
    yield from _run_lines(standing, now)
    yield from _person_lines(standing, db)


def _row(name: str, part: BatchStatus) -> tuple[str, ...]:
    counts = part.counts
    flying = sum(counts[state] for state in IN_FLIGHT)
    numbers = (counts[State.DONE], flying, *(counts[state] for state in _REST))
    return (name, *(f"{n:,}" for n in numbers), money(part.credits.spent), money(part.credits.reserved))


def _sentence(part: BatchStatus) -> str:
    """The same where there is no room for a table: names that are cut could not be told apart."""
    return f"{counted(part.counts)}; {priced(part.credits.spent)} spent, {money(part.credits.reserved)} reserved"


_REST = tuple(state for state in State if state not in (*IN_FLIGHT, State.DONE))


def _run_lines(standing: Standing, now: float) -> Iterator[str]:
    run = standing.run
    if run is None:
        yield "no run yet"
    elif standing.is_running:
        yield f"a run goes on since {moment(run.started_at)} ({span(now - run.started_at)})"
    elif run.ended_at is None:
        yield f"last run: {moment(run.started_at)}, it was killed; the next one goes on where it was"
    else:
        said = _summary(run)
        seconds = said.get("seconds")  # measured, where the times of day may be of a clock that was set meanwhile
        took = span(seconds if isinstance(seconds, int | float) else run.ended_at - run.started_at)
        yield safe(f"last run: {moment(run.started_at)}, {took}, exit {run.exit_code}: {said.get('reason', '')}")
    left = standing.orphans.without(standing.total.counts)
    open_ = sum(left[state] for state in TO_DO)
    if open_ and not standing.is_running:
        them = "it" if open_ == 1 else "them"
        yield f"{plural(open_, 'task')} not finished: the next `batchswap run` of the manifest goes on with {them}"


def _person_lines(standing: Standing, db: Path) -> Iterator[str]:
    if standing.uncertain:
        more = standing.total.counts[State.UNCERTAIN] - len(standing.uncertain)
        yield ""
        yield "uncertain, a person must decide whether the API accepted them:"
        for name in standing.uncertain:
            yield safe(f"{name}: {command('show', db, name)}")
        if more:
            yield f"and {more:,} more: {command('tasks --state uncertain', db)}"
    if standing.failures:
        yield ""
        left = sum(n for code, n, _ in standing.failures if code == GIVEN_UP)
        but = f", but for what was given up: `{command('retry', db, options=f'--code {GIVEN_UP}')}` may pay twice"
        yield f"failed, `{command('retry', db)}` queues them again{but if left else ''}:"
        for code, n, reason in standing.failures:
            yield safe(f"{n:,} × {code}: {reason}")
