"""All writes of a run. Each is called by the ledger's writer, inside a transaction that it shares with others.

A task is moved only from the state that the caller expects, and every move is logged in the same transaction. `at` is
Unix time in seconds, and money is in credits.
"""

import os
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from batchswap import __version__
from batchswap.errors import IdTaken, LostRace
from batchswap.ledger.budgets import NO_BUDGET, Budget, local_day
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import Input
from batchswap.ledger.rows import IS_OPEN, TASK_COLUMNS, TASK_FROM, last_attempt, one_of, owner_of, task
from batchswap.ledger.runs import ticks
from batchswap.settings import Mode
from batchswap.sqlite_errors import transaction
from batchswap.states import RESERVED, AttemptState, Event, State, advance, attempts_before
from batchswap.tasks import Attempt, Model, Task


class Stamp(msgspec.Struct, frozen=True):
    """The time of a write, and its run (None: outside of a run)."""

    at: float
    run_id: int | None


class Media(msgspec.Struct, frozen=True):
    """The URLs of a finished task's result. They are temporary, and often signed."""

    urls: tuple[str, ...]


def media_urls(packed: bytes | None) -> tuple[str, ...]:
    return msgspec.json.decode(packed, type=Media).urls if packed else ()


def move(
    db: sqlite3.Connection,
    stamp: Stamp,
    task_id: int,
    state: State,
    event: Event,
    *,
    attempt_id: int | None = None,
    code: str = "",
    reason: str = "",
    also: str = "",
) -> State:
    """Move a task and log the event. Raise LostRace if it is not in `state`, IllegalMove if the move is not allowed.

    `also` holds more assignments for the same update, such as ", paid = paid - 1".
    """
    after = advance(state, event)
    changed = db.execute(
        f"update tasks set state = ?, code = ?, reason = ?, changed_at = ?{also} where id = ? and state = ?",
        (after, code, reason, stamp.at, task_id, state),
    ).rowcount
    if changed != 1:
        raise LostRace(f"task {task_id} is no longer {state}")
    log(db, stamp, event, task_id=task_id, attempt_id=attempt_id, state=after, detail=reason or code)
    return after


def log(
    db: sqlite3.Connection,
    stamp: Stamp,
    event: str,
    *,
    task_id: int | None = None,
    attempt_id: int | None = None,
    state: str = "",
    detail: str = "",
) -> None:
    db.execute(
        "insert into events(at, run_id, task_id, attempt_id, event, state, detail) values(?, ?, ?, ?, ?, ?, ?)",
        (stamp.at, stamp.run_id, task_id, attempt_id, event, state, detail),
    )


def submit(
    db: sqlite3.Connection,
    stamp: Stamp,
    item: Task,
    *,
    reserved: float,
    budget: Budget,
    account: str,
    estimate: float | None = None,
    seconds: float | None = None,
    balance: float | None = None,
    used: Sequence[Input] = (),
    ref: str | None = None,
    day: str | None = None,
) -> Attempt:
    """Record an attempt before its CreateTask may leave (invariants 1, 2 and 7). Raise OverBudget or LostRace.

    `seconds` is the length of the target, if known. `balance` is the balance before the submit, if no other task is in
    flight. `used` are the local input files. `day` is the calendar day to count the attempt for, if another process
    has set it.
    """
    if stamp.run_id is None:
        raise ValueError("an attempt belongs to a run")
    day = day or local_day(stamp.at)
    budget.check(db, stamp.run_id, day, reserved)
    ref = ref or str(uuid.uuid4())
    number = item.attempts + 1
    attempt_id = db.execute(
        "insert into attempts"
        "(task_id, batch_id, run_id, number, ref, state, day, reserved, submitted_at, account, seconds, balance_before,"
        " estimate) select id, batch_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from tasks where id = ?",
        (
            *(stamp.run_id, number, ref, AttemptState.OPEN, day, reserved, stamp.at),
            *(account, seconds, balance, estimate, item.id),
        ),
    ).lastrowid
    if attempt_id is None:
        raise LostRace(f"task {item.id} is gone")
    if used:
        input_files.record(db, item, used)
    also = f", attempts = {number:d}, paid = paid + 1"
    move(db, stamp, item.id, State.QUEUED, Event.SUBMITTED, attempt_id=attempt_id, also=also)
    return Attempt(attempt_id, item.id, number, ref, reserved, stamp.at, estimate=estimate)


def revalue(db: sqlite3.Connection, account: str, price: Callable[[Model, float | None, float], float]) -> None:
    """Raise the reservations of attempts in flight to a real price that was learned.

    `price` returns credits for a model, the length of a target if known, and an estimate.
    """
    sql = (
        "select a.id, t.model, a.seconds, coalesce(a.estimate, a.reserved), a.reserved from tasks t"
        " join attempts a on a.task_id = t.id and a.number = t.attempts"
        f" where t.{IS_OPEN} and t.state <> 'fetching' and {one_of('a.state', RESERVED)} and a.account = ?"
    )
    for attempt_id, model, seconds, estimate, reserved in db.execute(sql, (account,)).fetchall():
        if (now := price(Model(model), seconds, estimate)) > reserved:
            _set(db, attempt_id, reserved=now)


def _set(db: sqlite3.Connection, attempt_id: int, **columns: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"update attempts set {names} where id = ?", (*columns.values(), attempt_id))


def change(db: sqlite3.Connection, attempt_id: int, state: AttemptState, **columns: Any) -> None:
    """Change the state of an attempt. Raise LostRace if its present state may not precede this one."""
    names = "".join(f", {name} = ?" for name in columns)
    sql = f"update attempts set state = ?{names} where id = ? and {one_of('state', attempts_before(state))}"
    if db.execute(sql, (state, *columns.values(), attempt_id)).rowcount != 1:
        raise LostRace(f"attempt {attempt_id} cannot become {state}")


def _known(**values: float | None) -> dict[str, float]:
    """Return the values that the API has sent. A missing value does not replace an earlier one."""
    return {name: value for name, value in values.items() if value is not None}


def refused(db: sqlite3.Connection, stamp: Stamp, item: Attempt, event: Event, *, code: str, reason: str) -> None:
    """Record that an attempt was not accepted, at no cost: REFUSED queues the task again, REJECTED fails it."""
    also = ", paid = paid - 1"
    move(db, stamp, item.task_id, State.SUBMITTING, event, attempt_id=item.id, code=code, reason=reason, also=also)
    change(db, item.id, AttemptState.REFUSED, ended_at=stamp.at, code=code, reason=reason)


def _claim(db: sqlite3.Connection, item: Attempt, remote_id: str) -> None:
    """Raise IdTaken if another attempt has this remote id."""
    owner = owner_of(db, remote_id, item)
    if owner is not None:
        raise IdTaken(f"{remote_id} already belongs to an attempt of {owner}")


def accepted(db: sqlite3.Connection, stamp: Stamp, item: Attempt, remote_id: str) -> None:
    """Record the remote id before it is used (invariant 4). Raise IdTaken."""
    _claim(db, item, remote_id)
    move(db, stamp, item.task_id, State.SUBMITTING, Event.ACCEPTED, attempt_id=item.id, reason=remote_id)
    change(db, item.id, AttemptState.ACCEPTED, accepted_at=stamp.at, remote_id=remote_id)


NAMED = "named"
"""The event of a task id in an answer that does not clearly accept the task."""


def unknown(db: sqlite3.Connection, stamp: Stamp, item: Attempt, *, code: str, reason: str, named: str = "") -> None:
    """Record that an attempt may have been accepted: its credits stay reserved, and it is not sent again.

    `named` is a task id in the answer, as evidence for `show` and `resolve`.
    """
    move(db, stamp, item.task_id, State.SUBMITTING, Event.UNKNOWN, attempt_id=item.id, code=code, reason=reason)
    if named:
        log(db, stamp, NAMED, task_id=item.task_id, attempt_id=item.id, state=State.UNCERTAIN, detail=named)
    change(db, item.id, AttemptState.UNKNOWN, code=code, reason=reason)


def succeeded(
    db: sqlite3.Connection, stamp: Stamp, item: Attempt, media: Media, *, charged: float | None, took: float | None
) -> None:
    """Record the URLs and the cost of a finished task, before the download begins."""
    move(db, stamp, item.task_id, State.RUNNING, Event.SUCCEEDED, attempt_id=item.id)
    known = _known(charged=charged, took=took)
    change(db, item.id, AttemptState.SUCCEEDED, ended_at=stamp.at, media=msgspec.json.encode(media), **known)


def ended_badly(
    db: sqlite3.Connection,
    stamp: Stamp,
    item: Attempt,
    event: Event,
    *,
    charged: float | None = None,
    took: float | None = None,
    code: str,
    reason: str,
) -> None:
    """Record GENERATION_FAILED, PAYABLE_AGAIN or LOST, which end the attempt, with its cost if the API sent one.

    TIMED_OUT ends only the waiting: the attempt does not change.
    """
    move(db, stamp, item.task_id, State.RUNNING, event, attempt_id=item.id, code=code, reason=reason)
    if event is Event.TIMED_OUT:
        return
    state = AttemptState.LOST if event is Event.LOST else AttemptState.FAILED
    change(db, item.id, state, ended_at=stamp.at, code=code, reason=reason, **_known(charged=charged, took=took))


def verified(db: sqlite3.Connection, stamp: Stamp, item: Attempt, *, file: str, size: int, sha256: str) -> None:
    """Record a complete and checked part. It gets its final name only after this is committed."""
    changed = db.execute(
        "update tasks set file = ?, size = ?, sha256 = ? where id = ? and state = 'fetching'",
        (file, size, sha256, item.task_id),
    ).rowcount
    if changed != 1:
        raise LostRace(f"task {item.task_id} is no longer fetching")


def saved(db: sqlite3.Connection, stamp: Stamp, item: Attempt) -> None:
    """Record that the file has its final name (invariant 5)."""
    also = f", replaces = null, stored_by = {stamp.run_id or 'null'}"
    move(db, stamp, item.task_id, State.FETCHING, Event.SAVED, attempt_id=item.id, also=also)


def reused(
    db: sqlite3.Connection, stamp: Stamp, task_id: int, other: Task, *, file: str, size: int, sha256: str
) -> None:
    """Record that another task's result has this task's final name too. Raise LostRace if it does not wait for one."""
    changed = db.execute(
        "update tasks set file = ?, size = ?, sha256 = ?, replaces = null, stored_by = ?"
        " where id = ? and state = 'queued' and reuses is not null",
        (file, size, sha256, stamp.run_id, task_id),
    ).rowcount
    if changed != 1:
        raise LostRace(f"task {task_id} no longer waits for another task's result")
    move(db, stamp, task_id, State.QUEUED, Event.REUSED, reason=f"{other.batch}/{other.key}")


def not_saved(db: sqlite3.Connection, stamp: Stamp, item: Attempt, event: Event, *, code: str, reason: str) -> None:
    """Record STALE (a fresh URL is needed) or UNSAVED (the download failed; media URL and remote id are kept)."""
    if event is Event.STALE:
        ticks.note_url_life(db, item.task_id, stamp.at)
    move(db, stamp, item.task_id, State.FETCHING, event, attempt_id=item.id, code=code, reason=reason)
    if event is Event.STALE:
        reopen(db, item)


def reopen(db: sqlite3.Connection, item: Attempt) -> None:
    """Let the result be requested again. A known cost is reserved again, so the total does not change."""
    change(db, item.id, AttemptState.ACCEPTED, ended_at=None)
    db.execute("update attempts set reserved = coalesce(charged, reserved) where id = ?", (item.id,))


def unfit(db: sqlite3.Connection, stamp: Stamp, task_id: int, *, code: str, reason: str) -> None:
    """Fail a task that cannot be submitted. Nothing was sent, and it has cost nothing."""
    move(db, stamp, task_id, State.QUEUED, Event.UNFIT, code=code, reason=reason)


def find_task(db: sqlite3.Connection, task_id: int) -> Task:
    """Return the task in its current state."""
    sql = f"select {TASK_COLUMNS} from {TASK_FROM} where t.id = ?"
    return task(db.execute(sql, (task_id,)).fetchone())


def recover(db: sqlite3.Connection, stamp: Stamp) -> int:
    """Make tasks uncertain that an earlier run left in `submitting`. Return their number."""
    sql = f"select id from tasks where state = 'submitting' and {IS_OPEN}"
    left = [row[0] for row in db.execute(sql).fetchall()]
    for task_id in left:
        attempt = last_attempt(db, task_id)
        if attempt is None:
            raise LostRace(f"task {task_id} is submitting without an attempt")
        unknown(db, stamp, attempt, code="interrupted", reason="the run ended before the answer was recorded")
    return len(left)


def resent(db: sqlite3.Connection, stamp: Stamp, item: Attempt) -> None:
    """Record that an attempt is sent again with its Idempotency-Key, to a provider that honours the key."""
    move(db, stamp, item.task_id, State.UNCERTAIN, Event.RESENT, attempt_id=item.id)
    change(db, item.id, AttemptState.OPEN, code="", reason="")


def attached(db: sqlite3.Connection, stamp: Stamp, item: Attempt, remote_id: str) -> None:
    """Record that an uncertain attempt was accepted as `remote_id`. Raise IdTaken."""
    _claim(db, item, remote_id)
    move(db, stamp, item.task_id, State.UNCERTAIN, Event.ATTACHED, attempt_id=item.id, reason=remote_id)
    change(db, item.id, AttemptState.ACCEPTED, accepted_at=stamp.at, remote_id=remote_id, code="", reason="")


def note_balance(db: sqlite3.Connection, item: Attempt, *, before: float, after: float) -> None:
    """Record the balances before and after a submit with an unknown outcome, as evidence."""
    _set(db, item.id, balance_before=before, balance_after=after)


def begin_run(
    db: sqlite3.Connection,
    at: float,
    *,
    provider: str,
    account: str,
    out: str = "",
    budget: Budget = NO_BUDGET,
    mode: Mode = "run",
    batches: Sequence[str] = (),
) -> Stamp:
    """Record the start of a run, in a transaction of its own.

    `account` is the fingerprint of its key, and `out` is its folder of results.
    """
    with transaction(db):
        series = ticks.unfinished_series(db, batches) if mode in ticks.MODES else None
        run_id = db.execute(
            "insert into runs(started_at, pid, version, provider, account, out, budget, budget_per_day, mode, batches)"
            " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (at, os.getpid(), __version__, provider, account, out, budget.run, budget.day, mode, ticks.pack(batches)),
        ).lastrowid
        db.execute("update runs set series = coalesce(?, id) where id = ?", (series, run_id))
        stamp = Stamp(at, run_id)
        log(db, stamp, "run-started")
    return stamp


def end_run(db: sqlite3.Connection, stamp: Stamp, *, exit_code: int, summary: str) -> None:
    """Record the end of a run. `summary` is the output of `run --json`."""
    db.execute(
        "update runs set ended_at = ?, exit_code = ?, summary = ? where id = ?",
        (stamp.at, exit_code, summary, stamp.run_id),
    )
    log(db, stamp, "run-ended", detail=summary)
