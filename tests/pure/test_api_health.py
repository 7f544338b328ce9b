"""Consequences of answers and failures for all requests of a key."""

from math import inf

import pytest

from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.events import LogEvent
from batchswap.runner.context.api_health import NOTHING, PROBE_EVERY, SOON, Advice, ApiHealth
from batchswap.verdicts import LONGEST_PAUSE, Kind, Verdict

NOW = 1000.0
OK, TROUBLE, MAINTENANCE = Verdict(Kind.OK), Verdict(Kind.TROUBLE, "500"), Verdict(Kind.MAINTENANCE, "455")
RATE_LIMITED = Verdict(Kind.RATE_LIMITED, "429")
HALF = 0.5
"""Dice that change no pause."""


def _health(patience: float = 600.0, retries: int = 3) -> ApiHealth:
    return ApiHealth(patience, retries)


def _events(advice: Advice) -> list[LogEvent]:
    return [event for event, _ in advice.news]


@pytest.mark.parametrize("kind", [Kind.OK, Kind.ACCEPTED, Kind.REJECTED, Kind.NO_CREDITS, Kind.MISSING])
def test_a_good_answer_has_no_consequences(kind: Kind) -> None:
    health = _health()
    assert health.answered(Verdict(kind), NOW - 1.0, NOW) == NOTHING
    assert (health.served_at, health.good_at, health.trouble) == (NOW - 1.0, NOW, "")


def test_an_answer_that_overtakes_another_does_not_turn_back_when_the_key_was_served() -> None:
    health = _health()
    health.answered(OK, NOW, NOW + 1.0)
    health.answered(OK, NOW - 5.0, NOW + 2.0)
    assert health.served_at == NOW


@pytest.mark.parametrize("code", ["401", "403", "505"])
def test_a_refused_account_stops_the_run(code: str) -> None:
    stop = _health().answered(Verdict(Kind.ACCOUNT_REFUSED, code), NOW, NOW).stop
    assert stop is not None
    assert (stop.exit, code in stop.words) == (Exit.REFUSED, True)


def test_a_429_pauses_for_its_retry_after_and_slows_down() -> None:
    advice = _health().answered(RATE_LIMITED, NOW, NOW, 30.0)
    assert (advice.pause, advice.is_429, advice.news) == (30.0, True, ())
    assert advice.if_slower is not None
    assert advice.if_slower[0] is LogEvent.RATE_LOWERED


def test_429s_in_a_row_pause_for_longer_each_time_until_something_is_served() -> None:
    health = _health()
    pauses = [health.answered(RATE_LIMITED, NOW, NOW).pause for _ in range(5)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    health.answered(OK, NOW, NOW)
    assert health.answered(RATE_LIMITED, NOW, NOW).pause == 1.0


def test_a_long_pause_is_cut_into_probes_and_reported_once() -> None:
    health = _health()
    advice = health.answered(RATE_LIMITED, NOW, NOW, 3600.0)
    assert (advice.pause, _events(advice), advice.if_slower) == (LONGEST_PAUSE, [LogEvent.API_PAUSE], None)
    assert (health.is_paused, health.probe_at) == (True, NOW + PROBE_EVERY)
    assert health.answered(RATE_LIMITED, NOW, NOW + 60.0, 3600.0).news == ()
    assert _events(health.answered(OK, NOW, NOW + 120.0)) == [LogEvent.API_AVAILABLE]
    assert not health.is_paused


def test_no_pause_is_longer_than_the_patience() -> None:
    assert _health(patience=20.0).answered(RATE_LIMITED, NOW, NOW, 3600.0).pause == 20.0


def test_a_maintenance_is_reported_once_and_probed_every_minute() -> None:
    health = _health()
    assert _events(health.answered(MAINTENANCE, NOW, NOW)) == [LogEvent.API_MAINTENANCE]
    assert health.probe_due() == NOW + PROBE_EVERY
    assert health.answered(MAINTENANCE, NOW, NOW + 60.0).news == ()
    health.probed(NOW + 120.0)
    assert health.probe_due() == NOW + 120.0 + PROBE_EVERY
    assert health.trouble == "it is under maintenance"


def test_a_probe_is_due_when_the_patience_ends_if_that_is_sooner() -> None:
    health = _health(patience=30.0)
    health.answered(MAINTENANCE, NOW, NOW)
    assert health.probe_due() == NOW + 30.0


def test_without_trouble_no_probe_is_due_until_a_call_hangs() -> None:
    health = _health()
    assert health.probe_due() == inf
    health.patience.begin(NOW)
    assert health.probe_due() == NOW + 300.0


def test_trouble_is_reported_when_it_lasts_and_again_when_it_ends() -> None:
    health = _health()
    assert health.answered(TROUBLE, NOW, NOW) == NOTHING
    assert health.trouble == ""
    assert _events(health.answered(TROUBLE, NOW, NOW + SOON)) == [LogEvent.API_UNAVAILABLE]
    assert health.trouble == "it answers with errors (500)"
    assert health.answered(TROUBLE, NOW, NOW + 2 * SOON) == NOTHING
    assert _events(health.answered(OK, NOW, NOW + 3 * SOON)) == [LogEvent.API_AVAILABLE]


def test_trouble_for_all_of_the_patience_stops_the_run() -> None:
    health = _health(patience=60.0)
    health.answered(TROUBLE, NOW, NOW)
    assert health.answered(TROUBLE, NOW, NOW + 59.0).stop is None
    stop = health.answered(TROUBLE, NOW, NOW + 60.0).stop
    assert stop is not None
    assert stop.exit is Exit.UNAVAILABLE
    assert health.spent(NOW + 60.0) == stop


def test_without_a_connection_everything_pauses_for_longer_each_time() -> None:
    health = _health()
    pauses = [health.failed(NeverSent("no route"), NOW, HALF).pause for _ in range(8)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]


def test_a_lost_answer_pauses_nothing() -> None:
    assert _health().failed(MaybeSent("reset"), NOW, HALF) == NOTHING


@pytest.mark.parametrize(
    ("has_answered", "failures", "seconds", "is_stopped"),
    [
        (False, 4, SOON, True),
        (False, 4, SOON - 1.0, False),  # many calls that fail at once are one failure
        (False, 3, SOON, False),  # --retries allows three
        (True, 9, SOON, False),  # it has answered before, so --patience decides
    ],
)
def test_an_api_that_never_answered_is_given_up_after_the_retries(
    has_answered: bool, failures: int, seconds: float, is_stopped: bool
) -> None:
    health = _health(retries=3)
    if has_answered:
        health.answered(OK, NOW, NOW)
    advice = [health.failed(NeverSent("refused"), NOW, HALF) for _ in range(failures - 1)]
    advice.append(health.failed(NeverSent("refused"), NOW + seconds, HALF))
    assert [each.stop is not None for each in advice] == [False] * (failures - 1) + [is_stopped]


def test_one_caller_tests_the_api_for_all() -> None:
    health = _health()
    assert health.may_ask_balance(since=NOW, now=NOW + 1.0)
    assert not health.may_ask_balance(since=NOW, now=NOW + 2.0)
    assert health.may_ask_balance(since=NOW + 3.0, now=NOW + 4.0)
    health.answered(OK, NOW, NOW + 5.0)
    assert not health.may_ask_balance(since=NOW + 5.0, now=NOW + 6.0)


def test_a_probe_outside_a_pause_plans_no_further_one() -> None:
    health = _health()
    health.probed(NOW)
    assert not health.is_paused
    assert health.trouble == ""
