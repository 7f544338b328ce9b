"""`batchswap rebuild`: make a ledger from manifests, the submission log and results. Nothing is submitted."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchswap.cli.command_options import RebuildOptions
from batchswap.cli.console import Console
from batchswap.cli.settings_from_options import build_reading, build_sources, standard_input
from batchswap.errors import Exit, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger import operator_actions, rows
from batchswap.ledger.file import connection
from batchswap.ledger.submission_log import adoption, comparison, entries, position
from batchswap.ledger.submission_log.adoption import Adopted
from batchswap.ledger.submission_log.attempts import Gathered
from batchswap.ledger.transitions import Stamp
from batchswap.operations.run_steps import holding, made, report_enrolled
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command
from batchswap.runner.collect.kept_result import result_of
from batchswap.runner.enrol import enrol_manifests
from batchswap.sqlite_errors import transaction
from batchswap.state_folder import state_folder
from batchswap.states import State

AT_ONCE = 200
"""Results per transaction."""


def rebuild(console: Console, options: RebuildOptions) -> int:
    """Enrol the rows, attach the attempts of the submission logs, and record the results that exist."""
    db, out = options.db, options.out
    existed, folder = connection.exists(db), state_folder()
    if not options.manifests and not existed:
        raise UsageError(f"{db}: there is no ledger; give the manifests to rebuild it from")
    sources = build_sources(options.manifests, options)
    stamp = Stamp(time.time(), None)
    with (
        holding(db, wait=False) as pin,
        made(db, pin, existed=existed) as ledger,
        _gathered(folder) as found,
    ):
        if sources:
            report_enrolled(enrol_manifests(ledger, stamp, sources, build_reading(options), standard_input()))
        with transaction(ledger):
            _import(ledger, found, options.base_url, is_new=not existed)
            done = adoption.attach_kept(ledger, stamp)
            with comparison.compared(ledger, folder) as compared:
                settled = comparison.catch_up(ledger, stamp, compared)
        saved = _take_results(ledger, stamp, out, found)
    conclude(console, done, settled, saved, db)
    return Exit.DONE


@contextmanager
def _gathered(folder: Path) -> Iterator[Gathered]:
    """Gather every attempt from the logs of all keys."""
    found = Gathered()
    try:
        logs = entries.logs_in(folder)
        for owner, names in logs.items():
            for name in names:
                gather(folder / name, owner, found)
        if not logs:
            words = f"there is no submission log in {folder}: it is unknown which rows were submitted"
            report(LogEvent.LOG_UNAVAILABLE, words, logging.WARNING)
        yield found
    finally:
        found.close()


def gather(path: Path, owner: str, found: Gathered) -> None:
    """Gather the entries of a log file. Report a file that cannot be read, and leave it out."""
    try:
        for some in entries.read_file(path):
            for entry in some:
                found.take(entry, owner)
    except OSError as error:
        words = f"{path} cannot be read ({error.strerror}): its submits are left out"
        report(LogEvent.LOG_UNAVAILABLE, words, logging.WARNING)


def _import(ledger: sqlite3.Connection, found: Gathered, base_url: str, *, is_new: bool) -> None:
    """Import missing attempts of this ledger, and attempts of other ledgers with the same inputs as its rows.

    A new ledger whose rows match exactly one lost ledger takes over the identity of that ledger.
    """
    if is_new:
        ids = {each.ledger for each in adoption.fitting(ledger, found)}
        if len(ids) == 1:
            position.take_id(ledger, ids.pop())
    own, accounts = position.ledger_id(ledger), adoption.accounts_of(ledger)
    unknown = (each for each in found if each.ledger == own and not adoption.is_known(ledger, each.ref))
    adoption.keep(ledger, unknown, accounts, base_url)
    others = (each for each in found if each.ledger != own)
    adoption.keep(ledger, adoption.fitting(ledger, others), accounts, base_url)


def _take_results(ledger: sqlite3.Connection, stamp: Stamp, out: Path, found: Gathered) -> int:
    """Finish running tasks whose result is in --out. Return their number."""
    saved, running = 0, operator_actions.chosen(ledger, State.RUNNING)
    while some := [task for task, _ in zip(running, range(AT_ONCE), strict=False)]:
        with transaction(ledger):
            for task in some:
                attempt = rows.last_attempt(ledger, task.id)
                logged = found.find(attempt.ref) if attempt else None
                try:
                    result = result_of(out, task, logged) if logged else None
                except OSError as error:
                    words = f"{out / task.output} cannot be read ({error.strerror}): it will be downloaded again"
                    report(LogEvent.RESULT_UNREADABLE, words, logging.WARNING)
                    continue
                if result is not None and logged is not None:
                    file, part = result
                    size, sha256, charged = part.size, part.sha256, logged.charged
                    adoption.finish(ledger, stamp, task, file=file, size=size, sha256=sha256, charged=charged)
                    saved += 1
    return saved


def conclude(console: Console, done: Adopted, settled: int, saved: int, db: Path) -> None:
    """Write the last line: attached, uncertain and unmatched attempts."""
    parts = [f"{plural(done.running + settled, 'submitted task')} attached, {saved:,} with a result"]
    if done.uncertain:
        parts.append(f"{done.uncertain:,} uncertain, because the log has no answer: {command('status', db)}")
    if done.left:
        parts.append(f"{plural(done.left, 'attempt')} without a matching row kept until there is one")
    parts.append("nothing was submitted, run again to collect the rest")
    console.conclude("; ".join(parts))
