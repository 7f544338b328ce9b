"""`batchswap resolve`: record the user's decision about an uncertain task."""

import asyncio
from pathlib import Path

import msgspec

from batchswap import wire
from batchswap.cli.command_options import ResolveOptions
from batchswap.cli.console import Console
from batchswap.cli.options import AccountOptions
from batchswap.cli.settings_from_options import build_settings
from batchswap.errors import Exit, UsageError
from batchswap.ledger import operator_actions, report_queries, rows, transitions
from batchswap.ledger.submission_log.entries import What
from batchswap.operations.ledger_access import changing, find, reading
from batchswap.operations.log_access import write_down
from batchswap.operations.provider import LOCAL, find_account, opened
from batchswap.report.next_commands import command
from batchswap.runner.collect.input_match import fits, has_other_file
from batchswap.runner.standalone_calls import FreeCalls, free_calls
from batchswap.tasks import Task
from batchswap.verdicts import Kind


def resolve(console: Console, options: ResolveOptions) -> int:
    """Record the decision in the ledger and in the submission log."""
    db, task_id = options.db, options.task_id
    if (task_id is not None) + options.not_accepted + options.give_up != 1:
        raise UsageError("give one of --task-id ID, --not-accepted and --give-up")
    with changing(db) as (ledger, stamp):
        transitions.recover(ledger, stamp)  # of an interrupted run: its open submits become uncertain
    with reading(db) as ledger:
        task = find(ledger, options.key, db)
        operator_actions.unclear(ledger, task)
        account = report_queries.attempts(ledger, task.id)[-1].account
    if task_id is not None:
        asyncio.run(_confirm(task, task_id, account, options))
    what = What.ACCEPTED if task_id is not None else What.REFUSED if options.not_accepted else What.ENDED
    with changing(db) as (ledger, stamp):
        task = find(ledger, options.key, db)
        if task_id is not None:
            operator_actions.attach(ledger, stamp, task, task_id)
            outcome = f"was accepted as {task_id}; the next run collects it"
        elif options.not_accepted:
            operator_actions.not_accepted(ledger, stamp, task)
            outcome = "is queued again; the next run submits it"
        else:
            operator_actions.give_up(ledger, stamp, task)
            again = command("retry", db, f"{task.batch}/{task.key}")
            outcome = f"is given up and counts as failed; `{again}` would pay again"
        attempt = rows.last_attempt(ledger, task.id)
    if attempt is not None:
        write_down(db, what, [(task, attempt)])
    console.conclude(f"{task.batch}/{task.key} {outcome}")
    return Exit.DONE


async def _confirm(task: Task, task_id: str, account: str, options: ResolveOptions) -> None:
    """Raise UsageError unless the API of the attempt knows the id and has it for the inputs of the task."""
    is_local = account == LOCAL
    provider, base_url = (LOCAL, "") if is_local else ("crun", account)
    asked = build_settings(AccountOptions(provider=provider, base_url=base_url, rate=options.rate))
    settings = msgspec.structs.replace(asked, db=options.db)
    async with opened(settings, find_account(settings)) as who, free_calls(settings, who) as calls:
        await check_fit(calls, task, task_id, options.db)


async def check_fit(calls: FreeCalls, task: Task, task_id: str, db: Path) -> None:
    """Raise UsageError unless the API knows the id and has it for the inputs of the task."""
    if wire.usable_id(task_id) is None:
        raise UsageError(f"{task_id!r} cannot be a task id: it must have 1 to 256 printable characters")
    answer, verdict = await calls.call(lambda client: client.task_info(task_id))
    info = wire.TaskInfo.from_json(answer.data)
    if verdict.kind is not Kind.OK or info.task_id not in ("", task_id):
        raise UsageError(f"the API does not know a task {task_id} ({verdict.code or 'its answer names another task'})")
    with reading(db) as ledger:
        is_other = not fits(task, info.param) or has_other_file(ledger, task, info.param)
    if is_other:
        raise UsageError(
            f"{task_id} has other inputs than {task.batch}/{task.key}: give the id of the task with these inputs"
        )
