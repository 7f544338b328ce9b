"""A person's word on tasks: retry, resolve, cancel."""

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, UsageError

if TYPE_CHECKING:
    import sqlite3

    from batchswap.ledger.transitions import Stamp
    from batchswap.runner.standalone_calls import Errands
    from batchswap.tasks import Task

KEYS = click.argument("keys", nargs=-1, metavar="[KEY]...")


@click.command(cls=options.Command, short_help="put failed tasks back into the queue; the next run takes them")
@KEYS
@options.DB
@options.OUT
@options.option("--state", type=click.Choice(["failed", "cancelled", "done"]), default="failed", help="which tasks")
@options.option("--code", metavar="CODE", default=None, help="only with this reason code, such as 501")
@options.option("--batch", metavar="NAME", default=None, help="only of this batch")
@click.pass_context
def retry(
    ctx: click.Context,
    /,
    keys: tuple[str, ...],
    db: Path,
    out: Path,
    state: str,
    code: str | None,
    batch: str | None,
) -> int:
    """Put failed tasks back into the queue; the next run takes them.

    What was paid for already (a download or a wait that was given up) is asked for again, not paid again. Tasks that
    were given up while uncertain are taken only by their KEY, or with --code given-up. A done task that is named is
    asked for again, too, when its file is missing below --out, or is no longer what was stored; --state done asks for
    all of those, wherever they were stored. What a variable or a
    file says of --code and --batch makes the choice smaller, and does not count beside a KEY.
    """
    from batchswap.ledger import operator_actions
    from batchswap.operations.ledger_access import changing, check_batch, find
    from batchswap.states import State

    voice: Voice = ctx.obj
    if keys:
        if is_typed(ctx, "code", "batch"):
            raise UsageError("either name tasks, or choose them with --code and --batch")
        code = batch = None
    elif state != State.FAILED and not is_typed(ctx, "state"):
        raise UsageError(
            f"--state {state}{elsewhere(ctx, 'state')}: other tasks than failed ones are chosen by typing it"
        )
    may_pay_twice = bool(keys) or (code == operator_actions.GIVEN_UP and is_typed(ctx, "code"))
    done = Retried()
    with changing(db) as (ledger, stamp):
        check_batch(ledger, batch, db)
        named = [find(ledger, key, db) for key in dict.fromkeys(keys)]
        if not keys and state == State.DONE:
            named = _lost(ledger, out, batch)
        chosen = keys or state == State.DONE
        for task in named if chosen else operator_actions.chosen(ledger, State(state), batch=batch, code=code):
            if may_pay_twice or not operator_actions.is_given_up(ledger, task):
                _put_back(ledger, stamp, task, out, done)
            else:
                done.left += 1
    voice.conclude(str(done))
    return Exit.DONE


def _lost(ledger: "sqlite3.Connection", out: Path, batch: str | None) -> "list[Task]":
    """Done tasks whose file is gone, or is not what was stored."""
    from batchswap.ledger import queries, transitions
    from batchswap.report import stored_files

    found = stored_files.look(ledger, [batch] if batch is not None else queries.batches(ledger), out)
    return [transitions.find_task(ledger, each.id) for each in (*found.gone, *found.changed)]


@dataclass
class Retried:
    """What `retry` did: tasks by the event that put them back, and what there is to say of some."""

    moved: Counter[str] = field(default_factory=Counter)
    left: int = 0
    orphaned: int = 0
    in_the_way: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        from batchswap.report.formatting import plural
        from batchswap.states import Event

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


def _put_back(ledger: "sqlite3.Connection", stamp: "Stamp", task: "Task", out: Path, done: Retried) -> None:
    from batchswap.cli import results
    from batchswap.ledger import operator_actions
    from batchswap.ledger.enrolment import orphans
    from batchswap.states import Event, State

    found = results.look(ledger, out, task) if task.state is State.DONE else results.Result.STANDS
    event = operator_actions.retry(ledger, stamp, task, is_gone=found is not results.Result.STANDS)
    done.moved[event] += 1
    done.orphaned += event is Event.RETRIED and orphans.is_orphan(ledger, task.id)
    if found is results.Result.ANOTHER:
        done.in_the_way.append(str(out / task.output))


@click.command(cls=options.Command, short_help="queued tasks that are not to run")
@KEYS
@options.DB
@options.option("--batch", metavar="NAME", default=None, help="all queued tasks of this batch; only as typed here")
@click.pass_context
def cancel(ctx: click.Context, /, keys: tuple[str, ...], db: Path, batch: str | None) -> int:
    """Queued tasks that are not to run. A failed task that is named is cancelled too, and counts no longer."""
    from batchswap.ledger import operator_actions
    from batchswap.operations.ledger_access import changing, check_batch, find
    from batchswap.report.formatting import plural
    from batchswap.states import State

    voice: Voice = ctx.obj
    if not is_typed(ctx, "batch"):
        batch = None
    if bool(keys) == (batch is not None):
        where = elsewhere(ctx, "batch")
        hint = f"; a batch{where} does not choose them" if where else ""
        raise UsageError(f"name the tasks to cancel, or all queued ones of a batch with --batch{hint}")
    count = given_up = 0
    with changing(db) as (ledger, stamp):
        check_batch(ledger, batch, db)
        named = [find(ledger, key, db) for key in dict.fromkeys(keys)]
        back = [task for task in named if not operator_actions.is_given_up(ledger, task)]
        for task in named or (operator_actions.chosen(ledger, State.QUEUED, batch=batch) if batch is not None else ()):
            given_up += operator_actions.is_given_up(ledger, task)
            operator_actions.cancel(ledger, stamp, task)
            count += 1
    done = [f"{plural(count, 'task')} cancelled"]
    if count > given_up:
        done.append(_taken_back(back, batch, db))
    if given_up:
        done.append(f"{given_up:,} given up while uncertain only by KEY: that may pay twice")
    voice.conclude("; ".join(done))
    return Exit.DONE


def _taken_back(named: "list[Task]", batch: str | None, db: Path) -> str:
    """How: of a batch, what was cancelled before comes along."""
    from batchswap.report.next_commands import command

    if batch is None:
        return f"`{command('retry', db, *(f'{task.batch}/{task.key}' for task in named))}` queues what is named again"
    chosen = f"--state cancelled --batch {shlex.quote(batch)}"
    return f"`{command('retry', db, options=chosen)}` queues all that are cancelled of it again"


@click.command(cls=options.Command, short_help="a person's word on an uncertain task")
@click.argument("key", metavar="KEY")
@options.DB
@options.option("--task-id", metavar="ID", default=None, help="it was accepted, as ID (the API is asked about it)")
@options.flag("--not-accepted", help="it was not accepted: queue it again")
@options.flag("--give-up", help="leave it, as failed")
@options.RATE
@click.pass_obj
def resolve(
    voice: Voice, /, key: str, db: Path, task_id: str | None, not_accepted: bool, give_up: bool, rate: Any
) -> int:
    """A person's word on an uncertain task: it was accepted as ID; it was not, queue it again; leave it."""
    from batchswap.ledger import operator_actions, report_queries, rows, transitions
    from batchswap.ledger.submission_log.entries import What
    from batchswap.operations.ledger_access import changing, find, reading
    from batchswap.operations.log_access import write_down
    from batchswap.report.next_commands import command

    if (task_id is not None) + not_accepted + give_up != 1:
        raise UsageError("say one of --task-id ID, --not-accepted and --give-up")
    with changing(db) as (ledger, stamp):
        transitions.recover(ledger, stamp)  # no run goes on: what it was submitting when it died is unclear
    with reading(db) as ledger:
        task = find(ledger, key, db)
        operator_actions.unclear(ledger, task)
        account = report_queries.tries(ledger, task.id)[-1].account
    if task_id is not None:
        complete(_confirm(task, task_id, account, db, rate))
    what = What.ACCEPTED if task_id is not None else What.REFUSED if not_accepted else What.ENDED
    with changing(db) as (ledger, stamp):
        task = find(ledger, key, db)
        if task_id is not None:
            operator_actions.attach(ledger, stamp, task, task_id)
            said = f"is {task_id}: the next run collects it"
        elif not_accepted:
            operator_actions.not_accepted(ledger, stamp, task)
            said = "is queued again: the next run takes it"
        else:
            operator_actions.give_up(ledger, stamp, task)
            again = command("retry", db, f"{task.batch}/{task.key}")
            said = f"is given up, as failed; `{again}` would pay again"
        attempt = rows.last_attempt(ledger, task.id)
    if attempt is not None:
        write_down(voice.say, db, what, [(task, attempt)])
    voice.conclude(f"{task.batch}/{task.key} {said}")
    return Exit.DONE


async def _confirm(task: "Task", task_id: str, account: str, db: Path, rate: Any) -> None:
    """Raises UsageError unless the API knows the id, and has it for these inputs."""
    from batchswap.cli.settings_from_options import build_settings
    from batchswap.operations.provider import LOCAL, find_account, opened
    from batchswap.runner.standalone_calls import errands

    place = {"provider": LOCAL} if account == LOCAL else {"provider": "crun", "base_url": account}
    settings = build_settings(db=db, rate=rate, **place)
    async with opened(settings, find_account(settings)) as who, errands(settings, who) as asking:
        await check_fit(asking, task, task_id, db)


async def check_fit(asking: "Errands", task: "Task", task_id: str, db: Path) -> None:
    """Raises UsageError unless the API knows the id, and has it for these inputs."""
    from batchswap import wire
    from batchswap.operations.ledger_access import reading
    from batchswap.runner.collect.input_match import fits, has_other_file
    from batchswap.verdicts import Kind

    if wire.usable_id(task_id) is None:
        raise UsageError(f"{task_id!r} cannot be a task id: they have 1 to 256 printable characters")
    answer, verdict = await asking.hear(lambda client: client.task_info(task_id))
    info = wire.TaskInfo.from_json(answer.data)
    if verdict.kind is not Kind.OK or info.task_id not in ("", task_id):
        raise UsageError(f"the API does not know a task {task_id} ({verdict.code or 'it speaks of another one'})")
    with reading(db) as ledger:
        is_other = not fits(task, info.param) or has_other_file(ledger, task, info.param)
    if is_other:
        raise UsageError(f"{task_id} was made from other inputs than {task.batch}/{task.key}")
