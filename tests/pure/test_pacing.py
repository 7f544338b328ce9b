"""The rate limit rule: never above the limit, as fast as it allows, and a burst of 429s counts once."""

import random
from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchswap.ratelimit.rule import (
    FIRST_HOLD,
    Departures,
    Pace,
    Rate,
    allowed,
    longest_way,
    pause,
    place,
    pushed_back,
    reach,
    recovered,
    wait,
)

RATE = Rate(20, 10.0)


def at(rate: Rate | None, times: Iterable[float]) -> Departures:
    """Make departures at this rate, so even that each place equals the time of its request."""
    found = sorted(times)
    return Departures(found[-1], found, rate) if found else Departures()


def taught(limit: int, period: float = 10.0, top: int = 20) -> Pace:
    return Pace(limit, period, top)


def send(pace: Pace, rate: Rate, seconds: float, start: float = 0.0, naps: float = 0.0) -> list[float]:
    """Return the departures of a process that always has something to send."""
    sent: list[float] = []
    now = start
    while now < start + seconds:
        left = wait(pace, rate, at(rate, sent[-2 * rate.limit :]), now)
        if left:
            now += left + naps
        else:
            sent.append(now)
    return sent


def busiest(sent: list[float], period: float) -> int:
    return max((sum(1 for t in sent if start <= t < start + period) for start in sent), default=0)


@given(st.integers(1, 50), st.floats(0.5, 60.0), st.floats(0.0, 0.3))
def test_invariant_6_no_window_holds_more_than_the_limit(limit: int, period: float, naps: float) -> None:
    rate = Rate(limit, period)
    sent = send(Pace(), rate, period * 3, naps=naps)
    assert busiest(sent, period) <= limit


def test_the_limit_is_used() -> None:
    sent = send(Pace(), RATE, 1000.0)
    assert len(sent) > 0.98 * 2000


def send_late(rate: Rate, seconds: float, naps: list[float]) -> list[float]:
    """The same, if the process wakes up a little late for each place."""
    sent, now, claimed, pace = [0.0], 0.0, 0.0, Pace()
    while now < seconds:
        known = Departures(claimed, sent[-2 * rate.limit :])
        if left := wait(pace, rate, known, now):
            now += left + naps[len(sent) % len(naps)]
        else:
            claimed = place(pace, rate, known, now)
            sent.append(now)
    return sent


def test_a_process_that_wakes_up_late_still_uses_the_limit() -> None:
    sent = send_late(Rate(20, 1.0), 200.0, [0.002, 0.011, 0.004])
    assert len(sent) > 0.97 * 20 * 200
    assert busiest(sent, 1.0) <= 20


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=9))
def test_invariant_6_catching_up_exceeds_no_window(naps: list[float]) -> None:
    assert busiest(send_late(Rate(10, 1.0), 8.0, naps), 1.0) <= 10


def test_after_a_quiet_time_there_is_no_catching_up() -> None:
    assert place(Pace(), RATE, at(RATE, [100.0]), 140.0) == 140.0
    assert place(Pace(), RATE, Departures(), 140.0) == 140.0


def test_a_quiet_time_gives_no_burst() -> None:
    assert 0.0 < wait(Pace(), RATE, at(RATE, [100.0]), 100.1) < 0.5


def test_requests_of_others_count() -> None:
    others = at(RATE, [i * 0.1 for i in range(20)])
    assert wait(Pace(), RATE, others, 2.0) > 8.0


def test_a_429_lowers_the_pace_to_what_the_window_held() -> None:
    sent = at(RATE, [i * 0.5 for i in range(12)])
    pace = pushed_back(Pace(), RATE, sent, sent_at=5.0, now=5.2, pause=1.0)
    assert pace.taught == Rate(10, 10.0)
    assert pace.paused_until == 6.2


def test_eight_429s_in_flight_count_once() -> None:
    sent = [i * 0.05 for i in range(20)]
    pace = Pace()
    for sent_at in sent[12:]:
        pace = pushed_back(pace, RATE, at(RATE, sent), sent_at=sent_at, now=1.5, pause=1.0)
    assert pace.limit == 12


def test_a_later_429_counts_again() -> None:
    sent = at(RATE, [0.0, 1.0])
    first = pushed_back(Pace(), RATE, sent, sent_at=2.0, now=2.1, pause=1.0)
    second = pushed_back(first, RATE, sent, sent_at=5.0, now=5.1, pause=1.0)
    assert allowed(second, RATE) < allowed(first, RATE)


@given(st.lists(st.floats(0, 10), max_size=40), st.integers(1, 20))
def test_the_pace_never_drops_below_one_nor_by_more_than_half(sent: list[float], limit: int) -> None:
    for before, rate in ((taught(limit), RATE), (Pace(), Rate(limit, 10.0))):
        pace = pushed_back(before, rate, at(rate, sent), sent_at=10.0, now=10.0, pause=0.0)
        assert max(1, limit // 2) <= allowed(pace, rate) <= max(1, limit - 1)


def test_the_pace_recovers_slowly_and_stops_at_the_limit() -> None:
    pace = pushed_back(Pace(), RATE, at(RATE, [i * 0.5 for i in range(20)]), sent_at=5.0, now=5.0, pause=0.0)
    assert recovered(pace, RATE, 5.0 + FIRST_HOLD - 1) is pace
    now, steps = 5.0, []
    while pace.taught:
        now += FIRST_HOLD
        pace = recovered(pace, RATE, now)
        steps.append(allowed(pace, RATE))
    assert steps == list(range(11, 21))


def storm(pace: Pace, start: float, seconds: float) -> Pace:
    """Refuse every request for a while."""
    sent = [start - 10.0 + i * 0.5 for i in range(20)]
    now = start
    while now < start + seconds:
        pace = pushed_back(pace, RATE, at(RATE, sent), sent_at=now, now=now + 0.1, pause=1.0)
        sent.append(now)
        now += 2.0
    return pace


def test_after_a_storm_the_pace_recovers_within_two_minutes() -> None:
    pace = storm(Pace(), 100.0, 30.0)
    assert pace.limit == 1
    now = 130.0
    for _ in range(6):
        now += 20.0
        pace = recovered(pace, RATE, now)
    assert allowed(pace, RATE) >= 19


def test_a_storm_at_half_the_limit_leads_back_to_half_the_limit() -> None:
    half = pushed_back(Pace(), RATE, at(RATE, [i * 0.5 for i in range(10)]), sent_at=5.0, now=5.0, pause=0.0)
    assert half.limit == half.proven == 10
    pace = storm(half, 10.0, 30.0)
    for i in range(6):
        pace = recovered(pace, RATE, 60.0 + 20.0 * i)
    assert pace.limit == 10


def test_a_429_after_a_try_doubles_the_hold_and_proves_the_limit() -> None:
    pace = pushed_back(Pace(), RATE, at(RATE, [i * 0.5 for i in range(10)]), sent_at=5.0, now=5.0, pause=0.0)
    now = 5.0 + FIRST_HOLD
    pace = recovered(pace, RATE, now)
    assert pace.limit == 11
    sent = at(RATE, [now + i * 0.9 for i in range(10)])
    pace = pushed_back(pace, RATE, sent, sent_at=now + 9.5, now=now + 9.6, pause=0.0)
    assert (pace.limit, pace.proven, pace.hold) == (10, 10, 2 * FIRST_HOLD)
    assert pace.raise_at == now + 9.6 + 2 * FIRST_HOLD, "and waits that long, at once"


def test_a_pause_is_never_shortened() -> None:
    assert pause(pause(Pace(), 100.0), 50.0).paused_until == 100.0
    assert wait(pause(Pace(), 100.0), RATE, Departures(), 40.0) == 60.0


# Several processes with one key and different rates.


def together(rates: list[Rate], seconds: float) -> dict[Rate, list[float]]:
    """Return the departures of processes that always have something to send, and wake up a little late."""
    dice = random.Random(1)
    sent: dict[Rate, list[float]] = {rate: [] for rate in rates}
    known = Departures(slowest=min(rates, key=lambda rate: rate.speed))
    turns = dict.fromkeys(rates, 0.0)
    while (now := min(turns.values())) < seconds:
        rate = min(turns, key=turns.__getitem__)
        if left := wait(Pace(), rate, known, now):
            turns[rate] = now + left + dice.uniform(0.0, 0.005)
        else:
            known = Departures(place(Pace(), rate, known, now), [*known.at[-90:], now], known.slowest)
            sent[rate].append(now)
            turns[rate] = now + 1e-6
    return sent


ANY = st.builds(Rate, st.integers(1, 30), st.sampled_from([1.0, 10.0, 15.0]))


@settings(deadline=None)
@given(st.lists(ANY, min_size=2, max_size=3, unique=True))
def test_invariant_6_all_together_keep_the_rate_of_the_slowest(rates: list[Rate]) -> None:
    sent = together(rates, 25.0)
    slowest = min(rates, key=lambda rate: rate.speed)
    assert busiest(sorted(chain(*sent.values())), slowest.period) <= slowest.limit
    for rate in rates:
        assert busiest(sent[rate], rate.period) <= rate.limit


@pytest.mark.parametrize("slow", [Rate(5, 10.0), Rate(19, 10.0), Rate(30, 60.0)])
def test_runs_with_different_rates_share_the_places_of_the_lower_one(slow: Rate) -> None:
    sent = together([RATE, slow], 300.0)
    assert len(sent[slow]) + len(sent[RATE]) > 0.97 * slow.speed * 300.0
    assert min(len(sent[slow]), len(sent[RATE])) > 0.3 * slow.speed * 300.0


def test_a_higher_rate_of_another_run_does_not_delay_a_run() -> None:
    """Five requests at once are well within 100 per minute; the 5 per second of another run do not matter."""
    own, faster = Rate(100, 60.0), Rate(5, 1.0)
    assert wait(Pace(), own, Departures(99.0, [100.0] * 5, faster), 100.0) == 0.0
    assert wait(Pace(), faster, Departures(99.7, [99.7], own), 100.0) > 0.0


def test_a_limit_learned_at_one_rate_applies_to_all_rates() -> None:
    pace = pushed_back(Pace(), RATE, at(RATE, [i * 0.5 for i in range(12)]), sent_at=5.0, now=5.0, pause=0.0)
    assert [allowed(pace, rate) for rate in (RATE, Rate(5, 10.0), Rate(100, 60.0), Rate(2, 1.0))] == [10, 5, 60, 1]
    for rate in (Rate(100, 60.0), Rate(2, 1.0), Rate(200, 10.0)):
        assert busiest(send(pace, rate, 60.0, start=20.0), 10.0) <= 10


def test_a_429_to_a_slow_process_measures_the_requests_of_all() -> None:
    """The measured limit is proven, so the pace returns to it when the slow process has ended."""
    slow = Rate(5, 10.0)
    sent = at(slow, [*(i * 0.6 for i in range(15)), *(i * 3.0 for i in range(3))])
    pace = pushed_back(Pace(), slow, sent, sent_at=9.5, now=9.6, pause=0.0)
    assert (pace.limit, pace.proven) == (4, 18)
    alone = pushed_back(Pace(), slow, at(slow, [i * 3.0 for i in range(3)]), sent_at=9.5, now=9.6, pause=0.0)
    assert alone.taught == Rate(3, 10.0)


def test_only_a_process_that_reaches_the_original_limit_drops_the_learned_one() -> None:
    slow, pace = Rate(8, 10.0), taught(6)
    pace = pushed_back(pace, slow, Departures(), sent_at=1.0, now=1.0, pause=0.0)
    for i in range(1, 20):
        pace = recovered(pace, slow, FIRST_HOLD * i * 2)
    assert (allowed(pace, slow), pace.taught) == (8, Rate(8, 10.0))
    assert allowed(recovered(pace, RATE, 1e6), RATE) == 9
    for i in range(20):
        pace = recovered(pace, RATE, 1e6 + FIRST_HOLD * i)
    assert pace.taught is None


def test_a_new_limit_is_measured_in_the_period_of_the_known_one() -> None:
    sent = at(RATE, [i * 1.2 for i in range(9)])
    pace = pushed_back(taught(10), Rate(100, 60.0), sent, sent_at=10.0, now=10.0, pause=0.0)
    assert pace.taught == Rate(8, 10.0)
    over = Pace(None, 10.0, 20, proven=15)
    fresh = pushed_back(over, Rate(100, 60.0), sent, sent_at=10.0, now=10.0, pause=0.0)
    assert (fresh.taught, fresh.proven) == (Rate(50, 60.0), 9)


def test_a_rate_is_written_as_it_is_given() -> None:
    assert (str(RATE), str(Rate(3, 0.5)), RATE.speed) == ("20/10s", "3/0.5s", 2.0)


def test_departures_are_kept_for_twice_the_longest_period() -> None:
    assert reach(Pace(), RATE, Rate(1, 30.0)) == 60.0
    taught = pushed_back(Pace(), RATE, at(RATE, [100.0] * 5), sent_at=100.0, now=100.2, pause=1.0)
    assert reach(taught, Rate(1, 0.1)) == 2 * taught.period


def test_after_a_long_rest_a_request_has_its_own_moment_for_its_place() -> None:
    assert place(Pace(), RATE, Departures(0.0, [0.0]), 100.0) == 100.0
    assert place(Pace(), RATE, Departures(), 5.0) == 5.0


def test_a_request_that_is_a_little_late_keeps_its_place() -> None:
    crowd = [90.0 + 0.5 * i for i in range(20)]
    assert 100.0 <= place(Pace(), RATE, Departures(99.5, crowd), 100.05) < 100.01


def test_requests_may_travel_longer_where_the_period_is_longer() -> None:
    assert 0.0 < longest_way(Rate(1, 0.001)) <= longest_way(RATE) < longest_way(Rate(20, 1000.0))
