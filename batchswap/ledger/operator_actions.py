"""Transitions that a user commands: retry, redo, resolve and cancel.

Each is one guarded move, with its attempt and costs. The caller holds the ledger's lock and a transaction.
"""

import sqlite3
from collections.abc import Iterator

from batchswap.errors import IdTaken, UsageError
from batchswap.ledger import releases
from batchswap.ledger.enrolment.duplicates import Decision, root_of
from batchswap.ledger.rows import IS_IN, TASK_COLUMNS, last_attempt, one_of, task
from batchswap.ledger.transitions import Stamp, attached, change, move, reopen
from batchswap.states import BY_PERSON, HAS_RESULT, AttemptState, Event, State
from batchswap.tasks import Attempt, Task

GIVEN_UP = "given-up"
"""The code of a task that was uncertain when the user gave it up: it may have been accepted."""

_COLLECTED = "; `batchswap run` collects it, and it is not paid for again"
_HINTS = {
    State.DONE: ", and done ones whose file is missing; `batchswap review --redo` pays for another attempt",
    State.RUNNING: _COLLECTED,
    State.FETCHING: _COLLECTED,
}
"""Further explanation for tasks that cannot be retried."""
_PAGE = 500
_TURNS = one_of("event", (event for event in Event if event is not Event.CANCELLED))
"""The events that may explain a task's state. A cancellation is left out, because `retry` takes it back."""
_NEW_WORK = one_of("event", (Event.GIVEN_UP, Event.SUBMITTED, Event.CHANGED, Event.ADOPTED, Event.DOUBTED))


def chosen(
    db: sqlite3.Connection, state: State, *, batch: str | None = None, code: str | None = None
) -> Iterator[Task]:
    """Stream the tasks in a state. They may change their state in the meantime."""
    # By rowid: with an index, each page would be sorted again.
    sql = (
        f"select {TASK_COLUMNS} from tasks t not indexed cross join batches b on b.id = t.batch_id"
        f" cross join sources s on s.id = t.source_id where t.id > :last and t.state = :state and {IS_IN}"
        f" order by t.id limit {_PAGE}"
    )
    values = {"state": state, "batch": batch, "code": code, "last": 0}
    while rows := db.execute(sql, values).fetchall():
        yield from map(task, rows)
        values["last"] = rows[-1][0]


def is_given_up(db: sqlite3.Connection, item: Task) -> bool:
    """Return whether the last attempt was given up while uncertain, whatever state the task is in now.

    The API may have accepted it, so another attempt may be a second payment. A later submit is another attempt, and an
    edited row is other work.
    """
    sql = f"select event from events where task_id = ? and {_NEW_WORK} order by id desc limit 1"
    row = db.execute(sql, (item.id,)).fetchone()
    return row is not None and row[0] == Event.GIVEN_UP


def check_release(db: sqlite3.Connection, item: Task) -> None:
    """Raise UsageError if the release of the task was withdrawn."""
    if releases.withdrawn_at(db, item.consent) is not None:
        raise UsageError(f"{item.batch}/{item.key} is under {item.consent}, a release that was withdrawn")


def retry(db: sqlite3.Connection, stamp: Stamp, item: Task, *, is_gone: bool = False) -> Event:
    """Retry a failed or cancelled task, or a done one whose file `is_gone`. Raise UsageError for any other, and for one
    whose release was withdrawn.

    RESUMED: the attempt was accepted and did not fail, so its result is requested again at no cost.
    RETRIED: the task is queued, its next attempt may cost credits, and --paid-attempts counts from zero again. A done
    task is never RETRIED.
    REUSE_AGAIN: the task is queued to reuse the same other task's result again.
    """
    if Event.RETRIED not in BY_PERSON.get(item.state, {}) and not (item.state is State.DONE and is_gone):
        raise UsageError(
            f"{item.batch}/{item.key} is {item.state}: only failed and cancelled tasks can be retried"
            f"{_HINTS.get(item.state, '')}"
        )
    check_release(db, item)
    if item.state is State.DONE and root_of(db, item.id) != item.id:
        move(db, stamp, item.id, item.state, Event.REUSE_AGAIN)
        return Event.REUSE_AGAIN
    attempt = _still_good(db, item)
    if attempt is None:
        move(db, stamp, item.id, item.state, Event.RETRIED)
        db.execute("update tasks set paid = 0 where id = ?", (item.id,))
        return Event.RETRIED
    move(db, stamp, item.id, item.state, Event.RESUMED, attempt_id=attempt.id)
    reopen(db, attempt)
    return Event.RESUMED


def _still_good(db: sqlite3.Connection, item: Task) -> Attempt | None:
    """Return the last attempt if the API accepted it, and only the waiting, the download or the file failed.

    The event that ended the task decides, because an older attempt may have had other inputs. Later events that changed
    no state, such as an unexpected callback, are ignored.
    """
    sql = f"select event from events where task_id = ? and {_TURNS} order by id desc limit 1"
    row = db.execute(sql, (item.id,)).fetchone()
    if row is None or row[0] not in (Event.UNSAVED, Event.TIMED_OUT, Event.SAVED):
        return None
    attempt = last_attempt(db, item.id)
    if attempt is None or attempt.remote_id is None:
        return None
    state = db.execute("select state from attempts where id = ?", (attempt.id,)).fetchone()[0]
    return attempt if state in HAS_RESULT else None


_WITHOUT_RESULT = ", paid = 0, reuses = null, content = null" + "".join(
    f", {column} = null" for column in ("file", "size", "sha256", "replaces", "stored_by")
)


def redo(db: sqlite3.Connection, stamp: Stamp, item: Task, note: str = "") -> None:
    """Queue a done task for another attempt, which costs credits again, as the user commands. Raise UsageError.

    Its result must have left the final name before. Neither that result nor another task's is reused for it, and
    --paid-attempts counts from zero again.
    """
    if item.state is not State.DONE:
        raise UsageError(f"{item.batch}/{item.key} is {item.state}: only done tasks can be redone")
    also = f"{_WITHOUT_RESULT}, duplicates = '{Decision.REDO}'"
    move(db, stamp, item.id, item.state, Event.REDONE, reason=note, also=also)


def is_redone(db: sqlite3.Connection, item: Task) -> bool:
    """Return whether a queued task waits for the attempt that `redo` asked for."""
    sql = f"select event from events where task_id = ? and {_TURNS} order by id desc limit 1"
    row = db.execute(sql, (item.id,)).fetchone()
    return item.state is State.QUEUED and row is not None and row[0] == Event.REDONE


def cancel(db: sqlite3.Connection, stamp: Stamp, item: Task) -> None:
    """Cancel a task. Raise UsageError if it is neither queued nor failed."""
    if Event.CANCELLED not in BY_PERSON.get(item.state, {}):
        hint = "; settle it with `batchswap resolve`" if item.state is State.UNCERTAIN else ""
        raise UsageError(
            f"{item.batch}/{item.key} is {item.state}: only queued and failed tasks can be cancelled{hint}"
        )
    move(db, stamp, item.id, item.state, Event.CANCELLED, reason="cancelled by a person")


def unclear(db: sqlite3.Connection, item: Task) -> Attempt:
    """Return the attempt whose outcome is unknown. Raise UsageError if the task is not uncertain."""
    attempt = last_attempt(db, item.id)
    if item.state is not State.UNCERTAIN or attempt is None:
        raise UsageError(f"{item.batch}/{item.key} is {item.state}: only uncertain tasks can be resolved")
    return attempt


def attach(db: sqlite3.Connection, stamp: Stamp, item: Task, remote_id: str) -> None:
    """Record that an uncertain task was accepted as `remote_id`. Raise UsageError if another attempt has this id."""
    try:
        attached(db, stamp, unclear(db, item), remote_id)
    except IdTaken as error:
        raise UsageError(str(error)) from error


def not_accepted(db: sqlite3.Connection, stamp: Stamp, item: Task) -> None:
    """Record that an uncertain task was not accepted: it has cost nothing, and is queued again."""
    attempt = unclear(db, item)
    move(db, stamp, item.id, item.state, Event.NOT_ACCEPTED, attempt_id=attempt.id)
    db.execute("update tasks set paid = max(0, paid - 1) where id = ?", (item.id,))
    change(db, attempt.id, AttemptState.REFUSED, ended_at=stamp.at, code="not-accepted")


def give_up(db: sqlite3.Connection, stamp: Stamp, item: Task) -> None:
    """Fail an uncertain task whose outcome will stay unknown. Its possible cost counts as spent without a price."""
    attempt = unclear(db, item)
    reason = "given up while uncertain: it may have been accepted"
    move(db, stamp, item.id, item.state, Event.GIVEN_UP, attempt_id=attempt.id, code=GIVEN_UP, reason=reason)
    change(db, attempt.id, AttemptState.GIVEN_UP, ended_at=stamp.at, code=GIVEN_UP)
