"""The number of tasks in flight, learned from 429s to submits."""

from math import inf

from batchswap.polling import Capacity
from batchswap.polling.in_flight_limit import FIRST_HOLD, LONGEST_HOLD


def test_as_many_as_configured_while_nothing_is_known() -> None:
    capacity = Capacity(100)
    assert capacity.allowed(0.0) == 100
    assert capacity.grows_at(0.0) == inf
    assert not capacity.is_unclear(-inf)


def test_the_first_429_requires_a_test_of_another_call() -> None:
    capacity = Capacity(100)
    assert not capacity.refused(10.0, 30, served_at=9.0)
    assert capacity.is_unclear(9.0)
    assert not capacity.is_unclear(11.0)
    assert capacity.allowed(10.0) == 100


def test_a_second_429_with_something_served_in_between_counts_the_tasks() -> None:
    capacity = Capacity(100)
    capacity.refused(10.0, 30, served_at=9.0)
    assert capacity.refused(12.0, 30, served_at=11.0)
    assert capacity.allowed(12.0) == 30
    assert not capacity.is_unclear(11.0)


def test_a_second_429_with_nothing_served_in_between_concerns_the_rate() -> None:
    capacity = Capacity(100)
    capacity.refused(10.0, 30, served_at=9.0)
    assert not capacity.refused(12.0, 30, served_at=9.0)
    assert capacity.allowed(12.0) == 100


def test_an_accepted_submit_in_between_ends_the_suspicion() -> None:
    capacity = Capacity(100)
    capacity.refused(10.0, 30, served_at=9.0)
    capacity.accepted(11.0, 31)
    assert not capacity.refused(13.0, 31, served_at=12.0)


def test_with_nothing_in_flight_there_is_nothing_to_count() -> None:
    capacity = Capacity(100)
    capacity.refused(10.0, 0, served_at=9.0)
    assert not capacity.refused(12.0, 0, served_at=11.0)
    assert capacity.allowed(12.0) == 100


def full(running: int = 30) -> Capacity:
    """At second 0."""
    capacity = Capacity(100)
    capacity.refused(-2.0, running, served_at=-3.0)
    assert capacity.refused(0.0, running, served_at=-1.0)
    return capacity


def test_one_more_task_is_tried_after_a_while_and_less_often_after_refusals() -> None:
    capacity, now, hold = full(), 0.0, FIRST_HOLD
    for _ in range(12):
        assert capacity.allowed(now + hold - 0.1) == 30
        assert capacity.grows_at(now) == now + hold
        now += hold
        assert (capacity.allowed(now), capacity.grows_at(now)) == (31, inf)
        assert capacity.refused(now, 30, served_at=now - 1.0)
        hold = min(2 * hold, LONGEST_HOLD)
    assert hold == LONGEST_HOLD


def test_an_accepted_task_beyond_the_estimate_is_followed_by_the_next_try() -> None:
    capacity = full()
    for running in range(31, 100):
        assert capacity.allowed(FIRST_HOLD) == running
        capacity.accepted(FIRST_HOLD, running)
    capacity.accepted(FIRST_HOLD, 100)
    assert capacity == Capacity(100, more_at=FIRST_HOLD)


def test_never_more_than_configured() -> None:
    capacity = full(100)
    assert capacity.allowed(10_000.0) == 100


def test_once_the_number_is_known_each_429_to_a_submit_updates_it() -> None:
    capacity = full()
    capacity.accepted(3.0, 30)
    assert capacity.refused(5.0, 24, served_at=-1.0)
    assert capacity.allowed(5.0) == 24
