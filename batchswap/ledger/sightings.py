"""What the files that rows name looked like when the rows were enrolled, so that a later change is noticed."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from batchswap.manifest import Chunk
from batchswap.tasks import is_url

Sighting = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


def sighting_of(found: os.stat_result) -> Sighting:
    return found.st_size, found.st_mtime_ns


def find(db: sqlite3.Connection, path: Path) -> Sighting | None:
    """The file as it was enrolled; None when it could not be looked at."""
    row = db.execute("select size, modified from files where path = ?", (str(path),)).fetchone()
    return None if row is None else (row[0], row[1])


def noted(db: sqlite3.Connection, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The chunks as they come; the files that they name are looked at, and written down by the way.

    To be iterated inside the transaction that takes the rows, and in its thread.
    """
    for chunk in chunks:
        given = {row.target for row in chunk.rows} | {row.face for row in chunk.rows}
        given.update(face for row in chunk.rows if row.faces for _, face in row.faces)
        paths = [Path(chunk.folder, text) for text in given if text and not is_url(text)]
        db.executemany("insert or replace into files values(?, ?, ?)", _looked_at(paths))
        yield chunk


def _looked_at(paths: list[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            yield (str(path), *sighting_of(path.stat()))
        except OSError:
            continue  # gone since it was checked; the upload will say so
