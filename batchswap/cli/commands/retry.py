"""`batchswap retry`: queue failed tasks again, and have missing results downloaded again."""

import click

from batchswap.cli.command_options import RetryOptions
from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Console
from batchswap.errors import Exit, UsageError
from batchswap.ledger import operator_actions
from batchswap.operations import decisions
from batchswap.operations.decisions import RetryChoice
from batchswap.states import State


def retry(console: Console, options: RetryOptions) -> int:
    """Queue tasks again; tasks that are paid for are only collected again."""
    choice = _named(options) if options.keys else _filtered(options)
    console.conclude(decisions.retry(options.db, options.out, choice))
    return Exit.DONE


def _named(options: RetryOptions) -> RetryChoice:
    """Return the choice of tasks by their names. Naming a task is the word to pay for it again."""
    if is_typed(click.get_current_context(), "code", "batch"):
        raise UsageError("give either task names, or --code and --batch")
    return RetryChoice(options.keys, may_pay_twice=True)


def _filtered(options: RetryOptions) -> RetryChoice:
    """Return the choice by options.

    A variable or a file may set --state for `tasks`. For `retry` it counts only on the command line.
    """
    ctx = click.get_current_context()
    if options.state == State.CANCELLED and not is_typed(ctx, "state"):
        raise UsageError(
            f"--state {options.state}{elsewhere(ctx, 'state')}: for other tasks than failed ones, type the option"
        )
    state = State(options.state) if is_typed(ctx, "state") else State.FAILED
    may_pay_twice = options.code == operator_actions.GIVEN_UP and is_typed(ctx, "code")
    return RetryChoice((), state, options.batch, options.code, may_pay_twice)
