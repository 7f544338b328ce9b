"""Where a batch's rows come from. The same path means another file in another folder, and the name of a batch alone
does not tell whether a folder was moved or a second one has manifests of the same name."""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger.enrolment import input_files
from batchswap.manifest import Chunk
from batchswap.states import UNDONE
from batchswap.tasks import Row, is_url

_AT_ONCE = 500
"""Keys in one question."""


class Origin(msgspec.Struct, frozen=True):
    """A manifest that a batch was enrolled from. `stands`: it is still there, and this command does not name it."""

    place: str
    folder: str
    stands: bool


class Origins:
    """The manifests of a batch as they were before this enrolment. Only what comes from another folder is looked at."""

    def __init__(self, db: sqlite3.Connection, batch: str, named: Collection[str]) -> None:
        """`named`: the places of the manifests that the command names."""
        self._db, self._batch = db, batch
        sql = "select id, generation from batches where name = ?"
        found: tuple[int, int] = db.execute(sql, (batch,)).fetchone() or (0, 0)
        self._id, self._generation = found
        sql = "select id, path, folder from sources where batch_id = ?"
        self._known = {id_: _origin(path, folder, named) for id_, path, folder in db.execute(sql, (self._id,))}

    def check(self, chunk: Chunk) -> None:
        """Raises UsageError for a row that a manifest in another folder has with other inputs.

        The same files are the same work. If the old manifest is gone, its folder was moved: then files that were moved
        with it are the same, other names are an edit, and what is not done may change.
        """
        others = {id_: origin for id_, origin in self._known.items() if origin.folder != chunk.folder}
        for start in range(0, len(chunk.rows) if others else 0, _AT_ONCE):
            rows = {row.key: row for row in chunk.rows[start : start + _AT_ONCE]}
            for key, state, digest, source_id in self._from(others, rows):
                origin, row = others[source_id], rows[key]
                may_change = not origin.stands and (digest != row.digest or state in UNDONE)
                if not may_change and (digest != row.digest or not self._are_same_files(origin, chunk, row)):
                    raise UsageError(_refusal(self._batch, origin, chunk, key))

    def _from(self, others: Collection[int], keys: Collection[str]) -> list[tuple[str, str, str, int]]:
        """Key, state, digest and source of the known rows among `keys`; not those of this very enrolment."""
        sql = (
            "select key, state, digest, source_id from tasks where batch_id = ? and generation <= ?"
            f" and key in ({', '.join('?' * len(keys))}) and source_id in ({', '.join('?' * len(others))})"
        )
        return self._db.execute(sql, (self._id, self._generation, *keys, *others)).fetchall()

    def _are_same_files(self, origin: Origin, chunk: Chunk, row: Row) -> bool:
        return all(
            self._is_same_file(Path(origin.folder, given), Path(chunk.folder, given), stands=origin.stands)
            for given in _paths(row)
        )

    def _is_same_file(self, old: Path, new: Path, *, stands: bool) -> bool:
        if os.path.realpath(old) == os.path.realpath(new):
            return True
        if stands or _exists(old):
            return False
        seen = input_files.enrolled(self._db, old)
        return seen is None or not _exists(new) or seen[0] == new.stat().st_size


def checked(db: sqlite3.Connection, chunks: Iterable[Chunk], named: Collection[str]) -> Iterator[Chunk]:
    """The chunks, for who only looks at them. Raises UsageError where enrolling them would."""
    known: dict[str, Origins] = {}
    for chunk in chunks:
        if chunk.batch not in known:
            known[chunk.batch] = Origins(db, chunk.batch, named)
        known[chunk.batch].check(chunk)
        yield chunk


def _origin(path: str, folder: str, named: Collection[str]) -> Origin:
    # By what the folder is now: it may have become a link to where it was moved.
    folder = os.path.realpath(folder)
    place = str(Path(folder, Path(path).name))
    return Origin(place, folder, place not in named and _exists(place))


def _exists(path: Path | str) -> bool:
    """Also for a path that may not be looked at: it is not there for us."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError


def _paths(row: Row) -> Iterator[str]:
    for given in (row.target, row.face, *(face for _, face in row.faces)):
        if given and not is_url(given):
            yield given


def _refusal(batch: str, origin: Origin, chunk: Chunk, key: str) -> str:
    is_known, has = ("is known", "has") if origin.stands else ("was known", "had")
    words = f'{chunk.file}: batch "{batch}" {is_known} from {origin.place}, where row "{key}" {has} other inputs'
    words += "; give this manifest a batch of its own with --batch, or in YAML with name:"
    return f"{words}; or take that one away, if this one replaces it" if origin.stands else words
