"""Add attempts to the ledger that were not made with it: from the submission log, or by a user's command.

Nothing here leads to a submit. The caller holds the ledger's lock and a transaction.
"""

import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator

import msgspec

from batchswap import __version__
from batchswap.errors import UsageError
from batchswap.ledger import deliveries, operator_actions
from batchswap.ledger.budgets import local_day
from batchswap.ledger.rows import ATTEMPT_COLUMNS, TASK_COLUMNS, TASK_FROM, last_attempt, task
from batchswap.ledger.submission_log.attempts import Logged
from batchswap.ledger.transitions import NAMED, Media, Stamp, find_task, log, move, saved, succeeded, verified
from batchswap.states import RESERVED, UNDONE, AttemptState, Event, Review, State
from batchswap.tasks import Attempt, Task


class Adopted(msgspec.Struct):
    """The numbers of tasks that are running or uncertain now, and of attempts that fit no row."""

    running: int = 0
    uncertain: int = 0
    left: int = 0


def keep(db: sqlite3.Connection, found: Iterable[Logged], accounts: dict[str, str], base_url: str) -> None:
    """Store attempts that are not in the ledger until a row with their inputs is enrolled.

    `accounts` maps the fingerprint of a key to its provider; `base_url` is the provider of all other keys.
    """
    db.executemany(
        "insert or ignore into logged values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(each.ref, each.batch, each.key, each.digest, each.number, each.state, each.remote_id),
                *(accounts.get(each.owner, base_url), each.owner, each.at, each.reserved, each.charged),
            )
            for each in found
        ),
    )


def fitting(db: sqlite3.Connection, found: Iterable[Logged]) -> Iterator[Logged]:
    """Yield the attempts that have the inputs of a row without an attempt in progress."""
    sql = (
        "select t.state from tasks t join batches b on b.id = t.batch_id"
        " where b.name = ? and t.key = ? and t.digest = ?"
    )
    for each in found:
        row = db.execute(sql, (each.batch, each.key, each.digest)).fetchone()
        if row is not None and row[0] in UNDONE and not is_known(db, each.ref):
            yield each


def is_known(db: sqlite3.Connection, ref: str) -> bool:
    """Return whether the ledger has this attempt, with or without a row."""
    sql = "select 1 from attempts where ref = ?1 union all select 1 from logged where ref = ?1"
    return db.execute(sql, (ref,)).fetchone() is not None


def accounts_of(db: sqlite3.Connection) -> dict[str, str]:
    """Map the fingerprints of keys to the providers that this ledger has used them for."""
    sql = "select distinct r.account, a.account from runs r join attempts a on a.run_id = r.id"
    return dict(db.execute(sql).fetchall())


class _KeptAttempt(msgspec.Struct, frozen=True):
    """A row of `logged`."""

    ref: str
    number: int
    state: str
    remote_id: str | None
    account: str
    owner: str
    at: float
    reserved: float
    charged: float | None

    @property
    def is_accepted(self) -> bool:
        """True if the API has accepted it. A task id in an unclear answer is not enough."""
        return self.remote_id is not None and self.state != AttemptState.UNKNOWN


def attach_kept(db: sqlite3.Connection, stamp: Stamp) -> Adopted:
    """Attach the attempts of `logged` to the tasks that have their inputs."""
    done, last = Adopted(), ("", "")
    page = "select distinct batch, key from logged where (batch, key) > (?, ?) order by batch, key limit 1000"
    while names := db.execute(page, last).fetchall():
        for batch, key in names:
            _attach(db, stamp, batch, key, done)
        last = names[-1]
    done.left = int(db.execute("select count(*) from logged").fetchone()[0])
    return done


def _attach(db: sqlite3.Connection, stamp: Stamp, batch: str, key: str, done: Adopted) -> None:
    row = db.execute(f"select {TASK_COLUMNS} from {TASK_FROM} where b.name = ? and t.key = ?", (batch, key)).fetchone()
    if row is None or (found := task(row)).state not in (*UNDONE, State.DONE):
        return
    sql = (
        "select ref, number, state, remote_id, account, owner, submitted_at, reserved, charged from logged"
        " where batch = ? and key = ? and digest = ? order by number, submitted_at"
    )
    kept = [_KeptAttempt(*each) for each in db.execute(sql, (batch, key, found.digest)).fetchall()]
    kept = [each for each in kept if each.remote_id is None or not _is_taken(db, each.remote_id, each.account)]
    if found.state is State.DONE:
        # This ledger is a copy from before the user had the task redone: its result is not the wanted one.
        if not any(each.number > found.attempts for each in kept):
            return
        operator_actions.redo(db, stamp, found)
        found = find_task(db, found.id)
    for each in kept[:-1]:  # the API has ended these, because a later attempt follows
        state = AttemptState.LOST if each.is_accepted else AttemptState.GIVEN_UP
        _insert(db, find_task(db, found.id), each, state, run_with(db, stamp.at, each.owner))
    for each in kept[-1:]:
        event = Event.ADOPTED if each.is_accepted else Event.DOUBTED
        state = AttemptState.ACCEPTED if each.is_accepted else AttemptState.UNKNOWN
        new = _insert(db, find_task(db, found.id), each, state, run_with(db, stamp.at, each.owner))
        reason = str(each.remote_id) if each.is_accepted else "the log of submits does not tell whether it was accepted"
        move(db, stamp, found.id, found.state, event, attempt_id=new.id, reason=reason)
        if each.remote_id and not each.is_accepted:
            log(db, stamp, NAMED, task_id=found.id, attempt_id=new.id, state=State.UNCERTAIN, detail=each.remote_id)
        done.running += event is Event.ADOPTED
        done.uncertain += event is Event.DOUBTED
    db.executemany("delete from logged where ref = ?", [(each.ref,) for each in kept])


def run_with(db: sqlite3.Connection, at: float, owner: str) -> int:
    """Return the last ended run with this key, or add one, because every attempt belongs to a run."""
    row = db.execute("select max(id) from runs where account = ? and ended_at is not null", (owner,)).fetchone()
    if row[0] is not None:
        return int(row[0])
    new = db.execute(
        "insert into runs(started_at, ended_at, pid, version, provider, account, exit_code)"
        " values(?1, ?1, ?2, ?3, 'crun', ?4, 0)",
        (at, os.getpid(), __version__, owner),
    )
    return int(new.lastrowid or 0)


def _is_taken(db: sqlite3.Connection, remote_id: str, account: str) -> bool:
    sql = "select 1 from attempts where remote_id = ? and account = ? limit 1"
    return db.execute(sql, (remote_id, account)).fetchone() is not None


def _insert(db: sqlite3.Connection, item: Task, kept: _KeptAttempt, state: AttemptState, run_id: int) -> Attempt:
    """Insert the attempt as the task's last one."""
    number = max(item.attempts + 1, kept.number)
    ended = None if state in RESERVED else kept.at
    [row] = db.execute(
        "insert into attempts(task_id, batch_id, run_id, number, ref, state, day, reserved, charged, submitted_at,"
        " accepted_at, ended_at, remote_id, account)"
        f" select id, batch_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from tasks where id = ? returning {ATTEMPT_COLUMNS}",
        (
            *(run_id, number, kept.ref, state, local_day(kept.at), kept.reserved, kept.charged, kept.at),
            *(kept.at if kept.is_accepted else None, ended),
            *(kept.remote_id if kept.is_accepted else None, kept.account, item.id),
        ),
    )
    db.execute("update tasks set attempts = ?, paid = paid + 1 where id = ?", (number, item.id))
    return Attempt(*row)


def adopt(db: sqlite3.Connection, stamp: Stamp, item: Task, remote_id: str, *, account: str, owner: str) -> Attempt:
    """Give a task the remote id of a task at the API, as the user commands. Raise UsageError.

    The task gets an attempt that this ledger has never sent.
    """
    if _is_taken(db, remote_id, account):
        raise UsageError(f"{remote_id} already belongs to another task of this ledger")
    if item.state not in UNDONE:
        words = "only queued, failed, cancelled and uncertain tasks can adopt a task id"
        raise UsageError(f"{item.batch}/{item.key} is {item.state}: {words}")
    kept = _KeptAttempt(str(uuid.uuid4()), 0, AttemptState.ACCEPTED, remote_id, account, owner, stamp.at, 0.0, None)
    new = _insert(db, item, kept, AttemptState.ACCEPTED, run_with(db, stamp.at, owner))
    move(db, stamp, item.id, item.state, Event.ADOPTED, attempt_id=new.id, reason=remote_id)
    return new


def finish(
    db: sqlite3.Connection, stamp: Stamp, item: Task, *, file: str, size: int, sha256: str, charged: float | None
) -> None:
    """Finish a running task whose checked result already has its final name, or that of a rejected file."""
    last = last_attempt(db, item.id)
    if last is None or item.state is not State.RUNNING:
        return
    succeeded(db, stamp, last, Media(()), charged=charged, took=None)
    verified(db, stamp, last, file=file, size=size, sha256=sha256)
    saved(db, stamp, last)
    if file != item.output:
        deliveries.review(db, stamp, item.id, Review.REJECTED)
