"""Turn rows of manifests into tasks, in one transaction: an error in the last row leaves nothing behind.

A row is recognised by its key within the batch. An unchanged row changes nothing. An edited row waits in the column
`edited` until its task has no attempt in progress: then the task gets the new inputs and is queued again.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.bulk_insert import BLOBS, INPUTS, StatementThread, statements
from batchswap.ledger.enrolment.kept_outputs import KeptOutputs
from batchswap.ledger.enrolment.manifest_moves import Origins
from batchswap.ledger.transitions import Stamp, log, move
from batchswap.manifest import Chunk
from batchswap.sqlite_errors import transaction
from batchswap.states import BY_PERSON, OPEN, Event, State


class Enrolment(msgspec.Struct, frozen=True):
    """The result of enrolling: the numbers of rows, of new tasks, and of tasks whose inputs were changed.

    `kept` describes the tasks that keep an output which their row no longer names; "" if there are none.
    `duplicates` counts queued rows that reuse another task's result, or are paid for although there is one.
    """

    rows: int
    new: int
    changed: int
    kept: str = ""
    duplicates: int = 0


Settle = Callable[[sqlite3.Connection, tuple[str, ...], int | None], int]
"""Treats the duplicates among the queued rows of these batches. The third argument is the number of rows in the
manifests, None if they have not changed."""


def enrol(
    db: sqlite3.Connection,
    stamp: Stamp,
    chunks: Iterable[Chunk],
    marks: Mapping[str, str],
    settle: Settle = lambda *_: 0,
) -> Enrolment:
    """Add the rows to the ledger, with the size and time of their files.

    An exception from `chunks` (ManifestErrors) or `settle` (DuplicateRows) undoes everything. `chunks` must not use
    `db`, which is busy while rows are read. Raise UsageError for a row that a manifest in another folder has with other
    inputs.

    `marks` maps a manifest's place to a fingerprint of its content, "" if it has none. A manifest with patterns is
    stored without its mark, because new files may match them. So is one with outputs that cannot be changed, so that
    every run reports them.
    """
    with transaction(db):
        before = _count(db)
        kept = KeptOutputs(db)
        batches, rows = _take_rows(db, chunks, marks, kept)
        new = _count(db) - before
        for batch_id in batches.values():
            _recount(db, batch_id)
        changed = take_edits(db, stamp)
        duplicates = settle(db, tuple(batches), rows)
        if new or changed:
            log(db, stamp, "enrolled", detail=f"{rows} row{'s' * (rows != 1)}, {new} new, {changed} changed")
    return Enrolment(rows, new, changed, kept.words, duplicates)


def _take_rows(
    db: sqlite3.Connection, chunks: Iterable[Chunk], marks: Mapping[str, str], kept: KeptOutputs
) -> tuple[dict[str, int], int]:
    """Return the batches with their ids, and the number of rows. While a chunk is stored, the next one is read."""
    generations: dict[str, tuple[int, int]] = {}
    sources: dict[tuple[str, str], int] = {}
    origins = Origins(db, marks)
    positions: dict[str, int] = {}
    with StatementThread(db) as intake:
        for chunk in chunks:
            intake.wait()
            origins.check(chunk)
            if chunk.batch not in generations:
                generations[chunk.batch] = _begin_batch(db, chunk.batch)
            batch_id, generation = generations[chunk.batch]
            source = (chunk.batch, chunk.place)
            is_unmarked = kept.look(chunk) or chunk.was_searched
            if source not in sources or is_unmarked:
                mark = "" if is_unmarked else marks.get(chunk.place, "")
                sources[source] = _begin_source(db, batch_id, generation, chunk, mark)
            input_files.note_files(db, chunk)
            shared = {"batch_id": batch_id, "generation": generation, "source_id": sources[source]}
            position = positions.get(chunk.batch, 0)
            for sql, values in statements(shared, chunk.rows, position):
                intake.execute(sql, values)
            positions[chunk.batch] = position + len(chunk.rows)
        intake.wait()
    return {name: batch_id for name, (batch_id, _) in generations.items()}, sum(positions.values())


def _count(db: sqlite3.Connection) -> int:
    """Return the number of tasks. They are never deleted, so it is the largest id."""
    return int(db.execute("select coalesce(max(id), 0) from tasks").fetchone()[0])


def _begin_batch(db: sqlite3.Connection, name: str) -> tuple[int, int]:
    sql = (
        "insert into batches(name, generation) values(?, 1)"
        " on conflict do update set generation = generation + 1 returning id, generation"
    )
    [(batch_id, generation)] = db.execute(sql, (name,))
    return batch_id, generation


def _begin_source(db: sqlite3.Connection, batch_id: int, generation: int, chunk: Chunk, mark: str) -> int:
    sql = (
        "insert into sources(batch_id, path, folder, mark, generation) values(?, ?, ?, ?, ?) on conflict do update"
        " set folder = excluded.folder, mark = excluded.mark, generation = excluded.generation returning id"
    )
    [(source_id,)] = db.execute(sql, (batch_id, chunk.place, chunk.folder, mark, generation))
    return int(source_id)


def known_batches(db: sqlite3.Connection, marks: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the batches of these manifests; None if a manifest has changed, or a batch has others as well."""
    sql = (
        "select s.path, s.mark, b.name from sources s"
        " join batches b on b.id = s.batch_id and b.generation = s.generation"
    )
    enrolled = db.execute(sql).fetchall()
    batches = {batch for path, mark, batch in enrolled if marks.get(path) == mark}
    theirs = {path: mark for path, mark, batch in enrolled if batch in batches}
    return tuple(sorted(batches)) if theirs == dict(marks) else None


def _recount(db: sqlite3.Connection, batch_id: int) -> None:
    """Count the queued tasks of a batch. The trigger counts all later moves."""
    db.execute(
        "insert into tallies select ?, 'queued', count(*) from tasks indexed by tasks_queued"
        " where batch_id = ? and state = 'queued' on conflict do update set n = excluded.n",
        (batch_id, batch_id),
    )


def is_wanted(db: sqlite3.Connection, task_id: int) -> bool:
    """Return whether the manifest still has the task's row, with the inputs that were submitted."""
    sql = "select edited is null and t.generation = b.generation from tasks t join batches b on b.id = t.batch_id"
    return bool(db.execute(f"{sql} where t.id = ?", (task_id,)).fetchone()[0])


def enrol_unchanged(
    db: sqlite3.Connection, stamp: Stamp, batches: tuple[str, ...], settle: Settle = lambda *_: 0
) -> Enrolment:
    """Enrol manifests that have not changed: run `take_edits` and `settle` in one transaction."""
    with transaction(db):
        changed = take_edits(db, stamp)
        duplicates = settle(db, batches, None)
    return Enrolment(0, 0, changed, duplicates=duplicates)


def take_edits(db: sqlite3.Connection, stamp: Stamp) -> int:
    """Give tasks the inputs of their edited rows, unless an attempt is in progress. Return the number of tasks.

    A task whose row has left the manifest since it was edited is not changed.
    """
    taken = 0
    sql = (
        "select t.id, t.state, t.edited from tasks t join batches b on b.id = t.batch_id"
        " where t.edited is not null and t.generation = b.generation"
    )
    for task_id, state, packed in db.execute(sql).fetchall():
        if state in OPEN:
            continue
        values = _unpacked(packed)
        names = ", ".join(f"{name} = ?" for name in INPUTS[: len(values)])  # an earlier version stored fewer
        db.execute(
            f"update tasks set {names}, edited = null, replaces = coalesce(sha256, replaces),"
            " duplicates = '', reuses = null, content = null, stored_by = null,"
            " file = null, size = null, sha256 = null where id = ?",
            (*values, task_id),
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
    blobs = {INPUTS.index(name) for name in BLOBS}
    return [(bytes.fromhex(v) or None) if i in blobs else v for i, v in enumerate(values)]
