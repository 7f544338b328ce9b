"""The guarded moves: each starts from the expected state, and the sums of credits are always right."""

import sqlite3
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchswap.errors import IdTaken, LostRace
from batchswap.ledger import budgets, operator_actions, queries, transitions
from batchswap.ledger.budgets import Budget, OverBudget
from batchswap.ledger.rows import last_attempt
from batchswap.ledger.runs import ticks
from batchswap.ledger.transitions import Media, Stamp
from batchswap.states import Event, State
from batchswap.tasks import Attempt

NO_BUDGET = Budget()


def submit(
    db: sqlite3.Connection, stamp: Stamp, task_id: int, reserved: float = 2.0, budget: Budget = NO_BUDGET
) -> Attempt:
    item = transitions.find_task(db, task_id)
    return transitions.submit(db, stamp, item, reserved=reserved, budget=budget, account="a")


def state(db: sqlite3.Connection, task_id: int) -> str:
    found: str = db.execute("select state from tasks where id = ?", (task_id,)).fetchone()[0]
    return found


def test_one_row_from_queued_to_done(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    assert queries.credits_of(db).reserved == 2.0
    transitions.accepted(db, stamp, item, "remote-1")
    transitions.succeeded(db, stamp, item, Media(("https://m/x.mp4?sig=1",)), charged=3.0, took=5.0)
    assert queries.unfinished(db, State.FETCHING)[0].media == ("https://m/x.mp4?sig=1",)
    transitions.verified(db, stamp, item, file="b/t0.mp4", size=7, sha256="ab")
    transitions.saved(db, stamp, item)
    assert state(db, 1) == "done"
    assert (queries.credits_of(db).spent, queries.credits_of(db).reserved) == (3.0, 0.0)
    log = [row[0] for row in db.execute("select event from events where task_id = 1 order by id")]
    assert log == ["submitted", "accepted", "succeeded", "saved"]
    assert [past.took for past in queries.took(db)] == [5.0]


def test_the_length_of_the_target_is_stored_with_the_duration(db: sqlite3.Connection, stamp: Stamp) -> None:
    task = transitions.find_task(db, 1)
    item = transitions.submit(db, stamp, task, reserved=1.0, budget=NO_BUDGET, account="a", seconds=12.5)
    transitions.accepted(db, stamp, item, "remote-1")
    transitions.ended_badly(db, stamp, item, Event.GENERATION_FAILED, took=5.0, code="501", reason="no face")
    assert queries.took(db) == [queries.Past(task.model, 5.0, 12.5)]


def test_a_move_from_another_state_is_a_lost_race_and_writes_nothing(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    transitions.accepted(db, stamp, item, "remote-1")
    before = list(db.iterdump())
    with pytest.raises(LostRace):
        transitions.accepted(db, stamp, item, "remote-2")
    assert list(db.iterdump()) == before


def test_a_task_is_submitted_only_once(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = transitions.find_task(db, 1)
    db.execute("savepoint s")
    transitions.submit(db, stamp, item, reserved=1.0, budget=NO_BUDGET, account="a")
    with pytest.raises((LostRace, sqlite3.IntegrityError)):
        transitions.submit(db, stamp, item, reserved=1.0, budget=NO_BUDGET, account="a")


def test_a_refused_attempt_is_not_paid(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    transitions.refused(db, stamp, item, Event.REFUSED, code="429", reason="slow down")
    assert (transitions.find_task(db, 1).attempts, transitions.find_task(db, 1).paid) == (1, 0)
    assert queries.credits_of(db).reserved == 0.0
    assert submit(db, stamp, 1).number == 2


def test_an_unknown_attempt_stays_reserved(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    transitions.unknown(db, stamp, item, code="no-answer", reason="reset")
    assert state(db, 1) == "uncertain"
    assert queries.credits_of(db).reserved == 2.0
    transitions.attached(db, stamp, item, "remote-9")
    assert state(db, 1) == "running"
    assert queries.unfinished(db, State.RUNNING)[0].attempt.remote_id == "remote-9"


def test_one_remote_task_of_a_provider_belongs_to_one_attempt(db: sqlite3.Connection, stamp: Stamp) -> None:
    first, second = submit(db, stamp, 1), submit(db, stamp, 2)
    transitions.accepted(db, stamp, first, "remote-1")
    before = list(db.iterdump())
    with pytest.raises(IdTaken, match="remote-1 already belongs to an attempt of b/t0"):
        transitions.accepted(db, stamp, second, "remote-1")
    assert list(db.iterdump()) == before
    transitions.unknown(db, stamp, second, code="no-answer", reason="reset")
    with pytest.raises(IdTaken):
        transitions.attached(db, stamp, second, "remote-1")
    elsewhere = transitions.submit(
        db, stamp, transitions.find_task(db, 3), reserved=2.0, budget=NO_BUDGET, account="another"
    )
    transitions.accepted(db, stamp, elsewhere, "remote-1")
    assert state(db, 3) == "running"


def test_a_task_that_an_earlier_run_left_in_submitting_is_uncertain(db: sqlite3.Connection, stamp: Stamp) -> None:
    submit(db, stamp, 1)
    submit(db, stamp, 2)
    assert transitions.recover(db, stamp) == 2
    assert state(db, 1) == state(db, 2) == "uncertain"
    assert transitions.recover(db, stamp) == 0


def test_a_failure_without_a_price_is_unknown_and_never_a_guess(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    transitions.accepted(db, stamp, item, "r")
    transitions.ended_badly(db, stamp, item, Event.GENERATION_FAILED, code="501", reason="no face")
    money = queries.credits_of(db)
    assert (money.spent, money.reserved, money.assumed, money.unpriced) == (0.0, 0.0, 2.0, 1)


@pytest.mark.parametrize("end", ["lost", "failed", "succeeded"])
def test_a_known_price_is_kept_when_the_api_no_longer_sends_it(db: sqlite3.Connection, stamp: Stamp, end: str) -> None:
    """The media URL has expired, and TaskInfo is called again."""
    item, media = submit(db, stamp, 1), Media(("https://m/x.mp4",))
    transitions.accepted(db, stamp, item, "remote-1")
    transitions.succeeded(db, stamp, item, media, charged=3.0, took=5.0)
    transitions.not_saved(db, stamp, item, Event.STALE, code="gone", reason="expired")
    if end == "succeeded":
        transitions.succeeded(db, stamp, item, media, charged=None, took=None)
    else:
        event = Event.LOST if end == "lost" else Event.GENERATION_FAILED
        transitions.ended_badly(db, stamp, item, event, code=end, reason=end)
    found = queries.credits_of(db)
    assert (found.spent, found.reserved, found.unpriced) == (3.0, 0.0, 0)
    assert [past.took for past in queries.took(db)] == [5.0]


@pytest.mark.parametrize("charged", [5.0, 0.5, None])
@pytest.mark.parametrize("by_person", [False, True])
def test_the_committed_sum_stays_the_same_while_a_paid_result_is_requested_again(
    db: sqlite3.Connection, stamp: Stamp, charged: float | None, by_person: bool
) -> None:
    """Invariant 7: a budget never gets more room, and the reserved sum does not change."""
    item, media = submit(db, stamp, 1), Media(("https://m/x.mp4",))
    transitions.accepted(db, stamp, item, "remote-1")
    transitions.succeeded(db, stamp, item, media, charged=charged, took=5.0)
    before = budgets.committed(db, stamp.run_id or 0)
    assert before == (2.0 if charged is None else charged)
    if by_person:
        transitions.not_saved(db, stamp, item, Event.UNSAVED, code="unreachable", reason="refused")
        assert operator_actions.retry(db, stamp, transitions.find_task(db, 1)) is Event.RESUMED
    else:
        transitions.not_saved(db, stamp, item, Event.STALE, code="gone", reason="expired")
    assert state(db, 1) == "running"
    assert budgets.committed(db, stamp.run_id or 0) == budgets.committed_on(db, budgets.local_day(stamp.at)) == before
    transitions.succeeded(db, stamp, item, media, charged=charged, took=5.0)
    assert budgets.committed(db, stamp.run_id or 0) == before


def test_a_timeout_ends_the_waiting_and_not_the_record(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1)
    transitions.accepted(db, stamp, item, "r")
    transitions.ended_badly(db, stamp, item, Event.TIMED_OUT, code="timeout", reason="6 h")
    assert state(db, 1) == "failed"
    assert queries.credits_of(db).reserved == 2.0
    last = last_attempt(db, 1)
    assert last is not None
    assert last.remote_id == "r"


def test_budget_of_a_run_and_of_a_day(db: sqlite3.Connection, stamp: Stamp) -> None:
    submit(db, stamp, 1, reserved=6.0, budget=Budget(run=10.0))
    with pytest.raises(OverBudget):
        submit(db, stamp, 2, reserved=5.0, budget=Budget(run=10.0))
    with pytest.raises(OverBudget):
        submit(db, stamp, 2, reserved=5.0, budget=Budget(day=10.0))
    submit(db, stamp, 2, reserved=4.0, budget=Budget(run=10.0, day=10.0))
    assert budgets.committed(db, stamp.run_id or 0) == 10.0
    assert budgets.committed_on(db, budgets.local_day(stamp.at)) == 10.0


def test_an_attempt_without_a_price_counts_for_both_budgets(db: sqlite3.Connection, stamp: Stamp) -> None:
    item = submit(db, stamp, 1, reserved=6.0)
    transitions.accepted(db, stamp, item, "r")
    transitions.ended_badly(db, stamp, item, Event.GENERATION_FAILED, code="501", reason="")
    assert budgets.committed(db, stamp.run_id or 0) == 6.0
    assert budgets.committed_on(db, budgets.local_day(stamp.at)) == 6.0


@pytest.mark.parametrize("price", [0.1, 0.4, 1.1, 2.3])
def test_a_budget_of_three_prices_is_enough_for_three(db: sqlite3.Connection, stamp: Stamp, price: float) -> None:
    budget = Budget(run=float(f"{3 * price:.1f}"), day=float(f"{3 * price:.1f}"))
    for task_id in (1, 2, 3):
        submit(db, stamp, task_id, reserved=price, budget=budget)
    with pytest.raises(OverBudget):
        budget.check(db, stamp.run_id or 0, budgets.local_day(stamp.at), 0.00001)


def test_no_readable_column_contains_a_query(db: sqlite3.Connection, stamp: Stamp) -> None:
    """Invariant 9."""
    db.execute("update tasks set target = 'https://cdn/x.mp4', target_query = ? where id = 1", (b"sig=SECRET",))
    assert transitions.find_task(db, 1).target == "https://cdn/x.mp4?sig=SECRET"
    item = submit(db, stamp, 1)
    transitions.accepted(db, stamp, item, "r")
    transitions.succeeded(db, stamp, item, Media(("https://m/x.mp4?sig=SECRET",)), charged=None, took=None)
    for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
        for row in db.execute(f"select * from {table}"):
            assert not any(isinstance(value, str) and "SECRET" in value for value in row)


DEEDS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["submit", "refuse", "accept", "lose", "win", "fail", "attach"])),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DEEDS, st.none() | st.floats(0, 5))
def test_counts_and_credits_equal_a_recount(
    db: sqlite3.Connection, stamp: Stamp, deeds: list[tuple[int, str]], charged: float | None
) -> None:
    db.execute("begin")
    for task_id, deed in deeds:
        _do(db, stamp, task_id, deed, charged)
    counted = dict(db.execute("select state, count(*) from tasks group by state").fetchall())
    assert {s: n for s, n in queries.counts(db).items() if n} == counted
    spent, held = db.execute("select coalesce(sum(spent), 0), coalesce(sum(held), 0) from attempts").fetchone()
    money = queries.credits_of(db)
    assert [money.spent, money.reserved] == pytest.approx([spent, held])
    assert queries.credits_of(db, batch="b") == money
    db.execute("rollback")


def _do(db: sqlite3.Connection, stamp: Stamp, task_id: int, deed: str, charged: float | None) -> None:
    item: Any = last_attempt(db, task_id)
    match (state(db, task_id), deed):
        case ("queued", "submit"):
            submit(db, stamp, task_id)
        case ("submitting", "refuse"):
            transitions.refused(db, stamp, item, Event.REFUSED, code="429", reason="")
        case ("submitting", "accept"):
            transitions.accepted(db, stamp, item, f"r{item.id}")
        case ("submitting", "lose"):
            transitions.unknown(db, stamp, item, code="x", reason="")
        case ("uncertain", "attach"):
            transitions.attached(db, stamp, item, f"r{item.id}")
        case ("running", "win"):
            transitions.succeeded(db, stamp, item, Media(("https://m",)), charged=charged, took=1.0)
        case ("running", "fail"):
            transitions.ended_badly(db, stamp, item, Event.PAYABLE_AGAIN, code="501", reason="", charged=charged)


def test_a_run_is_recorded_with_its_series_or_not_at_all(db: sqlite3.Connection) -> None:
    """A tick that was killed in between would leave a run without a series, and no later tick could begin."""
    db.execute("create temp trigger killed before update of series on runs begin select raise(abort, 'killed'); end")
    with pytest.raises(sqlite3.DatabaseError, match="killed"):
        transitions.begin_run(db, 1.0, provider="crun", account="x", mode="tick", batches=("b",))
    assert db.execute("select count(*) from runs").fetchone() == (0,)
    db.execute("drop trigger killed")
    first = transitions.begin_run(db, 2.0, provider="crun", account="x", mode="tick", batches=("b",))
    second = transitions.begin_run(db, 3.0, provider="crun", account="x", mode="tick", batches=("b",))
    assert ticks.series_of(db, second.run_id or 0) == first.run_id


def test_the_shortest_life_of_a_url_is_remembered_but_not_of_one_that_is_late(db: sqlite3.Connection) -> None:
    db.execute("update tasks set changed_at = 1000.0")
    lives = []
    for age in (-5.0, 59.0, 7200.0, 9000.0, 3600.0):
        ticks.note_url_life(db, 1, 1000.0 + age)
        lives.append(ticks.url_life(db))
    assert lives == [None, None, 7200.0, 7200.0, 3600.0]
