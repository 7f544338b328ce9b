"""The clock of --patience: what starts and stops it, and that it runs while calls hang."""

from math import inf

from batchswap.runner.context.patience import Patience


def test_patience_runs_from_the_first_trouble_to_the_next_good_answer() -> None:
    patience = Patience(60.0)
    assert patience.ends_at() == inf
    patience.trouble(100.0)
    patience.trouble(130.0)
    assert patience.ends_at() == 160.0
    patience.good(140.0)
    assert patience.ends_at() == inf


def test_a_call_that_hangs_counts_from_when_it_left() -> None:
    patience = Patience(60.0)
    first, second = patience.begin(10.0), patience.begin(20.0)
    assert patience.ends_at() == 70.0
    patience.end(first, answered=False)
    assert patience.ends_at() == 70.0
    patience.end(second, answered=True)
    patience.good(30.0)
    assert patience.ends_at() == inf


def test_good_answers_to_other_calls_count_for_a_slow_call() -> None:
    patience = Patience(60.0)
    slow = patience.begin(10.0)
    patience.good(50.0)
    assert patience.ends_at() == 110.0
    patience.end(slow, answered=False)
    assert patience.ends_at() == 110.0


def test_a_probe_at_half_time_distinguishes_slow_from_unavailable() -> None:
    patience = Patience(60.0)
    assert patience.probe_at() == inf
    patience.begin(10.0)
    assert patience.probe_at() == 40.0
    patience.probed(40.0)
    assert patience.probe_at() == 70.0
    patience.good(41.0)
    assert patience.probe_at() == 71.0


def test_the_time_in_which_the_process_was_stopped_does_not_count() -> None:
    patience = Patience(60.0)
    patience.begin(10.0)
    patience.away(1000.0)
    assert patience.ends_at() == 1070.0


def test_waiting_for_the_api_is_summed_over_all_troubles() -> None:
    patience = Patience(60.0)
    patience.good(10.0)
    assert patience.waited(50.0) == 0.0
    patience.trouble(100.0)
    assert patience.waited(90.0) == 0.0
    assert patience.waited(130.0) == 30.0
    patience.good(140.0)
    assert patience.waited(1000.0) == 40.0
    call = patience.begin(1000.0)
    patience.end(call, answered=False)
    assert patience.waited(1005.0) == 45.0
    patience.away(500.0)
    assert patience.waited(1505.0) == 45.0
