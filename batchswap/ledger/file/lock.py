"""Allow one run per ledger, with kernel locks that end with the process.

A run holds three locks. The first is a file next to the ledger: every process that uses this name finds it, on network
file systems too. The second is a file in the state folder, named by the ledger's device and inode: it is found through
any other name of the ledger (a link, a bind mount, a new name). The third one, also in the state folder, is named by
the ledger's id, which all copies of a ledger share: two runs with copies would submit the same rows. The ledger itself
is not locked: on systems where flock and SQLite's fcntl locks are the same (BSD, NFS), SQLite would wait for ever, and
closing any handle of a file drops all fcntl locks of the process.
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
from batchswap.ledger.file.claim import claimed
from batchswap.ledger.submission_log.position import ledger_id
from batchswap.state_folder import make_private, state_folder

_LOG = logging.getLogger(__name__)


@contextmanager
def hold(ledger: Path, *, wait: bool) -> Iterator[Callable[[], None]]:
    """Hold the ledger for a run. Raise LedgerBusy if another run holds it and `wait` is off.

    Yield a function that must be called as soon as a missing ledger is created: it takes the other locks. Raise
    LedgerError if the file has several names, if its folder is not writable, or if the file system has no kernel locks:
    filelock would report those as held, or replace them by a file that outlives its process.
    """
    try:
        ledger.resolve().parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{ledger.resolve()}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(f"{ledger}: its folder cannot be written ({error.strerror})") from error
    _check_locks(handle, ledger)
    lock = FileLock(f"{ledger.resolve()}.lock", timeout=-1 if wait else 0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise _busy(ledger) from error
    with ExitStack() as stack:
        stack.callback(lock.release)
        stack.enter_context(claimed(ledger, wait=wait))
        if ledger.exists():
            stack.enter_context(_hold_with_copies(ledger, wait=wait))
            yield lambda: None
        else:
            yield lambda: stack.enter_context(_hold_with_copies(ledger, wait=False))


@contextmanager
def hold_file(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Hold the file under all of its names. Raise LedgerBusy, or LedgerError if it has hard links."""
    if (names := ledger.stat().st_nlink) > 1:
        raise LedgerError(several_names(ledger, names))
    try:
        held = _acquire(lambda: _lock_file(ledger.stat()), wait=wait)
    except BlockingIOError as error:
        raise _busy(ledger) from error
    except (OSError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _LOG.warning("%s is locked under this name only (%s): do not use it under another name", ledger, reason)
        yield
        return
    with _released(*held):
        yield


@contextmanager
def _hold_with_copies(ledger: Path, *, wait: bool) -> Iterator[None]:
    with hold_file(ledger, wait=wait), _hold_copies(ledger, wait=wait):
        yield


@contextmanager
def _hold_copies(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Hold the ledger's id. Raise LedgerBusy. A file without an id is ignored: opening it will explain the fault."""
    with ExitStack() as stack:
        if (path := _copies_file(ledger)) is not None:
            try:
                stack.enter_context(_released(*_acquire(lambda: path, wait=wait)))
            except BlockingIOError as error:
                raise LedgerBusy(
                    f"another run holds a copy of {ledger}, and both would submit the same rows: wait for it with"
                    " --if-running wait, or skip this one with --if-running skip"
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
    """Return the message about a ledger with hard links."""
    name, folder = shlex.quote(str(ledger)), shlex.quote(str(ledger.resolve().parent))
    return (
        f"{ledger}: has {names} names (hard links), and its newest records are next to only one of them: remove the"
        f" others (`find {folder} -xdev -samefile {name}` lists them), or make this one a separate file:"
        f" `cp -p {name} {name}.new && mv {name}.new {name}`"
    )


def _busy(ledger: Path) -> LedgerBusy:
    return LedgerBusy(
        f"another run holds {ledger}; wait for it with --if-running wait, or skip this one with --if-running skip"
    )


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
    """Return the locked file and its handle. Try again if it was removed, or the ledger replaced, in the meantime."""
    while True:
        path = find()
        make_private(path.parent)
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
    """Close `handle`. Raise LedgerError if the file system has no locks, like some network ones."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return  # another run holds it, so locks work
    except OSError as error:
        words = f"files cannot be locked in its folder ({error.strerror}); use a local disk"
        raise LedgerError(f"{ledger}: {words}") from error
    finally:
        os.close(handle)


def is_held(ledger: Path) -> bool:
    """Return whether a run is in progress, under any name of the ledger. An unreadable lock counts as held."""
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
