"""Stream the ledger's tasks, attempts, events and runs as frozen values, for the Python API."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from batchswap.ledger.rows import IS_WITHDRAWN, one_of, unpack_faces
from batchswap.states import Quality, Review, State
from batchswap.tasks import Faces, Model, public


class TaskRecord(msgspec.Struct, frozen=True):
    """A task, made from one row of a manifest. URLs come without their queries. `file` is the stored result."""

    batch: str
    key: str
    state: State
    code: str
    reason: str
    model: Model
    target: str
    face: str
    faces: Faces
    output: str
    consent: str
    tags: tuple[str, ...]
    extra: dict[str, str]
    attempts: int
    file: str | None
    size: int | None
    sha256: str | None
    changed_at: float | None
    line: int
    quality: Quality | None = None
    """Whether the result is a swap; None without a result."""
    swap_score: float | None = None
    review: Review = Review.NONE
    withdrawn: bool = False
    """Whether the release of its row was withdrawn."""


class AttemptRecord(msgspec.Struct, frozen=True):
    """One submit of a task. Times are Unix seconds. `charged` is in credits, None if unknown or not ended."""

    batch: str
    key: str
    number: int
    state: str
    run_id: int
    remote_id: str | None
    reserved: float
    charged: float | None
    submitted_at: float
    accepted_at: float | None
    ended_at: float | None
    code: str
    reason: str


class EventRecord(msgspec.Struct, frozen=True):
    """One entry of the log. `batch` and `key` are None for an event of a run, `run_id` for an event between runs."""

    at: float
    batch: str | None
    key: str | None
    run_id: int | None
    event: str
    state: str
    detail: str


class RunRecord(msgspec.Struct, frozen=True):
    """One run. `ended_at` None: it is in progress, or was killed. `summary` is the output of `run --json`."""

    id: int
    started_at: float
    ended_at: float | None
    pid: int
    version: str
    provider: str
    exit_code: int | None
    summary: dict[str, Any] | None


def tasks(db: sqlite3.Connection, states: Sequence[State], batch: str | None) -> Iterator[TaskRecord]:
    """Stream tasks in the order in which they were enrolled. Without `states`, stream all of them."""
    is_chosen = f"and {one_of('t.state', map(State, states))}" if states else ""
    sql = f"""
        select b.name, t.key, t.state, t.code, t.reason, t.model, t.target, t.face, t.faces, t.output, t.consent,
            t.tags, t.extra, t.attempts, t.file, t.size, t.sha256, t.changed_at, t.line,
            d.quality, d.score, coalesce(d.review, ''), {IS_WITHDRAWN}
        from tasks t not indexed cross join batches b on b.id = t.batch_id
        left join deliveries d on d.task_id = t.id
        where (:batch is null or b.name = :batch) {is_chosen} order by t.id
    """
    for row in db.execute(sql, {"batch": batch}):
        found = dict(zip(TaskRecord.__struct_fields__, row, strict=True))
        is_done = found["state"] == State.DONE
        yield TaskRecord(
            **found
            | {
                "state": State(found["state"]),
                "quality": Quality(found["quality"] or Quality.UNKNOWN) if is_done else None,
                "review": Review(found["review"]),
                "withdrawn": bool(found["withdrawn"]),
                "model": Model(found["model"]),
                "target": public(found["target"]),
                "face": public(found["face"]),
                "faces": tuple((number, public(face)) for number, face in unpack_faces(found["faces"])),
                "tags": tuple(tag for tag in found["tags"].split(";") if tag),
                "extra": msgspec.json.decode(found["extra"]) if found["extra"] else {},
                **({} if is_done else dict.fromkeys(("file", "size", "sha256"))),
            }
        )


def attempts(db: sqlite3.Connection, batch: str | None, key: str | None) -> Iterator[AttemptRecord]:
    """Stream attempts in the order in which they were submitted."""
    sql = f"""
        select b.name, t.key, a.number, a.state, a.run_id, a.remote_id, a.reserved, a.charged, a.submitted_at,
            a.accepted_at, a.ended_at, a.code, a.reason
        from attempts a cross join tasks t on t.id = a.task_id cross join batches b on b.id = t.batch_id
        where true {_OF_TASK} order by a.id
    """
    return (AttemptRecord(*row) for row in db.execute(sql, {"batch": batch, "key": key}))


def events(db: sqlite3.Connection, batch: str | None, key: str | None) -> Iterator[EventRecord]:
    """Stream the events in order."""
    sql = f"""
        select e.at, b.name, t.key, e.run_id, e.event, e.state, e.detail
        from events e left join tasks t on t.id = e.task_id left join batches b on b.id = t.batch_id
        where true {_OF_TASK} order by e.id
    """
    return (EventRecord(*row) for row in db.execute(sql, {"batch": batch, "key": key}))


def runs(db: sqlite3.Connection) -> Iterator[RunRecord]:
    """Stream the runs, the first one first."""
    sql = "select id, started_at, ended_at, pid, version, provider, exit_code, summary from runs order by id"
    for row in db.execute(sql):
        found = dict(zip(RunRecord.__struct_fields__, row, strict=True))
        yield RunRecord(**found | {"summary": msgspec.json.decode(found["summary"] or "null")})


_OF_TASK = "and (:batch is null or b.name = :batch) and (:key is null or t.key = :key)"
