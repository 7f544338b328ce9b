"""Make a consistent copy of a ledger, also during a run. The copy gets its name only when it is complete."""

import glob
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from batchswap.errors import LedgerError
from batchswap.ledger.file import connection
from batchswap.sqlite_errors import in_words

_STALE = 86_400.0
"""Seconds after which an unfinished copy must belong to a process that died."""


def copy(path: Path, target: Path) -> int:
    """Copy the ledger at `path` and return the size of the copy. Raise LedgerError if another file has its name."""
    check_target(path, target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _clear(target)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            _fill(path, part)
            size = part.stat().st_size
            part.replace(target)
        finally:
            for each in (part, Path(f"{part}-wal"), Path(f"{part}-shm"), Path(f"{part}-journal")):
                each.unlink(missing_ok=True)
        connection.sync_folder(target.parent)
    except OSError as error:
        raise LedgerError(f"{target}: the copy cannot be written ({error.strerror})") from error
    return size


def _fill(path: Path, part: Path) -> None:
    with (
        in_words(path, in_use=True),
        closing(connection.connect(path, write=False)) as source,
        in_words(part, in_use=True),
        closing(sqlite3.connect(part)) as copied,
    ):
        source.backup(copied)  # in one step: several steps would start again whenever a run writes in between
    with part.open("rb") as file:
        os.fsync(file.fileno())


def check_target(path: Path, target: Path) -> None:
    """Raise LedgerError if a copy of the ledger at `path` would replace another file."""
    names = {path.resolve()} | {Path(f"{path.resolve()}{end}") for end in ("-wal", "-shm", "-journal", ".lock")}
    if target.resolve() in names or (target.exists() and path.exists() and target.samefile(path)):
        raise LedgerError(f"{target}: is the ledger itself; choose another name for the copy")
    if os.path.lexists(target) and not is_copy(target):
        raise LedgerError(f"{target}: exists and is not a ledger; choose another name for the copy")


def is_copy(path: Path) -> bool:
    """Return whether the file is a ledger, by its SQLite header and application id."""
    try:
        if not path.is_file() or path.is_symlink():
            return False
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:72] == connection.APPLICATION_ID.to_bytes(4, "big")


def size_of(path: Path) -> int:
    """Return the number of bytes that a copy may take."""
    return sum(each.stat().st_size for end in ("", "-wal") if (each := Path(f"{path.resolve()}{end}")).exists())


def _clear(target: Path) -> None:
    """Remove the unfinished copies of processes that died."""
    for each in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError):
            if time.time() - each.stat().st_mtime > _STALE:
                each.unlink()
