"""A small SQLite file that processes share and may lose: it helps them, and nothing is lost or paid twice without it.

It is not synced, so a power cut may damage it. Whoever finds that begins it anew, alone; the others notice that another
file stands under its name, and go on with that one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from batchswap.errors import LedgerDamaged, UsageError
from batchswap.sqlite_errors import in_words, transaction
from batchswap.state_folder import USE, identity

T = TypeVar("T")
Begin = Callable[[sqlite3.Connection, bool], None]
"""Makes what the file is to hold, or goes on with what it holds. True: nobody has used it before."""
Transaction = Callable[[sqlite3.Connection], T]

_PATIENCE = 10.0
"""Seconds that one waits for the others; each needs the file for less than a thousandth of one."""


class Shared:
    """The file. Raises LedgerFailed where it can be neither used nor begun anew."""

    def __init__(self, path: Path, begin: Begin) -> None:
        self._path, self._begin = path, begin
        self._db, self._identity = self._open(may_be_new=True)

    def change(self, work: Transaction[T]) -> T:
        """What `work` returns, in one transaction. It may be done twice, with the first time undone."""

        def whole(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return self._surely(whole)

    def read(self, work: Transaction[T]) -> T:
        """What `work` returns, which asks one question."""
        return self._surely(work)

    def close(self) -> None:
        self._db.close()

    def _surely(self, work: Transaction[T]) -> T:
        if identity(self._path) != self._identity:
            self._reopen()
        try:
            with in_words(self._path, in_use=True):
                return work(self._db)
        except LedgerDamaged:
            self._reopen()
        with in_words(self._path, in_use=True):
            return work(self._db)

    def _reopen(self) -> None:
        self._db.close()
        self._db, self._identity = self._open(may_be_new=False)

    def _open(self, *, may_be_new: bool) -> tuple[sqlite3.Connection, tuple[int, int]]:
        """A connection to a sound file, and which file that is. What is not sound is removed."""
        with _usable(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with _alone(lock):
            try:
                db = self._connect(may_be_new=may_be_new)
            except LedgerDamaged:
                for beside in ("-wal", "-shm", "-journal", ""):
                    Path(f"{self._path}{beside}").unlink(missing_ok=True)
                db = self._connect(may_be_new=False)
            return db, identity(self._path)

    def _connect(self, *, may_be_new: bool) -> sqlite3.Connection:
        is_new = _make(self._path) and may_be_new
        with in_words(self._path, in_use=True):
            db = sqlite3.connect(self._path, isolation_level=None, timeout=_PATIENCE)
            try:
                db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = off")
                _check(db, self._path)
                with transaction(db):
                    self._begin(db, is_new)
            except BaseException:
                db.close()
                raise
        return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Small as the file is, it costs next to nothing to look at all of it."""
    if (said := db.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
        raise LedgerDamaged(f"{path}: is damaged ({said})")


def _make(path: Path) -> bool:
    """An empty file that only its owner may read. False: there was one already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    return True


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Raises UsageError where the folder cannot be made, or nothing in it."""
    try:
        yield
    except OSError as error:
        words = f"{folder}: nothing can be written there ({error.strerror}), where {USE} belongs"
        raise UsageError(f"{words}: set XDG_STATE_HOME to a folder of yours") from error


@contextmanager
def _alone(lock: int) -> Iterator[None]:
    """No other process opens or replaces the file meanwhile. The lock is of the kind that SQLite needs as well."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
