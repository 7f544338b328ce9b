"""Failing media hosts: the next step after each failure, and when submits are held."""

from math import inf

import pytest

from batchswap.media_hosts import (
    BEARABLE,
    LONGEST_PAUSE,
    PROMISED,
    DownloadHistory,
    Host,
    Then,
    Trouble,
    decide,
    note,
    silence,
    trouble_of,
)

PATIENCE = 7200.0


@pytest.mark.parametrize(
    ("reason", "final", "trouble"),
    [
        ("unavailable", False, Trouble.HOST),
        ("unreachable", False, Trouble.HOST),
        ("timeout", False, Trouble.HOST),
        ("connection", False, Trouble.HOST),
        ("gone", False, Trouble.RESULT),
        ("http", False, Trouble.RESULT),
        ("truncated", False, Trouble.RESULT),
        ("not-media", False, Trouble.RESULT),
        ("disk", False, Trouble.LOCAL),
        ("disk-full", False, Trouble.LOCAL),
        ("busy", False, Trouble.LOCAL),
        ("private-address", True, Trouble.FINAL),
        ("output-taken", True, Trouble.FINAL),
    ],
)
def test_kinds_of_trouble(reason: str, final: bool, trouble: Trouble) -> None:
    assert trouble_of(reason, final=final) is trouble


def down(results: int, since: float = 0.0, *, has_given: bool = True) -> Host:
    host = Host()
    if has_given:
        host.gave(since - 1.0)
    for result in range(results):
        host.failed(result, since, None, 0.5, PATIENCE)
    return host


@pytest.mark.parametrize(
    ("trouble", "tries", "lasts", "counted", "host", "refresh", "then"),
    [
        (Trouble.FINAL, 1, 0.0, 0, Host(), False, Then.FAIL),
        (Trouble.FINAL, 1, 0.0, 0, Host(), True, Then.FAIL),
        (Trouble.RESULT, 1, 0.0, 0, Host(), True, Then.FRESH),
        (Trouble.RESULT, 4, 8.0, 0, Host(), False, Then.AGAIN),
        (Trouble.RESULT, 9, PROMISED - 1.0, 0, Host(), False, Then.AGAIN),
        (Trouble.RESULT, 3, PROMISED, 0, Host(), False, Then.AGAIN),
        (Trouble.RESULT, 9, PROMISED, 0, Host(), False, Then.FAIL),
        (Trouble.LOCAL, 3, 0.0, 0, Host(), False, Then.AGAIN),
        (Trouble.LOCAL, 4, 0.0, 0, Host(), False, Then.FAIL),
        (Trouble.HOST, 99, PROMISED, 0, down(2), False, Then.AGAIN),
        (Trouble.HOST, 99, PATIENCE - 1.0, 0, down(2), False, Then.AGAIN),
        (Trouble.HOST, 99, PATIENCE, 0, down(2), False, Then.LEAVE),
        (Trouble.HOST, 9, PROMISED - 1.0, 0, down(1), False, Then.AGAIN),
        (Trouble.HOST, 9, PROMISED, 0, down(1), False, Then.LEAVE),
        (Trouble.HOST, 9, PROMISED, 0, down(1, has_given=False), False, Then.AGAIN),
        (Trouble.HOST, 99, PATIENCE, 0, down(1, has_given=False), False, Then.LEAVE),
        (Trouble.HOST, 9, PROMISED, 4, down(1), False, Then.FAIL),
        (Trouble.HOST, 9, 10.0, 4, down(1), False, Then.AGAIN),
    ],
)
def test_the_next_step_after_a_failure(
    trouble: Trouble, tries: int, lasts: float, counted: int, host: Host, refresh: bool, then: Then
) -> None:
    story = DownloadHistory(tries=tries, since=0.0, failed_at=lasts, counted=counted)
    found = decide(trouble, story, host, lasts, 5.0, may_refresh=refresh, retries=3, patience=PATIENCE)
    assert found.then is then
    assert found.seconds == (5.0 if then is Then.AGAIN else 0.0)


def test_without_retries_nothing_is_retried() -> None:
    story = DownloadHistory(tries=1, since=0.0, failed_at=0.0)
    assert decide(Trouble.RESULT, story, Host(), 0.0, 5.0, may_refresh=False, retries=0, patience=9.0).then is Then.FAIL


def test_failures_concern_one_result_while_its_host_delivers_others() -> None:
    host, story = Host(), DownloadHistory()
    for at in range(5):
        note(story, host, at * 10.0)
        host.failed(1, at * 10.0, None, 0.5, PATIENCE)
        host.gave(at * 10.0 + 5.0)
    assert (story.tries, story.counted, story.since) == (5, 4, 0.0)


def test_a_host_that_is_down_gets_one_request_at_a_time() -> None:
    host = down(2)
    assert host.claim(7, 0.0) > 0.0
    at = host.claim(7, 0.0)
    assert host.claim(7, at) == 0.0
    assert host.claim(8, at) > 0.0
    host.gave(at + 1.0)
    assert host.claim(8, at + 1.0) == host.claim(9, at + 1.0) == 0.0


def test_one_bad_result_keeps_no_other_waiting_and_no_submit() -> None:
    host = down(1)
    assert host.claim(7, 0.0) == 0.0
    assert not host.holds_submits(1e9, -inf)


def test_retry_after_is_respected_within_patience_and_reason() -> None:
    assert Host().failed(1, 0.0, 60.0, 0.5, PATIENCE) == 60.0
    assert Host().failed(1, 0.0, 1e300, 0.5, PATIENCE) == LONGEST_PAUSE
    assert Host().failed(1, 0.0, 60.0, 0.5, 10.0) == 10.0
    host = down(1)
    assert host.failed(1, PATIENCE - 3.0, 60.0, 0.5, PATIENCE) == 3.0, "a last look when patience ends"


def test_failures_of_one_moment_are_one_message() -> None:
    many, one = down(8), down(1)
    assert many.claim(9, 0.0) == pytest.approx(one.failed(1, 0.0, None, 0.5, PATIENCE), abs=1.0)


@pytest.mark.parametrize(
    ("host", "now", "others", "holds"),
    [
        (Host(), 0.0, -inf, False),
        (down(1), 500.0, -inf, False),
        (down(2), 0.0, -inf, True),
        (down(2), 5.0, 1.0, False),
        (down(BEARABLE), 5.0, 1.0, True),
    ],
)
def test_when_submits_are_held(host: Host, now: float, others: float, holds: bool) -> None:
    assert host.holds_submits(now, others) is holds


def test_missing_results_hold_submits_only_when_that_lasts() -> None:
    host = Host()
    host.missed(1, 0.0)
    host.missed(2, 1.0)
    assert not host.holds_submits(59.0, -inf)
    assert host.holds_submits(60.0, -inf)
    host.forget(1)
    assert not host.holds_submits(60.0, -inf)


def test_trouble_and_its_end_are_reported_once() -> None:
    host = down(2)
    assert [host.is_news(0.0), host.is_news(0.0)] == [True, False]
    assert [host.gave(1.0), host.gave(1.0)] == [True, False]


def test_a_host_that_sent_nothing_was_down_all_that_time() -> None:
    """Patience is a clock: the minute until a download is broken off counts, unless the host gave another result."""
    host = Host()
    host.failed(1, 100.0, None, 0.5, PATIENCE, silence(PATIENCE))
    assert host.down_for(100.0) == 60.0
    other = Host()
    other.gave(90.0)
    other.failed(1, 100.0, None, 0.5, PATIENCE, silence(PATIENCE))
    assert other.down_for(100.0) == 10.0


def test_a_silent_host_is_broken_off_sooner_where_patience_is_short() -> None:
    assert [silence(patience) for patience in (1.0, 30.0, 7200.0)] == [10.0, 30.0, 60.0]


def test_time_in_which_nothing_could_be_downloaded_is_no_outage() -> None:
    host = down(2, 100.0)
    host.away(5000.0)
    assert host.down_for(5160.0) == 60.0
    well = down(0)
    well.away(5000.0)
    assert well.down_for(9000.0) == 0.0
