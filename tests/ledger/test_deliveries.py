"""The findings about results: one a task, kept as long as the task is done, and counted by quality."""

import sqlite3

from batchswap.ledger import deliveries, queries, transitions
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.transitions import Media, Stamp
from batchswap.states import Event, Quality, Review, State
from tests.ledger.test_moves import submit


def finish(db: sqlite3.Connection, stamp: Stamp, task_id: int, *, is_saved: bool = True) -> None:
    item = submit(db, stamp, task_id)
    transitions.accepted(db, stamp, item, f"remote-{task_id}")
    transitions.succeeded(db, stamp, item, Media(("https://m/x.mp4",)), charged=3.0, took=5.0)
    if is_saved:
        transitions.verified(db, stamp, item, file="b/t0.mp4", size=7, sha256="ab")
        transitions.saved(db, stamp, item)
    else:
        transitions.not_saved(db, stamp, item, Event.UNSAVED, code="http-404", reason="gone")


def test_results_are_counted_by_quality_and_a_missing_finding_is_unknown(db: sqlite3.Connection, stamp: Stamp) -> None:
    for task_id in (1, 2):
        finish(db, stamp, task_id)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.UNCHANGED, 0.0, 0.1, b'{"frames":8}', "aa/1.webp"))
    found = deliveries.qualities(db, ["b"], done=queries.counts(db)[State.DONE])
    assert found == {"swapped": 0, "partly": 0, "unchanged": 1, "no_face": 0, "unknown": 1}
    kept = deliveries.find(db, 1)
    assert kept is not None
    assert (kept.quality, kept.score, kept.facts, kept.strip) == (Quality.UNCHANGED, 0.1, {"frames": 8}, "aa/1.webp")


def test_what_needs_the_user(db: sqlite3.Connection, stamp: Stamp) -> None:
    """An unchanged result until it is reviewed, and a result that is paid for and could not be saved."""
    finish(db, stamp, 1)
    finish(db, stamp, 2, is_saved=False)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.UNCHANGED))
    assert deliveries.needing(db, ["b"], queries.counts(db)) == 2
    deliveries.review(db, stamp, 1, Review.ACCEPTED, "meant to be so")
    assert deliveries.needing(db, None, queries.counts(db)) == 1


def test_a_review_survives_another_look_at_the_same_file_only(db: sqlite3.Connection, stamp: Stamp) -> None:
    finish(db, stamp, 1)
    deliveries.review(db, stamp, 1, Review.REJECTED, "wrong person")
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.SWAPPED, 1.0, 0.9))
    again = deliveries.find(db, 1)
    assert again is not None
    assert (again.review, again.note) == (Review.REJECTED, "wrong person")
    deliveries.record(db, stamp, 1, Delivered("cd", Quality.SWAPPED, 1.0, 0.9))
    other = deliveries.find(db, 1)
    assert other is not None
    assert (other.review, other.note) == (Review.NONE, "")


def test_a_task_that_leaves_done_loses_its_finding(db: sqlite3.Connection, stamp: Stamp) -> None:
    finish(db, stamp, 1)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.PARTLY, 0.5, 0.5))
    transitions.move(db, stamp, 1, State.DONE, Event.REDONE)
    assert deliveries.find(db, 1) is None


def test_the_same_file_of_the_same_inputs_is_looked_at_once(db: sqlite3.Connection, stamp: Stamp) -> None:
    finish(db, stamp, 1)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.SWAPPED, 1.0, 0.9, strip="aa/1.webp"))
    deliveries.review(db, stamp, 1, Review.ACCEPTED)
    item = transitions.find_task(db, 1)
    same = deliveries.find_same(db, item, "ab")
    assert same is not None
    assert (same.quality, same.strip, same.review) == (Quality.SWAPPED, "aa/1.webp", Review.NONE)
    assert deliveries.find_same(db, item, "cd") is None
    assert deliveries.find_same(db, transitions.find_task(db, 2), "ab") is None
