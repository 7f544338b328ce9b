"""Record local input files when rows are enrolled and when tasks are submitted, to notice later changes."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from batchswap.ledger.rows import marks
from batchswap.tasks import Row, Task, content_digest, is_url

if TYPE_CHECKING:
    from batchswap.manifest import Chunk

FileState = tuple[int, int]
"""The size in bytes, and the time of the last change in nanoseconds."""


def state_of(found: os.stat_result) -> FileState:
    return found.st_size, found.st_mtime_ns


def enrolled(db: sqlite3.Connection, path: Path) -> FileState | None:
    """Return the state of a file when it was enrolled; None if it could not be read then."""
    row = db.execute("select size, modified from files where path = ?", (str(path),)).fetchone()
    return None if row is None else (row[0], row[1])


def note_files(db: sqlite3.Connection, chunk: "Chunk") -> None:
    """Record the current states of the files that the rows name."""
    given = [row.target for row in chunk.rows]
    given += {row.face: None for row in chunk.rows}
    given += [face for row in chunk.rows if row.faces for _, face in row.faces]
    if not all(map(is_url, given)):
        paths = [Path(chunk.folder, text) for text in dict.fromkeys(given) if text and not is_url(text)]
        db.executemany("insert or replace into files values(?, ?, ?)", _states(paths))


def _states(paths: list[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            yield (str(path), *state_of(path.stat()))
        except OSError:
            continue  # removed since it was checked; the upload will report it


def hash_file(path: Path) -> str:
    """Return the SHA-256 in hex. Raise OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Hash = Callable[[Path], str]
"""Returns the SHA-256 of a file in hex, or raises OSError."""


class Input(msgspec.Struct, frozen=True):
    """A local file when a task was submitted with it. `modified` is in nanoseconds."""

    path: str
    size: int
    modified: int
    sha256: str


def local_inputs(item: Task | Row) -> list[str]:
    """Return the inputs of a row that are local files, as the row names them."""
    return [each for each in (item.target, item.face, *(face for _, face in item.faces)) if each and not is_url(each)]


def content_of(item: Task, used: Sequence[Input]) -> str | None:
    """Return the digest of the inputs with the hashes of local files in place of their names; None without any."""
    if not used:
        return None
    known = {each.path: each.sha256 for each in used}

    def named(given: str) -> str:
        return given if is_url(given) else known.get(str(Path(item.folder, given)), given)

    faces = tuple((number, named(face)) for number, face in item.faces)
    return content_digest(item.model, named(item.target), named(item.face) if item.face else "", faces)


def record(db: sqlite3.Connection, item: Task, used: Sequence[Input]) -> None:
    """Record the files that this task is submitted with."""
    db.execute("delete from inputs where task_id = ?", (item.id,))
    rows = [(item.id, each.path, each.size, each.modified, each.sha256) for each in dict.fromkeys(used)]
    db.executemany("insert or replace into inputs values(?, ?, ?, ?, ?)", rows)
    db.execute("update tasks set content = ? where id = ?", (content_of(item, used), item.id))


def recorded(db: sqlite3.Connection, task_id: int, path: Path) -> Input | None:
    """Return the file as the task used it; None if that is unknown."""
    sql = "select path, size, modified, sha256 from inputs where task_id = ? and path = ?"
    row = db.execute(sql, (task_id, str(path))).fetchone()
    return None if row is None else Input(*row)


def is_same(known: Input, path: Path, hash_file: Hash) -> bool:
    """Return whether the file still has the same content. It is read only if its size fits and its time does not."""
    found = path.stat()
    if found.st_size != known.size:
        return False
    return (str(path) == known.path and found.st_mtime_ns == known.modified) or hash_file(path) == known.sha256


class Changed(msgspec.Struct, frozen=True):
    """A file that has changed since done tasks used it. `name` is batch/key of the newest of them."""

    path: str
    name: str


def changed(db: sqlite3.Connection, batches: Sequence[str], hash_file: Hash, most: int) -> Iterator[Changed]:
    """Yield input files that have changed since done tasks used them. Examine the `most` files that were used last.

    A missing file is not an error, because its task is done. Each file is compared for its newest task only.
    """
    sql = (
        "select i.path, i.size, i.modified, i.sha256, b.name || '/' || t.key, max(i.task_id)"
        " from (select * from inputs order by task_id desc limit ?) i"
        " cross join tasks t on t.id = i.task_id cross join batches b on b.id = t.batch_id"
        f" where b.name in ({marks(batches)}) and t.state = 'done' and t.generation = b.generation"
        " group by i.path order by i.task_id"
    )
    for path, size, modified, sha256, name, _ in db.execute(sql, (most, *batches)).fetchall():
        try:
            if not is_same(Input(path, size, modified, sha256), Path(path), hash_file):
                yield Changed(path, name)
        except OSError:
            continue
