"""What a person's word does to the books: which attempts count as paid, and what is asked for again."""

import sqlite3

import msgspec

from batchswap.ledger import moves, words
from batchswap.ledger.budgets import Budget
from batchswap.ledger.enrol import enrol
from batchswap.ledger.moves import Media, Stamp
from batchswap.manifest import Chunk
from batchswap.states import Event, State
from batchswap.tasks import Attempt
from tests.loop.world import rows


def submitted(db: sqlite3.Connection, stamp: Stamp) -> Attempt:
    """The first task, with one more attempt."""
    return moves.submit(db, stamp, moves.find_task(db, 1), reserved=2.0, budget=Budget(), account="a")


def fail(db: sqlite3.Connection, stamp: Stamp) -> None:
    """It is accepted, and its generation fails."""
    item = submitted(db, stamp)
    moves.accepted(db, stamp, item, f"r{item.number}")
    moves.ended_badly(db, stamp, item, Event.GENERATION_FAILED, code="501", reason="no face")


def paid(db: sqlite3.Connection) -> int:
    return moves.find_task(db, 1).paid


def test_an_attempt_that_was_not_accepted_is_not_paid(db: sqlite3.Connection, stamp: Stamp) -> None:
    moves.unknown(db, stamp, submitted(db, stamp), code="500", reason="500")
    assert paid(db) == 1, "it may have been"
    words.not_accepted(db, stamp, moves.find_task(db, 1))
    assert paid(db) == 0


def test_what_is_retried_may_cost_as_often_as_a_new_task(db: sqlite3.Connection, stamp: Stamp) -> None:
    fail(db, stamp)
    assert paid(db) == 1
    assert words.retry(db, stamp, moves.find_task(db, 1)) is Event.RETRIED
    assert paid(db) == 0


def test_an_edited_row_may_cost_as_often_as_a_new_task(db: sqlite3.Connection, stamp: Stamp) -> None:
    fail(db, stamp)
    edited = msgspec.structs.replace(rows(1)[0], digest="new")
    assert enrol(db, stamp, [Chunk("b", "/", "b.csv", [edited])], {}).changed == 1
    assert (moves.find_task(db, 1).state, paid(db)) == (State.QUEUED, 0)


def test_a_result_that_was_not_saved_is_asked_for_again_also_after_a_cancel(
    db: sqlite3.Connection, stamp: Stamp
) -> None:
    item = submitted(db, stamp)
    moves.accepted(db, stamp, item, "r")
    moves.succeeded(db, stamp, item, Media(("https://m",)), charged=2.0, took=1.0)
    moves.not_saved(db, stamp, item, Event.UNSAVED, code="disk-full", reason="disk full")
    words.cancel(db, stamp, moves.find_task(db, 1))
    assert words.retry(db, stamp, moves.find_task(db, 1)) is Event.RESUMED
    assert moves.find_task(db, 1).state is State.RUNNING
