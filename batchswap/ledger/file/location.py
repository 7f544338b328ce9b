"""Check whether the ledger's name still leads to the open ledger, and to SQLite's files that belong to it.

SQLite keeps the newest records in a file next to the ledger, under the ledger's name. If these files are removed, moved
or replaced, the process can still write to the open ones, but no other process will ever see those records. `fault`
makes only three calls of stat, so it is called before each submit.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from batchswap.ledger.queries import secret as secret_of
from batchswap.state_folder import identity

_SUFFIXES = ("", "-wal", "-shm")


class LedgerFault(msgspec.Struct, frozen=True):
    """A change to the ledger's files. `is_lost`: records of the run cannot be found under the ledger's name."""

    words: str
    is_lost: bool = True
    is_overwritten: bool = False
    """True if the content of the file was replaced."""


class Location:
    """The ledger at `path`, which this process has opened and written to."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path, self.real = path, path.resolve()
        self.files = {suffix: identity(f"{self.real}{suffix}") for suffix in _SUFFIXES}
        self._secret = secret_of(db)
        self._content = self._look()

    def fault(self) -> LedgerFault | None:
        """Return the first fault that is found."""
        try:
            found = self.path.stat()
        except OSError:
            return self._elsewhere(LedgerFault(f"{self.path} was removed or moved away while this run used it"))
        if (found.st_dev, found.st_ino) != self.files[""]:
            return self._elsewhere(LedgerFault(f"{self.path} was replaced by another file while this run used it"))
        if found.st_nlink > 1:
            words = f"{self.path} was given a second name (a hard link) while this run used it: remove that name"
            return LedgerFault(words, is_lost=False)
        if not self._is_whole(self.real) and not self._has_moved_along():
            return LedgerFault(f"{self.path}-wal, which is part of the ledger, was removed while this run used it")
        if (found.st_size, found.st_mtime_ns) != self._content and not self._is_sound():
            words = f"{self.path} was overwritten while this run used it"
            return LedgerFault(words, is_overwritten=True)
        return None

    def committed(self) -> None:
        """Note that this process has changed the file by a commit."""
        self._content = self._look()

    def is_unchanged(self) -> bool:
        """Return whether only this process has changed the file."""
        return self._look() == self._content

    def _look(self) -> tuple[int, int]:
        with suppress(OSError):
            found = self.real.stat()
            return found.st_size, found.st_mtime_ns
        return 0, 0

    def _elsewhere(self, fault: LedgerFault) -> LedgerFault:
        """Return the fault; nothing is lost if only a link to the ledger was changed."""
        if self.path.absolute() != self.real and self._is_whole(self.real):
            return LedgerFault(f"{fault.words}: the ledger is still at {self.real}", is_lost=False)
        return fault

    def _is_whole(self, real: Path) -> bool:
        return all(identity(f"{real}{suffix}") == known for suffix, known in self.files.items())

    def _has_moved_along(self) -> bool:
        """Return whether the folder was renamed, and a relative path leads to the same files in it."""
        real = self.path.resolve()
        if real == self.real or not self._is_whole(real):
            return False
        self.real = real
        return True

    def _is_sound(self) -> bool:
        """Return whether the file is still this ledger and undamaged, although another program wrote into it."""
        if not is_sound(self.real, self._secret, "ro"):
            return False
        self._content = self._look()
        return True


def is_sound(path: Path, secret: bytes, mode: str = "rw") -> bool:
    """Return whether the file is the undamaged ledger with this secret."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)) as db:
            return secret_of(db) == secret and db.execute("pragma quick_check(1)").fetchone() == ("ok",)
    except sqlite3.Error:
        return False
