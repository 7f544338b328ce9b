"""The ledger, as commands open it."""

import difflib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batchswap.errors import LedgerBusy, LedgerError, UsageError
from batchswap.ledger import queries, report_queries
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.sqlite_errors import in_words, transaction
from batchswap.tasks import Task


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """To look at. Raises LedgerError, also when there is none."""
    if not connection.exists(path):
        raise LedgerError(f"{path}: there is no ledger; `batchswap run` makes it, --db names another one")
    with in_words(path, in_use=True), closing(connection.connect(path, write=False)) as db:
        yield db


def check_batch(db: sqlite3.Connection, name: str | None, path: Path) -> None:
    """Raises UsageError for a batch that is not in the ledger: nothing could be chosen by it."""
    if name is not None and name not in (found := queries.batches(db)):
        nearest = difflib.get_close_matches(name, found, n=1, cutoff=0.0)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        raise UsageError(f'there is no batch "{name}" in {path}{hint}')


def find(db: sqlite3.Connection, name: str, path: Path) -> Task:
    """The task that `key` or `batch/key` names. Raises UsageError when there is none, or more than one."""
    from batchswap.report.next_commands import command

    found = report_queries.named(db, name)
    if not found:
        raise UsageError(f'there is no task "{name}" in {path}; `{command("tasks", path)}` lists them')
    if len(found) > 1:
        names = ", ".join(f"{each.batch}/{each.key}" for each in found)
        raise UsageError(f'"{name}" names {len(found)} tasks: say which of {names}')
    return found[0]


@contextmanager
def changing(path: Path) -> Iterator[tuple[sqlite3.Connection, Stamp]]:
    """To change by a person's word: one transaction, all of it or nothing.

    No run may go on meanwhile: it would not know that its tasks have moved. Raises LedgerBusy then.
    """
    from batchswap.ledger.file.lock import hold  # what only looks at the ledger starts a tenth quicker without it

    with reading(path):
        pass  # says in words why it cannot be opened, before a lock file is made beside it
    try:
        with (
            hold(path, wait=False),
            in_words(path, in_use=True),
            closing(connection.connect(path, write=True)) as db,
            transaction(db),
        ):
            yield db, Stamp(time.time(), None)
    except LedgerBusy:
        raise LedgerBusy(f"a run holds {path}: end it with Ctrl-C (it resumes where it was), then try again") from None
