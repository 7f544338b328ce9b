"""Keep two hosts from using one ledger at a time, where the locks of a share hold on one host only.

A run writes a file next to the ledger every few seconds. A run on another host finds it: if it is young, the ledger is
in use. Its age is measured by the clock of the share. On the same kernel, as between containers, locks hold, and a file
that a killed process has left means nothing.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from batchswap.errors import LedgerBusy
from batchswap.mounts import Mount, mount_of, parse

_LOG = logging.getLogger(__name__)

EVERY = 5.0
OLD = 120.0
"""Seconds without a sign of life after which the other run counts as dead. Shares may show files late."""
MOMENT = 1.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mountinfo")


class Holder(msgspec.Struct, frozen=True):
    """The run that uses the ledger. `boot` is of the kernel, which containers share."""

    host: str
    boot: str
    pid: int

    def is_elsewhere(self, own: "Holder") -> bool:
        """Return whether the locks of this kernel say nothing about it. A host that restarted has no old runs."""
        return self.boot != own.boot and self.host != own.host


def share_of(path: Path) -> Mount | None:
    """Return the file system of a ledger if other hosts do not see the locks of this one."""
    try:
        mounts = parse(_MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return None
    found = mount_of(str(path.resolve().parent), mounts)
    return found if found is not None and found.has_local_locks else None


def own_holder() -> Holder:
    with suppress(OSError):
        return Holder(socket.gethostname(), _BOOT_ID.read_text(encoding="ascii").strip(), os.getpid())
    return Holder(socket.gethostname(), "", os.getpid())


@contextmanager
def claimed(ledger: Path, *, wait: bool) -> Iterator[None]:
    """Claim a ledger on such a share. Raise LedgerBusy if a run on another host uses it and `wait` is off."""
    if share_of(ledger) is None:
        yield
        return
    path, own = Path(f"{ledger.resolve()}.host"), own_holder()
    while not _claim(path, own):
        if not wait:
            other = _read(path)
            raise LedgerBusy(
                f"a run on the host {other.host if other else '?'} is using {ledger}, and locks of this share hold on"
                " one host only: wait for it with --if-running wait, or skip this one with --if-running skip"
            )
        time.sleep(EVERY)
    over = threading.Event()
    beat = threading.Thread(target=_keep, args=(path, own, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join(EVERY)
        if _read(path) == own:
            path.unlink(missing_ok=True)


def _claim(path: Path, own: Holder) -> bool:
    """Return whether this run has the ledger. Of two hosts that write at the same moment, the later one has it."""
    if _user(path, own) is not None:
        return False
    _write(path, own)
    time.sleep(MOMENT)
    return _read(path) == own


def _user(path: Path, own: Holder) -> Holder | None:
    """Return the run on another host that uses the ledger."""
    found = _read(path)
    if found is None or not found.is_elsewhere(own):
        return None
    age = _age(path)
    if age < OLD:
        return found
    _LOG.warning("a run on the host %s has given no sign of life for %.0f s: taking over its ledger", found.host, age)
    return None


def _age(path: Path) -> float:
    """Return the seconds since the last sign of life, by the clock of the share."""
    probe = _apart(path)
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink()


def _apart(path: Path) -> Path:
    """Return the name of a file that only this process writes."""
    return path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")


def _read(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, own: Holder) -> None:
    part = _apart(path)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(own))
    part.replace(path)


def _keep(path: Path, own: Holder, over: threading.Event) -> None:
    """Give signs of life. End the run if another host has taken over while this one was away."""
    while not over.wait(EVERY):
        with suppress(OSError):
            found = _read(path)
            if found is not None and found.is_elsewhere(own):
                _LOG.warning("a run on the host %s has taken over %s: this run ends", found.host, path.with_suffix(""))
                os.kill(os.getpid(), signal.SIGTERM)
                return
            _write(path, own)
