"""What the files that rows name looked like when the rows were enrolled, so that a later change is noticed."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchswap.manifest import Chunk

_URL = ("http://", "https://")
Sighting = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


def sighting_of(found: os.stat_result) -> Sighting:
    return found.st_size, found.st_mtime_ns


def find(db: sqlite3.Connection, path: Path) -> Sighting | None:
    """The file as it was enrolled; None when it could not be looked at."""
    row = db.execute("select size, modified from files where path = ?", (str(path),)).fetchone()
    return None if row is None else (row[0], row[1])


def note(db: sqlite3.Connection, chunk: "Chunk") -> None:
    """Look at the files that the rows name, and write down what they are like."""
    given = [text for row in chunk.rows for text in (row.target, row.face) if not text.startswith(_URL)]
    given += [face for row in chunk.rows if row.faces for _, face in row.faces if not face.startswith(_URL)]
    if given:
        paths = [Path(chunk.folder, text) for text in dict.fromkeys(given) if text]
        db.executemany("insert or replace into files values(?, ?, ?)", _looked_at(paths))


def _looked_at(paths: list[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            yield (str(path), *sighting_of(path.stat()))
        except OSError:
            continue  # gone since it was checked; the upload will say so
