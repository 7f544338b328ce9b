"""Which calendar day an attempt counts for. Pure: the caller tells the time, and the day that was written down last."""

from datetime import datetime, timedelta

import msgspec

LONGEST = 26 * 3600.0
"""Seconds of a calendar day at most, with a clock change in it."""


class Day(msgspec.Struct, frozen=True):
    """A calendar day in the zone of the run that began it. `ends` is Unix time, and no longer part of it."""

    label: str
    zone: str
    begins: float
    ends: float

    @property
    def is_sound(self) -> bool:
        """Whether it can be a day at all, and not a damaged line."""
        return 0.0 < self.ends - self.begins <= LONGEST


def calendar_day(at: float) -> Day:
    """The calendar day of `at`, where this machine is."""
    moment = datetime.fromtimestamp(at).astimezone()
    date = moment.date()
    begins, ends = (datetime(each.year, each.month, each.day) for each in (date, date + timedelta(days=1)))  # noqa: DTZ001 - local midnight
    return Day(date.isoformat(), moment.strftime("%z"), begins.timestamp(), ends.timestamp())


def beginning(last: Day | None, local: Day, at: float) -> Day | None:
    """The day that begins with a submit at `at`; None while the last one lasts.

    `local` is the calendar day of this run. It does not begin before the last one has ended, so that two zones do not
    get a day each. A last day that lies in the future was written by a clock that was wrong.
    """
    if last is None or at < last.begins - LONGEST:
        return local
    return local if local.begins >= last.ends else None
