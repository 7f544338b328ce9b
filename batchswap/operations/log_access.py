"""Read the submission log into a ledger, and append decisions of the user to it."""

import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from batchswap.clock import SystemClock
from batchswap.errors import LedgerBehind, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger.submission_log import adoption, comparison, entries
from batchswap.ledger.submission_log.attempts import Gathered
from batchswap.ledger.submission_log.entries import What
from batchswap.ledger.submission_log.log import SubmissionLog
from batchswap.ledger.submission_log.position import ledger_id
from batchswap.ledger.transitions import Stamp
from batchswap.operations.ledger_access import reading
from batchswap.operations.provider import LOCAL
from batchswap.report.formatting import plural
from batchswap.report.log_mismatch import SHOWN, Behind, repair
from batchswap.settings import Settings
from batchswap.sqlite_errors import transaction
from batchswap.state_folder import state_folder
from batchswap.tasks import Attempt, Task

MISSING = "it cannot show whether this ledger is an older copy"


def consult_log(db: sqlite3.Connection, settings: Settings, stamp: Stamp, *, is_new: bool) -> None:
    """Take over answers to attempts of the ledger from the logs. Raise LedgerBehind for attempts it does not have."""
    try:
        folder = state_folder()
    except UsageError:
        return
    if is_new:
        with transaction(db):
            comparison.mark_new(db, folder)
        return
    with comparison.compared(db, folder) as found:
        if count := found.missing.count():
            behind = Behind(count, tuple(found.missing.names(SHOWN)))
            raise LedgerBehind(behind.words(settings.db, settings.out))
        for problem in found.problems:
            report(LogEvent.LOG_UNAVAILABLE, f"the submission log: {problem}: {MISSING}", logging.WARNING)
        with transaction(db):
            settled = comparison.catch_up(db, stamp, found)
    if settled:
        words = f"recovered {plural(settled, 'answer')} to submits from the submission log"
        report(LogEvent.LOG_RECOVERED, words)


def report_known_elsewhere(db: sqlite3.Connection, settings: Settings, owner: str, batches: Sequence[str]) -> None:
    """Warn that rows of new batches were submitted with another ledger, which may be lost: they would be paid again.

    `owner`: the fingerprint of the key that would pay. Raise UsageError in ticks, which end before anybody reads this.
    """
    sql = "select 1 from batches where name = ? and generation = 1"
    new = [batch for batch in batches if db.execute(sql, (batch,)).fetchone()]
    found = Gathered()
    try:
        for entry in entries.of_batches(state_folder(), owner, new):
            found.take(entry, owner)
        known = [f"{each.batch}/{each.key}" for each in adoption.fitting(db, found)]
    except (OSError, UsageError):
        return
    finally:
        found.close()
    if names := list(dict.fromkeys(known)):
        shown = ", ".join(names[:SHOWN]) + " …" * (len(names) > SHOWN)
        was = "was" if len(names) == 1 else "were"
        rows = (
            f"{plural(len(names), 'row')} of these manifests ({shown}) {was} submitted before with another ledger than"
            f" {settings.db}"
        )
        attach = f"`{repair(settings.db, settings.out)}` attaches what was submitted, without paying"
        if settings.leaves:
            raise UsageError(f"{rows}: if that ledger is lost, {attach}; --duplicates pay pays for them again")
        words = f"{rows}, and will be paid for again: if that ledger is lost, press Ctrl-C, then {attach}"
        report(LogEvent.KNOWN_ELSEWHERE, words, logging.WARNING, rows=len(names))


def attach_kept(db: sqlite3.Connection, stamp: Stamp) -> None:
    """Attach submitted tasks to rows that were added to the manifest again, so that they are not paid for twice."""
    if db.execute("select 1 from logged limit 1").fetchone() is None:
        return
    with transaction(db):
        done = adoption.attach_kept(db, stamp)
    if done.running or done.uncertain:
        rows = plural(done.running + done.uncertain, "row")
        words = f"{rows} already submitted, by the submission log: collected without paying again"
        report(LogEvent.LOG_RECOVERED, words)


def write_down(
    path: Path, what: What, decided: Sequence[tuple[Task, Attempt]], details: Sequence[dict[str, Any]] = ()
) -> None:
    """Append a decision of the user about attempts. The ledger has recorded it before.

    `details` are more fields of LogEntry, for each of them.
    """
    sql = "select r.account, a.account from attempts a join runs r on r.id = a.run_id where a.id = ?"
    with reading(path) as db:
        own, owners = ledger_id(db), [db.execute(sql, (attempt.id,)).fetchone() for _, attempt in decided]
    try:
        folder = state_folder()
    except UsageError:
        return
    say = partial(report, LogEvent.LOG_UNAVAILABLE)
    logs: dict[str, SubmissionLog] = {}
    several = zip(decided, owners, details or [{}] * len(decided), strict=True)
    for (task, attempt), (owner, account), more in several:
        if account != LOCAL:
            log = logs.setdefault(owner, SubmissionLog(folder, owner, own, SystemClock(), say))
            log.note(what, task, attempt, **more)
    for log in logs.values():
        log.close()
