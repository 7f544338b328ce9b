"""Accept, reject and redo results. To accept and reject costs nothing, can be undone, and is possible during a run.

The file of a rejected result moves to REJECTED, below the folder that it was stored in. It moves before the ledger is
committed. After a crash in between, the same command finds the file under its new name.
"""

import os
import sqlite3
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import msgspec

from batchswap.downloads import REJECTED, Place, move, rejected_name, rejected_names
from batchswap.errors import DownloadError, UsageError
from batchswap.ledger import deliveries, operator_actions, queries
from batchswap.ledger.enrolment import orphans
from batchswap.ledger.enrolment.duplicates import root_of
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.queries import Stored
from batchswap.ledger.rows import last_attempt
from batchswap.ledger.transitions import Stamp, find_task
from batchswap.operations.ledger_access import find, locked, noting, reading
from batchswap.report.formatting import plural, priced
from batchswap.report.next_commands import command
from batchswap.report.stored_files import Reader, kind_of
from batchswap.sqlite_errors import transaction
from batchswap.states import Review, State
from batchswap.tasks import Task, clean

_ALL = 2**63
"""Bytes to read at most, to compare a file with its record."""


class Reviewed(msgspec.Struct):
    """The number of results, the names of those whose file is missing, and the folders that files were moved to."""

    total: int = 0
    missing: list[str] = []
    folders: dict[str, None] = {}


def give(path: Path, out: Path, names: Sequence[str], verdict: Review, note: str = "") -> Reviewed:
    """Record the user's judgement of these results, and move their files. Raise UsageError."""
    done = Reviewed(missing=[], folders={})
    with noting(path) as db:
        for task in _all_done(_named(db, names, path), path):
            _give(db, task, str(out.absolute()), verdict, clean(note), done)
    return done


def _named(db: sqlite3.Connection, names: Sequence[str], path: Path) -> list[Task]:
    return [find(db, name, path) for name in dict.fromkeys(names)]


def _all_done(tasks: list[Task], path: Path) -> list[Task]:
    """Return the tasks. Raise UsageError unless all of them are done."""
    for task in tasks:
        if task.state is not State.DONE:
            raise UsageError(f"{task.batch}/{task.key} is {task.state}: {_instead(task, path)}")
    return tasks


def _instead(task: Task, path: Path) -> str:
    """Return the command for a task that has no result to review."""
    name = f"{task.batch}/{task.key}"
    match task.state:
        case State.QUEUED:
            return "there is no result yet; the next run submits it"
        case State.FAILED | State.CANCELLED:
            return f"there is no result; `{command('retry', path, name)}` queues it again"
        case State.UNCERTAIN:
            return f"there is no result; `{command('show', path, name)}` shows how to settle it"
        case _:
            return "there is no result yet; `batchswap run` collects it"


def _give(db: sqlite3.Connection, task: Task, here: str, verdict: Review, note: str, done: Reviewed) -> None:
    known, stamp = queries.stored_by(db, task.id), Stamp(time.time(), None)
    name = f"{task.batch}/{task.key}"
    if known is None:
        raise UsageError(f"{name} has just been changed by another command: repeat this one")
    try:
        place = _find(known, here, verdict)
        with transaction(db):
            target = _target(db, known, place, verdict)
            if not deliveries.refile(db, task.id, known, target):
                raise UsageError(f"{name} has just been changed by another command: repeat this one")
            deliveries.review(db, stamp, task.id, verdict, note)
            if place is not None and target != place.output:
                move(place, Place(place.out, target))
    except DownloadError as error:
        hint = ": move it away, then repeat the command" if error.reason == "output-taken" else ""
        raise UsageError(f"{name}: {error}{hint}") from error
    done.total += 1
    if place is None:
        done.missing.append(name)
    elif verdict is Review.REJECTED:
        done.folders[f"{place.out}/{REJECTED}"] = None


def _find(known: Stored, here: str, verdict: Review) -> Place | None:
    """Return where the result's file is, also after a crash; None if it is gone.

    Raise UsageError if another file has its name, unless nothing has to be moved.
    """
    stays = known.file == known.output and verdict is not Review.REJECTED
    reader, wrong = Reader(_ALL), ""
    for folder in known.folders(here):
        path = f"{folder}/{known.file}"
        match kind_of(path, known, reader):
            case "unchanged" if not Path(path).is_symlink():
                return Place(Path(folder), known.file)
            case "unchanged" | "changed" if stays:
                return Place(Path(folder), known.file)
            case "unchanged":
                wrong = f"{path} is a link and not the file itself: replace it by the file, then repeat the command"
            case "changed":
                wrong = f"{path} is not the stored result: move it away, then repeat the command"
            case "unreadable":
                wrong = f"{path} cannot be read"
    for folder in known.folders(here):
        for name in (known.output, *rejected_names(Path(folder), known.output)):
            if name != known.file and holds(Path(folder, name), known):
                return Place(Path(folder), name)
    if wrong:
        raise UsageError(wrong)
    return None


def holds(path: Path, known: Stored) -> bool:
    """Return whether a file has the content of a stored result."""
    try:
        found = path.lstat()
        return path.is_file() and found.st_size == known.size and hash_file(path) == known.sha256
    except OSError:
        return False


def _target(db: sqlite3.Connection, known: Stored, place: Place | None, verdict: Review) -> str:
    """Return the name that the file must have after the review."""
    if place is None:
        return known.output
    is_away = place.output != known.output and place.output.startswith(f"{REJECTED}/")
    if verdict is not Review.REJECTED:
        return known.output if is_away else place.output
    if is_away:
        return place.output
    names = (rejected_name(place.output, number) for number in count(1))
    return next(name for name in names if _is_free(db, place.out / name, name, known.id))


def _is_free(db: sqlite3.Connection, path: Path, name: str, task_id: int) -> bool:
    return not os.path.lexists(path) and queries.output_owner(db, name, task_id) is None


class Price(msgspec.Struct, frozen=True):
    """The probable price of another attempt for some tasks: what their last ones cost. `unknown`: tasks without one."""

    tasks: int
    credits: float
    unknown: int = 0

    def __str__(self) -> str:
        attempts = "another attempt" if self.tasks == 1 else f"another attempt for each of {self.tasks:,} tasks"
        if self.unknown == self.tasks:
            return f"{attempts} costs credits again, and the API did not report what the last one cost"
        more = f", without {plural(self.unknown, 'task')} of unknown cost" if self.unknown else ""
        return f"{attempts} will probably cost {priced(self.credits)}{more}"


def price(path: Path, names: Sequence[str]) -> Price:
    """Return the probable price of redoing these tasks. Raise UsageError unless all of them are done."""
    with reading(path) as db:
        tasks = _to_redo(db, names, path)
        last = [last_attempt(db, root_of(db, task.id)) for task in tasks]
    known = [each.charged for each in last if each is not None and each.charged is not None]
    return Price(len(tasks), sum(known), len(tasks) - len(known))


def _to_redo(db: sqlite3.Connection, names: Sequence[str], path: Path) -> list[Task]:
    """Return the named tasks without those that the same command has queued before."""
    left = [task for task in _named(db, names, path) if not operator_actions.is_redone(db, task)]
    for task in _all_done(left, path):
        operator_actions.check_release(db, task)
    return left


class Redone(msgspec.Struct, frozen=True):
    """The number of queued tasks, and of those whose row has left the manifest; and what was moved before."""

    total: int
    orphaned: int
    moved: Reviewed


def redo(path: Path, out: Path, names: Sequence[str], note: str = "") -> Redone:
    """Reject these results, then queue another attempt for each. Raise LedgerBusy during a run, and UsageError."""
    moved, here, note = Reviewed(missing=[], folders={}), str(out.absolute()), clean(note)
    with locked(path) as db:
        tasks = _to_redo(db, names, path)
        for task in tasks:
            _give(db, task, here, Review.REJECTED, note, moved)
        with transaction(db):
            for task in tasks:
                operator_actions.redo(db, Stamp(time.time(), None), find_task(db, task.id), note)
            orphaned = sum(orphans.is_orphan(db, task.id) for task in tasks)
    return Redone(len(tasks), orphaned, moved)
