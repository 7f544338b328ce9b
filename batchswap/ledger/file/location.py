"""Where the open ledger is: whether its name still leads to it, and the records next to it are its own.

SQLite keeps the newest records in a file next to the ledger, under the ledger's name. A process goes on writing to
files that were removed, moved or replaced, and nobody else will ever see what it writes. `fault` costs three calls of
stat, so it is asked before each submit.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from batchswap.ledger.queries import secret as secret_of
from batchswap.state_folder import identity

_SUFFIXES = ("", "-wal", "-shm")


class LedgerFault(msgspec.Struct, frozen=True):
    """What is wrong. `is_lost`: what the run writes can no longer be found under the ledger's name."""

    words: str
    is_lost: bool = True
    is_overwritten: bool = False
    """The file itself holds something else now."""


class Location:
    """The ledger at `path`, which is open in this process, and has been written to since it was opened."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path, self.real = path, path.resolve()
        self.files = {suffix: identity(f"{self.real}{suffix}") for suffix in _SUFFIXES}
        self._secret = secret_of(db)
        self._content = self._look()

    def fault(self) -> LedgerFault | None:
        """What is wrong, if anything is."""
        try:
            found = self.path.stat()
        except OSError:
            return self._elsewhere(LedgerFault(f"{self.path} was removed or moved away while this run used it"))
        if (found.st_dev, found.st_ino) != self.files[""]:
            return self._elsewhere(LedgerFault(f"{self.path} was replaced by another file while this run used it"))
        if found.st_nlink > 1:
            return LedgerFault(
                f"{self.path} was given a second name (a hard link) while this run used it: remove that", is_lost=False
            )
        if not self._is_whole(self.real) and not self._has_moved_along():
            return LedgerFault(f"{self.path}-wal, which is a part of the ledger, was removed while this run used it")
        if (found.st_size, found.st_mtime_ns) != self._content and not self._is_sound():
            words = f"{self.path} was overwritten while this run used it"
            return LedgerFault(words, is_overwritten=True)
        return None

    def committed(self) -> None:
        """The file changed by this process's own commit."""
        self._content = self._look()

    def is_unchanged(self) -> bool:
        """Whether the file is as this process left it."""
        return self._look() == self._content

    def _look(self) -> tuple[int, int]:
        with suppress(OSError):
            found = self.real.stat()
            return found.st_size, found.st_mtime_ns
        return 0, 0

    def _elsewhere(self, fault: LedgerFault) -> LedgerFault:
        """Nothing is lost if only a link to the ledger was changed."""
        if self.path.absolute() != self.real and self._is_whole(self.real):
            return LedgerFault(f"{fault.words}: it is {self.real}", is_lost=False)
        return fault

    def _is_whole(self, real: Path) -> bool:
        return all(identity(f"{real}{suffix}") == known for suffix, known in self.files.items())

    def _has_moved_along(self) -> bool:
        """The folder was renamed, and a relative path leads to the same files in it."""
        real = self.path.resolve()
        if real == self.real or not self._is_whole(real):
            return False
        self.real = real
        return True

    def _is_sound(self) -> bool:
        """Whether what another program wrote into the file leaves it this ledger, as a look at all of it shows."""
        if not is_sound(self.real, self._secret, "ro"):
            return False
        self._content = self._look()
        return True


def is_sound(path: Path, secret: bytes, mode: str = "rw") -> bool:
    """Whether the file is the whole ledger that has this secret."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)) as db:
            return secret_of(db) == secret and db.execute("pragma quick_check(1)").fetchone() == ("ok",)
    except sqlite3.Error:
        return False
