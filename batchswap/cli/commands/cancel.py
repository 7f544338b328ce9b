"""`batchswap cancel`: take tasks out of the queue."""

import shlex
from pathlib import Path

import click

from batchswap.cli.command_options import CancelOptions
from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Console
from batchswap.errors import Exit, UsageError
from batchswap.operations import decisions
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command

NAMED = 3
"""Tasks that are named in a command at most."""


def cancel(console: Console, options: CancelOptions) -> int:
    """Cancel the named tasks, or the queued ones of a batch."""
    ctx = click.get_current_context()
    batch = options.batch if is_typed(ctx, "batch") else None
    if bool(options.keys) == (batch is not None):
        where = elsewhere(ctx, "batch")
        hint = f"; --batch{where} does not count here" if where else ""
        raise UsageError(f"give either the tasks to cancel, or --batch NAME for all queued ones of a batch{hint}")
    cancelled = decisions.cancel(options.db, options.keys, batch)
    done = [f"{plural(cancelled.total, 'task')} cancelled"]
    if cancelled.total > cancelled.given_up:
        done.append(_undo(cancelled.back, batch, options.db))
    if cancelled.given_up:
        paid = f"{plural(cancelled.given_up, 'task')} that you had given up on may already be paid"
        done.append(f"{paid}: only `batchswap retry KEY` queues such a task again")
    console.conclude("; ".join(done))
    return Exit.DONE


def _undo(named: tuple[str, ...], batch: str | None, db: Path) -> str:
    """Return how to undo it. For a batch, that includes tasks which were cancelled earlier."""
    if batch is not None:
        chosen = f"--state cancelled --batch {shlex.quote(batch)}"
        return f"to queue all cancelled tasks of the batch again: `{command('retry', db, options=chosen)}`"
    if len(named) > NAMED:
        return "to undo: `batchswap retry` with the same names"
    return f"to undo: `{command('retry', db, *named)}`"
