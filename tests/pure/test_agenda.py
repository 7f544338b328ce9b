"""The schedule of polls: learned durations, and one worker per task."""

import random
from itertools import pairwise
from math import inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchswap.polling import Agenda, Durations
from batchswap.polling.schedule import SCOUTS, CallbackTrust

ages = st.floats(0.0, 90_000.0)


@given(ages, ages)
def test_chances_are_probabilities_that_grow_with_age(a: float, b: float) -> None:
    early, late = sorted((a, b))
    durations = Durations()
    assert 0.0 <= durations.chance(0.0, early) <= durations.chance(0.0, late) <= 1.0


@given(st.floats(0.0, 3600.0), st.floats(0.01, 0.9))
def test_age_at_is_the_inverse_of_chance(seen: float, chance: float) -> None:
    durations = Durations()
    age = durations.age_at(seen, chance)
    if age < 80_000:
        assert durations.chance(seen, age) == pytest.approx(chance, abs=0.01)


def test_a_fresh_ledger_expects_seconds_to_minutes() -> None:
    durations = Durations()
    assert 2.0 < durations.age_at(0.0, 0.1) < durations.age_at(0.0, 0.9) < 600.0


@given(ages, ages, ages, st.lists(ages, max_size=20))
def test_overdue_grows_with_age_and_is_at_most_the_wait(a: float, b: float, c: float, seen: list[float]) -> None:
    durations = Durations()
    for age in seen:
        durations.ended(age, 0.0)
    start, sooner, later = sorted((a, b, c))
    first, second = durations.overdue(start, sooner), durations.overdue(start, later)
    assert 0.0 <= first <= sooner - start
    assert first <= second + 1e-6 * later
    assert second <= later - start


def test_the_task_that_has_probably_been_finished_for_longest_is_the_most_overdue() -> None:
    durations = learned(500)
    assert durations.overdue(0.0, 3.0) < 0.1
    # Nearly everything has ended by 20 s, at 6.38 s on average.
    assert durations.overdue(0.0, 20.0) == pytest.approx(20.0 - 6.38, abs=0.3)
    assert durations.overdue(10.0, 20.0) < durations.overdue(0.0, 14.0)


def learned(count: int, seed: int = 1) -> Durations:
    dice, durations = random.Random(seed), Durations()
    for _ in range(count):
        durations.ended(dice.lognormvariate(log(6), 0.35), 0.0)
    return durations


def test_it_learns_from_the_first_few_and_then_well() -> None:
    assert 4.0 < learned(5).age_at(0.0, 0.5) < 9.0
    many = learned(500)
    # Quantiles of lognormal(median 6, sigma 0.35): 3.83, 6, 9.39.
    assert many.age_at(0.0, 0.1) == pytest.approx(3.83, rel=0.12)
    assert many.age_at(0.0, 0.5) == pytest.approx(6.0, rel=0.08)
    assert many.age_at(0.0, 0.9) == pytest.approx(9.39, rel=0.12)


def test_running_tasks_are_learned_from() -> None:
    durations = Durations()
    before = durations.chance(0.0, 30.0)
    for _ in range(20):
        durations.survived(0.0, 30.0)
    assert durations.chance(0.0, 30.0) < before / 4


def test_two_kinds_of_tasks_give_two_peaks() -> None:
    durations = Durations()
    for i in range(200):
        durations.ended(2.0 if i % 2 else 40.0, 0.0)
    assert durations.chance(0.0, 3.0) == pytest.approx(0.5, abs=0.08)
    assert durations.chance(3.0, 20.0) < 0.1
    assert durations.chance(3.0, 50.0) > 0.9


def test_the_likeliest_task_is_polled_first_and_none_too_early() -> None:
    agenda = Agenda()
    for i in range(100):
        agenda.durations("m").ended(6.0 + i * 0.01, 0.0)
    for scout in range(11, 14):
        agenda.watch(scout, "m", 0.0)
        agenda.drop(scout)
    agenda.watch(1, "m", 0.0)
    agenda.watch(2, "m", 3.0)
    assert agenda.likeliest(4.0, pressing=False) is None
    assert 5.0 < agenda.next_at(4.0, pressing=False) < 7.0
    assert agenda.likeliest(9.0, pressing=False) == 1
    agenda.take(1)
    assert agenda.likeliest(10.0, pressing=False) == 2


def test_a_called_back_task_is_due_at_once() -> None:
    agenda = Agenda()
    agenda.watch(1, "m", 0.0)
    assert agenda.likeliest(0.1, pressing=True) is None
    agenda.called_back(1)
    assert agenda.likeliest(0.1, pressing=False) == 1


def test_a_callback_that_is_very_late_is_forgotten_once_durations_are_known() -> None:
    agenda = Agenda(expects_calls=True)
    agenda.calls.came = 1
    agenda.watch(1, "m", 0.0)
    for _ in range(49):
        agenda.durations("m").ended(6.0, 0.0)
    agenda.put_back(1, 0.0)
    assert not agenda.has_forgotten(100.0)
    agenda.durations("m").ended(6.0, 0.0)
    agenda.put_back(1, 0.0)
    assert not agenda.has_forgotten(9.0)
    assert agenda.has_forgotten(30.0)
    assert agenda.likeliest(30.0, pressing=True) == 1


def ripe(agenda: Agenda, task_id: int) -> float:
    """Return when a new task will be polled if it runs alone."""
    agenda.watch(task_id, "m", 0.0)
    at = agenda.next_at(0.0, pressing=False)
    agenda.drop(task_id)
    return at


def test_the_first_tasks_are_polled_until_a_callback_has_come() -> None:
    polled, called = ripe(Agenda(), 1), Agenda(expects_calls=True)
    assert [ripe(called, task_id) for task_id in range(SCOUTS)] == [polled] * SCOUTS
    assert ripe(called, 7) > 2 * polled
    told = Agenda(expects_calls=True)
    told.calls.came = 1
    assert ripe(told, 1) > 2 * polled


def test_when_more_callbacks_are_lost_than_come_all_tasks_are_polled() -> None:
    agenda = Agenda(expects_calls=True)
    for task_id in range(30):
        agenda.watch(task_id, "m", 0.0)
    found = []
    for task_id in range(5):
        agenda.ended(task_id, 6.0, 6.0)
        found.append((agenda.calls.fail, agenda.next_at(6.0, pressing=False) < 8.0))
    assert found == [(False, True), (False, True), (True, True), (True, True), (True, True)]
    agenda.calls.came = 3
    assert not agenda.calls.fail


def test_a_task_with_a_callback_does_not_count_as_missed() -> None:
    agenda = Agenda(expects_calls=True)
    for task_id in range(20):
        agenda.watch(task_id, "m", 0.0)
        agenda.called_back(task_id)
        agenda.ended(task_id, 6.0, None)
    assert agenda.calls.missed == 0


@pytest.mark.parametrize("expects_calls", [True, False])
@pytest.mark.parametrize("pressing", [True, False])
def test_every_task_is_polled_eventually(expects_calls: bool, pressing: bool) -> None:
    """This includes a task that runs longer than all before it, and whose callback is lost."""
    agenda, seen = Agenda(expects_calls=expects_calls), 0.0
    agenda.watch(1, "m", 0.0)
    while seen < 10 * 86400.0:
        age = seen
        while agenda.likeliest(age, pressing=pressing) is None:
            age = agenda.next_at(age, pressing=pressing)
            assert age <= max(3600.0, 2.0 * seen)
        agenda.take(1)
        agenda.still_running(1, age)
        seen = age


def test_without_callbacks_nothing_is_forgotten() -> None:
    agenda = Agenda()
    agenda.watch(1, "m", 0.0)
    agenda.called_back(1)
    assert not agenda.has_forgotten(1000.0)


def test_a_poll_without_information_is_repeated_later() -> None:
    agenda = Agenda()
    agenda.watch(1, "m", 0.0)
    agenda.take(1)
    agenda.put_back(1, 5000.0)
    assert agenda.likeliest(4999.0, pressing=True) is None
    assert agenda.next_at(4999.0, pressing=True) == 5000.0
    assert agenda.likeliest(5000.0, pressing=True) == 1


def test_unknown_tasks_are_ignored() -> None:
    agenda = Agenda()
    agenda.called_back(7)
    agenda.drop(7)
    assert not agenda.in_hand(7)
    assert agenda.next_at(0.0, pressing=True) == inf


@pytest.mark.parametrize(
    ("took", "expected"), [(2.5, 2.5), (2.0, 2.0), (0.0, 0.5), (9.5, 4.0), (None, 2.0), (1e9, 4.0)]
)
def test_a_duration_from_the_api_counts_as_far_as_it_agrees_with_the_polls(took: float | None, expected: float) -> None:
    """The task was found at 4 s and last seen running at 1 s; the API truncates to whole seconds."""
    agenda = Agenda()
    seen = 0.0 if took == 0.0 else 1.0
    for task_id in range(200):
        agenda.watch(task_id, "m", 0.0)
        agenda.take(task_id)
        if seen:
            agenda.still_running(task_id, seen)
            agenda.take(task_id)
        agenda.ended(task_id, 4.0, took)
    assert agenda.durations("m").age_at(0.0, 0.5) == pytest.approx(expected, rel=0.2)


def asked_for(agenda: Agenda, until: float, *, pressing: bool = False) -> list[float]:
    """Return when task 1, which is still running, is polled."""
    asked, now = [], 0.0
    while (now := agenda.next_at(now, pressing=pressing)) <= until:
        if agenda.likeliest(now, pressing=pressing) is None:
            continue
        agenda.take(1)
        agenda.still_running(1, now)
        asked.append(now)
    return asked


def test_a_history_in_whole_seconds_may_contain_zeros() -> None:
    agenda = Agenda()
    agenda.recall(("m", 0.0) for _ in range(100))
    assert 0.2 < agenda.durations("m").age_at(0.0, 0.5) < 1.0


@pytest.mark.parametrize("took", [0.5, 2.0, 6.0, 60.0, 900.0])
def test_without_a_limit_the_first_tasks_are_found_soon_after_their_end(took: float) -> None:
    """Nothing is known about them, or something wrong."""
    for known in (0.1, 20.0, 3000.0):
        agenda = Agenda()
        agenda.recall(("m", known) for _ in range(500))
        agenda.watch(1, "m", 0.0)
        found = next(at for at in asked_for(agenda, 2 * took, pressing=True) if at >= took)
        assert found <= 1.25 * took


@pytest.mark.parametrize(("others", "gap"), [(0, 30.001), (49, 200.001)])
@pytest.mark.parametrize("pressing", [True, False])
def test_an_old_task_is_polled_again_soon_if_few_are_running(others: int, gap: float, pressing: bool) -> None:
    agenda = Agenda()
    for other in range(100, 100 + others):
        agenda.watch(other, "m", 0.0)
        agenda.take(other)
    agenda.watch(1, "m", -3600.0)
    assert agenda.likeliest(0.0, pressing=pressing) == 1
    agenda.take(1)
    agenda.still_running(1, 0.0)
    asked = asked_for(agenda, 500.0, pressing=pressing)
    assert max(later - earlier for earlier, later in pairwise([0.0, *asked, 500.0])) <= gap


def test_scouts_are_few_and_other_tasks_use_their_findings() -> None:
    agenda = Agenda()
    agenda.recall(("m", 300.0) for _ in range(500))
    for scout in range(11, 14):
        agenda.watch(scout, "m", 0.0)
        agenda.take(scout)
    agenda.watch(1, "m", 0.0)
    assert asked_for(agenda, 200.0) == []
    agenda.watch(1, "m", 0.0)
    for scout in range(11, 14):
        agenda.ended(scout, 7.0, 6.0)
    assert 5.0 < asked_for(agenda, 9.0)[0] < 7.0


def test_a_task_that_outlives_a_quick_day_is_polled_earlier_than_on_a_slow_day() -> None:
    agenda = Agenda()
    agenda.recall(("m", 300.0) for _ in range(500))
    for _ in range(20):
        agenda.durations("m").ended(5.0, 0.0)
    for scout in range(11, 14):
        agenda.watch(scout, "m", 0.0)
        agenda.drop(scout)
    agenda.watch(1, "m", 0.0)
    asked = asked_for(agenda, 60.0)
    assert 4.0 < asked[0] < 7.0
    assert all(later <= 1.6 * earlier for earlier, later in zip(asked, [*asked[1:], 60.0], strict=True))


def test_a_wrong_history_is_soon_outweighed() -> None:
    agenda = Agenda()
    agenda.recall(("m", 300.0) for _ in range(500))
    durations = agenda.durations("m")
    assert durations.age_at(0.0, 0.25) > 200.0
    for _ in range(3):
        durations.ended(6.0, 0.0)
    assert durations.chance(0.0, 8.0) > 0.3


def test_a_correct_history_is_kept() -> None:
    agenda = Agenda()
    agenda.recall(("m", 300.0 + i) for i in range(50))
    durations = agenda.durations("m")
    for i in range(3):
        durations.ended(310.0 + i, 0.0)
    assert 250.0 < durations.age_at(0.0, 0.1) < durations.age_at(0.0, 0.9) < 400.0


def test_a_service_that_becomes_faster_is_noticed_after_thousands_of_tasks() -> None:
    durations = learned(5000)
    for _ in range(20):
        durations.ended(0.6, 0.0)
    assert durations.chance(0.0, 1.0) > 0.2


def test_a_class_starts_from_its_model_and_learns_its_own_durations() -> None:
    agenda = Agenda()
    for i in range(40):
        agenda.durations("m/1").ended(10.0 + i * 0.01, 0.0)
    fresh = agenda.durations("m/6")
    assert fresh.age_at(0.0, 0.5) == pytest.approx(agenda.durations("m").age_at(0.0, 0.5), rel=0.01)
    assert fresh.age_at(0.0, 0.5) == pytest.approx(10.0, rel=0.25)
    for _ in range(10):
        fresh.ended(60.0, 0.0)
    assert fresh.age_at(0.0, 0.5) == pytest.approx(60.0, rel=0.25)
    assert agenda.durations("m/1").age_at(0.0, 0.5) == pytest.approx(10.0, rel=0.25)
    assert agenda.durations("n/1").age_at(0.0, 0.5) == pytest.approx(20.0, rel=0.1)


def test_a_new_class_uses_the_latest_durations_of_its_model() -> None:
    agenda = Agenda()
    fresh = agenda.durations("m/2")
    before = fresh.chance(0.0, 6.0)
    for _ in range(5):
        agenda.durations("m").ended(5.0, 0.0)
    assert fresh.chance(0.0, 6.0) > 2 * before


class AgendaMachine(RuleBasedStateMachine):
    """In any order of events, each task has at most one worker, none is lost, and none is polled after its end."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda, self.now, self.next_id = Agenda(), 0.0, 0
        self.free: set[int] = set()
        self.held: set[int] = set()

    @rule(seconds=st.floats(0.0, 500.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def watch(self) -> None:
        self.next_id += 1
        self.agenda.watch(self.next_id, "m", self.now)
        self.free.add(self.next_id)

    @rule(pressing=st.booleans())
    def take(self, pressing: bool) -> None:
        due = self.agenda.next_at(self.now, pressing=pressing)
        task_id = self.agenda.likeliest(self.now, pressing=pressing)
        assert (task_id is not None) == (due <= self.now)
        if task_id is not None:
            assert task_id in self.free
            self.agenda.take(task_id)
            self.free.discard(task_id)
            self.held.add(task_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["still", "back", "ended", "dropped"]), took=st.none() | ages)
    def give_back(self, data: st.DataObject, how: str, took: float | None) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(task_id)
        match how:
            case "still":
                self.agenda.still_running(task_id, self.now)
                self.free.add(task_id)
            case "back":
                self.agenda.put_back(task_id, self.now + 5.0)
                self.free.add(task_id)
            case "ended":
                self.agenda.ended(task_id, self.now, took)
            case _:
                self.agenda.drop(task_id)

    @rule(task_id=st.integers(1, 30))
    def call_back(self, task_id: int) -> None:
        self.agenda.called_back(task_id)

    @invariant()
    def everybody_is_somewhere(self) -> None:
        assert len(self.agenda) == len(self.free) + len(self.held)
        if self.free:
            # Every free task is polled at some time, unless it is older than a day.
            assert self.agenda.next_at(self.now, pressing=True) < inf or self.now > 80_000


TestAgendaMachine = AgendaMachine.TestCase


def test_of_fresh_tasks_alike_only_the_oldest_is_asked_for() -> None:
    agenda = Agenda()
    for task_id, started in ((1, 1.0), (2, 0.0), (3, 2.0)):
        agenda.watch(task_id, "m", started)
    assert len(agenda) == 3
    assert agenda.likeliest(1000.0, pressing=True) == 2
    assert agenda.next_at(1000.0, pressing=True) == 1000.0


def test_of_two_tasks_that_a_callback_told_of_the_first_one_is_asked_for() -> None:
    agenda = Agenda()
    for task_id in (1, 2):
        agenda.watch(task_id, "m", 0.0)
        agenda.called_back(task_id)
    assert agenda.likeliest(0.1, pressing=True) == 1


def test_a_callback_for_a_task_in_hand_counts_when_it_is_given_back() -> None:
    agenda = Agenda()
    agenda.watch(1, "m", 0.0)
    agenda.take(1)
    agenda.called_back(1)
    assert agenda.likeliest(0.1, pressing=True) is None
    agenda.put_back(1, 0.0)
    assert agenda.likeliest(0.1, pressing=True) == 1


def test_what_a_callback_told_of_is_asked_for_before_anything_else() -> None:
    agenda = Agenda(expects_calls=True)
    agenda.calls.came = 1
    agenda.watch(1, "m", 0.0)
    assert not agenda.has_forgotten(0.1)
    agenda.called_back(1)
    assert agenda.has_forgotten(0.1)


def test_a_task_that_still_runs_teaches_all_tasks_of_its_model() -> None:
    agenda = Agenda()
    before = agenda.durations("m").chance(0.0, 60.0)
    for _ in range(20):
        agenda.durations("m/a").survived(0.0, 100.0)
    assert agenda.durations("m").chance(0.0, 60.0) < before


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (0, "3 tasks ended without a callback, and none with one"),
        (2, "3 tasks ended without a callback, and 2 with one"),
    ],
)
def test_callbacks_are_counted_in_words(came: int, words: str) -> None:
    assert str(CallbackTrust(are_expected=True, came=came, missed=3)) == words
