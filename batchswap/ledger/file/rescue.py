"""Save the records of a run whose ledger was removed, moved or replaced while the run used it."""

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
    """The new file of the ledger, with open connections to it."""

    path: Path
    writing: sqlite3.Connection
    reading: sqlite3.Connection


def save(
    location: Location, fault: LedgerFault, writing: sqlite3.Connection, reading: sqlite3.Connection, stack: ExitStack
) -> RescuedLedger:
    """Write all records to a file under the ledger's name, or under a similar name if that one is taken.

    No transaction may be open. This closes the old connections; `stack` closes the new ones, and the lock on the new
    file. Raise LedgerFailed, and change nothing, if an undamaged copy cannot be written.
    """
    part = Path(f"{location.real}.part-{os.getpid()}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _copy(writing, part)
        stack.enter_context(hold_file(part, wait=False))
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink()
        raise LedgerFailed(f"the records of this run cannot be saved next to {location.path} ({error})") from error
    _leave(location, fault, writing, reading)
    path = _place(part, location, is_own=not fault.is_overwritten)
    return RescuedLedger(
        path, *(stack.enter_context(closing(connection.connect(path, write=w))) for w in (True, False))
    )


def _copy(writing: sqlite3.Connection, part: Path) -> None:
    """Copy the ledger into a private file. Raise sqlite3.Error unless the copy is undamaged."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("pragma synchronous = full")
        writing.backup(copy)
    if not is_sound(part, secret(writing)):
        raise sqlite3.DatabaseError("its readable part is damaged")


def _leave(location: Location, fault: LedgerFault, writing: sqlite3.Connection, reading: sqlite3.Connection) -> None:
    """Close the old connections. A moved ledger gets all records; an overwritten file must not be written to."""
    with suppress(sqlite3.Error):
        if fault.is_overwritten:
            writing.close()  # first, because a writing connection that closes last writes into the file
            reading.close()
        else:
            reading.close()
            writing.execute("pragma wal_checkpoint(truncate)")
    writing.close()
    for suffix in ("-wal", "-shm"):
        path = Path(f"{location.real}{suffix}")
        if identity(path) == location.files[suffix]:
            path.unlink(missing_ok=True)


def _place(part: Path, location: Location, *, is_own: bool) -> Path:
    """Give the copy the first free name. Never replace another file.

    With `is_own`, the file under the ledger's name may still be the run's own one, without its newest records: then it
    is replaced.
    """
    if is_own and identity(location.real) == location.files[""]:
        part.rename(location.real)
        return location.path
    for path in _names(location.real):
        if any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-shm")):
            continue  # SQLite would use them with the copy
        try:
            path.hardlink_to(part)
        except FileExistsError:
            continue
        except OSError:  # the file system has no hard links
            if path.exists():
                continue
            with suppress(OSError):
                part.rename(path)
            return path if path.exists() else part
        part.unlink(missing_ok=True)
        connection.sync_folder(path.parent)
        return location.path if path == location.path.resolve() else path
    raise AssertionError("the names are endless")


def _names(real: Path) -> Iterator[Path]:
    yield real
    yield real.with_name(f"{real.stem}.saved{real.suffix}")
    for number in itertools.count(2):
        yield real.with_name(f"{real.stem}.saved-{number}{real.suffix}")
