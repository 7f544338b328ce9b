"""Opening the ledger file, and saying in words why it cannot be opened."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from batchswap.errors import LedgerError
from batchswap.sqlite_errors import altered, in_words

APPLICATION_ID = 0x62737770
"""'bswp' in SQLite's application_id: what marks a file as a ledger."""
VERSION = 8
"""user_version of a ledger that has had all steps of the schema."""
_BUSY_SECONDS = 30.0
_NAMED = 5


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to an existing ledger of this version. Raises LedgerError in words.

    The caller says where transactions begin; with `write`, a commit is on the disk when it returns.
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
                # An intent must survive a power cut: FULL syncs the log at every commit.
                db.execute("pragma synchronous = full")
                db.execute("pragma wal_autocheckpoint = 4000")
                # What one statement could undo is kept beside the log; by default in a new file for each transaction.
                db.execute("pragma temp_store = memory")
            db.execute("pragma cache_size = -16000")
        except BaseException:
            db.close()
            raise
    return db


def be_patient(db: sqlite3.Connection, seconds: float = _BUSY_SECONDS) -> None:
    """How long this connection waits while another one writes, before it fails as busy."""
    db.execute(f"pragma busy_timeout = {seconds * 1000:.0f}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("pragma application_id").fetchone()[0]
    version = db.execute("pragma user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise LedgerError(f"{path}: is not a batchswap ledger; name another file with --db")
    if version > VERSION:
        raise LedgerError(f"{path}: was written by a newer batchswap (schema {version}, this one knows {VERSION})")
    if version < VERSION:
        raise LedgerError(f"{path}: is an older ledger (schema {version}); `batchswap run` brings it up to date")


def exists(path: Path) -> bool:
    """Whether there is a ledger to read. Raises LedgerError for a directory, a device and the like."""
    if path.exists() and not path.is_file():
        raise LedgerError(f"{path}: is not a file; name another one with --db")
    return path.exists() and path.stat().st_size > 0


def create(path: Path) -> None:
    """Make the ledger, or bring an older one up to date. Raises LedgerError in words; other files are left alone."""
    from sqlite_utils import Database  # noqa: PLC0415 - a quarter of a second that reading a ledger does not need

    from batchswap.ledger.schema import migrate, missing  # noqa: PLC0415

    _make_private(path)
    with in_words(path):
        raw = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
        db = Database(raw, execute_plugins=False)
        try:
            application = raw.execute("pragma application_id").fetchone()[0]
            tables = raw.execute("select count(*) from sqlite_master").fetchone()[0]
            if application != APPLICATION_ID and tables:
                raise LedgerError(f"{path}: is another program's database; name another file with --db")
            _keep_private(path)
            if raw.execute("pragma user_version").fetchone()[0] < VERSION:
                raw.execute("pragma journal_mode = wal")
                raw.execute("pragma synchronous = full")
                raw.execute(f"pragma application_id = {APPLICATION_ID}")
                migrate(db, VERSION)
            elif gone := missing(raw):
                raise altered(path, f"missing or not as it was made: {', '.join(gone[:_NAMED])}")
        finally:
            db.close()


def discard(path: Path) -> None:
    """Remove a ledger that was made a moment ago, and what stands beside it. The caller holds its lock."""
    for beside in ("-wal", "-shm", "-journal", "", ".lock"):
        Path(f"{path.resolve()}{beside}").unlink(missing_ok=True)


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read; an existing file is left as it is."""
    if exists(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be made: {error.strerror}") from error


def _keep_private(path: Path) -> None:
    """A ledger that was copied or restored may be readable to others; it holds signed URLs."""
    for each in ("", "-wal", "-shm"):
        file = Path(f"{path.resolve()}{each}")
        with suppress(FileNotFoundError, PermissionError):
            file.chmod(file.stat().st_mode & 0o700)


def sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut, where folders can be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
