"""The calendar day that an attempt counts for. Two time zones share one day."""

import pytest

from batchswap.ledger.submission_log.budget_day import Day, beginning

NOON = 1_795_780_800.0
HOUR = 3600.0


def day(begins: float, hours: float = 24.0, label: str = "d") -> Day:
    return Day(label, "+0000", begins, begins + hours * HOUR)


TODAY = day(NOON - 12 * HOUR)


@pytest.mark.parametrize(
    ("last", "local", "at", "begins"),
    [
        (None, TODAY, NOON, True),
        (TODAY, TODAY, NOON, False),
        (TODAY, day(NOON - 25 * HOUR), NOON, False),  # a zone in the east, whose day began before
        (TODAY, day(NOON - HOUR), NOON, False),  # whose day began since
        (TODAY, day(NOON + HOUR), NOON + 13 * HOUR, False),  # over here, and begun there before it was over
        (TODAY, day(TODAY.ends), TODAY.ends + 1, True),
        (TODAY, day(TODAY.ends + HOUR), TODAY.ends + 2 * HOUR, True),
        (day(TODAY.begins, 23.0), day(TODAY.begins + 23 * HOUR), TODAY.begins + 23 * HOUR, True),
        (day(NOON + 1000 * 24 * HOUR), TODAY, NOON, True),  # written by a clock that was years ahead
    ],
)
def test_a_day_begins_when_the_last_one_is_over_everywhere(
    last: Day | None, local: Day, at: float, begins: bool
) -> None:
    assert beginning(last, local, at) == (local if begins else None)


@pytest.mark.parametrize("hours", [0.0, -1.0, 27.0, 24.0 * 365])
def test_a_line_that_cannot_be_a_day_is_damaged(hours: float) -> None:
    assert not day(NOON, hours).is_sound
