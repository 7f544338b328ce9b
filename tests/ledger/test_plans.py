"""Queries of a run and of `status` do not take longer when more tasks have finished: check the plans of SQLite."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batchswap.ledger import queries, selections, transitions
from batchswap.ledger.budgets import Budget
from batchswap.ledger.enrolment import enrol, orphans
from batchswap.ledger.enrolment.kept_outputs import KeptOutputs
from batchswap.ledger.selections import Queue, Selection
from batchswap.ledger.transitions import Media, Stamp
from batchswap.manifest import Chunk
from batchswap.report import status
from batchswap.states import Event, State
from batchswap.tasks import Attempt, Task
from tests.loop.world import rows

GROWING = {"tasks", "t", "o", "attempts", "a", "events"}
"""The tables that grow with the work, and their aliases in statements."""
SHORT = {"tasks_queued", "tasks_open", "tasks_failed", "tasks_edited"}
"""Indexes of tasks that are left to do, or need a decision: they shrink as tasks finish."""


def plans(db: sqlite3.Connection, work: Callable[[], object]) -> dict[str, list[str]]:
    """Return the plans of the statements that the work executes."""
    said: list[str] = []
    db.set_trace_callback(said.append)
    try:
        work()
    finally:
        db.set_trace_callback(None)
    asked = [sql for sql in said if re.match(r"\s*(select|update|delete|insert)", sql)]
    assert asked
    return {sql: [row[3] for row in db.execute(f"explain query plan {sql}")] for sql in asked}


def complaints(found: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return the statements that scan a growing table, or sort its rows."""
    wrong = []
    for sql, steps in found.items():
        for step in steps:
            scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
            newest = re.search(r"order by (a\.)?id desc limit", sql)
            if scan and scan[1] in GROWING and scan[2] not in SHORT and not newest:
                wrong.append((step, sql))
    return wrong


def attempt_of(db: sqlite3.Connection, stamp: Stamp, item: Task) -> Attempt:
    return transitions.submit(db, stamp, item, reserved=1.0, budget=Budget(100.0, 100.0), account="x")


def queued(db: sqlite3.Connection) -> list[Task]:
    return next(Queue(db, Selection(("b",))).pages())


def test_statements_from_queued_to_done(db: sqlite3.Connection, stamp: Stamp) -> None:
    def work() -> None:
        item = queued(db)[0]
        attempt = attempt_of(db, stamp, item)
        transitions.accepted(db, stamp, attempt, "remote")
        transitions.succeeded(db, stamp, attempt, Media(("https://cdn.example/1.mp4",)), charged=1.0, took=3.0)
        transitions.verified(db, stamp, attempt, file="b/t0.mp4", size=1, sha256="ab")
        transitions.saved(db, stamp, attempt)

    assert not complaints(plans(db, work))


def test_statements_of_failures(db: sqlite3.Connection, stamp: Stamp) -> None:
    def work() -> None:
        first, second, third = queued(db)
        attempt = attempt_of(db, stamp, first)
        transitions.refused(db, stamp, attempt, Event.REFUSED, code="429", reason="slow down")
        attempt_of(db, stamp, second)
        transitions.recover(db, stamp)
        attempt = attempt_of(db, stamp, third)
        transitions.accepted(db, stamp, attempt, "remote")
        transitions.ended_badly(db, stamp, attempt, Event.GENERATION_FAILED, charged=1.0, code="501", reason="no face")

    assert not complaints(plans(db, work))


def test_queries_of_a_run(db: sqlite3.Connection, stamp: Stamp) -> None:
    attempt = attempt_of(db, stamp, queued(db)[0])

    def work() -> None:
        queries.unfinished(db, State.RUNNING, State.FETCHING, State.UNCERTAIN)
        queries.took(db)
        queries.counts(db)
        queries.counts(db, "b")
        queries.credits_of(db, run_id=1)
        queries.by_ref(db, attempt.ref)
        queries.sharing_output(db, [1, 2, 3])
        queries.output_owner(db, "b/t0.mp4", 1)
        queries.previous_result(db, 1)
        enrol.is_wanted(db, 1)
        orphans.find(db, ["b"])
        orphans.is_orphan(db, 1)
        selections.left_out(db, Selection(("b",), text="clip", tags=("de",)))
        next(Queue(db, Selection(("b",), text="clip", tags=("de",))).pages(), None)

    assert not complaints(plans(db, work))


def test_queries_about_outputs_during_enrolment(db: sqlite3.Connection) -> None:
    db.execute("update tasks set state = 'done'")
    chunk = Chunk("b", "/", "b.csv", rows(3))
    assert not complaints(plans(db, lambda: KeptOutputs(db).look(chunk)))


def test_queries_of_status(db: sqlite3.Connection) -> None:
    assert not complaints(plans(db, lambda: status.gather(db, Path("batchswap.db"))))


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from tasks where state = 'done'",
        "select sum(charged) from attempts",
        "select * from events where at > 7",
        "select t.id from tasks t where t.target = 'x'",
    ],
)
def test_a_scan_of_finished_tasks_is_noticed(db: sqlite3.Connection, sql: str) -> None:
    assert complaints(plans(db, lambda: db.execute(sql).fetchall()))
