"""`batchswap rebuild`: a ledger from manifests, the submission log and results. Nothing is submitted."""

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
from batchswap.runner.collect.kept_result import result_of
from batchswap.runner.enrol import enrol_manifests
from batchswap.sqlite_errors import transaction
from batchswap.state_folder import state_folder
from batchswap.states import State

AT_ONCE = 200
"""Results that are recorded in one transaction."""


def rebuild(console: Console, options: RebuildOptions) -> int:
    """Enrol the rows, attach what the logs know, and take the results that are there."""
    db, out = options.db, options.out
    existed, folder = connection.exists(db), state_folder()
    if not options.manifests and not existed:
        raise UsageError(f"{db}: there is no ledger; name the manifests to rebuild it from")
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
    """Gather every attempt that the logs of all keys know."""
    found = Gathered()
    try:
        logs = entries.logs_in(folder)
        for owner, names in logs.items():
            for name in names:
                gather(folder / name, owner, found)
        if not logs:
            words = f"there is no submission log in {folder}: what was submitted is not known"
            report(LogEvent.LOG_UNAVAILABLE, words, logging.WARNING)
        yield found
    finally:
        found.close()


def gather(path: Path, owner: str, found: Gathered) -> None:
    """Take the entries of a log file; one that cannot be read is reported and left out."""
    try:
        for some in entries.read_file(path):
            for entry in some:
                found.take(entry, owner)
    except OSError as error:
        words = f"{path} cannot be read ({error.strerror}): what it knows is left out"
        report(LogEvent.LOG_UNAVAILABLE, words, logging.WARNING)


def _import(ledger: sqlite3.Connection, found: Gathered, base_url: str, *, is_new: bool) -> None:
    """Import the attempts of this ledger that it does not know, and those of other ledgers that fit its rows.

    A new ledger that fits one lost ledger alone continues as that one.
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
    """Finish running tasks whose result is below --out. Return how many."""
    saved, running = 0, operator_actions.chosen(ledger, State.RUNNING)
    while some := [task for task, _ in zip(running, range(AT_ONCE), strict=False)]:
        with transaction(ledger):
            for task in some:
                attempt = rows.last_attempt(ledger, task.id)
                logged = found.find(attempt.ref) if attempt else None
                try:
                    result = result_of(out, task, logged) if logged else None
                except OSError as error:
                    words = f"{out / task.output} cannot be read ({error.strerror}): it is fetched again"
                    report(LogEvent.RESULT_UNREADABLE, words, logging.WARNING)
                    continue
                if result is not None and logged is not None:
                    size, sha256 = result.size, result.sha256
                    adoption.finish(ledger, stamp, task, size=size, sha256=sha256, charged=logged.charged)
                    saved += 1
    return saved


def conclude(console: Console, done: Adopted, settled: int, saved: int, db: Path) -> None:
    """Write the last line: what was attached, what is uncertain, what is kept."""
    parts = [f"{db}: {plural(done.running + settled, 'submitted task')} attached, {saved:,} of them done already"]
    if done.uncertain:
        parts.append(f"{done.uncertain:,} uncertain: the log does not tell whether the API accepted them")
    if done.left:
        parts.append(
            f"{plural(done.left, 'attempt')} in the log without a row with their inputs: kept until there is one"
        )
    parts.append("nothing was submitted; run again to collect the rest")
    console.conclude("; ".join(parts))
