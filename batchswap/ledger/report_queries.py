"""Read-only queries for `status`, `tasks`, `show` and `plan`. Lists of tasks are streamed."""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from batchswap.ledger.rows import IS_IN, IS_OPEN, IS_WITHDRAWN, TASK_COLUMNS, marks, one_of, task, unpack_faces
from batchswap.ledger.transitions import media_urls
from batchswap.states import COSTS_MONEY, DOUBTFUL, Quality, Review, State
from batchswap.tasks import Faces, Task


class Run(msgspec.Struct, frozen=True):
    """A run. `ended_at` None: it is in progress, or was killed. `summary` is the output of `run --json`."""

    id: int
    started_at: float
    ended_at: float | None
    pid: int
    provider: str
    exit_code: int | None
    summary: str | None


NOT_REVIEWED = "none"
"""The name of results without a review, as a filter."""
NOT_SETTLED = "doubtful"
"""The name of results that need the user's review, as a filter."""


class TaskLine(msgspec.Struct, frozen=True):
    """One task in a list. `spent` is None if the API gave no price for one of its attempts."""

    id: int
    batch: str
    key: str
    state: str
    code: str
    reason: str
    model: str
    target: str
    face: str
    output: str
    consent: str
    tags: str
    extra: str
    attempts: int
    file: str | None
    size: int | None
    sha256: str | None
    changed_at: float | None
    line: int
    spent: float | None
    remote_id: str | None
    packed_faces: bytes | None = None
    quality: str | None = None
    """None: the task has no result."""
    share: float | None = None
    score: float | None = None
    review: str = ""
    note: str = ""
    evidence: bytes | None = None
    strip: str = ""
    is_signed: bool = False
    is_withdrawn: bool = False

    @property
    def faces(self) -> Faces:
        """The new faces of a row that has several."""
        return unpack_faces(self.packed_faces)


class AttemptRow(msgspec.Struct, frozen=True):
    """One attempt. `state` is an AttemptState."""

    id: int
    number: int
    ref: str
    run_id: int
    state: str
    account: str
    reserved: float
    charged: float | None
    submitted_at: float
    accepted_at: float | None
    ended_at: float | None
    took: float | None
    remote_id: str | None
    code: str
    reason: str
    media: tuple[str, ...]
    balance_before: float | None
    balance_after: float | None


class EventRow(msgspec.Struct, frozen=True):
    """One entry of a task's log."""

    at: float
    run_id: int | None
    event: str
    state: str
    detail: str


_QUALITY = f"iif(t.state = '{State.DONE}', coalesce(d.quality, '{Quality.UNKNOWN}'), null)"
_LINE_SQL = f"""
    select t.id, b.name, t.key, t.state, t.code, t.reason, t.model, t.target, t.face, t.output, t.consent, t.tags,
        t.extra, t.attempts, t.file, t.size, t.sha256, t.changed_at, t.line,
        (select case when count(*) > count(a.charged) then null else coalesce(sum(a.charged), 0.0) end from attempts a
            where a.task_id = t.id and {one_of("a.state", COSTS_MONEY)}),
        (select a.remote_id from attempts a where a.task_id = t.id order by a.number desc limit 1), t.faces,
        {_QUALITY}, d.share, d.score, coalesce(d.review, ''), coalesce(d.note, ''), d.evidence,
        coalesce(d.strip, ''), coalesce(d.signed, 0), {IS_WITHDRAWN}
    from tasks t not indexed cross join batches b on b.id = t.batch_id left join deliveries d on d.task_id = t.id
"""
"""Always by rowid: with an index on the batch, the rows would have to be sorted before the first one is returned."""


def last_run(db: sqlite3.Connection) -> Run | None:
    sql = "select id, started_at, ended_at, pid, provider, exit_code, summary from runs order by id desc limit 1"
    row = db.execute(sql).fetchone()
    return None if row is None else Run(*row)


def last_balance(db: sqlite3.Connection) -> tuple[float, float] | None:
    """Return the last known balance of the account, and the end of the run that read it."""
    sql = (
        "select balance, ended_at from (select id, ended_at, summary ->> '$.credits.balance' as balance from runs)"
        " where balance is not null and ended_at is not null order by id desc limit 1"
    )
    row = db.execute(sql).fetchone()
    return None if row is None else (float(row[0]), float(row[1]))


def failures(db: sqlite3.Connection) -> list[tuple[str, int, str]]:
    """Return the codes of failed tasks, most frequent first, each with a count and one of the reasons."""
    sql = (
        "select code, count(*) as n, max(reason) from tasks indexed by tasks_failed where state = 'failed'"
        " group by code order by n desc"
    )
    return db.execute(sql).fetchall()


def uncertain(db: sqlite3.Connection, most: int) -> list[str]:
    """Return `batch/key` of uncertain tasks."""
    sql = (
        "select b.name || '/' || t.key from tasks t indexed by tasks_open join batches b on b.id = t.batch_id"
        f" where t.state = 'uncertain' and t.{IS_OPEN} order by t.id limit ?"
    )
    return [name for (name,) in db.execute(sql, (most,))]


def uncertain_since(db: sqlite3.Connection) -> float | None:
    """Return the time since when the oldest uncertain task is uncertain."""
    sql = f"select min(changed_at) from tasks indexed by tasks_open where state = 'uncertain' and {IS_OPEN}"
    since = db.execute(sql).fetchone()[0]
    return None if since is None else float(since)


def last_end(db: sqlite3.Connection) -> tuple[float, int] | None:
    """Return when the last run that has ended did so, and its exit code."""
    sql = "select ended_at, exit_code from runs where exit_code is not null order by id desc limit 1"
    row = db.execute(sql).fetchone()
    return None if row is None else (row[0], row[1])


def last_success(db: sqlite3.Connection) -> float | None:
    """Return when a run last ended with exit code 0."""
    row = db.execute("select ended_at from runs where exit_code = 0 order by id desc limit 1").fetchone()
    return None if row is None else float(row[0])


def counts_of_newest(db: sqlite3.Connection, most: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the names of the newest batches, and how many tasks they have in each state; "" for all older ones."""
    newest = db.execute("select id, name from batches order by id desc limit ?", (most,)).fetchall()
    counts: dict[int, dict[str, int]] = {batch_id: {} for batch_id, _ in newest}
    older: dict[str, int] = {}
    for batch_id, state, n in db.execute("select batch_id, state, n from tallies"):
        of_batch = counts.get(batch_id, older)
        of_batch[state] = of_batch.get(state, 0) + n
    yield from ((name, counts[batch_id]) for batch_id, name in reversed(newest))
    if older:
        yield "", older


def lines(
    db: sqlite3.Connection,
    *,
    states: Sequence[str] = (),
    batch: str | None = None,
    code: str | None = None,
    qualities: Sequence[str] = (),
    review: str | None = None,
    consent: str | None = None,
) -> Iterator[TaskLine]:
    """Stream the tasks in the order in which they were enrolled.

    `qualities` may have NOT_SETTLED, and `review` may be NOT_REVIEWED.
    """
    where = [IS_IN]
    if states:
        where.append(one_of("t.state", map(State, states)))
    if qualities:
        is_of_these = one_of(_QUALITY, (Quality(each) for each in qualities if each != NOT_SETTLED))
        is_doubtful = f"{one_of(_QUALITY, DOUBTFUL)} and d.review = ''" if NOT_SETTLED in qualities else "false"
        where.append(f"({is_of_these} or {is_doubtful})")
    if review is not None:
        given = Review.NONE if review == NOT_REVIEWED else Review(review)
        where.append(f"t.state = '{State.DONE}' and coalesce(d.review, '') = '{given}'")
    if consent is not None:
        where.append("t.consent = :consent")
    sql = f"{_LINE_SQL} where {' and '.join(where)} order by t.id"
    for row in db.execute(sql, {"batch": batch, "code": code, "consent": consent}):
        yield TaskLine(*row)


def line(db: sqlite3.Connection, task_id: int) -> TaskLine:
    """Return one task."""
    return TaskLine(*db.execute(f"{_LINE_SQL} where t.id = ?", (task_id,)).fetchone())


def named(db: sqlite3.Connection, name: str) -> list[Task]:
    """Return the tasks that `key` or `batch/key` names. An unambiguous name has one."""
    cuts = [i for i, c in enumerate(name) if c == "/"]
    pairs = [(None, name), *((name[:i], name[i + 1 :]) for i in cuts)]
    found: dict[int, Task] = {}
    for batch, key in pairs:
        sql = f"select {TASK_COLUMNS} from batches b cross join tasks t on t.batch_id = b.id and t.key = ?"
        sql += " join sources s on s.id = t.source_id"
        values = [key] if batch is None else [key, batch]
        for row in db.execute(sql if batch is None else f"{sql} where b.name = ?", values):
            found[row[0]] = task(row)
    return list(found.values())


def attempts(db: sqlite3.Connection, task_id: int) -> list[AttemptRow]:
    """Return all attempts of a task, the first one first."""
    columns = AttemptRow.__struct_fields__
    sql = f"select {', '.join(columns)} from attempts where task_id = ? order by number"
    found = (dict(zip(columns, row, strict=True)) for row in db.execute(sql, (task_id,)))
    return [AttemptRow(**{**row, "media": media_urls(row["media"])}) for row in found]


def events(db: sqlite3.Connection, task_id: int) -> list[EventRow]:
    """Return the events of a task in order."""
    sql = "select at, run_id, event, state, detail from events where task_id = ? order by id"
    return [EventRow(*row) for row in db.execute(sql, (task_id,))]


def newest_event(db: sqlite3.Connection) -> float | None:
    """Return the time of the newest event (Unix time)."""
    row = db.execute("select at from events order by id desc limit 1").fetchone()
    return None if row is None else float(row[0])


class KnownTask(msgspec.Struct, frozen=True):
    """The parts of a task that a plan needs."""

    state: State
    digest: str
    id: int = 0
    duplicates: str = ""
    """The stored decision if another batch has its inputs."""
    is_waiting: bool = False
    """True if it waits for another task's result."""


def known(db: sqlite3.Connection, batch: str, keys: Sequence[str]) -> dict[str, KnownTask]:
    """Return those of some hundreds of keys that the batch has."""
    sql = (
        "select key, id, state, digest, duplicates, reuses is not null from tasks"
        " where batch_id = (select id from batches where name = ?)"
        f" and key in ({marks(keys)})"
    )
    rows = db.execute(sql, (batch, *keys))
    return {
        key: KnownTask(State(state), digest, id_, decision, bool(is_waiting))
        for key, id_, state, digest, decision, is_waiting in rows
    }


def size_of(db: sqlite3.Connection, batch: str) -> int:
    """Count the tasks of a batch, including those whose row has left the manifest."""
    sql = "select coalesce(sum(n), 0) from tallies where batch_id = (select id from batches where name = ?)"
    return int(db.execute(sql, (batch,)).fetchone()[0])
