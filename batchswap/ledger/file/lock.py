"""One running process per ledger: kernel locks, gone when the process dies.

Three locks are held. The one next to the file is shared by all who use the file's name, on network file systems too.
The second one belongs to the file itself, whatever leads to it (a link, a bind mount, a new name): it is a file in the
state folder that is named by device and inode. The third one, named by the ledger's id, belongs to all copies of the
ledger: each of two runs with a copy would submit the same rows. The ledger is not locked directly: where flock and
SQLite's own fcntl locks are one (BSD, NFS), SQLite would wait for ever, and closing any handle of a file drops all
fcntl locks of the process.
"""

import fcntl
import logging
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from batchswap.errors import LedgerBusy, LedgerError, UsageError
from batchswap.ledger.submission_log.position import ledger_id
from batchswap.state_folder import state_folder

_LOG = logging.getLogger(__name__)


@contextmanager
def hold(ledger: Path, *, wait: bool) -> Iterator[Callable[[], None]]:
    """Hold the ledger for a run. Raises LedgerBusy when another run has it and `wait` is off.

    Yields what must be called as soon as a ledger that was not there is made: it holds the file itself. LedgerError:
    the file has several names, nothing can be written there, or there are no kernel locks, which filelock would take
    for a lock that is held, or replace by a file that outlives its process.
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
        raise _busy(ledger) from error
    with ExitStack() as stack:
        stack.callback(lock.release)
        if ledger.exists():
            stack.enter_context(hold_file(ledger, wait=wait))
            stack.enter_context(_hold_copies(ledger, wait=wait))
            yield lambda: None
        else:
            yield lambda: stack.enter_context(_hold_new(ledger))


@contextmanager
def hold_file(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Hold the file itself, under whatever name. Raises LedgerBusy; LedgerError when it has several names."""
    if (names := ledger.stat().st_nlink) > 1:
        raise LedgerError(several_names(ledger, names))
    try:
        held = _acquire(lambda: _lock_file(ledger.stat()), wait=wait)
    except BlockingIOError as error:
        raise _busy(ledger) from error
    except (OSError, UsageError) as error:
        _LOG.warning("%s is locked under this name only: do not run it under another one (%s)", ledger, error)
        yield
        return
    with _released(*held):
        yield


@contextmanager
def _hold_new(ledger: Path) -> Iterator[None]:
    with hold_file(ledger, wait=False), _hold_copies(ledger, wait=False):
        yield


@contextmanager
def _hold_copies(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Hold the ledger's id. Raise LedgerBusy. A file that has none, or cannot be read, is judged where it is opened."""
    with ExitStack() as stack:
        if (path := _copies_file(ledger)) is not None:
            try:
                stack.enter_context(_released(*_acquire(lambda: path, wait=wait)))
            except BlockingIOError as error:
                raise LedgerBusy(
                    f"another run holds a copy of {ledger}, and would submit the same rows: let one of them end before"
                    " the other begins; --if-running wait waits for it, skip leaves it alone"
                ) from error
            except OSError as error:
                _LOG.debug("copies of %s are not locked (%s)", ledger, error)
        yield


@contextmanager
def _released(path: Path, handle: int) -> Iterator[None]:
    """Release a lock at the end."""
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def several_names(ledger: Path, names: int) -> str:
    """What to do about hard links."""
    name, folder = shlex.quote(str(ledger)), shlex.quote(str(ledger.resolve().parent))
    return (
        f"{ledger}: has {names} names (hard links), and its newest records are next to one of them only: remove the"
        f" others (`find {folder} -xdev -samefile {name}` lists them), or make this one a file of its own:"
        f" `cp -p {name} {name}.new && mv {name}.new {name}`"
    )


def _busy(ledger: Path) -> LedgerBusy:
    return LedgerBusy(f"another run holds {ledger}; --if-running wait waits for it, skip leaves it alone")


def _lock_file(found: os.stat_result) -> Path:
    return state_folder() / "ledgers" / f"{found.st_dev}-{found.st_ino}.lock"


def _copies_file(ledger: Path) -> Path | None:
    """Return the lock file that all copies of the ledger share; None for a file that is no ledger yet."""
    try:
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return state_folder() / "ledgers" / f"{ledger_id(db)}.lock"
    except (sqlite3.Error, TypeError, UsageError):
        return None


def _acquire(find: Callable[[], Path], *, wait: bool) -> tuple[Path, int]:
    """The lock file and its handle. Meanwhile its last holder may have removed it, or replaced the ledger."""
    while True:
        path = find()
        for folder in (path.parent.parent, path.parent):  # `mode` counts for the last folder alone
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            is_there = path.exists() and os.path.samestat(path.stat(), os.fstat(handle))
            if is_there and path == find():
                return path, handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


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
    """Whether a run is in progress at this moment, under whatever name. Where that cannot be looked at, it may be."""
    if _is_locked(Path(f"{ledger.resolve()}.lock")):
        return True
    with suppress(OSError, UsageError):
        copies = _copies_file(ledger)
        return _is_locked(_lock_file(ledger.stat())) or (copies is not None and _is_locked(copies))
    return False


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
