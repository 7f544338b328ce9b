"""`batchswap adopt`: attach tasks that the API already has to rows of the ledger. Nothing is submitted."""

import asyncio
import csv
from pathlib import Path

from batchswap import wire
from batchswap.cli.command_options import AdoptOptions
from batchswap.cli.commands.recovery.rebuild import conclude, gather
from batchswap.cli.commands.resolve import check_fit
from batchswap.cli.console import Console
from batchswap.cli.settings_from_options import build_settings
from batchswap.errors import Exit, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger import operator_actions, rows, transitions
from batchswap.ledger.submission_log import adoption, entries
from batchswap.ledger.submission_log.attempts import Gathered
from batchswap.ledger.submission_log.entries import What
from batchswap.operations.ledger_access import changing, find, reading
from batchswap.operations.log_access import write_down
from batchswap.operations.provider import LOCAL, find_account, opened
from batchswap.report.formatting import plural
from batchswap.runner.run import Account
from batchswap.runner.standalone_calls import free_calls
from batchswap.settings import Settings
from batchswap.states import State
from batchswap.tasks import Task

_COLUMNS = {"key", "task_id", "batch"}


def adopt(console: Console, options: AdoptOptions) -> int:
    """Attach one task, those that a CSV file names, or those of a submission log."""
    key, task_id, source = options.key, options.task_id, options.source
    if (source is None) != (key is not None and task_id is not None) or (source is not None and key is not None):
        raise UsageError("give a KEY and its TASK_ID, or --from FILE with a list of them")
    if source is not None and entries.is_log(source):
        return _adopt_log(console, source, options.db, options.base_url)
    pairs = _read_pairs(source) if source is not None else [(str(key), str(task_id))]
    return _adopt_pairs(console, pairs, build_settings(options))


def _adopt_log(console: Console, source: Path, db: Path, base_url: str) -> int:
    found = Gathered()
    try:
        gather(source, entries.owner_of(source.name), found)
        with changing(db) as (ledger, stamp):
            accounts = adoption.accounts_of(ledger)
            adoption.keep(ledger, adoption.fitting(ledger, found), accounts, base_url)
            done = adoption.attach_kept(ledger, stamp)
    finally:
        found.close()
    conclude(console, done, 0, 0, db)
    return Exit.DONE


def _adopt_pairs(console: Console, pairs: list[tuple[str, str]], settings: Settings) -> int:
    db = settings.db
    with changing(db) as (ledger, stamp):
        transitions.recover(ledger, stamp)  # of an interrupted run: its open submits become uncertain
    with reading(db) as ledger:
        named = [(find(ledger, key, db), task_id) for key, task_id in pairs]
    account = find_account(settings)
    asyncio.run(_confirm(named, settings, account))
    name, owner = (LOCAL, LOCAL) if account is None else (account.name, account.owner)
    attached = []
    with changing(db) as (ledger, stamp):
        for task, task_id in named:
            item = transitions.find_task(ledger, task.id)
            if item.state is State.UNCERTAIN:
                operator_actions.attach(ledger, stamp, item, task_id)
            else:
                adoption.adopt(ledger, stamp, item, task_id, account=name, owner=owner)
            if (attempt := rows.last_attempt(ledger, task.id)) is not None:
                attached.append((item, attempt))
    write_down(db, What.ACCEPTED, attached)
    console.conclude(f"{plural(len(named), 'task')} attached; the next run collects the results without paying")
    return Exit.DONE


async def _confirm(named: list[tuple[Task, str]], settings: Settings, account: Account | None) -> None:
    """Raise UsageError for the first task id that the API does not know or has for other inputs."""
    async with opened(settings, account) as who, free_calls(settings, who) as calls:
        for number, (task, task_id) in enumerate(named, 1):
            await check_fit(calls, task, task_id, settings.db)
            if number % 100 == 0:
                report(LogEvent.CONFIRMED, f"{number:,} of {len(named):,} task ids match their rows")


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return task names, as `KEY` or `batch/KEY`, and their ids. Raises UsageError with file:line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"key", "task_id"} <= set(rows.fieldnames or ()) <= _COLUMNS:
                raise UsageError(f"{path}:1: the columns must be key, task_id and optionally batch")
            found = [_pair(path, rows.line_num, row) for row in rows]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not a CSV file in UTF-8 ({error})") from error
    for place in (0, 1):
        names = [pair[place] for pair in found]
        if (
            twice := next((name for name in names if names.count(name) > 1), None)
            if len(set(names)) < len(names)
            else None
        ):
            raise UsageError(f"{path}: {twice} occurs twice")
    if not found:
        raise UsageError(f"{path}: has no rows")
    return found


def _pair(path: Path, line: int, row: dict[str, str | None]) -> tuple[str, str]:
    key, task_id, batch = (str(row.get(name) or "") for name in ("key", "task_id", "batch"))
    if not key or wire.usable_id(task_id) is None or None in row:
        raise UsageError(f"{path}:{line}: needs a key and a task id of 1 to 256 printable characters")
    return f"{batch}/{key}" if batch else key, task_id
