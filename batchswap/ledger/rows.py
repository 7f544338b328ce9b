"""Convert rows of the ledger to the frozen values of `tasks`, and keep URL queries out of readable columns."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from batchswap.states import OPEN, State
from batchswap.tasks import Attempt, Faces, Model, Task

TASK_COLUMNS = (
    "t.id, b.name, t.key, t.state, t.model, t.target, t.target_query, t.face, t.face_query, t.output, s.folder, "
    "t.digest, t.faces, t.consent, t.attempts, t.paid"
)
TASK_FROM = "tasks t join batches b on b.id = t.batch_id join sources s on s.id = t.source_id"
ATTEMPT_COLUMNS = "id, task_id, number, ref, reserved, submitted_at, remote_id, charged, accepted_at, estimate"
"""The fields of Attempt, in order."""


T = TypeVar("T")


def one_of(column: str, words: Iterable[StrEnum]) -> str:
    """Return the condition that a column has one of these words, with literals: partial indexes need them."""
    listed = ", ".join(f"'{word}'" for word in words)
    return f"{column} in ({listed})"


def marks(values: Collection[object]) -> str:
    """Return one placeholder for each value, or NULL if there are none: `in (null)` finds nothing."""
    # SQLite reads `in ()` as false, and then cannot use the index that `indexed by` asks for.
    return ", ".join("?" * len(values)) or "null"


def groups(items: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """Split items into groups that are small enough for the parameters of one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


IS_IN = "(:batch is null or b.name = :batch) and (:code is null or t.code = :code)"
"""The condition that a task is in a batch and has a code. Either may be None."""
IS_WITHDRAWN = "exists (select 1 from releases w where w.reference = t.consent and w.withdrawn_at is not null)"
"""The condition that the release of a task was withdrawn."""
IS_OPEN = one_of("state", OPEN)
"""SQLite uses the index of open tasks only for a query that repeats the whole condition of the index."""
_MODELS = {str(model): model for model in Model}
_STATES = {str(state): state for state in State}


def split_query(text: str) -> tuple[str, bytes | None]:
    """Split an input into the part that may be shown and the query. A signed query gives access to a storage."""
    shown, mark, query = text.partition("?")
    return (shown, query.encode()) if mark and shown.startswith(("http://", "https://")) else (text, None)


def join_query(shown: str, query: bytes | None) -> str:
    return shown if query is None else f"{shown}?{query.decode()}"


def pack_faces(faces: Faces) -> bytes | None:
    return msgspec.json.encode(faces) if faces else None


def unpack_faces(packed: bytes | None) -> Faces:
    return msgspec.json.decode(packed, type=Faces) if packed else ()


def task(row: tuple[Any, ...]) -> Task:
    """Build a task from a row of TASK_COLUMNS."""
    id_, batch, key, state, model, target, target_query, face, face_query, output, folder, digest, faces, *rest = row
    return Task(
        id_,
        batch,
        key,
        _STATES[state],
        _MODELS[model],
        join_query(target, target_query),
        join_query(face, face_query),
        output,
        folder,
        digest,
        unpack_faces(faces),
        *rest,
    )


def last_attempt(db: sqlite3.Connection, task_id: int) -> Attempt | None:
    """Return the attempt with the highest number."""
    sql = f"select {ATTEMPT_COLUMNS} from attempts where task_id = ? order by number desc limit 1"
    found = db.execute(sql, (task_id,)).fetchone()
    return None if found is None else Attempt(*found)


def owner_of(db: sqlite3.Connection, remote_id: str, claimant: Attempt) -> str | None:
    """Return "batch/key" of the other task that has this remote id at the claimant's provider, or None."""
    sql = (
        "select b.name || '/' || t.key from attempts a join tasks t on t.id = a.task_id"
        " join batches b on b.id = t.batch_id where a.remote_id = ? and a.id <> ?"
        " and a.account = (select account from attempts where id = ?) limit 1"
    )
    row = db.execute(sql, (remote_id, claimant.id, claimant.id)).fetchone()
    return None if row is None else str(row[0])
