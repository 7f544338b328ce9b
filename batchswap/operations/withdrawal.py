"""Withdraw a release: find every result under it, and delete the files if the user says so.

A file is deleted only if it has the content of the result. The transaction that logs a deletion ends after it. After a
crash in between, the same command logs that there was no file.
"""

import difflib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from batchswap.downloads import Place, discard_part, rejected_names, unpublish
from batchswap.errors import DownloadError, UsageError
from batchswap.ledger import deliveries, queries, releases
from batchswap.ledger.file.connection import sync_folder
from batchswap.ledger.queries import Stored
from batchswap.ledger.transitions import Stamp
from batchswap.operations.ledger_access import changing, locked
from batchswap.operations.review import holds
from batchswap.report.stored_files import Reader, kind_of
from batchswap.sqlite_errors import transaction
from batchswap.states import OPEN

_REASONS = {
    "changed": "has changed since it was stored",
    "unreadable": "cannot be read",
    "link": "is a link",
}


class ReleaseResult(msgspec.Struct):
    """A result under a release, its files, and those that are not deleted, each with the reason."""

    stored: Stored
    files: list[Place] = []
    left: dict[str, str] = {}

    @property
    def name(self) -> str:
        return f"{self.stored.batch}/{self.stored.key}"


class PartOfResult(msgspec.Struct, frozen=True):
    """A download that broke off. `name` is batch/key."""

    task_id: int
    name: str
    place: Place

    @property
    def path(self) -> Path:
        return self.place.final.with_name(self.place.part)


class Withdrawal(msgspec.Struct):
    """A withdrawn release. `cancelled`: tasks that left the queue now; `in_progress`: tasks that are paid already."""

    reference: str
    at: float
    cancelled: int
    in_progress: int
    results: list[ReleaseResult]
    parts: list[PartOfResult] = []
    deleted: int = 0

    @property
    def files(self) -> int:
        return sum(len(each.files) for each in self.results) + len(self.parts)

    @property
    def left(self) -> int:
        return sum(len(each.left) for each in self.results)


def withdraw(path: Path, out: Path, reference: str) -> Withdrawal:
    """Mark a release as withdrawn, and return what is under it. Raise LedgerBusy during a run, and UsageError."""
    with changing(path) as (db, stamp):
        _check(db, reference, path)
        cancelled = releases.withdraw(db, stamp, reference)
        counts = releases.states(db, reference)
        at = releases.withdrawn_at(db, reference) or stamp.at
        here = str(out.absolute())
        found, parts = list(_results(db, reference, here)), list(_parts(db, reference, here))
    return Withdrawal(reference, at, cancelled, sum(counts[state] for state in OPEN), found, parts)


def restore(path: Path, reference: str) -> bool:
    """Take a withdrawal back. Return whether there was one. Raise LedgerBusy during a run, and UsageError."""
    with changing(path) as (db, stamp):
        _check(db, reference, path)
        return releases.restore(db, stamp, reference)


def _check(db: sqlite3.Connection, reference: str, path: Path) -> None:
    """Raise UsageError for a reference that is not in the ledger."""
    if reference not in (known := releases.references(db)):
        nearest = difflib.get_close_matches(reference, known, n=1, cutoff=0.0)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        raise UsageError(f'nothing in {path} is under a release "{reference}"{hint}')


def _results(db: sqlite3.Connection, reference: str, here: str) -> Iterator[ReleaseResult]:
    """Yield the results with their files. No file belongs to two of them."""
    seen: set[str] = set()
    for is_former, known in [
        *((False, each) for each in releases.results(db, reference)),
        *((True, each) for each in releases.former_results(db, reference)),
    ]:
        result = ReleaseResult(known, [], {})
        for place, wrong in _files(known, here, is_former=is_former):
            path = f"{place.out}/{place.output}"
            if path in seen:
                continue
            seen.add(path)
            owner = releases.other_owner(db, reference, place.output, known.sha256)
            problem = f"is also the result of {owner}" if owner else wrong
            if problem:
                result.left[path] = problem
            else:
                result.files.append(place)
        yield result


def _files(known: Stored, here: str, *, is_former: bool) -> Iterator[tuple[Place, str]]:
    """Yield the files of a result, and why a file must not be deleted ("" if it may).

    They are looked for in the folder where the result was stored and in --out, under all names that it may have.
    """
    reader = Reader(2**63)
    for folder in known.folders(here):
        for name in dict.fromkeys((known.file, known.output, *rejected_names(Path(folder), known.output))):
            place = Place(Path(folder), name)
            if name != known.file or is_former:
                if holds(place.final, known):
                    yield place, ""
                continue
            kind = "link" if place.final.is_symlink() else kind_of(str(place.final), known, reader)
            if kind != "gone":
                yield place, _REASONS.get(kind, "")


def _parts(db: sqlite3.Connection, reference: str, here: str) -> Iterator[PartOfResult]:
    """Yield the parts of downloads that broke off. A task in progress still needs its part."""
    folders = dict.fromkeys((here, *releases.folders(db)))
    for task_id, name, output in releases.unsaved(db, reference):
        if queries.output_owner(db, output, task_id) is None:
            found = (PartOfResult(task_id, name, Place(Path(folder), output)) for folder in folders)
            yield from (each for each in found if os.path.lexists(each.path))


def delete(path: Path, found: Withdrawal) -> None:
    """Delete the files of a withdrawn release and the pictures of its results. What is left is added to `left`."""
    with locked(path) as db:
        pictures = _pictures(deliveries.pictures_folder(path), releases.strips_of_others(db, found.reference))
        for result in found.results:
            gone = []
            with transaction(db):
                for place in result.files:
                    if problem := _delete(place, result.stored):
                        result.left[f"{place.out}/{place.output}"] = problem
                    else:
                        gone.append(f"{place.out}/{place.output}")
                _delete_pictures(pictures.get(result.stored.id, []))
                releases.note_deleted(db, Stamp(time.time(), None), result.stored.id, result.stored.sha256, gone)
            found.deleted += len(gone)
        for part in found.parts:
            with transaction(db):
                discard_part(part.place)
                releases.note_deleted(db, Stamp(time.time(), None), part.task_id, "", [str(part.path)])
            found.deleted += 1


def _delete(place: Place, known: Stored) -> str:
    """Delete a file. Return why it was not deleted, "" if it was."""
    if not os.path.lexists(place.final):
        return ""
    try:
        return "" if unpublish(place, known.sha256, known.size) else _REASONS["changed"]
    except DownloadError as error:
        return str(error)


def _pictures(folder: Path, others: set[str]) -> dict[int, list[Path]]:
    """Return the pictures of each task, without those of results under other releases.

    A picture is named by the file that was examined and by the task. The file may have been signed since.
    """
    found: dict[int, list[Path]] = {}
    for path in folder.glob("*/*-*.webp"):
        task_id = path.stem.rpartition("-")[2]
        if task_id.isdecimal() and f"{path.parent.name}/{path.name}" not in others:
            found.setdefault(int(task_id), []).append(path)
    return found


def _delete_pictures(pictures: list[Path]) -> None:
    for path in pictures:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in pictures}:
        sync_folder(folder)
