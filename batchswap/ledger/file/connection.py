"""Open or create the ledger file, or explain why that fails."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from batchswap.errors import LedgerError, LedgerOutdated
from batchswap.sqlite_errors import altered, in_words

APPLICATION_ID = 0x62737770
"""'bswp': SQLite's application_id of a ledger."""
VERSION = 13
"""The user_version of a ledger with all steps of the schema."""
_BUSY_SECONDS = 30.0
_NAMED = 5


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Connect to an existing ledger of this version. Raise LedgerError.

    Transactions begin only where the caller begins them. With `write`, a commit is on the disk when it returns.
    """
    mode = "rw" if write else "ro"
    with in_words(path):
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            _check(db, path)
            if write:
                # The record of a submit must survive a power cut: FULL syncs the log at every commit.
                db.execute("pragma synchronous = full")
                db.execute("pragma wal_autocheckpoint = 4000")
                # Otherwise SQLite creates a file for the statement journal of each transaction.
                db.execute("pragma temp_store = memory")
            db.execute("pragma cache_size = -16000")
        except BaseException:
            db.close()
            raise
    return db


def be_patient(db: sqlite3.Connection, seconds: float = _BUSY_SECONDS) -> None:
    """Set the time that this connection waits for another writer before it fails as busy."""
    db.execute(f"pragma busy_timeout = {seconds * 1000:.0f}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("pragma application_id").fetchone()[0]
    version = db.execute("pragma user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise LedgerError(f"{path}: is not a batchswap ledger; choose another file with --db")
    if version > VERSION:
        words = f"was written by a newer batchswap (schema {version}, this version supports {VERSION})"
        raise LedgerError(f"{path}: {words}; upgrade batchswap, or choose another file with --db")
    if version < VERSION:
        raise LedgerOutdated(f"{path}: is an older ledger (schema {version}); `batchswap run` updates it")


def exists(path: Path) -> bool:
    """Return whether there is a ledger to read. Raise LedgerError for a directory or a device."""
    if path.exists() and not path.is_file():
        raise LedgerError(f"{path}: is not a regular file; choose another file with --db")
    return path.exists() and path.stat().st_size > 0


def create(path: Path) -> None:
    """Create the ledger, or update an older one. Raise LedgerError for any other file."""
    from sqlite_utils import Database  # noqa: PLC0415 - takes a quarter of a second, and reading does not need it

    from batchswap.ledger.schema import migrate, missing  # noqa: PLC0415

    _make_private(path)
    with in_words(path):
        raw = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
        db = Database(raw, execute_plugins=False)
        try:
            application = raw.execute("pragma application_id").fetchone()[0]
            tables = raw.execute("select count(*) from sqlite_master").fetchone()[0]
            if application != APPLICATION_ID and tables:
                raise LedgerError(f"{path}: is a database of another program; choose another file with --db")
            _keep_private(path)
            if raw.execute("pragma user_version").fetchone()[0] < VERSION:
                # The mark comes first: another process must not take a ledger for a database of another program.
                raw.execute(f"pragma application_id = {APPLICATION_ID}")
                raw.execute("pragma journal_mode = wal")
                raw.execute("pragma synchronous = full")
                migrate(db, VERSION)
            elif gone := missing(raw):
                raise altered(path, f"missing or changed: {', '.join(gone[:_NAMED])}")
        finally:
            db.close()


def discard(path: Path) -> None:
    """Remove a ledger that was just created, with its other files. The caller holds its lock."""
    for suffix in ("-wal", "-shm", "-journal", "", ".lock"):
        Path(f"{path.resolve()}{suffix}").unlink(missing_ok=True)


def _make_private(path: Path) -> None:
    """Create an empty file that only its owner may read, unless it exists."""
    if exists(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be created ({error.strerror})") from error


def _keep_private(path: Path) -> None:
    """Take access from other users: a restored ledger may be readable to them, and it holds signed URLs."""
    for each in ("", "-wal", "-shm"):
        file = Path(f"{path.resolve()}{each}")
        with suppress(FileNotFoundError, PermissionError):
            file.chmod(file.stat().st_mode & 0o700)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut, if its file system can sync folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
