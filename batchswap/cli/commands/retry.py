"""`batchswap retry`: queue failed tasks again, and have missing results downloaded again."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import click

from batchswap.cli.command_options import RetryOptions
from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Console
from batchswap.errors import Exit, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger import operator_actions, queries, releases, transitions
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.transitions import Stamp
from batchswap.operations.ledger_access import changing, check_batch, find
from batchswap.report import stored_files
from batchswap.report.formatting import plural
from batchswap.states import Event, State
from batchswap.tasks import Task


def retry(console: Console, options: RetryOptions) -> int:
    """Queue tasks again; tasks that are paid for are only collected again."""
    ctx, batch, code = click.get_current_context(), options.batch, options.code
    if options.keys:
        if is_typed(ctx, "code", "batch"):
            raise UsageError("give either task names, or --code and --batch")
        code = batch = None
    elif options.state == State.CANCELLED and not is_typed(ctx, "state"):
        raise UsageError(
            f"--state {options.state}{elsewhere(ctx, 'state')}: for other tasks than failed ones, type the option"
        )
    # A variable or a file may set --state for `tasks`. For `retry` it counts only on the command line.
    state = State(options.state) if is_typed(ctx, "state") else State.FAILED
    may_pay_twice = bool(options.keys) or (code == operator_actions.GIVEN_UP and is_typed(ctx, "code"))
    done = Retried()
    with changing(options.db) as (ledger, stamp):
        check_batch(ledger, batch, options.db)
        withdrawn = {} if options.keys else releases.withdrawn(ledger)
        for task in _chosen(ledger, options, state, batch, code):
            if task.consent in withdrawn:
                done.withdrawn += 1
            elif may_pay_twice or not operator_actions.is_given_up(ledger, task):
                _put_back(ledger, stamp, task, options.out, done)
            else:
                done.left += 1
    console.conclude(str(done))
    return Exit.DONE


def _chosen(
    ledger: sqlite3.Connection, options: RetryOptions, state: State, batch: str | None, code: str | None
) -> Iterator[Task]:
    """Yield the named tasks, or the done tasks whose file is missing or changed, or the tasks in a state."""
    if options.keys:
        yield from [find(ledger, key, options.db) for key in dict.fromkeys(options.keys)]
    elif state is State.DONE:
        batches = [batch] if batch is not None else queries.batches(ledger)
        files = stored_files.look(ledger, batches, options.out)
        yield from [transitions.find_task(ledger, each.id) for each in (*files.gone, *files.changed)]
    else:
        yield from operator_actions.chosen(ledger, state, batch=batch, code=code)


@dataclass
class Retried:
    """Counts of the tasks that were put back, by event, and of those that need a remark."""

    moved: Counter[str] = field(default_factory=Counter)
    left: int = 0
    withdrawn: int = 0
    orphaned: int = 0

    def __str__(self) -> str:
        again, resumed = self.moved[Event.RETRIED], self.moved[Event.RESUMED] + self.moved[Event.REUSE_AGAIN]
        paid = f", {resumed:,} to collect again without paying" if resumed else ""
        parts = [f"{plural(again, 'task')} queued again{paid}"]
        if self.left:
            they, them = ("it", "it") if self.left == 1 else ("they", "them")
            skipped = f"skipped {plural(self.left, 'task')} that you had given up on: {they} may already be paid"
            parts.append(f"{skipped}, name {them} to queue {them} anyway")
        if self.withdrawn:
            parts.append(f"skipped {plural(self.withdrawn, 'task')} whose release was withdrawn")
        if self.moved.total() > self.orphaned:
            parts.append("the next run takes them")
        if self.orphaned:
            has = "has" if self.orphaned == 1 else "have"
            parts.append(f"{self.orphaned:,} {has} no row in the manifest any more and will not run without it")
        return "; ".join(parts)


def _put_back(ledger: sqlite3.Connection, stamp: Stamp, task: Task, out: Path, done: Retried) -> None:
    found = _compare(ledger, out, task) if task.state is State.DONE else StoredResult.KEPT
    event = operator_actions.retry(ledger, stamp, task, is_gone=found is not StoredResult.KEPT)
    done.moved[event] += 1
    done.orphaned += event is Event.RETRIED and orphans.is_orphan(ledger, task.id)
    if found is StoredResult.ANOTHER:
        words = "is not the stored result and is never replaced: move it away before the next run"
        report(LogEvent.RESULTS_MISSING, f"{out / task.output}: {words}", logging.WARNING)


class StoredResult(Enum):
    """The result file of a done task. ANOTHER: the path has a different file now."""

    KEPT = "kept"
    MISSING = "missing"
    ANOTHER = "another"


def _compare(db: sqlite3.Connection, out: Path, task: Task) -> StoredResult:
    """Compare the file of a done task with its record in the ledger. Raise UsageError when it cannot be read."""
    known = queries.stored_by(db, task.id)
    if known is None:
        return StoredResult.MISSING
    path = out / known.file
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return StoredResult.MISSING
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    try:
        is_same = path.is_file() and path.stat().st_size == known.size and hash_file(path) == known.sha256
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return StoredResult.KEPT if is_same else StoredResult.ANOTHER
