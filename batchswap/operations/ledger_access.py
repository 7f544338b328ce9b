"""Open the ledger for a command, to read it or to change it."""

import difflib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batchswap.errors import LedgerBusy, LedgerError, LedgerOutdated, UsageError
from batchswap.ledger import queries, report_queries
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.sqlite_errors import in_words, transaction
from batchswap.tasks import Task


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger for reading. Raise LedgerError, also when there is none."""
    if not connection.exists(path):
        raise LedgerError(f"{path}: there is no ledger; `batchswap run` creates it, --db names another one")
    with in_words(path, in_use=True), closing(_connect(path)) as db:
        yield db


def _connect(path: Path) -> sqlite3.Connection:
    """Connect for reading. Update a ledger of an earlier version first; raise LedgerOutdated during a run of it."""
    try:
        return connection.connect(path, write=False)
    except LedgerOutdated:
        from batchswap.ledger.file.lock import hold

        try:
            with hold(path, wait=False):
                connection.create(path)
        except LedgerBusy:
            words = "a run is creating or updating it, or a run of an earlier version is using it"
            raise LedgerOutdated(f"{path}: {words}: try again later") from None
        return connection.connect(path, write=False)


def check_batch(db: sqlite3.Connection, name: str | None, path: Path) -> None:
    """Raise UsageError for a batch that is not in the ledger."""
    if name is not None and name not in (found := queries.batches(db)):
        nearest = difflib.get_close_matches(name, found, n=1, cutoff=0.0)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        raise UsageError(f'there is no batch "{name}" in {path}{hint}')


def find(db: sqlite3.Connection, name: str, path: Path) -> Task:
    """Return the task named `key` or `batch/key`. Raise UsageError when there is none, or more than one."""
    from batchswap.report.next_commands import command

    found = report_queries.named(db, name)
    if not found:
        raise UsageError(f'there is no task "{name}" in {path}; `{command("tasks", path)}` lists them')
    if len(found) > 1:
        names = ", ".join(f"{each.batch}/{each.key}" for each in found)
        raise UsageError(f'"{name}" names {len(found)} tasks: give one of {names}')
    return found[0]


@contextmanager
def noting(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger to write what no run depends on. This is possible during a run."""
    with reading(path):
        pass  # raises if the ledger cannot be opened, and updates one of an earlier version
    with in_words(path, in_use=True), closing(connection.connect(path, write=True)) as db:
        yield db


@contextmanager
def changing(path: Path) -> Iterator[tuple[sqlite3.Connection, Stamp]]:
    """Open the ledger to change tasks by a decision of the user, in one transaction.

    Raise LedgerBusy during a run, which would not notice that its tasks have changed.
    """
    with locked(path) as db, transaction(db):
        yield db, Stamp(time.time(), None)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger for writing, and keep runs out. Raise LedgerBusy during a run."""
    from batchswap.ledger.file.lock import hold  # commands that only read start 10% faster without it

    with reading(path):
        pass  # raises if the ledger cannot be opened, before a lock file is made next to it
    try:
        with hold(path, wait=False), in_words(path, in_use=True), closing(connection.connect(path, write=True)) as db:
            yield db
    except LedgerBusy:
        raise LedgerBusy(
            f"a run is using {path}: end it with Ctrl-C (the next run resumes it), then try again"
        ) from None
