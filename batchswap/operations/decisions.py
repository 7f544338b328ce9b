"""Decisions of the user about tasks: queue them again, cancel them, settle uncertain ones.

Each one changes the ledger in one transaction. It raises UsageError, and LedgerBusy during a run.
"""

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger import operator_actions, queries, releases, rows, transitions
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.submission_log.entries import What
from batchswap.ledger.transitions import Stamp
from batchswap.operations.ledger_access import changing, check_batch, find, reading
from batchswap.operations.log_access import write_down
from batchswap.report import stored_files
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command
from batchswap.states import Event, State
from batchswap.tasks import Task


class RetryChoice(msgspec.Struct, frozen=True):
    """The tasks to retry: those with these `keys`, or all in a state. Done ones only if their file is gone or changed.

    `may_pay_twice`: also those that the user had given up on.
    """

    keys: tuple[str, ...] = ()
    state: State = State.FAILED
    batch: str | None = None
    code: str | None = None
    may_pay_twice: bool = False


def retry(path: Path, out: Path, choice: RetryChoice) -> str:
    """Queue tasks again, and return a sentence about it. Those that are paid for are only collected again."""
    done = Retried()
    with changing(path) as (ledger, stamp):
        check_batch(ledger, choice.batch, path)
        withdrawn = {} if choice.keys else releases.withdrawn(ledger)
        for task in _chosen(ledger, path, out, choice):
            if task.consent in withdrawn:
                done.withdrawn += 1
            elif choice.may_pay_twice or not operator_actions.is_given_up(ledger, task):
                _put_back(ledger, stamp, task, out, done)
            else:
                done.left += 1
    return str(done)


def _chosen(ledger: sqlite3.Connection, path: Path, out: Path, choice: RetryChoice) -> Iterator[Task]:
    """Yield the named tasks, or the done tasks whose file is missing or changed, or the tasks in a state."""
    if choice.keys:
        yield from [find(ledger, key, path) for key in dict.fromkeys(choice.keys)]
    elif choice.state is State.DONE:
        batches = [choice.batch] if choice.batch is not None else queries.batches(ledger)
        files = stored_files.look(ledger, batches, out)
        yield from [transitions.find_task(ledger, each.id) for each in (*files.gone, *files.changed)]
    else:
        yield from operator_actions.chosen(ledger, choice.state, batch=choice.batch, code=choice.code)


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
        if taken := max(0, self.moved.total() - self.orphaned):
            parts.append("the next run takes " + ("it" if taken == 1 else "them"))
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


class Cancelled(msgspec.Struct, frozen=True):
    """The number of cancelled tasks, of those that the user had given up on before, and the others among the named."""

    total: int
    given_up: int
    back: tuple[str, ...]


def cancel(path: Path, keys: Sequence[str], batch: str | None) -> Cancelled:
    """Cancel the named tasks, or the queued ones of a batch."""
    count = given_up = 0
    with changing(path) as (ledger, stamp):
        check_batch(ledger, batch, path)
        named = [find(ledger, key, path) for key in dict.fromkeys(keys)]
        back = [task for task in named if not operator_actions.is_given_up(ledger, task)]
        for task in named or (operator_actions.chosen(ledger, State.QUEUED, batch=batch) if batch is not None else ()):
            given_up += operator_actions.is_given_up(ledger, task)
            operator_actions.cancel(ledger, stamp, task)
            count += 1
    return Cancelled(count, given_up, tuple(f"{task.batch}/{task.key}" for task in back))


class Settlement(msgspec.Struct, frozen=True):
    """What became of an uncertain task: it was accepted as `task_id`, or not at all; otherwise it is given up."""

    task_id: str | None = None
    not_accepted: bool = False


def uncertain_task(path: Path, key: str) -> tuple[Task, str]:
    """Return an uncertain task and the name of the account that its last attempt went to."""
    with changing(path) as (ledger, stamp):
        transitions.recover(ledger, stamp)  # of an interrupted run: its open submits become uncertain
    with reading(path) as ledger:
        task = find(ledger, key, path)
        attempt = operator_actions.unclear(ledger, task)
        account = ledger.execute("select account from attempts where id = ?", (attempt.id,)).fetchone()[0]
    return task, str(account)


def settle(path: Path, key: str, given: Settlement) -> str:
    """Settle an uncertain task, in the ledger and in the submission log, and return a sentence about it.

    The caller has confirmed a task id.
    """
    with changing(path) as (ledger, stamp):
        task = find(ledger, key, path)
        if given.task_id is not None:
            operator_actions.attach(ledger, stamp, task, given.task_id)
            what, outcome = What.ACCEPTED, f"was accepted as {given.task_id}; the next run collects it"
        elif given.not_accepted:
            operator_actions.not_accepted(ledger, stamp, task)
            what, outcome = What.REFUSED, "is queued again; the next run submits it"
        else:
            operator_actions.give_up(ledger, stamp, task)
            again = command("retry", path, f"{task.batch}/{task.key}")
            what, outcome = What.ENDED, f"is given up and counts as failed; `{again}` would pay again"
        attempt = rows.last_attempt(ledger, task.id)
    if attempt is not None:
        write_down(path, what, [(task, attempt)])
    return f"{task.batch}/{task.key} {outcome}"
