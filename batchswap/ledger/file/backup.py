"""A consistent copy of a ledger, also during a run: whole under its name, or not there."""

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
"""Seconds after which an unfinished copy is one of a process that died."""


def copy(path: Path, target: Path) -> int:
    """Copy the ledger at `path`. Returns the copy's size. Raises LedgerError, which names what is in the way."""
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
        raise LedgerError(f"{target}: the copy cannot be made ({error.strerror})") from error
    return size


def _fill(path: Path, part: Path) -> None:
    with (
        in_words(path, in_use=True),
        closing(connection.connect(path, write=False)) as source,
        in_words(part, in_use=True),
        closing(sqlite3.connect(part)) as copied,
    ):
        source.backup(copied)  # in one step: in several, it would begin again whenever a run writes in between
    with part.open("rb") as file:
        os.fsync(file.fileno())


def check_target(path: Path, target: Path) -> None:
    """Raises LedgerError where a copy of the ledger at `path` would replace something else."""
    names = {path.resolve()} | {Path(f"{path.resolve()}{end}") for end in ("-wal", "-shm", "-journal", ".lock")}
    if target.resolve() in names or (target.exists() and path.exists() and target.samefile(path)):
        raise LedgerError(f"{target}: is the ledger itself; name another file for the copy")
    if os.path.lexists(target) and not is_copy(target):
        raise LedgerError(f"{target}: is another file, and is not replaced; name another one for the copy")


def is_copy(path: Path) -> bool:
    """Whether the file is a ledger: it has SQLite's header, with our mark at its place."""
    try:
        if not path.is_file() or path.is_symlink():
            return False
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:72] == connection.APPLICATION_ID.to_bytes(4, "big")


def size_of(path: Path) -> int:
    """Bytes that a copy may take."""
    return sum(each.stat().st_size for end in ("", "-wal") if (each := Path(f"{path.resolve()}{end}")).exists())


def _clear(target: Path) -> None:
    """Remove what processes that died while they copied have left."""
    for each in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError):
            if time.time() - each.stat().st_mtime > _STALE:
                each.unlink()
