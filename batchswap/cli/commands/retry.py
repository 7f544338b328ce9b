"""`batchswap retry`: failed tasks, and results that are gone, back into the queue."""

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
from batchswap.ledger import operator_actions, queries, transitions
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.transitions import Stamp
from batchswap.operations.ledger_access import changing, check_batch, find
from batchswap.report import stored_files
from batchswap.report.formatting import plural
from batchswap.runner.prepare.uploads import hash_file
from batchswap.states import Event, State
from batchswap.tasks import Task


def retry(console: Console, options: RetryOptions) -> int:
    """Queue tasks again, or let the next run ask for their results again."""
    ctx, batch, code = click.get_current_context(), options.batch, options.code
    if options.keys:
        if is_typed(ctx, "code", "batch"):
            raise UsageError("either name tasks, or choose them with --code and --batch")
        code = batch = None
    elif options.state == State.CANCELLED and not is_typed(ctx, "state"):
        raise UsageError(
            f"--state {options.state}{elsewhere(ctx, 'state')}: other tasks than failed ones are chosen by typing it"
        )
    # An option of `tasks` in a variable or a file may name done tasks: for `retry` they are typed.
    state = State(options.state) if is_typed(ctx, "state") else State.FAILED
    may_pay_twice = bool(options.keys) or (code == operator_actions.GIVEN_UP and is_typed(ctx, "code"))
    done = Retried()
    with changing(options.db) as (ledger, stamp):
        check_batch(ledger, batch, options.db)
        for task in _chosen(ledger, options, state, batch, code):
            if may_pay_twice or not operator_actions.is_given_up(ledger, task):
                _put_back(ledger, stamp, task, options.out, done)
            else:
                done.left += 1
    console.conclude(str(done))
    return Exit.DONE


def _chosen(
    ledger: sqlite3.Connection, options: RetryOptions, state: State, batch: str | None, code: str | None
) -> Iterator[Task]:
    """Yield the named tasks, done tasks whose file is gone or is not what was stored, or those in a state."""
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
    """What `retry` did: tasks by the event that put them back, and what there is to say of some."""

    moved: Counter[str] = field(default_factory=Counter)
    left: int = 0
    orphaned: int = 0
    in_the_way: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        again, resumed = self.moved[Event.RETRIED], self.moved[Event.RESUMED] + self.moved[Event.REUSE_AGAIN]
        said = [f"{plural(again, 'task')} queued again, {resumed:,} asked for again without paying"]
        if self.left:
            were, them = ("was", "it") if self.left == 1 else ("were", "them")
            said.append(f"{self.left:,} given up while uncertain {were} left: name {them} to risk paying twice")
        if self.moved.total() > self.orphaned:
            said.append("the next run takes them")
        if self.orphaned:
            said.append(f"{self.orphaned:,} no longer in the manifest: no run takes that before its row is back")
        if self.in_the_way:
            said.append(f"move away what is another file now, and is not replaced: {', '.join(self.in_the_way)}")
        return "; ".join(said)


def _put_back(ledger: sqlite3.Connection, stamp: Stamp, task: Task, out: Path, done: Retried) -> None:
    found = _compare(ledger, out, task) if task.state is State.DONE else StoredResult.KEPT
    event = operator_actions.retry(ledger, stamp, task, is_gone=found is not StoredResult.KEPT)
    done.moved[event] += 1
    done.orphaned += event is Event.RETRIED and orphans.is_orphan(ledger, task.id)
    if found is StoredResult.ANOTHER:
        done.in_the_way.append(str(out / task.output))


class StoredResult(Enum):
    """ANOTHER: the path has a file of unknown origin by now."""

    KEPT = "kept"
    MISSING = "missing"
    ANOTHER = "another"


def _compare(db: sqlite3.Connection, out: Path, task: Task) -> StoredResult:
    """Compare the file of a done task with what the ledger has recorded. Raises UsageError when it cannot be read."""
    path, known = out / task.output, queries.previous_result(db, task.id)
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
