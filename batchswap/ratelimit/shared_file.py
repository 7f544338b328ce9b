"""A small SQLite file that processes share. If it is lost, no work is lost and nothing is paid twice.

The file is not synced, so a power cut may damage it. The process that finds the damage creates a new file under a
lock; the others notice the replacement and switch to the new file.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from batchswap.errors import LedgerDamaged
from batchswap.sqlite_errors import in_words, transaction
from batchswap.state_folder import identity, make_private, not_writable

T = TypeVar("T")
Begin = Callable[[sqlite3.Connection, bool], None]
"""Create the tables, or adopt existing ones. The flag is true for a new file."""
Transaction = Callable[[sqlite3.Connection], T]

_PATIENCE = 10.0
"""Seconds to wait for other processes. Each one uses the file for less than a millisecond."""


class Shared:
    """The open file. Methods raise LedgerFailed if it can be neither used nor replaced."""

    def __init__(self, path: Path, begin: Begin) -> None:
        self._path, self._begin = path, begin
        self._db, self._identity = self._open(may_be_new=True)

    def change(self, work: Transaction[T]) -> T:
        """Run `work` in a transaction and return its result. It runs a second time if the file had to be replaced."""

        def whole(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return self._run(whole)

    def read(self, work: Transaction[T]) -> T:
        """Run `work`, a single query, and return its result."""
        return self._run(work)

    def close(self) -> None:
        self._db.close()

    def _run(self, work: Transaction[T]) -> T:
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
        """Open the file and return the connection and the file's identity. A damaged file is replaced."""
        with _usable(self._path.parent):
            make_private(self._path.parent)
            lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with _alone(lock):
            try:
                db = self._connect(may_be_new=may_be_new)
            except LedgerDamaged:
                for suffix in ("-wal", "-shm", "-journal", ""):
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)
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
    """Check the whole file, which is quick because it is small."""
    if (found := db.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
        raise LedgerDamaged(f"{path}: is damaged ({found})")


def _make(path: Path) -> bool:
    """Create an empty file that only its owner can read. Return False if it exists already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    return True


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Raise UsageError if the folder, or a file in it, cannot be created."""
    try:
        yield
    except OSError as error:
        raise not_writable(folder, error.strerror or str(error)) from error


@contextmanager
def _alone(lock: int) -> Iterator[None]:
    """Hold a lock, so that no other process opens or replaces the file. SQLite uses the same kind of lock."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
