"""The report of `batchswap status`: tasks, credits, the last run, and tasks that need your decision."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import deliveries, queries, report_queries
from batchswap.ledger.budgets import Excess, exceeded, excesses
from batchswap.ledger.deliveries import DoubtfulResult
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.enrolment.orphans import Orphans
from batchswap.ledger.operator_actions import GIVEN_UP
from batchswap.ledger.queries import Credits
from batchswap.ledger.report_queries import Run
from batchswap.report.formatting import breadth, counted, moment, money, outcome, plural, priced, safe, span, table
from batchswap.report.next_commands import cancel_orphans, command
from batchswap.states import DOUBTFUL, IN_FLIGHT, TO_DO, State

SHOWN = 10
"""Uncertain tasks that are listed."""
EXCESSES = 5
"""Exceeded budgets that are listed, the latest ones."""

_HEADS = ("batch", "done", "in flight", "queued", "failed", "uncertain", "cancelled", "spent", "reserved")


class BatchStatus(msgspec.Struct, frozen=True):
    """The state of one batch or of all batches."""

    counts: dict[str, int]
    credits: Credits
    excesses: list[Excess] = []
    quality: dict[str, int] = {}
    """Results by quality."""
    needs_you: int = 0

    def to_json(self, balance: float | None) -> dict[str, Any]:
        """Return the counts and credits in the form that the summary of a run has."""
        money_ = {"spent": self.credits.spent, "reserved": self.credits.reserved, "balance": balance}
        money_["exceeded"] = exceeded(self.excesses)
        return {
            "counts": self.counts,
            "credits": money_,
            "unpriced_attempts": self.credits.unpriced,
            "quality": self.quality,
            "needs_you": self.needs_you,
        }


class LedgerStatus(msgspec.Struct, frozen=True):
    """All facts of the report. `balance`: credits on the account at `balance_at`, when a run ended."""

    total: BatchStatus
    batches: dict[str, BatchStatus]
    failures: list[tuple[str, int, str]]
    uncertain: list[str]
    doubtful: list[DoubtfulResult]
    doubtful_count: int
    orphans: Orphans
    run: Run | None
    is_running: bool
    balance: float | None
    balance_at: float | None


def gather(db: sqlite3.Connection, path: Path) -> LedgerStatus:
    run = report_queries.last_run(db)
    balance, balance_at = report_queries.last_balance(db) or (None, None)
    return LedgerStatus(
        total=_status_of(db, None),
        batches={name: _status_of(db, name) for name in queries.batches(db)},
        failures=report_queries.failures(db),
        uncertain=report_queries.uncertain(db, SHOWN),
        doubtful=deliveries.doubtful(db, SHOWN),
        doubtful_count=deliveries.count_doubtful(db),
        orphans=orphans.find(db, queries.batches(db)),
        run=run,
        is_running=is_running(run, path),
        balance=balance,
        balance_at=balance_at,
    )


def _status_of(db: sqlite3.Connection, batch: str | None) -> BatchStatus:
    counts, names = queries.counts(db, batch), None if batch is None else [batch]
    return BatchStatus(
        counts,
        queries.credits_of(db, batch=batch),
        excesses(db, batch=batch),
        deliveries.qualities(db, names, done=counts[State.DONE]),
        deliveries.needing(db, names, counts),
    )


def _summary(run: Run | None) -> dict[str, Any]:
    if run is None or run.summary is None:
        return {}
    found = msgspec.json.decode(run.summary)
    return found if isinstance(found, dict) else {}


def is_running(run: Run | None, ledger: Path) -> bool:
    """Return whether the last run is in progress: it has not ended, its process exists, and the ledger is locked.

    The process alone proves nothing: its number may have been reused, or it may be a zombie. The lock is tried last
    because no run could start while it is tried.
    """
    if run is None or run.ended_at is not None:
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process of another user
    from batchswap.ledger.file.lock import is_held  # noqa: PLC0415 - seldom needed, and slow to load

    return is_held(ledger)


def to_json(found: LedgerStatus) -> dict[str, Any]:
    run = found.run
    return {
        **found.total.to_json(found.balance),
        "batches": [{"batch": name, **part.to_json(None)} for name, part in found.batches.items()],
        "orphaned": {str(state): found.orphans.counts.get(state, 0) for state in (State.QUEUED, State.FAILED)},
        "needs_a_person": {
            "uncertain": found.uncertain,
            "doubtful": [msgspec.to_builtins(each) for each in found.doubtful],
            "failed": [{"code": code, "count": n, "reason": reason} for code, n, reason in found.failures],
        },
        "running": found.is_running,
        "next_tick_at": _next_tick(found),
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


def to_lines(found: LedgerStatus, db: Path, now: float, columns: int | None) -> Iterator[str]:
    parts = [*found.batches.items()]
    if len(parts) != 1:
        parts.append(("all", found.total))
    rows = [_row(name, part) for name, part in parts]
    if columns is None or breadth([_HEADS, *rows]) <= columns:
        yield from table(_HEADS, rows, columns=columns, right=frozenset(range(1, len(_HEADS))))
    else:
        yield from (safe(f"{name}: {_sentence(part)}") for name, part in parts)
    if found.total.credits.unpriced:
        unpriced = plural(found.total.credits.unpriced, "ended attempt")
        yield f"the cost of {unpriced} is unknown: the API did not report it"
    for each in found.total.excesses[-EXCESSES:]:
        whose = f"--budget-per-day of {each.day}" if each.day else f"--budget of run {each.run_id}"
        yield f"the {whose} ({money(each.budget)}) was exceeded by {priced(each.amount)}"
    if found.balance is not None:
        yield f"balance: {priced(found.balance)} at {moment(found.balance_at)}"
    if found.orphans.counts:
        yield safe(cancel_orphans(found.orphans, db))
    yield ""
    yield from _run_lines(found, now)
    yield from _person_lines(found, db)


def _row(name: str, part: BatchStatus) -> tuple[str, ...]:
    counts = part.counts
    flying = sum(counts[state] for state in IN_FLIGHT)
    numbers = (counts[State.DONE], flying, *(counts[state] for state in _REST))
    return (name, *(f"{n:,}" for n in numbers), money(part.credits.spent), money(part.credits.reserved))


def _sentence(part: BatchStatus) -> str:
    """Return the row as a sentence, for a terminal too narrow for the table: shortened names could look the same."""
    return f"{counted(part.counts)}; {priced(part.credits.spent)} spent, {money(part.credits.reserved)} reserved"


_REST = tuple(state for state in State if state not in (*IN_FLIGHT, State.DONE))


def _run_lines(found: LedgerStatus, now: float) -> Iterator[str]:
    run = found.run
    if run is None:
        yield "no run yet"
    elif found.is_running:
        yield f"a run has been in progress since {moment(run.started_at)} ({span(now - run.started_at)})"
    elif run.ended_at is None:
        yield f"last run: {moment(run.started_at)}, killed before it ended; the next run resumes it"
    else:
        summary = _summary(run)
        seconds = summary.get("seconds")  # not affected by a clock that was set meanwhile
        took = span(seconds if isinstance(seconds, int | float) else run.ended_at - run.started_at)
        why = outcome(run.exit_code, str(summary.get("reason", "")))
        yield safe(f"last run: {moment(run.started_at)}, took {took}, exit {run.exit_code}: {why}")
    if (worth_at := _next_tick(found)) is not None and not found.is_running:
        when = "now" if worth_at <= now else f"from {moment(worth_at)[11:16]} (in {span(worth_at - now)})"
        yield f"the next tick is worth it {when}"
    left = found.orphans.without(found.total.counts)
    open_ = sum(left[state] for state in TO_DO)
    if open_ and not found.is_running:
        yield f"{plural(open_, 'unfinished task')}: `batchswap run` with the same manifest resumes {_them(open_)}"


def _next_tick(found: LedgerStatus) -> float | None:
    """Return the Unix time from which the next tick will probably find a finished task; None if that is unknown."""
    at = _summary(found.run).get("next_tick_at")
    return float(at) if isinstance(at, int | float) else None


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def failed_words(count: int, db: Path) -> str:
    """Return how many tasks have failed, and the command that queues them again."""
    return f"{count:,} failed. To queue {_them(count)} again: {command('retry', db)}"


def _person_lines(found: LedgerStatus, db: Path) -> Iterator[str]:
    """Yield what needs the user, in the order in which the commands are typed."""
    uncertain, failed = found.total.counts[State.UNCERTAIN], sum(n for _, n, _ in found.failures)
    if found.uncertain:
        yield ""
        yield f"{uncertain:,} uncertain: the API may have accepted and charged {_them(uncertain)}. To decide:"
        for name in found.uncertain:
            yield "  " + safe(command("show", db, name))
        if more := uncertain - len(found.uncertain):
            yield f"  and {more:,} more: {command('tasks --state uncertain', db)}"
    if found.doubtful:
        count = found.doubtful_count
        yield ""
        yield f"{plural(count, 'result')} without a swap in all frames. To see them: {command('report', db)}"
        for each in found.doubtful:
            yield "  " + safe(f"{each.name}: {each.words}")
        if more := count - len(found.doubtful):
            kinds = " ".join(f"--quality {each}" for each in DOUBTFUL)
            yield f"  and {more:,} more: {command('tasks', db, options=f'{kinds} --review none')}"
        decide = command("review", db, options="--accept KEY")
        yield f"  To decide: {decide}, --reject KEY, or --redo KEY, which costs credits again"
    if found.failures:
        yield ""
        yield failed_words(failed, db)
        for code, n, reason in found.failures:
            yield "  " + safe(f"{n:,} × {code}: {reason}")
        if any(code == GIVEN_UP for code, _, _ in found.failures):
            again = command("retry", db, options=f"--code {GIVEN_UP}")
            yield f"  Tasks that you gave up on may already be paid. To queue them anyway: {again}"
