"""Commands of a user: which attempts count as paid afterwards, and which results are requested again."""

import sqlite3

import msgspec

from batchswap.ledger import operator_actions, transitions
from batchswap.ledger.budgets import Budget
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.transitions import Media, Stamp
from batchswap.manifest import Chunk
from batchswap.states import Event, State
from batchswap.tasks import Attempt
from tests.loop.world import rows


def submitted(db: sqlite3.Connection, stamp: Stamp) -> Attempt:
    """Submit the first task once more."""
    return transitions.submit(db, stamp, transitions.find_task(db, 1), reserved=2.0, budget=Budget(), account="a")


def fail(db: sqlite3.Connection, stamp: Stamp) -> None:
    """Let the task be accepted, and its generation fail."""
    item = submitted(db, stamp)
    transitions.accepted(db, stamp, item, f"r{item.number}")
    transitions.ended_badly(db, stamp, item, Event.GENERATION_FAILED, code="501", reason="no face")


def paid(db: sqlite3.Connection) -> int:
    return transitions.find_task(db, 1).paid


def test_an_attempt_that_was_not_accepted_is_not_paid(db: sqlite3.Connection, stamp: Stamp) -> None:
    transitions.unknown(db, stamp, submitted(db, stamp), code="500", reason="500")
    assert paid(db) == 1, "it may have been"
    operator_actions.not_accepted(db, stamp, transitions.find_task(db, 1))
    assert paid(db) == 0


def test_a_retried_task_may_cost_as_often_as_a_new_one(db: sqlite3.Connection, stamp: Stamp) -> None:
    fail(db, stamp)
    assert paid(db) == 1
    assert operator_actions.retry(db, stamp, transitions.find_task(db, 1)) is Event.RETRIED
    assert paid(db) == 0


def test_an_edited_row_may_cost_as_often_as_a_new_one(db: sqlite3.Connection, stamp: Stamp) -> None:
    fail(db, stamp)
    edited = msgspec.structs.replace(rows(1)[0], digest="new")
    assert enrol(db, stamp, [Chunk("b", "/", "b.csv", [edited])], {}).changed == 1
    assert (transitions.find_task(db, 1).state, paid(db)) == (State.QUEUED, 0)


def test_a_result_that_was_not_saved_is_requested_again_also_after_a_cancel(
    db: sqlite3.Connection, stamp: Stamp
) -> None:
    item = submitted(db, stamp)
    transitions.accepted(db, stamp, item, "r")
    transitions.succeeded(db, stamp, item, Media(("https://m",)), charged=2.0, took=1.0)
    transitions.not_saved(db, stamp, item, Event.UNSAVED, code="disk-full", reason="disk full")
    operator_actions.cancel(db, stamp, transitions.find_task(db, 1))
    assert operator_actions.retry(db, stamp, transitions.find_task(db, 1)) is Event.RESUMED
    assert transitions.find_task(db, 1).state is State.RUNNING
