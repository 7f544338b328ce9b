"""Commands for a ledger that was lost, restored or copied: rebuild and adopt. They never submit."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, UsageError
from batchswap.sqlite_errors import in_words

if TYPE_CHECKING:
    import sqlite3

    from batchswap.ledger.submission_log.adoption import Adopted
    from batchswap.ledger.submission_log.attempts import Gathered
    from batchswap.ledger.transitions import Stamp
    from batchswap.tasks import Task

AT_ONCE = 200
"""Results that are recorded in one transaction."""


@click.command(cls=options.Command, short_help="a ledger from manifests, the submission log and results; never submits")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...")
@options.DB
@options.OUT
@options.BASE_URL
@options.READING
@click.pass_obj
def rebuild(voice: Voice, /, manifests: tuple[str, ...], db: Path, out: Path, base_url: str, **asked: Any) -> int:
    """Rebuild the ledger from manifests, the submission log and the results below --out. It never submits.

    Also repairs a ledger that is behind its log, in place: then no manifest need be named. What the log knows as
    accepted is asked for by the next run without paying, what may have been accepted is uncertain, and a result that
    is there is done. --base-url: what the log's keys are for, where the ledger does not know it.
    """
    from batchswap.cli.settings_from_options import build_reading, build_sources
    from batchswap.ledger.file import connection
    from batchswap.ledger.submission_log import adoption, comparison
    from batchswap.ledger.transitions import Stamp
    from batchswap.operations.ledger_access import transaction
    from batchswap.operations.run import holding, say_enrolled
    from batchswap.runner.enrol import enrol_manifests
    from batchswap.state_folder import state_folder

    existed, folder = connection.exists(db), state_folder()
    if not manifests and not existed:
        raise UsageError(f"{db}: there is no ledger; name the manifests to rebuild it from")
    sources = build_sources(manifests, **asked)
    stamp = Stamp(time.time(), None)
    with (
        holding(db, voice.say, wait=False) as pin,
        _made(db, pin, existed=existed) as ledger,
        _gathered(voice, folder) as found,
    ):
        if sources:
            stdin = None if sys.stdin is None else sys.stdin.buffer
            say_enrolled(voice.say, enrol_manifests(ledger, stamp, sources, build_reading(out=out, **asked), stdin))
        with transaction(ledger):
            _import(ledger, found, base_url, is_new=not existed)
            done = adoption.attach_kept(ledger, stamp)
            with comparison.compared(ledger, folder) as compared:
                settled = comparison.catch_up(ledger, stamp, compared)
        saved = _take_results(voice, ledger, stamp, out, found)
    _conclude(voice, done, settled, saved, db)
    return Exit.DONE


@contextmanager
def _made(db: Path, pin: Callable[[], None], *, existed: bool) -> "Iterator[sqlite3.Connection]":
    """The ledger, to write. One that was not there is not there again when something fails."""
    from batchswap.ledger.file import connection

    try:
        connection.create(db)
        pin()
        with in_words(db, in_use=True), closing(connection.connect(db, write=True)) as ledger:
            yield ledger
    except BaseException:
        if not existed:
            connection.discard(db)
        raise


@contextmanager
def _gathered(voice: Voice, folder: Path) -> "Iterator[Gathered]":
    """Every attempt that the logs of all keys know."""
    from batchswap.ledger.submission_log import entries
    from batchswap.ledger.submission_log.attempts import Gathered

    found = Gathered()
    try:
        logs = entries.logs_in(folder)
        for owner, names in logs.items():
            for name in names:
                _gather(voice, folder / name, owner, found)
        if not logs:
            voice.say(f"there is no submission log in {folder}: what was submitted is not known", "warning")
        yield found
    finally:
        found.close()


def _gather(voice: Voice, path: Path, owner: str, found: "Gathered") -> None:
    from batchswap.ledger.submission_log import entries

    try:
        for some in entries.read_file(path):
            for entry in some:
                found.take(entry, owner)
    except OSError as error:
        voice.say(f"{path} cannot be read ({error.strerror}): what it knows is left out", "warning")


def _import(ledger: "sqlite3.Connection", found: "Gathered", base_url: str, *, is_new: bool) -> None:
    """The attempts of this ledger that it does not know, and those of other ledgers that fit its rows.

    A new ledger that fits one lost ledger alone continues as that one.
    """
    from batchswap.ledger.submission_log import adoption, position

    if is_new:
        ids = {each.ledger for each in adoption.fitting(ledger, found)}
        if len(ids) == 1:
            position.take_id(ledger, ids.pop())
    own, accounts = position.ledger_id(ledger), adoption.accounts_of(ledger)
    unknown = (each for each in found if each.ledger == own and not adoption.is_known(ledger, each.ref))
    adoption.keep(ledger, unknown, accounts, base_url)
    others = (each for each in found if each.ledger != own)
    adoption.keep(ledger, adoption.fitting(ledger, others), accounts, base_url)


def _take_results(voice: Voice, ledger: "sqlite3.Connection", stamp: "Stamp", out: Path, found: "Gathered") -> int:
    """Running tasks whose result is below --out are done. Returns how many."""
    from batchswap.ledger import operator_actions, rows
    from batchswap.ledger.submission_log import adoption
    from batchswap.operations.ledger_access import transaction
    from batchswap.runner.collect.kept_result import result_of
    from batchswap.states import State

    saved, running = 0, operator_actions.chosen(ledger, State.RUNNING)
    while some := [task for task, _ in zip(running, range(AT_ONCE), strict=False)]:
        with transaction(ledger):
            for task in some:
                attempt = rows.last_attempt(ledger, task.id)
                logged = found.find(attempt.ref) if attempt else None
                try:
                    result = result_of(out, task, logged) if logged else None
                except OSError as error:
                    voice.say(f"{out / task.output} cannot be read ({error.strerror}): it is fetched again", "warning")
                    continue
                if result is not None and logged is not None:
                    size, sha256 = result.size, result.sha256
                    adoption.finish(ledger, stamp, task, size=size, sha256=sha256, charged=logged.charged)
                    saved += 1
    return saved


def _conclude(voice: Voice, done: "Adopted", settled: int, saved: int, db: Path) -> None:
    from batchswap.report.formatting import plural

    said = [f"{db}: {plural(done.running + settled, 'submitted task')} attached, {saved:,} of them done already"]
    if done.uncertain:
        said.append(f"{done.uncertain:,} uncertain: the log does not tell whether the API accepted them")
    if done.left:
        said.append(
            f"{plural(done.left, 'attempt')} in the log without a row with their inputs: kept until there is one"
        )
    said.append("nothing was submitted; run again to collect the rest")
    voice.conclude("; ".join(said))


@click.command(cls=options.Command, short_help="attach tasks that are known to the API; never submits")
@click.argument("key", metavar="[KEY]", required=False)
@click.argument("task_id", metavar="[TASK_ID]", required=False)
@options.option("--from", "source", type=options.FILE, default=None, metavar="FILE",
                help="CSV with the columns key, task_id and optionally batch; or a submission log")  # fmt: skip
@options.DB
@options.PROVIDER
@click.pass_obj
def adopt(voice: Voice, /, key: str | None, task_id: str | None, source: Path | None, db: Path, **asked: Any) -> int:
    """Attach tasks that are known to the API to rows of the ledger. It never submits.

    The API is asked about each task: it must know it, and have it for the row's inputs. The next run collects it
    without paying. Of a submission log, what was submitted with the inputs of a row is attached without a question.
    """
    from batchswap.cli.commands.adoption_file import read_pairs
    from batchswap.cli.settings_from_options import build_settings
    from batchswap.ledger.submission_log import entries

    if (source is None) != (key is not None and task_id is not None) or (source is not None and key is not None):
        raise UsageError("name a KEY and its TASK_ID, or a file of them with --from FILE")
    settings = build_settings(db=db, **asked)
    if source is not None and entries.is_log(source):
        return _adopt_log(voice, source, db, settings.base_url)
    pairs = read_pairs(source) if source is not None else [(str(key), str(task_id))]
    return _adopt_pairs(voice, pairs, settings)


def _adopt_log(voice: Voice, source: Path, db: Path, base_url: str) -> int:
    from batchswap.ledger.submission_log import adoption, entries
    from batchswap.ledger.submission_log.attempts import Gathered
    from batchswap.operations.ledger_access import changing

    found = Gathered()
    try:
        _gather(voice, source, entries.owner_of(source.name), found)
        with changing(db) as (ledger, stamp):
            accounts = adoption.accounts_of(ledger)
            adoption.keep(ledger, adoption.fitting(ledger, found), accounts, base_url)
            done = adoption.attach_kept(ledger, stamp)
    finally:
        found.close()
    _conclude(voice, done, 0, 0, db)
    return Exit.DONE


def _adopt_pairs(voice: Voice, pairs: list[tuple[str, str]], settings: Any) -> int:
    from batchswap.ledger import operator_actions, rows, transitions
    from batchswap.ledger.submission_log import adoption
    from batchswap.ledger.submission_log.entries import What
    from batchswap.operations.ledger_access import changing, find, reading
    from batchswap.operations.log_access import write_down
    from batchswap.operations.provider import LOCAL, find_account
    from batchswap.report.formatting import plural
    from batchswap.states import State

    db = settings.db
    with changing(db) as (ledger, stamp):
        transitions.recover(ledger, stamp)  # no run goes on: what it was submitting when it died is unclear
    with reading(db) as ledger:
        named = [(find(ledger, key, db), task_id) for key, task_id in pairs]
    account = find_account(settings)
    complete(_confirm(voice, named, settings, account))
    name, owner = (LOCAL, LOCAL) if account is None else (account.name, account.owner)
    said = []
    with changing(db) as (ledger, stamp):
        for task, task_id in named:
            item = transitions.find_task(ledger, task.id)
            if item.state is State.UNCERTAIN:
                operator_actions.attach(ledger, stamp, item, task_id)
            else:
                adoption.adopt(ledger, stamp, item, task_id, account=name, owner=owner)
            if (attempt := rows.last_attempt(ledger, task.id)) is not None:
                said.append((item, attempt))
    write_down(voice.say, db, What.ACCEPTED, said)
    voice.conclude(
        f"{plural(len(named), 'task')} attached; the next run collects without paying; nothing was submitted"
    )
    return Exit.DONE


async def _confirm(voice: Voice, named: "list[tuple[Task, str]]", settings: Any, account: Any) -> None:
    """Raises UsageError for the first task id that the API does not know, or has for other inputs."""
    from batchswap.cli.commands.retry import check_fit
    from batchswap.operations.provider import opened
    from batchswap.runner.standalone_calls import errands

    async with opened(settings, account) as who, errands(settings, who) as asking:
        for number, (task, task_id) in enumerate(named, 1):
            await check_fit(asking, task, task_id, settings.db)
            if number % 100 == 0:
                voice.say(f"{number:,} of {len(named):,} task ids fit their rows")
