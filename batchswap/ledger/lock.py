"""One running process per ledger: a kernel lock beside the file, gone when the process dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batchswap.errors import LedgerBusy, LedgerError


@contextmanager
def hold(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Hold the ledger for a run. Raises LedgerBusy when another run has it and `wait` is off.

    LedgerError: nothing can be written there, or there are no kernel locks, which filelock would take for a lock that
    is held, or replace by a file that outlives its process.
    """
    try:
        ledger.resolve().parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{ledger.resolve()}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(f"{ledger}: nothing can be written there ({error.strerror})") from error
    _check_locks(handle, ledger)
    lock = FileLock(f"{ledger.resolve()}.lock", timeout=-1 if wait else 0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise LedgerBusy(f"another run holds {ledger}; --if-running wait waits for it, skip leaves it alone") from error
    try:
        yield
    finally:
        lock.release()


def _check_locks(handle: int, ledger: Path) -> None:
    """Closes `handle`. Raises LedgerError where the file system has no locks (some network ones)."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return  # held by another run: so there are locks
    except OSError as error:
        raise LedgerError(f"{ledger}: files cannot be locked there ({error.strerror}); use a local disk") from error
    finally:
        os.close(handle)


def is_held(ledger: Path) -> bool:
    """Whether a run goes on at this moment. Where that cannot be looked at, it may."""
    try:
        handle = os.open(f"{ledger.resolve()}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)
