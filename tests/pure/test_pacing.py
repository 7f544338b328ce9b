"""The window: never more than the limit, never slower than need be, and one message per burst."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from batchswap.pacing import FIRST_HOLD, Pace, Rate, pause, place, pushed_back, recovered, wait

RATE = Rate(20, 10.0)


def send(pace: Pace, rate: Rate, seconds: float, start: float = 0.0, naps: float = 0.0) -> list[float]:
    """Times at which somebody who always wants to send may send."""
    sent: list[float] = []
    now = start
    while now < start + seconds:
        left = wait(pace, rate, sent, now)
        if left:
            now += left + naps
        else:
            sent.append(now)
    return sent


def busiest(sent: list[float], period: float) -> int:
    return max(sum(1 for t in sent if at <= t < at + period) for at in sent)


@given(st.integers(1, 50), st.floats(0.5, 60.0), st.floats(0.0, 0.3))
def test_invariant_6_no_window_holds_more_than_the_limit(limit: int, period: float, naps: float) -> None:
    rate = Rate(limit, period)
    sent = send(Pace(limit), rate, period * 3, naps=naps)
    assert busiest(sent, period) <= limit


def test_the_limit_is_used() -> None:
    sent = send(Pace(20), RATE, 1000.0)
    assert len(sent) > 0.98 * 2000


def send_late(rate: Rate, seconds: float, naps: list[float]) -> list[float]:
    """The same, when everybody wakes up some moments late for a place."""
    sent, now, claimed, pace = [0.0], 0.0, 0.0, Pace(rate.limit)
    while now < seconds:
        if left := wait(pace, rate, sent, now, claimed=claimed):
            now += left + naps[len(sent) % len(naps)]
        else:
            claimed = place(pace, rate, claimed, now)
            sent.append(now)
    return sent


def test_who_wakes_up_late_for_each_place_still_uses_the_limit() -> None:
    sent = send_late(Rate(20, 1.0), 200.0, [0.002, 0.011, 0.004])
    assert len(sent) > 0.97 * 20 * 200
    assert busiest(sent, 1.0) <= 20


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=9))
def test_invariant_6_what_is_made_up_for_exceeds_no_window(naps: list[float]) -> None:
    assert busiest(send_late(Rate(10, 1.0), 8.0, naps), 1.0) <= 10


def test_after_a_quiet_time_nothing_is_made_up_for() -> None:
    assert place(Pace(20), RATE, 100.0, 140.0) == 140.0
    assert place(Pace(20), RATE, -inf, 140.0) == 140.0


def test_a_quiet_time_gives_no_burst() -> None:
    assert 0.0 < wait(Pace(20), RATE, [100.0], 100.1) < 0.5


def test_requests_of_others_count() -> None:
    others = [i * 0.1 for i in range(20)]
    assert wait(Pace(20), RATE, others, 2.0) > 8.0


def test_a_429_lowers_the_pace_to_what_the_window_held() -> None:
    sent = [i * 0.5 for i in range(12)]
    pace = pushed_back(Pace(20), RATE, sent, sent_at=5.0, now=5.2, pause=1.0)
    assert pace.limit == 10
    assert pace.paused_until == 6.2


def test_eight_429s_in_flight_are_one_message() -> None:
    sent = [i * 0.05 for i in range(20)]
    pace = Pace(20)
    for at in sent[12:]:
        pace = pushed_back(pace, RATE, sent, sent_at=at, now=1.5, pause=1.0)
    assert pace.limit == 12


def test_a_later_429_is_a_new_message() -> None:
    first = pushed_back(Pace(20), RATE, [0.0, 1.0], sent_at=2.0, now=2.1, pause=1.0)
    second = pushed_back(first, RATE, [0.0, 1.0], sent_at=5.0, now=5.1, pause=1.0)
    assert second.limit < first.limit


@given(st.lists(st.floats(0, 10), max_size=40), st.integers(1, 20))
def test_the_pace_never_drops_below_one_nor_by_more_than_half(sent: list[float], limit: int) -> None:
    pace = pushed_back(Pace(limit), RATE, sorted(sent), sent_at=10.0, now=10.0, pause=0.0)
    assert max(1, limit // 2) <= pace.limit <= max(1, limit - 1)


def test_it_comes_back_slowly_and_stops_at_the_limit() -> None:
    pace = pushed_back(Pace(20), RATE, [i * 0.5 for i in range(20)], sent_at=5.0, now=5.0, pause=0.0)
    assert recovered(pace, RATE, 5.0 + FIRST_HOLD - 1) is pace
    now, steps = 5.0, []
    while pace.limit < 20:
        now += FIRST_HOLD
        pace = recovered(pace, RATE, now)
        steps.append(pace.limit)
    assert steps == list(range(11, 21))
    assert pace.raise_at == inf


def storm(pace: Pace, start: float, seconds: float) -> Pace:
    """Every request is refused for a while."""
    sent = [start - 10.0 + i * 0.5 for i in range(20)]
    now = start
    while now < start + seconds:
        pace = pushed_back(pace, RATE, sent, sent_at=now, now=now + 0.1, pause=1.0)
        sent.append(now)
        now += 2.0
    return pace


def test_after_a_storm_it_is_back_within_a_minute_or_two() -> None:
    pace = storm(Pace(20), 100.0, 30.0)
    assert pace.limit == 1
    now = 130.0
    for _ in range(6):
        now += 20.0
        pace = recovered(pace, RATE, now)
    assert pace.limit >= 19


def test_a_storm_at_half_the_limit_leads_back_to_half_the_limit() -> None:
    half = pushed_back(Pace(20), RATE, [i * 0.5 for i in range(10)], sent_at=5.0, now=5.0, pause=0.0)
    assert half.limit == half.proven == 10
    pace = storm(half, 10.0, 30.0)
    for i in range(6):
        pace = recovered(pace, RATE, 60.0 + 20.0 * i)
    assert pace.limit == 10


def test_a_429_after_a_try_doubles_the_hold_and_proves_the_limit() -> None:
    pace = pushed_back(Pace(20), RATE, [i * 0.5 for i in range(10)], sent_at=5.0, now=5.0, pause=0.0)
    now = 5.0 + FIRST_HOLD
    pace = recovered(pace, RATE, now)
    assert pace.limit == 11
    sent = [now + i * 0.9 for i in range(10)]
    pace = pushed_back(pace, RATE, sent, sent_at=now + 9.5, now=now + 9.6, pause=0.0)
    assert (pace.limit, pace.proven, pace.hold) == (10, 10, 2 * FIRST_HOLD)


def test_a_pause_is_never_shortened() -> None:
    assert pause(pause(Pace(20), 100.0), 50.0).paused_until == 100.0
    assert wait(pause(Pace(20), 100.0), RATE, [], 40.0) == 60.0
