"""The nights in which the clocks change: times of day, days of budgets, and time zones that a machine lacks."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from batchswap.cli.option_types import next_time_of_day
from batchswap.clock import unknown_zone
from batchswap.ledger.budgets import local_day
from batchswap.ledger.submission_log.budget_day import beginning, calendar_day
from tests.cron.conftest import QUICK, Desk

HOUR = 3600.0


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Be in a time zone."""
    name: str = request.param
    monkeypatch.setenv("TZ", name)
    time.tzset()
    yield name
    monkeypatch.undo()
    time.tzset()


berlin = pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)


def utc(*numbers: int) -> float:
    return datetime(*numbers, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


@berlin
@pytest.mark.parametrize(
    ("now", "text", "then"),
    [
        # On 2026-10-25 clocks show 02:00 to 03:00 twice: from 00:00 and from 01:00 UTC.
        (utc(2026, 10, 24, 20), "02:30", utc(2026, 10, 25, 0, 30)),
        (utc(2026, 10, 25, 0, 10), "02:30", utc(2026, 10, 25, 0, 30)),
        (utc(2026, 10, 25, 0, 30), "02:30", utc(2026, 10, 25, 1, 30)),
        (utc(2026, 10, 25, 0, 40), "02:30", utc(2026, 10, 25, 1, 30)),
        (utc(2026, 10, 25, 1, 10), "02:30", utc(2026, 10, 25, 1, 30)),
        (utc(2026, 10, 25, 1, 40), "02:30", utc(2026, 10, 26, 1, 30)),
        (utc(2026, 10, 25, 1, 40), "03:00", utc(2026, 10, 25, 2, 0)),
        (utc(2026, 10, 24, 20), "06:30", utc(2026, 10, 25, 5, 30)),
        # On 2027-03-28 they show 03:00 after 01:59, at 01:00 UTC.
        (utc(2027, 3, 27, 21), "02:30", utc(2027, 3, 28, 1, 0)),
        (utc(2027, 3, 27, 21), "02:00", utc(2027, 3, 28, 1, 0)),
        (utc(2027, 3, 27, 21), "02:59", utc(2027, 3, 28, 1, 0)),
        (utc(2027, 3, 27, 21), "03:00", utc(2027, 3, 28, 1, 0)),
        (utc(2027, 3, 27, 21), "06:30", utc(2027, 3, 28, 4, 30)),
        (utc(2027, 3, 28, 0, 59), "02:30", utc(2027, 3, 28, 1, 0)),
        (utc(2027, 3, 28, 1, 0), "02:30", utc(2027, 3, 29, 0, 30)),
        (utc(2027, 3, 27, 0, 50), "02:30", utc(2027, 3, 27, 1, 30)),
    ],
)
def test_a_time_of_day_in_the_nights_in_which_clocks_change(zone: str, now: float, text: str, then: float) -> None:
    assert next_time_of_day(text, now) == then


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo", "Pacific/Apia", "UTC"],
    indirect=True,
)
def test_every_time_of_day_comes_within_two_days_and_not_before_now(zone: str) -> None:
    begin = utc(2011, 12, 28) if zone == "Pacific/Apia" else utc(2026, 10, 20)
    for hours in range(0, 200 * 24, 7):
        now = begin + hours * HOUR + 1.0
        for text in ("00:00", "00:30", "02:15", "23:59"):
            then = next_time_of_day(text, now)
            assert now < then <= now + 49 * HOUR
            before, after = (datetime.fromtimestamp(at) for at in (then - 1.0, then))  # noqa: DTZ006
            assert f"{after:%H:%M}" == text or after - before > timedelta(seconds=1), "unless the clocks skip it"


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("Europe/Berlin", utc(2026, 10, 25, 9), 25),
        ("Europe/Berlin", utc(2027, 3, 28, 9), 23),
        ("Europe/Berlin", utc(2027, 3, 27, 9), 24),
        ("Africa/Cairo", utc(2026, 4, 24, 9), 23),  # clocks show 01:00 after 23:59
        ("America/Havana", utc(2026, 11, 1, 15), 25),  # clocks show 00:00 to 01:00 twice
        ("Australia/Lord_Howe", utc(2026, 10, 4, 1), 23.5),
    ],
    indirect=["zone"],
)
def test_a_day_of_a_budget_has_the_hours_of_its_calendar_day(zone: str, at: float, hours: float) -> None:
    day = calendar_day(at)
    assert day.ends - day.begins == hours * HOUR
    assert day.is_sound
    moments = [day.begins + 60.0 * minute for minute in range(int(hours * 60))]
    assert {local_day(moment) for moment in moments} == {day.label}
    days = {(each.begins, each.ends) for each in map(calendar_day, moments)}
    assert days == {(day.begins, day.ends)}, "all of its hours have one budget"
    assert beginning(day, calendar_day(day.ends - 1.0), day.ends - 1.0) is None
    following = calendar_day(day.ends)
    assert (beginning(day, following, day.ends), following.begins) == (following, day.ends)


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("", ""), ("UTC", ""), ("Etc/UTC", ""), ("Europe/Berlin", ""), (":Europe/Berlin", ""),
        ("CET-1CEST,M3.5.0,M10.5.0/3", ""),
        ("<+03>-3", ""), ("/usr/share/zoneinfo/Europe/Berlin", ""), ("Europe/Nowhere", "Europe/Nowhere"),
        ("Berlin", "Berlin"), ("/nowhere", "/nowhere"),
    ],
)  # fmt: skip
def test_a_time_zone_that_the_machine_does_not_know(name: str, unknown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", name)
    assert unknown_zone() == unknown


def test_a_small_container_has_no_time_zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchswap.clock._FOLDERS", (str(tmp_path),))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert unknown_zone() == "Europe/Berlin"
    monkeypatch.setenv("TZ", "UTC")
    assert unknown_zone() == ""


@pytest.mark.parametrize("option", [("--until", "06:30"), ("--budget-per-day", "90")])
def test_a_run_says_that_its_times_are_not_those_of_the_zone(desk: Desk, option: tuple[str, str]) -> None:
    words = "this machine does not know the time zone Europe/Nowhere (TZ) and uses UTC"
    done = desk.finish("run", "spring.csv", *QUICK, *option, TZ="Europe/Nowhere")
    assert (done.returncode, words in done.stderr) == (0, True), done.stderr
    again = desk.finish("run", "spring.csv", *QUICK, TZ="Europe/Nowhere")
    assert words not in again.stderr, "nothing depends on it"
    assert "TZ is Europe/Nowhere, which this machine does not know" in desk.finish("doctor", TZ="Europe/Nowhere").stdout
