"""The checks of `batchswap doctor` that need no network: ledger, submission log, disk and clock."""

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from batchswap import sqlite_errors
from batchswap.clock import unknown_zone
from batchswap.errors import BatchswapError, Exit, LedgerError, MissingExtra, UsageError
from batchswap.ledger import report_queries
from batchswap.ledger.file import connection
from batchswap.ledger.file.claim import share_of
from batchswap.ledger.schema import missing
from batchswap.report import log_mismatch
from batchswap.report.formatting import moment, size
from batchswap.settings import Settings
from batchswap.sqlite_errors import in_words
from batchswap.state_folder import check_usable, state_folder

FUTURE = 5.0
"""Seconds by which the ledger may be ahead of the clock."""
_KEYS_REMEDY = "see `batchswap guide provenance`"
OLDEST = 1_735_689_600.0
"""The start of 2025: an earlier clock was never set."""


class Finding(msgspec.Struct, frozen=True):
    """The result of one check. `remedy`: how to repair it. `exit`: the exit code of a run with this problem."""

    name: str
    is_well: bool
    message: str
    remedy: str = ""
    exit: Exit = Exit.DONE


def look_at_ledger(path: Path) -> Finding:
    """Check the ledger with SQLite's quick check, and whether it can be written."""
    try:
        if not connection.exists(path):
            return Finding("ledger", True, f"{path} does not exist yet; `batchswap run` creates it")
        with in_words(path):
            db = connection.connect(path, write=False)
            try:
                said = [row[0] for row in db.execute("pragma quick_check(3)")]
                if said == ["ok"] and (gone := missing(db)):
                    raise sqlite_errors.altered(path, ", ".join(gone))
            finally:
                db.close()
    except LedgerError as error:
        return Finding("ledger", False, str(error), sqlite_errors.REMEDY, error.exit)
    if said != ["ok"]:
        remedy = f"keep {path} and recover its data: sqlite3 {shlex.quote(str(path))} .recover | sqlite3 recovered.db"
        return Finding("ledger", False, f"{path} is damaged: {said[0]}", remedy, Exit.USAGE)
    if not os.access(path, os.W_OK) or not os.access(path.resolve().parent, os.W_OK):
        remedy = "give yourself write permission for the file and its folder"
        return Finding("ledger", False, f"{path} cannot be written", remedy, Exit.USAGE)
    if (share := share_of(path)) is not None:
        words = (
            f"{path} is sound; it is on {share.type}, where locks hold on one host only: use it on one host at a time"
        )
        return Finding("ledger", True, words)
    return Finding("ledger", True, f"{path} is sound")


def look_at_state(settings: Settings) -> Iterator[Finding]:
    """Check the folder in which processes share the rate limit of a key. Yield nothing if there is no limit."""
    if settings.rate_limit is None:
        return
    try:
        check_usable()
    except UsageError as error:
        message, _, remedy = str(error).rpartition(": ")
        yield Finding("state", False, message, remedy, error.exit)
    else:
        yield Finding("state", True, f"processes share the rate limit in {state_folder()}")


def look_at_log(settings: Settings) -> Iterator[Finding]:
    """Check that the ledger has all submits of the submission log. Yield nothing without a readable ledger."""
    try:
        if not connection.exists(settings.db):
            return
        with closing(connection.connect(settings.db, write=False)) as db:
            found = log_mismatch.look(db)
    except LedgerError:
        return  # reported by `look_at_ledger`
    if found.count:
        message, remedy = found.words(settings.db, settings.out), log_mismatch.repair(settings.db, settings.out)
        yield Finding("log", False, message, remedy, Exit.USAGE)
    elif found.problems:
        remedy = "restore the file from a copy, if there is one; the next run starts a new file"
        yield Finding("log", False, "; ".join(found.problems), remedy, Exit.UNEXPECTED)
    else:
        yield Finding("log", True, "the ledger has every submit of the submission log")


def look_at_disk(settings: Settings) -> Finding:
    """Check the free space in --out against --min-free."""
    folder = settings.out.resolve()
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    message = f"{size(free)} free in {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", False, f"{folder} cannot be written", "name another folder with --out", Exit.FAILED)
    if free < settings.min_free:
        remedy = "free some space, name another folder with --out, or lower --min-free"
        return Finding("disk", False, f"{message}, less than --min-free {size(settings.min_free)}", remedy, Exit.FAILED)
    return Finding("disk", True, message)


def look_at_keys(folder: Path | None) -> Iterator[Finding]:
    """Check the keys with which results are signed: chain, key, usage and time. Yield nothing if there are none."""
    if folder is None:
        return
    from batchswap.provenance.key_checks import check_keys  # noqa: PLC0415 - only with --sign

    try:
        found = check_keys(folder)
    except MissingExtra as error:
        yield Finding("keys", False, str(error), "install the missing packages", error.exit)
        return
    for problem in found.problems:
        yield Finding("keys", False, problem, _KEYS_REMEDY, Exit.USAGE)
    if not found.problems:
        until = moment(found.expires_at) if found.expires_at is not None else "an unknown time"
        yield Finding("keys", True, f"{folder} can sign as {found.subject} until {until}")
    for remark in found.remarks:
        yield Finding("keys", False, *remark.rpartition(": ")[::2])


def look_at_clock(ledger: Path) -> Finding:
    """Check that the clock is set, and not behind the latest event of the ledger."""
    now = time.time()
    remedy = "set the clock (timedatectl set-ntp true): deadlines, days of budgets and signatures depend on it"
    if now < OLDEST:
        return Finding("clock", False, f"the clock shows {moment(now)}", remedy, Exit.UNEXPECTED)
    try:
        if connection.exists(ledger):
            db = connection.connect(ledger, write=False)
            try:
                newest = report_queries.newest_event(db)
            finally:
                db.close()
            if newest is not None and newest > now + FUTURE:
                message = f"the clock shows {moment(now)}, but the latest event of the ledger was at {moment(newest)}"
                return Finding("clock", False, message, remedy, Exit.UNEXPECTED)
    except BatchswapError:
        pass  # reported by `look_at_ledger`
    if zone := unknown_zone():
        remedy = "install the time zones of the system (Debian: apt install tzdata)"
        return Finding("clock", False, f"TZ is {zone}, which this machine does not know: it uses UTC", remedy)
    return Finding("clock", True, moment(now) + time.strftime(" %Z"))
