"""Read-only queries for the HTML report: tasks with their findings, money by group, and the runs to compare.

Each one covers the batches with these ids. Lists of tasks are streamed.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from batchswap.ledger.report_queries import Run
from batchswap.ledger.rows import IS_OPEN, marks, one_of
from batchswap.settings import Mode
from batchswap.states import COSTS_MONEY, DOUBTFUL, AttemptState, Event, Quality, State

_SUCCEEDED = f"'{AttemptState.SUCCEEDED}'"
_COSTS = one_of("a.state", COSTS_MONEY)
_LOST = (
    f"(a.state in ('{AttemptState.FAILED}', '{AttemptState.LOST}') or (a.state = {_SUCCEEDED} and t.state = 'failed'))"
)
"""The attempt was paid for, and there is no result of it."""


class ReportRow(msgspec.Struct, frozen=True, gc=False):
    """One task of the report. `spent` is None if the API gave no price for one of its attempts.

    `out` is the folder of the run that stored the result, `folder` that of the manifest. `quality` and the fields after
    it are those of the finding; without one, the quality is unknown.
    """

    id: int
    batch: str
    key: str
    state: str
    code: str
    reason: str
    model: str
    target: str
    face: str
    packed_faces: bytes | None
    consent: str
    tags: str
    attempts: int
    file: str | None
    out: str
    folder: str
    changed_at: float | None
    spent: float | None
    began_at: float | None
    took: float | None
    quality: str
    share: float | None
    score: float | None
    review: str
    signed: int
    strip: str
    note: str


_ROW_SQL = f"""
    select t.id, b.name, t.key, t.state, t.code, t.reason, t.model, t.target, t.face, t.faces, t.consent, t.tags,
        t.attempts, t.file, coalesce(r.out, ''), s.folder, t.changed_at,
        (select case when count(*) > count(a.charged) then null else coalesce(sum(a.charged), 0.0) end from attempts a
            where a.task_id = t.id and {_COSTS}),
        l.submitted_at, coalesce(l.took, l.ended_at - l.submitted_at),
        coalesce(d.quality, '{Quality.UNKNOWN}'), d.share, d.score, coalesce(d.review, ''), coalesce(d.signed, 0),
        coalesce(d.strip, ''), coalesce(d.note, '')
    from tasks t {{}} cross join batches b on b.id = t.batch_id cross join sources s on s.id = t.source_id
    left join attempts l on l.task_id = t.id and l.number = t.attempts
    left join runs r on r.id = t.stored_by left join deliveries d on d.task_id = t.id
"""


def tasks(db: sqlite3.Connection, batches: Sequence[int], *, first: int = 0, most: int = -1) -> Iterator[ReportRow]:
    """Yield the tasks in the order in which they were added to the ledger: at most `most`, from the id `first` on."""
    sql = f"{_ROW_SQL.format('not indexed')} where t.batch_id in ({marks(batches)}) and t.id >= ? order by t.id limit ?"
    for row in db.execute(sql, (*batches, first, most)):
        yield ReportRow(*row)


def task_ids(db: sqlite3.Connection, batches: Sequence[int], every: int) -> list[int]:
    """Return the id of the first task, and of every further one after `every` tasks."""
    sql = f"select t.id from tasks t not indexed where t.batch_id in ({marks(batches)}) order by t.id"
    return [row[0] for number, row in enumerate(db.execute(sql, tuple(batches))) if number % every == 0]


def changed(db: sqlite3.Connection, batches: Sequence[int], after: int, until: int, most: int) -> list[int]:
    """Return the tasks of these batches with an event after one event and up to another, at most `most`."""
    sql = (
        f"select distinct e.task_id from events e join tasks t on t.id = e.task_id where e.id > ? and e.id <= ?"
        f" and t.batch_id in ({marks(batches)}) limit ?"
    )
    return [row[0] for row in db.execute(sql, (after, until, *batches, most))]


class LedgerMark(msgspec.Struct, frozen=True):
    """The moment of a ledger: its last run, task and event, and how often manifests were read into it.

    It takes the same time to read whatever the size of the ledger.
    """

    run: int
    task: int
    readings: int
    event: int


def mark(db: sqlite3.Connection) -> LedgerMark:
    sql = (
        "select coalesce((select max(id) from runs), 0), coalesce((select max(id) from tasks), 0),"
        " coalesce((select sum(generation) from batches), 0), coalesce((select max(id) from events), 0)"
    )
    return LedgerMark(*db.execute(sql).fetchone())


def task(db: sqlite3.Connection, task_id: int) -> ReportRow | None:
    """Return one task."""
    row = db.execute(f"{_ROW_SQL.format('')} where t.id = ?", (task_id,)).fetchone()
    return None if row is None else ReportRow(*row)


def batch_ids(db: sqlite3.Connection, names: Sequence[str] | None = None) -> dict[str, int]:
    """Return the ids of these batches, or of all, by name."""
    found = dict(db.execute("select name, id from batches order by name").fetchall())
    return found if names is None else {name: found[name] for name in names}


def batches_of(db: sqlite3.Connection, run_id: int) -> list[str]:
    """Return the batches that a run worked on. An earlier version recorded them only when the run ended."""
    sql = (
        "select distinct b.name from money m join batches b on b.id = m.batch_id where m.run_id = :run union"
        " select b.name from runs r join json_each(iif(r.batches = '', r.summary -> '$.batch', r.batches)) e"
        " join batches b on b.name = e.value where r.id = :run"
    )
    return sorted(name for (name,) in db.execute(sql, {"run": run_id}))


class RunRow(Run, frozen=True):
    """A run with its own costs."""

    version: str
    spent: float
    reserved: float
    unpriced: int
    mode: Mode


_RUN_SQL = (
    "select r.id, r.started_at, r.ended_at, r.pid, r.provider, r.exit_code, r.summary, r.version,"
    " coalesce(sum(m.spent), 0.0), coalesce(sum(m.held), 0.0), coalesce(sum(m.unpriced_attempts), 0), r.mode"
    " from runs r left join money m on m.run_id = r.id"
)


def run(db: sqlite3.Connection, run_id: int | None = None) -> RunRow | None:
    """Return one run, or the last one."""
    row = db.execute(
        f"{_RUN_SQL} where r.id = coalesce(?, (select max(id) from runs)) group by r.id", (run_id,)
    ).fetchone()
    return None if row is None else RunRow(*row)


def runs_of(db: sqlite3.Connection, batches: Sequence[int], *, until: int, most: int) -> list[RunRow]:
    """Return the last runs up to `until` that worked on one of these batches, newest first."""
    sql = (
        f"{_RUN_SQL} where r.id <= ? and (r.id in (select run_id from money where batch_id in ({marks(batches)}))"
        " or exists (select 1 from json_each(iif(r.batches = '', r.summary -> '$.batch', r.batches)) e"
        f" join batches b on b.name = e.value where b.id in ({marks(batches)}))) group by r.id"
        " order by r.id desc limit ?"
    )
    return [RunRow(*row) for row in db.execute(sql, (until, *batches, *batches, most))]


def run_of_process(db: sqlite3.Connection, pid: int) -> RunRow | None:
    """Return the last run of a process. Another process may have begun one after it."""
    row = db.execute("select max(id) from runs where pid = ?", (pid,)).fetchone()
    return None if row[0] is None else run(db, row[0])


def paid_runs(db: sqlite3.Connection, before: RunRow, most: int) -> Iterator[RunRow]:
    """Yield the runs that cost something among the last `most` before a run, at its provider, newest first."""
    sql = (
        "select id from runs where id < ? and id >= ? and provider = ? and exit_code is not null"
        " and id in (select run_id from money where spent > 0) order by id desc"
    )
    for (run_id,) in db.execute(sql, (before.id, before.id - most, before.provider)).fetchall():
        if (found := run(db, run_id)) is not None:
            yield found


class MoneyRow(msgspec.Struct, frozen=True):
    """Credits of one group. `unknown` counts ended attempts without a price, `expected` is the sum they reserved.

    `lost` was spent without a result. `estimate` and `actual` cover the attempts of which both are known.
    """

    name: str
    tasks: int
    spent: float
    reserved: float
    unknown: int
    expected: float
    lost: float
    estimate: float
    actual: float


_GROUPS = {
    "batch": "b.name",
    "tag": "t.tags",
    "face": "iif(t.face <> '', t.face, iif(t.faces is null, '', 'several faces'))",
    "consent": "t.consent",
}


def money(
    db: sqlite3.Connection, batches: Sequence[int], group: str, run_id: int | None = None, most: int = -1
) -> list[MoneyRow]:
    """Sum the credits by "batch", "tag" (the text with all tags of a task), "face" or "consent", highest sum first."""
    sql = (
        f"select {_GROUPS[group]}, count(distinct a.task_id), sum(a.spent), sum(a.held),"
        f" sum({_COSTS} and a.charged is null), sum(a.unpriced), sum(iif({_LOST}, a.spent, 0.0)),"
        " sum(iif(a.charged is not null and a.estimate is not null, a.estimate, 0.0)),"
        " sum(iif(a.charged is not null and a.estimate is not null, a.charged, 0.0))"
        " from attempts a join tasks t on t.id = a.task_id join batches b on b.id = a.batch_id"
        f" where a.batch_id in ({marks(batches)}) and a.state <> '{AttemptState.REFUSED}'"
        " and (? is null or a.run_id = ?) group by 1 order by 3 desc, 1 limit ?"
    )
    return [MoneyRow(*row) for row in db.execute(sql, (*batches, run_id, run_id, most))]


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A failed task, with the credits that it cost. `unknown` counts its attempts without a price.

    `is_saveable`: its last attempt succeeded, and only the download failed.
    """

    batch: str
    key: str
    code: str
    reason: str
    at: float
    spent: float
    unknown: int
    is_saveable: bool


def failures(db: sqlite3.Connection, batches: Sequence[int]) -> Iterator[Failure]:
    """Yield the failed tasks."""
    sql = (
        "select b.name, t.key, t.code, t.reason, coalesce(t.changed_at, 0.0), coalesce(sum(a.spent), 0.0),"
        f" coalesce(sum({_COSTS} and a.charged is null), 0), coalesce(max(a.state = {_SUCCEEDED}), 0)"
        " from tasks t join batches b on b.id = t.batch_id left join attempts a on a.task_id = t.id"
        f" where t.batch_id in ({marks(batches)}) and t.state = '{State.FAILED}' group by t.id order by t.id"
    )
    for row in db.execute(sql, tuple(batches)):
        yield Failure(*row)


def failure_codes(db: sqlite3.Connection, batches: Sequence[int]) -> list[tuple[str, int]]:
    """Return the codes of failed tasks with the number of tasks, most frequent first."""
    sql = (
        f"select code, count(*) as n from tasks where state = '{State.FAILED}' and batch_id in ({marks(batches)})"
        " group by code order by n desc, code"
    )
    return [(str(code), int(n)) for code, n in db.execute(sql, tuple(batches))]


def uncertain(db: sqlite3.Connection, batches: Sequence[int], most: int) -> list[int]:
    """Return the ids of uncertain tasks, oldest first."""
    sql = (
        "select t.id from tasks t indexed by tasks_open where t.state = 'uncertain'"
        f" and t.{IS_OPEN} and t.batch_id in ({marks(batches)}) order by t.id limit ?"
    )
    return [row[0] for row in db.execute(sql, (*batches, most))]


def unsaved(db: sqlite3.Connection, batches: Sequence[int], most: int) -> list[int]:
    """Return the ids of failed tasks whose result is at the API, the oldest result first."""
    sql = (
        "select t.id from tasks t indexed by tasks_failed where t.state = 'failed' and"
        " (select e.event from events e where e.task_id = t.id and e.state <> '' order by e.id desc limit 1)"
        f" = '{Event.UNSAVED}' and t.batch_id in ({marks(batches)}) order by t.changed_at, t.id limit ?"
    )
    return [row[0] for row in db.execute(sql, (*batches, most))]


def doubtful(db: sqlite3.Connection, batches: Sequence[int], most: int) -> list[int]:
    """Return the ids of done tasks whose result needs a look, the worst score first."""
    sql = (
        f"select d.task_id from deliveries d where d.batch_id in ({marks(batches)}) and d.review = ''"
        f" and {one_of('d.quality', DOUBTFUL)} order by coalesce(d.score, -1.0), d.task_id limit ?"
    )
    return [row[0] for row in db.execute(sql, (*batches, most))]


def strips(db: sqlite3.Connection, batches: Sequence[int]) -> tuple[int, int]:
    """Count the pictures of results that need a look or were rejected, and all others."""
    sql = (
        f"select coalesce(sum({IS_TROUBLE}), 0), count(*) from deliveries d"
        f" where d.strip <> '' and d.batch_id in ({marks(batches)})"
    )
    trouble, total = db.execute(sql, tuple(batches)).fetchone()
    return trouble, total - trouble


IS_TROUBLE = f"({one_of('d.quality', DOUBTFUL)} or d.review = 'rejected')"


def without_consent(db: sqlite3.Connection, batches: Sequence[int], most: int) -> list[str]:
    """Return `batch/key` of the first tasks without a release."""
    sql = (
        "select b.name || '/' || t.key from tasks t join batches b on b.id = t.batch_id"
        f" where t.batch_id in ({marks(batches)}) and t.consent = '' order by t.id limit ?"
    )
    return [row[0] for row in db.execute(sql, (*batches, most))]


def slowest(
    db: sqlite3.Connection, batches: Sequence[int], run_id: int | None, most: int
) -> list[tuple[str, float, float]]:
    """Return `batch/key`, start and duration of the attempts that took longest."""
    sql = (
        "select b.name || '/' || t.key, a.submitted_at, coalesce(a.took, a.ended_at - a.submitted_at) as length"
        " from attempts a join tasks t on t.id = a.task_id join batches b on b.id = t.batch_id"
        f" where a.batch_id in ({marks(batches)}) and (? is null or a.run_id = ?) and a.remote_id is not null"
        " and length is not null order by length desc, a.id limit ?"
    )
    return db.execute(sql, (*batches, run_id, run_id, most)).fetchall()


def last_submit(db: sqlite3.Connection, run_id: int) -> float | None:
    """Return the time of the last submit of a run."""
    row = db.execute("select max(submitted_at) from attempts where run_id = ?", (run_id,)).fetchone()
    return None if row[0] is None else float(row[0])


def ends_of(db: sqlite3.Connection, run_id: int) -> dict[str, int]:
    """Count the attempts of a run by their state."""
    return dict(
        db.execute("select state, count(*) from attempts where run_id = ? group by state", (run_id,)).fetchall()
    )
