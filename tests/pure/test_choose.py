"""The choice of the next request from a view of the run."""

from math import inf

import msgspec
import pytest

from batchswap.runner.choose import Action, CheckBalance, ChoiceView, FreeCall, Poll, Probe, Submit, Wait, choose

NOW = 1000.0
READY = ChoiceView(is_waiting=True, is_pressing=True, allowed=100)
"""A task is ready, and nothing else is to be done."""
DUE = msgspec.structs.replace(READY, poll_at=NOW)


def _after(view: ChoiceView, **changes: object) -> Action:
    return choose(msgspec.structs.replace(view, **changes), NOW)


@pytest.mark.parametrize("view", [ChoiceView(), READY, DUE])
def test_nothing_leaves_when_the_run_is_over_or_every_worker_is_busy(view: ChoiceView) -> None:
    due = {"probe_at": NOW, "has_free_call": True}
    assert _after(view, is_over=True, **due) == Wait(inf)
    assert _after(view, has_worker=False, **due) == Wait(inf)


@pytest.mark.parametrize(
    ("probe_at", "is_probing", "action"),
    [
        (NOW - 1.0, False, Probe()),
        (NOW, False, Probe()),
        (NOW + 60.0, False, Wait(60.0)),
        (NOW, True, Wait(inf)),  # one is open already
    ],
)
def test_during_a_pause_nothing_leaves_but_one_probe_at_a_time(
    probe_at: float, is_probing: bool, action: Action
) -> None:
    paused = {"is_paused": True, "has_free_call": True, "unclear": 1, "has_forgotten": True}
    assert _after(DUE, **paused, probe_at=probe_at, is_probing=is_probing) == action


def test_while_calls_hang_the_probe_goes_first_and_work_continues_until_it_is_due() -> None:
    assert _after(DUE, probe_at=NOW) == Probe()
    assert _after(READY, probe_at=NOW + 5.0) == Submit()
    assert _after(ChoiceView(), probe_at=NOW + 5.0) == Wait(5.0)
    assert _after(ChoiceView(), probe_at=NOW + 5.0, poll_at=NOW + 2.0) == Wait(2.0)


def test_a_submit_goes_before_a_poll_and_a_poll_when_there_is_no_place() -> None:
    assert choose(DUE, NOW) == Submit()
    assert _after(DUE, in_flight=100) == Poll(pressing=True)
    assert _after(DUE, is_in_budget=False) == Poll(pressing=True)
    assert _after(DUE, is_waiting=False, is_pressing=False) == Poll(pressing=False)


def test_a_forgotten_poll_goes_before_a_submit() -> None:
    assert _after(DUE, has_forgotten=True) == Poll(pressing=True)
    assert _after(DUE, has_forgotten=True, is_waiting=False, poll_at=NOW + 3.0) == Wait(3.0)


def test_an_unclear_submit_is_followed_by_a_balance_call() -> None:
    assert _after(DUE, unclear=1) == CheckBalance()
    assert _after(DUE, unclear=1, is_probing=True) == Poll(pressing=True)
    assert _after(READY, unclear=1, is_probing=True) == Wait(inf)
    assert _after(ChoiceView(), unclear=1) == Wait(inf)  # nothing is to be submitted


def test_after_an_unclear_answer_submits_go_one_by_one() -> None:
    assert _after(READY, is_after_unclear=True) == Submit()
    assert _after(READY, is_after_unclear=True, submits=1, in_flight=1) == Wait(inf)
    assert _after(READY, submits=1, in_flight=1) == Submit()


def test_free_calls_and_ready_submits_alternate() -> None:
    both = msgspec.structs.replace(DUE, has_free_call=True)
    assert choose(both, NOW) == FreeCall()
    assert _after(both, was_free_call=True) == Submit()
    for reason in ({"in_flight": 100}, {"is_waiting": False}, {"is_capacity_unclear": True}, {"unclear": 1}):
        assert _after(both, was_free_call=True, **reason) == FreeCall()


def test_while_the_capacity_is_unclear_another_call_is_tested() -> None:
    assert _after(DUE, is_capacity_unclear=True) == Poll(pressing=True)
    assert _after(READY, is_capacity_unclear=True) == CheckBalance()
    assert _after(READY, is_capacity_unclear=True, is_probing=True, poll_at=NOW + 4.0) == Wait(4.0)


def test_with_nothing_due_it_waits_for_the_next_poll_or_the_next_place() -> None:
    assert choose(ChoiceView(), NOW) == Wait(inf)
    assert _after(ChoiceView(), poll_at=NOW + 7.0) == Wait(7.0)
    assert _after(READY, in_flight=100, poll_at=NOW + 7.0, grows_at=NOW + 3.0) == Wait(3.0)
