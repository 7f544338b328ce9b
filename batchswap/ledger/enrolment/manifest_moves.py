"""Tell a manifest that was moved from a second manifest of the same name in another folder.

A relative path names another file in another folder, and the name of a batch alone does not distinguish the two cases.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.rows import groups, marks
from batchswap.manifest import Chunk
from batchswap.states import UNDONE
from batchswap.tasks import Row


class Origin(msgspec.Struct, frozen=True):
    """A manifest that a batch was enrolled from. `remains`: it still exists, and this command does not name it."""

    place: str
    folder: str
    remains: bool


class EnrolledBatch(msgspec.Struct, frozen=True):
    """A batch before this enrolment. `origins` are its manifests, by the ids of their sources."""

    id: int
    generation: int
    origins: dict[int, Origin]


class Origins:
    """The manifests of batches before this enrolment. Only rows from other folders are examined."""

    def __init__(self, db: sqlite3.Connection, named: Collection[str]) -> None:
        """`named` holds the places of the manifests that the command names."""
        self._db, self._named = db, named
        self._batches: dict[str, EnrolledBatch] = {}

    def check(self, chunk: Chunk) -> None:
        """Raise UsageError for a row that a manifest in another folder has with other inputs.

        Rows with the same files are the same work. If the old manifest no longer exists, its folder was moved: then
        files that were moved with it are the same, other names are an edit, and tasks that are not done may change.
        """
        if chunk.batch not in self._batches:
            self._batches[chunk.batch] = self._read(chunk.batch)
        batch = self._batches[chunk.batch]
        others = {id_: origin for id_, origin in batch.origins.items() if origin.folder != chunk.folder}
        for some in groups(chunk.rows) if others else ():
            rows = {row.key: row for row in some}
            for key, state, digest, source_id in self._from(batch, others, rows):
                origin, row = others[source_id], rows[key]
                may_change = not origin.remains and (digest != row.digest or state in UNDONE)
                if not may_change and (digest != row.digest or not self._are_same_files(origin, chunk, row)):
                    raise UsageError(_refusal(origin, chunk, key))

    def _read(self, name: str) -> EnrolledBatch:
        sql = "select id, generation from batches where name = ?"
        batch_id, generation = self._db.execute(sql, (name,)).fetchone() or (0, 0)
        sql = "select id, path, folder from sources where batch_id = ?"
        sources = self._db.execute(sql, (batch_id,))
        origins = {id_: _origin(path, folder, self._named) for id_, path, folder in sources}
        return EnrolledBatch(batch_id, generation, origins)

    def _from(
        self, batch: EnrolledBatch, others: Collection[int], keys: Collection[str]
    ) -> list[tuple[str, str, str, int]]:
        """Return key, state, digest and source of rows that were known before this enrolment."""
        sql = (
            "select key, state, digest, source_id from tasks where batch_id = ? and generation <= ?"
            f" and key in ({marks(keys)}) and source_id in ({marks(others)})"
        )
        return self._db.execute(sql, (batch.id, batch.generation, *keys, *others)).fetchall()

    def _are_same_files(self, origin: Origin, chunk: Chunk, row: Row) -> bool:
        return all(
            self._is_same_file(Path(origin.folder, given), Path(chunk.folder, given), remains=origin.remains)
            for given in input_files.local_inputs(row)
        )

    def _is_same_file(self, old: Path, new: Path, *, remains: bool) -> bool:
        if os.path.realpath(old) == os.path.realpath(new):
            return True
        if remains or _exists(old):
            return False
        seen = input_files.enrolled(self._db, old)
        return seen is None or not _exists(new) or seen[0] == new.stat().st_size


def checked(db: sqlite3.Connection, chunks: Iterable[Chunk], named: Collection[str]) -> Iterator[Chunk]:
    """Yield the chunks without enrolling them. Raise UsageError where enrolling would."""
    origins = Origins(db, named)
    for chunk in chunks:
        origins.check(chunk)
        yield chunk


def _origin(path: str, folder: str, named: Collection[str]) -> Origin:
    # Resolved, because the old folder may be a link to its new place.
    folder = os.path.realpath(folder)
    place = str(Path(folder, Path(path).name))
    return Origin(place, folder, place not in named and _exists(place))


def _exists(path: Path | str) -> bool:
    """Return whether a path exists and may be examined."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError


def _refusal(origin: Origin, chunk: Chunk, key: str) -> str:
    comes, has = ("comes", "has") if origin.remains else ("came", "had")
    words = f'{chunk.file}: batch "{chunk.batch}" {comes} from {origin.place}, where row "{key}" {has} other inputs'
    words += "; give this manifest another batch name with --batch, or in YAML with name:"
    return f"{words}; or move {origin.place} away if this manifest replaces it" if origin.remains else words
