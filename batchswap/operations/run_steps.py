"""The steps of a run, for the command line and for programs: lock the ledger, enrol, run, copy the ledger."""

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchswap.errors import Ending, LedgerError
from batchswap.events import LogEvent, report
from batchswap.ledger import queries, releases
from batchswap.ledger.enrolment.duplicates import Decision
from batchswap.ledger.file import backup, connection
from batchswap.ledger.file.lock import hold, is_held
from batchswap.ledger.runs import ticks
from batchswap.ledger.selections import Queue, selection_of
from batchswap.ledger.transitions import Stamp
from batchswap.local.server.work.engine_interface import Engine
from batchswap.manifest import Options, Source
from batchswap.operations.ledger_access import reading
from batchswap.operations.log_access import attach_kept, consult_log, report_known_elsewhere
from batchswap.operations.provider import account_name, opened, require_engine
from batchswap.operations.settings_check import check_zone
from batchswap.report.formatting import plural, size
from batchswap.runner.background import Watch
from batchswap.runner.enrol import Enrolled, enrol_manifests
from batchswap.runner.run import Account, work_off
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.sqlite_errors import in_words
from batchswap.state_folder import check_usable
from batchswap.states import FINAL, State


class EnrolledLedger(msgspec.Struct, frozen=True):
    """A locked ledger with the rows of the manifests.

    `before`: tasks of these batches in each state. `last`: how the last tick of these batches ended.
    """

    settings: Settings
    enrolled: Enrolled
    before: dict[str, int]
    last: Ending | None = None


@contextmanager
def enrolled_in(
    settings: Settings,
    sources: list[Source],
    options: Options,
    account: Account | None,
    *,
    stdin: BinaryIO | None,
    wait: bool,
) -> Iterator[EnrolledLedger]:
    """Lock the ledger and enrol the rows of the manifests.

    Raise LedgerBusy when another run has the lock and `wait` is off, ManifestErrors, DuplicateRows, and UsageError
    when the local engine is needed and does not work.
    """
    if settings.rate_limit is not None:
        check_usable()
    check_zone(settings)
    connection.exists(settings.db)  # raises for a folder or device before a lock file is made next to it
    with holding(settings.db, wait=wait) as pin:
        name = account_name(settings, account)
        owner = account.owner if account else ""
        enrolled = enrol(settings, sources, options, account=name, owner=owner, pin=pin, stdin=stdin)
        report_enrolled(enrolled)
        settings = msgspec.structs.replace(settings, batches=enrolled.batches)
        before = counts_of(settings)
        with reading(settings.db) as db:
            last = ticks.last_ending(db, settings.batches)
        if account is None and has_work(settings, before):
            require_engine()
        yield EnrolledLedger(settings, enrolled, before, last)


@contextmanager
def holding(db: Path, *, wait: bool) -> Iterator[Callable[[], None]]:
    """Lock the ledger. The caller must call the yielded function once the ledger exists. Raise LedgerBusy."""
    if wait and is_held(db):
        report(LogEvent.LEDGER_HELD, f"another run is using {db}: waiting until it ends")
    with hold(db, wait=wait) as pin:
        yield pin


def enrol(
    settings: Settings,
    sources: list[Source],
    options: Options,
    *,
    account: str = "",
    owner: str = "",
    pin: Callable[[], None] = lambda: None,
    stdin: BinaryIO | None = None,
) -> Enrolled:
    """Enrol the rows in the ledger, which is created if needed; remove a new ledger on failure.

    `account`: the name of the account that would pay; `owner`: the fingerprint of its key. `pin` is called once the
    ledger exists. Raise DuplicateRows, LedgerBehind when the submission log has attempts that the ledger lacks, and
    UsageError in a tick that would pay again for what another ledger has.
    """
    existed = settings.db.exists()
    with made(settings.db, pin, existed=existed) as db:
        decision, stamp = Decision(settings.duplicates), Stamp(time.time(), None)
        consult_log(db, settings, stamp, is_new=not existed)
        options = msgspec.structs.replace(options, withdrawn=releases.withdrawn(db))
        enrolled = enrol_manifests(db, stamp, sources, options, stdin, account=account, decision=decision)
        attach_kept(db, stamp)
        if owner and (enrolled.enrolment.new or settings.leaves) and decision is not Decision.PAY:
            report_known_elsewhere(db, settings, owner, enrolled.batches)
        return enrolled


@contextmanager
def made(db: Path, pin: Callable[[], None], *, existed: bool) -> Iterator[sqlite3.Connection]:
    """Open the ledger for writing, and create it if needed; remove a new one on failure."""
    try:
        connection.create(db)
        pin()
        with in_words(db, in_use=True), closing(connection.connect(db, write=True)) as ledger:
            yield ledger
    except BaseException:
        if not existed:
            connection.discard(db)
        raise


def report_enrolled(enrolled: Enrolled) -> None:
    """Report the numbers of new and changed rows."""
    done = enrolled.enrolment
    names = ", ".join(enrolled.batches)
    if enrolled.unchanged:
        report(LogEvent.ENROLLED, f"{names}: the rows are unchanged")
    else:
        words = f"{names}: {plural(done.rows, 'row')}, {done.new:,} new, {done.changed:,} changed"
        report(LogEvent.ENROLLED, words, rows=done.rows, new=done.new, changed=done.changed)
    if done.kept:
        report(LogEvent.OUTPUTS_KEPT, done.kept)


def counts_of(settings: Settings) -> dict[str, int]:
    """Return the number of tasks of the batches in each state."""
    with reading(settings.db) as db:
        return queries.counts_in(db, settings.batches)


def has_work(settings: Settings, counts: dict[str, int]) -> bool:
    """Return whether any task is in progress, or queued and selected."""
    if any(counts[state] for state in State if state not in FINAL and state is not State.QUEUED):
        return True
    with reading(settings.db) as db:
        return next(Queue(db, selection_of(settings)).pages(), None) is not None


async def work_off_at(
    settings: Settings,
    account: Account | None,
    *,
    watch: Watch,
    engine: Engine | None = None,
    handle_signals: bool = True,
) -> Summary:
    """Run the batches of `settings` at their provider."""
    async with opened(settings, account, engine) as who:
        with in_words(settings.db, in_use=True):
            return await work_off(settings, who, watch=watch, handle_signals=handle_signals)


def back_up(summary: Summary, enrolled: Enrolled, min_free: int) -> None:
    """Copy the ledger after a run that changed it. Report why no copy could be made."""
    if not enrolled.has_changed and not any(summary.requests.values()):
        return
    db = Path(summary.ledger)
    target = Path(f"{db}.bak")
    try:
        needed, free = backup.size_of(db), shutil.disk_usage(target.resolve().parent).free
        if free - needed < min_free:
            problem = f"{target} needs {size(needed)}, and {size(free)} are free"
        else:
            backup.copy(db, target)
            return
    except (LedgerError, OSError) as error:
        problem = str(error)
    report(LogEvent.BACKUP_SKIPPED, f"the ledger was not copied: {problem}", logging.WARNING)
