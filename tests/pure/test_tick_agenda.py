"""The polls of a tick: few, and only of tasks that have probably ended."""

import random
from math import inf, log

from batchswap.polling import TickAgenda
from batchswap.polling.schedule import ASKED_BY, SCOUTS

GROUP = "video-face-swap"
MEDIAN = 600.0


def due(agenda: TickAgenda, now: float) -> list[int]:
    """Take every task that the agenda wants to poll at this moment."""
    found = []
    while (task_id := agenda.likeliest(now, pressing=True)) is not None:
        agenda.take(task_id)
        found.append(task_id)
    return sorted(found)


def known(begun: float) -> TickAgenda:
    """Return the agenda of a tick that knows the durations of earlier tasks."""
    agenda, dice = TickAgenda(begun=begun), random.Random(1)
    agenda.recall((GROUP, dice.lognormvariate(log(MEDIAN), 0.35)) for _ in range(200))
    return agenda


def test_only_tasks_that_have_probably_ended_are_polled() -> None:
    now = 10_000.0
    agenda = known(now)
    for task_id, age in enumerate((0.3, 0.9, 1.6, 3.0)):
        agenda.watch(task_id, GROUP, now - age * MEDIAN)
    assert due(agenda, now) == [2, 3]
    assert now < agenda.worth_at() < now + MEDIAN or agenda.worth_at() <= now


def test_a_task_is_polled_once_in_a_tick() -> None:
    now = 10_000.0
    agenda = known(now)
    agenda.watch(1, GROUP, now - 3 * MEDIAN)
    assert due(agenda, now) == [1]
    agenda.still_running(1, now)
    assert due(agenda, now + 900.0) == []
    assert agenda.next_at(now, pressing=False) == inf
    assert agenda.worth_at() > now + 60.0, "the next tick waits until the task has probably ended"


def test_the_next_tick_knows_that_a_task_was_still_running() -> None:
    now, seen = 10_000.0, 9_950.0
    agenda = known(now)
    agenda.watch(1, GROUP, now - 2 * MEDIAN, seen)
    agenda.watch(2, GROUP, now - 2 * MEDIAN)
    assert due(agenda, now) == [2]


def test_tasks_that_the_tick_has_submitted_wait_for_the_next_one() -> None:
    agenda = known(0.0)
    agenda.watch(1, GROUP, 1.0)
    assert due(agenda, 5_000.0) == []
    assert 1.0 < agenda.worth_at() < 5_000.0


def test_without_known_durations_a_few_answers_decide_about_the_others() -> None:
    now = 10_000.0
    agenda = TickAgenda(begun=now)
    for task_id in range(50):
        agenda.watch(task_id, GROUP, now - 30.0)
    first = due(agenda, now)
    assert len(first) == SCOUTS
    for task_id in first:
        agenda.ended(task_id, now, 10.0)
    assert len(due(agenda, now)) == 50 - SCOUTS


def test_scouts_that_still_run_keep_the_others_from_being_polled() -> None:
    now = 10_000.0
    agenda = TickAgenda(begun=now)
    for task_id in range(50):
        agenda.watch(task_id, GROUP, now - 30.0)
    asked = 0
    while (scout := agenda.likeliest(now, pressing=True)) is not None:
        agenda.take(scout)
        agenda.still_running(scout, now)
        asked += 1
    assert asked == SCOUTS


def test_a_task_of_unknown_duration_is_polled_within_the_hour_and_then_less_often() -> None:
    now = 100_000.0
    agenda = TickAgenda(begun=now)
    agenda.recall((GROUP, 80_000.0) for _ in range(100))
    agenda.watch(1, GROUP, now - ASKED_BY)
    agenda.watch(2, GROUP, now - 1.5 * ASKED_BY, now - 0.5 * ASKED_BY)
    assert due(agenda, now) == [1]


def test_with_free_polls_every_task_is_polled_once() -> None:
    agenda = TickAgenda(begun=100.0, asks_all=True)
    agenda.watch(1, GROUP, 99.9)
    agenda.watch(2, GROUP, 0.0)
    assert due(agenda, 100.0) == [1, 2]


def test_a_run_that_only_submits_polls_nothing() -> None:
    agenda = TickAgenda(begun=-inf)
    agenda.watch(1, GROUP, 0.0)
    assert due(agenda, 90_000.0) == []


def test_a_result_whose_url_has_expired_is_asked_for_at_once() -> None:
    agenda = TickAgenda(begun=0.0)
    agenda.watch(1, GROUP, 1.0)
    agenda.called_back(1)
    assert due(agenda, 1.0) == [1]


def test_a_poll_that_failed_is_repeated_only_when_it_may_be() -> None:
    now = 10_000.0
    agenda = known(now)
    agenda.watch(1, GROUP, now - 3 * MEDIAN)
    assert due(agenda, now) == [1]
    agenda.put_back(1, now + 5.0)
    assert due(agenda, now) == []
    assert due(agenda, now + 5.0) == [1]


def test_a_batch_at_ticks_of_the_median_duration_takes_few_polls() -> None:
    """On average at most 1.3 polls a task, whatever the spread of the durations."""
    for sigma in (0.25, 0.5, 1.0):
        dice, polls, history = random.Random(7), 0, list[tuple[str, float]]()
        running = {task_id: (0.0, dice.lognormvariate(log(MEDIAN), sigma)) for task_id in range(300)}
        seen = dict[int, float]()
        now = 0.0
        while running:
            now += MEDIAN
            assert now < 200 * MEDIAN, "tasks are left unpolled for ever"
            agenda = TickAgenda(begun=now)
            agenda.recall(history[-500:])
            for task_id, (started, _) in running.items():
                agenda.watch(task_id, GROUP, started, seen.get(task_id))
            while (polled := agenda.likeliest(now, pressing=True)) is not None:
                agenda.take(polled)
                polls += 1
                started, took = running[polled]
                if started + took <= now:
                    agenda.ended(polled, now, took)
                    history.append((GROUP, took))
                    del running[polled]
                else:
                    agenda.still_running(polled, now)
                    seen[polled] = now
        assert polls <= 1.3 * 300, sigma
