"""SQLite transactions, and SQLite errors as errors of this package."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from batchswap.errors import LedgerDamaged, LedgerError, LedgerFailed, LedgerFull

_FILES = 5
"""Files that SQLite opens for a ledger, and some more."""
REMEDY = "restore a copy, or name another ledger with --db"
_FULL = ("SQLITE_FULL", "SQLITE_IOERR")
_ALTERED = re.compile("no such (table|column|index|view|trigger)|has no column named")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end. Roll back when the block raises."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def in_words(path: Path, *, in_use: bool = False) -> Iterator[None]:
    """Raise errors of SQLite as LedgerError or a subclass, with `path` in the message.

    `in_use`: the file was opened as a ledger before, so a wrong --db is not the cause.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_FULL):
            raise LedgerFull(f"{path}: cannot be written ({error}); what was recorded before is intact") from error
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            damaged = LedgerDamaged if in_use else LedgerError
            raise damaged(f"{path}: is not a batchswap ledger, or is damaged ({error})") from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            _check_handles()
            protected = LedgerFailed if in_use else LedgerError
            raise protected(f"{path}: cannot be opened for writing ({error})") from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise LedgerFailed(f"{path}: another program keeps it locked") from error
        if _ALTERED.search(str(error)):
            raise altered(path, str(error)) from error
        raise


def _check_handles() -> None:
    """Raise OSError when no more files can be opened: the error of SQLite is the same as for other causes."""
    with ExitStack() as opened:
        for _ in range(_FILES):
            opened.enter_context(Path(os.devnull).open("rb"))


def altered(path: Path, what: str) -> LedgerError:
    """Return the error for a ledger in which tables or columns are missing."""
    return LedgerError(f"{path}: was changed by another program ({what}): {REMEDY}")
