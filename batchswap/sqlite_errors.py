"""SQLite for this package: transactions, and its errors as our own, in words."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from batchswap.errors import LedgerDamaged, LedgerError, LedgerFailed, LedgerFull

_FILES = 5
"""That SQLite opens for a ledger, and some more."""
_FULL = ("SQLITE_FULL", "SQLITE_IOERR")
_ALTERED = re.compile("no such (table|column|index|view|trigger)|has no column named")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end; undo everything when the block raises."""
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
    """Raise SQLite's errors as LedgerError or one of its kinds, naming `path`.

    With `in_use`, the file was opened before, so the fault is not that a wrong file was named.
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
    """Raises OSError when no more files can be opened, which SQLite does not tell from other reasons."""
    with ExitStack() as opened:
        for _ in range(_FILES):
            opened.enter_context(Path(os.devnull).open("rb"))


def altered(path: Path, what: str) -> LedgerError:
    """The error of a ledger that has not everything that batchswap made in it."""
    return LedgerError(f"{path}: was changed by another program ({what}): restore a copy, or name another with --db")
