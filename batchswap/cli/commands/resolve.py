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
from batchswap.operations import decisions
from batchswap.operations.decisions import Settlement
from batchswap.operations.ledger_access import reading
from batchswap.operations.provider import LOCAL, find_account, opened
from batchswap.runner.collect.input_match import fits, has_other_file
from batchswap.runner.standalone_calls import FreeCalls, free_calls
from batchswap.tasks import Task
from batchswap.verdicts import Kind


def resolve(console: Console, options: ResolveOptions) -> int:
    """Record the decision in the ledger and in the submission log."""
    db, task_id = options.db, options.task_id
    if (task_id is not None) + options.not_accepted + options.give_up != 1:
        raise UsageError("give one of --task-id ID, --not-accepted and --give-up")
    task, account = decisions.uncertain_task(db, options.key)
    if task_id is not None:
        asyncio.run(_confirm(task, task_id, account, options))
    console.conclude(decisions.settle(db, options.key, Settlement(task_id, options.not_accepted)))
    return Exit.DONE


async def _confirm(task: Task, task_id: str, account: str, options: ResolveOptions) -> None:
    """Raise UsageError unless the API of the attempt knows the id and has it for the inputs of the task."""
    is_local = account == LOCAL
    provider, base_url = (LOCAL, "") if is_local else ("crun", account)
    asked = build_settings(AccountOptions(provider=provider, base_url=base_url, proxy=options.proxy, rate=options.rate))
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
