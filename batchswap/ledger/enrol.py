"""Rows of manifests become tasks: one transaction, so that an error in the last row leaves nothing behind.

A row is found again by its key within the batch. An unchanged row changes nothing. An edited one waits in `edited`
until its task is not at work: then it becomes the task's new inputs and the task is queued again.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from batchswap.ledger.moves import Stamp, log, move
from batchswap.ledger.rows import pack_faces, split_query
from batchswap.manifest import Chunk
from batchswap.states import BY_PERSON, Event, State
from batchswap.tasks import Row


class Enrolment(msgspec.Struct, frozen=True):
    """What enrolling did: rows read, tasks that are new, tasks whose edited row was taken over."""

    rows: int
    new: int
    changed: int


_INPUTS = (
    "model", "target", "target_query", "face", "face_query", "faces", "digest", "output", "source_id",
)  # fmt: skip
_COLUMNS = ("batch_id", "position", "generation", "key", "line", "consent", "tags", "extra", *_INPUTS)
_PACKED = "json_array(" + ", ".join(
    f"hex(excluded.{name})" if name in ("target_query", "face_query", "faces") else f"excluded.{name}"
    for name in _INPUTS
) + ")"  # fmt: skip
_SHARED = ("batch_id", "generation", "source_id")
"""The same for all rows of a chunk: the statement's first parameters."""
_OWN = tuple(name for name in _COLUMNS if name not in _SHARED)
_AT_ONCE = 500
"""Rows in one statement. A statement a row costs twice as much."""


@lru_cache(maxsize=8)
def _upsert(count: int) -> str:
    """The statement for `count` rows: _SHARED, then _OWN of each row."""
    shared = {name: f"?{number}" for number, name in enumerate(_SHARED, 1)}
    rows = []
    for first in range(len(_SHARED) + 1, len(_SHARED) + 1 + count * len(_OWN), len(_OWN)):
        own = {name: f"?{number}" for number, name in enumerate(_OWN, first)}
        rows.append(f"({', '.join(shared.get(name) or own[name] for name in _COLUMNS)})")
    return f"""
        insert into tasks({", ".join(_COLUMNS)}) values {", ".join(rows)}
        on conflict(batch_id, key) do update set
            position = excluded.position, generation = excluded.generation, line = excluded.line,
            consent = excluded.consent, tags = excluded.tags, extra = excluded.extra,
            edited = case when digest <> excluded.digest then cast({_PACKED} as blob) end,
            output = case when state in ('queued', 'failed', 'cancelled') then excluded.output else output end
    """


def enrol(db: sqlite3.Connection, stamp: Stamp, chunks: Iterable[Chunk], marks: Mapping[str, str]) -> Enrolment:
    """Take the rows into the ledger. What `chunks` raises (ManifestErrors) undoes everything.

    `marks` tells the content of each file; "" where it cannot be known again.
    """
    db.execute("begin immediate")
    try:
        done = _enrol(db, stamp, chunks, marks)
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    return done


def _enrol(db: sqlite3.Connection, stamp: Stamp, chunks: Iterable[Chunk], marks: Mapping[str, str]) -> Enrolment:
    generations: dict[str, tuple[int, int]] = {}
    sources: dict[tuple[str, str], int] = {}
    positions: dict[str, int] = {}
    rows = 0
    before = _count(db)
    for chunk in chunks:
        if chunk.batch not in generations:
            generations[chunk.batch] = _begin_batch(db, chunk.batch)
        batch_id, generation = generations[chunk.batch]
        source = (chunk.batch, chunk.file)
        if source not in sources:
            sources[source] = _begin_source(db, batch_id, generation, chunk, marks.get(chunk.file, ""))
        position = positions.get(chunk.batch, 0)
        shared = (batch_id, generation, sources[source])
        for first in range(0, len(chunk.rows), _AT_ONCE):
            some = chunk.rows[first : first + _AT_ONCE]
            db.execute(_upsert(len(some)), _values(shared, some, position + first))
        positions[chunk.batch] = position + len(chunk.rows)
        rows += len(chunk.rows)
    new = _count(db) - before
    for batch_id, _ in generations.values():
        _recount(db, batch_id)
    changed = take_edits(db, stamp)
    if new or changed:
        log(db, stamp, "enrolled", detail=f"{rows} rows, {new} new, {changed} changed")
    return Enrolment(rows, new, changed)


def _count(db: sqlite3.Connection) -> int:
    """Tasks in the ledger; they are never deleted, so the largest id tells."""
    return int(db.execute("select coalesce(max(id), 0) from tasks").fetchone()[0])


def _begin_batch(db: sqlite3.Connection, name: str) -> tuple[int, int]:
    db.execute(
        "insert into batches(name, generation) values(?, 1) on conflict do update set generation = generation + 1",
        (name,),
    )
    found: tuple[int, int] = db.execute("select id, generation from batches where name = ?", (name,)).fetchone()
    return found


def _begin_source(db: sqlite3.Connection, batch_id: int, generation: int, chunk: Chunk, mark: str) -> int:
    db.execute(
        "insert into sources(batch_id, path, folder, mark, generation) values(?, ?, ?, ?, ?) on conflict do update"
        " set folder = excluded.folder, mark = excluded.mark, generation = excluded.generation",
        (batch_id, chunk.file, chunk.folder, mark, generation),
    )
    sql = "select id from sources where batch_id = ? and path = ?"
    return int(db.execute(sql, (batch_id, chunk.file)).fetchone()[0])


def known_batches(db: sqlite3.Connection, marks: Mapping[str, str]) -> tuple[str, ...] | None:
    """The batches that these files, and no others, made when they were last enrolled; None if anything differs."""
    sql = (
        "select s.path, s.mark, b.name from sources s"
        " join batches b on b.id = s.batch_id and b.generation = s.generation"
    )
    enrolled = db.execute(sql).fetchall()
    batches = {batch for path, mark, batch in enrolled if marks.get(path) == mark}
    theirs = {path: mark for path, mark, batch in enrolled if batch in batches}
    return tuple(sorted(batches)) if theirs == dict(marks) else None


def _values(shared: tuple[int, int, int], rows: list[Row], position: int) -> list[Any]:
    """The parameters of `_upsert`. It runs a million times, so what most rows do not have is asked for first."""
    values: list[Any] = [*shared]
    for place, row in enumerate(rows, position):
        target, target_query = split_query(row.target) if "?" in row.target else (row.target, None)
        face, face_query = split_query(row.face) if "?" in row.face else (row.face, None)
        values += (
            place,
            row.key,
            row.line,
            row.consent,
            ";".join(row.tags) if row.tags else "",
            msgspec.json.encode(dict(row.extra)).decode() if row.extra else "",
            str(row.model),  # an exact string: for an enum, sqlite3 looks for an adapter first
            target,
            target_query,
            face,
            face_query,
            pack_faces(row.faces),
            row.digest,
            row.output,
        )
    return values


def _recount(db: sqlite3.Connection, batch_id: int) -> None:
    """New tasks are queued; the trigger counts every later move."""
    db.execute(
        "insert into tallies select ?, 'queued', count(*) from tasks indexed by tasks_queued"
        " where batch_id = ? and state = 'queued' on conflict do update set n = excluded.n",
        (batch_id, batch_id),
    )


def commit_edits(db: sqlite3.Connection, stamp: Stamp) -> int:
    """`take_edits`, as a transaction of its own."""
    db.execute("begin immediate")
    try:
        taken = take_edits(db, stamp)
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    return taken


def take_edits(db: sqlite3.Connection, stamp: Stamp) -> int:
    """Edited rows become their task's inputs, unless an attempt with the old ones is at work. Returns how many."""
    at_work = ("submitting", "running", "fetching", "uncertain")
    taken = 0
    for task_id, state, packed in db.execute("select id, state, edited from tasks where edited is not null").fetchall():
        if state in at_work:
            continue
        names = ", ".join(f"{name} = ?" for name in _INPUTS)
        db.execute(
            f"update tasks set {names}, edited = null, replaces = coalesce(sha256, replaces),"
            " file = null, size = null, sha256 = null where id = ?",
            (*_unpacked(packed), task_id),
        )
        if Event.CHANGED in BY_PERSON.get(State(state), {}):
            move(db, stamp, task_id, State(state), Event.CHANGED, reason="its row was edited")
            db.execute("update tasks set paid = 0 where id = ?", (task_id,))
        else:
            log(db, stamp, Event.CHANGED, task_id=task_id, state=state, detail="its row was edited")
        taken += 1
    return taken


def _unpacked(packed: bytes) -> list[Any]:
    values = msgspec.json.decode(packed, type=list[Any])
    blobs = {_INPUTS.index(name) for name in ("target_query", "face_query", "faces")}
    return [(bytes.fromhex(v) or None) if i in blobs else v for i, v in enumerate(values)]
