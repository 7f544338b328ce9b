"""Find the calendar day of an attempt, and the credits that count against its budget, in the submission log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from batchswap.ledger.submission_log import entries
from batchswap.ledger.submission_log.entries import LogEntry, What

LONGEST = 26 * 3600.0
"""An upper limit for the seconds of a calendar day, with a change of the clocks."""


class Day(msgspec.Struct, frozen=True):
    """A calendar day in the time zone of the run that began it. `begins` and `ends` are Unix times."""

    label: str
    zone: str
    begins: float
    ends: float

    @property
    def is_sound(self) -> bool:
        """False for a line that is damaged."""
        return 0.0 < self.ends - self.begins <= LONGEST


def calendar_day(at: float) -> Day:
    """Return the calendar day of `at` in this machine's time zone."""
    moment = datetime.fromtimestamp(at).astimezone()
    date = moment.date()
    begins, ends = (datetime(each.year, each.month, each.day) for each in (date, date + timedelta(days=1)))  # noqa: DTZ001 - local midnight
    return Day(date.isoformat(), moment.strftime("%z"), begins.timestamp(), ends.timestamp())


def beginning(last: Day | None, local: Day, at: float) -> Day | None:
    """Return the day that begins with a submit at `at`; None while the last day lasts.

    `local` is the calendar day of this run. It begins only after the last day has ended, so that two time zones do not
    get a budget each. A last day in the future is ignored, because a clock was wrong.
    """
    if last is None or at < last.begins - LONGEST:
        return local
    return local if local.begins >= last.ends else None


class Tally:
    """A day and its sum of credits. Only attempts that may still be charged are kept in memory."""

    def __init__(self) -> None:
        self.day: Day | None = None
        self.total = 0.0
        self._open: dict[str, float] = {}

    def __contains__(self, ref: str) -> bool:
        return ref in self._open

    def take(self, entry: LogEntry) -> None:
        match entry.what:
            case What.DAY:
                self._begin(Day(entry.day, entry.zone, entry.begins, entry.ends))
            case What.HELD | What.SENT:
                self._set(entry.ref, entry.reserved)
            case What.REFUSED if entry.ref in self._open:
                self._set(entry.ref, 0.0)
                del self._open[entry.ref]
            case What.ENDED if entry.ref in self._open:
                self._set(entry.ref, entry.reserved if entry.charged is None else entry.charged)
                del self._open[entry.ref]

    def _begin(self, day: Day) -> None:
        if day.is_sound:
            self.day, self.total = day, 0.0
            self._open.clear()

    def _set(self, ref: str, amount: float) -> None:
        self.total += amount - self._open.get(ref, 0.0)
        self._open[ref] = amount


def so_far(folder: Path, names: Sequence[str], *, counts: bool = True) -> Tally:
    """Return the day that began last in these ordered files, with `counts` also its sum. Raise OSError."""
    found = Tally()
    recent = names[-2:]
    for at in range(len(recent) - 1, -1, -1):
        with entries.opened(folder / recent[at]) as (handle, size):
            start = entries.last_day(handle, size)
            if start is None:
                continue
            for some, _ in entries.read(handle, start, size if counts else min(size, start + entries.BLOCK)):
                for entry in some:
                    if counts or entry.what == What.DAY:
                        found.take(entry)
                if not counts:
                    break
        for name in recent[at + 1 :] if counts else ():
            for some in entries.read_file(folder / name):
                for entry in some:
                    found.take(entry)
        break
    return found
