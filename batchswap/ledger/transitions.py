"""Every write that a run makes. Each is work for the writer: it runs inside a transaction that others share.

A task moves only from the state that we believe it is in, and every move is logged in the same transaction.
`at` is Unix time in seconds, money is credits.
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
from batchswap.states import RESERVED, AttemptState, Event, State, advance, attempts_before
from batchswap.tasks import Attempt, Model, Task


class Stamp(msgspec.Struct, frozen=True):
    """When, and in which run (None: outside of a run)."""

    at: float
    run_id: int | None


class Media(msgspec.Struct, frozen=True):
    """Where a finished task's result lies. Temporary, and often signed."""

    urls: tuple[str, ...]


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
    """Move a task on, and log it. Raises LostRace when it is not in `state`, IllegalMove when no table has the move.

    `also`: more assignments for the same update, such as ", paid = paid - 1".
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
    """The intent: the attempt, before its CreateTask may leave (invariants 1, 2 and 7). Raises OverBudget, LostRace.

    `seconds`: of the target, where they are known. `balance`: before it, if nothing else is in flight. `used`: the
    local files that are its inputs. `day`: that it counts for, where another process has said so.
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
            stamp.run_id,
            number,
            ref,
            AttemptState.OPEN,
            day,
            reserved,
            stamp.at,
            account,
            seconds,
            balance,
            estimate,
            item.id,
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
    """A real price was learned: what is in flight reserves no less than it.

    `price` tells credits by a model, the seconds of a target where they are known, and an estimate.
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
    """Change the state of an attempt. Raise LostRace when it is in no state that may precede this one."""
    names = "".join(f", {name} = ?" for name in columns)
    sql = f"update attempts set state = ?{names} where id = ? and {one_of('state', attempts_before(state))}"
    if db.execute(sql, (state, *columns.values(), attempt_id)).rowcount != 1:
        raise LostRace(f"attempt {attempt_id} cannot become {state}")


def _told(**values: float | None) -> dict[str, float]:
    """What the API says, and only that: what it once said is not forgotten when it says nothing the next time."""
    return {name: value for name, value in values.items() if value is not None}


def refused(db: sqlite3.Connection, stamp: Stamp, item: Attempt, event: Event, *, code: str, reason: str) -> None:
    """Known not to be accepted: REFUSED puts the task back into the queue, REJECTED fails it. Nothing was paid."""
    also = ", paid = paid - 1"
    move(db, stamp, item.task_id, State.SUBMITTING, event, attempt_id=item.id, code=code, reason=reason, also=also)
    change(db, item.id, AttemptState.REFUSED, ended_at=stamp.at, code=code, reason=reason)


def _claim(db: sqlite3.Connection, item: Attempt, remote_id: str) -> None:
    """One remote task belongs to one attempt."""
    owner = owner_of(db, remote_id, item)
    if owner is not None:
        raise IdTaken(f"{remote_id} belongs to an attempt of {owner} already")


def accepted(db: sqlite3.Connection, stamp: Stamp, item: Attempt, remote_id: str) -> None:
    """The remote id, before anything is done with it (invariant 4). Raises IdTaken."""
    _claim(db, item, remote_id)
    move(db, stamp, item.task_id, State.SUBMITTING, Event.ACCEPTED, attempt_id=item.id, reason=remote_id)
    change(db, item.id, AttemptState.ACCEPTED, accepted_at=stamp.at, remote_id=remote_id)


NAMED = "named"
"""The log's word for a task id that came with an answer which is no clear acceptance."""


def unknown(db: sqlite3.Connection, stamp: Stamp, item: Attempt, *, code: str, reason: str, named: str = "") -> None:
    """Nobody knows whether it was accepted: its credits stay reserved and it is never sent again by itself.

    `named` is a task id that came with the answer: evidence, for `show` and `resolve`.
    """
    move(db, stamp, item.task_id, State.SUBMITTING, Event.UNKNOWN, attempt_id=item.id, code=code, reason=reason)
    if named:
        log(db, stamp, NAMED, task_id=item.task_id, attempt_id=item.id, state=State.UNCERTAIN, detail=named)
    change(db, item.id, AttemptState.UNKNOWN, code=code, reason=reason)


def succeeded(
    db: sqlite3.Connection, stamp: Stamp, item: Attempt, media: Media, *, charged: float | None, took: float | None
) -> None:
    """The API says success: where the result lies and what it cost, before the download begins."""
    move(db, stamp, item.task_id, State.RUNNING, Event.SUCCEEDED, attempt_id=item.id)
    known = _told(charged=charged, took=took)
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
    """GENERATION_FAILED, PAYABLE_AGAIN or LOST: the attempt is over; what it cost is recorded where the API says it.

    TIMED_OUT: only the waiting is over, the attempt stays as it is.
    """
    move(db, stamp, item.task_id, State.RUNNING, event, attempt_id=item.id, code=code, reason=reason)
    if event is Event.TIMED_OUT:
        return
    state = AttemptState.LOST if event is Event.LOST else AttemptState.FAILED
    change(db, item.id, state, ended_at=stamp.at, code=code, reason=reason, **_told(charged=charged, took=took))


def verified(db: sqlite3.Connection, stamp: Stamp, item: Attempt, *, file: str, size: int, sha256: str) -> None:
    """The part is complete and checked; it gets its final name only after this is committed."""
    changed = db.execute(
        "update tasks set file = ?, size = ?, sha256 = ? where id = ? and state = 'fetching'",
        (file, size, sha256, item.task_id),
    ).rowcount
    if changed != 1:
        raise LostRace(f"task {item.task_id} is no longer fetching")


def saved(db: sqlite3.Connection, stamp: Stamp, item: Attempt) -> None:
    """The file stands under its final name (invariant 5)."""
    also = f", replaces = null, stored_by = {stamp.run_id or 'null'}"
    move(db, stamp, item.task_id, State.FETCHING, Event.SAVED, attempt_id=item.id, also=also)


def reused(
    db: sqlite3.Connection, stamp: Stamp, task_id: int, other: Task, *, file: str, size: int, sha256: str
) -> None:
    """Another task's result has this task's final name, too. Raises LostRace unless that was decided for this task."""
    changed = db.execute(
        "update tasks set file = ?, size = ?, sha256 = ?, replaces = null, stored_by = ?"
        " where id = ? and state = 'queued' and reuses is not null",
        (file, size, sha256, stamp.run_id, task_id),
    ).rowcount
    if changed != 1:
        raise LostRace(f"task {task_id} no longer waits for another task's result")
    move(db, stamp, task_id, State.QUEUED, Event.REUSED, reason=f"{other.batch}/{other.key}")


def not_saved(db: sqlite3.Connection, stamp: Stamp, item: Attempt, event: Event, *, code: str, reason: str) -> None:
    """STALE: TaskInfo must give a fresh URL. UNSAVED: given up; media URL and remote id are kept."""
    move(db, stamp, item.task_id, State.FETCHING, event, attempt_id=item.id, code=code, reason=reason)
    if event is Event.STALE:
        reopen(db, item)


def reopen(db: sqlite3.Connection, item: Attempt) -> None:
    """Its result is asked for again. What it is known to have cost goes on counting, as reserved: no more, no less."""
    change(db, item.id, AttemptState.ACCEPTED, ended_at=None)
    db.execute("update attempts set reserved = coalesce(charged, reserved) where id = ?", (item.id,))


def unfit(db: sqlite3.Connection, stamp: Stamp, task_id: int, *, code: str, reason: str) -> None:
    """The task cannot be submitted as it is; nothing was sent and nothing was paid."""
    move(db, stamp, task_id, State.QUEUED, Event.UNFIT, code=code, reason=reason)


def find_task(db: sqlite3.Connection, task_id: int) -> Task:
    """The task as it stands."""
    sql = f"select {TASK_COLUMNS} from {TASK_FROM} where t.id = ?"
    return task(db.execute(sql, (task_id,)).fetchone())


def recover(db: sqlite3.Connection, stamp: Stamp) -> int:
    """What an earlier run left in `submitting` died there: nobody knows. Returns how many there were."""
    sql = f"select id from tasks where state = 'submitting' and {IS_OPEN}"
    left = [row[0] for row in db.execute(sql).fetchall()]
    for task_id in left:
        attempt = last_attempt(db, task_id)
        if attempt is None:
            raise LostRace(f"task {task_id} is submitting without an attempt")
        unknown(db, stamp, attempt, code="interrupted", reason="the run ended before the answer was recorded")
    return len(left)


def resent(db: sqlite3.Connection, stamp: Stamp, item: Attempt) -> None:
    """The same attempt is sent again, under its own Idempotency-Key, to a provider that honours it."""
    move(db, stamp, item.task_id, State.UNCERTAIN, Event.RESENT, attempt_id=item.id)
    change(db, item.id, AttemptState.OPEN, code="", reason="")


def attached(db: sqlite3.Connection, stamp: Stamp, item: Attempt, remote_id: str) -> None:
    """An uncertain attempt was accepted after all, as `remote_id`. Raises IdTaken."""
    _claim(db, item, remote_id)
    move(db, stamp, item.task_id, State.UNCERTAIN, Event.ATTACHED, attempt_id=item.id, reason=remote_id)
    change(db, item.id, AttemptState.ACCEPTED, accepted_at=stamp.at, remote_id=remote_id, code="", reason="")


def note_balance(db: sqlite3.Connection, item: Attempt, *, before: float, after: float) -> None:
    """The account's balance around a submit that nobody knows the end of: evidence, not proof."""
    _set(db, item.id, balance_before=before, balance_after=after)


def begin_run(
    db: sqlite3.Connection, at: float, *, provider: str, account: str, out: str = "", budget: Budget = NO_BUDGET
) -> Stamp:
    """A run has started, on `provider`, with the key whose fingerprint is `account`. `out`: its folder of results."""
    run_id = db.execute(
        "insert into runs(started_at, pid, version, provider, account, out, budget, budget_per_day)"
        " values(?, ?, ?, ?, ?, ?, ?, ?)",
        (at, os.getpid(), __version__, provider, account, out, budget.run, budget.day),
    ).lastrowid
    stamp = Stamp(at, run_id)
    log(db, stamp, "run-started")
    return stamp


def end_run(db: sqlite3.Connection, stamp: Stamp, *, exit_code: int, summary: str) -> None:
    """The run is over; `summary` is what `run --json` prints."""
    db.execute(
        "update runs set ended_at = ?, exit_code = ?, summary = ? where id = ?",
        (stamp.at, exit_code, summary, stamp.run_id),
    )
    log(db, stamp, "run-ended", detail=summary)
