"""Keep a file for the textfile collector of node_exporter up to date during a run, and after it."""

import asyncio
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from batchswap.errors import BatchswapError, UsageError
from batchswap.events import LogEvent, report
from batchswap.metrics import exposition
from batchswap.metrics.samples import samples_of

EVERY = 60.0
"""Seconds between two writes during a run."""
LONGEST = 10.0
"""Seconds that the end of a run waits for the last write, such as to a disk of the network that does not answer."""
MODE = 0o644
"""node_exporter reads the file as another user, whatever the umask of the run is."""
ENDING = ".prom"
_OWN = b"# HELP batchswap_"
"""The beginning of each file."""
_OTHER = "choose another --metrics-file"


class MetricsFile:
    """Writes the metrics of one ledger to one file. A failure is one warning: a run never fails for its metrics."""

    def __init__(self, path: Path, ledger: Path) -> None:
        self.path, self.ledger = path, ledger
        self._turn = threading.Lock()
        self._is_checked = self._is_over = self._has_warned = False

    def check(self) -> None:
        """Raise MissingExtra without prometheus-client, and UsageError for a file that cannot be written."""
        exposition.require()
        path = self.path
        try:
            folder = path.resolve().parent
            if path.resolve() == self.ledger.resolve():
                raise UsageError(f"{path}: is the ledger; {_OTHER}")
            if not folder.is_dir():
                raise UsageError(f"{path}: there is no folder {folder}; create it, or {_OTHER}")
            if path.exists() and not path.is_file():
                raise UsageError(f"{path}: is not a regular file; {_OTHER}")
            if path.exists() and not _is_own(path):
                raise UsageError(f"{path}: exists and is not a metrics file of batchswap; {_OTHER}")
            handle, name = _temporary(path.resolve())
            os.close(handle)
            Path(name).unlink()
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"{path}: cannot be written ({reason}); {_OTHER}") from error
        self._is_checked = True
        if path.suffix != ENDING:
            words = f"{path}: node_exporter reads only files whose names end in {ENDING}"
            report(LogEvent.METRICS_SKIPPED, words, logging.WARNING)

    async def watch(self, _: Callable[[], object]) -> None:
        """Write the file now, and once a minute until cancelled, in a thread that no one waits for."""
        ended = threading.Event()

        def update() -> None:
            while True:
                self._write(None)
                if ended.wait(EVERY):
                    return

        _start(update)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def finish(self, exit_code: int) -> None:
        """Write the file for the last time, unless it must not be written. Give up if that takes too long."""
        if not self._is_checked:  # another mistake came first, or the check has failed
            try:
                self.check()
            except UsageError:
                return
        done = threading.Event()

        def write() -> None:
            self._write(exit_code)
            done.set()

        if not _start(write) or not done.wait(LONGEST):
            self._warn("it cannot be written now")

    def _write(self, exit_code: int | None) -> None:
        """Write the file, unless it was written for the last time."""
        with self._turn:
            if self._is_over:
                return
            self._is_over = exit_code is not None
            try:
                replace(self.path, self._text(exit_code))
            except OSError as error:
                self._warn(error.strerror or str(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end the run
                self._warn(str(error))

    def _text(self, exit_code: int | None) -> bytes:
        """Return the text. If the ledger cannot be read, the exit code is written nevertheless."""
        try:
            return exposition.scrape(self.ledger, exit_code=exit_code)[0]
        except (BatchswapError, OSError, sqlite3.Error) as error:
            if exit_code is None:
                raise
            self._warn(f"it has the exit code only: {error}")
            return exposition.encode(samples_of(None, self.ledger, exit_code))[0]

    def _warn(self, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            report(LogEvent.METRICS_SKIPPED, f"the metrics in {self.path} are not up to date: {why}", logging.WARNING)


def _is_own(path: Path) -> bool:
    """Return whether the file may be replaced: it was written by this module, or is empty."""
    with path.open("rb") as file:
        head = file.read(len(_OWN))
    return head in (b"", _OWN)


def _temporary(path: Path) -> tuple[int, str]:
    """Create a file next to `path` that node_exporter does not read. Return its handle and path."""
    return tempfile.mkstemp(prefix=".batchswap-", suffix=".part", dir=path.parent)


def replace(path: Path, text: bytes) -> None:
    """Replace the file, or the target of a link, at once: no reader finds a part of it. Everyone may read it."""
    path = path.resolve()
    handle, name = _temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _start(work: Callable[[], None]) -> bool:
    """Start a thread that does not keep the process alive. Return whether that was possible."""
    try:
        threading.Thread(target=work, name="metrics", daemon=True).start()
    except RuntimeError:  # the limit of threads
        return False
    return True
