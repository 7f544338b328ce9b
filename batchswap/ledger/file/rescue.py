"""What a run knows, back under a name: when the ledger was removed, moved or replaced while the run used it."""

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import msgspec

from batchswap.errors import LedgerFailed
from batchswap.ledger.file import connection
from batchswap.ledger.file.location import LedgerFault, Location, is_sound
from batchswap.ledger.file.lock import hold_file
from batchswap.ledger.queries import secret
from batchswap.state_folder import identity


class RescuedLedger(msgspec.Struct, frozen=True):
    """The ledger that the run goes on with."""

    path: Path
    writing: sqlite3.Connection
    reading: sqlite3.Connection


def save(
    location: Location, fault: LedgerFault, writing: sqlite3.Connection, reading: sqlite3.Connection, stack: ExitStack
) -> RescuedLedger:
    """Write all that is known to a file under the ledger's name, or next to it where that name is taken.

    No transaction may be open. The old connections are closed; the new ones, and the lock on the new file, are closed
    by `stack`. Raises LedgerFailed, with everything as it was, when no sound copy can be written.
    """
    part = Path(f"{location.real}.part-{os.getpid()}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _copy(writing, part)
        stack.enter_context(hold_file(part, wait=False))
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink()
        raise LedgerFailed(f"what this run knows cannot be saved next to {location.path} ({error})") from error
    _leave(location, fault, writing, reading)
    path = _place(part, location, is_own=not fault.is_overwritten)
    return RescuedLedger(
        path, *(stack.enter_context(closing(connection.connect(path, write=w))) for w in (True, False))
    )


def _copy(writing: sqlite3.Connection, part: Path) -> None:
    """A sound copy in a private file. Raises sqlite3.Error."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("pragma synchronous = full")
        writing.backup(copy)
    if not is_sound(part, secret(writing)):
        raise sqlite3.DatabaseError("what can still be read of it is damaged")


def _leave(location: Location, fault: LedgerFault, writing: sqlite3.Connection, reading: sqlite3.Connection) -> None:
    """Close the old connections. A moved ledger gets all that is known; one that was overwritten gets nothing."""
    with suppress(sqlite3.Error):
        if fault.is_overwritten:
            writing.close()  # first: the last one to close, if it may write, writes into the file
            reading.close()
        else:
            reading.close()
            writing.execute("pragma wal_checkpoint(truncate)")
    writing.close()
    for suffix in ("-wal", "-shm"):
        beside = Path(f"{location.real}{suffix}")
        if identity(beside) == location.files[suffix]:
            beside.unlink(missing_ok=True)


def _place(part: Path, location: Location, *, is_own: bool) -> Path:
    """Give the copy the first name that is free, and never another file's.

    `is_own`: a file that is still the ledger's is the run's own, without its newest records: it is replaced.
    """
    if is_own and identity(location.real) == location.files[""]:
        part.rename(location.real)
        return location.path
    for path in _names(location.real):
        if any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-shm")):
            continue  # SQLite would take them for parts of it
        try:
            path.hardlink_to(part)
        except FileExistsError:
            continue
        except OSError:  # no hard links there
            if path.exists():
                continue
            with suppress(OSError):
                part.rename(path)
            return path if path.exists() else part
        part.unlink(missing_ok=True)
        connection.sync_folder(path.parent)
        return location.path if path == location.path.resolve() else path
    raise AssertionError("there is always one more name")


def _names(real: Path) -> Iterator[Path]:
    yield real
    yield real.with_name(f"{real.stem}.saved{real.suffix}")
    for number in itertools.count(2):
        yield real.with_name(f"{real.stem}.saved-{number}{real.suffix}")
