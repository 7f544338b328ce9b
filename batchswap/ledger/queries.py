"""Queries of a run. Their time does not grow with the number of finished tasks, except for --limit."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.rows import ATTEMPT_COLUMNS, IS_OPEN, IS_WITHDRAWN, TASK_COLUMNS, TASK_FROM, marks, one_of, task
from batchswap.ledger.transitions import find_task, media_urls
from batchswap.states import AttemptState, State
from batchswap.tasks import Attempt, Model, Task


class Credits(msgspec.Struct, frozen=True):
    """Sums of credits. `unpriced` counts ended attempts without a known cost; `assumed` is the sum they reserved."""

    spent: float = 0.0
    reserved: float = 0.0
    assumed: float = 0.0
    unpriced: int = 0


def counts_in(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    """Count the tasks of these batches in each state."""
    parts = [counts(db, name) for name in names]
    return {str(state): sum(part[state] for part in parts) for state in State}


def counts(db: sqlite3.Connection, batch: str | None = None) -> dict[str, int]:
    """Count the tasks of one batch, or of all, in each of the eight states."""
    found = dict.fromkeys(map(str, State), 0)
    where = "" if batch is None else "where b.name = :batch"
    sql = f"select c.state, sum(c.n) from tallies c join batches b on b.id = c.batch_id {where} group by c.state"
    found.update(db.execute(sql, {"batch": batch}).fetchall())
    return found


def batches(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("select name from batches order by name")]


def credits_of(db: sqlite3.Connection, *, batch: str | None = None, run_id: int | None = None) -> Credits:
    """Sum the credits that were spent and are reserved: in all, for a batch, or by the attempts of a run."""
    sql = (
        "select coalesce(sum(spent), 0.0), coalesce(sum(held), 0.0), coalesce(sum(unpriced), 0.0),"
        " coalesce(sum(unpriced_attempts), 0) from money"
    )
    if batch is not None:
        sql += " where batch_id = (select id from batches where name = :batch)"
    elif run_id is not None:
        sql += " where run_id = :run"
    row = db.execute(sql, {"batch": batch, "run": run_id}).fetchone()
    # Adding and subtracting floats leaves small errors.
    spent, held, unpriced = (round(value, DIGITS) + 0.0 for value in row[:3])
    return Credits(spent, held, unpriced, row[3])


def credits_in(db: sqlite3.Connection, names: Iterable[str]) -> Credits:
    """Sum the credits of these batches over all runs."""
    parts = [credits_of(db, batch=name) for name in names]
    return Credits(
        round(sum(part.spent for part in parts), DIGITS),
        round(sum(part.reserved for part in parts), DIGITS),
        round(sum(part.assumed for part in parts), DIGITS),
        sum(part.unpriced for part in parts),
    )


class Unfinished(msgspec.Struct, frozen=True):
    """A paid task that has not ended, with its last attempt and the URLs of its result."""

    task: Task
    attempt: Attempt
    account: str
    owner: str
    """The fingerprint of the key that it was submitted with."""
    since: float
    """The time when the task entered its state (Unix seconds)."""
    series: int
    """The series of ticks that submitted it. A run of another mode is a series by itself."""
    media: tuple[str, ...] = ()


def unfinished(db: sqlite3.Connection, *states: State) -> list[Unfinished]:
    """Return the tasks of all batches in these open states, oldest attempt first."""
    attempt_columns = ", ".join(f"a.{name.strip()}" for name in ATTEMPT_COLUMNS.split(","))
    sql = (
        f"select {TASK_COLUMNS}, {attempt_columns}, a.account, r.account,"
        f" coalesce(t.changed_at, a.submitted_at), r.series, a.media from {TASK_FROM}"
        " join attempts a on a.task_id = t.id and a.number = t.attempts join runs r on r.id = a.run_id"
        f" where {one_of('t.state', states)} and t.{IS_OPEN} order by a.id"
    )
    width = len(TASK_COLUMNS.split(","))
    return [
        Unfinished(
            task(row[:width]),
            Attempt(*row[width:-5]),
            row[-5],
            row[-4],
            row[-3],
            row[-2],
            media_urls(row[-1]),
        )
        for row in db.execute(sql)
    ]


def by_ref(db: sqlite3.Connection, ref: str) -> tuple[Task, Attempt] | None:
    """Return the attempt with this Idempotency-Key, and its task."""
    found = db.execute(f"select {ATTEMPT_COLUMNS} from attempts where ref = ?", (ref,)).fetchone()
    if found is None:
        return None
    item = Attempt(*found)
    return find_task(db, item.task_id), item


def sharing_output(db: sqlite3.Connection, task_ids: Sequence[int]) -> set[int]:
    """Return those of some hundreds of tasks whose output another task has too. One query replaces hundreds."""
    sql = (
        f"select t.id from tasks t where t.id in ({marks(task_ids)}) and exists"
        " (select 1 from tasks o where o.output = t.output and o.id <> t.id and o.state <> 'cancelled')"
    )
    return {task_id for (task_id,) in db.execute(sql, tuple(task_ids))}


def charged(db: sqlite3.Connection, most: int = 500) -> dict[Model, float]:
    """Return the average cost of the last tasks of each model."""
    sql = (
        "select t.model, avg(a.charged) from (select task_id, charged from attempts where charged is not null"
        " order by id desc limit ?) a join tasks t on t.id = a.task_id group by t.model"
    )
    return {Model(model): credits_ for model, credits_ in db.execute(sql, (most,))}


def output_owner(db: sqlite3.Connection, output: str, task_id: int) -> str | None:
    """Return "batch/key" of another task with the same output."""
    sql = (
        "select b.name || '/' || t.key from tasks t join batches b on b.id = t.batch_id"
        " where t.output = ? and t.id <> ? and t.state <> 'cancelled' limit 1"
    )
    row = db.execute(sql, (output, task_id)).fetchone()
    return None if row is None else str(row[0])


def unexplained(db: sqlite3.Connection) -> tuple[int, float] | None:
    """Return the last attempt and the balance before it, if its outcome is unknown and no later balance was read."""
    sql = (
        "select id, balance_before from attempts where id = (select max(id) from attempts)"
        f" and state = '{AttemptState.UNKNOWN}' and balance_before is not null and balance_after is null"
    )
    found: tuple[int, float] | None = db.execute(sql).fetchone()
    return found


class PreviousResult(msgspec.Struct, frozen=True):
    """The records about a task's file before it is fetched.

    `sha256` and `size` describe a checked result that may not have its final name yet. `replaces` is the SHA-256 of the
    file that this task wrote before its row was edited, and may overwrite.
    """

    sha256: str | None
    size: int | None
    replaces: str | None


def previous_result(db: sqlite3.Connection, task_id: int) -> PreviousResult:
    return PreviousResult(*db.execute("select sha256, size, replaces from tasks where id = ?", (task_id,)).fetchone())


def secret(db: sqlite3.Connection) -> bytes:
    """Return the secret from which callback paths are derived. It must never be shown."""
    return bytes(db.execute("select value from meta where name = 'secret'").fetchone()[0])


class Past(msgspec.Struct, frozen=True):
    """The time that a task took at the API, and the length of its target if known, in seconds."""

    model: Model
    took: float
    seconds: float | None = None


class Charge(msgspec.Struct, frozen=True):
    """The cost of a task, and its estimate. `is_done`: it succeeded."""

    model: Model
    seconds: float | None
    estimate: float
    charged: float
    is_done: bool


def charges(db: sqlite3.Connection, account: str, most: int = 500) -> list[Charge]:
    """Return the last attempts of the account with a known cost, newest first."""
    sql = (
        f"select t.model, a.seconds, coalesce(a.estimate, a.reserved), a.charged, a.state = '{AttemptState.SUCCEEDED}'"
        " from (select * from attempts indexed by attempts_charged where charged is not null"
        " order by id desc limit ?) a join tasks t on t.id = a.task_id where a.account = ?"
    )
    return [
        Charge(Model(model), seconds, estimate, charged, bool(is_done))
        for model, seconds, estimate, charged, is_done in db.execute(sql, (most, account))
    ]


def took(db: sqlite3.Connection, most: int = 500) -> list[Past]:
    """Return the durations of the last tasks that ended, oldest first."""
    sql = (
        "select t.model, a.took, a.seconds from attempts a indexed by attempts_took join tasks t on t.id = a.task_id"
        " where a.took is not null order by a.id desc limit ?"
    )
    rows = db.execute(sql, (most,)).fetchall()
    return [Past(Model(model), took_, seconds) for model, took_, seconds in reversed(rows)]


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A stored result. `out` is the folder of the run that stored it, "" if unknown. `at` is Unix time.

    The user has rejected it if `is_rejected`: then its file has another name than `output`, and may be deleted. If its
    release was withdrawn, the file may be deleted, too.
    """

    id: int
    batch: str
    key: str
    file: str
    size: int
    sha256: str
    out: str
    at: float
    output: str
    is_rejected: bool
    is_withdrawn: bool

    def paths(self, out: str) -> Iterator[str]:
        """Yield the possible paths: the one where it was stored, then the one below this absolute `out`."""
        for folder in self.folders(out):
            yield f"{folder}/{self.file}"

    def folders(self, out: str) -> Iterator[str]:
        """Yield the possible folders of `file`: that of the run which stored it, then this absolute `out`."""
        if self.out and self.out != out:
            yield self.out
        yield out


STORED = (
    "t.id, b.name, t.key, t.file, t.size, t.sha256, coalesce(r.out, ''), coalesce(t.changed_at, 0.0), t.output,"
    " coalesce((select d.review = 'rejected' from deliveries d where d.task_id = t.id), 0),"
    f" {IS_WITHDRAWN}"
)
STORED_FROM = "tasks t {} join batches b on b.id = t.batch_id left join runs r on r.id = t.stored_by"


def stored(db: sqlite3.Connection, batches: Sequence[str], most: int) -> Iterator[Stored]:
    """Yield the last `most` results of these batches."""
    sql = (
        f"select {STORED} from {STORED_FROM.format('not indexed')}"
        f" where b.name in ({marks(batches)}) and t.state = 'done' and t.file is not null"
        " and t.generation = b.generation order by t.id desc limit ?"
    )
    for row in db.execute(sql, (*batches, most)):
        yield Stored(*row)


def all_stored(db: sqlite3.Connection) -> Iterator[Stored]:
    """Yield all results, also those whose row has left the manifest. No query stays open in between."""
    sql = (
        f"select {STORED} from {STORED_FROM.format('not indexed')}"
        " where t.id > ? and t.state = 'done' and t.file is not null order by t.id limit 1000"
    )
    last = 0
    while rows := db.execute(sql, (last,)).fetchall():
        yield from (Stored(*row) for row in rows)
        last = rows[-1][0]


def with_content(db: sqlite3.Connection, hashes: Sequence[str]) -> dict[str, str]:
    """Return "batch/key" of a result for those of some hundreds of SHA-256 that any result has. Reads all tasks."""
    sql = (
        "select t.sha256, min(b.name || '/' || t.key) from tasks t join batches b on b.id = t.batch_id"
        f" where t.state = 'done' and t.sha256 in ({marks(hashes)}) group by t.sha256"
    )
    return dict(db.execute(sql, tuple(hashes)).fetchall())


def stored_by(db: sqlite3.Connection, task_id: int) -> Stored | None:
    """Return the result of one done task."""
    sql = f"select {STORED} from {STORED_FROM.format('')} where t.id = ? and t.state = 'done' and t.file is not null"
    row = db.execute(sql, (task_id,)).fetchone()
    return None if row is None else Stored(*row)


def queued_outputs(db: sqlite3.Connection, batches: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the queued rows of these batches as ("batch/key", output)."""
    sql = (
        "select ? || '/' || t.key, t.output from batches b cross join tasks t indexed by tasks_queued"
        " on t.batch_id = b.id where b.name = ? and t.state = 'queued' and t.generation = b.generation"
    )
    for batch in batches:
        yield from db.execute(sql, (batch, batch))
