"""`batchswap cancel`: queued tasks that are not to run."""

import shlex
from pathlib import Path

import click

from batchswap.cli.command_options import CancelOptions
from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Console
from batchswap.errors import Exit, UsageError
from batchswap.ledger import operator_actions
from batchswap.operations.ledger_access import changing, check_batch, find
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command
from batchswap.states import State
from batchswap.tasks import Task


def cancel(console: Console, options: CancelOptions) -> int:
    """Cancel the named tasks, or the queued ones of a batch."""
    ctx = click.get_current_context()
    batch = options.batch if is_typed(ctx, "batch") else None
    if bool(options.keys) == (batch is not None):
        where = elsewhere(ctx, "batch")
        hint = f"; a batch{where} does not choose them" if where else ""
        raise UsageError(f"name the tasks to cancel, or all queued ones of a batch with --batch{hint}")
    count = given_up = 0
    with changing(options.db) as (ledger, stamp):
        check_batch(ledger, batch, options.db)
        named = [find(ledger, key, options.db) for key in dict.fromkeys(options.keys)]
        back = [task for task in named if not operator_actions.is_given_up(ledger, task)]
        for task in named or (operator_actions.chosen(ledger, State.QUEUED, batch=batch) if batch is not None else ()):
            given_up += operator_actions.is_given_up(ledger, task)
            operator_actions.cancel(ledger, stamp, task)
            count += 1
    done = [f"{plural(count, 'task')} cancelled"]
    if count > given_up:
        done.append(_taken_back(back, batch, options.db))
    if given_up:
        done.append(f"{given_up:,} given up while uncertain only by KEY: that may pay twice")
    console.conclude("; ".join(done))
    return Exit.DONE


def _taken_back(named: list[Task], batch: str | None, db: Path) -> str:
    """How: of a batch, what was cancelled before comes along."""
    if batch is None:
        return f"`{command('retry', db, *(f'{task.batch}/{task.key}' for task in named))}` queues what is named again"
    chosen = f"--state cancelled --batch {shlex.quote(batch)}"
    return f"`{command('retry', db, options=chosen)}` queues all that are cancelled of it again"
