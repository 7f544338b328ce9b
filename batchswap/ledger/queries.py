"""Every question that a run asks of the ledger. None but --limit's costs more because tasks have finished."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from batchswap.ledger.budgets import DIGITS
from batchswap.ledger.rows import ATTEMPT_COLUMNS, IS_OPEN, TASK_COLUMNS, TASK_FROM, attempt, one_of, task
from batchswap.ledger.transitions import Media
from batchswap.states import AttemptState, State
from batchswap.tasks import Attempt, Model, Task


class Credits(msgspec.Struct, frozen=True):
    """Money in credits. `unpriced` counts ended attempts without a known cost; `assumed` is what they reserved."""

    spent: float = 0.0
    reserved: float = 0.0
    assumed: float = 0.0
    unpriced: int = 0


def counts_in(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    """Tasks in each state, of these batches."""
    parts = [counts(db, name) for name in names]
    return {str(state): sum(part[state] for part in parts) for state in State}


def counts(db: sqlite3.Connection, batch: str | None = None) -> dict[str, int]:
    """Tasks in each state, all eight named; of one batch, or of all."""
    found = dict.fromkeys(map(str, State), 0)
    sql = "select c.state, sum(c.n) from tallies c join batches b on b.id = c.batch_id"
    rows = (
        db.execute(f"{sql} group by c.state")
        if batch is None
        else db.execute(f"{sql} where b.name = ? group by c.state", (batch,))
    )
    found.update(rows.fetchall())
    return found


def batches(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("select name from batches order by name")]


def credits_of(db: sqlite3.Connection, *, batch: str | None = None, run_id: int | None = None) -> Credits:
    """What was spent and is reserved: in all, of a batch, or by a run's own attempts."""
    sql = (
        "select coalesce(sum(spent), 0.0), coalesce(sum(held), 0.0), coalesce(sum(unpriced), 0.0),"
        " coalesce(sum(unpriced_attempts), 0) from money"
    )
    if batch is not None:
        row = db.execute(f"{sql} where batch_id = (select id from batches where name = ?)", (batch,)).fetchone()
    elif run_id is not None:
        row = db.execute(f"{sql} where run_id = ?", (run_id,)).fetchone()
    else:
        row = db.execute(sql).fetchone()
    # Sums of added and subtracted floats leave dust behind.
    spent, held, unpriced = (round(value, DIGITS) + 0.0 for value in row[:3])
    return Credits(spent, held, unpriced, row[3])


def credits_in(db: sqlite3.Connection, names: Iterable[str]) -> Credits:
    """What these batches have cost and may still cost, over all runs."""
    parts = [credits_of(db, batch=name) for name in names]
    return Credits(
        round(sum(part.spent for part in parts), DIGITS),
        round(sum(part.reserved for part in parts), DIGITS),
        round(sum(part.assumed for part in parts), DIGITS),
        sum(part.unpriced for part in parts),
    )


class Unfinished(msgspec.Struct, frozen=True):
    """A task that is paid for and not at its end, with the attempt that matters and where its result lies."""

    task: Task
    attempt: Attempt
    account: str
    owner: str
    """The fingerprint of the key that it was submitted with."""
    since: float
    """When the task came into its state (Unix seconds)."""
    media: tuple[str, ...] = ()


def unfinished(db: sqlite3.Connection, *states: State) -> list[Unfinished]:
    """All tasks in these states (of those that a run leaves open), of every batch, oldest attempt first."""
    attempt_columns = ", ".join(f"a.{name.strip()}" for name in ATTEMPT_COLUMNS.split(","))
    sql = (
        f"select {TASK_COLUMNS}, {attempt_columns}, a.account, r.account,"
        f" coalesce(t.changed_at, a.submitted_at), a.media from {TASK_FROM}"
        " join attempts a on a.task_id = t.id and a.number = t.attempts join runs r on r.id = a.run_id"
        f" where {one_of('t.state', states)} and t.{IS_OPEN} order by a.id"
    )
    width = len(TASK_COLUMNS.split(","))
    return [
        Unfinished(
            task(row[:width]),
            attempt(row[width:-4]),
            row[-4],
            row[-3],
            row[-2],
            msgspec.json.decode(row[-1], type=Media).urls if row[-1] else (),
        )
        for row in db.execute(sql)
    ]


def by_ref(db: sqlite3.Connection, ref: str) -> tuple[Task, Attempt] | None:
    """The attempt that carries this Idempotency-Key, and its task."""
    found = db.execute(f"select {ATTEMPT_COLUMNS} from attempts where ref = ?", (ref,)).fetchone()
    if found is None:
        return None
    item = attempt(found)
    row = db.execute(f"select {TASK_COLUMNS} from {TASK_FROM} where t.id = ?", (item.task_id,)).fetchone()
    return task(row), item


def sharing_output(db: sqlite3.Connection, task_ids: Sequence[int]) -> set[int]:
    """Those of some hundreds of tasks whose file another task writes too; one question in place of hundreds."""
    sql = (
        f"select t.id from tasks t where t.id in ({', '.join('?' * len(task_ids))}) and exists"
        " (select 1 from tasks o where o.output = t.output and o.id <> t.id and o.state <> 'cancelled')"
    )
    return {task_id for (task_id,) in db.execute(sql, tuple(task_ids))}


def charged(db: sqlite3.Connection, most: int = 500) -> dict[Model, float]:
    """Credits that the last tasks of each model cost on average."""
    sql = (
        "select t.model, avg(a.charged) from (select task_id, charged from attempts where charged is not null"
        " order by id desc limit ?) a join tasks t on t.id = a.task_id group by t.model"
    )
    return {Model(model): credits_ for model, credits_ in db.execute(sql, (most,))}


def output_owner(db: sqlite3.Connection, output: str, task_id: int) -> str | None:
    """The key of another task that writes the same file, as "batch/key"."""
    sql = (
        "select b.name || '/' || t.key from tasks t join batches b on b.id = t.batch_id"
        " where t.output = ? and t.id <> ? and t.state <> 'cancelled' limit 1"
    )
    row = db.execute(sql, (output, task_id)).fetchone()
    return None if row is None else str(row[0])


def unexplained(db: sqlite3.Connection) -> tuple[int, float] | None:
    """The last attempt of all and the balance before it, if it is unclear and the balance after it was never read."""
    sql = (
        "select id, balance_before from attempts where id = (select max(id) from attempts)"
        f" and state = '{AttemptState.UNKNOWN}' and balance_before is not null and balance_after is null"
    )
    found: tuple[int, float] | None = db.execute(sql).fetchone()
    return found


class PreviousResult(msgspec.Struct, frozen=True):
    """What the ledger knows of a task's file before it is fetched.

    `sha256` and `size`: of a checked result, recorded before it gets its final name. `replaces`: SHA-256 of the file
    that this task wrote before its row was edited, and may write over.
    """

    sha256: str | None
    size: int | None
    replaces: str | None


def previous_result(db: sqlite3.Connection, task_id: int) -> PreviousResult:
    return PreviousResult(*db.execute("select sha256, size, replaces from tasks where id = ?", (task_id,)).fetchone())


def secret(db: sqlite3.Connection) -> bytes:
    """What callback paths are derived from. Never to be shown."""
    return bytes(db.execute("select value from meta where name = 'secret'").fetchone()[0])


class Past(msgspec.Struct, frozen=True):
    """How long a task took at the API, and how long its target is, where that was known. Both in seconds."""

    model: Model
    took: float
    seconds: float | None = None


class Charge(msgspec.Struct, frozen=True):
    """What a task cost, and what was estimated. `is_done`: it succeeded."""

    model: Model
    seconds: float | None
    estimate: float
    charged: float
    is_done: bool


def charges(db: sqlite3.Connection, account: str, most: int = 500) -> list[Charge]:
    """The last attempts that the account's API priced, newest first."""
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
    """The last tasks that ended, oldest first: what later runs start from."""
    sql = (
        "select t.model, a.took, a.seconds from attempts a indexed by attempts_took join tasks t on t.id = a.task_id"
        " where a.took is not null order by a.id desc limit ?"
    )
    rows = db.execute(sql, (most,)).fetchall()
    return [Past(Model(model), took_, seconds) for model, took_, seconds in reversed(rows)]


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A stored result. `out`: the folder of the run that stored it, "" where that is not known. `at`: Unix time."""

    id: int
    batch: str
    key: str
    file: str
    size: int
    sha256: str
    out: str
    at: float

    def paths(self, out: str) -> Iterator[str]:
        """Where it may be: where it was stored, then below this `out`, which is absolute."""
        if self.out and self.out != out:
            yield f"{self.out}/{self.file}"
        yield f"{out}/{self.file}"


_STORED = "t.id, b.name, t.key, t.file, t.size, t.sha256, coalesce(r.out, ''), coalesce(t.changed_at, 0.0)"
_STORED_FROM = "tasks t {} join batches b on b.id = t.batch_id left join runs r on r.id = t.stored_by"


def stored(db: sqlite3.Connection, batches: Sequence[str], most: int) -> Iterator[Stored]:
    """The last `most` results of these batches."""
    sql = (
        f"select {_STORED} from {_STORED_FROM.format('not indexed')}"
        f" where b.name in ({', '.join('?' * len(batches))}) and t.state = 'done' and t.file is not null"
        " and t.generation = b.generation order by t.id desc limit ?"
    )
    for row in db.execute(sql, (*batches, most)):
        yield Stored(*row)


def stored_by(db: sqlite3.Connection, task_id: int) -> Stored | None:
    """The result of one done task."""
    sql = f"select {_STORED} from {_STORED_FROM.format('')} where t.id = ? and t.state = 'done' and t.file is not null"
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
