"""What counts against a day's budget, by the submission log: what was sent or set aside since the day's own line."""

import os
from collections.abc import Sequence
from pathlib import Path

from batchswap.ledger.submission_log import entries
from batchswap.ledger.submission_log.days import Day
from batchswap.ledger.submission_log.entries import Entry, What


class Tally:
    """A day and its sum. Memory holds the attempts that may still be charged, and no others."""

    def __init__(self) -> None:
        self.day: Day | None = None
        self.total = 0.0
        self._open: dict[str, float] = {}

    def __contains__(self, ref: str) -> bool:
        return ref in self._open

    def take(self, entry: Entry) -> None:
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
    """The day that began last in these files, which are in order. `counts`: with its sum. Raises OSError."""
    found = Tally()
    recent = names[-2:]
    for at in range(len(recent) - 1, -1, -1):
        handle = entries.open_log(folder / recent[at])
        try:
            size = os.fstat(handle).st_size
            start = entries.last_day(handle, size)
            if start is None:
                continue
            for some, _ in entries.read(handle, start, size if counts else min(size, start + entries.BLOCK)):
                for entry in some if counts else [each for each in some if each.what == What.DAY]:
                    found.take(entry)
                if not counts:
                    break
        finally:
            os.close(handle)
        if counts:
            _add_later(found, folder, recent[at + 1 :])
        break
    return found


def _add_later(found: Tally, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        handle = entries.open_log(folder / name)
        try:
            for some, _ in entries.read(handle, 0, os.fstat(handle).st_size):
                for entry in some:
                    found.take(entry)
        finally:
            os.close(handle)
