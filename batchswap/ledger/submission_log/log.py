"""Write the submission log: all submits with one API key, by all ledgers of this user on this machine.

Each key and month has one append-only file in the state folder. A line is written before the request that it records,
and an answer's line before the ledger records the answer. The log is synced only at the end of a run: the ledger syncs
its own records, and the log is for ledgers that were lost, restored or copied.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from batchswap.clock import Clock, SystemClock
from batchswap.ledger.budgets import OverBudget, is_more
from batchswap.ledger.submission_log import entries
from batchswap.ledger.submission_log.budget_day import Tally, beginning, calendar_day, so_far
from batchswap.ledger.submission_log.entries import LogEntry, What
from batchswap.ledger.submission_log.position import LogPlace, Position
from batchswap.state_folder import identity, make_private
from batchswap.tasks import Attempt, Task

PATIENCE = 10.0
"""Seconds to wait for another process, which normally holds the file for less than a millisecond."""
KEPT = 12
"""Months for which files are kept."""
MISSING = "an older copy of the ledger would not be noticed, and --budget-per-day counts this ledger only"


class SubmissionLog:
    """Writes the log. If it cannot be written, `say` gets one message, and the run continues without it."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        ledger: str,
        clock: Clock,
        say: Callable[[str], None],
        *,
        mark: Position | None = None,
        counts: bool = False,
    ) -> None:
        """`mark` is the end of the part that was compared with `ledger`. `counts`: the day has a budget."""
        self._folder, self._fingerprint, self._ledger = folder, fingerprint, ledger
        self._clock, self._say, self._mark, self._counts = clock, say, mark, counts
        self._handle, self._name, self._path, self._identity = -1, "", "", (0, 0)
        self._begins = self._ends = 0.0
        self._read_to = 0
        """All lines before this offset were read or written by this process."""
        self._open: dict[str, Position] = {}
        """The attempts whose last line may not be in the ledger yet, with the position of that line."""
        self._marked = mark
        self._tally = Tally()
        self._is_forked = self._has_failed = False

    def reserve(self, item: Task, ref: str, reserved: float, limit: float | None) -> str | None:
        """Return the day that the attempt counts for; None if the log cannot be used. Raise OverBudget.

        With a `limit`, the credits are reserved at once, so that no other process spends them.
        """
        now = self._clock.now()
        try:
            self._turn_to(now, looks=True)
            if limit is not None or not self._is_today(now):
                with self._alone():
                    self._catch_up()
                    self._begin_day(now)
                    if limit is not None:
                        self._hold(item, ref, reserved, limit)
        except OSError as error:
            self._fail(error)
            return None
        return self._tally.day.label if self._tally.day else None

    def _hold(self, item: Task, ref: str, reserved: float, limit: float) -> None:
        if is_more(self._tally.total + reserved, limit):
            raise OverBudget
        self._write(self._entry(What.HELD, item, item.attempts + 1, ref, reserved=reserved))

    def note(self, what: What, item: Task, attempt: Attempt, **more: Any) -> None:
        """Append an event of an attempt; `more` are fields of LogEntry."""
        more = {"id": attempt.remote_id or "", **more}
        entry = self._entry(what, item, attempt.number, attempt.ref, reserved=attempt.reserved, **more)
        try:
            start = self._write(entry)
        except OSError as error:
            self._fail(error)
        else:
            if what not in (What.ENDED, What.SAVED):  # the ledger records these before the log
                self._open.setdefault(attempt.ref, start)

    def release(self, item: Task, ref: str) -> None:
        """Free the reserved credits of an attempt that was neither recorded in the ledger nor sent."""
        with suppress(OSError):
            if ref in self._tally:
                self._write(self._entry(What.REFUSED, item, item.attempts + 1, ref, code="never-sent"))

    def place(self) -> LogPlace | None:
        """Return the new mark for the ledger. None if it has not changed, or another process uses a copy of it."""
        end = Position(self._name, self._read_to)
        if self._handle < 0 or self._is_forked or (end == self._marked and not self._open):
            return None
        return LogPlace(self._fingerprint, end, dict(self._open))

    def marked(self, place: LogPlace, still_open: set[str]) -> None:
        """Note that the ledger has the answers to all attempts of `place` except `still_open`."""
        self._marked = place.end
        for ref, start in place.open.items():
            if ref not in still_open and self._open.get(ref) == start:
                del self._open[ref]

    def close(self) -> None:
        """Sync and close the log."""
        if self._handle >= 0:
            with suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle, self._name, self._ends = -1, "", 0.0

    def _entry(self, what: What, item: Task, number: int, ref: str, **more: Any) -> LogEntry:
        at = round(self._clock.now(), 3)
        return LogEntry(at, what, self._ledger, item.batch, item.key, number, item.digest, ref, **more)

    def _write(self, entry: LogEntry) -> Position:
        """Append a line with one write(2), so that lines of several processes do not mix. Return its position."""
        self._turn_to(entry.at)
        line = entries.encode(entry)
        if os.write(self._handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._name)
        end = os.lseek(self._handle, 0, os.SEEK_CUR)
        self._take_in(end - len(line))
        self._take(entry)
        self._read_to = end
        return Position(self._name, end - len(line))

    def _turn_to(self, at: float, *, looks: bool = False) -> None:
        """Open the month's file unless it is open. With `looks`, also check that it still has its name."""
        if self._begins <= at < self._ends and not (looks and identity(self._path) != self._identity):
            return
        name = entries.name_of(self._fingerprint, time.strftime("%Y-%m", time.gmtime(at)))
        path = self._folder / name
        is_first = self._handle < 0 or name == self._name
        if self._handle >= 0:
            with suppress(OSError):
                self._catch_up()
            os.close(self._handle)
            self._handle = -1
        make_private(self._folder)
        self._handle = entries.open_log(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._name, self._path, self._identity, self._read_to = name, str(path), identity(path), 0
        self._begins = at - at % 86_400
        self._ends = self._begins + 86_400  # a UTC day lies within one month
        if is_first:
            self._read_to = os.fstat(self._handle).st_size
            self._look_back()

    def _catch_up(self) -> None:
        """Read the lines that other processes have appended."""
        self._take_in(os.fstat(self._handle).st_size)

    def _take_in(self, end: int) -> None:
        for found, behind in entries.read(self._handle, self._read_to, end):
            for entry in found:
                self._is_forked |= self._is_foreign(entry)
                self._take(entry)
            self._read_to = behind

    def _is_foreign(self, entry: LogEntry) -> bool:
        """Return whether another process has sent this with a copy of this ledger. Own lines are never read."""
        return entry.ledger == self._ledger and entry.what == What.SENT

    def _take(self, entry: LogEntry) -> None:
        if self._counts or entry.what == What.DAY:
            self._tally.take(entry)

    def _look_back(self) -> None:
        """Read the lines that count for this day, and those after the mark."""
        names = [name for name in entries.logs_in(self._folder)[self._fingerprint] if name <= self._name]
        self._tally = so_far(self._folder, names, counts=self._counts)
        mark = self._mark or Position(self._name, self._read_to)
        for name in names:
            if name >= mark.file:
                with entries.opened(self._folder / name) as (handle, end):
                    start = mark.offset if name == mark.file else 0
                    for found, _ in entries.read(handle, start, end, self._ledger.encode()):
                        self._is_forked |= any(map(self._is_foreign, found))

    def _is_today(self, now: float) -> bool:
        day = self._tally.day
        return day is not None and day.begins <= now < day.ends

    def _begin_day(self, now: float) -> None:
        day = None if self._is_today(now) else beginning(self._tally.day, calendar_day(now), now)
        if day is not None:
            at = round(now, 3)
            self._write(LogEntry(at, What.DAY, day=day.label, zone=day.zone, begins=day.begins, ends=day.ends))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the file, so that no other process counts and reserves at the same time."""
        handle, tries = self._handle, int(PATIENCE / 0.01)
        for left in range(tries, -1, -1):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(0.01)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)

    def _fail(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            reason = error.strerror or str(error)
            self._say(f"the submission log in {self._folder} cannot be written ({reason}): {MISSING}")


class NoLog(SubmissionLog):
    """Logs nothing, for the local provider: it uses no account's credits."""

    def __init__(self) -> None:
        super().__init__(Path(), "", "", SystemClock(), print)

    def reserve(self, item: Task, ref: str, reserved: float, limit: float | None) -> str | None:
        return None

    def note(self, what: What, item: Task, attempt: Attempt, **more: Any) -> None:
        pass


def delete_old(folder: Path, fingerprint: str, at: float) -> None:
    """Remove a key's files that are more than KEPT months old."""
    now = time.gmtime(at)
    year, month = divmod(now.tm_year * 12 + now.tm_mon - 1 - KEPT, 12)
    oldest = f"{year:04d}-{month + 1:02d}"
    with suppress(OSError):
        for name in entries.logs_in(folder).get(fingerprint, []):
            if entries.month_of(name) < oldest:
                (folder / name).unlink()
