"""Local files as they were when rows were enrolled, and when tasks were submitted, so that a change is noticed."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from batchswap.tasks import Task, content_digest, is_url

if TYPE_CHECKING:
    from batchswap.manifest import Chunk

FileState = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


def state_of(found: os.stat_result) -> FileState:
    return found.st_size, found.st_mtime_ns


def enrolled(db: sqlite3.Connection, path: Path) -> FileState | None:
    """The file as it was enrolled; None when it could not be looked at."""
    row = db.execute("select size, modified from files where path = ?", (str(path),)).fetchone()
    return None if row is None else (row[0], row[1])


def note_files(db: sqlite3.Connection, chunk: "Chunk") -> None:
    """Look at the files that the rows name, and write down what they are like."""
    given = [row.target for row in chunk.rows]
    given += {row.face: None for row in chunk.rows}
    given += [face for row in chunk.rows if row.faces for _, face in row.faces]
    if not all(map(is_url, given)):
        paths = [Path(chunk.folder, text) for text in dict.fromkeys(given) if text and not is_url(text)]
        db.executemany("insert or replace into files values(?, ?, ?)", _looked_at(paths))


def _looked_at(paths: list[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            yield (str(path), *state_of(path.stat()))
        except OSError:
            continue  # gone since it was checked; the upload will say so


Hash = Callable[[Path], str]
"""SHA-256 of a file, in hex. Raises OSError."""


class Input(msgspec.Struct, frozen=True):
    """A local file as it was when it was used. `modified` in nanoseconds."""

    path: str
    size: int
    modified: int
    sha256: str


def given_by(item: Task) -> list[str]:
    """The inputs as the row names them: the target, and the new faces."""
    return [item.target, *([item.face] if item.face else []), *(face for _, face in item.faces)]


def content_of(item: Task, used: Sequence[Input]) -> str | None:
    """The digest of the inputs with each local file replaced by its content; None without local files."""
    if not used:
        return None
    known = {each.path: each.sha256 for each in used}

    def named(given: str) -> str:
        return given if is_url(given) else known.get(str(Path(item.folder, given)), given)

    faces = tuple((number, named(face)) for number, face in item.faces)
    return content_digest(item.model, named(item.target), named(item.face) if item.face else "", faces)


def record(db: sqlite3.Connection, item: Task, used: Sequence[Input]) -> None:
    """Write down what this task is submitted with."""
    db.execute("delete from inputs where task_id = ?", (item.id,))
    rows = [(item.id, each.path, each.size, each.modified, each.sha256) for each in dict.fromkeys(used)]
    db.executemany("insert or replace into inputs values(?, ?, ?, ?, ?)", rows)
    db.execute("update tasks set content = ? where id = ?", (content_of(item, used), item.id))


def recorded(db: sqlite3.Connection, task_id: int, path: Path) -> Input | None:
    """The file as the task used it; None when that is not known."""
    sql = "select path, size, modified, sha256 from inputs where task_id = ? and path = ?"
    row = db.execute(sql, (task_id, str(path))).fetchone()
    return None if row is None else Input(*row)


def is_same(known: Input, path: Path, hash_file: Hash) -> bool:
    """Whether the file holds what was used. It is read only where its size fits and its time does not."""
    found = path.stat()
    if found.st_size != known.size:
        return False
    return (str(path) == known.path and found.st_mtime_ns == known.modified) or hash_file(path) == known.sha256


class Changed(msgspec.Struct, frozen=True):
    """A file that is another one now than when done tasks were made from it. `name`: batch/key of one of them."""

    path: str
    name: str


def changed(db: sqlite3.Connection, batches: Sequence[str], hash_file: Hash, most: int) -> Iterator[Changed]:
    """Input files of done tasks that hold something else now; the last `most` files that were used are looked at.

    A file that is gone is not an error: the task is done. For each file its newest task is asked, and named.
    """
    sql = (
        "select i.path, i.size, i.modified, i.sha256, b.name || '/' || t.key, max(i.task_id)"
        " from (select * from inputs order by task_id desc limit ?) i"
        " cross join tasks t on t.id = i.task_id cross join batches b on b.id = t.batch_id"
        f" where b.name in ({', '.join('?' * len(batches))}) and t.state = 'done' and t.generation = b.generation"
        " group by i.path order by i.task_id"
    )
    for path, size, modified, sha256, name, _ in db.execute(sql, (most, *batches)).fetchall():
        try:
            if not is_same(Input(path, size, modified, sha256), Path(path), hash_file):
                yield Changed(path, name)
        except OSError:
            continue
